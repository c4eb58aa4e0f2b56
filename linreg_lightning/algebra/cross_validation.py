"""The errors of held-out folds, and the penalties that they or criteria choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import ldexp
from linreg_lightning.algebra.gram import NormalEquations
from linreg_lightning.algebra.held_out_errors import held_out_errors
from linreg_lightning.algebra.penalty_scale import StandardizedEquations
from linreg_lightning.algebra.selection_criteria import SelectionCriteria
from linreg_lightning.errors import InputError

_SMALLEST_VARIANCE = 2.0**-1010  # of a target


class CrossValidation(NamedTuple):
    """Mean squared errors of the rows of each fold by fits of all others; K folds."""

    fold_errors: Tensor  # (..., targets, K)
    mean_error: Tensor  # over folds, each counted once, as scikit-learn does; (..., targets)
    standard_error: Tensor  # sqrt(sum_k (e_k - mean)^2 / (K (K - 1))), (..., targets)
    # About how far rounding may have moved the mean error; (..., targets).
    error_rounding: Tensor


@dataclass(frozen=True)
class Choices:
    """The indices (l1_ratio, alpha) of each target, (targets, 2) int64, by three rules."""

    index_min: Tensor  # of the least mean error
    index_1se: Tensor  # of the largest alpha within one standard error of it
    index: Tensor  # by the rule that the user gave


def cross_validate(
    folds: Sequence[NormalEquations[Any]],
    training: Sequence[NormalEquations[Any]],
    coefficients: Sequence[Tensor],
    moved: Sequence[Tensor] | None = None,
) -> CrossValidation:
    """Return the errors of each fold, for coefficients (..., features, targets) of its training.

    Args:
        folds: of the rows of each fold, with an intercept in any case.
        training: of the rows of the other folds.
        coefficients: the fits to these, for each fold.
        moved: how far rounding may have moved the predictions of each fold, (..., targets).
    """
    parts = zip(folds, training, coefficients, strict=True)
    errors = [held_out_errors(fold, others, fits) for fold, others, fits in parts]
    fold_errors, rounding = (torch.stack(list(v), dim=-1) for v in zip(*errors, strict=True))
    if moved is not None:
        shift = torch.stack(list(moved), dim=-1)
        rounding = rounding + (2 * fold_errors.sqrt() + shift) * shift
    mean = fold_errors.mean(-1)
    # Relative to the mean, since the squares of tiny and huge errors leave float64's range.
    unit = torch.where(mean > 0, mean, 1.0)[..., None]
    spread = (fold_errors / unit - mean[..., None] / unit).square().mean(-1)
    standard_error = unit[..., 0] * (spread / (len(folds) - 1)).sqrt()
    return CrossValidation(fold_errors, mean, standard_error, rounding.mean(-1))


def check_range(problem: StandardizedEquations[Any], errors: CrossValidation) -> None:
    """Refuse, with an InputError, targets whose squares leave float64's range."""
    variance = ldexp(problem.variation, 2 * problem.target_exponent)
    tiny = (problem.variation > 0) & (variance < _SMALLEST_VARIANCE)
    huge = ~errors.fold_errors.isfinite().all(-1).all(0).all(0)
    for target in (tiny | huge).nonzero().flatten().tolist():
        raise InputError(
            f"column {target + 1} of y: its squared errors are too "
            f"{'small' if tiny[target] else 'large'} for float64; give it in other units"
        )


def choose(errors: CrossValidation, criteria: SelectionCriteria, choice: str) -> Choices:
    """Return the choices for errors and criteria of (R, A, targets).

    `min` takes the least mean error of all l1_ratios and alphas; `one_standard_error`, of the same
    l1_ratio, the largest alpha whose mean error is at most the least one plus its standard error.
    Of equal fits, the one with the largest alpha is taken.

    Raises:
        InputError: no fit of a target has a value of the criterion.
    """
    least = smallest(errors.mean_error)
    within = least.clone()
    for t, (r, a) in enumerate(least.tolist()):
        limit = errors.mean_error[r, a, t] + errors.standard_error[r, a, t]
        within[t, 1] = (errors.mean_error[r, :, t] <= limit).nonzero()[0]
    if choice in ("min", "one_standard_error"):
        return Choices(least, within, least if choice == "min" else within)
    criterion = getattr(criteria, choice)
    if bool(criterion.isnan().all(0).all(0).any()):
        raise InputError(
            f"choice: {choice} was given, which needs more rows than columns, and a target that "
            "the columns do not fit without error; type min"
        )
    return Choices(least, within, smallest(criterion))


def smallest(values: Tensor) -> Tensor:
    """Return the indices (l1_ratio, alpha) of the smallest, of equal ones the largest alpha.

    Alphas decrease; NaN is larger than all numbers. (R, A, targets) -> (targets, 2).

    >>> smallest(torch.tensor([[[torch.nan], [2.0]], [[1.0], [1.0]]]))
    tensor([[1, 0]])
    """
    flat = torch.where(values.isnan(), torch.inf, values).flatten(0, 1)
    place = flat.argmin(0)
    return torch.stack((place // values.shape[1], place % values.shape[1]), dim=1)


def take(values: Tensor, index: Tensor) -> Tensor:
    """Return the values of each target at its l1_ratio and alpha.

    (..., R, A, n, targets) or (R, A, targets), and (targets, 2) -> (..., n, targets) or (targets,).
    """
    first = values.ndim - (3 if values.ndim == 3 else 4)
    chosen = [
        values[..., t].select(first, r).select(first, a) for t, (r, a) in enumerate(index.tolist())
    ]
    return torch.stack(chosen, dim=-1)
