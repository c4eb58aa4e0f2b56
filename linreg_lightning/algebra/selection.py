"""Which penalty predicts best: paths of all folds, and their errors, from the sums of the folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import ldexp, to_float64
from linreg_lightning.algebra.fold_sums import FoldSums
from linreg_lightning.algebra.held_out_errors import held_out_errors
from linreg_lightning.algebra.folds import folds_of_rows
from linreg_lightning.algebra.gram_exact import ExactGram
from linreg_lightning.algebra.gram_float64 import Float64Gram
from linreg_lightning.algebra.penalty_scale import (
    StandardizedEquations,
    alpha_grid,
    standardize_equations,
)
from linreg_lightning.algebra.ridge_path import ridge_path
from linreg_lightning.algebra.selection_criteria import (
    SelectionCriteria,
    noise_variance,
    selection_criteria,
    sparse_degrees_of_freedom,
)
from linreg_lightning.algebra.selection_options import SelectionOptions
from linreg_lightning.algebra.sparse_paths import sparse_paths
from linreg_lightning.batch import Batch
from linreg_lightning.validation import to_tensor

Progress = Callable[[int, int], None]  # paths done, paths in all


class Path(NamedTuple):
    """The fits of one set of rows for all l1_ratios (R) and alphas (A), in the user's units."""

    coefficients: Tensor  # (R, A, features, targets)
    intercept: Tensor  # (R, A, targets)
    residual: Tensor  # SSR / W, (R, A, targets)
    degrees_of_freedom: Tensor  # (R, A, targets)
    gap: Tensor  # duality gap / half the mean square of y about its fit without penalised columns


@dataclass(frozen=True, eq=False, repr=False)
class Selection:
    """A path of penalised fits, the errors of held-out folds, and the fit that was chosen.

    R l1_ratios, A alphas, K folds; `features` and `targets` are columns of x and y. Everything is
    float64 on the CPU. `choice` says how; `alpha`, `l1_ratio`, `coefficients` and `intercept` are
    those of the choice, for each target.
    """

    options: SelectionOptions
    l1_ratios: Tensor  # (R,)
    alphas: Tensor  # decreasing, (R, A, targets)
    path: Path  # of all rows
    criteria: SelectionCriteria  # aic, bic, cp, gcv, each (R, A, targets)
    fold_errors: Tensor  # mean squared error of the rows held out, (R, A, targets, K)
    fold_weights: Tensor  # sum of the weights of each fold, (K,)
    fold_rows: list[int]
    fold_coefficients: Tensor  # (K, R, A, features, targets)
    mean_error: Tensor  # over folds, weighted by their weights, (R, A, targets)
    standard_error: Tensor  # of the mean error, (R, A, targets)
    # Indices (l1_ratio, alpha) of each target: of the least mean error, of the largest alpha within
    # one standard error of it, and of `choice`; (targets, 2) int64.
    index_min: Tensor
    index_1se: Tensor
    index: Tensor
    rows: int
    intercept_fitted: bool
    feature_names: list[str] | None = None
    target_names: list[str] | None = None
    _one_dimensional: bool = field(default=False, repr=False)

    @property
    def alpha(self) -> Tensor:
        """The penalty chosen, (targets,)."""
        return self._at(self.alphas, self.index)

    @property
    def l1_ratio(self) -> Tensor:
        """The share of the penalty on magnitudes that was chosen, (targets,)."""
        return self.l1_ratios[self.index[:, 0]]

    @property
    def coefficients(self) -> Tensor:
        """B at the choice, (features, targets)."""
        return self._at(self.path.coefficients, self.index)

    @property
    def intercept(self) -> Tensor:
        """b_0 at the choice, (targets,)."""
        return self._at(self.path.intercept, self.index)

    def _at(self, values: Tensor, index: Tensor) -> Tensor:
        """Return the values of each target at its index; targets are the last dimension."""
        targets = range(values.shape[-1])
        return torch.stack([values[r, a, ..., t] for t, (r, a) in zip(targets, index)], dim=-1)


def select(
    sums: FoldSums,
    options: SelectionOptions,
    *,
    intercept: bool = True,
    progress: Progress | None = None,
) -> Selection:
    """Return the selection that the sums of some folds give."""
    total_sums = sums.total()
    equations = total_sums.normal_equations(intercept)
    total = standardized(equations, options)
    l1_ratios = torch.tensor(options.l1_ratios, dtype=torch.float64)
    alphas = _alphas(total, options)
    path = paths([total], l1_ratios, alphas)[0]
    training = [gram.normal_equations(intercept) for gram in sums.training()]
    fold_paths = paths([standardized(e, options) for e in training], l1_ratios, alphas)
    errors = []
    for gram, others, fold_path in zip(sums.grams, training, fold_paths, strict=True):
        held_out = gram.normal_equations()
        flat = fold_path.coefficients.flatten(0, 1)
        error = held_out_errors(held_out, others, flat).mean_square
        errors.append(error.reshape(alphas.shape))
    fold_errors = torch.stack(errors, dim=-1)
    weights = torch.stack([_weight(gram.normal_equations()) for gram in sums.grams])
    mean = (fold_errors * weights).sum(-1) / weights.sum()
    # Relative to the mean, since the square of the error of a tiny target may be 0.
    deviation = (fold_errors / mean[..., None] - 1).nan_to_num(0.0)
    spread = (deviation.square() * weights).sum(-1) / weights.sum()
    standard_error = mean * (spread / (len(weights) - 1)).sqrt()
    criteria = _stack(
        [
            selection_criteria(total, r, df, noise_variance(equations))
            for r, df in zip(path.residual, path.degrees_of_freedom, strict=True)
        ]
    )
    index_min = smallest(mean)
    index_1se = _within(mean, standard_error, index_min)
    chosen = {"min": index_min, "one_standard_error": index_1se}
    if options.choice not in chosen:
        chosen[options.choice] = smallest(getattr(criteria, options.choice))
    return Selection(
        options=options,
        l1_ratios=l1_ratios,
        alphas=alphas,
        path=path,
        criteria=criteria,
        fold_errors=fold_errors,
        fold_weights=weights,
        fold_rows=sums.rows,
        fold_coefficients=torch.stack([p.coefficients for p in fold_paths]),
        mean_error=mean,
        standard_error=standard_error,
        index_min=index_min,
        index_1se=index_1se,
        index=chosen[options.choice],
        rows=equations.rows,
        intercept_fitted=intercept,
    )


