"""What the command is about: all of it that is linear regression's own. Imports nothing heavy."""

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
  linreg fit --model LeastSquares --data TabularData --data.path houses.csv --data.target price
  linreg predict --ckpt_path last --data.path new.csv
  linreg test --ckpt_path last --data.path held_out.csv --data.test_fraction 1
  tensorboard --logdir logs

More:

  linreg fit --help                        every option of a command
  linreg fit --model.help LinearRegression the options of a model; --data.help of a data module
  linreg fit --print_config                all settings as YAML, to keep and give by -c FILE
  linreg fit --ckpt_path last --trainer.max_epochs 200
                                           go on with the newest run below the logs folder

Models: LinearRegression, ManualLinearRegression, LeastSquares, or a class path of your own
(my_package.MyModel).
Data: SyntheticData, TabularData, or a class path of your own.
"""
"""What `linreg --help` prints."""

MODEL = "linreg_lightning.models.linear.LinearRegression"
"""The model of a run that names none."""

DATA = "linreg_lightning.data.synthetic.SyntheticData"
"""The data of a run that names none."""

CALLBACKS = (
    "linreg_lightning.callbacks.coefficient_monitor.CoefficientMonitor",
    "linreg_lightning.callbacks.coefficient_file.CoefficientFile",
    "linreg_lightning.callbacks.descent_monitor.DescentMonitor",
    "linreg_lightning.callbacks.fit_monitor.FitMonitor",
    "linreg_lightning.callbacks.custom_scalars.CustomScalars",
)
"""What watches every run, besides what the command itself needs."""

FIGURES = "linreg_lightning.callbacks.fit_plots.FitPlots"
"""What draws, unless told not to."""

COMMANDS = {
    "summary": "linreg_lightning.cli.summary:summary",
    "new": "linreg_lightning.project.new:new",
}
"""Subcommands beside Lightning's four: functions of the words behind them, to the text to print."""
