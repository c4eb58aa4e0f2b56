"""LeastSquares against its peers, rows in memory: `python -m pytest tests/benchmarks -s`."""

import logging
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from sklearn.linear_model import LinearRegression as ScikitLinearRegression

from linreg_lightning import LeastSquares, TensorData

ROUNDS = 5
SHAPES = [
    (1_000_000, 10, torch.float64),
    (400_000, 50, torch.float64),
    (200_000, 200, torch.float64),
    (2_000_000, 20, torch.float32),
]


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def fit(accuracy: str, x: torch.Tensor, y: torch.Tensor) -> None:
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(LeastSquares(accuracy), TensorData(x, y))


@pytest.mark.parametrize(("rows", "columns", "dtype"), SHAPES)
def test_seconds(rows: int, columns: int, dtype: torch.dtype) -> None:
    logging.getLogger("lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    x = torch.randn(rows, columns, dtype=dtype)
    y = x.sum(dim=1) + torch.randn(rows, dtype=dtype)
    double = x.double()
    contestants: dict[str, Callable[[], Any]] = {
        "X'X in float64": lambda: double.T @ double,
        "float64": lambda: fit("float64", x, y),
        "exact": lambda: fit("exact", x, y),
        "scikit-learn": lambda: ScikitLinearRegression().fit(x.numpy(), y.numpy()),
    }
    rounds = [[seconds(work) for work in contestants.values()] for _ in range(1 + ROUNDS)][1:]
    medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
    line = "  ".join(f"{name} {m:.3f}" for name, m in zip(contestants, medians, strict=True))
    print(f"\n{rows} x {columns} {str(dtype).removeprefix('torch.')}: {line}")
