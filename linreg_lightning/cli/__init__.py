"""The `linreg` command."""

from linreg_lightning.cli.main import main

__all__ = ["main"]
