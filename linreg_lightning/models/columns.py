"""The columns of a model: their names, and whether a batch has them."""

from typing import Self, final

import torch
from torch import Tensor

from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError
from linreg_lightning.models.batches import as_batch
from linreg_lightning.validation import check_argument


@final
class ModelColumns:
    """The features and targets of a model; data and batches must have the same.

    Args:
        features: the columns of x.
        targets: the columns of y; none as long as the model waits for data to name them.
        named: whether data have named the columns; if not, only their numbers count.

    >>> columns = ModelColumns.from_counts(2, None)
    >>> columns.features, columns.targets
    (['x1', 'x2'], ['y'])
    >>> columns.check_same(["sqft", "age"], ["price"])  # two features, one target: no error
    """

    def __init__(self, features: list[str], targets: list[str], named: bool = True) -> None:
        self.features, self.targets, self.named = features, targets, named
        self._last_valid_shapes: tuple[torch.Size | None, ...] | None = None

    @classmethod
    def from_counts(cls, in_features: int | None, out_features: int | None) -> Self:
        """Columns of which only the numbers are known; no columns if `in_features` is None."""
        counts = ("in_features", in_features, 0), ("out_features", out_features, 1)
        for name, count, least in counts:
            valid = count is None or count >= least
            check_argument(name, count, valid, "how many columns there are")
        if in_features is None:
            return cls([], [], named=False)
        features = [f"x{j + 1}" for j in range(in_features)]
        targets = [f"y{k + 1}" for k in range(out_features or 1)]
        return cls(features, targets if len(targets) > 1 else ["y"], named=False)

    def __bool__(self) -> bool:
        return bool(self.targets)

    @property
    def intercept(self) -> int | None:
        """The index in x of the column of ones, which is named `intercept`; None: x has none."""
        return self.features.index("intercept") if "intercept" in self.features else None

    def check_same(self, features: list[str], targets: list[str]) -> None:
        """Raise an InputError unless these are the model's columns, in order.

        Names count if data have named the model's columns, and numbers if there are columns at all.
        """
        pairs = ("features", self.features, features), ("target", self.targets, targets)
        for argument, fitted, given in pairs:
            if self.named and given != fitted:
                raise InputError(
                    f"{argument}: the model was fitted on {', '.join(fitted) or 'none'}, in this "
                    f"order; the data have {', '.join(given) or 'none'}; give the columns of the "
                    "model"
                )
        n, m = len(self.features), len(self.targets)
        if self and (len(features), len(targets)) != (n, m):
            raise InputError(
                f"in_features and out_features: the model has {n} and {m} columns; the data have "
                f"{len(features)} ({', '.join(features)}) and {len(targets)} "
                f"({', '.join(targets)}); leave these arguments out"
            )

    def validate_batch(self, batch: Batch | tuple[Tensor, ...], classes: bool = False) -> Batch:
        """Return (x, y) or (x, y, weight) as a `Batch`, or raise if it has other columns.

        y is (rows, targets), or with `classes` the number of each row's class, (rows,).
        """
        batch = as_batch(batch)
        x, y, weight = batch
        shapes = x.shape, y.shape, None if weight is None else weight.shape
        if shapes != self._last_valid_shapes:  # nearly all batches have the shapes of the last one
            batch.validate()
            check_width("x", x, self.features)
            if not classes:
                check_width("y", y, self.targets)
            elif y.ndim != 1:
                raise InputError(
                    f"y: a shape of {tuple(y.shape)} was given; a model of classes needs the "
                    f"number of each row's class, ({len(y)},)"
                )
            self._last_valid_shapes = shapes
        return batch


def check_width(name: str, tensor: Tensor, columns: list[str]) -> None:
    """Raise an InputError unless x, or y, has as many columns as the model."""
    if tensor.shape[1:] != (len(columns),):
        raise InputError(
            f"{name}: a batch of shape {tuple(tensor.shape)} was given to a model of "
            f"{len(columns)} columns: {', '.join(columns)}; give exactly these columns"
        )
