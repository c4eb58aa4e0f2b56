"""Comparison of two fits, against statsmodels, and by the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer
from statsmodels import api
from statsmodels.stats.anova import anova_lm

from linreg_lightning import (
    InputError,
    LeastSquares,
    LinearRegression,
    TabularData,
    cli,
    compare,
    least_squares,
)


def test_nested_fits_agree_with_statsmodels() -> None:
    for seed in range(20):
        random = np.random.default_rng(seed)
        n, p, targets = random.integers(15, 60), random.integers(2, 6), random.integers(1, 3)
        scale = 10.0 ** random.integers(-4, 5, p)
        x = random.normal(size=(n, p)) + random.integers(0, 3)
        y = x @ random.normal(size=(p, targets)) / 3 + random.normal(size=(n, targets))
        weight = random.uniform(0.2, 3, n) if seed % 3 == 0 else None
        accuracy: Any = "float64" if seed % 2 else "exact"
        names = [f"x{j + 1}" for j in range(p)]
        frame = pd.DataFrame(x * scale, columns=names)
        some = sorted(random.choice(names, random.integers(0, p), replace=False))
        intercepts = (seed % 7 > 1 or not some, seed % 7 > 0 or not some)
        fits, results = [], []
        for chosen, constant in zip((some, names), intercepts, strict=True):
            design = frame[chosen].to_numpy() / scale[[int(c[1:]) - 1 for c in chosen]]
            design = np.column_stack([np.ones(n)] * constant + [design])
            weights = 1.0 if weight is None else weight
            results.append([api.WLS(y[:, k], design, weights).fit() for k in range(targets)])
            options: Any = {"intercept": constant, "accuracy": accuracy}
            fits.append(least_squares(frame[chosen], y, weight, **options))
        order = 1 if seed % 2 else -1
        comparison = compare(*fits[::order])
        small, big = "AB"[::order]
        assert comparison.finding.startswith(f"{small} is nested in {big}, which also has ")
        for k, (less, more) in enumerate(zip(*results, strict=True)):
            f_row, ratio_row = comparison.tests[k], comparison.tests[targets + k]
            f, f_p, df = more.compare_f_test(less)
            ratio = more.compare_lr_test(less)
            numbers = [f_row[name] for name in ("statistic", "p", "df", "df_residual")]
            assert numbers == pytest.approx([f, f_p, df, more.df_resid], rel=1e-9)
            numbers = [ratio_row[name] for name in ("statistic", "p", "df")]
            assert numbers == pytest.approx(list(ratio), rel=1e-9)
            if seed < 10:
                assert anova_lm(less, more)["F"].iloc[1] == pytest.approx(f, rel=1e-9)
        for result, statistics in zip(results, comparison.statistics[::order], strict=True):
            assert np.ravel(statistics["aic"]) == pytest.approx([r.aic for r in result], rel=1e-9)
            assert np.ravel(statistics["bic"]) == pytest.approx([r.bic for r in result], rel=1e-9)


def test_robust_errors_allow_a_wald_test_only() -> None:
    random = np.random.default_rng(1)
    x, y = random.normal(size=(40, 3)), random.normal(size=40)
    result = api.OLS(y, api.add_constant(x)).fit(cov_type="HC3")
    small, big = least_squares(x[:, :1], y), least_squares(x, y)
    big = big.robust("HC3")
    comparison = compare(small, big)
    expected = result.f_test("x2 = 0, x3 = 0")
    (row,) = comparison.tests
    numbers = [row[name] for name in ("test", "df", "df_residual")]
    assert numbers == ["Wald F", 2, 36]
    assert row["statistic"] == pytest.approx(float(expected.fvalue), rel=1e-9)
    assert row["p"] == pytest.approx(float(expected.pvalue), rel=1e-9)
    assert comparison.finding.endswith("the errors HC3 of B allow a Wald test only")
    assert [each["errors"] for each in comparison.statistics] == ["classical", "HC3"]


def test_fits_that_are_not_nested_say_why() -> None:
    random = np.random.default_rng(2)
    x = pd.DataFrame(random.normal(size=(30, 3)) + 5, columns=list("abc"))
    y = pd.Series(random.normal(size=30), name="price")
    fit = least_squares(x, y)
    for other, reason in [
        (least_squares(x[:20], y[:20]), "A has 30 rows and B has 20 rows"),
        (least_squares(x[["a"]], y[::-1].reset_index(drop=True) + 1e-6), "different rows"),
        (least_squares(x[["a"]], y, torch.full((30,), 2.0)), "different rows, weights"),
        (least_squares(x[["a"]], y.rename("size")), "the targets are size and price"),
        (least_squares(x[["a"]], y, ridge=1.0), "ridge penalty"),
        (least_squares(x, y), "A and B have the same columns"),
        (least_squares(x[["a"]].rename(columns={"a": "d"}), y), "A has no d, which B has"),
        (least_squares(x[["a", "b"]] + [0, 1], y), "b has other values in B than in A"),
        (least_squares(x[["b", "a"]].set_axis(["a", "b"], axis=1), y), "a has other values in B"),
    ]:
        comparison = compare(fit, other)
        assert reason in comparison.finding
        assert not comparison.tests
        assert comparison.summary().splitlines()[-1] == comparison.finding
    without = compare(least_squares(x, y, intercept=False), least_squares(x[["a"]], y))
    assert "B has an intercept, A has none" in without.finding
    full = least_squares(x[:4], y[:4])
    assert "B has no residual degree" in compare(least_squares(x[["a"]][:4], y[:4]), full).finding
    with pytest.raises(InputError, match="compare: a str was given as B"):
        compare(fit, "B.ckpt")


def test_a_column_left_out_of_the_larger_fit_may_be_in_the_smaller() -> None:
    random = np.random.default_rng(3)
    x = pd.DataFrame(random.normal(size=(30, 2)), columns=["a", "b"])
    x["c"], y = x["a"] + x["b"], random.normal(size=30)
    x = x.astype("float32").astype("float64")
    x["c"] = x["a"] + x["b"]
    with pytest.warns(UserWarning, match="Left out"):
        big = least_squares(x, y)
    row = compare(least_squares(x[["c"]], y), big).tests[0]
    less = api.OLS(y, api.add_constant(x["c"])).fit()
    f, p, _ = api.OLS(y, api.add_constant(x[["a", "b"]])).fit().compare_f_test(less)
    assert (row["statistic"], row["p"]) == pytest.approx((f, p), rel=1e-9)
    wald = compare(least_squares(x[["c"]], y), big.robust("HC3"))
    assert wald.finding.startswith("No tests: B left out columns that A has")


@pytest.fixture
def checkpoints(tmp_path: Path, trainer: Callable[..., Trainer]) -> dict[str, str]:
    """Fits of the same table to one column and to all; one by SGD, and one of groups."""
    random = np.random.default_rng(4)
    frame = pd.DataFrame(random.normal(size=(40, 2)), columns=["sqft", "age"])
    frame["city"] = random.choice(["Oslo", "Paris", "Rome"], 40)
    frame["price"] = frame["sqft"] - 2 * frame["age"] + random.normal(size=40)
    path = tmp_path / "houses.csv"
    frame.to_csv(path, index=False)
    data: dict[str, Any] = {
        "small": (LeastSquares(), {"features": ["sqft"]}),
        "big": (LeastSquares(), {}),
        "sgd": (LinearRegression(), {}),
        "groups": (LeastSquares(), {"by": "city"}),
    }
    files = {}
    for name, (model, options) in data.items():
        fitting = trainer(max_epochs=1)
        fitting.fit(model, TabularData(path, target="price", **options))
        files[name] = str(tmp_path / f"{name}.ckpt")
        fitting.save_checkpoint(files[name])
    return files


def test_the_command_compares_checkpoints_and_tests_hypotheses(
    checkpoints: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    def printed(words: list[str]) -> str:
        cli.main(words)
        return capsys.readouterr().out

    def refused(words: list[str]) -> str:
        with pytest.raises(SystemExit) as caught:
            cli.main(words)
        assert caught.value.code == 1
        message = capsys.readouterr().err
        assert message.count("\n") == 1
        return message

    small, big = checkpoints["small"], checkpoints["big"]
    text = printed(["compare", small, big, "--test", "2*age = -4, city[Rome] = city[Paris]"])
    assert f"A: {small}: price on sqft\n" in text
    assert "A is nested in B, which also has age, city[Paris], city[Rome]\n" in text
    assert "A: the fit has no term 'age'; it has intercept, sqft" in text
    assert "B: Hypotheses: price on sqft, age, city[Paris], city[Rome]" in text
    content = json.loads(printed(["compare", small, big, "--format", "json"]))
    assert [row["test"] for row in content["tests"]] == ["F", "likelihood ratio"]
    assert [each["label"] for each in content["models"]] == ["A", "B"]
    rows = {row["term"]: row for row in content["coefficients"]}
    assert rows["age"]["A_estimate"] is None

    words = ["--test", "sqft = 1, age = -2"]
    alone = printed(["compare", big, *words])
    table = printed(["summary", "--ckpt_path", big, *words])
    assert table.startswith("LeastSquares: price on sqft, age")
    assert table.endswith(f"\n\n{alone}")
    content = json.loads(printed(["summary", "--ckpt_path", big, *words, "--format", "json"]))
    assert content["model"] == "LeastSquares"
    assert [row["hypothesis"] for row in content["test"]["rows"]] == ["sqft = 1", "age = -2"]
    assert f"f {content['test']['f']:.6g}" in alone

    assert "CKPT: one checkpoint was given; type two, or one and --test" in refused(
        ["compare", big]
    )
    assert "CKPT: 3 checkpoints were given" in refused(["compare", big, big, small])
    assert "--test: the fit has no term 'agee'; did you mean 'age'?" in refused(
        ["summary", "--ckpt_path", big, "--test", "agee = 0"]
    )
    assert "LinearRegression, which has no standard" in refused(
        ["compare", checkpoints["sgd"], big]
    )
    assert "fits of groups of rows" in refused(["compare", big, checkpoints["groups"]])
