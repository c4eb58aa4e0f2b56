"""The lasso and the elastic net from cross-products, against scikit-learn and in rationals."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from sklearn.linear_model import ElasticNet, enet_path
from torch import Tensor

from linreg_lightning.algebra import elastic_net
from linreg_lightning.algebra.elastic_net import duality_gaps, elastic_net_paths
from linreg_lightning.algebra.gram_float64 import Float64Gram
from linreg_lightning.algebra.penalty_scale import standardize_equations
from linreg_lightning.algebra.selection_paths import fit_paths
from linreg_lightning.batch import Batch


def correlated_rows(rows: int, features: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, features, dtype=torch.float64, generator=generator)
    x += torch.randn(rows, 1, dtype=torch.float64, generator=generator)
    noise = torch.randn(rows, dtype=torch.float64, generator=generator)
    y = x[:, : features // 3].sum(1) + 3 * noise
    return x - x.mean(0), y - y.mean()


def alphas_below(xy: Tensor, weight: float, l1_ratio: float, lowest: float) -> Tensor:
    largest = float(xy.abs().max()) / weight / l1_ratio
    return largest * torch.logspace(0, float(np.log10(lowest)), 40, dtype=torch.float64)


def one_path(
    cross: Tensor, xy: Tensor, yy: Tensor, alphas: Tensor, l1_ratio: float = 1.0
) -> tuple[Tensor, Tensor]:
    alphas = alphas.double()[None, None]
    problem = [cross], xy[None, None], yy[None, None]
    coefficients, gaps = elastic_net_paths(*problem, alphas * l1_ratio, alphas * (1 - l1_ratio))
    return coefficients[0, 0], gaps[0, 0]


def path_of_rows(
    x: Tensor, y: Tensor, alphas: Tensor, l1_ratio: float = 1.0
) -> tuple[Tensor, Tensor]:
    rows = len(x)
    return one_path(x.mT @ x / rows, x.mT @ y / rows, y @ y / rows, alphas, l1_ratio)


@pytest.mark.parametrize("l1_ratio", [1.0, 0.5, 0.05])
@pytest.mark.parametrize(("rows", "features", "lowest"), [(300, 20, 1e-4), (40, 60, 1e-1)])
def test_agrees_with_scikit_learn_and_in_which_coefficients_are_0(l1_ratio, rows, features, lowest):
    x, y = correlated_rows(rows, features)
    alphas = alphas_below(x.mT @ y, rows, l1_ratio, lowest)
    coefficients, gaps = path_of_rows(x, y, alphas, l1_ratio)
    _, expected, _ = enet_path(
        x.numpy(),
        y.numpy(),
        l1_ratio=l1_ratio,
        alphas=alphas.numpy(),
        precompute=(x.mT @ x).numpy(),
        Xy=(x.mT @ y).numpy(),
        tol=1e-15,
        max_iter=1_000_000,
    )
    torch.testing.assert_close(coefficients, torch.tensor(expected.T), rtol=1e-8, atol=1e-8)
    assert torch.equal(coefficients != 0, torch.tensor(expected.T != 0))
    assert float(gaps.max()) < 1e-12 * float(y @ y) / rows


def exact_minimiser(cross: Tensor, xy: Tensor, l1: Tensor, l2: Tensor, b: Tensor) -> Tensor:
    """Return the minimum, found in rationals, whose coefficients have the signs of b.

    Fails if there is none, that is unless the conditions of Karush, Kuhn and Tucker hold exactly.
    """
    features = range(len(b))
    matrix = [
        [Fraction(v) + (Fraction(l2[i].item()) if i == j else 0) for j, v in enumerate(row)]
        for i, row in enumerate(cross.tolist())
    ]
    support = [j for j in features if b[j] != 0]
    sign = [int(v.sign()) if p > 0 else 0 for v, p in zip(b, l1, strict=True)]
    system = [
        [
            *(matrix[i][j] for j in support),
            Fraction(xy[i].item()) - Fraction(l1[i].item()) * sign[i],
        ]
        for i in support
    ]
    for k in range(len(support)):  # Gauss and Jordan; positive definite, so no pivot is 0
        system[k] = [v / system[k][k] for v in system[k]]
        for i in range(len(support)):
            if i != k:
                system[i] = [
                    v - system[i][k] * p for v, p in zip(system[i], system[k], strict=True)
                ]
    exact = [Fraction(0)] * len(b)
    for row, j in zip(system, support, strict=True):
        exact[j] = row[-1]
    slopes = [
        sum(matrix[i][j] * exact[j] for j in features) - Fraction(xy[i].item()) for i in features
    ]
    assert all(exact[j] * sign[j] >= 0 for j in features)
    assert all(abs(slopes[j]) <= Fraction(l1[j].item()) for j in features if b[j] == 0)
    return torch.tensor([float(v) for v in exact], dtype=torch.float64)


ENTRIES = st.integers(-3, 3)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.lists(ENTRIES, min_size=5, max_size=5), min_size=2, max_size=8),
    y=st.lists(ENTRIES, min_size=8, max_size=8),
    scale=st.lists(st.sampled_from([1.0, 0.5, 3.0]), min_size=5, max_size=5),
    twin=st.booleans(),
)
def test_minimum_is_exact_also_with_dependent_columns(rows, y, scale, twin):
    x = torch.tensor(rows, dtype=torch.float64) * torch.tensor(scale, dtype=torch.float64)
    if twin:
        x = torch.cat([x, -x[:, :1], x[:, 1:2] + x[:, 2:3]], 1)
    x = torch.stack([x, x.flip(0).cumsum(0)])
    target = torch.tensor(y[: len(rows)], dtype=torch.float64)
    alphas = torch.tensor([8.0, 3.0, 1.0, 0.25, 2.0**-10], dtype=torch.float64)
    cross, xy, square = x.mT @ x, (target @ x)[:, None].expand(2, 2, -1), target @ target
    l1 = torch.stack([alphas, alphas / 2]).expand(2, 2, 5)
    l2 = torch.stack([0 * alphas, alphas / 2]).expand(2, 2, 5)
    coefficients, gaps = elastic_net_paths(list(cross), xy, square.expand(2, 2), l1, l2)
    for gram, problem, k in itertools.product(range(2), range(2), range(5)):
        b = coefficients[gram, problem, k]
        size = b.abs() @ cross[gram].diagonal().sqrt() + target.norm()
        assert gaps[gram, problem, k] <= 1e-14 * size**2  # the terms of the gap are this large
        penalties = l1[gram, problem, k].expand(len(b)), l2[gram, problem, k].expand(len(b))
        exact = exact_minimiser(cross[gram], xy[gram, problem], *penalties, b)
        torch.testing.assert_close(b, exact, rtol=1e-9, atol=1e-9)


def test_columns_far_apart_in_scale():
    generator = torch.Generator().manual_seed(3)
    x = torch.randint(-9, 10, (30, 5), generator=generator).double()
    x = torch.cat([x, x[:, :1] + 2.0**-20 * torch.arange(30).double()[:, None]], 1)
    x *= torch.tensor([1.0, 2.0**27, 2.0**-27, 1.0, 2.0**13, 1.0])
    y = x[:, 3] + x[:, 1] * 2.0**-27 + torch.randint(-3, 4, (30,), generator=generator)
    cross, xy = x.mT @ x, x.mT @ y
    alphas = torch.tensor([2.0, 2.0**-3, 2.0**-12], dtype=torch.float64)
    coefficients, _ = one_path(cross, xy, y @ y, alphas)
    norm = cross.diagonal().sqrt()
    for alpha, b in zip(alphas, coefficients, strict=True):
        exact = exact_minimiser(cross, xy, alpha.expand(6), 0 * norm, b)
        torch.testing.assert_close(b * norm, exact * norm, rtol=1e-8, atol=1e-9)


def test_twin_columns_share_what_one_of_them_has():
    x, y = correlated_rows(100, 6)
    alphas = alphas_below(x.mT @ y, 100, 1.0, 1e-3)
    alone, _ = path_of_rows(x, y, alphas)
    twice, gaps = path_of_rows(torch.cat([x, x], 1), y, alphas)
    torch.testing.assert_close(twice[:, :6] + twice[:, 6:], alone, rtol=1e-10, atol=1e-12)
    assert float(gaps.max()) < 1e-12 * float(y @ y) / 100


def test_first_column_enters_below_the_largest_slope():
    x, y = correlated_rows(60, 8)
    largest = float((x.mT @ y).abs().max()) / 60
    coefficients, _ = path_of_rows(
        x, y, torch.tensor([largest, largest * (1 - 1e-9)], dtype=torch.float64)
    )
    assert (coefficients != 0).sum(1).tolist() == [0, 1]


def test_constant_columns_and_targets_have_coefficients_of_0():
    x, y = correlated_rows(50, 3)
    x[:, 1] = 0
    coefficients, gaps = path_of_rows(x, 0 * y, torch.tensor([1.0, 0.0]))
    assert not coefficients.any()
    assert gaps.tolist() == [0, 0]
    coefficients, gaps = path_of_rows(x, y, torch.tensor([0.1, 1e-9]))
    assert coefficients[-1].ne(0).tolist() == [True, False, True]
    assert float(gaps.max()) < 1e-14 * float(y @ y)


def test_duality_gap_bounds_the_distance_to_the_minimum():
    x, y = correlated_rows(60, 8)
    cross, xy, square = x.mT @ x / 60, x.mT @ y / 60, y @ y / 60
    alphas = torch.tensor([0.5, 0.05], dtype=torch.float64)
    for l1_ratio in (1.0, 0.3):
        l1, l2 = alphas * l1_ratio, alphas * (1 - l1_ratio)

        def objective(b: Tensor) -> Tensor:
            residual = y - b @ x.mT
            penalty = l1 * b.abs().sum(1) + l2 * b.square().sum(1) / 2  # noqa: B023
            return residual.square().mean(1) / 2 + penalty

        best, _ = path_of_rows(x, y, alphas, l1_ratio)
        for size in (1e-3, 1e-1, 10.0):
            b = best + size * torch.sin(torch.arange(8).double())
            problem = cross[None], xy[None, None], square[None, None]
            gaps = duality_gaps(*problem, l1[None, None], l2[None, None], b[None, None])[0, 0]
            assert (gaps >= objective(b) - objective(best)).all()


def test_blocks_of_problems_give_what_one_problem_gives():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, 40, 6, dtype=torch.float64, generator=generator)
    y = torch.randn(3, 4, 40, dtype=torch.float64, generator=generator)
    cross, xy, square = x.mT @ x, y @ x, y.square().sum(-1)
    alphas = xy.abs().amax(-1, keepdim=True) * torch.logspace(0, -3, 20, dtype=torch.float64)
    ratio = torch.tensor([1.0, 0.7, 0.4, 0.1])[:, None]
    penalties = alphas * ratio, alphas * (1 - ratio)
    together, gaps = elastic_net_paths(list(cross), xy, square, *penalties)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elastic_net, "_BLOCK_NUMBERS", 36)
        alone, alone_gaps = elastic_net_paths(list(cross), xy, square, *penalties)
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(gaps, alone_gaps, rtol=0, atol=1e-12)


def test_paths_of_sums_have_the_units_of_scikit_learn_and_spare_constant_columns():
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(60, 4, dtype=torch.float64, generator=generator) * 2.0**-9 + 3
    x[20:, 2] = 1  # constant in the second set of rows
    y = torch.randn(60, 2, dtype=torch.float64, generator=generator)
    y = (y + x[:, :1] * 2.0**9) * torch.tensor([1.0, 2.0**40], dtype=torch.float64)
    parts, problems = (slice(0, 40), slice(20, 60)), []
    for rows in parts:
        gram = Float64Gram(4, 2)
        gram.update(Batch(x[rows], y[rows]))
        problems.append(standardize_equations(gram.normal_equations(), standardize=False))
    l1_ratios = torch.tensor([1.0, 0.4], dtype=torch.float64)
    shares = torch.tensor([0.9, 0.1, 0.01], dtype=torch.float64)[:, None]
    size = (x - x.mean(0)).abs().mean() * y.std(0)
    alphas = torch.stack([shares * size, shares * 1e-6 * size / size[0]])
    paths = fit_paths(problems, l1_ratios, alphas)
    for rows, path in zip(parts, paths, strict=True):
        assert float(path.gap.max()) < 1e-14
        for r, a, t in itertools.product(range(2), range(3), range(2)):
            b = path.coefficients[r, a]
            peer = ElasticNet(alpha=float(alphas[r, a, t]), l1_ratio=float(l1_ratios[r]), tol=1e-15)
            expected = torch.tensor(peer.fit(x[rows].numpy(), y[rows, t].numpy()).coef_)
            largest = float(expected.abs().max())
            torch.testing.assert_close(b[:, t], expected, rtol=0, atol=1e-9 * largest)
            assert torch.equal(b[:, t] != 0, expected != 0)
    assert paths[0].coefficients[:, :, 2].any()
    assert not paths[1].coefficients[:, :, 2].any()
