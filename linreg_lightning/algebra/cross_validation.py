"""The errors of held-out folds, and the penalties that they or criteria choose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import ldexp, to_float64
from linreg_lightning.algebra.gram import NormalEquations
from linreg_lightning.algebra.held_out_errors import HeldOutErrors, held_out_errors
from linreg_lightning.algebra.selection_criteria import SelectionCriteria
from linreg_lightning.errors import InputError


class CrossValidation(NamedTuple):
    """Mean squared errors of the rows of each fold by fits of all others; K folds."""

    fold_errors: Tensor  # (..., targets, K)
    fold_weights: Tensor  # the sum of the weights of each fold, (K,)
    mean_error: Tensor  # over folds, each counted once, as scikit-learn does; (..., targets)
    standard_error: Tensor  # sqrt(sum_k (e_k - mean)^2 / (K (K - 1))), (..., targets)
    # About how far rounding may have moved the mean error; (..., targets).
    error_rounding: Tensor


class Choices(NamedTuple):
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
    errors = [mean_squares(fold, others, fits) for fold, others, fits in parts]
    fold_errors, rounding = (torch.stack(list(v), dim=-1) for v in zip(*errors, strict=True))
    if moved is not None:
        shift = torch.stack(list(moved), dim=-1)
        rounding = rounding + (2 * fold_errors.sqrt() + shift) * shift
    weights = torch.stack([ldexp(to_float64(f.weight), f.weight_exponent) for f in folds])
    mean = fold_errors.mean(-1)
    # Relative to the mean, since the squares of tiny and huge errors leave float64's range.
    unit = torch.where(mean > 0, mean, 1.0)[..., None]
    spread = (fold_errors / unit - mean[..., None] / unit).square().mean(-1)
    standard_error = unit[..., 0] * (spread / (len(weights) - 1)).sqrt()
    return CrossValidation(fold_errors, weights, mean, standard_error, rounding.mean(-1))


def mean_squares(
    rows: NormalEquations[Any], training: NormalEquations[Any], coefficients: Tensor
) -> HeldOutErrors:
    """Return the mean squared errors of fits in some rows, (..., targets).

    Args:
        rows: those rows, with an intercept in any case.
        training: the rows of the fits, which set the intercepts.
        coefficients: (..., features, targets).
    """
    vectors = coefficients.reshape(-1, *coefficients.shape[-2:])
    errors = held_out_errors(rows, training, vectors)
    return HeldOutErrors(*(v.reshape(*coefficients.shape[:-2], -1) for v in errors))


def choose(errors: CrossValidation, criteria: SelectionCriteria, choice: str) -> Choices:
    """Return the choices for errors and criteria of (R, A, targets).

    The least error is over all l1_ratios and alphas; of one standard error, the largest alpha of
    the same l1_ratio whose mean error is at most the least one plus its standard error. Of equal
    fits, the one with the largest alpha is taken.

    Raises:
        InputError: the criterion is not known of any fit.
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
