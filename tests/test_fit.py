"""least_squares(x, y) on tensors, without a Trainer."""

import dataclasses
import math
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as api
import torch
from torch import Tensor

from linreg_lightning import Batch, Fit, InputError, least_squares
from linreg_lightning.algebra import ExactGram, Float64Gram

ACCURACIES = ["auto", "exact", "float64"]
TABLE = ["coefficients", "intercept", "estimate", "standard_error", "t", "p", "low", "high"]


def problem(rows: int = 150, targets: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(3)
    x = torch.randn(rows, 4).double() * torch.tensor([1.0, 100.0, 0.01, 5.0]) + 2
    y = 7 + x @ torch.randn(4, targets).double() + torch.randn(rows, targets).double()
    return x, y, torch.rand(rows).double() + 0.05


@pytest.mark.parametrize("accuracy", ACCURACIES)
def test_known_coefficients_are_recovered(accuracy: Any) -> None:
    x, _, _ = problem()
    truth = torch.tensor([[1.0, -2.0], [0.5, 3.0], [40.0, 0.0], [0.0, 1.0]]).double()
    fit = least_squares(x, x @ truth + torch.tensor([10.0, -4.0]), accuracy=accuracy)
    torch.testing.assert_close(fit.coefficients, truth, rtol=0, atol=1e-9)
    torch.testing.assert_close(fit.intercept, torch.tensor([10.0, -4.0]).double())
    noisy = least_squares(x, x @ truth + 0.1 * torch.randn(150, 2), accuracy=accuracy)
    error = (noisy.estimate[1:] - truth).abs()
    assert bool((error < 6 * noisy.standard_error[1:]).all())


@pytest.mark.parametrize("accuracy", ACCURACIES)
@pytest.mark.parametrize("intercept", [True, False])
def test_coefficients_agree_with_lstsq(accuracy: Any, intercept: bool) -> None:
    x, y, _ = problem()
    fit = least_squares(x, y, intercept=intercept, accuracy=accuracy)
    design = torch.cat([torch.ones(150, 1).double(), x], 1) if intercept else x
    expected = torch.linalg.lstsq(design, y).solution
    torch.testing.assert_close(fit.estimate, expected, rtol=1e-9, atol=0)
    slopes = fit.estimate[1:] if intercept else fit.estimate
    assert torch.equal(fit.coefficients, slopes)
    assert torch.equal(fit.intercept, fit.estimate[0] if intercept else torch.zeros(2).double())
    torch.testing.assert_close(fit.predict(x), design @ expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_every_number_agrees_with_statsmodels(intercept: bool, weighted: bool) -> None:
    x, y, weight = problem()
    fit = least_squares(x, y, weight if weighted else None, intercept=intercept, confidence=0.9)
    design = api.add_constant(x.numpy()) if intercept else x.numpy()
    weights = weight.numpy() if weighted else np.ones(150)
    for k in range(2):
        result = api.WLS(y[:, k].numpy(), design, weights).fit()
        for name, value in {
            "estimate": result.params,
            "standard_error": result.bse,
            "t": result.tvalues,
            "p": result.pvalues,
            "low": result.conf_int(0.1)[:, 0],
            "high": result.conf_int(0.1)[:, 1],
        }.items():
            ours = getattr(fit, name)[:, k]
            np.testing.assert_allclose(ours, value, rtol=1e-7, atol=1e-290, err_msg=name)
        for name, value in {
            "r2": result.rsquared,
            "r2_adjusted": result.rsquared_adj,
            "residual_sd": math.sqrt(result.mse_resid),
            "f": result.fvalue,
            "log_likelihood": result.llf,
            "aic": result.aic,
            "bic": result.bic,
        }.items():
            assert fit.statistics[name][k] == pytest.approx(value, rel=1e-9), name
        if weighted:
            continue  # the intervals of a new row differ, because ours gives the row weight 1
        frame = result.get_prediction(design[:9]).summary_frame(alpha=0.1)
        prediction = fit.prediction(x[:9])
        for name, column in {
            "mean": "mean",
            "mean_error": "mean_se",
            "mean_low": "mean_ci_lower",
            "row_high": "obs_ci_upper",
        }.items():
            ours = getattr(prediction, name)[:, k]
            np.testing.assert_allclose(ours, frame[column], rtol=1e-9, err_msg=name)
    assert fit.statistics["df_residual"] == 150 - 4 - intercept == 150 - fit.rank


@pytest.mark.parametrize("accuracy", ACCURACIES)
@pytest.mark.parametrize("intercept", [True, False])
def test_ridge_agrees_with_the_closed_form_and_gives_no_standard_errors(
    accuracy: Any, intercept: bool
) -> None:
    x, y, weight = problem()
    fit = least_squares(x, y, weight, intercept=intercept, ridge=2.5, accuracy=accuracy)
    mean_x, mean_y = weight @ x / weight.sum(), weight @ y / weight.sum()
    a, b = (x - mean_x, y - mean_y) if intercept else (x, y)
    penalised = a.T @ (weight[:, None] * a) + 2.5 * torch.eye(4).double()
    expected = torch.linalg.solve(penalised, a.T @ (weight[:, None] * b))
    torch.testing.assert_close(fit.coefficients, expected, rtol=1e-8, atol=0)
    if intercept:
        torch.testing.assert_close(fit.intercept, mean_y - mean_x @ expected, rtol=1e-8, atol=0)
    assert bool(fit.standard_error.isnan().all())


def test_one_dimensional_y_gives_results_without_the_target_dimension() -> None:
    x, y, weight = problem(targets=1)
    two, one = least_squares(x, y, weight), least_squares(x, y[:, 0], weight)
    for name in TABLE:
        assert torch.equal(getattr(one, name), getattr(two, name)[..., 0]), name
    assert one.statistics == two.statistics
    assert one.predict(x).shape == (150,)
    assert torch.equal(one.predict(x), two.predict(x)[:, 0])
    for a, b in zip(one.prediction(x), two.prediction(x), strict=True):
        assert torch.equal(a, b[:, 0])
    # The difference does not broadcast to (rows, rows).
    assert (y[:, 0] - one.predict(x)).shape == (150,)


def test_arrays_frames_lists_and_whole_numbers_give_the_same_fit() -> None:
    x = torch.randint(-50, 50, (30, 2))
    y = torch.randn(30).double()
    expected = least_squares(x.double(), y)
    for given in (x, x.numpy(), x.tolist(), pd.DataFrame(x.numpy()), x.float(), x.T.clone().T):
        fit = least_squares(given, y.tolist())
        assert torch.equal(fit.estimate, expected.estimate)
        assert torch.equal(fit.predict(given), expected.predict(x))
    frame = pd.DataFrame({"a": y.numpy()})
    assert torch.equal(least_squares(x, frame).estimate, expected.estimate[:, None])
    assert torch.equal(least_squares(x, frame["a"]).estimate, expected.estimate)
    tenths = [[0.1], [0.2], [0.4]]  # float32 would lose digits
    assert torch.equal(least_squares(tenths, tenths).coefficients, torch.ones(1, 1).double())
    leaf = x.double().requires_grad_()
    assert torch.equal(least_squares(leaf, y).estimate, expected.estimate)


def test_merged_gram_matrices_give_the_fit_of_all_rows() -> None:
    x, y, weight = problem()
    whole = least_squares(x, y, weight, ridge=0.5, accuracy="exact")
    gram = ExactGram(4, 2)
    for rows in torch.arange(150).split(40):
        part = ExactGram(4, 2)
        part.update(Batch(x[rows], y[rows], weight[rows]))
        gram.merge(part)
    merged = Fit.from_gram(gram, ridge=0.5)
    for name in TABLE:
        torch.testing.assert_close(
            getattr(merged, name), getattr(whole, name), rtol=0, atol=0, equal_nan=True
        )


def test_exact_gives_the_same_bits_for_any_order_of_rows() -> None:
    x, y, _ = problem()
    order = torch.randperm(150)
    a, b = (least_squares(*rows, accuracy="exact") for rows in ((x, y), (x[order], y[order])))
    assert all(torch.equal(getattr(a, name), getattr(b, name)) for name in TABLE)
    assert a.exact


def test_auto_uses_float64_for_many_rows_but_exact_for_ill_conditioned_columns() -> None:
    x = torch.randn(300_000, 3).double()
    y = x.sum(1) + torch.randn(300_000).double()
    assert least_squares(x[:1000], y[:1000]).accuracy == "exact"
    well = least_squares(x, y)
    assert well.accuracy == "float64"
    assert well.precise
    x[:, 2] = x[:, 1] + 1e-6 * x[:, 2]
    ill = least_squares(x, y)
    assert ill.accuracy == "exact"
    with pytest.warns(UserWarning, match="Only . digits of the coefficients are safe in float64"):
        rough = least_squares(x, y, accuracy="float64")
    assert not rough.precise
    assert rough.digits < 8 < ill.digits


# Unusual rows and columns


def test_one_row_fits_only_the_intercept() -> None:
    with pytest.warns(UserWarning, match="Left out, as linear combinations.*: x1, x2"):
        fit = least_squares([[1.0, 2.0]], [5.0])
    assert (float(fit.intercept), fit.rank, fit.collinear) == (5.0, 1, (0, 1))
    assert bool(fit.coefficients.isnan().all())
    assert math.isnan(float(fit.standard_error[0]))
    assert float(fit.predict([[9.0, 9.0]])) == 5.0


def test_one_column_or_no_column_can_be_fitted() -> None:
    fit = least_squares([[0.0], [1.0], [2.0]], [1.0, 2.0, 6.0])
    torch.testing.assert_close(fit.estimate, torch.tensor([0.5, 2.5]).double())
    mean = least_squares(torch.empty(3, 0), [1.0, 2.0, 6.0])
    assert (float(mean.intercept), mean.rank, mean.coefficients.shape) == (3.0, 1, (0,))


def test_a_constant_column_is_left_out_only_if_there_is_an_intercept() -> None:
    x, y, _ = problem()
    x[:, 1] = 3.0
    with pytest.warns(UserWarning, match="Left out.*: x2$"):
        fit = least_squares(x, y)
    assert fit.collinear == (1,)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = least_squares(x, y, intercept=False)
    assert plain.collinear == ()
    torch.testing.assert_close(plain.coefficients[1] * 3, fit.intercept, rtol=1e-9, atol=0)


def test_collinear_columns_are_left_out_and_named() -> None:
    x, y, _ = problem()
    both = torch.cat([x, x[:, :1] - x[:, 1:2]], 1)
    with pytest.warns(UserWarning, match="Left out.*: x5$"):
        fit = least_squares(both, y)
    expected = least_squares(x, y)
    assert (fit.collinear, fit.rank) == ((4,), 5)
    torch.testing.assert_close(fit.estimate[:5], expected.estimate, rtol=1e-12, atol=0)
    for name in ("estimate", "standard_error", "t", "p", "low", "high"):
        assert bool(getattr(fit, name)[5].isnan().all())
    torch.testing.assert_close(fit.predict(both), expected.predict(x))
    (note,) = fit.notes(["a", "b", "c", "d", "e"])
    assert note == ("Left out, as linear combinations of earlier columns: e", True)


def test_a_perfect_fit_gives_no_warning() -> None:
    x, _, _ = problem()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = least_squares(x, x[:, 0])
    (note,) = fit.notes()
    assert "essentially perfect fit" in note.message
    assert not note.is_warning
    assert bool((fit.standard_error == 0).all())


def test_rows_of_weight_0_can_hold_nan() -> None:
    x, y, weight = problem()
    weight[::3] = 0
    expected = least_squares(x[weight > 0], y[weight > 0], weight[weight > 0])
    x[::3] = math.nan
    fit = least_squares(x, y, weight)
    assert torch.equal(fit.estimate, expected.estimate)
    assert fit.statistics == expected.statistics


def test_a_fit_is_immutable() -> None:
    fit = least_squares([[0.0], [1.0], [2.0]], [1.0, 2.0, 6.0])
    with pytest.raises(dataclasses.FrozenInstanceError):
        fit.rank = 7  # type: ignore[misc]


# Invalid input


X, Y = [[1.0], [2.0], [3.0]], [1.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ((Y, Y), {}, r"x: a shape of \(3,\) was given; \(rows, features\) is needed"),
        ((X, Y[:2]), {}, r"y: a shape of \(2, 1\) was given beside x of \(3, 1\)"),
        ((X, [[X]]), {}, "y: a shape of"),
        ((X, Y, Y[:2]), {}, r"weight: a shape of \(2,\) was given"),
        ((X, Y, X), {}, r"weight: a shape of \(3, 1\) was given"),
        ((X, [1.0, math.nan, 2.0]), {}, "column 1 of y: row 2 holds nan"),
        (([[1.0], [math.inf], [2.0]], Y), {}, "column 1 of x: row 2 holds inf"),
        ((X, Y, [1.0, -1.0, 1.0]), {}, "weight: -1 was given in row 2"),
        ((X, Y, [0.0, 0.0, 0.0]), {}, "rows: none with a weight above 0 was given"),
        ((torch.empty(0, 1), []), {}, "rows: none with a weight above 0 was given"),
        ((torch.empty(0, 1), [], []), {}, "rows: none with a weight above 0 was given"),
        ((X, ["a", "b", "c"]), {}, "y: it has 'a' in column '1', row 1, which is no number"),
        (
            (pd.DataFrame({"a": ["u", "v", "w"]}), Y),
            {},
            "x: it has 'u' in column 'a', row 1, which is no number",
        ),
        (([[1.0], [2.0, 3.0]], Y), {}, "x: a list that holds no table of numbers"),
        ((None, Y), {}, r"x: a shape of \(\) was given"),
        ((torch.ones(3, 1).numpy() * 1j, Y), {}, "x: complex numbers were given; give real ones"),
        ((X, [2**53 + 1, 1, 2]), {}, "y: 9007199254740993 in column '1', row 1, is a whole number"),
        ((X, np.ma.masked_equal([2**53 + 1, 1, 2], 1)), {}, "y: 9007199254740993 in column '1'"),
        ((np.array(X).astype(">c16"), Y), {}, "x: complex numbers were given; give real ones"),
        ((X, [10**400, 1, 2]), {}, "y: a list that holds no table of numbers was given"),
        ((np.array([["3"], [1], [2]], dtype=object), Y), {}, "x: it has '3' in column '1', row 1"),
        (([[1], [2**70 + 1], [3]], Y), {}, "x: 1180591620717411303425 in column '1', row 2"),
        ((torch.ones(3, 1) * 1j, Y), {}, "x: complex numbers were given; give real ones"),
        ((X, Y), {"accuracy": "best"}, "accuracy: 'best' was given; type auto, exact or float64"),
        ((X, Y), {"ridge": -1.0}, "ridge: -1.0 was given"),
        ((X, Y), {"ridge": math.nan}, "ridge: nan was given"),
        ((X, Y), {"confidence": 95}, "confidence: 95 was given"),
    ],
)
def test_invalid_arguments_are_refused_with_a_message(
    args: Any, options: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        least_squares(*args, **options)


def test_rows_to_predict_must_have_the_columns_of_the_fit() -> None:
    fit = least_squares(X, Y)
    for method in (fit.predict, fit.prediction):
        with pytest.raises(InputError, match=r"x: a shape of \(1, 2\) was given; \(rows, 1\)"):
            method([[1.0, 2.0]])
    with pytest.raises(InputError, match="rows: none with a weight above 0"):
        Fit.from_gram(Float64Gram(2))


def test_table_and_statistics_are_computed_once_and_when_they_are_asked_for() -> None:
    fit = least_squares([[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 2.0, 4.0])
    assert not {"_table", "statistics"} & vars(fit).keys()
    assert fit.p is fit.p
    assert fit.statistics is fit.statistics
