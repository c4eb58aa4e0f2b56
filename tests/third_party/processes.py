"""Fits of LeastSquares on a given number of processes; the script uses two processes."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from linreg_lightning import InputError, LeastSquares, TensorData


def problem(seed: int, rows: int, columns: int, weighted: bool) -> tuple[torch.Tensor, ...]:
    """Return rows whose columns differ in scale and offset; the last two columns are similar."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x = normal(rows, columns)
    x[:, -1] = x[:, -2] + 10.0 ** -(seed % 7) * x[:, -1]
    y = x.sum(dim=1) + normal(rows)
    x = (x + normal(columns)) * 10.0 ** (10 * normal(columns)).round()
    weight = torch.rand(rows, generator=generator, dtype=torch.float64)
    return (x, y, weight * (weight > 0.1)) if weighted else (x, y)


# accuracy, seed, rows, columns, weighted, batch size
CASES: dict[str, tuple[str, int, int, int, bool, int | None]] = {
    "exact": ("exact", 1, 101, 3, False, 7),
    "exact, all rows at once": ("exact", 9, 64, 5, False, None),
    "exact, weighted": ("exact", 3, 333, 2, True, 10),
    "exact, many blocks": ("exact", 4, 40_001, 12, True, 9_000),
    "auto, few rows": ("auto", 5, 200, 4, True, 16),
    "auto, in two passes": ("auto", 6, 400_000, 3, False, 50_000),
    "auto, in one pass": ("auto", 7, 400_000, 3, False, 50_000),
}


class AllRows(IterableDataset[tuple[torch.Tensor, ...]]):
    """Gives all rows to each process, as if the user had forgotten to divide them."""

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        x, y = problem(1, 101, 3, False)
        yield from zip(x, y.unsqueeze(1), strict=True)


# Batch sizes of torch's DataLoader. Lightning gives 51 of 101 rows to each of two processes, so one
# row comes twice: in a last batch with others, or alone.
LOADERS = {"one row repeated": 7, "a batch of one repeated row": 10}


def fits(devices: int) -> dict[str, Any]:
    """Map each case to its coefficients, fit statistics and number of passes."""
    answers = {}
    for name, (accuracy, seed, rows, columns, weighted, batch_size) in CASES.items():
        data = TensorData(*problem(seed, rows, columns, weighted), batch_size=batch_size)
        answers[name] = fit(devices, LeastSquares(accuracy), data)
    x, y = problem(1, 101, 3, False)
    for name, batch_size in LOADERS.items():
        loader = DataLoader(TensorDataset(x, y.unsqueeze(1)), batch_size, shuffle=True)
        answers[name] = fit(devices, LeastSquares(in_features=3), loader)
    return answers


def fit(devices: int, model: LeastSquares, data: Any) -> dict[str, Any]:
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, data)
    return {
        "coefficients": model.coefficients(),
        "fit": model.fit_statistics,
        "passes": trainer.current_epoch,
    }


def refusal() -> str:
    """Return why two processes refuse a loader that gives each of them all rows."""
    try:
        fit(2, LeastSquares(in_features=3), DataLoader(AllRows(), 10))
    except InputError as error:
        return str(error)
    return "not refused"


if __name__ == "__main__":
    text = json.dumps({**fits(2), "refusal": refusal()})
    if os.environ["LOCAL_RANK"] == "0":
        Path(sys.argv[1]).write_text(text)
