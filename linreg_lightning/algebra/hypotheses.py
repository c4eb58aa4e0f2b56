"""Tests of linear hypotheses about the coefficients of a fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from linreg_lightning.algebra.chi_squared import chi_squared_tail
from linreg_lightning.algebra.double_double import DoubleDouble, ldexp, round_ratios, to_float64
from linreg_lightning.algebra.fit_table import as_rows, named_columns
from linreg_lightning.algebra.hypothesis_text import Hypothesis, parse_hypotheses, reduce_hypotheses
from linreg_lightning.algebra.inference import f_tail, residual_variance, t_quantile, t_two_sided
from linreg_lightning.algebra.multiprecision import matrix_product
from linreg_lightning.algebra.solution import Solution
from linreg_lightning.coefficient_table import CoefficientTable, coefficient_report, fit_title
from linreg_lightning.errors import InputError
from linreg_lightning.text_table import Report

_SINGULAR = 1e-13  # the smallest eigenvalue of a correlation matrix, per row, that is no rounding


@dataclass(frozen=True, eq=False)
class HypothesisTest(CoefficientTable):
    """A test of hypotheses A b = c about the coefficients b of a fit, jointly and one by one.

    With V the covariance of the estimates, classical or robust, and q hypotheses
    f = (A b - c)' (A V A')^-1 (A b - c) / q. Under the hypotheses it has Fisher's F with q and
    `df_residual` degrees of freedom; of infinitely many, q f is chi-squared. Each hypothesis alone
    has t = (A b - c) / standard_error, with the degrees of freedom of the coefficients. If y was
    (rows,), the shapes lack the dimension of the targets.
    """

    hypotheses: list[str]  # with all terms on the left: `x1 - x2 = 0`
    value: Tensor  # c, (hypotheses,)
    estimate: Tensor  # A b, (hypotheses, targets), like the next five
    standard_error: Tensor
    t: Tensor
    p: Tensor  # P(|T| > |t|)
    low: Tensor  # ends of the confidence intervals of A b
    high: Tensor
    f: Tensor  # (targets,)
    f_p: Tensor  # P(F > f), (targets,)
    df_residual: float  # of the denominator of F; infinity where q f is chi-squared
    errors: str  # the kind of standard errors, such as `classical` or `HC3`
    confidence: float
    title: str
    target_names: list[str]

    def __repr__(self) -> str:
        return f"<{self.title}; f {self.f.tolist()}, p {self.f_p.tolist()}>"

    @property
    def statistics(self) -> dict[str, Any]:
        """`f`, `f_p`, `hypotheses` (how many), `df_residual` and `errors`; f for each target."""
        return {
            "f": self.f.tolist() if self.f.numel() > 1 else self.f.item(),
            "f_p": self.f_p.tolist() if self.f.numel() > 1 else self.f_p.item(),
            "hypotheses": len(self.hypotheses),
            "df_residual": self.df_residual,
            "errors": self.errors,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return `statistics`, and under `rows` the rows of `to_frame` as dicts."""
        return {**self.statistics, "rows": as_rows(self._frame_columns())}

    def _report(self) -> Report:
        statistics = {name: v for name, v in self.statistics.items() if name != "errors"}
        rows = as_rows(self._frame_columns())
        note = f"{'F' if self.errors == 'classical' else 'Wald'} test, {self.errors} errors"
        return coefficient_report(
            self.title, rows, statistics, confidence=self.confidence, notes=[note]
        )

    def _frame_columns(self) -> dict[str, list[Any]]:
        numbers = {"estimate": self.estimate, "std_error": self.standard_error, "t": self.t}
        numbers |= {"p": self.p, "ci_low": self.low, "ci_high": self.high}
        columns = named_columns(
            {name: v[None] for name, v in numbers.items()}, self.hypotheses, self.target_names
        )
        return {"hypothesis" if name == "term" else name: v for name, v in columns.items()}


