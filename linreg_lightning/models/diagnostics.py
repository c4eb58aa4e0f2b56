"""What the user of an exact fit should know of the answer."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from linreg_lightning.algebra import Gram, Solution
from linreg_lightning.algebra.double_double import rounded


def advise(solution: Solution[Any], gram: Gram, enough_digits: int, names: list[str]) -> None:
    """Say in one sentence each what should be known: as a warning where numbers may be wrong.

    Args:
        solution: of the sums.
        gram: the sums.
        enough_digits: how many of them should be safe.
        names: of the columns of x.
    """
    exact = gram.accuracy == "exact"
    digits, error_digits = int(solution.digits), int(solution.error_digits)
    remedy = "fit all rows with --model.accuracy exact."
    perfect = not bool(rounded(solution.residual).all()) and gram.rows > solution.rank
    if perfect and (exact or digits >= enough_digits):
        smallest = "the rounding of the rows" if exact else "float64 sees, 1e-8 of the target"
        rank_zero_info(
            f"An essentially perfect fit: residuals are no larger than {smallest}; standard "
            "errors are given as 0."
        )
    elif perfect:
        rank_zero_warn(
            "The residuals are too small for float64 to see: standard errors are given as 0, and "
            f"{digits} digits of the coefficients are safe; {remedy}"
        )
    elif not exact and min(digits, error_digits) < enough_digits:
        rank_zero_warn(
            f"Only {digits} digits of the coefficients are safe in float64, "
            f"{error_digits} of their standard errors: {remedy}"
        )
    if exact and min(solution.digits, solution.error_digits) < 2:
        rank_zero_warn(
            "The columns are so nearly linear combinations of each other that not even two "
            "digits of the coefficients and of their standard errors are safe: leave some out, or "
            "give a --model.ridge."
        )
    if solution.collinear:
        left_out = ", ".join(names[j] for j in solution.collinear)
        rank_zero_warn(f"Left out, as linear combinations of earlier columns: {left_out}")
    if exact and not gram.exact:
        rank_zero_warn(
            "The magnitudes within a column differ by more than exact sums can hold: the bits of "
            "the result may depend on the order of the rows."
        )
