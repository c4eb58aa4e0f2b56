"""The coefficient table and the fit statistics of a Solution, as tensors."""

from types import SimpleNamespace

import torch

from linreg_lightning.algebra import Solution
from linreg_lightning.algebra.inference import coefficient_table, fit_statistics


def fit_table(solution: Solution, confidence: float = 0.95) -> SimpleNamespace:
    """Return the coefficient table, (coefficients, targets), and fit statistics, (targets,)."""
    statistics = {
        name: torch.tensor(value, dtype=torch.float64).reshape(-1)
        for name, value in fit_statistics(solution).items()
    }
    return SimpleNamespace(**coefficient_table(solution, confidence), **statistics)
