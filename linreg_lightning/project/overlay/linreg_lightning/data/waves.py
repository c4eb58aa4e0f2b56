"""YOUR DATA GO HERE: synthetic rows to replace."""

from __future__ import annotations

from typing import ClassVar, final

import torch

from linreg_lightning.batch import Batch
from linreg_lightning.data.base import RegressionDataModule, Split
from linreg_lightning.errors import InputError


@final
class Waves(RegressionDataModule):
    """Waves in two directions: y = sin(x1) + cos(x2) + noise * N(0, 1), each x uniform in [-3, 3].

    Args:
        rows: rows for training; validation has as many of its own, and so have test and predict.
        noise: standard deviation of the noise, in units of y.
        batch_size: rows in a batch; null for all rows.
        shuffle: whether each epoch has its own order of the rows.
        seed: of the data's own generator; `--seed_everything` does not change the rows.

    Raises:
        InputError: an argument outside its range.
    """

    split_option: ClassVar[str] = "rows 100"

    def __init__(
        self,
        rows: int = 2000,
        noise: float = 0.1,
        batch_size: int | None = 100,
        shuffle: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, shuffle, seed)
        if rows < 2:
            raise InputError(f"rows: {rows} was given; type at least 2")
        if not 0 <= noise < float("inf"):
            raise InputError(f"noise: {noise} was given; type a number, 0 or above")
        self.save_hyperparameters()
        self.feature_names = ["x1", "x2"]
        self.target_names = ["y"]

    def load(self, stage: str) -> None:
        """Draw the rows of each split."""
        generator = torch.Generator().manual_seed(self.hparams["seed"])
        splits: tuple[Split, ...] = ("train", "val", "test")
        for split in splits:
            x = 6 * torch.rand(self.hparams["rows"], 2, generator=generator) - 3
            noise = torch.randn(self.hparams["rows"], generator=generator)
            y = x[:, 0].sin() + x[:, 1].cos() + self.hparams["noise"] * noise
            self.splits[split] = Batch(x, y.unsqueeze(1))
        self.splits["predict"] = self.splits["test"]
