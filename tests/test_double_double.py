"""Double-double and multiprecision arithmetic against exact fractions."""

import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings, strategies as st

from linreg_lightning.algebra import multiprecision
from linreg_lightning.algebra.double_double import (
    DoubleDouble,
    exponent_of,
    ldexp,
    power_of_two,
    round_ratios,
    two_prod,
    two_sum,
)

NUMBERS = st.floats(-1e100, 1e100, allow_nan=False).filter(lambda v: v == 0 or abs(v) > 1e-100)
SETTINGS = settings(max_examples=200, deadline=None)


def tensor(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def fraction(value: DoubleDouble) -> Fraction:
    return Fraction(float(value.high)) + Fraction(float(value.low))


def pair(high: float, share: float) -> DoubleDouble:
    return DoubleDouble(*two_sum(tensor(high), tensor(high * share * 2.0**-53)))


@SETTINGS
@given(NUMBERS, NUMBERS)
def test_two_sum_and_two_prod_are_exact(a: float, b: float) -> None:
    assert fraction(DoubleDouble(*two_sum(tensor(a), tensor(b)))) == Fraction(a) + Fraction(b)
    assert fraction(DoubleDouble(*two_prod(tensor(a), tensor(b)))) == Fraction(a) * Fraction(b)


@SETTINGS
@given(NUMBERS, NUMBERS, st.floats(-1, 1), st.floats(-1, 1))
def test_operations_keep_104_bits(a: float, b: float, share: float, other: float) -> None:
    x, y = pair(a, share), pair(b, other)
    exact_x, exact_y = fraction(x), fraction(y)
    results = [
        (x + y, exact_x + exact_y),
        (x - y, exact_x - exact_y),
        (x * y, exact_x * exact_y),
    ]
    if b:
        results.append((x / y, exact_x / exact_y))
    for value, truth in results:
        assert abs(fraction(value) - truth) <= abs(truth) * Fraction(2) ** -102


@SETTINGS
@given(NUMBERS, st.floats(-1, 1))
def test_the_square_of_a_square_root_is_the_number(a: float, share: float) -> None:
    x = pair(abs(a), share)
    root = x.sqrt()
    if a:
        assert abs(fraction(root) ** 2 / fraction(x) - 1) < Fraction(2) ** -100
    else:
        assert float(root.high) == 0.0


def test_sum_adds_every_number_once() -> None:
    values = DoubleDouble.of(torch.randn(37, 3, dtype=torch.float64))
    for column, total in enumerate(fraction(values.sum(0)[i]) for i in range(3)):
        truth = sum(Fraction(v) for v in values.high[:, column].tolist())
        assert abs(total - truth) < Fraction(2) ** -95
    assert float(values[:0].sum(0)[0].high) == 0.0


@pytest.mark.parametrize("value", [1.0, -3.0, 0.75, 5e-324, 2.0**-1022, 1.7e308, 2.0**52 - 1])
def test_the_exponent_bounds_the_number(value: float) -> None:
    exponent = int(exponent_of(tensor(value)))
    assert abs(Fraction(value)) < Fraction(2) ** exponent
    if abs(value) >= 2.0**-1022:
        assert exponent == math.frexp(value)[1]


@pytest.mark.parametrize("exponent", [-2000, -1022, -1, 0, 1, 1023, 1500])
def test_ldexp_multiplies_by_a_power_of_two(exponent: int) -> None:
    value = 1.5 * 2.0 ** max(-1000, min(1000, -exponent // 2))
    assert float(ldexp(tensor(value), torch.tensor(exponent))) == math.ldexp(value, exponent)
    if -1022 <= exponent <= 1023:
        assert float(power_of_two(torch.tensor(exponent))) == 2.0**exponent


def digits_of(numbers: list[int], length: int) -> torch.Tensor:
    """Return the digits of whole numbers; `carry` spreads each number over all digits."""
    digits = torch.zeros(length, len(numbers), dtype=torch.int64)
    digits[-1] = torch.tensor(numbers)
    return multiprecision.carry(digits)


def value_of(digits: torch.Tensor) -> list[Fraction]:
    base = Fraction(multiprecision.BASE)
    columns = digits.T.tolist()
    return [sum((d * base**-c for c, d in enumerate(column)), Fraction(0)) for column in columns]


WHOLE = st.lists(st.integers(-(2**61), 2**61), min_size=3, max_size=3)


@SETTINGS
@given(WHOLE, WHOLE, st.lists(st.integers(0, 120), min_size=3, max_size=3))
def test_multiprecision_agrees_with_whole_numbers(
    a: list[int], b: list[int], bits: list[int]
) -> None:
    x, y = digits_of(a, 4), digits_of(b, 6)
    half = multiprecision.BASE // 2
    assert bool(((x[1:] >= -half) & (x[1:] < half)).all())
    unit_x, unit_y = Fraction(multiprecision.BASE) ** -3, Fraction(multiprecision.BASE) ** -5
    assert value_of(x) == [v * unit_x for v in a]
    assert value_of(multiprecision.add(x, y)) == [
        v * unit_x + w * unit_y for v, w in zip(a, b, strict=True)
    ]
    moved = multiprecision.shift_right(x, torch.tensor(bits))
    assert value_of(moved) == [
        v * unit_x * Fraction(2) ** -shift for v, shift in zip(a, bits, strict=True)
    ]


@SETTINGS
@given(WHOLE, WHOLE, st.integers(1, 2**61))
def test_weighted_products_less_means_agree_with_whole_numbers(
    a: list[int], b: list[int], weight: int
) -> None:
    x, y, w = digits_of(a, 4), digits_of(b, 4), digits_of([weight], 4)[:, 0]
    square = digits_of([a[0], 1, b[2], 0], 4).view(4, 2, 2)
    z = [[int(v * multiprecision.BASE**3) for v in value_of(row)] for row in square.unbind(1)]
    difference = multiprecision.subtract_products(square, w, x[:, :2], y[:, 1:])
    ratio = multiprecision.divide(difference, w)
    for i, j in itertools.product(range(2), range(2)):
        truth = weight * z[i][j] - a[i] * b[1 + j]
        assert value_of(difference[:, i, j, None]) == [truth * Fraction(multiprecision.BASE) ** -6]
        quotient = Fraction(float(ratio.high[i, j])) + Fraction(float(ratio.low[i, j]))
        expected = Fraction(truth, weight) * Fraction(multiprecision.BASE) ** -3
        assert abs(quotient - expected) <= abs(expected) / 2**103


@SETTINGS
@given(st.integers(-(2**400), 2**400), st.integers(1, 2**300))
def test_ratios_of_whole_numbers_are_rounded_to_106_bits(numerator: int, denominator: int) -> None:
    pair = round_ratios([numerator], denominator)[0]
    truth = Fraction(numerator, denominator)
    assert float(pair.high) == float(truth)
    assert float(pair.low) == float(truth - Fraction(float(pair.high)))


def test_a_ratio_beyond_the_range_of_float64_is_infinite() -> None:
    pairs = round_ratios([3 * 2**1100, -(3 * 2**1100), 0], 2)
    assert pairs.high.tolist() == [math.inf, -math.inf, 0.0]
    assert pairs.low.tolist() == [0.0, 0.0, 0.0]
