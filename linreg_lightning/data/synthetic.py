"""Rows of a linear model whose weights are known."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from linreg_lightning.batch import Batch
from linreg_lightning.data.base import RegressionDataModule
from linreg_lightning.errors import InputError
from linreg_lightning.tutorial import make_rows


@final
class SyntheticData(RegressionDataModule):
    """Known weights plus noise: y = w0 + w1 x1 + w2 x2 + ... + noise * N(0, 1), each x N(0, 1).

    The defaults are the tutorial's problem, y = 1 + 2 x1 + 3 x2, and `make_rows` draws it: the rows
    to train on are those of `python -m linreg_lightning.tutorial`.

    Args:
        weights: the truth, the intercept first: one list of numbers, or a list of such lists, one
            for each target. Without it the weights count: 1, 2, 3, ...
        features: how many x there are, where no weights are given (default 2).
        targets: how many y there are, where no weights are given (default 1).
        noise: standard deviation of the noise, in units of y.
        rows: rows to train on.
        val_rows: rows for validation, 0 for none.
        test_rows: rows for test and predict, 0 for none.
        ones: whether x has a column of ones, named `intercept`. Without it y still has its
            constant, which is then for the model to add.
        batch_size: rows in a batch; null for all at once.
        shuffle: whether batches are cut from another order of the rows each epoch; `blocks`: of the
            batches, which is faster (BatchLoader says what it means).
        seed: of the data's own generator; `--seed_everything` does not change the rows.

    Raises:
        InputError: weights that are no table of finite numbers; weights beside features or targets;
            a negative noise; too few rows.

    >>> data = SyntheticData(rows=8)
    >>> data.setup("fit")
    >>> data.feature_names, data.splits["train"].x.shape
    (['intercept', 'x1', 'x2'], torch.Size([8, 3]))
    """

    split_option: ClassVar[str] = "{split}_rows 100"

    def __init__(
        self,
        weights: list[float] | list[list[float]] | None = None,
        features: int | None = None,
        targets: int | None = None,
        noise: float = 0.5,
        rows: int = 100,
        val_rows: int = 100,
        test_rows: int = 100,
        ones: bool = True,
        batch_size: int | None = None,
        shuffle: bool | Literal["blocks"] = True,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, shuffle, seed)
        if not (noise >= 0 and math.isfinite(noise)):
            raise InputError(f"noise: {noise} was given; type a number, 0 or above")
        for name, value, least in (
            ("rows", rows, 2),
            ("val_rows", val_rows, 0),
            ("test_rows", test_rows, 0),
        ):
            if value < least:
                raise InputError(
                    f"{name}: {value} was given; type a whole number, {least} or above"
                )
        self.weights = _table(weights, features, targets)
        self.save_hyperparameters()
        self._ones = ones

    @property
    def feature_names(self) -> list[str]:
        """`intercept` for a column of ones, then x1, x2, ..."""
        names = ["intercept", *(f"x{j}" for j in range(1, self.weights.shape[0]))]
        return names if self._ones else names[1:]

    @property
    def target_names(self) -> list[str]:
        """`y`, or y1, y2, ... where there are several."""
        targets = self.weights.shape[1]
        return ["y"] if targets == 1 else [f"y{k}" for k in range(1, targets + 1)]

    @property
    def true_coefficients(self) -> dict[str, dict[str, float]]:
        """The weights by target and name."""
        names = ["intercept", *(name for name in self.feature_names if name != "intercept")]
        return {
            target: dict(zip(names, column, strict=True))
            for target, column in zip(self.target_names, self.weights.T.tolist(), strict=True)
        }

    def load(self, stage: str) -> None:
        """Draw the rows; those to train on come first, so they do not depend on the others."""
        generator = torch.Generator().manual_seed(self.hparams["seed"])
        self.splits["train"] = self._draw(self.hparams["rows"], generator)
        self.splits["val"] = self._draw(self.hparams["val_rows"], generator)
        self.splits["test"] = self._draw(self.hparams["test_rows"], generator)
        self.splits["predict"] = self.splits["test"]

    def _draw(self, rows: int, generator: torch.Generator) -> Batch:
        x, y = make_rows(self.weights.float(), rows, self.hparams["noise"], generator)
        return Batch(x if self._ones else x[:, 1:].contiguous(), y)


def _table(
    weights: list[float] | list[list[float]] | None, features: int | None, targets: int | None
) -> Tensor:
    """The weights as (1 + features, targets)."""
    if weights is None:
        features = 2 if features is None else features
        targets = 1 if targets is None else targets
        for name, value, least in (("features", features, 0), ("targets", targets, 1)):
            if value < least:
                raise InputError(
                    f"{name}: {value} was given; type a whole number, {least} or above"
                )
        size = (1 + features) * targets
        return torch.arange(1, size + 1, dtype=torch.float64).reshape(targets, -1).T
    if features is not None or targets is not None:
        raise InputError(
            "weights: given beside features or targets, which they determine; leave one of them out"
        )
    try:
        table = torch.tensor(weights, dtype=torch.float64)
    except (TypeError, ValueError):
        table = torch.empty(0)
    if table.ndim not in (1, 2) or not table.numel() or not table.isfinite().all():
        raise InputError(
            f"weights: {weights} was given; type a list of numbers, the intercept first, such as "
            "[1, 2, 3], or a list of such lists of one length, one for each target"
        )
    return table.reshape(-1, table.shape[-1]).T
