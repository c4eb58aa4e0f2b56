"""What is specific to linear regression in the command: its help and its defaults."""

HELP = """\
usage: linreg [--help] [--version] {fit,validate,test,predict,summary,new} ...

Linear regression on PyTorch Lightning.

  fit        fit a model, print its coefficients; alone it runs the tutorial's problem
  validate   measure a fitted model on the validation rows
  test       measure a fitted model on the test rows
  predict    write a fitted model's predictions to a file, beside columns kept (--keep id)
  summary    print a fitted model's coefficients again, as a table or JSON
  new        make a project of your own, with your name, a model to replace, and tests

Start here:

  linreg fit
  linreg fit --data.path houses.csv --data.target price
  linreg fit --data.path houses.csv --data.target price --model LeastSquares
  linreg predict --ckpt_path last --data.path new.csv
  linreg test --ckpt_path last --data.path held_out.csv --data.test_fraction 1
  tensorboard --logdir logs

More:

  linreg fit --help                        every option of a command
  linreg fit --model.help LinearRegression the options of a model; --data.help of a data module
  linreg fit --print_config                all settings as YAML, to keep and give by -c FILE
  linreg fit -c NAME                       settings of a file, of a run (-c logs/version_0 repeats
                                           it), or of the package under that name:
                                           debug, gpu, least_squares, manual, tabular, tutorial
  linreg fit --ckpt_path last --trainer.max_epochs 200
                                           go on with the newest run below the logs folder; with
                                           --change --model.lr 0.01 at a new learning rate
  linreg fit --trainer.callbacks+=TightLoop --trainer.callbacks.steps=1
                                           let the Trainer take each step by itself, slower
  linreg fit --trainer.callbacks+=PeerMonitor --trainer.callbacks.seconds=300
                                           count a process as lost, and end the others, after 300
                                           seconds without a sign of life instead of 60
  linreg --print_completion shtab-bash     a script by which the tab key completes options in bash,
                                           zsh or tcsh (pip install shtab first)

Models: LinearRegression, ManualLinearRegression, LeastSquares, or your own (package.MyModel).
Data: SyntheticData, TabularData, or your own.

Trust: opening a checkpoint or a file of settings imports the module of each class that it names,
which runs its code. A checkpoint may name classes of this package, lightning and torch, and of
modules that you name (--model mine.Net). In the folder that its run wrote to, it may name the
model and data of that run. --trust allows all. Use only settings that you trust.
A checkpoint with other objects than numbers, texts, lists and tensors is refused, because reading
it can run any code; --weights_only false reads one that you trust, and allows all its classes.
"""
"""What `linreg --help` prints."""

COMMAND = "linreg"
MODEL = "linreg_lightning.models.linear.LinearRegression"
DATA = "linreg_lightning.data.synthetic.SyntheticData"
TABLE = "linreg_lightning.data.tabular.TabularData"
"""The class of the data where the command line has `--data.path`."""
TABLE_MODEL = {"standardize": True, "momentum": 0.9, "lr": 0.01}
"""Defaults of MODEL for a table, whose columns often differ in scale and are correlated. With this
momentum the steps are as long as those of rate 0.1 without it, and stay stable."""
TABLE_TRAINER = {"trainer.max_epochs": 500}
"""Defaults of the Trainer for MODEL and a table."""
ROOT = "logs"
"""The folder that runs write to."""

CALLBACKS = (
    "linreg_lightning.callbacks.coefficient_monitor.CoefficientMonitor",
    "linreg_lightning.callbacks.coefficient_file.CoefficientFile",
    "linreg_lightning.callbacks.descent_monitor.DescentMonitor",
    "linreg_lightning.callbacks.fit_monitor.FitMonitor",
    "linreg_lightning.callbacks.custom_scalars.CustomScalars",
    "linreg_lightning.callbacks.peer_monitor.PeerMonitor",
)
"""Callbacks of every run."""

FIGURES = "linreg_lightning.callbacks.fit_plots.FitPlots"
"""The callback of `--figures true`."""

COMMANDS = {
    "summary": "linreg_lightning.cli.summary:summary",
    "new": "linreg_lightning.project.new:new",
}
"""Subcommands beside Lightning's: functions from the arguments after the name to the output."""
