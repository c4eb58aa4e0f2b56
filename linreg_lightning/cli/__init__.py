"""The `linreg` command."""

from linreg_lightning.cli.main import main as main