def hypothesis_test(fit: Any, text: str) -> HypothesisTest:
    """Return the test of hypotheses about a `Fit`, as `Fit.test` says."""
    features, targets = fit._names()
    terms = [*["intercept"][: int(fit.solution.equations.intercept)], *features]
    hypotheses = parse_hypotheses(text, terms)
    numbers = wald_test(fit.solution, fit.errors, hypotheses, terms)
    df = numbers.pop("df")
    margin = t_quantile(fit.confidence, df) * numbers["standard_error"]
    numbers |= {"low": numbers["estimate"] - margin, "high": numbers["estimate"] + margin}
    df_residual = numbers.pop("df_residual")
    if fit.intercept.ndim == 0:
        numbers = {name: v[..., 0] for name, v in numbers.items()}
    return HypothesisTest(
        hypotheses=[each.text for each in hypotheses],
        value=torch.tensor([float(each.value) for each in hypotheses], dtype=torch.float64),
        df_residual=df_residual,
        errors=fit.errors.options.kind if fit.errors else "classical",
        confidence=fit.confidence,
        title=fit_title("Hypotheses", targets, features),
        target_names=targets,
        **numbers,
    )


def wald_test(
    solution: Solution[Any], errors: Any, hypotheses: Sequence[Hypothesis], names: Sequence[str]
) -> dict[str, Any]:
    """Return `estimate` .. `p`, (hypotheses, targets), `f` and `f_p`, (targets,), `df`s as floats.

    The factor of the classical covariance comes from that of X'WX, so that f loses as many digits
    as the condition number of the columns has, not twice as many.

    Raises:
        InputError: a hypothesis follows from others or contradicts them, or is about a column left
            out; there are no standard errors; the covariance of the hypotheses is singular.
    """
    _check(solution, hypotheses, names)
    reduced, count = reduce_hypotheses(hypotheses), len(hypotheses)
    combination = _combination([*hypotheses, *reduced], solution)
    estimate, difference = _estimates(solution, combination, [*hypotheses, *reduced])
    error, factor = (
        _classical(solution, combination, count)
        if errors is None
        else _robust(solution, errors, combination, count)
    )
    df, df_residual = (solution.df_residual,) * 2 if errors is None else (errors.df, errors.df_f)
    ratio = difference / error
    # The reduced hypotheses over their standard errors have the correlation factor' factor.
    whitened = torch.linalg.solve_triangular(factor.mT, ratio[count:].T[..., None], upper=False)
    f = torch.where(ratio.isnan().any(0), math.nan, whitened.square().sum((1, 2)) / count)
    f = torch.where(ratio.isinf().any(0), math.inf, f)
    exponent = solution.exponent[solution.equations.features :]
    return {
        "estimate": ldexp(estimate[:count], exponent),
        "standard_error": ldexp(error[:count], exponent),
        "t": ratio[:count],
        "p": t_two_sided(ratio[:count], df),
        "f": f,
        "f_p": chi_squared_tail(f * count, count)
        if math.isinf(df_residual)
        else f_tail(f, count, df_residual),
        "df": df,
        "df_residual": df_residual,
    }


def _check(solution: Solution[Any], hypotheses: Sequence[Hypothesis], names: Sequence[str]) -> None:
    if solution.ridge:
        text = "a fit with a ridge penalty has no standard errors; fit with ridge 0"
        raise InputError(f"hypotheses: {text}")
    if solution.df_residual <= 0:
        text = "no residual degree of freedom is left, so that there are no standard errors"
        raise InputError(f"hypotheses: {text}; fit more rows, or fewer columns")
    left_out = {j + solution.equations.intercept for j in solution.collinear}
    for each in hypotheses:
        if missing := left_out & each.coefficients.keys():
            name = names[min(missing)]
            text = f"{name} was left out of the fit, as a linear combination of earlier columns"
            raise InputError(f"hypotheses: {text}; test other columns, or fit without those")


def _combination(hypotheses: Sequence[Hypothesis], solution: Solution[Any]) -> DoubleDouble:
    """Return A for [intercept, columns kept] in scaled units, (hypotheses, 1 + kept)."""
    first = solution.equations.intercept
    place = {0: 0} if first else {}
    place |= {j + first: k + 1 for k, j in enumerate(solution.kept.tolist())}
    shape = len(hypotheses), 1 + len(solution.kept)
    high = torch.zeros(shape, dtype=torch.float64)
    low = torch.zeros(shape, dtype=torch.float64)
    for row, each in enumerate(hypotheses):
        for term, number in each.coefficients.items():
            pair = round_ratios([number.numerator], number.denominator)
            high[row, place[term]], low[row, place[term]] = pair.high[0], pair.low[0]
    zero = torch.zeros(1, dtype=torch.int64)
    unit = torch.cat((zero, solution.exponent[solution.kept]))
    return ldexp(DoubleDouble(high, low), -unit)


