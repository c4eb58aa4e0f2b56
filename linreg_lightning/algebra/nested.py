"""Whether a fit is nested in another, decided from their sums, and the tests between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra.chi_squared import chi_squared_tail
from linreg_lightning.algebra.double_double import DoubleDouble, ldexp, to_float64
from linreg_lightning.algebra.hypotheses import wald_test
from linreg_lightning.algebra.hypothesis_text import Hypothesis
from linreg_lightning.algebra.inference import f_tail, residual_variance
from linreg_lightning.errors import InputError

# How far sums of the same rows may differ, of the spread and of the numbers that were added.
_TOLERANCE, _ROUNDING = 1e-9, 1e-13
_NAMES_SHOWN = 6

Rows = list[dict[str, Any]]


class _Side(NamedTuple):
    """A fit with its names; `label` is A or B."""

    label: str
    fit: Any
    features: list[str]
    targets: list[str]

    @property
    def size(self) -> int:
        """How many coefficients were fitted, those of absorbed effects included."""
        return int(self.fit.solution.rank + self.fit.solution.absorbed)

    @property
    def kept(self) -> list[str]:
        """The names of the columns that were not left out."""
        return [self.features[j] for j in self.fit.solution.kept.tolist()]


def nested_tests(first: Any, second: Any, labels: Sequence[str]) -> tuple[Rows, str]:
    """Return the tests of the smaller fit against the larger, and what was found in words."""
    fits = zip(labels, (first, second), strict=True)
    sides = [_Side(label, fit, *fit._names()) for label, fit in fits]
    small, big = sorted(sides, key=lambda side: side.size)
    if reason := _why_incomparable(small, big):
        return [], f"No tests, and AIC and BIC are not comparable: {reason}"
    if reason := _why_not_nested(small, big):
        return [], f"No tests: {reason}"
    extra = [name for name in _terms(big, big.kept) if name not in _terms(small, small.kept)]
    shown = ", ".join(extra[:_NAMES_SHOWN]) + (", ..." if len(extra) > _NAMES_SHOWN else "")
    finding = f"{small.label} is nested in {big.label}, which also has {shown}"
    if big.fit.errors is None:
        return _classical_tests(small, big), finding
    if len(extra) != big.size - small.size:
        reason = f"{big.label} left out columns that {small.label} has; fit it with those first"
        return [], f"No tests: {reason}"
    try:
        tests = _wald_test(big, extra)
    except InputError as error:
        return [], f"No tests: {str(error).partition(': ')[2]}"
    kind = big.fit.errors.options.kind
    return tests, f"{finding}; the errors {kind} of {big.label} allow a Wald test only"


def _why_incomparable(small: _Side, big: _Side) -> str:
    """Return why the likelihoods cannot be compared; "" if they can."""
    if small.targets != big.targets:
        return f"the targets are {', '.join(small.targets)} and {', '.join(big.targets)}"
    if small.fit.solution.ridge or big.fit.solution.ridge:
        return "a fit with a ridge penalty has no likelihood"
    if small.fit.solution.absorbed != big.fit.solution.absorbed:
        return "the fits absorb different effects"
    first, second = small.fit.solution.equations, big.fit.solution.equations
    if first.rows != second.rows:
        texts = sorted(
            f"{side.label} has {side.fit.solution.equations.rows} rows" for side in (small, big)
        )
        return " and ".join(texts)
    targets = range(len(small.targets))
    places = [(first.features + k, second.features + k) for k in targets]
    weights = [_float(each.weight, each.weight_exponent) for each in (first, second)]
    same = math.isclose(*weights, rel_tol=_TOLERANCE)
    same &= math.isclose(first.log_weight, second.log_weight, rel_tol=1e-9, abs_tol=1e-9)
    if not same or _differing(small, big, places):
        return "they were fitted to different rows, weights or values of the target"
    return ""


def _why_not_nested(small: _Side, big: _Side) -> str:
    """Return why the smaller fit, of the same rows, is not nested in the other; "" if it is."""
    if missing := [name for name in small.kept if name not in big.features]:
        others = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
        return f"{big.label} has no {missing[0]}{others}, which {small.label} has"
    if small.fit.solution.equations.intercept and not big.fit.solution.has_constant:
        return f"{small.label} has an intercept, {big.label} has none"
    places = [(small.features.index(name), big.features.index(name)) for name in small.kept]
    targets = range(len(small.targets))
    places += [(len(small.features) + k, len(big.features) + k) for k in targets]
    if differing := _differing(small, big, places):
        name = small.features[differing[0]]
        return f"{name} has other values in {small.label} than in {big.label}"
    if small.size == big.size:
        return f"{small.label} and {big.label} have the same columns"
    if big.fit.solution.df_residual <= 0:
        return f"{big.label} has no residual degree of freedom"
    return ""


def _differing(small: _Side, big: _Side, places: Sequence[tuple[int, int]]) -> list[int]:
    """Return the columns, targets among them, whose sums of products differ between two fits.

    `places` are those of the same column in [x, y] of both fits; the places of `small` return.
    """
    sides = small.fit.solution.equations, big.fit.solution.equations
    centred = sides[0].intercept and sides[1].intercept
    index = [torch.tensor(places_of) for places_of in zip(*places, strict=True)]
    unit, weight_unit = sides[0].exponent[index[0]], sides[0].weight_exponent
    sums, means, squares = [], [], []
    for equations, place in zip(sides, index, strict=True):
        shift = equations.exponent[place] - unit
        mean = ldexp(equations.mean.high[place], shift)
        weight_shift = equations.weight_exponent - weight_unit
        both = shift + shift[:, None] + weight_shift
        cross = ldexp(to_float64(equations.cross)[place][:, place], both)
        if not centred and equations.intercept:
            weight = ldexp(to_float64(equations.weight), weight_shift)
            cross = cross + weight * mean * mean[:, None]
        sums.append(cross)
        means.append(mean)
        squares.append(ldexp(equations.square[place], 2 * shift + weight_shift))
    spread, size = sums[0].diagonal().clamp(min=0).sqrt(), torch.maximum(*squares).sqrt()
    limit = _TOLERANCE * spread * spread[:, None] + _ROUNDING * size * size[:, None]
    wrong = (sums[0] - sums[1]).abs() > limit
    if centred:
        weight = to_float64(sides[0].weight)
        limit = _TOLERANCE * (spread / weight.sqrt()) + 2.0**-45 * means[0].abs()
        wrong |= torch.diag((means[0] - means[1]).abs() > limit)
    found = (wrong.diagonal() | wrong[:, -len(small.targets) :].any(1)).nonzero().flatten()
    if not len(found):
        found = wrong.any(1).nonzero().flatten()
    return [places[k][0] for k in found.tolist()]


def _classical_tests(small: _Side, big: _Side) -> Rows:
    """Return F and likelihood-ratio tests from the sums of squared residuals."""
    first, second = small.fit.solution, big.fit.solution
    targets, count = len(big.targets), big.size - small.size
    shift = 2 * (first.exponent[-targets:] - second.exponent[-targets:])
    shift = shift + first.equations.weight_exponent - second.equations.weight_exponent
    smaller, larger = DoubleDouble.of(second.residual), DoubleDouble.of(first.residual)
    difference = (ldexp(larger, shift) - smaller).high.clamp(min=0)
    f = difference / count / to_float64(residual_variance(second))
    ratio = second.equations.rows * torch.log1p(difference / smaller.high)
    p, df = f_tail(f, count, second.df_residual), second.df_residual
    rows = [*_rows("F", big, f, count, df, p)]
    rows += _rows("likelihood ratio", big, ratio, count, None, chi_squared_tail(ratio, count))
    return rows


def _wald_test(big: _Side, extra: Sequence[str]) -> Rows:
    """Return the test that the coefficients `extra` are 0, with the errors of the larger fit."""
    terms = _terms(big, big.features)
    hypotheses = [Hypothesis(name, {terms.index(name): Fraction(1)}, Fraction(0)) for name in extra]
    numbers = wald_test(big.fit.solution, big.fit.errors, hypotheses, terms)
    df = numbers["df_residual"]
    f, p = numbers["f"], numbers["f_p"]
    return _rows("Wald F", big, f, len(extra), None if math.isinf(df) else df, p)


def _rows(
    test: str, side: _Side, statistic: Tensor, df: int, df_residual: float | None, p: Tensor
) -> Rows:
    return [
        {
            "target": target,
            "test": test,
            "statistic": statistic[k].item(),
            "df": df,
            "df_residual": df_residual,
            "p": p[k].item(),
        }
        for k, target in enumerate(side.targets)
    ]


def _terms(side: _Side, features: list[str]) -> list[str]:
    return [*["intercept"][: int(side.fit.solution.equations.intercept)], *features]


def _float(value: Any, exponent: Tensor) -> float:
    return float(ldexp(to_float64(value), exponent))
