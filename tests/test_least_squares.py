"""LeastSquares under the Trainer and on the command line."""

import json
import logging
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as api
import torch
from conftest import CONFIGS, estimates
from hypothesis import HealthCheck, given, settings, strategies as st
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, LearningRateMonitor, ModelCheckpoint
from nist import NIST, Reference
from third_party.small import Recorder
from torch.utils.data import DataLoader, TensorDataset

from linreg_lightning import (
    InputError,
    LeastSquares,
    RegularizedLeastSquares,
    SyntheticData,
    TabularData,
    TensorData,
    least_squares,
)
from linreg_lightning.algebra.least_squares import EXACT_LIMIT

Linreg = Callable[..., dict[str, Any]]
MakeTrainer = Callable[..., Trainer]


def digits(value: float, truth: float) -> float:
    if value == truth:
        return math.inf
    return -math.log10(abs(value - truth) / (abs(truth) or 1.0))


def problem(rows: int = 200, targets: int = 1, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return x, whose columns differ in scale, and y; each column and noise add variance 1 to y."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(rows, 3, generator=generator, dtype=torch.float64)
    noise = torch.randn(rows, targets, generator=generator, dtype=torch.float64)
    return z * torch.tensor([1, 1e3, 1e-3]), 1 + z.sum(dim=1, keepdim=True) + noise


def fitted(make: MakeTrainer, x: Any, y: Any, weight: Any = None, **options: Any) -> LeastSquares:
    model = LeastSquares(**{key: value for key, value in options.items() if key != "batch_size"})
    data = TensorData(x, y, weight, batch_size=options.get("batch_size"))
    make(max_epochs=1).fit(model, data)
    return model


def numbers(model: LeastSquares) -> torch.Tensor:
    rows = [[v for v in row.values() if isinstance(v, float)] for row in model.coefficients()]
    return torch.tensor(rows, dtype=torch.float64)


# NIST's certified datasets


@pytest.mark.parametrize("name", NIST)
def test_the_command_reaches_certified_digits_from_csv(name: str, command: Linreg) -> None:
    reference = NIST[name]
    Path("nist.csv").write_text(reference.table)
    answer = command(
        "fit --model LeastSquares --model.accuracy exact --data TabularData",
        "--data.path nist.csv --data.target y --data.batch_size 7",
        f"--model.intercept {str(reference.intercept).lower()} --trainer.logger false",
    )
    check_certified_digits(answer, reference)
    assert answer["rows"] == len(reference.table.split()) - 1


@pytest.mark.parametrize("name", NIST)
@pytest.mark.parametrize(("accuracy", "batch_size"), [("exact", 1), ("exact", None), ("auto", 7)])
def test_each_accuracy_and_batch_size_reaches_certified_digits(
    name: str, accuracy: str, batch_size: int | None, trainer: MakeTrainer
) -> None:
    reference = NIST[name]
    Path("nist.csv").write_text(reference.table)
    model = LeastSquares(accuracy, intercept=reference.intercept)
    trainer(max_epochs=1).fit(model, TabularData("nist.csv", "y", batch_size=batch_size))
    check_certified_digits(
        {"coefficients": model.coefficients(), "fit": model.fit_statistics}, reference
    )


def check_certified_digits(answer: dict[str, Any], reference: Reference) -> None:
    rows, least = answer["coefficients"], reference.least_digits
    for row, estimate, error in zip(rows, reference.estimates, reference.std_errors, strict=True):
        assert digits(row["estimate"], estimate) >= least
        assert digits(row["std_error"], error) >= min(least, 12) or error == 0
    assert digits(answer["fit"]["residual_sd"], reference.residual_sd) >= min(least, 13)
    assert digits(answer["fit"]["r2"], reference.r2) >= min(least, 13)


# The same bits for any order and any batches


@given(
    rows=st.integers(4, 60),
    exponents=st.lists(st.integers(-30, 30), min_size=3, max_size=3),
    batch_size=st.none() | st.sampled_from([1, 2, 7, 33]),
    weighted=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_exact_gives_the_same_bits_for_any_order_and_batches(
    rows: int,
    exponents: list[int],
    batch_size: int | None,
    weighted: bool,
    seed: int,
    trainer: MakeTrainer,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 3, generator=generator, dtype=torch.float64)
    x = x * 2.0 ** torch.tensor(exponents) + torch.randn(3, generator=generator)
    y = torch.randn(rows, generator=generator, dtype=torch.float64)
    weight = torch.rand(rows, generator=generator, dtype=torch.float64) if weighted else None
    order = torch.randperm(rows, generator=generator)
    one = fitted(trainer, x, y, weight, accuracy="exact")
    shuffled = None if weight is None else weight[order]
    other = fitted(trainer, x[order], y[order], shuffled, accuracy="exact", batch_size=batch_size)
    # Compare as text, because NaN equals NaN there.
    assert repr(one.coefficients()) == repr(other.coefficients())
    assert repr(one.fit_statistics) == repr(other.fit_statistics)


# Independent references


@pytest.mark.parametrize("accuracy", ["exact", "auto", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
def test_every_number_of_the_table_agrees_with_statsmodels(
    accuracy: str, weighted: bool, trainer: MakeTrainer
) -> None:
    x, y = problem()
    weight = torch.rand(200, dtype=torch.float64) + 0.1
    model = fitted(trainer, x, y, weight if weighted else None, accuracy=accuracy, batch_size=64)
    result = api.WLS(
        y.numpy(), api.add_constant(x.numpy()), weight.numpy() if weighted else np.ones(200)
    ).fit()
    expected = np.column_stack(
        [result.params, result.bse, result.tvalues, result.pvalues, result.conf_int()]
    )
    ours = numbers(model).numpy()
    p = 3  # the column of p; p = 1e-30 has a hundred times the relative error of t
    np.testing.assert_allclose(ours[:, p], expected[:, p], rtol=1e-6, atol=1e-300)
    np.testing.assert_allclose(np.delete(ours, p, 1), np.delete(expected, p, 1), rtol=1e-8)
    fit = model.fit_statistics
    for name, value in {
        "rows": 200,
        "rank": 4,
        "df_residual": result.df_resid,
        "residual_sd": math.sqrt(result.mse_resid),
        "r2": result.rsquared,
        "r2_adjusted": result.rsquared_adj,
        "f": result.fvalue,
        "f_p": result.f_pvalue,
        "log_likelihood": result.llf,
        "aic": result.aic,
        "bic": result.bic,
    }.items():
        np.testing.assert_allclose(fit[name], value, rtol=1e-8, err_msg=name)
    residual = y - model(x)
    total = weight.sum() if weighted else 200
    mean_square = ((weight if weighted else 1) * residual.squeeze(1) ** 2).sum() / total
    assert fit["loss"] == pytest.approx(mean_square.item(), rel=1e-10)


@pytest.mark.parametrize("ones", [0, 2])
def test_a_column_of_ones_is_the_intercept_at_any_position(ones: int, trainer: MakeTrainer) -> None:
    x, y = problem()
    plain = fitted(trainer, x, y)
    columns = list(x.T)
    columns.insert(ones, torch.ones(200, dtype=torch.float64))
    names = ["x1", "x2", "x3"]
    names.insert(ones, "intercept")
    model = LeastSquares()
    trainer(max_epochs=1).fit(model, TensorData(torch.stack(columns, 1), y, feature_names=names))
    assert [row["name"] for row in model.coefficients()] == names
    by_name = {row["name"]: row for row in model.coefficients()}
    for row in plain.coefficients():
        assert by_name[row["name"]] == row
    assert model.fit_statistics == plain.fit_statistics
    torch.testing.assert_close(model(torch.stack(columns, 1)), plain(x))


def test_float32_rows_are_fitted_in_float64(trainer: MakeTrainer) -> None:
    x, y = (tensor.float() for tensor in problem(2000))
    exact = fitted(trainer, x.double(), y.double(), accuracy="exact")
    for accuracy in ("exact", "float64"):
        model = fitted(trainer, x, y, accuracy=accuracy)
        torch.testing.assert_close(numbers(model), numbers(exact), rtol=1e-10, atol=0)
        assert model(x).dtype == torch.float64


def test_several_targets_give_the_same_fits_as_each_target_alone(trainer: MakeTrainer) -> None:
    x, y = problem(targets=2)
    y[:, 1] *= 3
    both = fitted(trainer, x, y)
    assert len(both.coefficients()) == 8
    for k in range(2):
        alone = fitted(trainer, x, y[:, [k]])
        ours = numbers(both)[4 * k : 4 * k + 4]
        torch.testing.assert_close(ours, numbers(alone), rtol=1e-12, atol=0)
        assert both.fit_statistics["r2"][k] == pytest.approx(alone.fit_statistics["r2"], rel=1e-14)
    assert "r2" in both.summary()


def test_errors_and_intervals_of_predictions_agree_with_statsmodels(trainer: MakeTrainer) -> None:
    x, y = problem()
    model = fitted(trainer, x, y, confidence=0.9)
    new, _ = problem(20, seed=5)
    found = model.prediction(new)
    result = api.OLS(y.numpy(), api.add_constant(x.numpy())).fit()
    frame = result.get_prediction(api.add_constant(new.numpy())).summary_frame(alpha=0.1)
    for name, column in {
        "mean": "mean",
        "mean_error": "mean_se",
        "mean_low": "mean_ci_lower",
        "mean_high": "mean_ci_upper",
        "row_low": "obs_ci_lower",
        "row_high": "obs_ci_upper",
    }.items():
        ours = getattr(found, name).squeeze(1).numpy()
        np.testing.assert_allclose(ours, frame[column].to_numpy(), rtol=1e-9)
    torch.testing.assert_close(found.mean, model(new))


def test_ridge_does_not_penalize_the_intercept_and_gives_no_standard_errors(
    trainer: MakeTrainer,
) -> None:
    x, y = problem()
    model = fitted(trainer, x, y, ridge=50.0)
    centred, level = x - x.mean(dim=0), y - y.mean()
    gram = centred.T @ centred + 50 * torch.eye(3, dtype=torch.float64)
    expected = torch.linalg.solve(gram, centred.T @ level).flatten()
    ours = torch.tensor([row["estimate"] for row in model.coefficients()], dtype=torch.float64)
    torch.testing.assert_close(ours[1:], expected, rtol=1e-10, atol=0)
    intercept = y.mean() - x.mean(dim=0) @ expected
    torch.testing.assert_close(ours[0], intercept, rtol=1e-10, atol=0)
    assert all(math.isnan(row["std_error"]) for row in model.coefficients())


def test_a_plain_loader_of_pairs_can_be_fitted(trainer: MakeTrainer) -> None:
    x, y = problem()
    model = LeastSquares(in_features=3)
    trainer(max_epochs=1).fit(model, DataLoader(TensorDataset(x, y), batch_size=33))
    torch.testing.assert_close(numbers(model), numbers(fitted(trainer, x, y)))


def test_one_epoch_is_enough_and_validation_uses_its_solution(trainer: MakeTrainer) -> None:
    model, runner = LeastSquares("float64"), trainer(max_epochs=50)
    data = SyntheticData(batch_size=9)
    runner.fit(model, data)
    assert runner.current_epoch == 1
    _, y, _ = data.splits["val"]
    residual = y.double() - model(data.splits["val"].x)
    assert runner.callback_metrics["val_loss"].item() == pytest.approx(
        residual.square().mean().item()
    )


# The second pass


def test_auto_takes_a_second_pass_only_if_float64_gives_too_few_digits(
    trainer: MakeTrainer,
) -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(300_000, 4, generator=generator, dtype=torch.float64)
    y = z.sum(dim=1) + torch.randn(300_000, generator=generator, dtype=torch.float64)
    runner, well = trainer(max_epochs=1), LeastSquares()
    runner.fit(well, TensorData(z, y))
    assert runner.current_epoch == 1
    ill = z.clone()
    ill[:, 3] = ill[:, 2] + 1e-6 * ill[:, 3]
    runner, model = trainer(max_epochs=1), LeastSquares()
    runner.fit(model, TensorData(ill, y))
    assert runner.current_epoch == 2
    assert runner.max_epochs == 1
    exact = fitted(trainer, ill, y, accuracy="exact")
    assert torch.equal(numbers(model), numbers(exact))
    with pytest.warns(UserWarning, match="digits of the coefficients are safe in float64"):
        fitted(trainer, ill, y, accuracy="float64")


@pytest.mark.parametrize(
    ("name", "passes"), [("Longley", 1), ("Pontius", 2), ("Wampler1", 2), ("Filip", 2)]
)
def test_auto_reaches_certified_digits_with_many_rows(
    name: str, passes: int, trainer: MakeTrainer
) -> None:
    reference = NIST[name]
    rows = torch.tensor(
        [[float(v) for v in line.split(",")] for line in reference.table.split()[1:]],
        dtype=torch.float64,
    )
    times = EXACT_LIMIT // rows.numel() + 1  # more numbers than `auto` adds exactly
    many = rows.repeat(times, 1)
    runner, model = trainer(max_epochs=1), LeastSquares()
    runner.fit(model, TensorData(many[:, 1:], many[:, 0], batch_size=len(many) // 3))
    assert runner.current_epoch == passes
    least = min(8, reference.least_digits) if passes == 1 else reference.least_digits
    df, df_of_many = (len(r) - len(reference.estimates) for r in (rows, many))
    for row, estimate, error in zip(
        model.coefficients(), reference.estimates, reference.std_errors, strict=True
    ):
        assert digits(row["estimate"], estimate) >= least
        assert digits(row["std_error"], error * math.sqrt(df / df_of_many)) >= min(least, 12)
    assert digits(model.fit_statistics["r2"], reference.r2) >= min(least, 13)


def test_a_perfect_fit_is_reported_without_a_warning(
    trainer: MakeTrainer,
    recwarn: pytest.WarningsRecorder,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("lightning.pytorch"), "propagate", True)
    x, _ = problem()
    sentence = "An essentially perfect fit: residuals are no larger than "
    for accuracy, smallest in (
        ("float64", "float64 sees, 1e-8 of the target"),
        ("exact", "the rounding of the rows"),
    ):
        caplog.clear()
        with caplog.at_level("INFO", "lightning.pytorch.utilities.rank_zero"):
            model = fitted(trainer, x[:, 1:2] / 1e3, 2 + 3 * x[:, 1] / 1e3, accuracy=accuracy)
        assert [row["estimate"] for row in model.coefficients()] == pytest.approx([2, 3], rel=1e-9)
        assert f"{sentence}{smallest}; standard errors are given as 0." in caplog.text
    # Without residual degrees of freedom there are no residuals to report.
    caplog.clear()
    fitted(trainer, x[:2, :1], x[:2, 1], accuracy="float64")
    assert sentence not in caplog.text
    assert not [str(w.message) for w in recwarn if "residuals" in str(w.message)]


# Unusual columns and rows


@pytest.mark.parametrize("batch_size", [None, 10_000])
def test_auto_is_exact_for_few_rows_and_uses_float64_for_many(
    batch_size: int | None, trainer: MakeTrainer
) -> None:
    x, y = problem(300_000)
    x[:, 2] += 1e-3 * torch.arange(300_000) + 1e3
    for rows, accuracy in ((250_000, "exact"), (300_000, "float64")):
        runner, model = trainer(max_epochs=1), LeastSquares()
        data = TensorData(x[:rows], y[:rows], batch_size=batch_size, shuffle=False)
        runner.fit(model, data)
        assert runner.current_epoch == 1
        runner.save_checkpoint("few.ckpt")
        statistics = torch.load("few.ckpt", weights_only=True)["statistics"]
        assert statistics["done"]["accuracy"] == accuracy
        exact = numbers(fitted(trainer, x[:rows], y[:rows], accuracy="exact"))
        torch.testing.assert_close(numbers(model), exact, rtol=1e-9, atol=0)
    # The exact sums of a few new rows are merged with the earlier sums in float64.
    runner, model = trainer(max_epochs=1), LeastSquares()
    runner.fit(model, TensorData(x[:99], y[:99]), ckpt_path="few.ckpt")
    assert model.fit_statistics["rows"] == 300_099


def test_combinations_of_earlier_columns_are_named_and_left_out(trainer: MakeTrainer) -> None:
    x, y = problem()
    both = torch.cat([x, x[:, [0]] - 2 * x[:, [1]], torch.full((200, 1), 3.0).double()], dim=1)
    with pytest.warns(UserWarning, match="Left out, as linear combinations.*: x4, x5"):
        model = fitted(trainer, both, y)
    rows = numbers(model)
    assert rows[4:].isnan().all()
    expected = numbers(fitted(trainer, x, y))
    torch.testing.assert_close(rows[:4], expected, rtol=1e-12, atol=0)
    assert model.fit_statistics["rank"] == 4
    assert "NA" in model.summary()
    assert model(both).isfinite().all()


def test_with_fewer_rows_than_columns_a_warning_names_the_columns_left_out(
    trainer: MakeTrainer,
) -> None:
    x, y = problem(3)
    with pytest.warns(UserWarning, match="Left out, as linear combinations.*: x3"):
        model = fitted(trainer, x, y)
    torch.testing.assert_close(model(x), y, rtol=1e-9, atol=1e-9)
    assert numbers(model)[:, 1:].isnan().all()
    assert model.fit_statistics["df_residual"] == 0


def test_a_target_of_zeros_has_coefficients_of_0(trainer: MakeTrainer) -> None:
    x, y = torch.full((5, 1), 2.0).double(), torch.zeros(5).double()
    with pytest.warns(UserWarning, match="Left out, as linear combinations.*: x1"):
        model = fitted(trainer, x, y)
    assert model.coefficients()[0]["estimate"] == 0
    assert fitted(trainer, x[:, :0], y).coefficients()[0]["estimate"] == 0


def test_exact_warns_of_nearly_equal_columns(trainer: MakeTrainer) -> None:
    x, y = problem()
    near = torch.cat([x, x[:, [0]] * (1 + 1e-15 * torch.randn(200, 1).double())], dim=1)
    with pytest.warns(UserWarning, match=r"Only [01] digits of the coefficients|Left out"):
        fitted(trainer, near, y, accuracy="exact")


def test_a_constant_target_is_fitted_without_a_message(
    command: Linreg, recwarn: pytest.WarningsRecorder, capsys: pytest.CaptureFixture[str]
) -> None:
    x, _ = problem(30)
    lines = [f"{a},{b},0.1" for a, b in x[:, :2].tolist()]
    Path("constant.csv").write_text("\n".join(["a,b,y", *lines]))
    for accuracy in ("exact", "float64"):
        options = f"--model LeastSquares --model.accuracy {accuracy} --data TabularData"
        answer = command(
            f"fit {options} --data.path constant.csv --data.target y --figures true",
            "--trainer.logger false",
        )
        intercept, *slopes = answer["coefficients"]
        assert intercept["estimate"] == pytest.approx(0.1)
        for row in slopes:
            assert row["estimate"] == 0
            assert row["t"] is None or math.isnan(row["t"])
            assert row["p"] is None or math.isnan(row["p"])
        assert answer["fit"]["r2"] is None or math.isnan(answer["fit"]["r2"])
    assert not [str(w.message) for w in recwarn if "digits" in str(w.message)]
    assert "perfect fit" not in capsys.readouterr().out


def test_float32_rows_are_collinear_to_their_rounding(trainer: MakeTrainer) -> None:
    celsius = 15 + 10 * torch.randn(200, generator=torch.Generator().manual_seed(0))
    x = torch.stack([celsius, 1.8 * celsius + 32], 1)
    y = 2 * celsius + torch.randn(200, generator=torch.Generator().manual_seed(1))
    for rows in (x, x.numpy()):
        with pytest.warns(UserWarning, match="Left out, as linear combinations.*: x2"):
            model = fitted(trainer, rows, y, accuracy="exact", batch_size=30)
        model.trainer.save_checkpoint("one.ckpt")
        again = LeastSquares.load_from_checkpoint("one.ckpt")
        assert repr(again.coefficients()) == repr(model.coefficients())
        with pytest.warns(UserWarning, match="Left out.*: x2"):
            fit = least_squares(rows, y, accuracy="exact")
        assert fit.collinear == (1,)
    frame = pd.DataFrame(x.numpy()).assign(id=np.arange(200.0))  # a float64 column as well
    with pytest.warns(UserWarning, match="Left out.*: x2"):
        assert least_squares(frame, y).collinear == (1,)
    with pytest.raises(InputError, match="x: a shape of"):
        least_squares(frame["id"], y)


@pytest.mark.parametrize("source", ["parquet", "frame", "64-true"])
def test_the_type_in_which_rows_were_given_decides(source: str, trainer: MakeTrainer) -> None:
    celsius = 15 + 10 * torch.randn(200, generator=torch.Generator().manual_seed(0))
    columns = {"id": np.arange(200.0), "c": celsius.numpy(), "f": (1.8 * celsius + 32).numpy()}
    y = np.random.default_rng(0).normal(size=200)
    data: Any = TensorData(np.stack([columns["c"], columns["f"]], 1), y)
    if source == "parquet":
        frame = pd.DataFrame(columns | {"y": y, "kind": ["a", "b"] * 100})
        frame.to_parquet("rows.parquet")
        data = TabularData("rows.parquet", "y", batch_size=50)
    elif source == "frame":
        data = TensorData(pd.DataFrame(columns), y)
    precision = {"precision": source} if source == "64-true" else {}
    model = LeastSquares("exact")
    with pytest.warns(UserWarning, match="Left out, as linear combinations.*: (f|x2)$"):
        trainer(max_epochs=1, **precision).fit(model, data)
    assert [row["name"] for row in model.coefficients() if math.isnan(row["estimate"])] in (
        ["f"],
        ["x2"],
    )


@pytest.mark.parametrize(("degree", "few"), [(8, False), (12, True), (13, True)])
def test_exact_warns_below_eight_safe_digits(
    degree: int, few: bool, recwarn: pytest.WarningsRecorder
) -> None:
    u = -8.8 + 5.7 * torch.rand(40, 1, dtype=torch.float64)
    y = torch.randn(40, dtype=torch.float64)
    fit = least_squares(u ** torch.arange(1, degree + 1), y, accuracy="exact")
    messages = [str(w.message) for w in recwarn if "digits of the coefficients" in str(w.message)]
    assert (fit.digits < 8) is few
    expected = f"Only {int(fit.digits)} digits of the coefficients are safe, "
    assert [message[: len(expected)] for message in messages] == [expected] * few


def test_a_fit_without_batches_leaves_the_model_unchanged(trainer: MakeTrainer) -> None:
    x, y = problem()
    model = fitted(trainer, x, y)
    before = model.coefficients()
    trainer(limit_train_batches=0).fit(model, TensorData(x, y))
    assert model.coefficients() == before


def test_fast_dev_run_fits_one_batch(trainer: MakeTrainer) -> None:
    x, y = problem()
    model = LeastSquares()
    trainer(fast_dev_run=True).fit(model, TensorData(x, y, batch_size=50))
    assert model.fit_statistics["rows"] == 50


def test_an_intercept_alone_is_the_mean(trainer: MakeTrainer) -> None:
    y = torch.tensor([1.0, 2.0, 6.0], dtype=torch.float64)
    model = fitted(trainer, torch.empty(3, 0, dtype=torch.float64), y)
    (row,) = model.coefficients()
    assert row["name"] == "intercept"
    assert row["estimate"] == 3
    assert row["std_error"] == pytest.approx(y.std().item() / math.sqrt(3), rel=1e-14)


def test_weight_0_removes_a_row_and_weight_2_equals_two_rows(trainer: MakeTrainer) -> None:
    x, y = problem()
    weight = torch.randint(0, 3, (200,), generator=torch.Generator().manual_seed(1)).double()
    x[weight == 0] = 1e6
    counts = weight.long()
    weighted = fitted(trainer, x, y, weight, accuracy="exact")
    repeated = fitted(
        trainer, x.repeat_interleave(counts, 0), y.repeat_interleave(counts, 0), accuracy="exact"
    )
    estimate = [row["estimate"] for row in weighted.coefficients()]
    assert estimate == [row["estimate"] for row in repeated.coefficients()]
    assert weighted.fit_statistics["rows"] == int((weight > 0).sum())


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e150, 1e300])
@pytest.mark.parametrize("accuracy", ["exact", "float64"])
def test_columns_of_any_magnitude_are_fitted(
    scale: float, accuracy: str, trainer: MakeTrainer
) -> None:
    x, y = problem()
    plain = fitted(trainer, x, y, accuracy=accuracy)
    scaled = x.clone()
    scaled[:, 0] *= scale
    model = fitted(trainer, scaled, y, accuracy=accuracy)
    for row, same in zip(model.coefficients(), plain.coefficients(), strict=True):
        unit = scale if row["name"] == "x1" else 1.0
        assert row["estimate"] * unit == pytest.approx(same["estimate"], rel=1e-9)
        assert row["t"] == pytest.approx(same["t"], rel=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accuracy": "best"}, "accuracy: 'best' was given; type auto, exact or float64"),
        ({"ridge": -1.0}, "ridge: -1.0 was given"),
        ({"confidence": 1.0}, "confidence: 1.0 was given"),
    ],
)
def test_invalid_hyper_parameters_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        LeastSquares(**options)


def test_trainer_settings_that_prevent_a_complete_pass_are_refused(trainer: MakeTrainer) -> None:
    x, y = problem()
    with pytest.raises(InputError, match="precision: bf16-mixed was given"):
        trainer(precision="bf16-mixed").fit(LeastSquares(), TensorData(x, y))
    with pytest.raises(InputError, match="stopped before it had seen all rows"):
        trainer(max_steps=2).fit(LeastSquares(), TensorData(x, y, batch_size=9))
    with pytest.raises(InputError, match="EMAWeightAveraging was given, which changes weights"):
        trainer(callbacks=[EMAWeightAveraging()]).fit(LeastSquares(), TensorData(x, y))
    for option in ({"min_epochs": 3}, {"min_steps": 9}, {"val_check_interval": 1}):
        (name,) = option
        with pytest.raises(InputError, match=f"{name}: .* leave {name} out"):
            trainer(**option).fit(LeastSquares(), SyntheticData(batch_size=10))
    spoilt = x.clone()
    spoilt[7, 1] = float("nan")
    with pytest.raises(InputError, match="column 'x2': row 8 holds nan"):
        trainer().fit(LeastSquares(in_features=3), DataLoader(TensorDataset(spoilt, y), 3))
    with pytest.raises(InputError, match="fit it first"):
        LeastSquares(in_features=3).coefficients()
    with pytest.raises(InputError, match="fit it first"):
        LeastSquares(in_features=3).prediction(x)


class StopAfterThreeBatches(Callback):
    """Asks the Trainer to stop after the third batch."""

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        trainer.should_stop = trainer.should_stop or trainer.global_step == 3


def test_a_fit_that_stops_within_a_pass_is_refused(trainer: MakeTrainer) -> None:
    data = TensorData(*problem(), batch_size=9)
    with pytest.raises(InputError, match="stopped before it had seen all rows"):
        trainer(max_epochs=2, callbacks=[StopAfterThreeBatches()]).fit(LeastSquares(), data)


# Checkpoints


@pytest.mark.parametrize("accuracy", ["exact", "auto"])
def test_rows_added_to_a_checkpoint_give_the_fit_of_all_rows(
    accuracy: str, trainer: MakeTrainer
) -> None:
    x, y = problem(300)
    parts = [slice(0, 100), slice(100, 150), slice(150, 300)]
    path = None
    for number, part in enumerate(parts):
        runner, model = trainer(max_epochs=1), LeastSquares(accuracy)
        runner.fit(model, TensorData(x[part], y[part], batch_size=40), ckpt_path=path)
        path = f"{number}.ckpt"
        runner.save_checkpoint(path)
    whole = fitted(trainer, x, y, accuracy=accuracy)
    assert torch.equal(numbers(model), numbers(whole))
    assert model.fit_statistics == whole.fit_statistics
    again = LeastSquares.load_from_checkpoint(path)
    assert again.summary() == model.summary()
    assert torch.equal(again.prediction(x).row_low, model.prediction(x).row_low)


@pytest.mark.parametrize("accuracy", ["exact", "auto", "auto in two passes", "float64"])
def test_a_pass_resumes_from_any_of_its_steps(
    accuracy: str, trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = problem(55)
    twice = accuracy == "auto in two passes"
    if twice:
        monkeypatch.setattr("linreg_lightning.algebra.gram_state.EXACT_LIMIT", 100)
        x[:, 2] = x[:, 1] + 1e-6 * x[:, 2]
        accuracy = "auto"
    old, new = problem(30, seed=3)
    earlier = trainer(max_epochs=1)
    earlier.fit(LeastSquares(accuracy), TensorData(old, new))
    earlier.save_checkpoint("earlier.ckpt")
    for path in (None, "earlier.ckpt"):
        saver = ModelCheckpoint(f"steps-{path}", every_n_train_steps=1, save_top_k=-1)
        runner, whole = (
            trainer(max_epochs=1, enable_checkpointing=True, callbacks=[saver]),
            LeastSquares(accuracy),
        )
        runner.fit(whole, TensorData(x, y, batch_size=10), ckpt_path=path)
        steps = sorted(Path(f"steps-{path}").glob("*.ckpt"))
        assert len(steps) >= 6 * (1 + (twice and path is None))
        for step in steps:
            state = torch.load(step, weights_only=True)["statistics"]
            model = LeastSquares(accuracy)
            data = TensorData(x, y, batch_size=10)
            if state["partial"] is None:
                again = LeastSquares.load_from_checkpoint(step)
                assert again.fit_statistics["rows"] == whole.fit_statistics["rows"]
                continue
            trainer(max_epochs=1).fit(model, data, ckpt_path=step)
            assert model.fit_statistics["rows"] == whole.fit_statistics["rows"]
            torch.testing.assert_close(numbers(model), numbers(whole), rtol=1e-9, atol=0)
            other = TensorData(x, y, batch_size=5)
            with pytest.raises(InputError, match="go on with the same rows, batch_size and dev"):
                trainer(max_epochs=1).fit(LeastSquares(accuracy), other, ckpt_path=step)


def test_statistics_of_another_format_are_refused_in_one_line(
    command: Linreg, refused: Callable[..., str]
) -> None:
    command("fit --model LeastSquares")
    (path,) = Path().glob("**/*.ckpt")
    checkpoint = torch.load(path, weights_only=True)
    for written, version in ((None, "earlier"), (7, "later")):
        if written is None:
            del checkpoint["statistics"]["format"]
        else:
            checkpoint["statistics"]["format"] = written
        torch.save(checkpoint, path)
        for line in ("summary", "test --ckpt_path last", "predict --ckpt_path last"):
            message = refused(line)
            assert f"the checkpoint's statistics are of format {written or 0}" in message
            assert f"use the {version} version that wrote it" in message
            assert len(message.strip().splitlines()) == 1


def test_a_fit_without_a_checkpoint_starts_afresh(trainer: MakeTrainer) -> None:
    x, y = problem()
    model = LeastSquares()
    for _ in range(2):
        trainer(max_epochs=1).fit(model, TensorData(x, y))
        assert model.fit_statistics["rows"] == 200


def test_the_command_adds_new_rows_and_refuses_rows_that_the_checkpoint_has(
    command: Linreg, refused: Callable[..., str], houses: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header, *lines = houses.read_text().splitlines()
    Path("old.csv").write_text("\n".join([header, *lines[:120]]))
    Path("new.csv").write_text("\n".join([header, *lines[120:]]))
    config = f"-c {CONFIGS}/least_squares.yaml --data.target price"
    whole = command(f"fit {config} --data.path houses.csv")
    command(f"fit {config} --data.path old.csv")
    for again in ("", "--data.path ./old.csv --data.batch_size 7"):
        message = refused(f"fit --ckpt_path last {again}")
        assert "holds the statistics of these rows already" in message
    assert command("fit --ckpt_path last --data.path new.csv") == whole
    Path("folder").mkdir()
    Path("folder/old.csv").symlink_to(Path("old.csv").resolve())
    for again in ("old.csv", "[other.csv,old.csv]", "folder", "*ld.csv"):
        Path("other.csv").write_text("\n".join([header, *lines[:9]]))
        message = refused(f"fit --ckpt_path last --data.path {again}")
        assert "holds the statistics of these rows already, or of some of them" in message
    Path("old.csv").unlink()
    capsys.readouterr()
    command("summary")
    assert "std error" in capsys.readouterr().out
    command("summary --format json")
    assert json.loads(capsys.readouterr().out) == whole
    command("test --ckpt_path last --data.path houses.csv --data.test_fraction 1")
    assert "test_r2" in capsys.readouterr().out


def test_accuracy_ridge_and_confidence_can_differ_from_the_checkpoint(
    command: Linreg, refused: Callable[..., str], houses: Path
) -> None:
    header, *lines = houses.read_text().splitlines()
    Path("old.csv").write_text("\n".join([header, *lines[:120]]))
    Path("new.csv").write_text("\n".join([header, *lines[120:]]))
    config = f"-c {CONFIGS}/least_squares.yaml --data.target price"
    exact = command(f"fit {config} --data.path houses.csv")
    ridge = command(f"fit {config} --data.path houses.csv --model.ridge 5")
    add_rows = "fit --ckpt_path old.ckpt --data.path new.csv"
    for first, second, closeness in (
        ("exact", "auto", 0),
        ("exact", "float64", 1e-9),
        ("float64", "auto", 1e-9),
    ):
        command(f"fit {config} --data.path old.csv --model.accuracy {first}")
        newest = max(Path().glob("**/*.ckpt"), key=lambda file: file.stat().st_mtime_ns)
        newest.rename("old.ckpt")
        ours = command(f"{add_rows} --model.accuracy {second}")
        assert estimates(ours) == pytest.approx(estimates(exact), rel=closeness, abs=0)
        ours = command(
            f"{add_rows} --model.accuracy {second} --model.ridge 5 --model.confidence 0.5"
        )
        assert estimates(ours) == pytest.approx(estimates(ridge), rel=closeness, abs=0)
    message = refused(f"{add_rows} --model.accuracy exact")
    assert "accuracy: exact was given, but the earlier rows were added in float64" in message
    assert "--model.intercept: False was given" in refused(f"{add_rows} --model.intercept false")


def test_the_command_writes_predictions_with_intervals(
    command: Linreg, refused: Callable[..., str], houses: Path
) -> None:
    table = "--data TabularData --data.path houses.csv --data.target price"
    command(f"fit --model LeastSquares {table}")
    command("predict --ckpt_path last --intervals true --data.batch_size 64")
    (path,) = Path().glob("**/predictions.csv")
    header = path.read_text().splitlines()[0].split(",")
    suffixes = ["", "_std_error", "_mean_low", "_mean_high", "_low", "_high"]
    assert header == [f"price{suffix}" for suffix in suffixes]
    ours = np.loadtxt(path, delimiter=",", skiprows=1)
    rows = np.loadtxt(houses, delimiter=",", skiprows=1)
    result = api.OLS(rows[:, 3], api.add_constant(rows[:, :3])).fit()
    frame = result.get_prediction(api.add_constant(rows[:, :3])).summary_frame(alpha=0.05)
    np.testing.assert_allclose(ours, frame.to_numpy(), rtol=1e-9)
    command(f"fit {table} --model.standardize true --trainer.max_epochs 2")
    message = refused("predict --ckpt_path last --intervals true")
    assert "intervals: LinearRegression has none; leave it out" in message


def test_rows_of_a_users_class_are_refused_if_the_checkpoint_has_them(
    command: Linreg, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("own_rows.py").write_text(
        "import torch\n"
        "from linreg_lightning import TensorData\n"
        "class Own(TensorData):\n"
        "    def __init__(self, start: int = 0) -> None:\n"
        "        x = torch.arange(start, start + 20.0).unsqueeze(1)\n"
        "        super().__init__(torch.cat([x, x**2], 1), x)\n"
    )
    again = "fit --ckpt_path last --data"
    first = "--data.ones false --data.rows 20"
    command(f"fit --model LeastSquares {first}")
    assert command(f"{again} own_rows.Own")["rows"] == 40
    for data in ("own_rows.Own", f"SyntheticData {first}"):
        assert "holds the statistics of these rows already" in refused(f"{again} {data}")
    monkeypatch.delitem(sys.modules, "own_rows")


def test_summary_needs_a_checkpoint_of_a_model_with_coefficients(
    command: Linreg, refused: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "there is no checkpoint below logs" in refused("summary")
    answer = command("fit --trainer.max_epochs 3")
    capsys.readouterr()
    command("summary --ckpt_path last --format json")
    shown = json.loads(capsys.readouterr().out)
    assert estimates(shown) == estimates(answer)
    assert [row["true"] for row in shown["coefficients"]] == [1, 2, 3]
    command("fit --model third_party.plain.CubicModel --data third_party.plain.CubicData")
    assert "holds no model with coefficients" in refused("summary")
    lines = "class Mine(LinearRegression):\n    pass\n"
    Path("my_models.py").write_text(f"from linreg_lightning import LinearRegression\n{lines}")
    command("fit --model my_models.Mine --trainer.max_epochs 1")
    sys.modules.pop("my_models")
    command("summary --trust")
    Path("my_models.py").unlink()
    sys.modules.pop("my_models")
    assert "holds a my_models.Mine, which cannot be imported" in refused("summary --trust")


def test_a_learning_rate_monitor_finds_a_learning_rate(trainer: MakeTrainer) -> None:
    monitor = LearningRateMonitor(log_weight_decay=True)
    options = {"logger": Recorder(), "callbacks": [monitor]}
    trainer(max_epochs=1, **options).fit(LeastSquares(), TensorData(*problem()))
    assert monitor.lrs


@pytest.mark.parametrize("accuracy", ["auto", "exact", "float64"])
def test_ridge_gives_a_constant_column_a_coefficient_of_0(
    accuracy: str, trainer: MakeTrainer
) -> None:
    x, y = problem(30)
    one = torch.cat([x, torch.full((30, 1), 7.0).double(), torch.zeros(30, 1).double()], dim=1)
    found = []
    for columns in (x, one):
        model = LeastSquares(accuracy, ridge=1e-9)
        trainer(max_epochs=1).fit(model, TensorData(columns, y))
        found.append([row["estimate"] for row in model.coefficients()])
    assert found[1] == pytest.approx([*found[0], 0.0, 0.0], rel=1e-12)


def test_a_checkpoint_loaded_with_another_ridge_predicts_with_its_coefficients(
    trainer: MakeTrainer,
) -> None:
    x, y = problem()
    make = trainer(max_epochs=1)
    make.fit(LeastSquares(), TensorData(x, y))
    make.save_checkpoint("plain.ckpt")
    again = LeastSquares.load_from_checkpoint("plain.ckpt", ridge=50.0)
    expected = least_squares(x, y, ridge=50.0)
    assert torch.allclose(again.predict(x), expected.predict(x), rtol=1e-12)
    assert again.coefficients()[1]["estimate"] == expected.coefficients[0, 0].item()


@pytest.mark.parametrize("kind", [LeastSquares, RegularizedLeastSquares])
def test_a_checkpoint_of_the_first_pass_has_no_coefficients_to_predict_by(
    kind: Any, trainer: MakeTrainer
) -> None:
    saver = ModelCheckpoint("steps", every_n_train_steps=1, save_top_k=-1)
    data = TensorData(*problem(), batch_size=100)
    trainer(max_epochs=1, enable_checkpointing=True, callbacks=[saver]).fit(kind(), data)
    first = min(Path("steps").glob("*.ckpt"))
    with pytest.raises(InputError, match="from the middle of the first pass, and has no coeff"):
        trainer().predict(kind(), data, ckpt_path=first)


@pytest.mark.parametrize("kind", [LeastSquares, RegularizedLeastSquares])
def test_a_pass_that_starts_anew_adds_no_row_twice(kind: Any, trainer: MakeTrainer) -> None:
    x, y = problem(55)

    def loader(rows: int = 55) -> Any:
        return DataLoader(TensorDataset(x[:rows], y[:rows]), 20)

    def fit(data: Any, path: Any = None, **options: Any) -> Any:
        model = kind(in_features=x.shape[1])
        trainer(max_epochs=1, **options).fit(model, data, ckpt_path=path)
        return model

    for name, data in (("loader", loader()), ("data", TensorData(x, y, batch_size=20))):
        saver = ModelCheckpoint(name, every_n_train_steps=1, save_top_k=-1)
        fit(data, enable_checkpointing=True, callbacks=[saver])
        first, *_, last = sorted(Path(name).glob("*.ckpt"))
        other = loader() if name == "loader" else TensorData(x[:54], y[:54], batch_size=20)
        with pytest.raises(InputError, match=r"middle of a pass.*fit anew without ckpt_path"):
            fit(other, first)
        assert fit(loader() if name == "loader" else data, last).fit_statistics["rows"] == 110
    with pytest.raises(InputError, match=r"its loader, without state_dict, cannot go on"):
        fit(TensorData(x, y, batch_size=20), min(Path("loader").glob("*.ckpt")))
