"""What the user of an exact fit should know of the answer."""

from __future__ import annotations

from typing import Any

from linreg_lightning.algebra import Gram, Solution
from linreg_lightning.algebra.double_double import rounded


def advice(solution: Solution[Any], gram: Gram, enough_digits: int, names: list[str]) -> list[str]:
    """Warnings, one sentence each; none where all is well.

    Args:
        solution: of the sums.
        gram: the sums.
        enough_digits: how many of them should be safe.
        names: of the columns of x.
    """
    said = []
    exact = gram.accuracy == "exact"
    digits, error_digits = int(solution.digits), int(solution.error_digits)
    remedy = "fit all rows with --model.accuracy exact."
    if not exact and not bool(rounded(solution.residual).all()):
        said.append(
            "The residuals are too small for float64 to see: standard errors are given as 0, and "
            f"{digits} digits of the coefficients are safe; {remedy}"
        )
    elif not exact and min(digits, error_digits) < enough_digits:
        said.append(
            f"Only {digits} digits of the coefficients are safe in float64, "
            f"{error_digits} of their standard errors: {remedy}"
        )
    if exact and solution.digits < 2:
        said.append(
            "The columns are so nearly linear combinations of each other that not even two "
            "digits of the coefficients are safe: leave some out, or give a --model.ridge."
        )
    if solution.collinear:
        left_out = ", ".join(names[j] for j in solution.collinear)
        said.append(f"Left out, as linear combinations of earlier columns: {left_out}")
    if exact and not gram.exact:
        said.append(
            "The magnitudes within a column differ by more than exact sums can hold: the bits of "
            "the result may depend on the order of the rows."
        )
    return said
