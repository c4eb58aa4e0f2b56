"""Fits of LeastSquares on a given number of processes; the script uses two processes."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from linreg_lightning import LeastSquares, TensorData


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


def fits(devices: int) -> dict[str, Any]:
    """Map each case to its coefficients, fit statistics and number of passes."""
    answers = {}
    for name, (accuracy, seed, rows, columns, weighted, batch_size) in CASES.items():
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
        model = LeastSquares(accuracy)
        data = TensorData(*problem(seed, rows, columns, weighted), batch_size=batch_size)
        trainer.fit(model, data)
        answers[name] = {
            "coefficients": model.coefficients(),
            "fit": model.fit_statistics,
            "passes": trainer.current_epoch,
        }
    return answers


if __name__ == "__main__":
    text = json.dumps(fits(2))
    if os.environ["LOCAL_RANK"] == "0":
        Path(sys.argv[1]).write_text(text)
