"""A faster training loop for small models, under Lightning's own Trainer.

An iteration of the Trainer costs about 0.6 ms besides the step itself: it asks every callback,
logger, checkpoint and progress bar whether there is something to do. `TightLoop` knows in advance
when there is. Until then one iteration takes a group of steps: all but the last in a plain loop
(loss, gradient, update), and the last as the Trainer takes it, with all hooks.

The Trainer takes all steps itself where something has to see each of them: a callback or module
with an unmarked hook for batches or gradients (`hook_markers`), several processes, accumulated
gradients, several optimizers, 16-mixed precision, a profiler, an unknown number of batches, or a
Lightning that lacks a private name that the loop needs (`lightning_internals`, with a warning).

Weights, logged values and their steps, learning rates, checkpoints, `global_step` and random
numbers have the same bits as in a run without it.

    callback.py             TightLoop: when an iteration takes a group of steps
    fusion_rules.py         how many steps fit in a group, and whether any may
    step_group.py           the plain loop over the steps of a group
    step_function.py        one step: loss, gradient, update
    step_log.py             what stands in for `module.log` within a group
    buffered_loggers.py     fewer wake-ups of TensorBoard's writer thread
    lightning_internals.py  every private name of Lightning and torch that the package uses
"""

from linreg_lightning.tight_loop.callback import TightLoop

__all__ = ["TightLoop"]
