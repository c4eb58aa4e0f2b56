"""Ten thousand fits against rational arithmetic: no promise of digits is above the truth.

    pytest -n 0 -s tests/faults/test_promises.py

Each case comes from a seed: few rows and columns with offsets, units, near-collinear columns,
weights, types and batches that make floating-point sums lose digits. The solution of the normal
equations in rational numbers tells how many digits of coefficients and standard errors are right.
`tests/test_promises_short.py` runs the first 100 cases.
"""

from __future__ import annotations

import math
import traceback
from collections import Counter
from fractions import Fraction
from typing import Any, NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra import ExactGram, Fit, Float64Gram
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError

F64 = torch.float64
CASES = 10_000
ENOUGH_DIGITS = 6


class Case(NamedTuple):
    rows: Batch
    intercept: bool
    accuracy: str
    batch_size: int
    repeats: int  # how often all rows are added
    merged: bool  # whether the sums of batches are merged


class Truth(NamedTuple):
    coefficients: list[Fraction]  # the intercept first, then the columns kept
    variances: list[Fraction]  # squares of their standard errors
    # The same if the residuals were the largest that count as the rounding of the rows.
    rounding_variances: list[Fraction]


def make_case(seed: int) -> Case:
    """Return the case of a seed."""
    torch.manual_seed(seed)

    def choose(*values: Any) -> Any:
        return values[int(torch.randint(len(values), ()))]

    rows, columns = int(torch.randint(8, 41, ())), int(torch.randint(1, 7, ()))
    x = torch.cat([_column(choose, rows) for _ in range(columns)], 1)
    if columns > 1:
        x[:, -1] = _last_column(choose, x)
    x = x * 10.0 ** torch.randint(-8, 9, (columns,)) * choose(1.0, 1.0, 3.7)
    x = x + choose(0.0, 0.0, 1.0, 1e3, 1e6, 1e8) * (x.abs().amax(0) + 1e-8)
    dtype = choose(F64, F64, F64, torch.float32, torch.float32, torch.bfloat16)
    x = x.to(dtype)
    scaled = x.double() / x.double().abs().amax(0).clamp(min=1e-300)
    signal = scaled @ torch.randn(columns, 1, dtype=F64)
    noise = choose(0.0, 1e-12, 1e-8, 1e-4, 1e-2, 1.0, 1.0, 10.0) * torch.randn(rows, 1, dtype=F64)
    y = (signal + noise) * choose(1e-8, 1.0, 1e8) + choose(0.0, 0.0, 1e3, 1e9)
    if choose(*range(20)) == 0:
        y = torch.full((rows, 1), choose(0.0, 0.1, 1e9 / 3), dtype=F64)
    weight = choose(
        None,
        None,
        torch.rand(rows, dtype=F64) + 0.01,
        10 ** (3 * torch.randn(rows, dtype=F64)),
        torch.randint(1, 4, (rows,)),
    )
    repeats = choose(*[1] * 9, 25)
    return Case(
        Batch(x, y.to(choose(F64, dtype)), weight),
        intercept=choose(True, True, False),
        accuracy=choose("exact", "float64", "auto") if repeats == 1 else "float64",
        batch_size=choose(1, 3, 7, rows, rows) if repeats == 1 else choose(2, rows),
        repeats=repeats,
        merged=choose(False, False, False, True) and repeats == 1,
    )


def _column(choose: Any, rows: int) -> Tensor:
    kind = choose("normal", "normal", "indicator", "whole", "outlier", "heavy", "constant")
    x = torch.randn(rows, 1, dtype=F64)
    if kind == "indicator":
        return (x > choose(-1.0, 0.0, 1.0)).double()
    if kind == "whole":
        return torch.randint(0, choose(3, 100, 10**6), (rows, 1)).double()
    if kind == "outlier":
        x[0] = choose(1e2, 1e4, 1e7)
    if kind == "heavy":
        x = x * 10 ** (2 * torch.randn(rows, 1, dtype=F64))
    return torch.full_like(x, 0.1) if kind == "constant" and choose(True, False, False) else x


def _last_column(choose: Any, x: Tensor) -> Tensor:
    kind = choose("free", "near", "near", "near", "combination", "power", "converted")
    first, others = x[:, 0], x[:, :-1]
    if kind == "near":
        return first + 10.0 ** -float(16 * torch.rand(())) * first.abs().amax() * x[:, -1]
    if kind == "combination":
        return (others * torch.randn(others.shape[1], dtype=F64)).sum(1)
    if kind == "power":
        return (first / first.abs().amax() + 2) ** choose(2, 3, 5)
    return 1.8 * first + 32 if kind == "converted" else x[:, -1]


def fit_case(case: Case) -> Fit:
    """Return the fit of a case, as `least_squares` chooses its sums."""
    kinds = {"exact": [ExactGram], "float64": [Float64Gram], "auto": [Float64Gram, ExactGram]}
    for kind in kinds[case.accuracy]:
        gram = kind(case.rows.x.shape[1])
        # The batches make no difference to exact sums, but they take more time there.
        size = case.batch_size if kind is Float64Gram else max(case.batch_size, 7)
        for _ in range(case.repeats):
            for start in range(0, case.rows.rows, size):
                rows = slice(start, start + size)
                batch = Batch(*(None if part is None else part[rows] for part in case.rows))
                part = kind(case.rows.x.shape[1]) if case.merged else gram
                part.update(batch)
                if case.merged:
                    gram.merge(part)
        fit = Fit.from_gram(gram, intercept=case.intercept)
        if fit.precise:
            break
    return fit


