"""Which penalty predicts best: paths of all folds, and their errors, from the sums of the folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from linreg_lightning.algebra.cross_validation import check_range, choose, cross_validate, take
from linreg_lightning.algebra.double_double import ldexp
from linreg_lightning.algebra.fit import Fit
from linreg_lightning.algebra.fold_sums import FoldSums, merged
from linreg_lightning.algebra.gram import Gram, NormalEquations
from linreg_lightning.algebra.gram_columns import with_columns
from linreg_lightning.algebra.held_out_errors import held_out_errors
from linreg_lightning.algebra.inference import check_confidence
from linreg_lightning.algebra.penalty_scale import StandardizedEquations
from linreg_lightning.algebra.selection_criteria import (
    SelectionCriteria,
    noise_variance,
    selection_criteria,
)
from linreg_lightning.algebra.selection_options import SelectionOptions, check_columns
from linreg_lightning.algebra.selection_paths import (
    Fits,
    choose_alphas,
    correct_digits,
    degrees_of_freedom,
    fit_paths,
    penalty_scales,
    standardized,
)
from linreg_lightning.algebra.selection_result import Path, Selection
from linreg_lightning.errors import InputError
from linreg_lightning.validation import all_weights_zero

Progress = Callable[[float], None]  # with the share of the work that is done, from 0 to 1
_BEFORE_PATHS, _AFTER_PATHS = 0.2, 0.9  # shares of the work of a selection, about


def select(
    sums: FoldSums,
    options: SelectionOptions,
    *,
    intercept: bool = True,
    confidence: float = 0.95,
    progress: Progress | None = None,
) -> Selection:
    """Return the selection that the sums of some folds give.

    Args:
        sums: one Gram matrix for each fold.
        options: what to compare, and how to choose.
        intercept: whether to fit the constant b_0.
        confidence: how often the intervals of a refit cover the truth.
        progress: called again and again with the share of the work that is done, from 0 to 1.

    Raises:
        InputError: a fold has no row with a weight above 0; an argument is outside its range.
    """
    _check(sums, options, confidence)
    other_folds = sums.training()
    total_sums = merged(sums.grams[0], other_folds[0])
    equations = total_sums.normal_equations(intercept)
    training = [gram.normal_equations(intercept) for gram in other_folds]
    folds = [gram.normal_equations() for gram in sums.grams]
    problem, *fold_problems = [standardized(e, options) for e in (equations, *training)]
    l1_ratios = torch.tensor(options.l1_ratios, dtype=torch.float64)
    alphas = choose_alphas(problem, options)
    count = 1 + options.nested * len(folds)
    of_paths = _part(progress, _BEFORE_PATHS / count, _AFTER_PATHS / count)
    fits, *fold_fits = fit_paths([problem, *fold_problems], l1_ratios, alphas, of_paths)
    fold_coefficients, _, fold_gaps, _, moved = zip(*fold_fits, strict=True)
    errors = cross_validate(folds, training, fold_coefficients, moved)
    check_range(problem, errors)
    path, criteria = _describe(problem, fits, l1_ratios, alphas, equations, total_sums)
    choices = choose(errors, criteria, options.choice)
    selection = Selection(
        options=options,
        l1_ratios=l1_ratios,
        alphas=alphas,
        path=path,
        criteria=criteria,
        **errors._asdict(),
        **vars(choices),
        fold_rows=sums.rows,
        fold_coefficients=torch.stack(fold_coefficients),
        fold_gap=torch.stack(fold_gaps),
        digits=_digits(problem, fits, path, l1_ratios, alphas, choices.index),
        left_out=_left_out(problem),
        target_variance=ldexp(problem.variation, 2 * problem.target_exponent),
        **_nested_errors(sums, folds, training, options, intercept, progress),
        accuracy=total_sums.accuracy,
        exact=total_sums.exact,
        rows=equations.rows,
        intercept_fitted=intercept,
        confidence=confidence,
        **_scales(problem, equations, take(fits.coefficients, choices.index)),
    )
    return _refit(selection, total_sums) if options.refit else selection


def _part(progress: Progress | None, start: float, stop: float) -> Progress | None:
    """Return what reports the progress of a part of the work, which begins and ends there."""
    if progress is None:
        return None
    return lambda share: progress(start + share * (stop - start))


def _check(sums: FoldSums, options: SelectionOptions, confidence: float) -> None:
    check_confidence(confidence)
    check_columns(options, sums.features)
    if options.nested and len(sums.grams) < 3:
        raise InputError(
            f"nested: True was given with {len(sums.grams)} folds; type folds 3 or more"
        )
    if not any(sums.rows):
        raise all_weights_zero()
    for number, rows in enumerate(sums.rows, 1):
        if not rows:
            raise InputError(
                f"folds: none of the rows with a weight above 0 is in fold {number} of "
                f"{len(sums.rows)}; type fewer folds, or another fold_seed"
            )


def _nested_errors(
    sums: FoldSums,
    folds: Sequence[NormalEquations[Any]],
    training: Sequence[NormalEquations[Any]],
    options: SelectionOptions,
    intercept: bool,
    progress: Progress | None,
) -> dict[str, Any]:
    """Return the errors of each fold for what a selection among the others chooses, if `nested`."""
    if not options.nested:
        if progress:
            progress(1.0)
        return {}
    plain, coefficients = replace(options, nested=False, refit=False), []
    count = 1 + len(folds)
    for fold in range(len(folds)):
        part = _part(progress, (1 + fold) / count, (2 + fold) / count)
        inner = select(sums.without(fold), plain, intercept=intercept, progress=part)
        coefficients.append(inner.coefficients)
    errors = cross_validate(folds, training, coefficients)
    return {"nested_error": errors.mean_error, "nested_standard_error": errors.standard_error}


def _describe(
    problem: StandardizedEquations[Any],
    fits: Fits,
    l1_ratios: Tensor,
    alphas: Tensor,
    equations: NormalEquations[Any],
    sums: Gram,
) -> tuple[Path, SelectionCriteria]:
    """Return the fits of all rows with their residuals and degrees of freedom, and criteria."""
    rows = equations if equations.intercept else sums.normal_equations()
    residual = held_out_errors(rows, equations, fits.coefficients).mean_square
    freedom = degrees_of_freedom(problem, fits, l1_ratios, alphas)
    criteria = selection_criteria(problem, residual, freedom, noise_variance(equations))
    return Path(fits.coefficients, fits.intercept, residual, freedom, fits.gap), criteria


def _digits(
    problem: StandardizedEquations[Any],
    fits: Fits,
    path: Path,
    l1_ratios: Tensor,
    alphas: Tensor,
    index: Tensor,
) -> Tensor:
    """Return the correct digits of the coefficients at the choice, (targets,)."""
    values = take(fits.coefficients, index), take(alphas, index), l1_ratios[index[:, 0]]
    digits = correct_digits(problem, *values, take(path.residual, index))
    # Both are lower bounds: that of ridge paths is far lower in float64, but higher in 106 bits.
    return torch.fmax(take(fits.digits, index), digits)


def _left_out(problem: StandardizedEquations[Any]) -> tuple[int, ...]:
    kept = {*problem.penalized.tolist(), *problem.unpenalized.tolist()}
    return tuple(j for j in range(problem.features) if j not in kept)


def _scales(
    problem: StandardizedEquations[Any], equations: NormalEquations[Any], coefficients: Tensor
) -> dict[str, Any]:
    """Return the scales and the means of x in float64, and what the fits predict at these means."""
    d = equations.features
    mean = ldexp(equations.mean, equations.exponent)
    # The fits predict the mean of y at the exact means, from which float64 takes the low words.
    change = mean.low[d:] - (mean.low[:d, None] * coefficients).sum(0)
    level = mean.high[d:] + change
    return {"scale": penalty_scales(problem), "center": mean.high[:d], "level": level}


def _refit(selection: Selection, sums: Gram) -> Selection:
    """Return the selection with least squares of the columns chosen for each target."""
    fits = []
    for target in range(len(selection.index)):
        gram = with_columns(sums, selection.nonzero_columns(target), targets=[target])
        intercept, confidence = selection.intercept_fitted, selection.confidence
        fits.append(Fit.from_gram(gram, intercept=intercept, confidence=confidence))
    return replace(selection, refit=fits).with_names(None, None)
