"""A random sample of a loader's rows with the model's predictions, for plots."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor

from linreg_lightning.batch import Batch

_MAX_ROWS_READ = 2**18
"""No batch is read after this many rows: a plot must not cost as much as another epoch."""


class RowSample(NamedTuple):
    """Rows drawn at random from a loader, on the CPU.

    Attributes:
        x: the first tensor of the batches, (rows, ...).
        y: the second, (rows, targets).
        predicted: the model's predictions, (rows, targets).
        weight: (rows,), or None.
        rows_read: the number of rows they were drawn from.
        all_read: whether these were all rows that the Trainer takes.
    """

    x: Tensor
    y: Tensor
    predicted: Tensor
    weight: Tensor | None
    rows_read: int
    all_read: bool

    def describe(self, split: str) -> str:
        """Say in a caption which rows these are.

        >>> RowSample(*[torch.ones(20, 1)] * 3, None, 20, True).describe("training")
        'all 20 training rows'
        >>> RowSample(*[torch.ones(20, 1)] * 3, None, 5000, True).describe("training")
        '20 of 5000 training rows, drawn at random'
        """
        if self.all_read and self.rows_read == len(self.y):
            return f"all {self.rows_read} {split} rows"
        first = "" if self.all_read else "the first "
        return f"{len(self.y)} of {first}{self.rows_read} {split} rows, drawn at random"


def sample_rows(
    loader: Any, batches: float, trainer: Trainer, model: LightningModule, max_rows: int
) -> RowSample | None:
    """Draw rows from a loader and predict them; None unless batches are (x, y, ...) with float y.

    The result is also None where the model does not predict one number for each number of y. The
    loader's position and all random states stay as they are. The model's `predict_step` predicts if
    the model overrides it, else its `forward` predicts from x.

    Args:
        loader: one loader from a data module; None for several.
        batches: how many of its batches the Trainer takes.
        trainer: it gives the precision and the device.
        model: the model that predicts.
        max_rows: how many rows to draw.
    """
    if isinstance(loader, list | tuple) and len(loader) == 1:
        loader = loader[0]
    if loader is None or isinstance(loader, dict | list | tuple):
        return None
    with _random_states_restored(loader):
        limit = None if math.isinf(batches) else int(batches)
        # A copy, because a loader may count the epochs for which it is iterated.
        drawn = _draw(islice(copy(loader), limit), max_rows)
        if drawn is None:
            return None
        batch, rows_read, all_read = drawn
        predicted = _predict(batch, trainer, model)
    y = batch[1].reshape(len(batch[1]), -1).cpu()
    if predicted is None or predicted.numel() != y.numel():
        return None
    weight = _weight(batch)
    weight = None if weight is None else weight.cpu()
    predicted = predicted.reshape(y.shape).cpu()
    return RowSample(batch[0].cpu(), y, predicted, weight, rows_read, all_read)


@contextmanager
def _random_states_restored(loader: Any) -> Iterator[None]:
    """Restore the random states of torch, numpy, Python and the loader afterwards."""
    owners = loader, getattr(loader, "sampler", None)
    generators = [getattr(owner, "generator", None) for owner in owners]
    states = [(g, g.get_state()) for g in generators if isinstance(g, torch.Generator)]
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)
            for generator, state in states:
                generator.set_state(state)


def _draw(batches: Iterable[Any], max_rows: int) -> tuple[Any, int, bool] | None:
    """Return the rows with the smallest random keys, the number read, and whether all were."""
    generator = torch.Generator().manual_seed(0)
    held: list[Any] = []
    keys: list[Tensor] = []
    rows_held = rows_read = 0
    all_read = True
    for batch in batches:
        if rows_read >= _MAX_ROWS_READ:
            all_read = False
            break
        if not _is_regression(batch):
            return None
        weight = _weight(batch)
        if weight is not None:  # rows of weight 0 count as absent
            batch = _select(batch, weight.nonzero()[:, 0])
        held.append(batch)
        keys.append(torch.rand(len(batch[0]), generator=generator))
        rows_read += len(batch[0])
        rows_held += len(batch[0])
        if rows_held > 4 * max_rows:
            batch, key = _smallest(held, keys, max_rows)
            held, keys, rows_held = [batch], [key], max_rows
    if not rows_read:
        return None
    return _smallest(held, keys, max_rows)[0], rows_read, all_read


def _smallest(batches: list[Any], keys: list[Tensor], count: int) -> tuple[Any, Tensor]:
    """Return the rows with the smallest keys, in their original order, and their keys."""
    batch, key = _concatenate(batches), torch.cat(keys)
    if len(key) <= count:
        return batch, key
    chosen = key.topk(count, largest=False, sorted=False).indices.sort().values
    return _select(batch, chosen), key[chosen]


def _is_regression(batch: Any) -> bool:
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        return False
    x, y = batch[:2]
    if not (isinstance(x, Tensor) and isinstance(y, Tensor) and x.ndim and y.ndim):
        return False
    return len(x) == len(y) and y.is_floating_point()


def _weight(batch: Any) -> Tensor | None:
    return batch.weight if isinstance(batch, Batch) else None


def _select(batch: Any, rows: Tensor) -> Any:
    """Return some rows of all tensors that have a value for each row."""
    count = len(batch[0])
    per_row = [isinstance(p, Tensor) and p.ndim > 0 and len(p) == count for p in batch]
    parts = zip(batch, per_row, strict=True)
    return _like(batch, [part[rows.to(part.device)] if own else part for part, own in parts])


def _concatenate(batches: list[Any]) -> Any:
    parts = zip(*batches, strict=True)
    tensors = [torch.cat(p) if isinstance(p[0], Tensor) and p[0].ndim else p[0] for p in parts]
    return _like(batches[0], tensors)


def _like(batch: Any, parts: list[Any]) -> Any:
    """Return a batch of the same type with these parts."""
    return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)


def _predict(batch: Any, trainer: Trainer, model: LightningModule) -> Tensor | None:
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            batch = trainer.precision_plugin.convert_input(batch)
            batch = trainer.strategy.batch_to_device(batch)
            if is_overridden("predict_step", model):
                predicted = model.predict_step(batch, 0)
            else:
                predicted = model(batch[0])
    except NotImplementedError:  # the model has no `forward`
        return None
    finally:
        model.train(training)
    return predicted if isinstance(predicted, Tensor) else None
