"""Least squares on tensors, without a Trainer: `least_squares(x, y)` returns a `Fit`."""

import warnings
from dataclasses import replace
from typing import Any, Literal, get_args

from torch import Tensor

from linreg_lightning.algebra import inference
from linreg_lightning.algebra.cost import cost_note
from linreg_lightning.algebra.fit import Fit, drop_target_dimension
from linreg_lightning.algebra.fixed_effects import AbsorbedEffects, Absorption
from linreg_lightning.algebra.gram import Gram
from linreg_lightning.algebra.gram_exact import ExactGram
from linreg_lightning.algebra.gram_float64 import Float64Gram
from linreg_lightning.algebra.keys import key_numbers
from linreg_lightning.algebra.level_sums import LevelSums
from linreg_lightning.algebra.robust import FitRows
from linreg_lightning.algebra.solve import check_ridge
from linreg_lightning.batch import column_bits
from linreg_lightning.errors import InputError
from linreg_lightning.validation import own_names, to_tensor

Accuracy = Literal["auto", "exact", "float64"]
EXACT_LIMIT = 2**20  # numbers that `auto` adds exactly, which takes no noticeable time


def least_squares(
    x: Any,
    y: Any,
    weight: Any = None,
    *,
    intercept: bool = True,
    ridge: float = 0.0,
    accuracy: Accuracy = "auto",
    confidence: float = 0.95,
    absorb: Any = None,
) -> Fit:
    """Minimise sum(w (y - b_0 - x b)^2) + ridge |b|^2.

    Args:
        x: (rows, features); a tensor, an array, a data frame, nested lists.
        y: (rows, targets), each target fitted by itself, or (rows,); rows of pandas objects are
            matched by their index.
        weight: (rows,), at least 0; None counts every row once. Weights are precisions: a row of
            weight 2 moves the coefficients as two rows do, but counts once in n.
        intercept: whether to fit the constant b_0.
        ridge: the penalty, 0 or above, in the units of the columns; never on the intercept. Above 0
            there are no standard errors.
        accuracy: `exact` adds without any rounding, so that the order of the rows changes no bit;
            `float64` is several times as fast and loses digits to ill-conditioned columns; `auto`
            takes `exact` for up to a million numbers, and beyond that `float64`, then `exact` if
            `float64` guarantees fewer than eight digits.
        confidence: how often the intervals cover the truth, between 0.000001 and 1.
        absorb: one or two columns of levels, such as the names of users: (rows,) or a list of two.
            Each level has an effect of its own, in place of b_0, as from a column of 0 and 1 for
            each level; the effects are not returned, and count in the degrees of freedom.

    Returns:
        The fit. A warning names collinear columns, or says how few digits are correct.

    Raises:
        InputError: shapes do not fit; a value is no number, NaN or infinite in a row with a weight
            above 0; a weight is negative; no row is left; an argument is outside its range.

    >>> fit = least_squares([[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 2.0, 4.0])
    >>> fit.intercept, fit.coefficients
    (tensor(1.3000, dtype=torch.float64), tensor([0.8000], dtype=torch.float64))
    >>> fit.statistics["r2"], fit.predict([[1.5]])
    (0.64, tensor([2.5000], dtype=torch.float64))
    """
    check_arguments(accuracy, ridge, confidence)
    rows = FitRows.of(x, y, weight)
    levels, absorbed_names = _levels(absorb, ridge, rows)
    rows = rows._replace(levels=levels)
    for kind in gram_kinds(accuracy, rows.batch.x.numel() + rows.batch.y.numel()):
        if note := cost_note(kind.accuracy, rows.batch.x.shape[1], rows.batch.rows):
            warnings.warn(note, stacklevel=2)
        gram, absorbed, rows = _sum_rows(kind, rows, column_bits(x), absorbed_names)
        fit = Fit.from_gram(
            gram, intercept=intercept, ridge=ridge, confidence=confidence, absorbed=absorbed
        )
        if fit.precise:
            break
    return _finished(replace(fit, rows=rows), x, y)


def _levels(absorb: Any, ridge: float, rows: FitRows) -> tuple[Tensor | None, tuple[str, ...]]:
    """Return a number for the levels of each row, (rows, ways), and the names of the columns."""
    if absorb is None:
        return None, ()
    if ridge > 0:
        raise InputError(f"ridge: {ridge} was given with absorb; leave one of them out")
    return key_numbers("absorb", absorb, rows.batch.rows, *rows.given)


def _sum_rows(
    kind: type[Gram], rows: FitRows, bits: list[int] | None, absorbed_names: tuple[str, ...]
) -> tuple[Gram, AbsorbedEffects | None, FitRows]:
    """Return the statistics of the rows less the effects of their levels, and what these are."""
    batch, levels = rows.batch, rows.levels
    gram = kind(batch.x.shape[1], batch.y.shape[1], batch.x.device)
    gram.update(batch, bits=bits)
    if levels is None:
        return gram, None, rows
    sums = LevelSums(gram, levels.shape[1])
    sums.update(batch, levels)
    absorption = Absorption(sums)
    left = kind(gram.features, gram.targets, gram.device)
    left.update(absorption.demean(batch, levels))
    effects = replace(absorption.effects, names=absorbed_names)
    return left, effects, rows._replace(absorption=absorption)


def _finished(fit: Fit, x: Any, y: Any) -> Fit:
    """Return the fit with the names of columns, in the shapes for this y, and warn of its notes."""
    features, targets = table_names(x, len(fit.coefficients)), table_names(y, len(fit.intercept))
    fit = replace(fit, feature_names=features, target_names=targets)
    for message, is_warning in fit.notes():
        if is_warning:
            warnings.warn(message, stacklevel=3)
    return drop_target_dimension(fit) if to_tensor("y", y).ndim == 1 else fit


def table_names(values: Any, columns: int) -> list[str] | None:
    """Return the names of columns; None without, as where pandas has numbered the columns."""
    is_numbered = "integer" in getattr(getattr(values, "columns", None), "inferred_type", "")
    names = None if is_numbered else own_names(values)
    # A named array has one name, which is not that of each column.
    return names if names and len(names) == columns else None


def gram_kinds(accuracy: Accuracy, numbers: int) -> list[type[Gram]]:
    """Return the arithmetic of the first pass, and of a second one where digits are missing."""
    if accuracy == "float64":
        return [Float64Gram]
    if accuracy == "auto" and numbers > EXACT_LIMIT:
        return [Float64Gram, ExactGram]
    return [ExactGram]


def check_arguments(accuracy: str, ridge: float, confidence: float) -> None:
    """Refuse, with an InputError, arguments of a fit that are outside their range."""
    if accuracy not in get_args(Accuracy):
        raise InputError(f"accuracy: {accuracy!r} was given; type auto, exact or float64")
    check_ridge(ridge)
    inference.check_confidence(confidence)
