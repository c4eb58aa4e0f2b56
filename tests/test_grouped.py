"""A fit for each group of rows agrees with `least_squares` of these rows, group by group."""

import math
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import Tensor

from linreg_lightning import GroupedFit, InputError, grouped_least_squares, least_squares
from linreg_lightning.algebra import grouped, student_t

TABLES = ("estimate", "standard_error", "t", "p", "low", "high")


def rows_of(counts: list[int], columns: int = 3, targets: int = 1, seed: int = 0) -> Any:
    """Return x, y and the group of each row, in an order drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    options: Any = {"generator": generator, "dtype": torch.float64}
    by = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    by = by[torch.randperm(len(by), generator=generator)]
    x = torch.randn(len(by), columns, **options) * 10 ** torch.arange(columns) + 5.0
    mean = (x / 10 ** torch.arange(columns)).sum(1, keepdim=True) * (1 + by[:, None] / 10)
    y = torch.randn(len(by), targets, **options) + mean
    return x, y, by


def check(fits: GroupedFit, x: Any, y: Any, by: Tensor, weight: Any = None, **options: Any) -> None:
    """Compare each group with `least_squares` of its rows."""
    assert fits.groups == sorted(set(by.tolist()))
    for k, group in enumerate(fits.groups):
        own = (by == group).nonzero().flatten()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            part = None if weight is None else weight[own]
            fit = least_squares(x[own], y[own], part, **options)
        assert (fits.rows[k], fits.rank[k]) == (fit.statistics["rows"], fit.rank)
        scale = torch.maximum(fit.estimate.abs(), fit.standard_error.nan_to_num(0.0))
        for name in ("estimate", "low", "high"):
            difference = (getattr(fits, name)[k] - getattr(fit, name)).abs()
            assert torch.equal(difference.isnan(), getattr(fit, name).isnan()), (group, name)
            assert bool((difference.nan_to_num(0.0) <= 1e-10 * scale.nan_to_num(0.0)).all()), group
        for name, tolerance in (("standard_error", 1e-10), ("t", 1e-9), ("p", 1e-8)):
            torch.testing.assert_close(
                getattr(fits, name)[k],
                getattr(fit, name),
                rtol=tolerance,
                atol=1e-10 * (name != "standard_error"),
                equal_nan=True,
                msg=f"{group} {name}",
            )
        r2 = torch.tensor(fit.statistics["r2"], dtype=torch.float64).view_as(fits.r2[k])
        torch.testing.assert_close(fits.r2[k], r2, rtol=1e-10, atol=1e-12, equal_nan=True)


def alone(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which the rows of each group that is fitted by itself are added."""
    counts: list[int] = []
    fit = grouped._fit_alone

    def spy(batch: Any, *args: Any) -> Any:
        counts.append(batch.rows)
        return fit(batch, *args)

    monkeypatch.setattr(grouped, "_fit_alone", spy)
    return counts


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize("weighted", [True, False])
def test_groups_of_many_sizes(
    intercept: bool, targets: int, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouped, "_CHUNK_NUMBERS", 500)
    monkeypatch.setattr(grouped, "_BLOCK_NUMBERS", 300)
    x, y, by = rows_of([5, 300, 20, 20, 21, 6, 7, 40, 1000], targets=targets)
    weight = torch.linspace(0, 3, len(by)) if weighted else None
    counts = alone(monkeypatch)
    fits = grouped_least_squares(x, y, by, weight, intercept=intercept, confidence=0.9)
    assert not counts
    check(fits, x, y, by, weight, intercept=intercept, confidence=0.9)
    assert fits.digits.min() >= 8
    assert fits.estimate.shape == (9, 3 + intercept, targets)


def test_a_single_target_has_no_dimension() -> None:
    x, y, by = rows_of([10, 20, 30])
    fits = grouped_least_squares(x, y[:, 0], by)
    assert fits.estimate.shape == (3, 4)
    assert fits.r2.shape == (3,)
    check(fits, x, y[:, 0], by)


