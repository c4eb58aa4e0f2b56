"""What a user should know of a fit: collinear columns, too few correct digits."""

from typing import Any, NamedTuple

ENOUGH_DIGITS = 8  # guaranteed correct in float64, for `auto` to do without exact sums
_REMEDY = "fit all rows with accuracy exact."


class Note(NamedTuple):
    """One sentence about a fit; a warning says that numbers may be wrong or missing."""

    message: str
    is_warning: bool


def list_notes(fit: Any, names: list[str] | None) -> list[Note]:
    """Return the notes on a `Fit`; `names` are those of the columns of x."""
    equations = fit.solution.equations
    names = names or [f"x{j}" for j in range(1, equations.features + 1)]
    sums_exactly = fit.accuracy == "exact"
    digits, error_digits = int(fit.digits), int(fit.error_digits)
    perfect = not fit.solution.residuals_seen and equations.rows > fit.rank
    notes: list[str] = []
    problems: list[str] = []
    if perfect and (sums_exactly or digits >= ENOUGH_DIGITS):
        float64_limit = "float64 sees, 1e-8 of the target"
        smallest = "the rounding of the rows" if sums_exactly else float64_limit
        notes.append(
            f"An essentially perfect fit: residuals are no larger than {smallest}; standard "
            "errors are given as 0."
        )
    elif perfect:
        problems.append(
            "The residuals are too small for float64 to see: standard errors are given as 0, "
            f"and {digits} digits of the coefficients are safe; {_REMEDY}"
        )
    if not fit.precise and (sums_exactly or not perfect):
        arithmetic, remedy = "" if sums_exactly else " in float64", _REMEDY
        if sums_exactly:
            remedy = (
                "the columns are nearly linear combinations of each other, or the residuals "
                "are near the rounding of the rows; leave columns out, or give a ridge."
            )
        problems.append(
            f"Only {digits} digits of the coefficients are safe{arithmetic}, {error_digits} of "
            f"their standard errors: {remedy}"
        )
    if fit.collinear:
        left_out = ", ".join(names[j] for j in fit.collinear)
        effects = "" if fit.absorbed is None else "absorbed effects and "
        problems.append(f"Left out, as linear combinations of {effects}earlier columns: {left_out}")
    if fit.absorbed is not None and (problem := fit.absorbed.warning()):
        problems.append(problem)
    if sums_exactly and not fit.exact:
        problems.append(
            "The magnitudes within a column differ by more than exact sums can hold: the bits "
            "of the result may depend on the order of the rows."
        )
    found = [Note(note, is_warning=False) for note in notes]
    return found + [Note(problem, is_warning=True) for problem in problems]
