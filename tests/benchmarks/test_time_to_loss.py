"""Seconds until a fit is within 1 % of the best validation loss, for several libraries."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from conftest import clock
from lightning.pytorch import Callback, LightningModule, Trainer
from sklearn.linear_model import SGDRegressor
from torch import nn

from linreg_lightning import Batch, LinearRegression, TightLoop
from linreg_lightning.data import BatchLoader

ROWS, HELD_OUT, COLUMNS = 1_000_000, 100_000, 20
# All libraries that take batches take few, large steps. All batches have the same size, because a
# short last batch would add noise to the coefficients.
BATCH, LR = 8000, 0.3
CHUNKS = [ROWS, 100_000]
generator = torch.Generator().manual_seed(0)
X = torch.randn(ROWS + HELD_OUT, COLUMNS, generator=generator)
Y = X @ torch.arange(1.0, COLUMNS + 1).unsqueeze(1) + torch.randn(len(X), 1, generator=generator)
BEST = float(
    (X[ROWS:] @ torch.linalg.lstsq(X[:ROWS], Y[:ROWS]).solution - Y[ROWS:]).square().mean()
)
WHAT = f"time to within 1 % of the best validation loss, {ROWS:,} x {COLUMNS}, against "


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


def reached(prediction: np.ndarray) -> bool:
    return float(((prediction.reshape(-1, 1) - Y[ROWS:].numpy()) ** 2).mean()) <= 1.01 * BEST


def chunks(size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows in chunks; the validation loss is measured after each chunk."""
    for _ in range(20):
        for x, y in zip(X[:ROWS].split(size), Y[:ROWS].split(size), strict=True):
            yield x.numpy(), y.numpy()
    pytest.fail("the loss was not reached")


class StopAtLoss(Callback):
    """Stops the run and the clock once the loss is low enough."""

    seconds: float | None = None

    def __init__(self) -> None:
        self.start = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.seconds is None and trainer.callback_metrics["val_loss"] <= 1.01 * BEST:
            self.seconds = time.perf_counter() - self.start
            trainer.should_stop = True


def ours(chunk: int) -> float:
    reached = StopAtLoss()
    trainer = Trainer(
        max_epochs=20,
        accelerator="cpu",
        callbacks=[reached, TightLoop()],
        val_check_interval=chunk / ROWS,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    rows = Batch(X[:ROWS], Y[:ROWS])
    held_out = BatchLoader(Batch(X[ROWS:], Y[ROWS:]))
    trainer.fit(LinearRegression(LR, in_features=COLUMNS), BatchLoader(rows, BATCH, 0), held_out)
    assert reached.seconds is not None
    return reached.seconds


@pytest.mark.parametrize("chunk", CHUNKS)
def test_against_scikit_learn(chunk: int, compare: Callable[..., float]) -> None:
    def peer() -> None:
        model = SGDRegressor(penalty=None)
        for x, y in chunks(chunk):
            model.partial_fit(x, y.ravel())
            if reached(model.predict(X[ROWS:].numpy())):
                return

    what = f"{WHAT}SGDRegressor, measured every {chunk:,} rows"
    compare(what, "below 1", lambda: ours(chunk), lambda: clock(peer))


@pytest.mark.parametrize("chunk", CHUNKS)
def test_against_skorch(chunk: int, compare: Callable[..., float]) -> None:
    skorch = pytest.importorskip("skorch")

    def peer() -> None:
        net = skorch.NeuralNetRegressor(
            nn.Linear(COLUMNS, 1),
            optimizer=torch.optim.SGD,
            lr=LR,
            batch_size=BATCH,
            max_epochs=1,
            train_split=None,
            iterator_train__shuffle=True,
            verbose=0,
        )
        for x, y in chunks(chunk):
            net.partial_fit(x, y)
            if reached(net.predict(X[ROWS:].numpy())):
                return

    what = f"{WHAT}skorch, measured every {chunk:,} rows"
    compare(what, "below 1", lambda: ours(chunk), lambda: clock(peer))


@pytest.mark.parametrize("chunk", CHUNKS)
def test_against_keras(
    chunk: int, compare: Callable[..., float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")

    def peer() -> None:
        model = keras.Sequential([keras.Input((COLUMNS,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(LR), "mse")
        for x, y in chunks(chunk):
            model.fit(x, y, batch_size=BATCH, verbose=0)
            if reached(model.predict(X[ROWS:].numpy(), batch_size=HELD_OUT, verbose=0)):
                return

    what = f"{WHAT}Keras on torch, measured every {chunk:,} rows"
    compare(what, "below 1", lambda: ours(chunk), lambda: clock(peer))
