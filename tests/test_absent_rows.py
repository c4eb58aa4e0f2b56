"""Rows of weight 0 are absent: they change no result, even if they hold NaN."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer

from linreg_lightning import InputError, LeastSquares, LinearRegression, TensorData
from linreg_lightning.callbacks.row_sampler import sample_rows

Linreg = Callable[..., dict[str, Any]]
MakeTrainer = Callable[..., Trainer]
COEFFICIENT_NAMES = ["intercept", "area", "city[Oslo]", "city[Rome]"]
Rows = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def problem(dtype: torch.dtype = torch.float64) -> Rows:
    """Return rows; a third of them have weight 0 and hold NaN or infinity."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(120, 3, generator=generator, dtype=dtype) * torch.tensor([1, 10, 100]) + 5
    y = x.sum(dim=1) + torch.randn(120, generator=generator, dtype=dtype)
    weight = torch.rand(120, generator=generator, dtype=dtype) + 0.5
    weight[::3] = 0
    x[::6, 1], x[3::6, 0], y[::9] = math.nan, math.inf, -math.inf
    return x, y, weight


def drop_absent_rows(rows: Rows) -> Rows:
    x, y, weight = rows
    return x[weight > 0], y[weight > 0], weight[weight > 0]


def numbers(rows: list[dict[str, Any]]) -> list[float]:
    return [v for row in rows for v in row.values() if isinstance(v, float)]


@pytest.mark.parametrize(
    ("model", "options", "epochs"),
    [
        (LeastSquares, {"accuracy": "exact"}, 1),
        (LeastSquares, {"accuracy": "float64"}, 1),
        (LinearRegression, {"lr": 1e-5}, 20),
        (LinearRegression, {"standardize": True}, 20),
    ],
)
def test_absent_rows_of_tensors_change_neither_fit_nor_metrics(
    model: Any, options: dict[str, Any], epochs: int, trainer: MakeTrainer
) -> None:
    found = []
    for rows in (problem(), drop_absent_rows(problem())):
        torch.manual_seed(0)  # both fits start from the same random coefficients
        runner, fitted = trainer(max_epochs=epochs), model(**options)
        runner.fit(fitted, TensorData(*rows))
        (tested,) = runner.test(fitted, TensorData(*rows, test_fraction=1), verbose=False)
        assert fitted.fit_statistics["rows"] == 80
        found.append(numbers([*fitted.coefficients(), fitted.fit_statistics, tested]))
    ours, theirs = found
    assert ours == (theirs if "exact" in options.values() else pytest.approx(theirs, rel=1e-5))


def test_a_fit_leaves_tensors_unchanged_and_rows_with_nan_predict_nan(trainer: MakeTrainer) -> None:
    x, y, weight = problem()
    before = x.clone()
    data, model = TensorData(x, y, weight), LeastSquares()
    trainer(max_epochs=1).fit(model, data)
    torch.testing.assert_close(x, before, equal_nan=True)
    (predicted,) = trainer().predict(model, data)
    assert torch.equal(predicted[:, 0].isfinite(), x.isfinite().all(dim=1))


def test_plots_show_no_absent_row(trainer: MakeTrainer) -> None:
    data, model, runner = TensorData(*problem(), batch_size=7), LeastSquares(), trainer()
    runner.fit(model, data)
    sample = sample_rows(runner.train_dataloader, math.inf, runner, model, 50)
    assert sample is not None
    assert sample.rows_read == 80
    assert bool((sample.weight > 0).all())


def test_nan_in_a_weight_or_in_a_row_with_weight_is_refused() -> None:
    x, y, weight = problem()
    x[7, 2] = math.nan
    with pytest.raises(InputError, match="column 'x3': row 8 holds nan"):
        TensorData(x, y, weight)
    x, y, weight = problem()
    weight[3] = math.nan
    with pytest.raises(InputError, match="column 'weight': row 4 holds nan"):
        TensorData(x, y, weight)


SGD = "LinearRegression --model.standardize true"


@pytest.mark.parametrize(
    ("model", "how"),
    [
        ("LeastSquares", ""),
        ("LeastSquares", "--data.stream true"),
        ("LeastSquares", "--data.missing drop"),
        ("LeastSquares", "--data.missing mean"),
        (SGD, "--data.stream true"),
        (SGD, "--data.missing mean"),
    ],
)
def test_absent_rows_of_a_table_do_not_change_the_fit(
    model: str, how: str, command: Linreg, refused: Callable[..., str]
) -> None:
    random = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "area": random.normal(90, 30, 90),
            "city": random.choice(["Oslo", "Rome", "Bern"], 90),
            "price": random.normal(5, 1, 90),
            "w": random.uniform(0.5, 2, 90),
        }
    )
    frame["price"] += frame["area"] / 20
    if "mean" in how:
        frame.loc[[4, 8], "area"] = np.nan
    absent = frame.index % 4 == 1
    frame.loc[absent, "w"] = 0
    frame.loc[frame.index % 8 == 1, "area"] = np.nan
    frame.loc[frame.index % 8 == 5, ["price", "city"]] = [np.nan, None]
    frame.loc[[9, 17], "city"] = "Atlantis"  # not a level: only absent rows have this value
    frame.to_csv("with.csv", index=False)
    frame[~absent].to_csv("without.csv", index=False)
    line = f"fit --model {model} --data TabularData --data.target price --data.weight w {how}"
    if "Linear" in model:
        line += " --trainer.max_epochs 30"
    ours, theirs = (command(f"{line} --data.path {name}.csv") for name in ("with", "without"))
    assert ours["rows"] == theirs["rows"] == (~absent).sum()
    exact = model == "LeastSquares"
    assert [row["name"] for row in ours["coefficients"]] == COEFFICIENT_NAMES
    a, b = (numbers([*each["coefficients"], each["fit"]]) for each in (ours, theirs))
    assert a == (b if exact else pytest.approx(b, rel=1e-5))
    frame.loc[0, "w"] = np.nan
    frame.to_csv("with.csv", index=False)
    if how in ("", "--data.stream true"):
        assert "column 'w': " in refused(f"{line} --data.path with.csv")


@pytest.mark.parametrize(
    "model", [LeastSquares("exact"), LeastSquares("float64"), LinearRegression()]
)
@pytest.mark.parametrize("options", [{}, {"batch_size": 3}, {"val_fraction": 0.1}])
def test_every_model_refuses_an_infinite_value_and_names_its_column_and_row(
    model: LeastSquares | LinearRegression, options: dict[str, Any], trainer: MakeTrainer
) -> None:
    x = torch.randn(20, 3)
    x[12, 1] = math.inf
    with pytest.raises(InputError, match="column 'x2': row 13 holds inf"):
        trainer(max_epochs=1).fit(model, TensorData(x, x.sum(dim=1), **options))
    with pytest.raises(InputError, match="column 'x2': row 13 holds inf"):
        trainer().predict(model, TensorData(x, x.sum(dim=1), **options))
