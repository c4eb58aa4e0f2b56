"""Gram matrices: exact sums equal rational arithmetic, in any order of the rows."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings, strategies as st

from linreg_lightning.algebra import ExactGram, Float64Gram, Gram, solve
from linreg_lightning.algebra.multiprecision import BASE
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError

KINDS = [ExactGram, Float64Gram]
F64 = torch.float64


def sample(
    rows: int, features: int = 3, targets: int = 1, seed: int = 0, weighted: bool = False
) -> Batch:
    torch.manual_seed(seed)
    x = torch.randn(rows, features, dtype=F64)
    y = torch.randn(rows, targets, dtype=F64) + x.sum(1, keepdim=True)
    return Batch(x, y, torch.rand(rows, dtype=F64) + 0.1 if weighted else None)


def gram_of(kind: type[Gram], batch: Batch, size: int | None = None) -> Gram:
    gram = kind(batch.x.shape[1], batch.y.shape[1], device=batch.x.device)
    for start in range(0, batch.rows, size or max(batch.rows, 1)):
        gram.update(rows_of(batch, slice(start, start + (size or batch.rows))))
    return gram


def rows_of(batch: Batch, rows: slice | torch.Tensor) -> Batch:
    return Batch(*(None if t is None else t[rows] for t in batch))


def rational_gram(batch: Batch) -> list[list[Fraction]]:
    """Return the Gram matrix of [1, x, y] in rational numbers."""
    ones = torch.ones(batch.rows, 1, dtype=F64)
    z = torch.cat((ones, batch.x.double(), batch.y.double()), 1).tolist()
    rows = [[Fraction(v) for v in row] for row in z]
    weights = ones[:, 0] if batch.weight is None else batch.weight.double()
    weighted = [[Fraction(w) * v for v in r] for w, r in zip(weights.tolist(), rows, strict=True)]
    columns, left = list(zip(*rows, strict=True)), list(zip(*weighted, strict=True))
    return [[sum(a * b for a, b in zip(u, v, strict=True)) for v in columns] for u in left]


def gram_as_fractions(gram: ExactGram) -> list[list[Fraction]]:
    state = gram.state_dict()
    top, base = state["top"].tolist(), Fraction(BASE)
    columns = range(len(top))

    def entry(i: int, j: int) -> Fraction:
        unit = base ** (2 + int(state["weight_top"])) * Fraction(2) ** (top[i] + top[j])
        digits = state["digits"][:, i, j].tolist()
        return unit * sum(d * base**-c for c, d in enumerate(digits))

    return [[entry(i, j) for j in columns] for i in columns]


def assert_same_bits(a: Gram, b: Gram) -> None:
    for intercept in (True, False):
        for x, y in zip(a.normal_equations(intercept), b.normal_equations(intercept), strict=True):
            for part in ("high", "low"):
                u, v = getattr(x, part, x), getattr(y, part, y)
                assert torch.equal(torch.as_tensor(u), torch.as_tensor(v))


def log_normal(scale: float, rows: int = 60) -> torch.Tensor:
    return torch.exp(scale * torch.randn(rows, dtype=F64))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda b: b,
        lambda b: b._replace(x=b.x.float(), y=b.y.float()),
        lambda b: b._replace(x=(b.x * 10).to(torch.int32)),
        lambda b: b._replace(x=b.x + 1e9),
        lambda b: b._replace(x=b.x * torch.tensor([1e-300, 1e300, 1e9], dtype=F64)),
        lambda b: b._replace(x=b.x.round() * 5e-324),
        lambda b: b._replace(x=b.x * log_normal(20)[:, None]),
        lambda b: b._replace(x=b.x * log_normal(60)[:, None]),
        lambda b: b._replace(weight=log_normal(20)),
        lambda b: b._replace(weight=1e-250 * log_normal(5)),
        lambda b: b._replace(weight=torch.arange(60) % 3),
    ],
)
def test_exact_sums_equal_rational_arithmetic(change, weighted: bool) -> None:
    batch = change(sample(60, weighted=weighted))
    gram = gram_of(ExactGram, batch, 25)
    assert gram.exact
    assert gram_as_fractions(gram) == rational_gram(batch)


@pytest.mark.parametrize("value", [2.0**21, 2.0**21 - 2.0**-31, 2.0**22 * (1 - 2.0**-50), 3.0e6])
def test_slices_of_the_largest_size_add_exactly(value: float) -> None:
    rows = 5000
    x = torch.full((rows, 2), value, dtype=F64)
    gram = gram_of(ExactGram, Batch(x, -x[:, :1]))
    assert gram_as_fractions(gram)[1][1] == rows * Fraction(value) ** 2
    gram = gram_of(ExactGram, Batch(x, -x[:, :1], x[:, 0]))
    assert gram_as_fractions(gram)[1][3] == -rows * Fraction(value) ** 3


def test_bits_below_the_deepest_slice_are_reported_and_negligible() -> None:
    x = torch.tensor([[1e300], [1e-10], [-1e300], [3e299]], dtype=F64)
    gram = gram_of(ExactGram, Batch(x, torch.ones(4, 1, dtype=F64)))
    assert not gram.exact
    truth = rational_gram(Batch(x, torch.ones(4, 1, dtype=F64)))[1][1]
    assert abs(gram_as_fractions(gram)[1][1] / truth - 1) < Fraction(2) ** -106
    merged = gram_of(ExactGram, Batch(x[:1], x[:1]))
    merged.merge(gram_of(ExactGram, Batch(x, torch.ones(4, 1, dtype=F64))))
    assert not merged.exact


@settings(max_examples=50, deadline=None)
@given(
    rows=st.integers(1, 400),
    features=st.integers(0, 5),
    targets=st.integers(1, 2),
    scale=st.sampled_from([1e-300, 1e-3, 1.0, 1e8, 1e200]),
    offset=st.sampled_from([0.0, 1.0, 1e9]),
    spread=st.sampled_from([0.0, 1.0, 10.0]),
    weighted=st.booleans(),
    single=st.booleans(),
    seed=st.integers(0, 10**6),
    size=st.sampled_from([1, 7, 333]),
)
def test_any_order_batches_and_merges_give_the_same_bits(
    rows, features, targets, scale, offset, spread, weighted, single, seed, size
) -> None:
    batch = sample(rows, features, targets, seed, weighted)
    x = (batch.x * torch.exp(spread * torch.randn_like(batch.x)) + offset) * scale
    batch = batch._replace(x=x.float().clamp(-1e38, 1e38) if single else x)
    whole = gram_of(ExactGram, batch)
    shuffled = rows_of(batch, torch.randperm(rows))
    # One row at a time is slow: about 60 batches are enough.
    size = max(size, rows // 60)
    assert_same_bits(whole, gram_of(ExactGram, shuffled, size))
    parts = [
        gram_of(ExactGram, rows_of(shuffled, part)) for part in torch.arange(rows).tensor_split(5)
    ]
    first = parts.pop(int(torch.randint(5, ())))
    for other in parts:
        first.merge(other)
    assert_same_bits(whole, first)
    if rows > 5:
        kept, rest = (gram_of(ExactGram, rows_of(shuffled, torch.arange(0))) for _ in range(2))
        for other in parts[1:]:
            kept.merge(other)
            rest.merge(other)
        rest.merge(whole)
        rest.subtract(whole)
        assert rest.rows == sum(p.rows for p in parts[1:])
        assert gram_as_fractions(rest) == gram_as_fractions(kept)


@pytest.mark.parametrize("weighted", [False, True])
def test_many_blocks_give_the_same_bits_as_one(weighted: bool) -> None:
    batch = sample(30_000, 12, weighted=weighted)
    whole = gram_of(ExactGram, batch)
    other = gram_of(ExactGram, rows_of(batch, torch.randperm(batch.rows)), 2048)
    assert_same_bits(whole, other)
    assert_same_bits(whole, gram_of(ExactGram, batch, 7777))


def test_exact_subtraction_removes_rows_completely() -> None:
    batch = sample(200, weighted=True)
    gram = gram_of(ExactGram, batch)
    gram.subtract(gram_of(ExactGram, rows_of(batch, slice(50, 120))))
    rest = rows_of(batch, torch.cat((torch.arange(50), torch.arange(120, 200))))
    assert gram_as_fractions(gram) == rational_gram(rest)
    a, b = solve(gram.normal_equations()), solve(gram_of(ExactGram, rest).normal_equations())
    assert torch.equal(a.coefficients, b.coefficients)
    assert a.equations.log_weight == b.equations.log_weight


@pytest.mark.parametrize("kind", KINDS)
def test_weight_0_removes_a_row_and_weight_2_doubles_it(kind: type[Gram]) -> None:
    batch = sample(40)
    batch.x[3, 1] = torch.nan
    weight = torch.arange(40) % 3
    given = gram_of(kind, batch._replace(weight=weight))
    repeated = gram_of(kind, rows_of(batch, torch.arange(40).repeat_interleave(weight)))
    assert given.rows == int((weight > 0).sum())
    a, b = (
        solve(given.normal_equations()).coefficients,
        solve(repeated.normal_equations()).coefficients,
    )
    if kind is ExactGram:
        assert torch.equal(a, b)
    torch.testing.assert_close(a, b, rtol=1e-13, atol=0)


def test_float64_agrees_with_exact() -> None:
    for weighted in (False, True):
        batch = sample(5000, 6, 2, weighted=weighted)
        batch = batch._replace(x=batch.x * 3 + 1e6)
        a, b = (
            gram_of(Float64Gram, batch, 700).normal_equations(),
            gram_of(ExactGram, batch).normal_equations(),
        )
        size = b.cross.high.diagonal().sqrt()
        unit = torch.exp2((a.exponent - b.exponent).double())
        error = a.cross * unit[:, None] * unit - b.cross.high * torch.exp2(
            (b.weight_exponent - a.weight_exponent).double()
        )
        assert float((error / size / size[:, None]).abs().max()) < 1e-13
        torch.testing.assert_close(a.mean.high * unit, b.mean.high, rtol=1e-14, atol=0)
        assert a.log_weight == b.log_weight


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e200, 1e300])
def test_float64_fits_columns_in_extreme_units(scale: float) -> None:
    batch = sample(100)
    expected = solve(gram_of(Float64Gram, batch).normal_equations()).coefficients / scale
    # The first batch has either this unit or only zeros. The second half is merged.
    scaled = batch._replace(x=batch.x * scale)
    zeros = Batch(torch.zeros(5, 3, dtype=F64), torch.zeros(5, 1, dtype=F64))
    for first in (None, zeros):
        gram = Float64Gram(3)
        if first is not None:
            gram.update(first)
            gram.subtract(gram_of(Float64Gram, first))
        gram.update(rows_of(scaled, slice(0, 50)))
        gram.merge(gram_of(Float64Gram, rows_of(scaled, slice(50, 100))))
        torch.testing.assert_close(
            solve(gram.normal_equations()).coefficients, expected, rtol=1e-12, atol=0
        )


@pytest.mark.parametrize("weight", [1e-200, 1e200])
def test_float64_merges_extreme_units_of_columns_and_weights(weight: float) -> None:
    batch = sample(100, weighted=True)
    expected = solve(gram_of(Float64Gram, batch).normal_equations()).coefficients
    units = torch.tensor([1e-300, 1e300, 1e9], dtype=F64)
    assert batch.weight is not None
    scaled = batch._replace(x=batch.x * units, weight=batch.weight * weight)
    gram = gram_of(Float64Gram, rows_of(scaled, slice(0, 50)))
    gram.merge(gram_of(Float64Gram, rows_of(scaled, slice(50, 100))))
    found = solve(gram.normal_equations()).coefficients
    torch.testing.assert_close(found, expected / units[:, None], rtol=1e-12, atol=0)
    exact = gram_of(ExactGram, scaled)
    found, expected = (solve(g.normal_equations(), 2.5).coefficients for g in (gram, exact))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_float64_merges_sums_with_different_shifts() -> None:
    batch = sample(300)
    batch = batch._replace(x=batch.x + torch.arange(300)[:, None] * 10)
    gram = Float64Gram(3)
    for start in (200, 0, 100):
        gram.merge(gram_of(Float64Gram, rows_of(batch, slice(start, start + 100))))
    expected = solve(gram_of(ExactGram, batch).normal_equations()).coefficients
    torch.testing.assert_close(
        solve(gram.normal_equations()).coefficients, expected, rtol=1e-8, atol=0
    )
    gram.subtract(gram_of(Float64Gram, rows_of(batch, slice(0, 100))))
    expected = solve(
        gram_of(ExactGram, rows_of(batch, slice(100, 300))).normal_equations()
    ).coefficients
    torch.testing.assert_close(
        solve(gram.normal_equations()).coefficients, expected, rtol=1e-7, atol=0
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_state_restores_the_same_gram_matrix(kind: type[Gram], tmp_path) -> None:
    batch = sample(50, weighted=True)
    gram = gram_of(kind, batch)
    torch.save(gram.state_dict(), tmp_path / "state.pt")
    again = kind.from_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert_same_bits(gram, again.to("cpu"))
    again.update(batch)
    assert (again.rows, gram.rows) == (100, 50)
    other = ExactGram if kind is Float64Gram else Float64Gram
    with pytest.raises(InputError, match="another accuracy"):
        other.from_state_dict(gram.state_dict())


def test_a_state_keeps_the_peak_and_a_state_without_a_peak_is_read() -> None:
    batch = sample(100)
    batch.x[50:] += 1000
    gram = gram_of(Float64Gram, batch, 50)
    plain = gram.state_dict()
    del plain["peak"]
    assert_same_bits(gram, Float64Gram.from_state_dict(plain))
    gram.subtract(gram_of(Float64Gram, rows_of(batch, slice(50, 100))))
    again = Float64Gram.from_state_dict(gram.state_dict())
    assert_same_bits(gram, again)
    before, after = gram.normal_equations(), gram_of(Float64Gram, rows_of(batch, slice(50)))
    assert bool((before.square > 1000 * after.normal_equations().square).any())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("rows_before", [0, 30])
def test_nan_and_infinity_are_refused_with_their_row_and_column(
    kind, value: float, rows_before: int
) -> None:
    batch = sample(20)
    gram = kind(3)
    if rows_before:
        gram.update(sample(rows_before))
    batch.x[7, 2] = value
    before = {k: v.clone() for k, v in gram.state_dict().items()}
    with pytest.raises(InputError, match=r"column 3 of x: row 108 holds (nan|inf|-inf)"):
        gram.update(batch, first_row=100)
    batch.x[7, 2], batch.y[4, 0] = 0.0, value
    with pytest.raises(InputError, match=r"column 1 of y: row 5 holds"):
        gram.update(batch)
    assert all(torch.equal(v, gram.state_dict()[k]) for k, v in before.items())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [-1.0, torch.nan, torch.inf])
def test_invalid_weights_are_refused_with_their_row(kind, value: float) -> None:
    batch = sample(20, weighted=True)
    batch.weight[6] = value
    with pytest.raises(InputError, match=r"weight.* row 7"):
        kind(3).update(batch)


@pytest.mark.parametrize("kind", KINDS)
def test_gram_matrices_of_other_columns_are_refused(kind: type[Gram]) -> None:
    gram = gram_of(kind, sample(10))
    with pytest.raises(InputError, match="2 features and 1 targets were given to statistics of 3"):
        gram.update(sample(10, features=2))
    with pytest.raises(InputError, match="merge: statistics of"):
        gram.merge(gram_of(kind, sample(10, features=2)))
    with pytest.raises(InputError, match="merge: statistics of"):
        gram.merge((ExactGram if kind is Float64Gram else Float64Gram)(3))
    with pytest.raises(InputError, match="subtract: 11 rows were given"):
        gram.subtract(gram_of(kind, sample(11)))
    with pytest.raises(InputError, match="features, targets"):
        kind(3, 0)
    absent = kind(3)
    absent.update(sample(10)._replace(weight=torch.zeros(10)))
    absent.update(rows_of(sample(10), slice(0, 0)))
    with pytest.raises(InputError, match="rows: none with a weight above 0"):
        absent.normal_equations()
    absent.update(sample(10))
    assert_same_bits(absent, gram)


def test_log_weight_is_summed_over_rows_of_weight_above_0() -> None:
    weight = torch.cat(
        (log_normal(30), torch.zeros(3, dtype=F64), torch.tensor([5e-324], dtype=F64))
    )
    batch = sample(64)._replace(weight=weight)
    truth = float(weight[weight > 0].log().sum())
    assert gram_of(ExactGram, batch).normal_equations().log_weight == pytest.approx(
        truth, rel=1e-12
    )
    assert gram_of(ExactGram, batch, 7).normal_equations().log_weight == pytest.approx(
        truth, rel=1e-12
    )


def test_float64_starts_afresh_after_all_rows_are_subtracted() -> None:
    torch.manual_seed(0)
    far = Batch(1e9 + 1e6 * torch.randn(50, 1, dtype=F64), torch.randn(50, 1, dtype=F64))
    near = 1e-6 * torch.randn(20, 1, dtype=F64)
    gram = gram_of(Float64Gram, far)
    gram.subtract(gram_of(Float64Gram, far, 7))
    gram.update(Batch(near, 3 * near + 1))
    slope = solve(gram.normal_equations()).coefficients
    torch.testing.assert_close(slope, torch.full((1, 1), 3.0, dtype=F64), rtol=1e-6, atol=0)


def distance_in_bounds(gram: Float64Gram, batch: Batch) -> tuple[float, float]:
    """Return the largest error of a centred product, in 2^-52 of its norms, and in the bound."""
    truth, equations = rational_gram(batch), gram.normal_equations()
    unit = torch.exp2(equations.exponent.double())
    norm = (equations.square.sqrt() * unit).tolist()
    found = (equations.cross * unit[:, None] * unit).tolist()
    errors = (
        abs(Fraction(v) - (truth[i][j] - truth[0][i] * truth[0][j] / truth[0][0]))
        / (Fraction(norm[i - 1]) * Fraction(norm[j - 1]))
        for i, row in enumerate(found, 1)
        for j, v in enumerate(row, 1)
        if norm[i - 1] * norm[j - 1] > 0
    )
    worst = max(errors, default=Fraction(0))
    return float(worst * 2**52), float(worst / Fraction(4 * equations.roundoff))


@settings(max_examples=8, deadline=None)
@given(
    rows=st.integers(2, 600),
    size=st.sampled_from([1, 2, 7]),
    levels=st.integers(2, 3),
    ordered=st.booleans(),
    weighted=st.booleans(),
    offset=st.sampled_from([0.0, 0.1, 1e6]),
    seed=st.integers(0, 10**6),
)
def test_float64_sums_of_many_small_batches_are_as_right_as_rational_ones(
    rows, size, levels, ordered, weighted, offset, seed
) -> None:
    # A sum of few different numbers is rounded the same way again and again.
    batch = sample(rows, 2, seed=seed, weighted=weighted)
    x = (torch.rand(rows, 2, dtype=F64) * levels).floor() / 3 + offset
    batch = batch._replace(x=x.sort(0).values if ordered else x, y=x[:, :1] * 0.37 + 0.1)
    gram = gram_of(Float64Gram, batch, size)
    in_units, in_bound = distance_in_bounds(gram, batch)
    assert in_units < 8
    assert in_bound <= 1
    parts = [gram_of(Float64Gram, rows_of(batch, part)) for part in torch.arange(rows).split(size)]
    merged = parts[0]
    for part in parts[1:40]:
        merged.merge(part)
    _, in_bound = distance_in_bounds(merged, rows_of(batch, slice(40 * size)))
    assert in_bound <= 1
    assert distance_in_bounds(gram_of(Float64Gram, batch), batch)[1] <= 1


def test_a_state_keeps_the_low_word_and_without_it_each_row_counts_as_a_rounding() -> None:
    batch = sample(3000)
    gram = gram_of(Float64Gram, batch, 3)
    state = gram.state_dict()
    assert bool(state["low"].any())
    assert_same_bits(gram, Float64Gram.from_state_dict(state))
    assert gram.normal_equations().roundoff == 10 / 8 * 2.0**-52
    del state["low"], state["roundings"]
    old = Float64Gram.from_state_dict(state).normal_equations()
    assert old.roundoff == 3000 / 8 * 2.0**-52
