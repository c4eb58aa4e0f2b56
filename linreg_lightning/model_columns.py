"""The columns that a model is of."""

from __future__ import annotations

from typing import Self, final

import torch
from torch import Tensor

from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError


@final
class ModelColumns:
    """The features and targets of a model, which whatever comes to it must have.

    Args:
        features: the columns of x.
        targets: the columns of y; none where a model waits for data to say what they are.
        named: whether these are names, or only a number of columns that is still to be named.

    >>> columns = ModelColumns.counted(2, None)
    >>> columns.features, columns.named_as(["sqft", "age"], ["price"]).features
    (['x1', 'x2'], ['sqft', 'age'])
    """

    def __init__(self, features: list[str], targets: list[str], named: bool = True) -> None:
        self.features, self.targets, self.named = features, targets, named
        self._fitting_shapes: tuple[torch.Size | None, ...] | None = None

    @classmethod
    def counted(cls, in_features: int | None, out_features: int | None) -> Self:
        """So many, still to be named; none where the first number is None.

        Raises:
            InputError: features below 0, or targets below 1.
        """
        for name, value in (("in_features", in_features), ("out_features", out_features)):
            if value is not None and value < (name == "out_features"):
                raise InputError(f"{name}: {value} was given; type how many columns there are")
        if in_features is None:
            return cls([], [], named=False)
        features = [f"x{j}" for j in range(1, in_features + 1)]
        if out_features in (None, 1):
            return cls(features, ["y"], named=False)
        return cls(features, [f"y{k}" for k in range(1, out_features + 1)], named=False)

    def __bool__(self) -> bool:
        return bool(self.targets)

    def named_as(self, features: list[str], targets: list[str]) -> Self:
        """These columns under the names that data have for them.

        Raises:
            InputError: the names, their order or their number are others than these.
        """
        if self.named and self.features != features:
            raise _others("features", self.features, features)
        if self.named and self.targets != targets:
            raise _others("target", self.targets, targets)
        own = len(self.features), len(self.targets)
        if self and (len(features), len(targets)) != own:
            raise InputError(
                f"in_features and out_features: the model has {own[0]} and {own[1]} columns; the "
                f"data have {len(features)} ({', '.join(features)}) and {len(targets)} "
                f"({', '.join(targets)}); leave these arguments out"
            )
        return type(self)(features, targets)

    def checked(self, batch: Batch | tuple[Tensor, ...]) -> Batch:
        """The batch, or (x, y) of a foreign loader, if it fits.

        Raises:
            InputError: shapes that do not belong together, or other columns.
        """
        if not isinstance(batch, Batch):
            if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
                raise InputError(
                    f"batch: a {type(batch).__name__} of {len(batch)} was given; give loaders "
                    "whose batches are (x, y) or (x, y, weight)"
                )
            if not isinstance(batch[0], Tensor) or not isinstance(batch[1], Tensor):
                kinds = ", ".join(type(part).__name__ for part in batch)
                raise InputError(
                    f"batch: ({kinds}) was given; give one loader, whose batches are tensors: "
                    "(x, y) or (x, y, weight)"
                )
            batch = Batch(*batch)
        x, y, weight = batch
        shapes = x.shape, y.shape, None if weight is None else weight.shape
        if shapes == self._fitting_shapes:
            return batch  # almost all batches are like the one before
        batch.validate()
        self.check_x(x)
        _check_width("y", y, self.targets)
        self._fitting_shapes = shapes
        return batch

    def check_x(self, x: Tensor) -> None:
        """Refuse rows of another number of features.

        Raises:
            InputError: they have it.
        """
        _check_width("x", x, self.features)


def _check_width(name: str, batch: Tensor, columns: list[str]) -> None:
    if batch.shape[1:] != (len(columns),):
        raise InputError(
            f"{name}: a batch of shape {tuple(batch.shape)} was given to a model of "
            f"{len(columns)} columns: {', '.join(columns)}; give it these"
        )


def _others(argument: str, fitted: list[str], given: list[str]) -> InputError:
    return InputError(
        f"{argument}: the model was fitted on {', '.join(fitted) or 'none'}, in this order; the "
        f"data have {', '.join(given) or 'none'}; name the model's columns in --data.{argument}"
    )