@pytest.mark.parametrize("intercept", [True, False])
def test_columns_of_one_value_are_left_out_together(
    intercept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y, by = rows_of([50, 60, 70, 80])
    x[by == 1, 1] = 0.1
    x[by == 2, 0] = 0.0
    x[by == 3] = torch.tensor([0.1, 1e300, -3.3], dtype=torch.float64)
    counts = alone(monkeypatch)
    with pytest.warns(UserWarning, match="groups a column is left out"):
        fits = grouped_least_squares(x, y, by, intercept=intercept)
    assert counts == [80][intercept:]
    check(fits, x, y, by, intercept=intercept)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_groups_that_float64_cannot_fit_are_fitted_exactly(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y, by = rows_of([30, 31, 32, 33, 34, 35, 36, 3, 1, 4])
    x[by == 1, 2] = x[by == 1, 0] + x[by == 1, 1]  # collinear
    x[by == 2, 2] = x[by == 2, 0] * (1 + 1e-7 * y[by == 2, 0].sin())  # nearly
    y[by == 3] = 2.0  # a constant target
    y[by == 4] = x[by == 4, :1]  # a perfect fit
    x[by == 5] *= 1e-200  # which float32 takes as 0
    x[by == 6] += 1e12  # which float32 takes as a single value
    x, y = x.to(dtype), y.to(dtype)
    counts = alone(monkeypatch)
    with pytest.warns(UserWarning, match="In .* of 10 groups") as caught:
        fits = grouped_least_squares(x, y, by)
    assert sorted(counts) == [31, 32, 34, 35][: 4 if dtype == torch.float64 else 3]
    check(fits, x, y, by)
    assert "a column is left out, as a linear combination of earlier ones; first: 1" in str(
        caught[0].message
    )


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("targets", [1, 2])
def test_groups_with_few_rows_or_one_value_are_fitted_together(
    intercept: bool, targets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y, by = rows_of([1, 1, 2, 3, 4, 5, 1, 4, 40, 40], targets=targets)
    x[by < 3, 0] = 0.0  # beside columns of another single value, which are no combination of none
    x[by == 7, 1] = 2.0
    y[(by == 6) | (by == 8)] = 7.0
    y[by == 9, 0] = 0.0
    counts = alone(monkeypatch)
    fits = grouped_least_squares(x, y, by, intercept=intercept)
    assert len(counts) <= (not intercept)  # 7.0 is no constant target then
    check(fits, x, y, by, intercept=intercept)


def test_a_large_group_is_fitted_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped, "EXACT_LIMIT", 1000)
    x, y, by = rows_of([50, 900, 60])
    counts = alone(monkeypatch)
    fits = grouped_least_squares(x, y, by)
    assert counts == [900]
    check(fits, x, y, by)


def test_numbers_far_from_zero_keep_their_digits() -> None:
    x, y, by = rows_of([100] * 20)
    far = 1e6 * (1 + by[:, None])
    near, moved = grouped_least_squares(x, y, by), grouped_least_squares(x + far, y, by)
    assert ((near.estimate - moved.estimate) / near.standard_error)[:, 1:].abs().max() < 1e-7
    check(moved, x + far, y, by)


@pytest.mark.parametrize(
    "by",
    [
        ["b", "a", "b", "a", "b", "a"],
        np.array(["b", "a", "b", "a", "b", "a"]),
        pd.Series(["b", "a", "b", "a", "b", "a"]),
        pd.Series(["b", "a", "b", "a", "b", "a"], dtype="category"),
    ],
)
def test_groups_are_named_by_text(by: Any) -> None:
    x, y = torch.arange(6.0)[:, None], torch.tensor([1.0, 2.0, 4.0, 3.0, 5.0, 9.0])
    fits = grouped_least_squares(x, y, by)
    assert fits.groups == ["a", "b"]
    assert fits.estimate[0].tolist() == pytest.approx(least_squares(x[1::2], y[1::2]).estimate)


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        (torch.tensor([2, 1, 2, 1]), [1, 2]),
        (np.array([2.5, 1.0, 2.5, 1.0], ">f4"), [1.0, 2.5]),
        ([True, False, True, False], [0, 1]),
        (np.array([2**63 + 1, 2**63] * 2, "u8"), [2**63, 2**63 + 1]),
        (np.array([2.5, 1.0, 2.5, 1.0], np.longdouble), [1.0, 2.5]),
        (pd.Series([2, 1, 2, 1], dtype="Int64"), [1, 2]),
        (np.array(["2024-01-02", "2024-01-01"] * 2, "datetime64[D]"), ["2024-01-01", "2024-01-02"]),
    ],
)
def test_groups_are_named_by_numbers_and_dates(by: Any, groups: list[Any]) -> None:
    fits = grouped_least_squares([[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 2.0, 4.0], by)
    assert fits.groups == groups
    assert fits.rows.tolist() == [2, 2]


def test_a_group_without_weight_is_left_out() -> None:
    x, y, by = rows_of([20, 30])
    x[by == 0] = math.nan
    fits = grouped_least_squares(x, y, by, by)
    assert fits.groups == [1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"by": [1, 2]}, r"by: a shape of \(2,\) was given; \(4,\) is needed"),
        ({"by": ["a", None, "b", "b"]}, "by: row 2 has no group, a missing value; give it one"),
        ({"by": [1.0, 2.0, math.nan, 2.0]}, "by: row 3 has no group"),
        ({"by": pd.Series(["a", pd.NA, "b", "b"])}, "by: row 2 has no group"),
        ({"by": np.ma.array([1, 1, 2, 2], mask=[0, 0, 1, 0])}, "by: row 3 has no group"),
        ({"by": np.array(["a", 1, "b", 2], object)}, "by: values that have no order"),
        ({"weight": [0.0] * 4}, "rows: none with a weight above 0"),
        ({"weight": [1.0, -1.0, 1.0, 1.0]}, "weight: -1 was given in row 2"),
        ({"x": [[1.0], [math.nan], [2.0], [3.0]]}, "column 1 of x: row 2 holds nan"),
        ({"confidence": 2}, "confidence: 2 was given"),
    ],
)
def test_what_cannot_be_fitted_is_refused(change: dict[str, Any], message: str) -> None:
    arguments = {"x": [[0.0], [1.0], [2.0], [3.0]], "y": [1.0, 2.0, 3.0, 5.0], "by": [1, 1, 1, 1]}
    with pytest.raises(InputError, match=message):
        grouped_least_squares(**(arguments | change))


