"""What the user of a fit should know of it, as plain sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from linreg_lightning.algebra.double_double import to_float64

if TYPE_CHECKING:
    from linreg_lightning.algebra.least_squares import Fit

ENOUGH_DIGITS = 8
"""How many digits must be safe in float64 for `auto` to do without exact sums."""
_REMEDY = "fit all rows with accuracy exact."


class Diagnostic(NamedTuple):
    """One sentence about a fit; a warning says that numbers may be wrong or missing."""

    message: str
    is_warning: bool


def diagnose(fit: Fit, names: list[str]) -> list[Diagnostic]:
    """Return what a user should know of a fit; `names` are those of the columns of x."""
    exact = fit.accuracy == "exact"
    digits, error_digits = int(fit.digits), int(fit.error_digits)
    residuals_seen = bool(to_float64(fit.solution.residual).all())
    perfect = not residuals_seen and fit.statistics["df_residual"] > 0
    harmless = exact or digits >= ENOUGH_DIGITS
    smallest = "the rounding of the rows" if exact else "float64 sees, 1e-8 of the target"
    candidates = [  # whether it applies, whether it is a warning, the sentence
        (
            perfect and harmless,
            False,
            f"An essentially perfect fit: residuals are no larger than {smallest}; standard "
            "errors are given as 0.",
        ),
        (
            perfect and not harmless,
            True,
            "The residuals are too small for float64 to see: standard errors are given as 0, and "
            f"{digits} digits of the coefficients are safe; {_REMEDY}",
        ),
        (
            not perfect and not exact and min(digits, error_digits) < ENOUGH_DIGITS,
            True,
            f"Only {digits} digits of the coefficients are safe in float64, {error_digits} of "
            f"their standard errors: {_REMEDY}",
        ),
        (
            exact and min(fit.digits, fit.error_digits) < 2,
            True,
            "The columns are so nearly linear combinations of each other that not even two digits "
            "of the coefficients and of their standard errors are safe: leave some out, or give a "
            "ridge.",
        ),
        (
            bool(fit.collinear),
            True,
            "Left out, as linear combinations of earlier columns: "
            + ", ".join(names[j] for j in fit.collinear),
        ),
        (
            exact and not fit.exact,
            True,
            "The magnitudes within a column differ by more than exact sums can hold: the bits of "
            "the result may depend on the order of the rows.",
        ),
    ]
    return [Diagnostic(message, warns) for applies, warns, message in candidates if applies]
