"""The batches of a model: what loaders may give, what a model may answer, one more pass."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import copy
from itertools import islice
from typing import Any

from torch import Tensor

from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError
from linreg_lightning.protocols import ReadsInChunks


def as_batch(batch: Any) -> Batch:
    """Return (x, y) or (x, y, weight), as any loader may give it, as a `Batch`."""
    if isinstance(batch, Batch):
        return batch
    if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
        raise InputError(
            f"batch: a {type(batch).__name__} of {len(batch)} was given; give loaders whose "
            "batches are (x, y) or (x, y, weight)"
        )
    if not isinstance(batch[0], Tensor) or not isinstance(batch[1], Tensor):
        types = ", ".join(type(part).__name__ for part in batch)
        raise InputError(
            f"batch: ({types}) was given; give one loader, whose batches are tensors: (x, y) or "
            "(x, y, weight)"
        )
    return Batch(*batch)


def check_prediction(prediction: Tensor, y: Tensor, class_names: Sequence[str]) -> None:
    """Refuse a prediction that y would broadcast with, or of another number of classes."""
    if y.is_floating_point() and prediction.ndim != y.ndim:
        raise InputError(
            f"y: a shape of {tuple(y.shape)} was given, and the model predicts "
            f"{tuple(prediction.shape)}; give both as many dimensions"
        )
    columns = prediction.shape[1] if prediction.ndim == 2 else 1
    if class_names and columns not in (1, len(class_names)):  # 1: the logit of one of two classes
        raise InputError(
            f"class_names: the data have {len(class_names)} classes, {', '.join(class_names)}, and "
            f"the model predicts {columns} columns; give it one for each class"
        )


def check_losses(losses: Tensor, rows: int) -> Tensor:
    """Return the losses of a batch, or raise an InputError unless each row has one."""
    if losses.shape != (rows,):
        raise InputError(
            f"row_loss: a shape of {tuple(losses.shape)} was returned for {rows} rows; return the "
            f"loss of each row, ({rows},), as with reduction='none'"
        )
    return losses


def training_batches(trainer: Any) -> Iterator[Any]:
    """Yield the batches of one training epoch once more, as the loader gives them.

    If the loader never ends, stop after as many batches as the Trainer takes in its whole run.
    """
    loader, limit = trainer.train_dataloader, trainer.num_training_batches
    if loader is None:
        return
    if isinstance(loader, ReadsInChunks):
        yield from loader.chunks(limit)
        return
    count = _count_batches(trainer) if math.isinf(limit) else int(limit)
    # A copy, because reading the loader itself would move it to its next shuffle.
    yield from islice(copy(loader), count)


def _count_batches(trainer: Any) -> int | None:
    """Return how many batches the Trainer has taken or, before the first, takes at most."""
    taken: int = trainer.fit_loop.epoch_loop.batch_progress.total.ready
    if taken or trainer.max_steps == -1:
        return taken or None
    steps: int = trainer.max_steps * trainer.accumulate_grad_batches
    return steps
