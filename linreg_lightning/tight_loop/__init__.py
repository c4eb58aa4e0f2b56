"""A faster training loop for small models, under Lightning's own Trainer.

An iteration of the Trainer costs about 0.6 ms besides the step itself: it asks every callback,
logger, checkpoint and progress bar whether there is something to do. `TightLoop` knows in advance
when there is. Until then one iteration takes a group of steps: all but the last in a plain loop
(loss, gradient, update), and the last as the Trainer takes it, with all hooks.

The docstring of `TightLoop` says where the Trainer takes all steps itself, and what stays the same.

    callback.py             TightLoop: when an iteration takes a group of steps
    fusion_rules.py         how many steps fit in a group, and whether any may
    step_group.py           the plain loop over the steps of a group
    step_function.py        one step: loss, gradient, update
    step_log.py             what stands in for `module.log` within a group
    buffered_loggers.py     fewer wake-ups of TensorBoard's writer thread
    lightning_internals.py  every private name of Lightning and torch that the package uses
"""

from linreg_lightning.tight_loop.callback import TightLoop as TightLoop
