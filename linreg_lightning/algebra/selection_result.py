"""`Selection`: the penalty that predicts best, with all that the choice was among."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from linreg_lightning.algebra.cross_validation import take
from linreg_lightning.algebra.fit import Fit, drop_target_dimension
from linreg_lightning.algebra.notes import ENOUGH_DIGITS, Note
from linreg_lightning.algebra.ridge_path import MAX_DIGITS
from linreg_lightning.algebra.selection_criteria import SelectionCriteria
from linreg_lightning.algebra.selection_notes import list_selection_notes
from linreg_lightning.algebra.selection_options import SelectionOptions
from linreg_lightning.algebra.selection_table import SelectionTable, selection_statistics
from linreg_lightning.errors import InputError
from linreg_lightning.matching import columns_by_name
from linreg_lightning.validation import to_tensor

_LARGEST_GAP = 1e-9  # rounding errors leave 1e-12 even of columns that are nearly dependent


class Path(NamedTuple):
    """The fits of all rows for all l1_ratios (R) and alphas (A), in the user's units."""

    coefficients: Tensor  # (R, A, features, targets)
    intercept: Tensor  # (R, A, targets)
    residual: Tensor  # SSR / W, (R, A, targets)
    degrees_of_freedom: Tensor  # effective ones, the intercept included; (R, A, targets)
    # How far the objective may be above its minimum, relative to that without the columns that
    # have a penalty; (R, A, targets).
    gap: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Selection(SelectionTable):
    """A path of penalised fits, the errors of held-out folds, and the fit that was chosen.

    Of R l1_ratios, A alphas and K folds; `features` and `targets` are the columns of x and y, each
    target with its own choice. All tensors are on the CPU, numbers in float64. If y was (rows,),
    `alpha`, `l1_ratio`, `coefficients`, `intercept` and predictions lack the dimension of the
    targets, and `refit` is one fit.

    `statistics` has a number for each name, or a list of numbers where there are several targets.
    W is the sum of the weights, SST that of w (y - mean)^2, without an intercept of w y^2:

    - `rows`: the number of rows of weight above 0
    - `alpha`, `l1_ratio`: those chosen; `nonzero`: the coefficients that are not 0
    - `df`: the effective degrees of freedom, the intercept included
    - `cv_error`: the mean over the folds of the mean squared error of their rows, held out;
      `cv_standard_error`: its standard error; `cv_r2`: 1 - cv_error / (SST / W)
    - `nested_error`, `nested_standard_error`: the same of a selection among the other folds, so
      that the rows held out had no part in the choice; only where `nested` was given
    - `r2`: 1 - SSR / SST of the rows of the fit; `rmse`: sqrt(SSR / W); `loss`: SSR / W, averaged
      over the targets
    - `r2_uncentered`: True without an intercept; absent with one
    """

    options: SelectionOptions
    l1_ratios: Tensor  # (R,)
    alphas: Tensor  # decreasing, (R, A, targets)
    path: Path
    criteria: SelectionCriteria  # aic, bic, cp, gcv, each (R, A, targets)
    fold_errors: Tensor  # mean squared error of the rows held out, (R, A, targets, K)
    fold_rows: list[int]  # of weight above 0
    # Of the fits without the rows of a fold, (K, R, A, features, targets).
    fold_coefficients: Tensor
    fold_gap: Tensor  # as `path.gap`, likewise; (K, R, A, targets)
    mean_error: Tensor  # over folds, each counted once, (R, A, targets)
    standard_error: Tensor  # of the mean error, (R, A, targets)
    # About how far rounding may have moved the mean error, (R, A, targets).
    error_rounding: Tensor
    # Indices (l1_ratio, alpha) of each target: of the least mean error, of the largest alpha within
    # one standard error of it, and of `choice`; (targets, 2) int64.
    index_min: Tensor
    index_1se: Tensor
    index: Tensor
    # Correct digits of the coefficients at the choice: of each or, if that is larger, of its
    # standard error; an estimate, at most 15.9; (targets,).
    digits: Tensor
    left_out: tuple[int, ...]  # columns that are constant, or combinations of unpenalized ones
    target_variance: Tensor  # SST / W, (targets,)
    accuracy: str  # `exact` or `float64`, the arithmetic of the sums
    exact: bool  # whether accuracy is `exact` and no sum lost a bit
    rows: int  # of weight above 0
    intercept_fitted: bool
    confidence: float  # how often the intervals of `refit` cover the truth
    center: Tensor  # about the means of the columns of x, (features,)
    level: Tensor  # what the fit at the choice predicts there, (targets,)
    # s_j, by which the penalty multiplies a coefficient; 0 for columns left out and for those
    # without a penalty; (features,).
    scale: Tensor
    nested_error: Tensor | None = None  # (targets,), as in `statistics`
    nested_standard_error: Tensor | None = None
    # Least squares of the columns whose coefficients are not 0, a fit for each target.
    refit: Fit | list[Fit] | None = None
    feature_names: list[str] | None = None
    target_names: list[str] | None = None
    _one_dimensional: bool = field(default=False, repr=False)  # whether y was (rows,)

    @property
    def alpha(self) -> Tensor:
        """The penalty chosen, (targets,)."""
        return self._in_shape_of_y(take(self.alphas, self.index))

    @property
    def l1_ratio(self) -> Tensor:
        """The share of the penalty on magnitudes that was chosen, (targets,)."""
        return self._in_shape_of_y(self.l1_ratios[self.index[:, 0]])

    @property
    def coefficients(self) -> Tensor:
        """The slopes b of the choice, (features, targets)."""
        return self._in_shape_of_y(take(self.path.coefficients, self.index))

    @property
    def intercept(self) -> Tensor:
        """The intercept b_0 of the choice, (targets,)."""
        return self._in_shape_of_y(take(self.path.intercept, self.index))

    @cached_property
    def entry_alpha(self) -> Tensor:
        """The largest alpha at which a coefficient is not 0, (features, targets).

        It is that of the path of the l1_ratio chosen; NaN where the coefficient is 0 on all of it.
        """
        targets = []
        for t, r in enumerate(self.index[:, 0].tolist()):
            active = self.path.coefficients[r, :, :, t] != 0
            first = self.alphas[r, active.byte().argmax(0), t]
            targets.append(torch.where(active.any(0), first, torch.nan))
        return torch.stack(targets, dim=1)

    @cached_property
    def fold_share(self) -> Tensor:
        """The share of the folds whose coefficient at the choice is not 0, (features, targets)."""
        return (take(self.fold_coefficients, self.index) != 0).double().mean(0)

    @cached_property
    def error_digits(self) -> Tensor:
        """Correct digits of the mean error at the choice, at most 15.9; (targets,)."""
        error, mean = take(self.error_rounding, self.index), take(self.mean_error, self.index)
        share = torch.where(error > 0, error / mean, 0.0)
        return -share.clamp(10**-MAX_DIGITS, 1.0).log10()

    @property
    def precise(self) -> bool:
        """Whether eight digits of the coefficients and of the mean errors are safe."""
        return float(torch.minimum(self.digits, self.error_digits).min()) >= ENOUGH_DIGITS

    @cached_property
    def reliable(self) -> Tensor:
        """Whether a fit and its mean error are about right, (R, A, targets) bool.

        The objectives of all rows and of the rows without each fold are at most 1e-9 above their
        minima, and rounding leaves eight digits of the mean error.
        """
        gap = torch.maximum(self.path.gap, self.fold_gap.amax(0))
        limit = 10.0**-ENOUGH_DIGITS * self.mean_error
        return (gap <= _LARGEST_GAP) & (self.error_rounding <= limit)

    @cached_property
    def statistics(self) -> dict[str, Any]:
        """The measures of the choice by name, as the class lists them."""
        return selection_statistics(self)

    def predict(self, x: Any) -> Tensor:
        """Return b_0 + x b of the choice for x, (rows, features), in the shape of y.

        Columns of a data frame are found as in `Fit.predict`. The refit has its own `predict`.

        Raises:
            InputError: x has another number of columns, or lacks one of the fit.
        """
        rows = to_tensor("x", columns_by_name(x, self.feature_names)).cpu().double()
        if rows.ndim != 2 or rows.shape[1] != len(self.center):
            shape = f"(rows, {len(self.center)})"
            raise InputError(f"x: a shape of {tuple(rows.shape)} was given; {shape} is needed")
        coefficients = self.coefficients.reshape(len(self.center), -1)
        return self._in_shape_of_y(self.level + (rows - self.center) @ coefficients)

    def notes(self, names: list[str] | None = None) -> list[Note]:
        """Return what a user should know: columns left out, few correct digits, the path's end.

        `names` are those of the columns of x; None stands for those of the frame, or x1, x2 ...
        """
        return list_selection_notes(self, names or self.feature_names)

    def with_names(self, features: list[str] | None, targets: list[str] | None) -> Self:
        """Return the same selection, its refit too, with other names of the columns of x and y."""
        named = replace(self, feature_names=features, target_names=targets)
        if self.refit is None:
            return named
        all_features, all_targets = named.column_names()
        fits = []
        for t, fit in enumerate(self.refits):
            chosen = [all_features[j] for j in self.nonzero_columns(t)]
            fits.append(replace(fit, feature_names=chosen, target_names=all_targets[t : t + 1]))
        return replace(named, refit=fits[0] if isinstance(self.refit, Fit) else fits)

    def without_target_dimension(self) -> Self:
        """Return the selection of one target in the shapes for y of (rows,)."""
        fit = drop_target_dimension(self.refits[0]) if self.refit else None
        return replace(self, refit=fit, _one_dimensional=True)

    @property
    def refits(self) -> list[Fit]:
        """The refits of all targets; an empty list without them."""
        return [self.refit] if isinstance(self.refit, Fit) else self.refit or []

    def nonzero_columns(self, target: int = 0) -> list[int]:
        """Return the columns of x whose coefficients at the choice are not 0."""
        chosen = take(self.path.coefficients, self.index)[:, target]
        return [int(j) for j in chosen.nonzero()]

    def _in_shape_of_y(self, values: Tensor) -> Tensor:
        return values[..., 0] if self._one_dimensional else values
