"""Robust errors and absorbed effects under the Trainer: passes, checkpoints, tables, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

from linreg_lightning import (
    InputError,
    LeastSquares,
    LinearRegression,
    RegularizedLeastSquares,
    TabularData,
    TensorData,
)

MakeTrainer = Callable[..., Trainer]
FEATURES = ["size", "age"]
ROWS = 150


@pytest.fixture
def frame() -> pd.DataFrame:
    """Return rows whose variances differ, in five states and eight years."""
    rng = np.random.default_rng(3)
    state, year = rng.integers(0, 5, ROWS), rng.integers(0, 8, ROWS)
    size, age = rng.normal(size=ROWS), 100 + 10 * rng.normal(size=ROWS)
    noise = rng.normal(size=ROWS) * (1 + size**2) + rng.normal(size=5)[state]
    columns = {"size": size, "age": age, "price": 3 * size - 0.2 * age + year + noise}
    names = np.array(["Oslo", "Rome", "São Paulo", "NA?", "7"])
    return pd.DataFrame({**columns, "state": names[state], "year": 2000 + year})


def reference(frame: pd.DataFrame, kind: str, keys: list[str]) -> Any:
    options: dict[str, Any] = {"HAC": {"maxlags": 3}}.get(kind, {})
    if kind == "cluster":
        codes = np.column_stack([frame[key].astype("category").cat.codes for key in keys])
        options = {"groups": codes[:, 0] if len(keys) == 1 else codes}
    model = sm.OLS(frame["price"], sm.add_constant(frame[FEATURES]))
    return model.fit(cov_type=kind, cov_kwds=options or None)


def fitted(trainer: Trainer, data: Any, ckpt_path: str | None = None, **options: Any) -> Any:
    model = LeastSquares(accuracy=options.pop("accuracy", "exact"), **options)
    trainer.fit(model, data, ckpt_path=ckpt_path)
    return model


def column(model: Any, name: str) -> list[float]:
    return [row[name] for row in model.coefficients()]


CASES: list[tuple[str, list[str]]] = [("HC1", []), ("HC3", []), ("HAC", [])]
CASES += [("cluster", ["state"]), ("cluster", ["state", "year"])]


@pytest.mark.parametrize(
    ("kind", "keys"), CASES, ids=["-".join([kind, *keys]) for kind, keys in CASES]
)
def test_errors_are_those_of_statsmodels_with_the_same_bits_for_any_batches(
    trainer: MakeTrainer, frame: pd.DataFrame, kind: str, keys: list[str]
) -> None:
    expected = reference(frame, kind, keys)
    frame.to_csv("t.csv", index=False)
    options: dict[str, Any] = {"errors": kind, "lags": 3 if kind == "HAC" else None}
    cluster = keys or None
    order = np.arange(ROWS) if kind == "HAC" else np.random.default_rng(0).permutation(ROWS)
    shuffled = frame.iloc[order]
    files: dict[str, Any] = {"target": "price", "features": FEATURES, "cluster": cluster}
    data = [
        TabularData("t.csv", **files),
        TabularData("t.csv", **files, batch_size=7, stream=True),
        TabularData(shuffled, **files, batch_size=40),
        TensorData(
            shuffled[FEATURES],
            shuffled["price"],
            batch_size=33,
            cluster=shuffled[keys] if keys else None,
        ),
    ]
    models = [fitted(trainer(max_epochs=1), rows, **options) for rows in data]
    np.testing.assert_allclose(column(models[0], "std_error"), expected.bse, rtol=1e-9)
    np.testing.assert_allclose(column(models[0], "p"), expected.pvalues, rtol=1e-7, atol=1e-200)
    for model in models[1:]:
        assert repr(model.coefficients()) == repr(models[0].coefficients())


def test_float64_and_a_second_exact_pass_give_the_same_errors(
    trainer: MakeTrainer, frame: pd.DataFrame
) -> None:
    frame["close"] = frame["size"] * (1 + 1e-13) + 1e-6  # needs exact sums
    x, y = frame[[*FEATURES, "close"]], frame["price"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("linreg_lightning.algebra.gram_state.EXACT_LIMIT", 10)
        run = trainer(max_epochs=1)
        model = fitted(run, TensorData(x, y, batch_size=50), accuracy="auto", errors="HC3")
    assert run.current_epoch == 3
    exact = fitted(trainer(max_epochs=1), TensorData(x, y), errors="HC3")
    assert repr(model.coefficients()) == repr(exact.coefficients())
    x = frame[FEATURES]
    model = fitted(trainer(), TensorData(x, y), accuracy="float64", errors="HC3")
    np.testing.assert_allclose(
        column(model, "std_error"), reference(frame, "HC3", []).bse, rtol=1e-9
    )


@pytest.mark.parametrize(("kind", "keys"), [("HC3", []), ("cluster", ["state", "year"])])
def test_a_checkpoint_within_the_second_pass_is_resumed_and_a_whole_one_has_the_errors(
    trainer: MakeTrainer, frame: pd.DataFrame, kind: str, keys: list[str]
) -> None:
    def data() -> TabularData:
        return TabularData(
            frame, "price", FEATURES, batch_size=20, cluster=keys or None, stream=kind == "HC3"
        )

    saver = ModelCheckpoint("saved", "{step}", every_n_train_steps=3, save_top_k=-1)
    last = ModelCheckpoint("saved", "last")
    saved = {"enable_checkpointing": True, "max_epochs": 1, "callbacks": [saver, last]}
    model = fitted(trainer(**saved), data(), errors=kind)
    for step in (6, 9, 12):  # of 16; within the first pass, and within the second
        path = f"saved/step={step}.ckpt"
        resumed = fitted(trainer(max_epochs=1), data(), path, errors=kind)
        assert repr(resumed.coefficients()) == repr(model.coefficients()), step
    with pytest.raises(InputError, match="middle of a fit, after its first pass; finish the fit"):
        LeastSquares.load_from_checkpoint("saved/step=12.ckpt", weights_only=True)
    with pytest.raises(InputError, match="errors: HC1 was given, and the checkpoint is from the m"):
        fitted(
            trainer(max_epochs=1), TensorData(frame[FEATURES], frame["price"]), path, errors="HC1"
        )
    loaded = LeastSquares.load_from_checkpoint("saved/last.ckpt", weights_only=True)
    assert loaded.summary() == model.summary()
    rows = frame[FEATURES]
    assert loaded.predict(rows, intervals=True).equals(model.predict(rows, intervals=True))


def test_rows_are_added_with_classical_errors_only(
    trainer: MakeTrainer, frame: pd.DataFrame
) -> None:
    saver = {"enable_checkpointing": True, "callbacks": [ModelCheckpoint("saved", "last")]}
    first, rest = (TensorData(part[FEATURES], part["price"]) for part in (frame[:100], frame[100:]))
    fitted(trainer(max_epochs=1, **saver), first, errors="HC1")
    path = "saved/last.ckpt"
    with pytest.raises(
        InputError, match="errors: HC1 was given, and needs a pass over the earlier"
    ):
        fitted(trainer(max_epochs=1), rest, path, errors="HC1")
    model = fitted(trainer(max_epochs=1), rest, path)
    both = fitted(trainer(max_epochs=1), TensorData(frame[FEATURES], frame["price"]))
    assert model.coefficients() == both.coefficients()
    with pytest.raises(
        InputError, match="errors: HC3 as statsmodels was given, but the checkpoint"
    ):
        LeastSquares.load_from_checkpoint(path, errors="HC3", weights_only=True)
    loaded = LeastSquares.load_from_checkpoint(path, errors="classical", weights_only=True)
    one = fitted(trainer(max_epochs=1), first)
    assert loaded.coefficients() == one.coefficients()


ABSORBED = [(["state"], "HC3"), (["state"], "cluster")]
ABSORBED += [(["state", "year"], "classical"), (["state", "year"], "cluster")]


@pytest.mark.parametrize(("absorb", "errors"), ABSORBED)
def test_absorbed_effects_give_the_coefficients_and_errors_of_dummies(
    trainer: MakeTrainer, frame: pd.DataFrame, absorb: list[str], errors: str
) -> None:
    dummies = pd.get_dummies(frame[absorb].astype(str), drop_first=True).astype(float)
    x = pd.concat([sm.add_constant(frame[FEATURES]), dummies], axis=1)
    codes = frame["state"].astype("category").cat.codes
    options = {"groups": codes} if errors == "cluster" else None
    kind = "nonrobust" if errors == "classical" else errors
    expected = sm.OLS(frame["price"], x).fit(cov_type=kind, cov_kwds=options)
    cluster = "state" if errors == "cluster" else None
    files: dict[str, Any] = {"features": FEATURES, "absorb": absorb, "cluster": cluster}
    saver = {"enable_checkpointing": True, "callbacks": [ModelCheckpoint("saved", "last")]}
    data = TabularData(frame, "price", **files, batch_size=40)
    model = fitted(trainer(max_epochs=1, **saver), data, errors=errors)
    assert [row["name"] for row in model.coefficients()] == FEATURES
    np.testing.assert_allclose(column(model, "estimate"), expected.params[FEATURES], rtol=1e-9)
    np.testing.assert_allclose(column(model, "std_error"), expected.bse[FEATURES], rtol=1e-9)
    assert model.fit_statistics["df_residual"] == expected.df_resid
    frame[::-1].to_parquet("t.parquet")
    stream = TabularData("t.parquet", "price", **files, stream=True, batch_size=11)
    other = fitted(trainer(max_epochs=1), stream, errors=errors)
    assert repr(other.coefficients()) == repr(model.coefficients())
    loaded = LeastSquares.load_from_checkpoint("saved/last.ckpt", weights_only=True)
    assert loaded.summary() == model.summary()
    with pytest.raises(InputError, match="predict: the effects of 'state'"):
        loaded.predict(frame)
    with pytest.raises(InputError, match="ckpt_path: rows were given to add to the checkpoint"):
        fitted(trainer(max_epochs=1), data, "saved/last.ckpt", errors=errors)


def test_gaps_in_clusters_are_refused_or_their_rows_left_out(
    trainer: MakeTrainer, frame: pd.DataFrame
) -> None:
    whole = reference(frame.drop([4, 9]), "cluster", ["state"])
    frame.loc[[4, 9], "state"] = None
    frame.to_csv("t.csv", index=False)
    options: dict[str, Any] = {"features": FEATURES, "cluster": "state"}
    with pytest.raises(InputError, match=r"cluster: column .state.: row 5 has no cluster"):
        fitted(trainer(), TabularData("t.csv", "price", **options), errors="cluster")
    with pytest.raises(InputError, match="cluster: row 5 has no group, a missing value"):
        TensorData(frame[FEATURES], frame["price"], cluster=frame["state"])
    for missing in ("drop", "mean"):
        data = TabularData("t.csv", "price", **options, missing=missing)
        with pytest.warns(UserWarning, match="2 of 150 rows were left out"):
            model = fitted(trainer(max_epochs=1), data, errors="cluster")
        np.testing.assert_allclose(column(model, "std_error"), whole.bse, rtol=1e-9)


def test_the_command_writes_the_errors_and_reads_them_from_the_checkpoint(
    command: Any, frame: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    frame.to_csv("t.csv", index=False)
    answer = command(
        "fit --model LeastSquares --model.errors cluster --data.path t.csv --data.target price "
        "--data.cluster [state,year] --model.small_sample fixest"
    )
    assert answer["fit"]["errors"] == "cluster"
    assert answer["fit"]["clusters"] == [5, 8]
    assert [row["name"] for row in answer["coefficients"]] == ["intercept", *FEATURES]
    capsys.readouterr()
    command("summary --format json")
    assert json.loads(capsys.readouterr().out) == answer
    command("predict --ckpt_path last --data.path t.csv --intervals true")
    assert "price_std_error" in next(Path().glob("**/predictions.csv")).read_text()


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"errors": "cluster"}, {}, "errors: cluster was given, and the data name no column of cl"),
    ({"errors": "HC1"}, {"cluster": "state"}, "cluster: 'state' was given, and errors is HC1"),
    ({}, {"absorb": "state", "features": ["state"]}, "features: 'state' is a target, the weight"),
    ({"ridge": 1.0}, {"absorb": "state"}, "ridge: 1.0 was given, and the effects to absorb have"),
    ({"intercept": True}, {"absorb": "state"}, "intercept: true was given, and the effects"),
    ({"errors": "HC1"}, {"by": "state"}, "errors: HC1 was given, and groups are fitted with cl"),
    (
        {"errors": "HAC", "lags": 1},
        {"val_fraction": 0.2},
        "errors: HAC takes the rows in their order, and val_fraction",
    ),
    ({"errors": "cluster"}, {"cluster": "one"}, "cluster: all rows are in one cluster only"),
    ({"errors": "cluster"}, {"cluster": "nowhere"}, "cluster: .* has no column 'nowhere'"),
]


@pytest.mark.parametrize(("model", "data", "message"), REFUSED)
def test_what_errors_cannot_be_had_for_is_refused(
    trainer: MakeTrainer,
    frame: pd.DataFrame,
    model: dict[str, Any],
    data: dict[str, Any],
    message: str,
) -> None:
    frame["one"] = "same"
    rows = TabularData(frame, "price", **{"features": FEATURES, **data})
    with pytest.raises(InputError, match=message):
        fitted(trainer(max_epochs=1), rows, **{"accuracy": "auto", **model})


def test_arguments_that_contradict_each_other_are_refused(
    trainer: MakeTrainer, frame: pd.DataFrame
) -> None:
    for arguments, message in (
        ({"cluster": "price"}, "cluster: 'price' was given as target too"),
        ({"cluster": ["a", "b", "c"]}, "cluster: 3 columns were given; give one or two"),
        ({"absorb": "state", "val_fraction": 0.1}, "absorb: rows for validation or a test"),
        ({"by": "year", "cluster": "state"}, "cluster: by was given too"),
    ):
        with pytest.raises(InputError, match=message):
            TabularData(frame, "price", **arguments)
    with pytest.raises(InputError, match="errors: HC1 was given with a ridge of 2"):
        LeastSquares(errors="HC1", ridge=2.0)
    x, y = frame[FEATURES], frame["price"]
    for model in (LinearRegression(), RegularizedLeastSquares()):
        with pytest.raises(InputError, match=r"cluster: .state. was given, and .* does not use it"):
            trainer(max_epochs=1).fit(model, TensorData(x, y, cluster=frame["state"]))
    rows = TensorDataset(torch.tensor(x.to_numpy()), torch.tensor(y.to_numpy())[:, None])
    with pytest.raises(InputError, match="errors: HAC takes the rows in their order, and the Data"):
        trainer(max_epochs=1).fit(
            LeastSquares(errors="HAC", lags=1, in_features=2), DataLoader(rows, 10, shuffle=True)
        )
    with pytest.raises(InputError, match="errors: it needs several passes over the rows"):
        fitted(trainer(fast_dev_run=True), TensorData(x, y), errors="HC1")
