"""Robust standard errors of a fit whose rows are in memory: `Fit.robust`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Self, cast

from torch import Tensor

from linreg_lightning.algebra.fixed_effects import Absorption
from linreg_lightning.algebra.keys import key_numbers
from linreg_lightning.algebra.level_sums import LevelSums
from linreg_lightning.algebra.robust_errors import (
    ErrorKind,
    ErrorOptions,
    RobustErrors,
    SmallSample,
)
from linreg_lightning.algebra.scores import ScoreSums
from linreg_lightning.algebra.solution import Solution
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError
from linreg_lightning.matching import align_index, columns_by_name
from linreg_lightning.validation import to_tensor

_ROWS_AT_A_TIME = 2**16  # of demeaned rows and their scores, beside the rows themselves


class FitRows(NamedTuple):
    """The rows of a fit: those that the user holds, not a copy where they are tensors."""

    batch: Batch
    given: tuple[Any, ...]  # x, y and the weights, with whose index clusters are matched
    levels: Tensor | None = None  # of absorbed effects, (rows, ways) int64
    absorption: Absorption | None = None

    @classmethod
    def of(cls, x: Any, y: Any, weight: Any = None) -> FitRows:
        """Return rows as `least_squares` takes them."""
        y, weight = align_index(x, y, weight)
        given = x, y, weight
        x, y = to_tensor("x", x), to_tensor("y", y)
        weight = None if weight is None else to_tensor("weight", weight).to(x.device)
        y = (y.unsqueeze(1) if y.ndim == 1 else y).to(x.device)
        return cls(Batch(x, y, weight).validate(), given)


class RobustFit:
    """Base class of `Fit`: its robust standard errors."""

    def robust(
        self,
        errors: ErrorKind,
        *,
        cluster: Any = None,
        lags: int | None = None,
        small_sample: SmallSample = "statsmodels",
        rows: Sequence[Any] | None = None,
    ) -> Self:
        """Return the same fit with other standard errors, by one more pass over its rows.

        With r the residuals, h the leverages and A = X'WX, the covariance is A^-1 M A^-1:

        - `HC0`: M = sum(w^2 r^2 x x'); `HC1`: times n / (n - k); `HC2`: each row divided by 1 - h;
          `HC3`: by (1 - h)^2. They hold where the variances of rows differ.
        - `cluster`: M = sum(s s') over clusters, s = sum(w r x) over the rows of one, times
          G / (G - 1) (n - 1) / (n - k) for G clusters. It holds where rows of a cluster depend on
          each other. Of two columns of clusters it is the sum of both, less that of their pairs.
        - `HAC`: of Newey and West, with the products of rows up to `lags` apart, weighted by
          1 - lag / (lags + 1). It holds where rows near each other in time depend on each other.

        Tables, intervals, `covariance`, `prediction` and the `f` of the statistics follow.

        Args:
            errors: one of these, or `classical`.
            cluster: the clusters of the rows for `cluster`: (rows,) numbers, text, booleans or
                dates, or a list of two such columns.
            lags: for `HAC`, 0 or above.
            small_sample: whose corrections and degrees of freedom. `statsmodels`: t is normal, F
                has n - k, with clusters G - 1, G of the smaller number of two. `sandwich`, as R's
                packages sandwich and lmtest: t and F have n - k. `fixest`: t and F have n - k, with
                clusters G - 1 and the smallest G in the factor, with HAC n - 1; HC2, HC3 and HAC
                have the factor of HC1.
            rows: (x, y) or (x, y, weight) of the fit, where it does not hold them: after
                `from_gram`, or from a checkpoint.

        Raises:
            InputError: no rows, or not those of the fit; an argument is outside its range; clusters
                with a missing value or of one value; `HC2` or `HC3` and a row that alone determines
                a coefficient; a ridge penalty; no residual degree of freedom.

        >>> from linreg_lightning.algebra import least_squares
        >>> fit = least_squares([[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 2.0, 5.0])
        >>> fit.robust("HC3").standard_error
        tensor([0.6767, 0.6462], dtype=torch.float64)
        """
        fit: Any = self
        if errors == "classical":
            return cast(Self, replace(fit, errors=None))
        options = ErrorOptions(errors, lags, small_sample)
        remedy = f'type fit.robust("{errors}", rows=(x, y)), or LeastSquares(errors="{errors}")'
        held = rows_of(fit, f"errors: {errors} needs", remedy, rows)
        exact = fit.accuracy == "exact"
        result = _robust_errors(fit.solution, held, options, cluster=cluster, exact=exact)
        return cast(Self, replace(fit, errors=result))


def rows_of(fit: Any, what: str, remedy: str, rows: Sequence[Any] | None) -> FitRows:
    """Return the rows given, or those that the fit holds.

    Raises:
        InputError: there are none; `what` needs them, and `remedy` says what to type. Others than
            those of the fit were given, or rows without the levels that the fit has absorbed.
    """
    if rows is not None:
        given = FitRows.of(columns_by_name(rows[0], fit.feature_names), *rows[1:])
        _check_rows(fit.solution, given.batch)
        return given
    if fit.rows is None:
        raise InputError(f"{what} the rows, which this fit does not hold; {remedy}")
    held: FitRows = fit.rows
    return held


def _check_rows(solution: Solution[Any], batch: Batch) -> None:
    """Refuse rows that have other columns than those of a fit, or lack its levels."""
    if solution.absorbed:
        raise InputError(
            "rows: they were given without the levels that the fit has absorbed; use the fit that "
            "least_squares(x, y, absorb=...) returned, which holds its rows, without rows"
        )
    features = solution.equations.features
    expected, given = (features, len(solution.residual)), (batch.x.shape[1], batch.y.shape[1])
    if given != expected:
        text = f"{given[0]} features and {given[1]} targets were given after a fit of"
        raise InputError(f"rows: {text} {expected[0]} and {expected[1]}; give the same rows")


def _robust_errors(
    solution: Solution[Any],
    rows: FitRows,
    options: ErrorOptions,
    *,
    cluster: Any = None,
    exact: bool = True,
) -> RobustErrors:
    """Return the robust errors of a fit of these rows; `cluster` as in `Fit.robust`."""
    batch, absorption = rows.batch, rows.absorption
    keys, names = None, tuple[str, ...]()
    if cluster is not None:
        keys, names = key_numbers("cluster", cluster, batch.rows, *rows.given)
    ways = 0 if keys is None else keys.shape[1]
    nested = 0
    is_fixest = options.small_sample == "fixest"
    if absorption is not None and rows.levels is not None and keys is not None and is_fixest:
        sums = LevelSums(absorption.effects.total, rows.levels.shape[1], ways)
        sums.update(batch, rows.levels, keys)
        nested = Absorption(sums).effects.nested_count(range(ways))
    scores = ScoreSums(solution, options, keys=ways, exact=exact, nested=nested)
    needs_leverage = absorption is not None and options.needs_leverage
    for start in range(0, batch.rows, _ROWS_AT_A_TIME):
        part = slice(start, start + _ROWS_AT_A_TIME)
        block, leverage = batch.select(part), None
        if absorption is not None and rows.levels is not None:
            levels = rows.levels[part]
            leverage = absorption.leverage(block, levels) if needs_leverage else None
            block = absorption.demean(block, levels)
        scores.update(block, None if keys is None else keys[part], start, leverage)
    errors = scores.errors()
    return replace(errors, cluster_names=names)
