"""What the command is about: its help, its defaults. Imports nothing heavy."""

HELP = """\
usage: linreg [--help] [--version] {fit,validate,test,predict} ...

  fit        fit a model; alone it runs the example
  validate   measure a fitted model on the validation rows
  test       measure a fitted model on the test rows
  predict    write a fitted model's predictions to a file

Start here:

  linreg fit
  linreg fit -c configs/example.yaml --model.hidden 128
  linreg fit --data TabularData --data.path houses.csv --data.target price
  linreg predict --ckpt_path last --data.path new.csv
  tensorboard --logdir logs

Models: MLP, or a class path (my_package.MyModel).
Data: Waves, TabularData, or a class path.
"""
"""What `linreg --help` prints."""

MODEL = "linreg_lightning.models.mlp.MLP"
"""The model of a run that names none."""

DATA = "linreg_lightning.data.waves.Waves"
"""The data of a run that names none."""

CALLBACKS = (
    "linreg_lightning.callbacks.descent_monitor.DescentMonitor",
    "linreg_lightning.callbacks.fit_monitor.FitMonitor",
    "linreg_lightning.callbacks.custom_scalars.CustomScalars",
)
"""What watches every run, besides what the command itself needs."""

FIGURES = "linreg_lightning.callbacks.fit_plots.FitPlots"
"""What draws, unless told not to."""

COMMANDS: dict[str, str] = {}
"""Subcommands beside Lightning's four: functions of the words behind them, to the text to print."""
