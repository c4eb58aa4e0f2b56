"""Some rows of a loader, and what a model makes of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from itertools import islice
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

_LOOK_AT = 2**18
"""Rows after which no further batch is asked for: a look at the data must not be another epoch."""


class Sample(NamedTuple):
    """Rows drawn at random from those that a loader brought, on the CPU.

    Attributes:
        x: the first tensor of their batches, (rows, ...).
        y: the second, (rows, targets).
        predicted: the model's, (rows, targets).
        weight: (rows,), or None.
        seen: how many rows they were drawn from.
        whole: whether these were all that the Trainer takes.
    """

    x: Tensor
    y: Tensor
    predicted: Tensor
    weight: Tensor | None
    seen: int
    whole: bool

    @classmethod
    def of(
        cls,
        loader: Any,
        batches: float,
        trainer: Trainer,
        model: LightningModule,
        most: int,
    ) -> Sample | None:
        """Draw rows and predict them; None where batches or predictions are of another kind.

        Neither the loader's place among its epochs nor any random stream is moved. A batch is
        (x, y, ...), with y floating and one prediction for each number in it. Where the model has
        a `predict_step` it predicts, else the model itself, of x.

        Args:
            loader: what a data module gave; several at once are another kind.
            batches: how many of its batches the Trainer takes.
            trainer: whose precision and device the prediction is made in.
            model: the model.
            most: how many rows to draw.
        """
        if isinstance(loader, list | tuple) and len(loader) == 1:
            loader = loader[0]
        if loader is None or isinstance(loader, dict | list | tuple):
            return None
        with _streams_kept(loader):
            taken = None if math.isinf(batches) else int(batches)
            drawn = _draw(islice(copy(loader), taken), most)
            if drawn is None:
                return None
            batch, seen, whole = drawn
            predicted = _predict(batch, trainer, model)
        y = batch[1].reshape(len(batch[1]), -1).cpu()
        if predicted is None or predicted.numel() != y.numel():
            return None
        weight = getattr(batch, "weight", None)
        return cls(
            batch[0].cpu(),
            y,
            predicted.reshape(y.shape).cpu(),
            None if weight is None else weight.cpu(),
            seen,
            whole,
        )

    def says(self, rows: str) -> str:
        """What a caption says of them.

        >>> Sample(*[torch.ones(20, 1)] * 3, None, 20, True).says("training")
        'all 20 training rows'
        >>> Sample(*[torch.ones(20, 1)] * 3, None, 5000, True).says("training")
        '20 of 5000 training rows, drawn at random'
        """
        if self.whole and self.seen == len(self.y):
            return f"all {self.seen} {rows} rows"
        first = "" if self.whole else "the first "
        return f"{len(self.y)} of {first}{self.seen} {rows} rows, drawn at random"


@contextmanager
def _streams_kept(loader: Any) -> Iterator[None]:
    """Leave all random streams where they are, those of the loader's own included."""
    owners = loader, getattr(loader, "sampler", None)
    generators = [getattr(owner, "generator", None) for owner in owners]
    states = [(g, g.get_state()) for g in generators if isinstance(g, torch.Generator)]
    failure: Exception | None = None
    with isolate_rng(include_cuda=False):
        try:
            yield
        except Exception as error:  # which would leave `isolate_rng` before it resets anything
            failure = error
    for generator, state in states:
        generator.set_state(state)
    if failure is not None:
        raise failure


def _draw(loader: Iterable[Any], most: int) -> tuple[Any, int, bool] | None:
    """Rows with the smallest of random keys, as one batch; how many were seen, and whether all."""
    generator = torch.Generator().manual_seed(0)
    parts: list[Any] = []
    keys: list[Tensor] = []
    held, limit, seen, whole = 0, math.inf, 0, True
    for batch in loader:
        if seen >= _LOOK_AT:
            whole = False
            break
        if not _is_regression(batch):
            return None
        weight = getattr(batch, "weight", None)
        if weight is not None:
            batch = _rows(batch, weight.nonzero()[:, 0])  # a row of weight 0 is as good as absent
        seen += len(batch[0])
        own = torch.rand(len(batch[0]), generator=generator)
        # No row behind the last of the smallest so far can be among the smallest of all.
        batch, own = _smallest(batch, own, min(most, int((own < limit).sum())))
        parts.append(batch)
        keys.append(own)
        held += len(own)
        if held > 4 * most:
            kept, own = _smallest(_joined(parts), torch.cat(keys), most)
            parts, keys, held, limit = [kept], [own], most, own.max().item()
    if not seen:
        return None
    return _smallest(_joined(parts), torch.cat(keys), min(most, held))[0], seen, whole


def _smallest(batch: Any, keys: Tensor, most: int) -> tuple[Any, Tensor]:
    """So many rows of a batch, those of the smallest keys, in their order; and their keys."""
    if most == len(keys):
        return batch, keys
    few = keys.topk(most, largest=False, sorted=False).indices.sort().values
    return _rows(batch, few), keys[few]


def _is_regression(batch: Any) -> bool:
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        return False
    x, y = batch[:2]
    if not (isinstance(x, Tensor) and isinstance(y, Tensor) and x.ndim and y.ndim):
        return False
    return len(x) == len(y) and y.is_floating_point()


def _rows(batch: Any, few: Tensor) -> Any:
    rows = len(batch[0])

    def chosen(part: Any) -> Any:
        whole = isinstance(part, Tensor) and part.ndim and len(part) == rows
        return part[few.to(part.device)] if whole else part

    return _like(batch, map(chosen, batch))


def _like(batch: Any, parts: Iterable[Any]) -> Any:
    return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)


def _joined(batches: list[Any]) -> Any:
    if len(batches) == 1:
        return batches[0]

    def join(parts: tuple[Any, ...]) -> Any:
        return torch.cat(parts) if isinstance(parts[0], Tensor) and parts[0].ndim else parts[0]

    return _like(batches[-1], map(join, zip(*batches, strict=True)))


def _predict(batch: Any, trainer: Trainer, model: LightningModule) -> Tensor | None:
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            batch = trainer.precision_plugin.convert_input(batch)
            batch = trainer.strategy.batch_to_device(batch)
            own = is_overridden("predict_step", model)
            predicted = model.predict_step(batch, 0) if own else model(batch[0])
    except NotImplementedError:  # a model without `forward`
        return None
    finally:
        model.train(training)
    return predicted if isinstance(predicted, Tensor) else None