def standardized(equations: Any, options: SelectionOptions) -> StandardizedEquations[Any]:
    """Return the objective of one set of rows."""
    return standardize_equations(
        equations, standardize=options.standardize, unpenalized=options.unpenalized
    )


def paths(
    problems: Sequence[StandardizedEquations[Any]], l1_ratios: Tensor, alphas: Tensor
) -> list[Path]:
    """Return the path of each set of rows, all with the same alphas, (R, A, targets)."""
    sparse = l1_ratios > 0
    fits = sparse_paths(problems, l1_ratios[sparse], alphas[sparse])
    results = []
    for problem, fit in zip(problems, fits, strict=True):
        parts, place = [], 0
        for l1_ratio, grid in zip(l1_ratios.tolist(), alphas, strict=True):
            if l1_ratio == 0:
                ridge = ridge_path(problem, grid)
                parts.append(Path(*ridge[1:3], ridge.residual, ridge.degrees_of_freedom,
                                  torch.zeros_like(grid)))  # fmt: skip
            else:
                g, gap = fit.standardized[place], fit.gap[place]
                parts.append(_sparse_path(problem, l1_ratio, grid, g, gap))
                place += 1
        results.append(_stack(parts))
    return results


def _sparse_path(
    problem: StandardizedEquations[Any], l1_ratio: float, alphas: Tensor, g: Tensor, gap: Tensor
) -> Path:
    cross, xy, square = map(to_float64, (problem.cross, problem.xy, problem.square))
    coefficients, intercept = problem.coefficients(g.movedim(0, 1).flatten(1))
    fit = (g * (cross @ g)).sum(1)
    residual = (square - 2 * (g * xy).sum(1) + fit).clamp(min=0.0)
    residual = ldexp(residual, 2 * problem.target_exponent)
    freedom = sparse_degrees_of_freedom(problem, g, alphas, l1_ratio)
    return Path(coefficients, intercept, residual, freedom, gap)


def _alphas(total: StandardizedEquations[Any], options: SelectionOptions) -> Tensor:
    if isinstance(options.alphas, int):
        return torch.stack([alpha_grid(total, r, options.alphas) for r in options.l1_ratios])
    given = torch.tensor(options.alphas, dtype=torch.float64)
    targets, ratios = len(total.target_exponent), len(options.l1_ratios)
    return given[None, :, None].expand(ratios, -1, targets)


def smallest(values: Tensor) -> Tensor:
    """Return the indices (l1_ratio, alpha) of the smallest, of equal ones the largest alpha.

    (R, A, targets) -> (targets, 2).
    """
    flat = values.nan_to_num(torch.inf).flatten(0, 1)
    place = flat.argmin(0)
    return torch.stack((place // values.shape[1], place % values.shape[1]), dim=1)


def _within(mean: Tensor, standard_error: Tensor, index: Tensor) -> Tensor:
    """Return the indices of the largest alpha whose error is within one standard error."""
    result = index.clone()
    for t, (r, a) in enumerate(index.tolist()):
        limit = mean[r, a, t] + standard_error[r, a, t]
        result[t, 1] = int((mean[r, :, t] <= limit).nonzero()[0])
    return result


def _weight(equations: Any) -> Tensor:
    return ldexp(to_float64(equations.weight), equations.weight_exponent)


def _stack(parts: Sequence[Any]) -> Any:
    return type(parts[0])(*map(torch.stack, zip(*parts, strict=True)))


def select_penalty(
    x: Any,
    y: Any,
    weight: Any = None,
    *,
    intercept: bool = True,
    folds: int | Any = 10,
    seed: int = 0,
    accuracy: str = "auto",
    **options: Any,
) -> Selection:
    """Choose the penalty of ridge, the lasso or the elastic net by cross-validation, in one pass."""
    x, y = to_tensor("x", x), to_tensor("y", y)
    batch = Batch(x, y.unsqueeze(1) if y.ndim == 1 else y, weight).validate()
    kind = Float64Gram if accuracy == "float64" else ExactGram
    if isinstance(folds, int):
        number, fold = folds, folds_of_rows(0, batch.rows, folds, seed)
    else:
        fold = torch.as_tensor(folds)
        number = int(fold.max()) + 1
    sums = FoldSums(kind, number, batch.x.shape[1], batch.y.shape[1])
    sums.update(batch, fold)
    return select(sums, SelectionOptions(**options), intercept=intercept)
