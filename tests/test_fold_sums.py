"""Sums by fold: which fold a row is in, training sums, and errors of held-out rows."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from sklearn.model_selection import KFold
from torch import Tensor

from linreg_lightning.algebra import ExactGram, Float64Gram, Gram
from linreg_lightning.algebra.double_double import DoubleDouble, ldexp
from linreg_lightning.algebra.fold_sums import FoldSums
from linreg_lightning.algebra.folds import (
    folds_of_blocks,
    folds_of_groups,
    folds_of_rows,
    splitmix64,
)
from linreg_lightning.algebra.held_out_errors import HeldOutErrors, held_out_errors
from linreg_lightning.batch import Batch
from linreg_lightning.design_matrix import row_subset
from linreg_lightning.errors import InputError
from linreg_lightning.validation import group_values

KINDS = [ExactGram, Float64Gram]
F64 = torch.float64


def sample(rows: int, features: int = 3, targets: int = 1, weighted: bool = False) -> Batch:
    x = torch.randn(rows, features, dtype=F64)
    y = x.sum(1, keepdim=True) + torch.randn(rows, targets, dtype=F64)
    return Batch(x, y, torch.rand(rows, dtype=F64) + 0.1 if weighted else None)


def sums_of(
    kind: type[Gram], batch: Batch, fold: Tensor, folds: int, size: int | None = None
) -> FoldSums:
    sums = FoldSums(kind, folds, batch.x.shape[1], batch.y.shape[1])
    for start in range(0, batch.rows, size or batch.rows):
        rows = slice(start, start + (size or batch.rows))
        sums.update(batch.select(rows), fold[rows], first_row=start)
    return sums


def gram_of(kind: type[Gram], batch: Batch) -> Gram:
    gram = kind(batch.x.shape[1], batch.y.shape[1])
    gram.update(batch)
    return gram


def same_bits(first: Gram, second: Gram) -> bool:
    if first.rows == 0 or second.rows == 0:
        return first.rows == second.rows
    pairs = zip(first.normal_equations(), second.normal_equations(), strict=True)
    return all(torch.equal(words_of(a), words_of(b)) for a, b in pairs)


def words_of(value: Any) -> Tensor:
    both = isinstance(value, DoubleDouble)
    return torch.stack((value.high, value.low)) if both else torch.as_tensor(value)


def errors_of(
    sums: FoldSums, fold: int, coefficients: Tensor, intercept: bool = True
) -> HeldOutErrors:
    training = sums.training()[fold].normal_equations(intercept)
    return held_out_errors(sums.grams[fold].normal_equations(), training, coefficients)


def rational_error(batch: Batch, fold: Tensor, k: int, b: Tensor, intercept: bool = True) -> float:
    """Return the mean squared error of fold k for one target, in rational numbers."""
    x, y = ([[Fraction(v) for v in row] for row in z.double().tolist()] for z in (batch.x, batch.y))
    w = [1.0] * batch.rows if batch.weight is None else batch.weight.tolist()
    weights = [Fraction(v) for v in w]
    slopes = [Fraction(v) for v in b.tolist()]
    rest = [
        r[0] - sum(u * v for u, v in zip(z, slopes, strict=True)) for z, r in zip(x, y, strict=True)
    ]
    held = (fold == k).tolist()
    level = Fraction(0)
    if intercept:
        others = [(v, r) for v, r, h in zip(weights, rest, held, strict=True) if not h]
        level = sum((v * r for v, r in others), level) / sum(v for v, _ in others)
    rows = [(v, r - level) for v, r, h in zip(weights, rest, held, strict=True) if h]
    return float(sum(v * r * r for v, r in rows) / sum(v for v, _ in rows))


def group_folds(names: list[str]) -> Tensor:
    values, labels = group_values("group", names, len(names))
    return folds_of_groups(values, folds=10, labels=labels)


@given(st.integers(1, 400), st.integers(2, 30), st.integers(0, 2**64 - 1), st.data())
@settings(max_examples=30, deadline=None)
def test_rows_have_the_same_fold_in_any_batch_and_folds_are_of_equal_size(rows, folds, seed, data):
    fold = folds_of_rows(0, rows, folds, seed)
    start = data.draw(st.integers(0, rows))
    stop = data.draw(st.integers(start, rows))
    assert torch.equal(folds_of_rows(start, stop, folds, seed), fold[start:stop])
    counts = torch.bincount(fold, minlength=folds)
    assert counts.max() - counts.min() <= 1


def test_seeds_give_other_folds_and_each_place_is_in_each_fold_equally_often():
    folds = 5
    fold = folds_of_rows(0, 50_000, folds)
    assert not torch.equal(fold, folds_of_rows(0, 50_000, folds, seed=1))
    for place in range(folds):
        counts = torch.bincount(fold[place::folds], minlength=folds)
        assert (counts - 2000).abs().max() < 6 * 2000**0.5


def test_the_hash_is_that_which_splits_tables():
    numbers = np.arange(1000, dtype=np.uint64) * np.uint64(2**60 + 12345)
    expected = row_subset.splitmix64(numbers).view(np.int64)
    assert (splitmix64(torch.from_numpy(numbers.view(np.int64))).numpy() == expected).all()


@pytest.mark.parametrize(("rows", "folds"), [(10, 3), (9, 3), (11, 10), (7, 7), (100, 6)])
def test_blocks_are_those_of_scikit_learn(rows, folds):
    expected = np.empty(rows, int)
    for k, (_, held_out) in enumerate(KFold(folds).split(np.empty(rows))):
        expected[held_out] = k
    assert folds_of_blocks(0, rows, folds, rows).tolist() == expected.tolist()
    assert folds_of_blocks(3, 6, folds, rows).tolist() == expected[3:6].tolist()


def test_the_fold_of_one_of_many_groups_depends_on_its_value_alone():
    names = [f"group {k}" for k in range(2000)]
    fold = group_folds(names)
    last = group_folds(names[400:])
    assert torch.equal(fold[400:], last)
    assert torch.bincount(fold, minlength=10).min() > 150
    whole = torch.arange(-50, 50)
    by_number = folds_of_groups(whole, folds=10)
    assert torch.equal(folds_of_groups(whole.double(), folds=10), by_number)
    assert len(folds_of_groups(whole.double() + 0.5, folds=10).unique()) == 10


@pytest.mark.parametrize(("groups", "folds"), [(5, 5), (40, 10), (23, 7), (1024, 255)])
def test_few_groups_are_dealt_out_to_the_folds_in_turn(groups, folds):
    values = torch.arange(groups).repeat(2)
    found = [folds_of_groups(values, folds, seed) for seed in (0, 1)]
    assert not torch.equal(*found)
    for fold in found:
        assert torch.equal(fold[:groups], fold[groups:])
        sizes = torch.bincount(fold[:groups], minlength=folds)
        assert sizes.tolist().count(groups // folds + 1) == groups % folds
        assert sizes.min() == groups // folds
    # A row of weight 0 does not count, and brings no group.
    weight = torch.ones(groups + 1)
    weight[0] = 0
    more = torch.cat([torch.tensor([-1]), values[:groups]])
    assert torch.equal(folds_of_groups(more, folds, 1, weight=weight)[1:], fold[:groups])


def test_fewer_groups_than_folds_are_refused():
    with pytest.raises(InputError, match=r"^folds: 10 was given for 3 groups; type at most 3$"):
        folds_of_groups(torch.arange(3), 10)
    with pytest.raises(InputError, match=r"for 1 group; give rows of at least 2 groups$"):
        folds_of_groups(torch.arange(2), 2, weight=torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize("folds", [0, 1, 256])
def test_a_number_of_folds_outside_its_range_is_refused(folds):
    with pytest.raises(InputError, match=f"folds: {folds} was given; type a whole number from 2"):
        folds_of_rows(0, 10, folds)
    with pytest.raises(InputError, match="folds: 11 was given for 10 rows"):
        folds_of_blocks(0, 10, 11, 10)


@given(st.integers(2, 60), st.integers(1, 60), st.booleans(), st.booleans(), st.data())
@settings(max_examples=25, deadline=None)
def test_exact_sums_have_the_same_bits_in_any_order(rows, size, weighted, by_column, data):
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    batch, folds = sample(rows, weighted=weighted), data.draw(st.integers(2, 5))
    if by_column:
        batch = batch._replace(x=batch.x.T.contiguous().T)
    fold = folds_of_rows(0, rows, folds)
    sums, order = sums_of(ExactGram, batch, fold, folds, size), torch.randperm(rows)
    other = sums_of(ExactGram, batch.select(order), fold[order], folds)
    assert all(map(same_bits, sums.grams, other.grams))
    training = sums.training()
    for k in range(folds):
        assert same_bits(sums.grams[k], gram_of(ExactGram, batch.select(fold == k)))
        assert same_bits(training[k], gram_of(ExactGram, batch.select(fold != k)))
    assert same_bits(sums.total(), gram_of(ExactGram, batch))


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_merges_and_training_sums_hold_the_rows_of_their_folds(kind, monkeypatch):
    chunk = {"exact": 300, "float64": 300}
    monkeypatch.setattr("linreg_lightning.algebra.fold_sums._CHUNK_NUMBERS", chunk)
    batch = sample(500, targets=2, weighted=True)
    fold = folds_of_rows(0, 500, 4)
    first, second = slice(200), slice(200, None)
    sums = sums_of(kind, batch.select(first), fold[first], 4)
    sums.merge(sums_of(kind, batch.select(second), fold[second], 4))
    for k, training in enumerate(sums.training()):
        got = training.normal_equations()
        want = gram_of(ExactGram, batch.select(fold != k)).normal_equations()
        assert training.rows == int((fold != k).sum())
        for a, b in ((got.cross, want.cross.high), (got.mean.high, want.mean.high)):
            a = a if isinstance(a, Tensor) else a.high
            unit = 2.0**got.exponent, 2.0**want.exponent
            if a.ndim == 2:
                a = a * unit[0] * unit[0][:, None] * 2.0**got.weight_exponent
                b = b * unit[1] * unit[1][:, None] * 2.0**want.weight_exponent
            else:
                a, b = a * unit[0], b * unit[1]
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_row_is_named_by_its_number_and_nothing_is_added(kind):
    batch = sample(50)
    fold = folds_of_rows(0, 50, 5)
    sums = sums_of(kind, batch, fold, 5)
    batch.x[37, 1] = torch.nan
    with pytest.raises(InputError, match="138"):
        sums.update(batch, fold, first_row=100, names=["a", "b", "c", "y"])
    assert sums.rows == [10] * 5
    empty = FoldSums(kind, 5, 3)
    with pytest.raises(InputError, match="38"):
        empty.update(batch, fold)
    assert empty.rows == [0] * 5
    with pytest.raises(InputError, match="fold: 0 to 5 were given; give numbers from 0 to 4"):
        sums.update(sample(6), torch.arange(6))
    with pytest.raises(InputError, match=r"fold: torch\.float32 was given"):
        sums.update(sample(6), torch.rand(6))
    with pytest.raises(InputError, match=r"fold: a shape of \(5,\) was given; \(6,\) is needed"):
        sums.update(sample(6), torch.arange(5))
    with pytest.raises(InputError, match="merge: sums of 4 folds"):
        sums.merge(FoldSums(kind, 4, 3))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_held_out_errors_are_those_of_the_predictions(kind, intercept, weighted):
    batch = sample(60, targets=2, weighted=weighted)
    fold = folds_of_rows(0, 60, 3)
    coefficients = torch.randn(4, 3, 2, dtype=F64)
    errors = errors_of(sums_of(kind, batch, fold, 3), 1, coefficients, intercept)
    for vector in range(4):
        for t in range(2):
            one = batch._replace(y=batch.y[:, t : t + 1])
            want = rational_error(one, fold, 1, coefficients[vector, :, t], intercept)
            assert float(errors.mean_square[vector, t]) == pytest.approx(want, rel=1e-13)


def nearly_perfect(offset: float, scale: float = 1.0) -> tuple[Batch, Tensor]:
    """Return rows with R2 = 1 - 1e-12 and coefficients near the true ones."""
    noise = 1e-6 * torch.randn(90, 1, dtype=F64)
    x = torch.randn(90, 4, dtype=F64) * torch.tensor([1.0, scale, 1 / scale, 1.0]) + offset
    true = torch.tensor([1.0, -2.0 / scale, 0.5 * scale, 3.0], dtype=F64)
    steps = torch.tensor([0.0, 1e-7, 1e-3, 1.0], dtype=F64)[:, None, None]
    return Batch(x, x @ true[:, None] + noise), true[:, None] * (1 + steps)


@pytest.mark.parametrize("offset", [0.0, 1e9])
@pytest.mark.parametrize("scale", [1.0, 1e8])
def test_exact_held_out_errors_are_right_to_the_last_digits(offset, scale):
    batch, coefficients = nearly_perfect(offset, scale)
    fold = folds_of_rows(0, 90, 3)
    errors = errors_of(sums_of(ExactGram, batch, fold, 3), 0, coefficients)
    for k, b in enumerate(coefficients[:, :, 0]):
        want = rational_error(batch, fold, 0, b)
        assert float(errors.mean_square[k, 0]) == pytest.approx(want, rel=2**-31)
        assert float(errors.error[k, 0]) <= 2**-31 * want


@pytest.mark.parametrize("offset", [0.0, 1e9])
def test_float64_says_how_far_its_held_out_errors_may_be_off(offset):
    batch, coefficients = nearly_perfect(offset)
    fold = folds_of_rows(0, 90, 3)
    errors = errors_of(sums_of(Float64Gram, batch, fold, 3), 0, coefficients)
    for k, b in enumerate(coefficients[:, :, 0]):
        off = abs(float(errors.mean_square[k, 0]) - rational_error(batch, fold, 0, b))
        assert off <= float(errors.error[k, 0])
    assert float(errors.error[3, 0]) < 1e-12 * float(errors.mean_square[3, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_constant_columns_and_no_columns_have_errors_too(kind):
    batch, fold = sample(30), folds_of_rows(0, 30, 3)
    batch.x[:, 1] = 7.0
    sums = sums_of(kind, batch, fold, 3)
    b = torch.tensor([[[0.5], [2.0], [0.0]]], dtype=F64)
    got = float(errors_of(sums, 2, b).mean_square)
    assert got == pytest.approx(rational_error(batch, fold, 2, b[0, :, 0]), rel=1e-13)
    empty = batch._replace(x=batch.x[:, :0])
    got = float(errors_of(sums_of(kind, empty, fold, 3), 2, b[:, :0]).mean_square)
    assert got == pytest.approx(rational_error(empty, fold, 2, b[0, :0, 0]), rel=1e-13)


@pytest.mark.parametrize("scale", [0.0, 2.0**-400, 2.0**400, 2.0**-540, 2.0**500])
@pytest.mark.parametrize("weighted", [True, False])
def test_float64_sums_of_folds_are_right_for_columns_that_change_their_size(scale, weighted):
    batch = sample(300, weighted=weighted)
    fold = folds_of_rows(0, 300, 3)
    batch.x[100:, 1] *= scale
    batch.x[200:, 2] = batch.x[200:, 2].masked_fill(fold[200:] == 1, 0.0) * scale
    for order in (torch.arange(300), torch.arange(300).flip(0), fold.argsort(stable=True)):
        sums = sums_of(Float64Gram, batch.select(order), fold[order], 3, 50)
        for k, gram in enumerate(sums.grams):
            want = gram_of(ExactGram, batch.select(fold == k)).normal_equations()
            got = gram.normal_equations()
            assert got.rows == want.rows
            assert got.log_weight == want.log_weight
            weight = (got.weight_exponent - want.weight_exponent) // 2
            exponent = want.exponent - got.exponent - weight
            cross = ldexp(ldexp(want.cross.high, exponent), exponent[:, None])
            # The shift of all folds may be far from the rows of one: `square` says so.
            length = got.square.sqrt()
            error = (got.cross - cross).abs() / (length * length[:, None])
            assert float(error.nan_to_num(0.0).max()) <= 4 * got.roundoff
            if torch.equal(order, torch.arange(300)):
                norm = cross.diagonal().sqrt()
                assert float(((got.cross - cross).abs() / (norm * norm[:, None])).max()) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_the_precision_of_columns_is_that_of_one_gram(kind):
    batch = sample(300)
    x = batch.x.float()
    x[:, 0] = x[:, 0].round()
    batch = batch._replace(x=x)
    sums = sums_of(kind, batch, folds_of_rows(0, 300, 3), 3, 50)
    want = gram_of(kind, batch).normal_equations().input_roundoff
    assert want.tolist() == [2.0**-53, 2.0**-24, 2.0**-24]
    for gram in [sums.total(), *sums.grams, *sums.training()]:
        assert torch.equal(gram.normal_equations().input_roundoff, want)
