"""`select_penalty(x, y)` chooses a penalty by cross-validation, in one pass over the rows."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Integral
from typing import Any, NamedTuple

from torch import Tensor

from linreg_lightning.algebra.cost import cost_note
from linreg_lightning.algebra.fold_sums import FoldSums
from linreg_lightning.algebra.folds import (
    check_folds,
    folds_of_blocks,
    folds_of_groups,
    folds_of_rows,
)
from linreg_lightning.algebra.gram import Gram
from linreg_lightning.algebra.least_squares import (
    Accuracy,
    check_arguments,
    gram_kinds,
    table_names,
)
from linreg_lightning.algebra.selection import select
from linreg_lightning.algebra.selection_options import (
    Choice,
    PenaltyKind,
    SelectionOptions,
    check_columns,
    column_places,
)
from linreg_lightning.algebra.selection_result import Selection
from linreg_lightning.batch import Batch, column_bits
from linreg_lightning.errors import InputError
from linreg_lightning.matching import align_index
from linreg_lightning.validation import check_argument, group_values, to_tensor


def select_penalty(  # noqa: D417 - `SelectionOptions` describes the other arguments
    x: Any,
    y: Any,
    weight: Any = None,
    *,
    penalty: PenaltyKind = "lasso",
    l1_ratio: float | Sequence[float] | None = None,
    alphas: int | Sequence[float] = 100,
    choice: Choice = "min",
    folds: int | Any = 10,
    groups: Any = None,
    blocks: bool = False,
    fold_seed: int = 0,
    standardize: bool = True,
    unpenalized: Sequence[int | str] = (),
    nested: bool = False,
    refit: bool = False,
    intercept: bool = True,
    accuracy: Accuracy = "auto",
    confidence: float = 0.95,
) -> Selection:
    """Choose the penalty of ridge, the lasso or the elastic net by cross-validation, in one pass.

    Args:
        x: as in `least_squares`.
        y: (rows, targets), each target selected by itself, or (rows,).
        weight: as in `least_squares`.
        penalty: `ridge`, `lasso` or `elasticnet`; the objective is that of `SelectionOptions`,
            and so are l1_ratio, alphas, choice, standardize, nested and refit.
        folds: how many, from 2 to 255, or the fold of each row, (rows,), as numbers or names.
        groups: (rows,), the group of each row; all rows of a group are in one fold.
        blocks: whether the folds are blocks of consecutive rows, as of time.
        fold_seed: each seed distributes rows and groups in its own way.
        unpenalized: columns without a penalty, by their places in x or their names.
        intercept: whether to fit the constant b_0.
        accuracy: `exact`, `float64` or `auto`, as in `least_squares`. `auto` takes `exact` for up
            to a million numbers in the rows and in the sums of the folds, and a second pass in
            `exact` only if that takes seconds, not minutes.
        confidence: how often the intervals of a refit cover the truth.

    Returns:
        The choice. A warning says what may be wrong with it.

    Raises:
        InputError: as `least_squares`; a fold has no row with a weight above 0.

    >>> x = [[float(k), float(k * k % 7)] for k in range(20)]
    >>> select_penalty(x, [2.0 * row[0] + 1.0 for row in x], alphas=[1.0, 0.1]).coefficients
    tensor([1.9827, 0.0000], dtype=torch.float64)
    """
    check_arguments(accuracy, 0.0, confidence)
    check_argument("intercept", intercept, intercept in (True, False), "true or false")
    y, weight = align_index(x, y, weight)
    rows = _to_rows(x, y, weight)
    places = column_places(unpenalized, rows.features)
    chosen = SelectionOptions(penalty, l1_ratio, alphas, choice, standardize, places, nested, refit)
    fold = _folds(folds, groups, blocks, fold_seed, rows, (x, y, weight))
    selection = select_rows(rows, fold, chosen, bool(intercept), accuracy, confidence)
    warn_of(selection)
    return selection


def warn_of(selection: Selection) -> None:
    """Warn the caller of the caller of what may be wrong with a choice."""
    for note in selection.notes():
        if note.is_warning:
            warnings.warn(note.message, stacklevel=3)


class SelectionRows(NamedTuple):
    """Rows as tensors, and what else is known of them."""

    batch: Batch
    bits: list[int] | None  # as in `Gram.update`
    features: list[str] | None
    targets: list[str] | None
    one_dimensional: bool  # whether y was (rows,)


def _to_rows(x: Any, y: Any, weight: Any) -> SelectionRows:
    features, targets = to_tensor("x", x), to_tensor("y", y)
    weight = None if weight is None else to_tensor("weight", weight).to(features.device)
    matrix = (targets.unsqueeze(1) if targets.ndim == 1 else targets).to(features.device)
    batch = Batch(features, matrix, weight).validate()
    names = table_names(x, batch.x.shape[1]), table_names(y, batch.y.shape[1])
    return SelectionRows(batch, column_bits(x), *names, targets.ndim == 1)


def _folds(
    folds: Any, groups: Any, blocks: bool, seed: int, rows: SelectionRows, labelled: Sequence[Any]
) -> tuple[int, Tensor]:
    """Return the number of folds, and the fold of each row."""
    count = rows.batch.rows
    given = hasattr(folds, "__len__") and not isinstance(folds, str)
    if sum((given, blocks, groups is not None)) > 1:
        raise InputError(
            "folds, groups, blocks: two of them say in which fold a row is; type one of the fold "
            "of each row, groups and blocks"
        )
    if given:
        values, _ = group_values("folds", folds, count, *labelled)
        if bool((values < 0).any()):
            least = values.min().item()
            raise InputError(f"folds: {least:g} was given; type numbers from 0 for all rows")
        kinds, fold = values.unique(return_inverse=True)
        check_folds(len(kinds))
        return len(kinds), fold
    whole = isinstance(folds, Integral) and not isinstance(folds, bool)
    check_argument("folds", folds, whole, "a whole number from 2 to 255, or the fold of each row")
    folds = int(folds)
    check_folds(folds, count)
    if blocks:
        return folds, folds_of_blocks(0, count, folds, count)
    if groups is None:
        return folds, folds_of_rows(0, count, folds, seed)
    values, labels = group_values("groups", groups, count, *labelled)
    return folds, folds_of_groups(values, folds, seed, labels, rows.batch.weight)


def select_rows(
    rows: SelectionRows,
    fold: tuple[int, Tensor],
    options: SelectionOptions,
    intercept: bool = True,
    accuracy: Accuracy = "auto",
    confidence: float = 0.95,
) -> Selection:
    """Choose a penalty as `select_penalty`, without its warnings of the choice.

    `fold` is the number of folds, and the fold of each row, (rows,).
    """
    batch, (folds, fold_of_row) = rows.batch, fold
    columns, targets = batch.x.shape[1], batch.y.shape[1]
    check_columns(options, columns)
    for kind in _sum_kinds(accuracy, batch, folds):
        if note := cost_note(kind.accuracy, columns, batch.rows, folds):
            warnings.warn(note, stacklevel=3)
        sums = FoldSums(kind, folds, columns, targets, batch.x.device)
        sums.update(batch, fold_of_row.to(batch.x.device), bits=rows.bits)
        selection = select(sums, options, intercept=intercept, confidence=confidence)
        if selection.precise:
            break
    selection = selection.with_names(rows.features, rows.targets)
    return selection.without_target_dimension() if rows.one_dimensional else selection


def _sum_kinds(accuracy: Accuracy, batch: Batch, folds: int) -> list[type[Gram]]:
    """Return the arithmetic of the first pass, and of a second one where digits are missing."""
    columns = batch.x.shape[1] + batch.y.shape[1]
    kinds = gram_kinds(accuracy, max(batch.rows * columns, folds * columns**2))
    is_slow = cost_note("exact", columns, batch.rows, folds) is not None
    return kinds[:1] if is_slow and len(kinds) > 1 else kinds