def test_the_digits_of_a_group_are_a_lower_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, by = rows_of([40] * 30, seed=1)
    x[:, 2] = x[:, 0] + 10.0 ** -(by / 5) * y[:, 0].sin()
    counts = alone(monkeypatch)
    monkeypatch.setattr(grouped, "_ENOUGH_DIGITS", 2)
    fits = grouped_least_squares(x, y, by)
    assert 0 < len(counts) < 30
    for k in range(30):
        fit = least_squares(x[by == k], y[by == k])
        scale = torch.maximum(fit.estimate.abs(), fit.standard_error)
        for name in ("estimate", "standard_error"):
            error = ((getattr(fits, name)[k] - getattr(fit, name)) / scale).abs().max()
            assert error <= 10 ** -float(fits.digits[k])


@pytest.mark.parametrize("df", [1.0, 2.0, 5.0, 30.0, 94.0, 1e4])
def test_students_t_of_many_numbers(df: float) -> None:
    t = torch.cat([torch.logspace(-9, 2, 50), torch.tensor([0.0, math.inf, math.nan])]).double()
    many = torch.tensor([df], dtype=torch.float64)
    expected = 2 * stats.t.sf(t.numpy(), df)
    np.testing.assert_allclose(student_t.t_two_sided(-t, many), expected, rtol=1e-8, atol=0)
    for confidence in (1e-6, 0.5, 0.95, 0.999):
        quantile = float(student_t.t_quantile(confidence, many)[0])
        assert quantile == pytest.approx(stats.t.ppf(0.5 + confidence / 2, df), rel=1e-10)
