"""Absorbed effects of levels, against dummy variables in statsmodels."""

from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from torch import Tensor

from linreg_lightning import InputError
from linreg_lightning.algebra import ExactGram, Fit, Float64Gram, least_squares
from linreg_lightning.algebra.fixed_effects import AbsorbedEffects, Absorption
from linreg_lightning.algebra.gram import Gram
from linreg_lightning.algebra.level_sums import LevelSums
from linreg_lightning.batch import Batch

pytestmark = pytest.mark.filterwarnings("ignore:Left out, as linear combinations of absorbed")


def dummies(ids: Any, counted: Any) -> Any:
    """Return a column of 0 and 1 for each level of each column of ids, (rows, levels)."""
    columns = [ids[:, [k]] == np.unique(ids[counted, k]) for k in range(ids.shape[1])]
    return np.concatenate(columns, 1).astype(float)


def independent(columns: Any) -> list[int]:
    """Return the columns that are no combination of earlier ones."""
    kept, basis = [], np.zeros((len(columns), 0))
    for j, column in enumerate(columns.T):
        rest = column - basis @ (basis.T @ column)
        rest -= basis @ (basis.T @ rest)
        if np.linalg.norm(rest) > 1e-9 * np.linalg.norm(column):
            kept.append(j)
            basis = np.column_stack((basis, rest / np.linalg.norm(rest)))
    return kept


def random_problem(seed: int) -> tuple[Any, Any, Any, Any]:
    """Return x, y, weight or None, and ids: ill-scaled, unbalanced, disconnected, collinear."""
    r = np.random.default_rng(seed)
    rows, features, ways = int(r.integers(20, 70)), int(r.integers(1, 4)), 1 + seed % 2
    ids = np.stack([r.integers(0, r.integers(2, 9), rows) for _ in range(ways)], 1)
    if seed % 6 == 1:  # no row connects even and odd levels
        ids[:, 1] = 2 * ids[:, 1] + ids[:, 0] % 2
    x = r.normal(size=(rows, features)) * 10.0 ** r.integers(-4, 4, features)
    x += r.normal(size=features) * x.std(0) * 100
    if seed % 5 == 0:
        x[:, 0] = 1.37 * ids[:, 0] + 0.7 * ids[:, -1]
    y = x @ (r.normal(size=(features, 2)) / x.std(0)[:, None]) + ids[:, :1] * 3
    weight = r.uniform(0.1, 5, rows) if seed % 4 < 2 else None
    if weight is not None:
        weight[:3] = 0
    return x, y + r.normal(size=y.shape), weight, ids


@pytest.mark.parametrize("first", [0, 15, 30, 45])
def test_random_problems_agree_with_dummy_variables(first: int) -> None:
    for seed in range(first, first + 15):
        x, y, weight, ids = random_problem(seed)
        fit = least_squares(x, y, weight, absorb=ids if ids.shape[1] == 2 else ids[:, 0])
        counted = np.ones(len(x), bool) if weight is None else weight > 0
        scale, indicators = x.std(0), dummies(ids, counted)
        design = np.concatenate([indicators, (x - x.mean(0)) / scale], 1)[counted]
        kept = independent(design)
        terms = [j - indicators.shape[1] for j in kept if j >= indicators.shape[1]]
        effects = len(kept) - len(terms)
        assert fit.solution.absorbed == effects == fit.statistics["absorbed"]
        assert sorted({*range(x.shape[1])} - {*fit.collinear}) == terms
        target = seed // 2 % 2
        weights = 1.0 if weight is None else weight[counted]
        reference = sm.WLS(y[counted, target], design[:, kept], weights=weights).fit()
        check_target(fit, target, terms, scale[terms], reference)


