"""Robust and clustered standard errors, against statsmodels."""

import copy
import math
import pickle
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from scipy import stats

from linreg_lightning import InputError
from linreg_lightning.algebra import Fit, least_squares
from linreg_lightning.algebra.robust_errors import ErrorOptions, RobustErrors
from linreg_lightning.algebra.scores import ScoreSums
from linreg_lightning.batch import Batch

KINDS: list[tuple[str, dict[str, Any]]] = [
    *((kind, {}) for kind in ("HC0", "HC1", "HC2", "HC3")),
    ("cluster", {"cluster": 1}),
    ("cluster", {"cluster": 2}),
    ("HAC", {"lags": 0}),
    ("HAC", {"lags": 5}),
]


@pytest.fixture(autouse=True)
def _without_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Problem:
    """A random problem, and its columns in units in which statsmodels loses no digits."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        n, p = int(rng.integers(15, 81)), int(rng.integers(1, 6))
        self.intercept = seed % 3 != 0
        self.z = rng.normal(size=(n, p)) + rng.normal(size=p)
        self.unit = 10.0 ** rng.integers(-3, 4, p)
        self.y = self.z @ rng.normal(size=p) + rng.normal(size=n) * (1 + np.abs(self.z[:, 0]))
        self.weight = rng.uniform(0.1, 3, n) if seed % 2 else None
        self.clusters = np.c_[rng.integers(0, 9, n), rng.integers(0, 7, n)]
        if seed % 5 == 0:  # the last column is a combination that both leave out
            self.x = np.c_[self.z * self.unit, self.z @ np.ones(p) * 3]
        else:
            self.x = self.z * self.unit

    def fit(self, accuracy: Any = "exact") -> Fit:
        return least_squares(
            self.x, self.y, self.weight, intercept=self.intercept, accuracy=accuracy
        )

    def robust(self, fit: Fit, kind: Any, options: dict[str, Any]) -> Fit:
        ways = options.get("cluster")
        if ways is None:
            return fit.robust(kind, **options)
        return fit.robust(kind, cluster=self.clusters[:, 0] if ways == 1 else self.clusters)

    def reference(self, kind: str, options: dict[str, Any]) -> Any:
        z = sm.add_constant(self.z, has_constant="add") if self.intercept else self.z
        settings = {}
        if kind == "cluster":
            settings["groups"] = self.clusters[:, 0] if options["cluster"] == 1 else self.clusters
        elif kind == "HAC":
            settings["maxlags"] = options["lags"]
        weight = 1.0 if self.weight is None else self.weight
        return sm.WLS(self.y, z, weight).fit(cov_type=kind, cov_kwds=settings)

    def kept(self, numbers: Any) -> Any:
        """Return numbers of the terms that are not left out, in the units of the reference."""
        terms = self.intercept + self.z.shape[1]
        unit = np.r_[np.ones(int(self.intercept)), self.unit]
        return np.asarray(numbers)[:terms] * unit


@pytest.mark.parametrize("accuracy", ["exact", "float64"])
def test_random_problems_agree_with_statsmodels(accuracy: str) -> None:
    for seed in range(64 if accuracy == "exact" else 24):
        problem = Problem(seed)
        fit = problem.fit(accuracy)
        for place in {seed % len(KINDS)}:
            kind, options = KINDS[place]
            ours, theirs = problem.robust(fit, kind, options), problem.reference(kind, options)
            close = {"rtol": 1e-9, "atol": 1e-12, "err_msg": f"{seed} {kind} {options}"}
            np.testing.assert_allclose(problem.kept(ours.standard_error), theirs.bse, **close)
            np.testing.assert_allclose(ours.p[: len(theirs.pvalues)], theirs.pvalues, **close)
            low, high = theirs.conf_int().T
            np.testing.assert_allclose(problem.kept(ours.low), low, **close)
            np.testing.assert_allclose(problem.kept(ours.high), high, **close)
            k = len(theirs.bse)
            unit = np.r_[np.ones(int(problem.intercept)), problem.unit]
            scale = np.outer(theirs.bse, theirs.bse)
            covariance = ours.covariance[:k, :k].numpy() * np.outer(unit, unit)
            np.testing.assert_allclose(covariance / scale, theirs.cov_params() / scale, **close)
            f, f_p = ours.statistics["f"], ours.statistics["f_p"]
            if not math.isnan(f):
                loose = close | {"rtol": 1e-7 if kind == "cluster" else 1e-9}
                np.testing.assert_allclose([f, f_p], [theirs.fvalue, theirs.f_pvalue], **loose)


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_predictions_have_robust_errors(kind: str, options: dict[str, Any]) -> None:
    problem = Problem(1)
    ours = problem.robust(problem.fit(), kind, options).prediction(problem.x[:5])
    theirs = problem.reference(kind, options).get_prediction(
        sm.add_constant(problem.z)[:5], weights=1.0
    )
    frame = theirs.summary_frame()
    for name, column in (
        ("mean_error", "mean_se"),
        ("mean_low", "mean_ci_lower"),
        ("mean_high", "mean_ci_upper"),
        ("row_low", "obs_ci_lower"),
        ("row_high", "obs_ci_upper"),
    ):
        np.testing.assert_allclose(getattr(ours, name), frame[column], rtol=1e-9)


def _options(kind: str, options: dict[str, Any]) -> ErrorOptions:
    return ErrorOptions(kind, lags=options.get("lags"))


@pytest.mark.parametrize("condition", ["good", "bad"])
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_exact_bits_depend_on_neither_batches_nor_order(
    kind: str, options: dict[str, Any], condition: str
) -> None:
    problem = Problem(7)
    x = torch.tensor(problem.x)
    if condition == "bad":
        x = torch.cat((x, x[:, :1] + 1e-7 * torch.randn(len(x), 1).double()), 1)
    y = torch.tensor(np.c_[problem.y, problem.z[:, 0] ** 2])
    batch = Batch(x, y, torch.tensor(problem.weight))
    fit = least_squares(x, y, problem.weight, accuracy="exact")
    clusters = torch.tensor(problem.clusters)[:, : options.get("cluster", 0)]
    ways = clusters.shape[1]
    results = []
    for size, shuffled, merged in ((len(x), False, False), (7, True, False), (13, True, True)):
        order = torch.randperm(len(x)) if shuffled and kind != "HAC" else torch.arange(len(x))
        parts = [
            ScoreSums(fit.solution, _options(kind, options), keys=ways, exact=True)
            for _ in range(1 + (merged and kind != "HAC"))
        ]
        for start in range(0, len(x), size):
            rows = order[start : start + size]
            sums = parts[start // size % len(parts)]
            sums.update(batch.select(rows), clusters[rows] if ways else None)
            state = copy.deepcopy(sums.state_dict())
            parts[start // size % len(parts)] = ScoreSums.from_state_dict(
                state, fit.solution, sums.options, keys=ways, exact=True
            )
        for other in parts[1:]:
            parts[0].merge(other)
        results.append(parts[0].errors().covariance)
    assert results[0].shape[0] == 2
    assert all(torch.equal(results[0], result) for result in results[1:])


def test_rows_of_weight_0_count_nowhere() -> None:
    problem = Problem(3)
    absent = np.arange(len(problem.y)) % 4 == 0
    weight = np.where(absent, 0.0, 1.5)
    x = np.where(absent[:, None], np.nan, problem.x)
    fit = least_squares(x, problem.y, weight, intercept=False)
    alone = least_squares(problem.x[~absent], problem.y[~absent], weight[~absent], intercept=False)
    clusters = np.where(absent, 100 + np.arange(len(absent)), problem.clusters[:, 0])
    for kind in ("HC1", "HC3"):
        assert torch.equal(fit.robust(kind).covariance, alone.robust(kind).covariance)
    ours = fit.robust("cluster", cluster=clusters)
    assert torch.equal(
        ours.covariance, alone.robust("cluster", cluster=clusters[~absent]).covariance
    )
    # In time, they keep their place.
    theirs = sm.WLS(problem.y, problem.x / problem.unit, weight).fit(
        cov_type="HAC", cov_kwds={"maxlags": 2}
    )
    np.testing.assert_allclose(
        fit.robust("HAC", lags=2).standard_error * problem.unit, theirs.bse, rtol=1e-9
    )


def test_corrections_of_sandwich_and_fixest() -> None:
    problem = Problem(1)
    fit, n, k = problem.fit(), len(problem.y), 1 + len(problem.unit)
    g = [len(set(c)) for c in problem.clusters.T]
    hc3 = fit.robust("HC3").standard_error
    sandwich, fixest = (fit.robust("HC3", small_sample=name) for name in ("sandwich", "fixest"))
    assert torch.equal(sandwich.standard_error, hc3)
    np.testing.assert_allclose(sandwich.p, 2 * stats.t.sf(sandwich.t.abs(), n - k), rtol=1e-11)
    np.testing.assert_allclose(fixest.standard_error, hc3 * math.sqrt(n / (n - k)), rtol=1e-12)
    two = fit.robust("cluster", cluster=problem.clusters, small_sample="fixest")
    np.testing.assert_allclose(two.p, 2 * stats.t.sf(two.t.abs(), min(g) - 1), rtol=1e-11)
    first, second = (problem.reference("cluster", {"cluster": 1}), problem.clusters[:, 1])
    one = fit.robust("cluster", cluster=problem.clusters[:, 0], small_sample="fixest")
    np.testing.assert_allclose(problem.kept(one.standard_error), first.bse, rtol=1e-9)
    np.testing.assert_allclose(one.p, 2 * stats.t.sf(one.t.abs(), g[0] - 1), rtol=1e-11)
    # All three parts of two ways have the factor of the smaller number of clusters.
    pair = problem.clusters[:, 0] * 1000 + second
    parts = [
        fit.robust("cluster", cluster=c).covariance * ((len(set(c)) - 1) / len(set(c)))
        for c in (problem.clusters[:, 0], second, pair)
    ]
    expected = (parts[0] + parts[1] - parts[2]) * (min(g) / (min(g) - 1))
    assert torch.allclose(two.covariance, expected, rtol=1e-9, atol=1e-12)


def test_summary_says_which_errors() -> None:
    fit = Problem(1).fit()
    clusters = ["abc"[i % 3] for i in range(fit.statistics["rows"])]
    clustered = fit.robust("cluster", cluster=clusters)
    assert "clustered by cluster (3 clusters), as statsmodels" in clustered.summary()
    assert (
        "standard errors: HC3, as sandwich" in fit.robust("HC3", small_sample="sandwich").summary()
    )
    assert "standard errors: HAC, 4 lags, as statsmodels" in fit.robust("HAC", lags=4).summary()
    assert torch.equal(clustered.robust("classical").standard_error, fit.standard_error)
    errors = clustered.errors
    assert errors is not None
    again = RobustErrors.from_state_dict(errors.state_dict())
    assert again.phrases() == errors.phrases()
    assert torch.equal(again.covariance, errors.covariance)


def test_a_perfect_fit_has_errors_of_0() -> None:
    x = torch.arange(12.0).double()[:, None]
    assert least_squares(x, 2 * x + 1).robust("HC3").standard_error.abs().max() == 0


def test_no_more_clusters_than_slopes_leave_no_f() -> None:
    fit = least_squares(torch.randn(30, 4).double(), torch.randn(30).double())
    clustered = fit.robust("cluster", cluster=[i % 4 for i in range(30)])
    assert math.isnan(clustered.statistics["f"])
    assert "NA: f unknown, because these errors allow no joint test" in clustered.summary()
    assert "cluster errors" in repr(clustered)
    assert bool(clustered.standard_error.isfinite().all())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"errors": "HC4"}, "errors: 'HC4' was given"),
        ({"errors": "HAC"}, "lags: none was given"),
        ({"errors": "HC0", "lags": 3}, "lags: 3 was given; it is for errors HAC only"),
        ({"errors": "HAC", "lags": -1}, "lags: -1 was given"),
        ({"errors": "cluster", "cluster": "state"}, "cluster: the name 'state' was given"),
        ({"errors": "cluster"}, "cluster: no column of clusters was given"),
        ({"errors": "HC0", "cluster": [1] * 6}, "cluster: clusters were given for errors HC0"),
        ({"errors": "cluster", "cluster": [1] * 6}, "one cluster only"),
        ({"errors": "cluster", "cluster": [1, 2, math.nan] * 2}, "cluster: "),
        ({"errors": "HC3", "small_sample": "R"}, "small_sample: 'R' was given"),
        ({"errors": "HC3", "rows": ([[1.0]], [1.0])}, "rows: 1 features and 1 targets"),
        ({"errors": "HC2"}, "errors: HC2 was given, but row 5 alone determines"),
    ],
)
def test_what_has_no_robust_errors_is_refused(arguments: dict[str, Any], message: str) -> None:
    x = [[1.0, 0], [2.0, 0], [3.0, 0], [5.0, 0], [4.0, 1], [3.0, 0]]
    fit = least_squares(x, [1.0, 3.0, 2.0, 5.0, 4.0, 2.0])
    with pytest.raises(InputError) as caught:
        fit.robust(**arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_fits_without_rows_or_degrees_of_freedom_are_refused() -> None:
    x, y = torch.randn(9, 2).double(), torch.randn(9).double()
    with pytest.raises(InputError, match="biases"):
        least_squares(x, y, ridge=1.0).robust("HC1")
    with pytest.raises(InputError, match="no residual degree of freedom"):
        least_squares(x[:3], y[:3]).robust("HC1")
    fit = least_squares(x, y)
    assert fit.rows is not None
    without = replace(fit, rows=None)
    with pytest.raises(InputError, match="does not hold"):
        without.robust("HC1")
    again = without.robust("HC1", rows=(x, y))
    assert torch.equal(again.covariance, fit.robust("HC1").covariance)
    with pytest.raises(InputError, match="5 rows of weight above 0"):
        without.robust("HC1", rows=(x[:5], y[:5]))
    with pytest.raises(InputError, match="rows: others than those of the fit"):
        without.robust("HC1", rows=(x, y.flip(0)))


def test_given_rows_need_the_levels_that_the_fit_has_absorbed() -> None:
    x, y = torch.randn(9, 2).double(), torch.randn(9).double()
    fit = least_squares(x, y, absorb=[0, 0, 0, 1, 1, 1, 2, 2, 2])
    with pytest.raises(InputError, match="without the levels that the fit has absorbed"):
        fit.robust("HC1", rows=(x, y))


def test_pickles_of_a_fit_hold_no_rows() -> None:
    x, y = torch.randn(9, 2).double(), torch.randn(9).double()
    fit = least_squares(x, y).robust("HC3")
    again = pickle.loads(pickle.dumps(fit))
    assert fit.rows is not None
    assert again.rows is None
    assert torch.equal(again.standard_error, fit.standard_error)


def test_rows_other_than_those_of_the_fit_are_refused() -> None:
    x, y = torch.arange(24.0).reshape(12, 2).sin(), torch.arange(12.0).cos()
    fit = least_squares(x, y)
    with pytest.raises(InputError, match=r"^rows: others than those of the fit"):
        fit.robust("HC1", rows=(x, y + 0.1 * x[:, 0] ** 2))
    assert torch.equal(fit.robust("HC1", rows=(x, y)).covariance, fit.robust("HC1").covariance)


def test_as_many_lags_as_rows_are_refused() -> None:
    fit = least_squares(torch.arange(24.0).reshape(12, 2).sin(), torch.arange(12.0).cos())
    with pytest.raises(InputError, match=r"^lags: 12 was given for 12 rows"):
        fit.robust("HAC", lags=12)
