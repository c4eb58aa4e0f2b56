"""The rows that a model is trained on, once more."""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import copy
from itertools import islice
from typing import Any

from linreg_lightning.batch import Batch


def training_batches(model: Any) -> Iterator[Batch]:
    """Yield the batches of an epoch, where the model is; of a loader without end, those taken.

    A loader with `chunks(batches)` is asked for more rows at a time than a step takes.

    Args:
        model: a SupervisedModule within a fit.
    """
    trainer = model.trainer
    loader, limit = trainer.train_dataloader, trainer.num_training_batches
    if loader is None:
        return
    if hasattr(loader, "chunks"):
        batches = loader.chunks(limit)
    else:
        if math.isinf(limit):
            limit = trainer.fit_loop.epoch_loop.batch_progress.total.ready or _most(trainer)
        # A copy, so that the loader itself does not lose its place among its epochs.
        batches = islice(copy(loader), None if math.isinf(limit) else int(limit))
    for batch in batches:
        yield model.checked(model.transfer_batch_to_device(batch, model.device, 0))


def _most(trainer: Any) -> float:
    """How many batches the Trainer takes at most."""
    steps: int = trainer.max_steps
    return math.inf if steps == -1 else steps * trainer.accumulate_grad_batches
