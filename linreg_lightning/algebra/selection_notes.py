"""What a user should know of a selection: a choice at the path's end, too few correct digits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from linreg_lightning.algebra.notes import ENOUGH_DIGITS, Note

_FALLS = 1e-3  # a relative decrease of the error that is worth another alpha


def list_selection_notes(selection: Any, names: Sequence[str] | None) -> list[Note]:
    """Return the notes on a `Selection`; `names` are those of the columns of x."""
    features, targets = selection.column_names()
    names = names or features
    notes: list[str] = []
    problems: list[str] = []
    remedy = "leave columns out, or give larger alphas."
    if selection.accuracy == "float64":
        remedy = "fit all rows with accuracy exact."
    if selection.left_out:
        left_out = ", ".join(names[j] for j in selection.left_out)
        problems.append(
            "Left out, with coefficients of 0, as constant or as combinations of columns without "
            f"a penalty: {left_out}"
        )
    for t, target in enumerate(targets):
        of_target = f" of {target}" if len(targets) > 1 else ""
        if not set(selection.nonzero_columns(t)) - set(selection.options.unpenalized):
            notes.append(f"The choice{of_target} leaves out all columns that have a penalty.")
        elif end := _end_of_path(selection, t):
            problems.append(f"The choice{of_target} is {end}.")
        if from_alpha := _end_of_safe_path(selection, t):
            problems.append(
                f"Fits{of_target} with an alpha of {from_alpha:.3g} or less, or their errors of "
                f"held-out rows, may have fewer than {ENOUGH_DIGITS} correct digits: {remedy}"
            )
    if not selection.precise:
        digits, error_digits = int(selection.digits.min()), int(selection.error_digits.min())
        problems.append(
            f"Only {digits} digits of the coefficients and {error_digits} of the errors of "
            f"held-out rows are safe: {remedy}"
        )
    if selection.accuracy == "exact" and not selection.exact:
        problems.append(
            "The magnitudes within a column differ by more than exact sums can hold: the bits "
            "of the result may depend on the order of the rows."
        )
    if selection.refit is not None:
        problems.append(
            "The refit takes its columns as given in advance: its standard errors and p are too "
            "small, because the same rows have chosen the columns."
        )
    found = [Note(note, is_warning=False) for note in notes]
    return found + [Note(problem, is_warning=True) for problem in problems]


def _end_of_safe_path(selection: Any, target: int) -> float | None:
    """Return the largest alpha whose fit, or its error, may be wrong; None if all are right."""
    alphas = selection.alphas[~selection.reliable[..., target], target]
    return float(alphas.max()) if len(alphas) else None


def _end_of_path(selection: Any, target: int) -> str | None:
    """Return which end of the path the choice is at if errors fall towards it, else None."""
    r, a = selection.index[target].tolist()
    error = selection.mean_error[r, :, target]
    last, alphas = len(error) - 1, selection.alphas[r, :, target]
    if not last or 0 < a < last:
        return None
    # Errors that fall slowly, as of a target in large units, fall over a power of ten of alphas.
    beside = 1 if a == 0 else min(last - 1, int((alphas > 10 * alphas[last]).sum()))
    if float(error[beside] - error[a]) > _FALLS * float(error[a]):
        end = ("largest", "larger") if a == 0 else ("smallest", "smaller")
        more = _further_alphas(float(selection.alphas[r, a, target]), larger=a == 0)
        remedy = f"give {end[1]} alphas, such as {more}"
        return f"the {end[0]} alpha, and errors fall towards it: {remedy}"
    return None


def _further_alphas(alpha: float, *, larger: bool) -> str:
    """Return a list of alphas, as one would type it, from one end of a path on to 1/1000 or 1000.

    >>> _further_alphas(0.0961, larger=False)
    '[0.1,0.03,0.01,0.003,0.001,0.0003,0.0001]'
    """
    first = round(2 * math.log10(alpha)) + 6 * larger
    alphas = [float(f"{10 ** (k / 2):.1g}") for k in range(first, first - 7, -1)]
    return f"[{','.join(f'{value:g}' for value in alphas)}]"
