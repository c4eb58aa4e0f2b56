"""How the Trainer's loop is kept from costing more than the steps it takes."""

from linreg_lightning.tight_loop.callback import TightLoop

__all__ = ["TightLoop"]
