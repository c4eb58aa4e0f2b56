"""Rows of a linear model whose coefficients are known."""

import math
from contextlib import suppress
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from linreg_lightning.batch import Batch
from linreg_lightning.data.base import RegressionDataModule, Split
from linreg_lightning.errors import InputError
from linreg_lightning.tutorial import make_rows
from linreg_lightning.validation import check_argument


@final
class SyntheticData(RegressionDataModule):
    """y = b0 + b1 x1 + b2 x2 + ... + noise * N(0, 1), each x N(0, 1), with known coefficients b.

    The defaults are the tutorial's rows: y = 1 + 2 x1 + 3 x2.

    Args:
        weights: the coefficients, the intercept first: a list of numbers, or one such list for each
            target. Without it they are 1, 2, 3, ...
        features: how many x there are, where no coefficients are given (default 2).
        targets: how many y there are, where no coefficients are given (default 1).
        noise: standard deviation of the noise, in units of y.
        rows: rows to train on.
        val_rows: rows for validation, 0 for none.
        test_rows: rows for test and predict, 0 for none.
        ones: whether x has a column of ones, `intercept`; else the model adds y's constant.
        batch_size: rows in a batch; null for all at once.
        shuffle: whether each epoch orders the rows anew; `blocks` orders batches, which is faster.
        seed: of the data's own generator; `--seed_everything` does not change the rows.

    Raises:
        InputError: coefficients that are no table of finite numbers, or that are given beside
            features or targets; a negative noise; too few rows.

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
        check_argument("noise", noise, 0 <= noise < math.inf, "a number, 0 or above")
        _check_at_least("rows", rows, 2)
        _check_at_least("val_rows", val_rows, 0)
        _check_at_least("test_rows", test_rows, 0)
        self.weights = _coefficient_table(weights, features, targets)
        self.rows, self.val_rows, self.test_rows = rows, val_rows, test_rows
        self.noise, self.ones = noise, ones
        self.save_hyperparameters()
        names = ["intercept", *(f"x{j}" for j in range(1, len(self.weights)))]
        self.feature_names = names if ones else names[1:]
        numbered = [f"y{k}" for k in range(1, self.weights.shape[1] + 1)]
        self.target_names = ["y"] if numbered == ["y1"] else numbered
        self.true_coefficients = {
            target: dict(zip(names, column, strict=True))
            for target, column in zip(self.target_names, self.weights.T.tolist(), strict=True)
        }

    def load(self, stage: str) -> None:
        """Draw the rows; those to train on come first, so they do not depend on the others."""
        generator = torch.Generator().manual_seed(self.seed)
        sizes: dict[Split, int] = {"train": self.rows, "val": self.val_rows, "test": self.test_rows}
        for split, rows in sizes.items():
            x, y = make_rows(self.weights.float(), rows, self.noise, generator)
            self.splits[split] = Batch(x if self.ones else x[:, 1:].contiguous(), y)
        self.splits["predict"] = self.splits["test"]


def _coefficient_table(
    weights: list[float] | list[list[float]] | None, features: int | None, targets: int | None
) -> Tensor:
    """Return the coefficients as (1 + features, targets)."""
    if weights is None:
        features = 2 if features is None else features
        targets = 1 if targets is None else targets
        _check_at_least("features", features, 0)
        _check_at_least("targets", targets, 1)
        size = (1 + features) * targets
        return torch.arange(1, size + 1, dtype=torch.float64).reshape(targets, -1).T
    if features is not None or targets is not None:
        reason = "given beside features or targets, which they determine"
        raise InputError(f"weights: {reason}; leave one of them out")
    table = torch.empty(0)
    with suppress(TypeError, ValueError):
        table = torch.tensor(weights, dtype=torch.float64)
    if table.ndim not in (1, 2) or not table.numel() or not table.isfinite().all():
        raise InputError(
            f"weights: {weights} was given; type a list of numbers, the intercept first, such as "
            "[1, 2, 3], or a list of such lists of one length, one for each target"
        )
    return table.reshape(-1, table.shape[-1]).T


def _check_at_least(argument: str, value: int, least: int) -> None:
    check_argument(argument, value, value >= least, f"a whole number, {least} or above")
