"""Tests of linear hypotheses, against statsmodels and exact fractions."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from statsmodels import api
from statsmodels.datasets import longley

from linreg_lightning import InputError, least_squares
from linreg_lightning.algebra.chi_squared import chi_squared_tail


def random_hypotheses(
    random: np.random.Generator, names: list[str], unit: np.ndarray
) -> tuple[str, np.ndarray]:
    """Return hypotheses as text, and as [A c] for columns divided by their units."""
    count = random.integers(1, len(names)) if len(names) > 1 else 1
    numbers = random.integers(-3, 4, (count, len(names) + 1)) / 4.0
    numbers[:, :count] += np.eye(count) * 5
    parts = []
    for *row, value in numbers:
        terms = zip(row, unit.tolist(), names, strict=True)
        text = " + ".join(f"{a * size}*{name}" for a, size, name in terms)
        parts.append(f"{text.replace('+ -', '- ')} = {value}")
    return ", ".join(parts), numbers


def test_random_problems_agree_with_statsmodels() -> None:
    for seed in range(60):
        random = np.random.default_rng(seed)
        n, p, targets = random.integers(15, 80), random.integers(1, 6), random.integers(1, 3)
        x = random.normal(size=(n, p)) + random.integers(0, 3)
        y = 1 + x @ random.normal(size=(p, targets)) + random.normal(size=(n, targets))
        weight = random.uniform(0.2, 3, n) if seed % 3 == 0 else None
        intercept, kind = seed % 4 != 1, "HC3" if seed % 4 == 2 else "nonrobust"
        scale = 2.0 ** random.integers(-13, 14, p)
        frame = pd.DataFrame(x * scale, columns=[f"a b[{j}]" for j in range(p)])
        names = [*["intercept"][:intercept], *frame.columns]
        unit = np.array([*[1.0][:intercept], *scale])
        text, numbers = random_hypotheses(random, names, unit)
        design = api.add_constant(x) if intercept else x
        weights = 1.0 if weight is None else weight
        models = [api.WLS(y[:, k], design, weights) for k in range(targets)]
        results = [model.fit(cov_type=kind) for model in models]
        fit = least_squares(frame, y, weight, intercept=intercept)
        if kind == "HC3":
            fit = fit.robust("HC3")
        test = fit.test(text)
        for k, result in enumerate(results):
            joint = result.f_test((numbers[:, :-1], numbers[:, -1]))
            single = result.t_test((numbers[:, :-1], numbers[:, -1]))
            compare(test.f[k], joint.fvalue)
            compare(test.f_p[k], joint.pvalue)
            compare(test.estimate[:, k], single.effect)
            compare(test.standard_error[:, k], single.sd)
            compare(test.t[:, k], single.tvalue)
            compare(test.p[:, k], single.pvalue)
            compare(torch.stack((test.low[:, k], test.high[:, k]), 1), single.conf_int())
            assert test.df_residual == joint.df_denom


def compare(actual: torch.Tensor, expected: object) -> None:
    np.testing.assert_allclose(actual.squeeze(), np.squeeze(expected), rtol=1e-9, atol=1e-12)


def residual_sum(x: list[list[Fraction]], y: list[Fraction]) -> Fraction:
    """Return the sum of squared residuals of y on the columns of x, without rounding."""
    table = [[*row, value] for row, value in zip(x, y, strict=True)]
    size = len(table[0])
    gram = [[sum(r[i] * r[j] for r in table) for j in range(size)] for i in range(size)]
    for k in range(size - 1):
        for i in range(k + 1, size):
            factor = gram[i][k] / gram[k][k]
            gram[i] = [a - factor * b for a, b in zip(gram[i], gram[k], strict=True)]
    return Fraction(gram[-1][-1])


@pytest.mark.parametrize("text", ["GNPDEFL = 0, GNP = 2*POP", "intercept + 1951*YEAR = 65"])
def test_longley_agrees_with_exact_fractions(text: str) -> None:
    data = longley.load_pandas()
    x = [[Fraction(1), *map(Fraction, row)] for row in data.exog.to_numpy().tolist()]
    y = [Fraction(value) for value in data.endog.tolist()]
    if text.startswith("intercept"):
        # b_0 = 65 - 1951 b_6
        restricted = [[*row[1:6], row[6] - 1951] for row in x]
        offset, count = [value - 65 for value in y], 1
    else:
        # b_2 = 2 b_5, and GNPDEFL is left out
        names = ["1", *data.exog.columns]
        gnp, pop = names.index("GNP"), names.index("POP")
        rest = [j for j in range(7) if names[j] not in ("GNPDEFL", "GNP", "POP")]
        restricted = [[*(row[j] for j in rest), 2 * row[gnp] + row[pop]] for row in x]
        offset, count = y, 2
    full = residual_sum(x, y)
    expected = (residual_sum(restricted, offset) - full) / count / (full / (len(y) - 7))
    test = least_squares(data.exog, data.endog, accuracy="exact").test(text)
    assert float(test.f) == pytest.approx(float(expected), rel=1e-11)
    assert float(test.f_p) == pytest.approx(stats.f.sf(float(expected), count, 9), rel=1e-10)


def test_the_joint_test_of_all_slopes_is_f_of_the_table() -> None:
    data = longley.load_pandas()
    fit = least_squares(data.exog, data.endog)
    test = fit.test(", ".join(f"{name} = 0" for name in data.exog))
    assert float(test.f) == pytest.approx(fit.statistics["f"], rel=1e-12)
    torch.testing.assert_close(test.t, fit.t[1:], rtol=1e-12, atol=0)


def test_hypotheses_keep_their_meaning_whatever_the_names() -> None:
    random = np.random.default_rng(5)
    names = ["city[St. Louis]", "a", "a - b", "bs(x, df=4)[1]", "2"]
    x = pd.DataFrame(random.normal(size=(30, 5)), columns=names)
    fit = least_squares(x, random.normal(size=30))
    b = dict(zip(["intercept", *names], fit.estimate.tolist(), strict=True))
    for text, normal, estimate in [
        ("city[St. Louis]=a", "city[St. Louis] - a = 0", b["city[St. Louis]"] - b["a"]),
        ("a - b = 1", "a - b = 1", b["a - b"]),
        ("1 = a*2 + 0.5*a", "2.5*a = 1", 2.5 * b["a"]),
        ("-bs(x, df=4)[1] = 1e-3", "-bs(x, df=4)[1] = 0.001", -b["bs(x, df=4)[1]"]),
        ("1*2 + 2*2 = 2.0", "3*2 = 2", 3 * b["2"]),
        ("intercept = a", "intercept - a = 0", b["intercept"] - b["a"]),
    ]:
        test = fit.test(text)
        assert test.hypotheses == [normal]
        assert float(test.estimate) == pytest.approx(estimate, rel=1e-12)
    with pytest.raises(InputError, match="2 is a number and a column; type 1\\*2 for the column"):
        fit.test("a = 2")
    assert fit.test("a = a - b = 0").hypotheses == ["a - a - b = 0", "a - b = 0"]


def test_a_test_shows_its_numbers_in_text_frame_and_dict() -> None:
    random = np.random.default_rng(6)
    x, y = random.normal(size=(20, 2)), random.normal(size=(20, 2))
    test = least_squares(x, y).test("x1 = x2, x2 = 1")
    frame = test.to_frame()
    assert list(frame["hypothesis"]) == ["x1 - x2 = 0", "x2 = 1"] * 2
    assert list(frame["target"]) == ["y1", "y1", "y2", "y2"]
    np.testing.assert_array_equal(frame["t"], test.t.T.flatten())
    assert json.loads(json.dumps(test.to_dict()))["f"] == test.f.tolist()
    text = test.summary()
    assert text.startswith("Hypotheses: y1, y2 on x1, x2\n")
    assert "F test, classical errors" in text


def test_blanks_and_quotes_of_a_term_are_free() -> None:
    names = ["I(a ** 2)", "C(city, Treatment('St. Ives'))[T.Oslo]", "a b", "ab"]
    random = np.random.default_rng(0)
    x = pd.DataFrame(random.normal(size=(20, 4)), columns=names)
    fit = least_squares(x, random.normal(size=20))
    text = """2*I(a**2) = C( city,Treatment("St. Ives") )[T.Oslo], a b = ab"""
    assert fit.test(text).hypotheses == [f"2*{names[0]} - {names[1]} = 0", "a b - ab = 0"]
    with pytest.raises(InputError, match=r"no term 'I\(a \+ 2\)'; did you mean"):
        fit.test("I(a + 2) = 0")
    with pytest.raises(InputError, match="no term 'a'"):
        fit.test("a  c = 0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x1", "an = is missing after 'x1'"),
        ("x1 = ", "a term is missing after 'x1 ='"),
        ("", "a term is missing at its start"),
        ("x1 = 0,", "a term is missing after 'x1 = 0,'"),
        ("x1 x2 = 0", "an = is missing after 'x1'"),
        ("x1 = 0 x2", "an operator or a comma is missing after 'x1 = 0'"),
        ("x1 = x9", "no term 'x9'; it has intercept, x1"),
        ("x1 = x1", "names no coefficient"),
        ("1 = 1", "names no coefficient"),
        ("x1 = 1e999", "type a number that float64 holds"),
        ("x1 = 1e-9999999999", "type a number that float64 holds"),
        ("x1 + 0.1*x2 = 0, 3*x1 + 0.3*x2 = 0", "3\\*x1 \\+ 0.3\\*x2 = 0 follows from"),
        ("x1 = x2, x2 = 1, x1 = 2", "x1 = 2 contradicts x1 - x2 = 0, x2 = 1"),
        ("x3 = 0", "x3 was left out of the fit"),
    ],
)
def test_what_is_no_hypothesis_is_refused_in_one_line(text: str, message: str) -> None:
    x = torch.randn(20, 2, dtype=torch.float64)
    fit = least_squares(torch.cat((x, x.sum(1, keepdim=True)), 1), torch.randn(20).double())
    with pytest.raises(InputError, match=message) as caught:
        fit.test(text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("hypotheses: ")


def test_fits_without_standard_errors_have_no_tests() -> None:
    x, y = torch.randn(3, 2).double(), torch.randn(3).double()
    with pytest.raises(InputError, match="no residual degree of freedom"):
        least_squares(x, y).test("x1 = 0")
    with pytest.raises(InputError, match="ridge"):
        least_squares(x, y, ridge=1.0).test("x1 = 0")
    perfect = least_squares(torch.eye(4)[:, :2], torch.tensor([3.0, 1.0, 0.0, 0.0])).test("x1 = x2")
    assert float(perfect.f) == float(perfect.t) == torch.inf
    assert float(perfect.f_p) == 0.0


def test_more_hypotheses_than_the_covariance_has_dimensions_are_refused() -> None:
    random = np.random.default_rng(7)
    x, y = random.normal(size=(30, 3)), random.normal(size=30)
    fit = least_squares(x, y).robust("cluster", cluster=np.arange(30) % 3)
    fit.test("x1 = 0, x2 = 0")
    with pytest.raises(InputError, match="singular; there are 3 clusters; test fewer"):
        fit.test("x1 = 0, x2 = 0, x3 = 0")


def test_chi_squared_tails_agree_with_scipy() -> None:
    for df in (1, 2, 5, 50, 300):
        p = np.array([0.999, 0.9, 0.5, 0.1, 1e-3, 1e-30, 1e-250])
        value = stats.chi2.isf(p, df)
        tail = chi_squared_tail(torch.tensor(value), df)
        np.testing.assert_allclose(tail, stats.chi2.sf(value, df), rtol=1e-11)
    assert chi_squared_tail(torch.tensor([torch.nan]), 2).isnan().all()
