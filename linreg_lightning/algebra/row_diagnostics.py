"""What one more pass over the rows tells of a fit: influence of rows, and sums for tests.

With e = sqrt(w) r the residual of a row of weight w, h = w z'(Z'WZ)^-1 z its leverage, s^2 the
residual variance, n rows and k terms:

    internally studentised residual   t = e / (s sqrt(1 - h))
    externally studentised residual   t sqrt((n - k - 1) / (n - k - t^2)), s without the row
    Cook's distance                   t^2 h / ((1 - h) k)
    DFFITS                            the external one times sqrt(h / (1 - h))

Sources: R. D. Cook, S. Weisberg, Residuals and Influence in Regression (1982); R. Koenker, A note
on studentizing a test for heteroscedasticity, J. Econometrics 17 (1981); J. B. Ramsey, J. R. Stat.
Soc. B 31 (1969); C. M. Jarque, A. K. Bera, Int. Stat. Rev. 55 (1987); J. Durbin, G. S. Watson,
Biometrika 37 (1950).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from linreg_lightning.algebra.chi_squared import chi_squared_tail
from linreg_lightning.algebra.diagnostics import (
    Diagnostics,
    TargetDiagnostics,
    TestResult,
)
from linreg_lightning.algebra.double_double import to_float64
from linreg_lightning.algebra.gram import Gram
from linreg_lightning.algebra.gram_exact import ExactGram
from linreg_lightning.algebra.gram_float64 import Float64Gram
from linreg_lightning.algebra.inference import f_tail, residual_variance, t_two_sided
from linreg_lightning.algebra.kept_rows import KeptRows, MeasuredRows
from linreg_lightning.algebra.robust import rows_of
from linreg_lightning.algebra.row_scores import FULL_LEVERAGE, RowWhitener, check_squares
from linreg_lightning.algebra.solve import solve
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError

_BLOCK_ROWS = 2**15


class RowDiagnostics:
    """Adds up what `Diagnostics` need, over the rows of a fit in their order.

    Args:
        fit: a `Fit` of these rows.
        top: how many influential rows to keep for each target.
        sample_rows: how many rows to keep for plots; above that, a hash of their numbers decides.

    Raises:
        InputError: the fit has a penalty or no residual degree of freedom, or has absorbed effects.
    """

    def __init__(self, fit: Any, top: int = 10, sample_rows: int = 5000) -> None:
        solution = fit.solution
        _check(solution)
        self._fit, self._solution = fit, solution
        self._whitener = RowWhitener(solution, fit.accuracy == "exact")
        self._df = solution.df_residual
        self._s = to_float64(residual_variance(solution)).sqrt()
        self._next_row, self._weighted = 1, False
        kept, targets = len(solution.kept), len(self._s)
        # A whitened row times this is (prediction - mean) / standard deviation of predictions.
        slope = solution.factor @ to_float64(solution.scaled_coefficients)
        explained = to_float64((solution.total - solution.residual) / solution.equations.weight)
        self._slope = slope / explained.clamp(min=0).sqrt()
        self._spread_gram = Float64Gram(kept, targets)
        # Without an intercept, powers of predictions may be nearly collinear: exact sums then.
        kind = ExactGram if fit.accuracy == "exact" else Float64Gram
        self._reset_grams: list[Gram] = [kind(kept + 2, 1) for _ in range(targets)]
        self._moments = torch.zeros(4, targets, dtype=torch.float64)  # sums of (e / s)^1 .. ^4
        # Sums of f, f^2, u, u f with f the prediction, u = (e / s)^2.
        self._direction = torch.zeros(4, targets, dtype=torch.float64)
        self._changes = torch.zeros(targets, dtype=torch.float64)  # of (e_t - e_t-1)^2
        self._last: Tensor | None = None
        self._kept = KeptRows(targets, top, sample_rows)
        self._largest_external = torch.zeros(targets, dtype=torch.float64)
        self._outlier = torch.zeros(targets, dtype=torch.int64)  # the number of its row
        self._determining: list[int] = []  # rows of leverage 1
        self._rows, self._squares = 0, torch.zeros_like(self._s)

    def update(self, batch: Batch, numbers: Tensor | None = None) -> None:
        """Add rows, of which those of weight 0 do not count.

        Args:
            batch: x without a column for the intercept, y (rows, targets), weight.
            numbers: of the rows, (rows,) int64; None: counted on from 1.
        """
        batch = batch.map(Tensor.cpu)
        if numbers is None:
            numbers = torch.arange(self._next_row, self._next_row + batch.rows)
        self._next_row += batch.rows
        if batch.weight is not None:
            self._weighted = True
            present = batch.weight.nonzero()[:, 0]
            batch, numbers = batch.select(present), numbers[present]
        for start in range(0, batch.rows, _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            self._add(batch.select(rows), numbers[rows])

    def finish(self) -> Diagnostics:
        """Return the diagnostics.

        Raises:
            InputError: the rows are not those of the fit.
        """
        fit, solution = self._fit, self._solution
        if self._rows != solution.equations.rows:
            raise InputError(
                f"rows: {self._rows} were given, and the fit is of {solution.equations.rows}; give "
                "the same rows"
            )
        check_squares(solution, self._squares)
        features, targets = fit._names()
        return Diagnostics.of(
            solution,
            features,
            targets,
            [self._target(t, name) for t, name in enumerate(targets)],
            self._kept.sample(self._rows, solution, self._weighted),
        )

    def _add(self, batch: Batch, numbers: Tensor) -> None:
        parts = [
            part._replace(whitened=part.whitened[:, : len(self._solution.kept)].clone())
            for part in self._whitener.blocks(batch, with_leverage=True)
        ]
        self._squares += sum(part.squares for part in parts)
        kept = len(self._solution.kept)  # the whitener pads its rows with other columns
        whitened = torch.cat([part.whitened[:, :kept] for part in parts])
        residual = torch.cat([part.residual for part in parts])
        leverage = torch.cat([part.leverage for part in parts if part.leverage is not None])
        unit = 2.0 ** -float(self._solution.equations.weight_exponent)
        weight = torch.ones(batch.rows) if batch.weight is None else batch.weight
        weight = weight.double() * unit
        root = weight.sqrt()[:, None]
        scaled = (
            residual / root / self._s
        )  # e / s; NaN where s is 0, which ends as `no test is possible`
        predicted = whitened @ self._slope
        square = scaled.square()
        self._spread_gram.update(Batch(whitened, square.nan_to_num(0.0)))
        for t, gram in enumerate(self._reset_grams):
            f = predicted[:, t : t + 1].nan_to_num(0.0, 0.0, 0.0)
            x = torch.cat((whitened, f.square(), f**3), 1)
            gram.update(Batch(x, (scaled[:, t : t + 1] / root).nan_to_num(0.0), weight))
        powers = [scaled, square, square * scaled, square * square]
        self._moments += torch.stack([power.sum(0) for power in powers])
        products = predicted, predicted.square(), square, square * predicted
        self._direction += torch.stack([product.sum(0) for product in products])
        previous = scaled[:1] if self._last is None else self._last
        self._changes += torch.diff(scaled, dim=0, prepend=previous).square().sum(0)
        self._last = scaled[-1:] if batch.rows else self._last
        self._rows += batch.rows
        rest = torch.where(leverage <= FULL_LEVERAGE, 1 - leverage, math.nan)[:, None]
        internal = scaled / rest.sqrt()
        external = internal * ((self._df - 1) / (self._df - internal.square()).clamp(min=0)).sqrt()
        cook = internal.square() * (leverage[:, None] / rest) / self._solution.rank
        if batch.rows:
            largest, place = external.abs().nan_to_num(0.0, math.inf).max(0)
            is_larger = largest > self._largest_external
            self._outlier = torch.where(is_larger, numbers[place], self._outlier)
            self._largest_external = torch.maximum(self._largest_external, largest)
            self._determining += numbers[leverage > FULL_LEVERAGE].tolist()
        columns = batch.x, batch.y, weight / unit, leverage, internal, external, cook
        self._kept.add(MeasuredRows(numbers, *columns))

    def _target(self, t: int, name: str) -> TargetDiagnostics:
        n, solution = self._rows, self._solution
        mean, second, third, fourth = (self._moments[:, t] / n).tolist()
        variance = second - mean**2
        skewness = kurtosis = math.nan
        if variance > 0:
            third_moment = third - 3 * mean * second + 2 * mean**3
            fourth_moment = fourth - 4 * mean * third + 6 * mean**2 * second - 3 * mean**4
            skewness = third_moment / variance**1.5
            kurtosis = fourth_moment / variance**2 - 3
        jarque_bera = n / 6 * (skewness**2 + kurtosis**2 / 4)
        durbin_watson = float(self._changes[t]) / (n * second) if second > 0 else math.nan
        return TargetDiagnostics(
            target=name,
            tests={
                "breusch_pagan": self._breusch_pagan(t),
                "jarque_bera": _chi_squared_test(jarque_bera, 2),
                "durbin_watson": TestResult(durbin_watson, (), math.nan),
                "reset": self._reset(t),
            },
            spread=self._spread(t),
            skewness=skewness,
            kurtosis=kurtosis,
            autocorrelation=1 - durbin_watson / 2,
            influential=self._kept.influential(t),
            outlier_p=self._outlier_p(t),
            outlier_row=int(self._outlier[t]),
            determining_rows=self._determining,
            errors=self._fit.errors.options.kind if self._fit.errors else "classical",
            weighted=self._weighted,
            rows=n,
            rank=solution.rank,
        )

    def _breusch_pagan(self, t: int) -> TestResult:
        auxiliary = solve(self._spread_gram.normal_equations())
        explained = to_float64(1 - auxiliary.residual / auxiliary.total)[t].item()
        df = auxiliary.rank - 1
        return _chi_squared_test(self._rows * explained if df else math.nan, df)

    def _reset(self, t: int) -> TestResult:
        """Return the F test of the squares and cubes of predictions as further columns."""
        solution = self._solution
        equations = self._reset_grams[t].normal_equations(solution.equations.intercept)
        auxiliary = solve(equations)
        added = auxiliary.rank - solution.rank
        df = self._df - added
        if added <= 0 or df <= 0:
            return TestResult(math.nan, (max(added, 0), df), math.nan)
        share = to_float64(auxiliary.residual / auxiliary.total)[0]
        f = (1 - share) / added / (share / df)
        return TestResult(f.item(), (added, df), f_tail(f, added, df).item())

    def _spread(self, t: int) -> float:
        """Return the ratio of residual deviations one sd above and below the mean prediction."""
        n = self._rows
        f, f_square, u, product = (self._direction[:, t] / n).tolist()
        variance = f_square - f * f
        if not variance > 1e-12:
            return math.nan
        slope = (product - f * u) / variance * math.sqrt(variance)
        low, high = max(u - slope, 0.0), max(u + slope, 0.0)
        return math.sqrt(high / low) if low else math.inf

    def _outlier_p(self, t: int) -> float:
        """Return n times the p of the largest external residual, at most 1."""
        p = t_two_sided(self._largest_external[t], self._df - 1).item()
        return min(1.0, self._rows * p)


def diagnose(fit: Any, rows: Sequence[Any] | None = None, top: int = 10) -> Diagnostics:
    """Return the diagnostics of a `Fit`, as `Fit.diagnostics` says."""
    remedy = "type fit.diagnostics(rows=(x, y)), or linreg diagnose for a run of the command"
    held = rows_of(fit, "rows: diagnostics need", remedy, rows)
    found = RowDiagnostics(fit, top=top)
    found.update(held.batch)
    return found.finish()


def _check(solution: Any) -> None:
    if solution.ridge > 0:
        raise InputError(
            f"ridge: {solution.ridge} was given, which biases the estimates; diagnostics need a "
            "fit with ridge 0"
        )
    if solution.absorbed:
        raise InputError(
            "absorb: the fit has absorbed effects and keeps none of them; for diagnostics, give x "
            "a column of 0 and 1 for each level instead"
        )
    if solution.df_residual <= 0:
        raise InputError(
            f"rows: {solution.equations.rows} were given for {solution.rank} terms, which leaves "
            "no residual to judge; give more rows"
        )


def _chi_squared_test(statistic: float, df: int) -> TestResult:
    p = chi_squared_tail(torch.tensor(statistic, dtype=torch.float64), df).item()
    return TestResult(statistic, (df,), p)
