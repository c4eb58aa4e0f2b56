"""How the Trainer's loop is kept from costing more than the steps it takes."""

from linreg_lightning.loop.marks import each_step, once_a_call
from linreg_lightning.loop.tight_loop import TightLoop

__all__ = ["TightLoop", "each_step", "once_a_call"]
