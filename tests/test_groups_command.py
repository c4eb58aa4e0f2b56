"""`linreg fit --data.by COLUMN` fits each group of rows and writes groups.csv."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from linreg_lightning import (
    InputError,
    LeastSquares,
    SyntheticData,
    TabularData,
    Trainer,
    least_squares,
)

Linreg = Callable[..., Any]
Refused = Callable[..., str]
MakeTrainer = Callable[..., Trainer]
TABLE = ("--data.path", "shops.csv", "--data.target", "sales")
FIT = ("fit", "-c", "least_squares", *TABLE, "--figures", "false")
BY = ("--data.by", "shop")
NUMBERS = ["estimate", "std_error", "t", "p", "ci_low", "ci_high"]


@pytest.fixture
def shops() -> pd.DataFrame:
    """Write shops.csv: three shops, two numbers, a column of text, weights and sales."""
    random = np.random.default_rng(0)
    rows = 300
    table = pd.DataFrame(
        {
            "shop": random.choice([10, 9, 8], rows),
            "price": random.normal(5, 1, rows),
            "day": random.choice(["mon", "sun"], rows),
            "area": random.normal(0, 100, rows),
            "weight": random.uniform(1, 2, rows),
        }
    )
    table["sales"] = table["shop"] * table["price"] + table["area"] + random.normal(0, 1, rows)
    table.to_csv("shops.csv", index=False)
    return table


def expected(table: pd.DataFrame, shop: int, weighted: bool = False) -> torch.Tensor:
    """Return the numbers of the fit of one shop, (terms, 6)."""
    rows = table[table["shop"] == shop]
    x = np.column_stack([rows["price"], rows["day"] == "sun", rows["area"]]).astype(float)
    weight = rows["weight"] if weighted else None
    fit = least_squares(x, rows["sales"].to_numpy(), weight)
    columns = (fit.estimate, fit.standard_error, fit.t, fit.p, fit.low, fit.high)
    return torch.stack(columns, 1)


def written() -> pd.DataFrame:
    return pd.read_csv(*Path("logs").glob("version_*/groups.csv"))


def numbers(result: pd.DataFrame, shop: int) -> torch.Tensor:
    return torch.tensor(result[result["group"] == shop][NUMBERS].to_numpy())


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_each_group_is_fitted(
    suffix: str, shops: pd.DataFrame, command: Linreg, capsys: pytest.CaptureFixture[str]
) -> None:
    shops.to_parquet("shops.parquet")
    options = ("--data.path", f"shops.{suffix}", "--data.weight", "weight")
    command(*FIT, *options, *BY, "--data.batch_size 70")
    result, printed = written(), capsys.readouterr().out
    assert list(result) == ["group", "rows", "term", *NUMBERS]
    assert result["group"].unique().tolist() == [8, 9, 10]
    assert result["term"].tolist() == ["intercept", "price", "day[sun]", "area"] * 3
    for shop in (8, 9, 10):
        torch.testing.assert_close(
            numbers(result, shop), expected(shops, shop, weighted=True), rtol=1e-9, atol=1e-12
        )
        assert set(result[result["group"] == shop]["rows"]) == {(shops["shop"] == shop).sum()}
    assert "3 groups; 300 rows" in printed
    assert "groups.csv" in printed
    assert not list(Path("logs").glob("*/coefficients.json"))
    command("summary")
    assert "3 groups; 300 rows" in capsys.readouterr().out


def test_the_first_groups_are_printed(
    shops: pd.DataFrame, command: Linreg, capsys: pytest.CaptureFixture[str]
) -> None:
    shops["shop"] = np.arange(300) // 10
    shops.drop(columns="weight").to_csv("shops.csv", index=False)
    command(*FIT, *BY)
    printed = capsys.readouterr().out
    assert "30 groups, the first 3 of them above; 300 rows" in printed
    assert len(written()) == 30 * 4


def test_rows_without_a_group_are_refused_or_left_out(
    shops: pd.DataFrame, command: Linreg, refused: Refused, capsys: pytest.CaptureFixture[str]
) -> None:
    shops["shop"] = shops["shop"].map({8: "x", 9: "y", 10: 'z, "q"'}).where(shops.index != 7)
    shops.to_csv("shops.csv", index=False)
    assert "column 'shop': row 8 holds nan, a missing value" in refused(*FIT, *BY)
    command(*FIT, *BY, "--data.missing drop")
    assert "3 groups, the first 2 of them above; 299 rows" in capsys.readouterr().out
    assert written()["group"].unique().tolist() == ["x", "y", 'z, "q"']


def test_several_targets_have_a_column(shops: pd.DataFrame, command: Linreg) -> None:
    command("fit -c least_squares", *TABLE[:2], "--data.target [sales,area]", *BY)
    result = written()
    assert result["target"].tolist()[:8] == ["sales"] * 4 + ["area"] * 4
    assert result["term"].tolist()[:4] == ["intercept", "price", "day[sun]", "weight"]
    rows = shops[shops["shop"] == 9]
    x = np.column_stack([rows["price"], rows["day"] == "sun", rows["weight"]]).astype(float)
    fit = least_squares(x, rows[["sales", "area"]])
    estimates = result[result["group"] == 9]["estimate"]
    assert estimates.tolist() == pytest.approx(fit.estimate.T.flatten().tolist(), rel=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--data.by nix", "--data.by: shops.csv has no column 'nix'"),
        ("--data.by sales", "--data.by: 'sales' was given as target too; name another column"),
        ("--data.by area --data.features [area, shop]", "'area' was given as features too"),
        ("--data.by weight --data.weight weight", "'weight' was given as weight too"),
        ("--data.by shop --data.val_fraction 0.2", "rows for validation or a test were given too"),
        ("--data.by shop --data.test_path shops.csv", "the fits of groups predict no rows"),
        ("--data.by shop --data.stream true", "groups are fitted from rows in memory"),
        ("--data.by shop --model.ridge 1", "--model.ridge: 1.0 was given, and groups are fitted"),
        (
            "--data.by shop --model.accuracy exact",
            "accuracy: exact was given, and groups are fitted",
        ),
        ("--data.by shop --data.batch_size 9 --trainer.max_steps 2", "before it had seen all rows"),
        ("--data.by shop --model LinearRegression", "LinearRegression fits one regression"),
    ],
)
def test_what_groups_exclude_is_refused(
    options: str, message: str, shops: pd.DataFrame, refused: Refused
) -> None:
    words = options.replace(", ", ",").split()
    assert message in refused(
        "fit", "--model", "LeastSquares", "--data", "TabularData", *TABLE, *words
    )
    assert not list(Path("logs").glob("*/groups.csv"))


def test_a_fit_of_groups_predicts_nothing(
    shops: pd.DataFrame, command: Linreg, refused: Refused
) -> None:
    command(*FIT, *BY)
    for task in ("predict", "validate"):
        message = refused(task, "--ckpt_path", "last")
        assert f"{task} needs a single fit; take the coefficients from groups.csv" in message
    assert "has coefficients of its own" in refused("summary", "--format", "json")
    shops.to_csv("more.csv", index=False)
    message = refused("fit", "--ckpt_path", "last", "--data.path", "more.csv")
    assert "groups are fitted in one go; start anew" in message


def test_a_model_from_python_holds_the_fits_until_its_next_fit(
    shops: pd.DataFrame, trainer: MakeTrainer
) -> None:
    model = LeastSquares()
    data = TabularData("shops.csv", "sales", by="shop", exclude="weight")
    trainer(max_epochs=1).fit(model, data)
    assert model.grouped_fit is not None
    assert model.grouped_fit.groups == ["8", "9", "10"]
    torch.testing.assert_close(model.grouped_fit.estimate[2, :, 0], expected(shops, 10)[:, 0])
    assert model.fit_statistics == {"rows": 300, "groups": 3}
    with pytest.raises(InputError, match="prediction: each of the 3 groups has coefficients"):
        model(torch.zeros(1, 3))
    data = TabularData("shops.csv", "sales", exclude=["shop", "weight"])
    trainer(max_epochs=1).fit(model, data)
    assert model.group_table() is None
    assert model.fitted


def test_data_without_groups_are_fitted_as_before(trainer: MakeTrainer) -> None:
    model = LeastSquares()
    trainer(max_epochs=1).fit(model, SyntheticData())
    assert model.grouped_fit is None
    assert len(model.coefficients()) == 3
