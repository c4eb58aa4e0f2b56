"""The batches of a model: what loaders may give, what a model may answer, one more pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from linreg_lightning.batch import Batch, FoldBatch
from linreg_lightning.errors import InputError
from linreg_lightning.protocols import ReadsInChunks


def as_batch(batch: Any) -> Batch:
    """Return (x, y), (x, y, weight) or a `FoldBatch`, as any loader may give it, as a `Batch`."""
    if isinstance(batch, Batch):
        return batch
    if isinstance(batch, FoldBatch):
        return batch.validate_rows().batch
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


def in_precision(tensor: Tensor, dtype: Any) -> Tensor:
    """Return a tensor in a precision; whole numbers, such as those of classes, stay as they are."""
    # `to` takes a microsecond, a fortieth of a small step, even if the dtype is the same.
    if tensor.dtype is dtype or not tensor.is_floating_point():
        return tensor
    return tensor.to(dtype)


def row_losses(
    row_loss: Callable[[Tensor, Tensor], Tensor],
    prediction: Tensor,
    y: Tensor,
    class_names: Sequence[str],
) -> Tensor:
    """Return the loss of each row, (rows,), in float32 or better.

    Raises:
        InputError: y would broadcast with the prediction, or has another number of classes; there
            is not one loss a row.
    """
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
    dtype = torch.promote_types(prediction.dtype, torch.float32)
    try:
        losses = row_loss(in_precision(prediction, dtype), in_precision(y, dtype))
    except UserWarning as warning:  # the command turns torch's warning of broadcasting into it
        raise InputError(
            f"row_loss: y of {tuple(y.shape)} was compared with a prediction of "
            f"{tuple(prediction.shape)}; give both the same shape in row_loss ({warning})"
        ) from warning
    if losses.shape != y.shape[:1]:
        raise InputError(
            f"row_loss: a shape of {tuple(losses.shape)} was returned for {len(y)} rows; return "
            f"the loss of each row, ({len(y)},), as with reduction='none'"
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
