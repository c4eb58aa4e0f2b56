"""A random sample of a loader's rows with the model's predictions, for plots."""

import math
from collections.abc import Iterable
from copy import copy
from itertools import islice
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

from linreg_lightning.batch import Batch

# No batch is read after this many rows: a plot must not cost as much as another epoch.
_MAX_ROWS_READ = 2**18


class RowSample(NamedTuple):
    """Rows drawn at random from a loader, on the CPU.

    `x` is (rows, ...), `y` and `predicted` are (rows, targets), and `weight` is (rows,). They were
    drawn from `rows_read` rows; `all_read` says whether these are all that the Trainer takes.
    """

    x: Tensor
    y: Tensor
    predicted: Tensor
    weight: Tensor | None
    rows_read: int
    all_read: bool

    def describe(self, split: str) -> str:
        """Say which rows these are, as in '20 of 5000 training rows, drawn at random'."""
        if self.all_read and self.rows_read == len(self.y):
            return f"all {self.rows_read} {split} rows"
        first = "" if self.all_read else "the first "
        return f"{len(self.y)} of {first}{self.rows_read} {split} rows, drawn at random"


def sample_rows(
    loader: Any, batches: float, trainer: Trainer, model: LightningModule, max_rows: int
) -> RowSample | None:
    """Draw rows of the loader's first `batches` batches and predict them, on the Trainer's device.

    The loader's position and its generators stay as they are. A model with a `predict_step` of its
    own predicts by that, another by `forward`. The result is None for several loaders, for batches
    that are not (x, y, ...) with float y, and where predictions do not match y.
    """
    if isinstance(loader, list | tuple) and len(loader) == 1:
        loader = loader[0]
    if loader is None or isinstance(loader, dict | list | tuple):
        return None
    owners = loader, getattr(loader, "sampler", None)
    generators = [getattr(owner, "generator", None) for owner in owners]
    states = [(g, g.get_state()) for g in generators if isinstance(g, torch.Generator)]
    limit = None if math.isinf(batches) else int(batches)
    try:
        # A copy, because a loader may count the epochs for which it is iterated.
        drawn = _draw(islice(copy(loader), limit), max_rows)
    finally:
        for generator, state in states:
            generator.set_state(state)
    if drawn is None:
        return None
    batch, rows_read, all_read = drawn
    predicted = _predict(batch, trainer, model)
    batch = apply_to_collection(batch, Tensor, Tensor.cpu)
    y = batch[1].reshape(len(batch[1]), -1)
    if predicted is None or predicted.numel() != y.numel():
        return None
    weight = batch.weight if isinstance(batch, Batch) else None
    return RowSample(batch[0], y, predicted.cpu().reshape(y.shape), weight, rows_read, all_read)


def _draw(batches: Iterable[Any], max_rows: int) -> tuple[Any, int, bool] | None:
    """Return the rows with the smallest random keys, the number read, and whether all were."""
    generator = torch.Generator().manual_seed(0)
    drawn: list[Any] = []
    keys, rows_read, all_read = torch.empty(0), 0, True
    for batch in batches:
        if rows_read >= _MAX_ROWS_READ:
            all_read = False
            break
        if not _is_regression(batch):
            return None
        if isinstance(batch, Batch) and batch.weight is not None:
            batch = _select(batch, batch.weight.nonzero()[:, 0])  # weight 0 means absent
        drawn.append(batch)
        keys = torch.cat([keys, torch.rand(len(batch[0]), generator=generator)])
        rows_read += len(batch[0])
        if len(keys) > 4 * max_rows:
            drawn, keys = _smallest(drawn, keys, max_rows)
    return (_smallest(drawn, keys, max_rows)[0][0], rows_read, all_read) if rows_read else None


def _smallest(batches: list[Any], keys: Tensor, count: int) -> tuple[list[Any], Tensor]:
    """Return one batch of the rows with the smallest keys, in their order, and these keys."""
    columns = zip(*batches, strict=True)
    parts = [torch.cat(c) if isinstance(c[0], Tensor) and c[0].ndim else c[0] for c in columns]
    kind = type(batches[0])
    batch = kind(*parts) if hasattr(kind, "_fields") else kind(parts)
    chosen = keys.argsort()[:count].sort().values
    return [_select(batch, chosen)], keys[chosen]


def _is_regression(batch: Any) -> bool:
    match batch:
        case [Tensor() as x, Tensor() as y, *_]:
            return x.shape[:1] == y.shape[:1] != () and y.is_floating_point()
    return False


def _select(batch: Any, rows: Tensor) -> Any:
    """Return some rows of all tensors that have a value for each row."""
    count = batch[0].shape[:1]
    return apply_to_collection(
        batch, Tensor, lambda part: part[rows.to(part.device)] if part.shape[:1] == count else part
    )


def _predict(batch: Any, trainer: Trainer, model: LightningModule) -> Tensor | None:
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            batch = trainer.precision_plugin.convert_input(batch)
            batch = trainer.strategy.batch_to_device(batch)
            own_step = is_overridden("predict_step", model)
            predicted = model.predict_step(batch, 0) if own_step else model(batch[0])
    except NotImplementedError:  # the model has no `forward`
        return None
    finally:
        model.train(training)
    return predicted if isinstance(predicted, Tensor) else None
