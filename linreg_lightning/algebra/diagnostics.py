"""What a statistician asks of a fit: are the columns, the rows and the errors as they should be?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from linreg_lightning.algebra.diagnostic_sentences import column_sentences, target_sentences
from linreg_lightning.algebra.double_double import ldexp, to_float64
from linreg_lightning.algebra.solution import Solution
from linreg_lightning.coefficient_table import CoefficientTable
from linreg_lightning.errors import InputError
from linreg_lightning.text_table import Report, Table

_TEST_NAMES = {
    "breusch_pagan": "Breusch-Pagan (equal variances)",
    "jarque_bera": "Jarque-Bera (normal errors)",
    "durbin_watson": "Durbin-Watson (independent rows)",
    "reset": "RESET (linear relation)",
}


class TestResult(NamedTuple):
    """A test: its statistic, its degrees of freedom, and its p; NaN where it has none."""

    statistic: float
    df: tuple[int, ...]
    p: float


class InfluentialRow(NamedTuple):
    """A row that moves the estimates, as `algebra.row_diagnostics` defines the measures."""

    row: int  # its number, from 1
    cook: float  # Cook's distance
    leverage: float
    residual: float  # externally studentised
    dffits: float


class RowSample(NamedTuple):
    """Rows for plots: all of them, or a sample and the influential ones; in their order."""

    number: Tensor  # (rows,) int64
    x: Tensor  # (rows, features)
    y: Tensor  # (rows, targets), like `predicted`, `internal` and `external`
    predicted: Tensor
    weight: Tensor | None  # (rows,)
    leverage: Tensor  # (rows,)
    internal: Tensor  # studentised residuals
    external: Tensor
    complete: bool  # whether these are all rows


@dataclass(frozen=True)
class TargetDiagnostics:
    """The diagnostics of one target.

    `tests` are, of e = sqrt(w) r:

    - `breusch_pagan`: n R^2 of the regression of e^2 on the columns (Koenker's form)
    - `jarque_bera`: n / 6 (skewness^2 + kurtosis^2 / 4)
    - `durbin_watson`: sum (e_t - e_(t-1))^2 / sum e^2, in the order of the rows; near 2 if these do
      not depend on each other. It has no p.
    - `reset`: Ramsey's F test of the squares and cubes of predictions as further columns
    """

    target: str
    tests: dict[str, TestResult]
    # The residual deviation one standard deviation above the mean prediction, over that below it.
    spread: float
    skewness: float  # of e
    kurtosis: float  # of e, 0 for normal errors
    autocorrelation: float  # of e and that of the row before: 1 - durbin_watson / 2
    influential: list[InfluentialRow]  # the largest Cook's distance first
    outlier_p: float  # n times the p of the largest externally studentised residual, at most 1
    outlier_row: int  # the number of the row of that residual
    determining_rows: list[int]  # rows of leverage 1, each of which alone determines a coefficient
    errors: str  # the kind of standard errors of the fit
    weighted: bool  # whether rows had weights
    rows: int
    rank: int


@dataclass(frozen=True, eq=False, repr=False)
class Diagnostics(CoefficientTable):
    """The diagnostics of a fit: of its columns, and for each target of its residuals and rows.

    The VIF of a column is 1 / (1 - R^2), R^2 that of its regression on the other columns; without a
    constant, R^2 is uncentred. Condition indices are the largest over each singular value of the
    columns and the constant, each scaled to length 1; `variance_proportions`, (indices, terms), say
    which estimates suffer (D. A. Belsley, E. Kuh, R. E. Welsch, Regression Diagnostics (1980)).
    """

    feature_names: list[str]
    target_names: list[str]
    rows: int
    rank: int
    df_residual: int
    vif: dict[str, float]  # of the columns that were kept
    condition_indices: Tensor  # (terms,), ascending
    variance_proportions: Tensor
    terms: list[str]  # the constant, if there is one, and the columns kept
    targets: list[TargetDiagnostics]
    sample: RowSample
    solution: Solution[Any]

    @classmethod
    def of(
        cls,
        solution: Solution[Any],
        features: list[str],
        target_names: list[str],
        targets: list[TargetDiagnostics],
        sample: RowSample,
    ) -> Self:
        """Return the diagnostics of a solution, whose columns tell the rest."""
        kept = [features[j] for j in solution.kept.tolist()]
        indices, proportions = condition_indices(solution)
        constant = ["intercept"][: int(solution.equations.intercept)]
        return cls(
            feature_names=features,
            target_names=target_names,
            rows=solution.equations.rows,
            rank=solution.rank,
            df_residual=solution.df_residual,
            vif=dict(zip(kept, variance_inflation(solution).tolist(), strict=True)),
            condition_indices=indices,
            variance_proportions=proportions,
            terms=[*constant, *kept],
            targets=targets,
            sample=sample,
            solution=solution,
        )

    def __repr__(self) -> str:
        return f"<Diagnostics of {', '.join(self.target_names)}; {self.rows} rows>"

    def sentences(self) -> list[str]:
        """Return what a user should know, a sentence each; arguments are those of the model."""
        found = column_sentences(self)
        for target in self.targets:
            name = f"{target.target}: " if len(self.targets) > 1 else ""
            found += [name + sentence for sentence in target_sentences(target, self.df_residual)]
        return found or ["No test finds a departure that matters."]

    def partial_regression(self, column: str, target: int = 0) -> tuple[Tensor, Tensor, float]:
        """Return residuals of a column and of y, given the other columns, and the slope.

        They are those of the sampled rows, (rows,), in the user's units.

        Raises:
            InputError: the column is unknown, or was left out of the fit.
        """
        kept = [self.feature_names[j] for j in self.solution.kept.tolist()]
        if column not in kept:
            state = "was left out of the fit" if column in self.feature_names else "is unknown"
            raise InputError(
                f"columns: {column!r} {state}; type one of {', '.join(kept) or 'no column'}"
            )
        solution, place = self.solution, kept.index(column)
        equations = solution.equations
        unit, mean = equations.exponent[solution.kept], to_float64(equations.mean)[solution.kept]
        centred = ldexp(self.sample.x.double()[:, solution.kept], -unit) - mean
        centred = ldexp(centred, unit - solution.exponent[solution.kept])
        scaled = centred @ (solution.inverse[place] / solution.inverse[place, place])
        across = ldexp(scaled, solution.exponent[solution.kept[place]])
        slope = solution.coefficients[solution.kept[place], target].item()
        residual = self.sample.y[:, target] - self.sample.predicted[:, target]
        return across, residual + slope * across, slope

    def to_json(self) -> dict[str, Any]:
        """Return everything but the sample as plain values; None for a number that is not there."""
        content: dict[str, Any] = _without_nan(self._content())
        return content

    def _content(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "rank": self.rank,
            "df_residual": self.df_residual,
            "sentences": self.sentences(),
            "vif": self.vif,
            "condition_indices": self.condition_indices.tolist(),
            "terms": self.terms,
            "variance_proportions": self.variance_proportions.tolist(),
            "targets": [
                {
                    "target": each.target,
                    "tests": {name: test._asdict() for name, test in each.tests.items()},
                    "spread": each.spread,
                    "skewness": each.skewness,
                    "kurtosis": each.kurtosis,
                    "autocorrelation": each.autocorrelation,
                    "outlier_p": each.outlier_p,
                    "outlier_row": each.outlier_row,
                    "determining_rows": each.determining_rows,
                    "influential": [row._asdict() for row in each.influential],
                }
                for each in self.targets
            ],
        }

    def _report(self) -> Report:
        parts: list[Table | list[str]] = [[sentence] for sentence in self.sentences()]
        several = len(self.targets) > 1
        tests: list[dict[str, Any]] = [
            ({"target": each.target} if several else {})
            | {
                "test": _TEST_NAMES[name],
                "statistic": test.statistic,
                "df": ", ".join(map(str, test.df)),
                "p": None if name == "durbin_watson" else test.p,
            }
            for each in self.targets
            for name, test in each.tests.items()
        ]
        parts.append(Table.from_rows(tests))
        if self.vif:
            parts.append(Table.from_rows([{"term": n, "vif": v} for n, v in self.vif.items()]))
        parts.append([f"condition index {self.condition_indices[-1].item():.6g}"])
        parts.append(Table.from_rows(self._influential_rows()))
        return Report(f"Diagnostics: {', '.join(self.target_names)}; {self.rows} rows", parts)

    def _frame_columns(self) -> dict[str, list[Any]]:
        rows = self._influential_rows(with_target=True)
        names = ["target", *InfluentialRow._fields]
        return {name: [row[name] for row in rows] for name in names}

    def _influential_rows(self, with_target: bool = False) -> list[dict[str, Any]]:
        several = with_target or len(self.targets) > 1
        return [
            ({"target": each.target} if several else {}) | row._asdict()
            for each in self.targets
            for row in each.influential
        ]


def _without_nan(value: Any) -> Any:
    """Return plain values with None in place of NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {name: _without_nan(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def variance_inflation(solution: Solution[Any]) -> Tensor:
    """Return the variance inflation factor of each column kept, (kept,): A_jj (A^-1)_jj."""
    square = solution.factor.square().sum(0)
    return square * to_float64(solution.inverse_diagonal)


def condition_indices(solution: Solution[Any]) -> tuple[Tensor, Tensor]:
    """Return the condition indices, ascending, and the variance proportions, (indices, terms).

    They are those of the triangle that the columns and the constant have in common with Z'WZ.
    """
    equations, kept = solution.equations, solution.kept
    triangle = solution.factor
    if equations.intercept:
        change = equations.exponent[kept] - solution.exponent[kept]
        mean = ldexp(to_float64(equations.mean)[kept], change)
        root = math.sqrt(float(to_float64(equations.weight)))
        above = torch.cat((torch.ones(1, dtype=torch.float64), mean))[None] * root
        below = torch.cat((triangle.new_zeros(len(kept), 1), triangle), 1)
        triangle = torch.cat((above, below))
    if not len(triangle):
        return triangle.new_zeros(0), triangle.new_zeros(0, 0)
    triangle = triangle / triangle.norm(dim=0)
    _, singular, vectors = torch.linalg.svd(triangle)
    parts = (vectors / singular[:, None]).square()
    return singular[0] / singular, parts / parts.sum(0)
