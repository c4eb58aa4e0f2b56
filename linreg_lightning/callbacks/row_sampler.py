"""A random sample of a loader's rows with the model's predictions, for plots."""

import math
from collections.abc import Iterable, Mapping
from copy import copy
from itertools import islice
from typing import Any, NamedTuple, Self

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

from linreg_lightning.batch import Batch, FoldBatch
from linreg_lightning.protocols import is_single_pass

# No batch is read after this many rows, or numbers in x: a plot must not cost as much as another
# epoch.
_MAX_ROWS_READ = 2**18
_MAX_NUMBERS_READ = 2**28
_MAX_NUMBERS = 2**24  # in x of the sample: 64 MB, or 111 images of 3 x 224 x 224 pixels


class RowSample(NamedTuple):
    """Rows drawn at random from a loader, on the CPU.

    `x`, `y` and `predicted` are (rows, ...), and `weight` is (rows,). They were drawn from
    `rows_read` rows; `all_read` says whether these are all that the Trainer takes.
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

    def with_targets(self) -> Self:
        """Return the sample of a regression with y and predictions of shape (rows, targets)."""
        y = self.y.reshape(len(self.y), -1)
        return self._replace(y=y, predicted=self.predicted.reshape(y.shape))


def sample_caption(trainer: Trainer, model: object, samples: Mapping[str, RowSample]) -> str:
    """Return the step and which rows these are, of samples by the name of their split."""
    # An exact fit has one step, whose number tells nothing.
    step = "" if is_single_pass(model) else f"Step {trainer.global_step}. "
    rows = " and ".join(sample.describe(split) for split, sample in samples.items())
    return f"{step}{rows[:1].upper()}{rows[1:]}.{first_process_note(trainer)}"


def first_process_note(trainer: Trainer) -> str:
    """Say that other processes have other rows; "" for a single process."""
    count = trainer.world_size
    return f" Only rows of the first of {count} processes." if count > 1 else ""


def sample_rows(
    loader: Any,
    batches: float,
    trainer: Trainer,
    model: LightningModule,
    max_rows: int,
    any_y: bool = False,
) -> RowSample | None:
    """Draw rows of the loader's first `batches` batches and predict them, on the Trainer's device.

    The loader's position and its generators stay as they are. A model with a `predict_step` of its
    own predicts by that, another by `forward`. The result is None for several loaders, for batches
    that are not (x, y, ...) with float y, unless `any_y` allows other types, and where predictions
    are not a tensor of (rows, ...).
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
        drawn = _draw(islice(copy(loader), limit), max_rows, any_y)
    finally:
        for generator, state in states:
            generator.set_state(state)
    if drawn is None:
        return None
    predicted = _predict(drawn.rows, drawn.batch_size, trainer, model)
    if predicted is None:
        return None
    batch = apply_to_collection(drawn.rows, Tensor, Tensor.cpu)
    weight = batch.weight if isinstance(batch, Batch | FoldBatch) else None
    return RowSample(batch[0], batch[1], predicted, weight, drawn.rows_read, drawn.all_read)


class _Drawn(NamedTuple):
    rows: Any  # a batch of them
    batch_size: int  # of the loader
    rows_read: int
    all_read: bool


def _draw(batches: Iterable[Any], max_rows: int, any_y: bool) -> _Drawn | None:
    """Return the rows with the smallest random keys; None if there are no rows (x, y, ...)."""
    generator = torch.Generator().manual_seed(0)
    drawn: list[Any] = []
    keys, rows_read, all_read, batch_size, row_numbers = torch.empty(0), 0, True, 1, 1
    for batch in batches:
        if rows_read >= min(_MAX_ROWS_READ, _MAX_NUMBERS_READ // row_numbers):
            all_read = False
            break
        if not _is_supervised(batch, any_y):
            return None
        batch_size = max(batch_size, len(batch[0]))
        row_numbers = max(1, math.prod(batch[0].shape[1:]))
        max_rows = min(max_rows, max(1, _MAX_NUMBERS // row_numbers))
        if isinstance(batch, Batch | FoldBatch) and batch.weight is not None:
            batch = _select(batch, batch.weight.nonzero()[:, 0])  # weight 0 means absent
        drawn.append(batch)
        keys = torch.cat([keys, torch.rand(len(batch[0]), generator=generator)])
        rows_read += len(batch[0])
        if len(keys) > 4 * max_rows:
            drawn, keys = _smallest(drawn, keys, max_rows)
    if not rows_read:
        return None
    (rows,), _ = _smallest(drawn, keys, max_rows)
    return _Drawn(rows, batch_size, rows_read, all_read)


def _smallest(batches: list[Any], keys: Tensor, count: int) -> tuple[list[Any], Tensor]:
    """Return one batch of the rows with the smallest keys, in their order, and these keys."""
    columns = zip(*batches, strict=True)
    parts = [torch.cat(c) if isinstance(c[0], Tensor) and c[0].ndim else c[0] for c in columns]
    kind = type(batches[0])
    batch = kind(*parts) if hasattr(kind, "_fields") else kind(parts)
    chosen = keys.argsort()[:count].sort().values
    return [_select(batch, chosen)], keys[chosen]


def _is_supervised(batch: Any, any_y: bool) -> bool:
    match batch:
        case [Tensor() as x, Tensor() as y, *_]:
            return x.shape[:1] == y.shape[:1] != () and (any_y or y.is_floating_point())
    return False


def _select(batch: Any, rows: Tensor) -> Any:
    """Return some rows of all tensors that have a value for each row."""
    count = batch[0].shape[:1]
    return apply_to_collection(
        batch, Tensor, lambda part: part[rows.to(part.device)] if part.shape[:1] == count else part
    )


def _predict(rows: Any, batch_size: int, trainer: Trainer, model: LightningModule) -> Tensor | None:
    """Return the predictions on the CPU, made in batches that the device has had room for."""
    own_step = is_overridden("predict_step", model)
    parts: list[Tensor] = []
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            for k, chosen in enumerate(torch.arange(len(rows[0])).split(batch_size)):
                batch = trainer.precision_plugin.convert_input(_select(rows, chosen))
                batch = trainer.strategy.batch_to_device(batch)
                part = model.predict_step(batch, k) if own_step else model(batch[0])
                if not isinstance(part, Tensor) or part.shape[:1] != chosen.shape:
                    return None
                parts.append(part.cpu())
    except NotImplementedError:  # the model has no `forward`
        return None
    finally:
        model.train(training)
    return torch.cat(parts)