def check_target(fit: Fit, target: int, terms: list[int], scale: Any, reference: Any) -> None:
    error = reference.bse[-len(terms) :] if terms else np.ones(0)
    count = len(reference.params) - len(terms)

    def ours(values: Tensor) -> Any:
        return values[terms, target].numpy()

    difference = ours(fit.estimate) * scale - reference.params[count:]
    assert (abs(difference) < 1e-9 * (error + abs(reference.params[count:]))).all()
    np.testing.assert_allclose(ours(fit.standard_error) * scale, error, rtol=1e-9)
    np.testing.assert_allclose(ours(fit.p), reference.pvalues[count:], rtol=1e-8)
    covariance = fit.covariance[target][terms][:, terms].numpy() * np.outer(scale, scale)
    wanted = reference.cov_params()[count:, count:]
    assert (abs(covariance - wanted) <= 1e-9 * np.outer(error, error)).all()
    statistics = {k: v[target] if isinstance(v, list) else v for k, v in fit.statistics.items()}
    for name, value in (
        ("r2", reference.rsquared),
        ("r2_adjusted", reference.rsquared_adj),
        ("aic", reference.aic),
        ("bic", reference.bic),
        ("log_likelihood", reference.llf),
        ("df_residual", reference.df_resid),
        ("residual_sd", reference.mse_resid**0.5),
    ):
        assert statistics[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name
    if terms:
        test = reference.f_test(np.eye(len(reference.params))[count:])
        assert statistics["f"] == pytest.approx(float(test.fvalue), rel=1e-8)
        assert statistics["f_p"] == pytest.approx(float(test.pvalue), rel=1e-8)


def test_r2_within_compares_to_a_fit_of_the_effects_alone() -> None:
    x, y, _, ids = random_problem(2)
    fit, alone = least_squares(x, y, absorb=ids[:, 0]), sm.OLS(y[:, 0], dummies(ids, slice(None)))
    unexplained = fit.statistics["loss"] if y.ndim == 1 else fit.statistics["rmse"][0] ** 2
    expected = 1 - unexplained * len(y) / alone.fit().ssr
    assert fit.statistics["r2_within"][0] == pytest.approx(expected, rel=1e-10)


def test_levels_that_few_rows_connect() -> None:
    r = np.random.default_rng(0)
    g, h = np.arange(200).repeat(2), (np.arange(400) + 1) // 2  # a chain of 401 levels
    x, noise = r.normal(size=(400, 2)), r.normal(size=400)
    g, h, x = np.tile(g, 2), np.tile(h, 2), np.concatenate([x, r.normal(size=(400, 2))])
    y = x.sum(1) + np.cumsum(r.normal(size=200))[g] + np.tile(noise, 2) + r.normal(size=800)
    fit = least_squares(x, y, absorb=[g, h])
    assert fit.absorbed is not None
    assert (fit.absorbed.count, fit.absorbed.components) == (400, 1)
    ids = np.stack([g, h], 1)
    reference = sm.OLS(y, np.concatenate([x, dummies(ids, slice(None))[:, :-1]], 1)).fit()
    np.testing.assert_allclose(fit.estimate.numpy(), reference.params[:2], rtol=1e-9)
    np.testing.assert_allclose(fit.standard_error.numpy(), reference.bse[:2], rtol=1e-9)


def streamed(
    rows: Batch, ids: Tensor, sizes: list[int], kind: type[Gram] = ExactGram, parts: int = 1
) -> Fit:
    """Fit in three passes of batches, dealt out to as many processes as `parts`."""

    def batches() -> list[tuple[Batch, Tensor]]:
        columns = [*rows.x.split(sizes)], [*rows.y.split(sizes)], [*ids.split(sizes)]
        assert rows.weight is not None
        weights = rows.weight.split(sizes)
        return [(Batch(x, y, w), k) for x, y, k, w in zip(*columns, weights, strict=True)]

    total, demeaned = kind(rows.x.shape[1]), kind(rows.x.shape[1])
    for batch, _ in batches():
        total.update(batch)
    sums = [LevelSums(total, ids.shape[1], clusters=1) for _ in range(parts)]
    for k, (batch, levels) in enumerate(batches()):
        sums[k % parts].update(batch, levels, clusters=levels[:, :1] // 2)
    for other in sums[1:]:
        sums[0].merge(LevelSums.from_state_dict(other.state_dict(), total))
    absorption = Absorption(sums[0])
    for batch, levels in batches():
        demeaned.update(absorption.demean(batch, levels))
    return Fit.from_gram(demeaned, absorbed=absorption.effects)


@pytest.mark.parametrize("ways", [1, 2])
def test_batches_order_and_processes_change_no_bit(ways: int) -> None:
    torch.manual_seed(ways)
    x, weight = torch.randn(500, 3) * torch.tensor([1e-5, 1.0, 1e7]) + 1e3, torch.rand(500)
    weight[:20] = 0
    ids = torch.randint(-40, 40, (500, ways)) * 2**40
    rows = Batch(x.double(), x[:, 1:2].double() + torch.randn(500, 1), weight.double())
    one = streamed(rows, ids, [500])
    order = torch.randperm(500)
    other = streamed(rows.select(order), ids[order], [1, 99, 150, 250], parts=3)
    for name in ("estimate", "standard_error", "covariance"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert one.statistics == other.statistics
    assert one.absorbed is not None
    assert other.absorbed is not None
    assert one.absorbed.state_dict() == other.absorbed.state_dict()
    rounded = streamed(rows, ids, [250, 250], kind=Float64Gram)
    torch.testing.assert_close(one.estimate, rounded.estimate, rtol=1e-9, atol=1e-12)


def test_state_of_effects_is_plain_and_tells_nesting() -> None:
    x, ids = (
        torch.arange(8.0).reshape(8, 1) ** 2,
        torch.tensor([[0], [0], [1], [1], [2], [2], [3], [4]]),
    )
    rows, total = Batch(x, x.sqrt()), ExactGram(1)
    total.update(rows)
    sums = LevelSums(total, clusters=2)
    sums.update(rows, ids, torch.cat((ids // 2, torch.arange(8)[:, None] % 3), 1))
    effects = Absorption(sums).effects
    assert (effects.levels, effects.singletons, effects.nested) == ((5,), 2, ((0,),))
    assert (effects.nested_count([0]), effects.nested_count([1])) == (4, 0)
    again = AbsorbedEffects.from_state_dict(effects.state_dict(), total)
    assert vars(again) == vars(effects)
    with pytest.raises(InputError, match="row 2 is in a level that was in no row of the first"):
        Absorption(sums).demean(rows.select(slice(2)), torch.tensor([[0], [9]]))


def test_report_says_what_was_absorbed() -> None:
    x, y = [[1.0, 5.0], [2.0, 5.0], [4.0, 6.0], [3.0, 6.0], [0.0, 7.0]], [1.0, 3.0, 2.0, 2.5, 9.0]
    with pytest.warns(UserWarning, match="of absorbed effects and earlier columns: x2"):
        fit = least_squares(x, y, absorb=["a", "a", "b", "b", "c"])
    text = fit.summary()
    assert "absorbed: absorb (3 levels)  1 row alone in a level" in text
    assert "NA: left out, as a linear combination of absorbed effects and earlier" in text
    # Within a and b the slopes are 2 and -0.5, of equal weight.
    assert fit.estimate[0].item() == pytest.approx(0.75)
    for predict in (fit.predict, fit.prediction):
        with pytest.raises(InputError, match=r"^predict: .* give x a column of 0 and 1"):
            predict(x)


def test_a_target_that_the_effects_explain_has_slopes_of_0() -> None:
    x = torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
    group = torch.arange(12) // 3
    fit = least_squares(x, 0.1 * group.double(), absorb=group)
    assert fit.estimate.tolist() == [0, 0]
    assert fit.t.isnan().all()
    perfect = least_squares(x, x.double().sum(1) + 0.1 * group, absorb=group)
    assert perfect.standard_error.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"absorb": [1, 1, 2]}, "absorb: a shape of (3,) was given; (4,) is needed"),
        ({"absorb": ["a", None, "b", "b"]}, "absorb: row 2 has no group, a missing value"),
        ({"absorb": [[1, 1, 2, 2]] * 3}, "absorb: 3 columns were given; give one or two"),
        ({"absorb": [1, 1, 2, 2], "ridge": 1.0}, "ridge: 1.0 was given with absorb; leave one"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        least_squares([[1.0], [2.0], [3.0], [5.0]], [1.0, 2.0, 2.0, 3.0], **options)
    assert str(error.value).startswith(message)
