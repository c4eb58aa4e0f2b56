"""What the user of an exact fit should know of the answer."""

from __future__ import annotations

from typing import Any

from linreg_lightning.algebra import Gram, Solution


def advice(solution: Solution[Any], gram: Gram, few_digits: bool, names: list[str]) -> list[str]:
    """Warnings, one sentence each; none where all is well.

    Args:
        solution: of the sums.
        gram: the sums.
        few_digits: whether fewer digits are safe than should be.
        names: of the columns of x.
    """
    said = []
    exact = gram.accuracy == "exact"
    if few_digits and not exact:
        said.append(
            f"Only {max(solution.digits, 0):.0f} digits of the coefficients are safe in float64: "
            "fit all rows with --model.accuracy exact."
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