def _centred(solution: Solution[Any], combination: DoubleDouble) -> DoubleDouble:
    """Return the slopes of A less its intercept times the means of the columns."""
    equations, kept = solution.equations, solution.kept
    mean = ldexp(equations.mean[kept], equations.exponent[kept] - solution.exponent[kept])
    return combination[:, 1:] - combination[:, :1] * mean


def _estimates(
    solution: Solution[Any], combination: DoubleDouble, hypotheses: Sequence[Hypothesis]
) -> tuple[Tensor, Tensor]:
    """Return A b and A b - c in units of the targets, (hypotheses, targets).

    With the intercept of y as mean - m'b, large terms cancel before they are rounded.
    """
    equations, features = solution.equations, solution.equations.features
    slope = DoubleDouble.of(solution.scaled_coefficients)
    centred = _centred(solution, combination)
    exponent = solution.exponent[features:]
    y_mean = ldexp(equations.mean[features:], equations.exponent[features:] - exponent)
    precise = matrix_product(centred, slope) + combination[:, :1] * y_mean
    plain = centred.high @ slope.high + combination.high[:, :1] * y_mean.high
    pairs = [round_ratios([h.value.numerator], h.value.denominator) for h in hypotheses]
    value = DoubleDouble(torch.cat([p.high for p in pairs]), torch.cat([p.low for p in pairs]))
    value = ldexp(DoubleDouble(value.high[:, None], value.low[:, None]), -exponent)
    difference = precise - value
    # 106 bits have a smaller range.
    difference_high = torch.where(difference.high.isfinite(), difference.high, plain - value.high)
    return torch.where(precise.high.isfinite(), precise.high, plain), difference_high


def _classical(
    solution: Solution[Any], combination: DoubleDouble, count: int
) -> tuple[Tensor, Tensor]:
    """Return standard errors in units of targets, and a factor of the correlation of A b - c."""
    equations = solution.equations
    whitened = torch.linalg.solve_triangular(
        solution.factor, _centred(solution, combination).high, upper=True, left=False
    )
    if equations.intercept:
        constant = combination.high[:, :1] / to_float64(equations.weight).sqrt()
        whitened = torch.cat((constant, whitened), 1)
    length = torch.linalg.vector_norm(whitened, dim=1, keepdim=True)
    factor = torch.linalg.qr((whitened / length)[count:].T, mode="r").R
    return length * to_float64(residual_variance(solution)).sqrt(), factor[None]


def _robust(
    solution: Solution[Any], errors: Any, combination: DoubleDouble, count: int
) -> tuple[Tensor, Tensor]:
    """As `_classical`, from a covariance that is given for each target."""
    rows = combination.high if solution.equations.intercept else combination.high[:, 1:]
    variance = errors.covariance.diagonal(dim1=1, dim2=2)
    size = torch.where(variance > 0, variance, 1.0).sqrt()
    scaled = rows * size[:, None]  # (targets, hypotheses, terms)
    length = torch.linalg.vector_norm(scaled, dim=2, keepdim=True)
    scaled = scaled / length
    correlation = errors.covariance / (size[:, :, None] * size[:, None])
    covariance = scaled @ correlation @ scaled.mT
    spread = covariance.diagonal(dim1=1, dim2=2)
    error = spread.clamp(min=0).sqrt()
    joint = covariance[:, count:, count:]
    root = torch.where(error > 0, error, 1.0)[:, count:]
    joint = joint / (root[:, :, None] * root[:, None])
    is_zero = (variance == 0).all(1)  # of a perfect fit
    joint = torch.where(
        is_zero[:, None, None], torch.eye(joint.shape[1], dtype=torch.float64), joint
    )
    values = torch.linalg.eigvalsh(joint)
    if bool((values[:, 0] <= _SINGULAR * joint.shape[1]).any()):
        clusters = ", ".join(map(str, errors.clusters))
        cause = f"; there are {clusters} clusters" if clusters else ""
        raise InputError(
            f"hypotheses: the covariance of these {joint.shape[1]} with errors "
            f"{errors.options.kind} is singular{cause}; test fewer of them at a time"
        )
    return (error * length[..., 0]).T, torch.linalg.cholesky(joint).mT
