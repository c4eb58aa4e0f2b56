"""What data modules hand to models: a few rows, their targets and their weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from linreg_lightning.errors import InputError


class Batch(NamedTuple):
    """Rows on their way to a model.

    A plain tuple to torch and Lightning, so that moving to a device, pinning and collating work
    as for any other batch; `Batch(*batch)` reads the `(x, y)` pairs of other data modules.

    Attributes:
        x: the features, (rows, features).
        y: the targets, (rows, targets); (rows, 0) where rows are only to be predicted.
        weight: how much each row counts, (rows,); None means 1 for every row.

    >>> Batch(torch.ones(4, 3), torch.ones(4, 1)).validate().rows
    4
    """

    x: Tensor
    y: Tensor
    weight: Tensor | None = None

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.x.shape[0]

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """A batch of what `function` makes of each tensor; a weight of None stays None."""
        weight = None if self.weight is None else function(self.weight)
        return Batch(function(self.x), function(self.y), weight)

    @classmethod
    def concatenate(cls, batches: Sequence[Batch]) -> Batch:
        """One batch with the rows of all of them, in order; a single batch is not copied."""
        if len(batches) == 1:
            return batches[0]
        weights = [batch.weight for batch in batches if batch.weight is not None]
        return cls(
            torch.cat([batch.x for batch in batches]),
            torch.cat([batch.y for batch in batches]),
            torch.cat(weights) if weights else None,
        )

    def validate(self) -> Batch:
        """Return the batch itself if its shapes belong together.

        Raises:
            InputError: a tensor has the wrong number of dimensions or of rows. Nothing broadcasts:
                a target of shape (rows,) against a prediction of shape (rows, 1) would otherwise
                be compared as (rows, rows).
        """
        x, y, weight = self
        shape = tuple(x.shape)
        if x.ndim != 2:
            raise InputError(f"x: a shape of {shape} was given; (rows, features) is needed")
        if y.ndim != 2 or len(y) != len(x):
            hint = ", for one target y.unsqueeze(1)" if y.ndim == 1 else ""
            raise InputError(
                f"y: a shape of {tuple(y.shape)} was given beside x of {shape}; "
                f"({len(x)}, targets) is needed{hint}"
            )
        if weight is not None and weight.shape != x.shape[:1]:
            raise InputError(
                f"weight: a shape of {tuple(weight.shape)} was given beside x of {shape}; "
                f"({len(x)},) is needed"
            )
        return self


class KeptBatch(NamedTuple):
    """A `Batch` of rows to predict, with the columns that the file of predictions keeps.

    `kept` is a pyarrow record batch of these columns, with the same rows.
    """

    x: Tensor
    y: Tensor
    weight: Tensor | None
    kept: Any
