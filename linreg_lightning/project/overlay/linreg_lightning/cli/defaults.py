"""What is specific to this project in the command: its help and its defaults."""

from typing import Any

HELP = """\
usage: linreg [--help] [--version] {fit,validate,test,predict} ...

  fit        fit a model; alone it runs the example
  validate   measure a fitted model on the validation rows
  test       measure a fitted model on the test rows
  predict    write a fitted model's predictions to a file

Start here:

  linreg fit
  linreg fit -c example --model.hidden 128
  linreg fit --data.path houses.csv --data.target price
  linreg predict --ckpt_path last --data.path new.csv
  tensorboard --logdir logs

Models: MLP, or a class path (my_package.MyModel).
Data: Waves, TabularData, or a class path.

Trust: opening a checkpoint or a file of settings imports the module of each class that it names,
which runs its code. A checkpoint may name classes of this package, lightning and torch, and of
modules that you name (--model mine.Net). --trust allows all. Use only settings that you trust.
"""
"""What `linreg --help` prints."""

COMMAND = "linreg"
MODEL = "linreg_lightning.models.mlp.MLP"
DATA = "linreg_lightning.data.waves.Waves"
TABLE = "linreg_lightning.data.tabular.TabularData"
"""The class of the data where the command line has `--data.path`."""
TABLE_MODEL: dict[str, Any] = {}
"""Defaults of MODEL that differ for a table."""
TABLE_TRAINER: dict[str, Any] = {}
"""Defaults of the Trainer that differ for MODEL and a table."""
ROOT = "logs"
"""The folder that runs write to."""

CALLBACKS = (
    "linreg_lightning.callbacks.descent_monitor.DescentMonitor",
    "linreg_lightning.callbacks.fit_monitor.FitMonitor",
    "linreg_lightning.callbacks.custom_scalars.CustomScalars",
    "linreg_lightning.callbacks.peer_monitor.PeerMonitor",
)
"""Callbacks of every run."""

FIGURES = "linreg_lightning.callbacks.fit_plots.FitPlots"
"""The callback of `--figures true`."""

COMMANDS: dict[str, str] = {}
"""Subcommands beside Lightning's: functions from the arguments after the name to the output."""
