"""How well an exact fit fits, as a line of numbers."""

from __future__ import annotations

from typing import Any

from linreg_lightning.algebra import Inference, Solution
from linreg_lightning.algebra.double_double import ldexp, rounded


def fit_statistics(solution: Solution[Any], found: Inference) -> dict[str, Any]:
    """Name to number for the line below the table, and for coefficients.json.

    What belongs to a target is a number where there is one target, else a list of them. `loss` is
    sum(w r^2) / sum(w), averaged over the targets, as elsewhere; `rmse` its root, target by target.
    """
    targets = solution.exponent[solution.equations.features :]
    loss = ldexp(rounded(solution.residual / solution.equations.weight), 2 * targets)
    per_target = {
        "residual_sd": found.residual_sd,
        "rmse": loss.sqrt(),
        "r2": found.r2,
        "r2_adjusted": found.r2_adjusted,
        "f": found.f,
        "f_p": found.f_p,
        "log_likelihood": found.log_likelihood,
        "aic": found.aic,
        "bic": found.bic,
    }
    return {
        "rows": found.rows,
        "rank": solution.rank,
        "df_residual": found.df_residual,
        "condition": solution.condition,
        "loss": loss.mean().item(),
        **{name: v.item() if len(v) == 1 else v.tolist() for name, v in per_target.items()},
    }
