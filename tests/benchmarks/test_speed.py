"""SGD under the Trainer against hand-written loops and plain Lightning, on the same rows."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import clock
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from linreg_lightning import Batch, LinearRegression, TensorData, TightLoop
from linreg_lightning.data import BatchLoader

ROWS, COLUMNS, LR = 200_000, 20, 0.01
EPOCHS = {32: 3, 256: 20, 1024: 70, 8192: 400}  # the loop by hand takes about a second
HAND = "the loop by hand"


@pytest.fixture(scope="module")
def rows() -> tuple[Tensor, Tensor]:
    return make(ROWS)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def make(rows: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, COLUMNS, generator=generator)
    y = x.sum(dim=1, keepdim=True) + 0.1 * torch.randn(rows, 1, generator=generator)
    return x, y


def by_hand(x: Tensor, y: Tensor, batch_size: int, epochs: int) -> None:
    linear, criterion = nn.Linear(COLUMNS, 1, device=x.device), nn.MSELoss()
    optimizer = torch.optim.SGD(linear.parameters(), lr=LR)
    for _ in range(epochs):
        for i in range(0, len(x), batch_size):
            optimizer.zero_grad()
            loss = criterion(linear(x[i : i + batch_size]), y[i : i + batch_size])
            loss.backward()
            optimizer.step()
    if x.is_cuda:
        torch.cuda.synchronize()


class Plain(LightningModule):
    """A model that a user writes without this package."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.criterion = nn.Linear(COLUMNS, 1), nn.MSELoss()

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        loss: Tensor = self.criterion(self.linear(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=LR)


def fit(
    model: LightningModule, data: Any, epochs: int, *callbacks: Callback, accelerator: str = "cpu"
) -> None:
    """Fit with Lightning's own logger, which writes each 50th step, and no other output."""
    Trainer(
        max_epochs=epochs,
        accelerator=accelerator,
        devices=1,
        callbacks=list(callbacks),
        default_root_dir=Path.cwd(),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(model, data)
    if accelerator == "gpu":
        torch.cuda.synchronize()


@pytest.mark.parametrize("batch_size", EPOCHS)
def test_against_the_loop_by_hand(
    batch_size: int, rows: tuple[Tensor, Tensor], compare: Callable[..., float]
) -> None:
    x, y = rows
    epochs = EPOCHS[batch_size]
    what = f"SGD, {ROWS:,} x {COLUMNS}, {epochs} epochs, batches of {batch_size}, "
    hand = partial(clock, lambda: by_hand(x, y, batch_size, epochs))
    data = TensorData(x, y, batch_size=batch_size, shuffle=False)
    ours = partial(clock, lambda: fit(LinearRegression(LR), data, epochs, TightLoop()))
    goal = "1.10" if batch_size == 8192 else "1.15"
    compare(f"{what}LinearRegression, the whole fit, against {HAND}", goal, ours, hand)
    loader = BatchLoader(Batch(x, y), batch_size)
    ours = partial(clock, lambda: fit(Plain(), loader, epochs, TightLoop()))
    compare(f"{what}a module with TightLoop, against {HAND}", "1.15", ours, hand)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a GPU is needed")
@pytest.mark.parametrize(("batch_size", "epochs", "goal"), [(1024, 1, "1.15"), (65536, 20, "1.15")])
def test_against_the_loop_by_hand_on_a_gpu(
    batch_size: int, epochs: int, goal: str, compare: Callable[..., float]
) -> None:
    x, y = (tensor.cuda() for tensor in make(20_000_000))
    loader = BatchLoader(Batch(x, y), batch_size)
    what = f"SGD, 20M x {COLUMNS} on {torch.cuda.get_device_name()}, batches of {batch_size}, "
    hand = partial(clock, lambda: by_hand(x, y, batch_size, epochs))
    ours = partial(clock, lambda: fit(Plain(), loader, epochs, TightLoop(), accelerator="gpu"))
    compare(f"{what}a module with TightLoop, against {HAND}", goal, ours, hand)


def test_against_plain_lightning(
    rows: tuple[Tensor, Tensor], compare: Callable[..., float]
) -> None:
    x, y = rows
    data = TensorData(x, y, batch_size=1024)
    loader = DataLoader(TensorDataset(x, y), batch_size=1024, shuffle=True)
    compare(
        f"SGD, {ROWS:,} x {COLUMNS}, one epoch, shuffled batches of 1024, against plain Lightning",
        "0.2",
        lambda: clock(lambda: fit(LinearRegression(LR), data, 1, TightLoop())),
        lambda: clock(lambda: fit(Plain(), loader, 1)),
    )


def shuffled_pass(rows: int, blocks: bool) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return two functions that sum up shuffled batches of 8192: of the loader, by index_select."""
    x, y = make(rows)
    loader = BatchLoader(Batch(x, y), 8192, shuffle_seed=0, blocks=blocks)

    def iterate() -> None:
        for batch in loader:  # the sums read the rows from memory; slicing alone does not
            batch.x.sum()
            batch.y.sum()

    def gather() -> None:
        order = torch.randperm(len(x))
        for i in range(0, len(x), 8192):
            chosen = order[i : i + 8192]
            x.index_select(0, chosen).sum()
            y.index_select(0, chosen).sum()

    return iterate, gather


@pytest.mark.parametrize("blocks", [False, True])
def test_rows_per_second(blocks: bool, compare: Callable[..., float]) -> None:
    iterate, gather = shuffled_pass(4_000_000, blocks)
    how = "by blocks" if blocks else "by rows"
    compare(
        f"a pass over 4M x 20 float32 shuffled {how}, batches of 8192, against index_select",
        "1.11" if blocks else "1",
        lambda: clock(iterate),
        lambda: clock(gather),
    )