def solve_in_rationals(case: Case, kept: list[int]) -> Truth | None:
    """Return the solution for some columns; None where they are exactly collinear."""
    x, y, weight = case.rows.x.double()[:, kept], case.rows.y.double(), case.rows.weight
    ones = torch.ones(case.rows.rows, 1, dtype=F64)
    w, _ = _whole_numbers((ones[:, 0] if weight is None else weight.double()).tolist())
    columns, units = zip(
        *map(_whole_numbers, torch.cat((ones[:, : case.intercept], x, y), 1).T.tolist()),
        strict=True,
    )
    count = len(columns) - 1
    # [A, b; b', c] and the identity, of which elimination without fractions (E. H. Bareiss, Math.
    # Comp. 22 (1968)) makes det A times [I, solution, inverse; 0, residual sum of squares].
    system = [
        [sum(map(math.prod, zip(w, left, right, strict=True))) for right in columns]
        + [int(i == j) for j in range(count)]
        for i, left in enumerate(columns)
    ]
    det = 1
    for k in range(count):
        pivot = system[k]
        if pivot[k] == 0:
            return None
        for i, row in enumerate(system):
            if i != k:
                share = row[k]
                system[i] = [
                    (pivot[k] * a - share * b) // det for a, b in zip(row, pivot, strict=True)
                ]
        det = pivot[k]
    df = sum(v > 0 for v in w) * case.repeats - count
    residual = Fraction(system[count][count], det) * (df > 0)
    square = sum(map(math.prod, zip(w, columns[count], columns[count], strict=True)))
    # The units of the weights cancel, and so do the repeats of the rows but for the df.
    scales = [units[count] / unit for unit in units[:count]]
    variances = [
        Fraction(system[i][count + 1 + i], det) * scale**2 / max(df, 1)
        for i, scale in enumerate(scales)
    ]
    return Truth(
        [Fraction(system[i][count], det) * scale for i, scale in enumerate(scales)],
        [variance * residual for variance in variances],
        [variance * square / 2**102 for variance in variances],
    )


def _whole_numbers(values: list[float]) -> tuple[list[int], Fraction]:
    """Return the values as multiples of a unit."""
    fractions = [Fraction(v) for v in values]
    largest = max(v.denominator for v in fractions)  # all are powers of two
    return [v.numerator * (largest // v.denominator) for v in fractions], Fraction(1, largest)


def right_digits(error: Fraction, size: Fraction) -> float:
    """Return -log10(error / size), at most 17; an error where the size is 0 has none right."""
    if error == 0:
        return 17.0
    if size == 0:
        return 0.0
    ratio = error / size
    return min(17.0, math.log10(ratio.denominator) - math.log10(ratio.numerator))


def root(value: Fraction) -> Fraction:
    """Return the square root with a relative error below 2^-100."""
    if value <= 0:
        return Fraction(0)
    bits = max(0, 240 - value.numerator.bit_length() + value.denominator.bit_length())
    bits += bits % 2
    return Fraction(math.isqrt((value.numerator << bits) // value.denominator), 1 << bits // 2)


def examine(case: Case) -> str:
    """Return `silently wrong: ...`, or what else became of a case."""
    fit = fit_case(case)
    warned = any(note.is_warning for note in fit.notes())
    kept = fit.solution.kept.tolist()
    truth = solve_in_rationals(case, kept)
    if truth is None:
        problem = "" if warned else "collinear columns without a warning"
        problem = problem or ("" if fit.digits < 1 else f"{fit.digits:.1f} digits of none promised")
        return f"silently wrong: {problem}" if problem else "warned"
    terms = [0] * case.intercept + [case.intercept + j for j in kept]
    estimates = [Fraction(float(v)) for v in fit.estimate[:, 0][terms]]
    errors = fit.standard_error[:, 0][terms].tolist()
    digits, error_digits = 17.0, 17.0
    seen = fit.solution.residuals_seen
    rounding = fit.accuracy == "exact" and not seen
    for estimate, error, t, v, unseen in zip(estimates, errors, *truth, strict=True):
        size = max(abs(t), root(v), root(unseen) * rounding)
        digits = min(digits, right_digits(abs(estimate - t), size))
        if v and seen and not math.isnan(error):
            error_digits = min(error_digits, right_digits(abs(Fraction(error) - root(v)), root(v)))
    problems = []
    if fit.digits > max(digits, 0.0):
        problems.append(f"{fit.digits:.2f} digits promised, {digits:.2f} right")
    if fit.error_digits > max(error_digits, 0.0):
        problems.append(f"{fit.error_digits:.2f} error digits promised, {error_digits:.2f} right")
    if min(digits, error_digits) < ENOUGH_DIGITS and not warned:
        problems.append(f"{digits:.2f} and {error_digits:.2f} digits right, without a warning")
    if problems:
        return "silently wrong: " + "; ".join(problems)
    return "warned" if warned else "right"


def campaign(first: int, cases: int) -> tuple[Counter[str], list[str]]:
    """Return how many of the cases had which outcome, and a line for each one that went wrong."""
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for seed in range(first, first + cases):
        case = make_case(seed)
        try:
            outcome = examine(case)
        except InputError:
            outcome = "refused"
        except Exception:  # whatever it is, the campaign counts it and goes on
            outcome = "traceback: " + traceback.format_exc(limit=-1)
        kind, _, text = outcome.partition(": ")
        counts[kind] += 1
        if text:
            options = case._replace(rows=case.rows.x.dtype)  # type: ignore[arg-type]
            wrong.append(f"seed {seed}, {options}: {text}")
    return counts, wrong


def test_no_promise_is_above_the_truth() -> None:
    counts, wrong = campaign(0, CASES)
    print(f"\ntried {CASES}:", ", ".join(f"{kind} {count}" for kind, count in counts.items()))
    assert wrong == []
