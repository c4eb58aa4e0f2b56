"""RegularizedLeastSquares under the Trainer and on the command line."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

from linreg_lightning import (
    InputError,
    RegularizedLeastSquares,
    Selection,
    SyntheticData,
    TabularData,
    TensorData,
    least_squares,
    select_penalty,
)
from linreg_lightning.algebra import ExactGram
from linreg_lightning.algebra.fold_sums import FoldSums
from linreg_lightning.algebra.folds import folds_of_rows
from linreg_lightning.algebra.selection import select
from linreg_lightning.algebra.selection_options import SelectionOptions
from linreg_lightning.batch import Batch, FoldBatch
from linreg_lightning.models import regularized, selection_progress

MakeTrainer = Callable[..., Trainer]
Linreg = Callable[..., dict[str, Any]]
QUICK: dict[str, Any] = {"alphas": 6, "folds": 4}


def problem(rows: int = 120, targets: int = 1, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return x, of whose five columns two matter, and y."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 5, generator=generator, dtype=torch.float64)
    noise = torch.randn(rows, targets, generator=generator, dtype=torch.float64)
    return x * torch.tensor([1, 1e3, 1, 1e-3, 1]), 1 + x[:, :1] - 2 * x[:, 1:2] + noise


def fitted(make: MakeTrainer, data: Any, path: Any = None, **options: Any) -> Any:
    model = quick(**options)
    make(max_epochs=1).fit(model, data, ckpt_path=path)
    return model


def quick(**options: Any) -> RegularizedLeastSquares:
    return RegularizedLeastSquares(**QUICK | options)


def chosen(x: Any, y: Any, weight: Any = None, **options: Any) -> Selection:
    return select_penalty(x, y, weight, **QUICK | options)


def assert_same_bits(model: Any, expected: Selection) -> None:
    found = model.selection
    for name in ("alphas", "fold_errors", "mean_error", "standard_error", "index"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    for mine, other in zip(found.path, expected.path, strict=True):
        assert torch.equal(mine, other)
    assert found.fold_rows == expected.fold_rows
    if not found.refits:
        width = model.weight.shape[1]
        assert torch.equal(model.weight.T, expected.coefficients.reshape(width, -1))
        assert torch.equal(model.bias, expected.intercept.reshape(-1))


class Rows:
    """A loader of batches that say their folds, in an order of its own."""

    def __init__(self, rows: FoldBatch, order: torch.Tensor, size: int) -> None:
        self.rows, self.order, self.size = rows, order, size

    def __iter__(self) -> Iterator[FoldBatch]:
        return (self.rows.select(part) for part in self.order.split(self.size))

    def __len__(self) -> int:
        return -(-len(self.order) // self.size)


class Resumable:
    """A loader of batches without folds, 20 rows each, that goes on where a checkpoint was made."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.batches, self.given = list(zip(x.split(20), y.split(20), strict=True)), 0

    def __iter__(self) -> Iterator[Any]:
        for batch in self.batches[self.given :]:
            self.given += 1
            yield batch
        self.given = 0

    def __len__(self) -> int:
        return len(self.batches)

    def state_dict(self) -> dict[str, int]:
        return {"given": self.given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.given = state["given"]


# What a selection is


@pytest.mark.parametrize(
    ("options", "targets"),
    [
        ({}, 1),
        ({"penalty": "ridge", "choice": "gcv", "folds": 3}, 2),
        ({"penalty": "elasticnet", "l1_ratio": [0.2, 0.9], "nested": True, "folds": 3}, 1),
        ({"refit": True, "choice": "one_standard_error", "fold_seed": 5}, 2),
        ({"alphas": [1.0, 0.1], "blocks": True, "standardize": False, "intercept": False}, 1),
    ],
)
def test_a_fit_selects_as_select_penalty_does(
    options: dict[str, Any], targets: int, trainer: MakeTrainer
) -> None:
    x, y = problem(targets=targets)
    weight = torch.rand(len(x), dtype=torch.float64)
    weight[3] = 0
    model = fitted(trainer, TensorData(x, y, weight, batch_size=50), **options)
    expected = chosen(x, y, weight, **options)
    assert_same_bits(model, expected)
    names = model.feature_names, model.target_names
    table = expected.table(*names)
    rows = model.coefficients()
    shown = {name: [row[name] for row in rows] for name in table if name != "term"}
    np.testing.assert_equal(shown, {name: table[name] for name in table if name != "term"})
    assert [row["name"] for row in rows] == table["term"]
    assert model.to_frame()["estimate"].tolist() == table["estimate"]
    same = {"r2", "rmse", "loss"} if options.get("refit") else set()
    for name in expected.statistics.keys() - same:
        assert model.fit_statistics[name] == expected.statistics[name]


def test_names_say_which_columns_have_no_penalty(trainer: MakeTrainer) -> None:
    x, y = problem()
    data = TensorData(x, y, feature_names=list("abcde"))
    model = fitted(trainer, data, unpenalized=["e", "a"])
    assert_same_bits(model, chosen(x, y, unpenalized=[4, 0]))
    with pytest.raises(InputError, match=r"^unpenalized: 'x' is no column of x; .*a, b, c, d, e"):
        fitted(trainer, data, unpenalized="x")
    with pytest.raises(InputError, match="unpenalized: all columns of x were given"):
        fitted(trainer, data, unpenalized=list("abcde"))


def test_a_column_of_categories_has_no_penalty_on_any_of_its_levels(trainer: MakeTrainer) -> None:
    x, y = problem()
    frame = pd.DataFrame({"a": x[:, 0], "city": ["Oslo", "Rome", "Bonn"] * 40, "y": y[:, 0]})
    model = fitted(trainer, TabularData(frame, target="y"), unpenalized=["city"])
    assert model.feature_names == ["a", "city[Oslo]", "city[Rome]"]
    assert model.selection.options.unpenalized == (1, 2)
    assert model.selection.path.coefficients[0, 0, :, 0].ne(0).tolist() == [False, True, True]


def test_a_refit_predicts_and_measures_by_least_squares_of_the_columns_chosen(
    trainer: MakeTrainer,
) -> None:
    x, y = problem()
    model = fitted(trainer, TensorData(x, y), refit=True, alphas=[0.3])
    columns = model.selection.nonzero_columns()
    assert columns == [0, 1]
    expected = least_squares(x[:, columns], y[:, 0])
    assert torch.equal(model.weight[0, columns], expected.coefficients)
    assert model.weight[0, 2:].tolist() == [0, 0, 0]
    assert torch.allclose(model.predict(x)[:, 0], expected.predict(x[:, columns]), rtol=1e-13)
    for name in ("r2", "rmse", "loss"):
        assert model.fit_statistics[name] == expected.statistics[name]
    error = model.coefficients()[2]["std_error"]
    assert error == expected.standard_error[2].item()
    assert "too optimistic" in model.summary()
    assert f"rmse {expected.statistics['rmse']:.6g}" in model.summary()


def test_the_summary_shows_the_true_coefficients(trainer: MakeTrainer) -> None:
    data = SyntheticData([1.0, 2.0, 0.0, -3.0], rows=60, noise=1.0)
    model = fitted(trainer, data, alphas=[0.5])
    lines = model.summary().splitlines()
    assert lines[1].split() == ["term", "true", "estimate", "in", "folds", "enters", "at"]
    terms = [tuple(line.split()[:2]) for line in lines[2:6]]
    assert terms == [("intercept", "1"), ("x1", "2"), ("x2", "0"), ("x3", "-3")]


def test_a_column_of_ones_is_the_constant(trainer: MakeTrainer) -> None:
    x, y = problem()
    plain = fitted(trainer, TensorData(x, y))
    ones = torch.cat([x[:, :2], torch.ones(len(x), 1), x[:, 2:]], dim=1)
    names = ["x1", "x2", "intercept", "x3", "x4", "x5"]
    model = fitted(trainer, TensorData(ones, y, feature_names=names))
    assert_same_bits(plain, model.selection)
    assert {r["name"]: r["estimate"] for r in model.coefficients()} == {
        r["name"]: r["estimate"] for r in plain.coefficients()
    }
    assert torch.allclose(model.predict(ones), plain.predict(x), rtol=1e-14)


def test_columns_far_from_0_lose_no_digit_of_the_predictions(trainer: MakeTrainer) -> None:
    generator = torch.Generator().manual_seed(2)
    steps = torch.randint(-9, 10, (90, 3), generator=generator).double()
    offset = torch.tensor([1e12, -1e10, 0.0], dtype=torch.float64)
    y = steps @ torch.tensor([3.0, -2.0, 0.5], dtype=torch.float64)
    near = fitted(trainer, TensorData(steps, y), alphas=[1e-7])
    far = fitted(trainer, TensorData(steps + offset, y), alphas=[1e-7])
    predictions = near.predict(steps), far.predict(steps + offset)
    assert torch.allclose(*predictions, rtol=0, atol=1e-11)


# The same bits


def test_batches_and_their_order_change_no_bit(trainer: MakeTrainer) -> None:
    x, y = problem()
    expected = chosen(x, y)
    for size in (None, 7):
        assert_same_bits(fitted(trainer, TensorData(x, y, batch_size=size)), expected)
    rows = FoldBatch(x, y, None, folds_of_rows(0, len(x), 4))
    for size in (120, 11):
        order = torch.randperm(len(x))
        model = fitted(trainer, Rows(rows, order, size), in_features=5)
        assert_same_bits(model, expected)


def test_rows_added_to_a_checkpoint_are_added_to_its_folds(trainer: MakeTrainer) -> None:
    x, y = problem(200)
    parts, sums, path = (slice(0, 70), slice(70, 200)), FoldSums(ExactGram, 4, 5), None
    for number, part in enumerate(parts):
        model, make = quick(choice="bic"), trainer(max_epochs=1)
        make.fit(model, TensorData(x[part], y[part], batch_size=40), ckpt_path=path)
        path = f"{number}.ckpt"
        make.save_checkpoint(path)
        sums.update(Batch(x[part], y[part]), folds_of_rows(0, len(x[part]), 4))
    assert_same_bits(model, select(sums, SelectionOptions(alphas=6, choice="bic")))
    again = fitted(trainer, TensorData(x[parts[1]], y[parts[1]]), "0.ckpt", penalty="ridge")
    assert_same_bits(again, select(sums, SelectionOptions(penalty="ridge", alphas=6)))


def test_rows_with_new_levels_are_added_to_the_folds(trainer: MakeTrainer) -> None:
    x, y = problem(90)
    frame = pd.DataFrame({"a": x[:, 0], "city": ["Oslo", "Rome"] * 45, "y": y[:, 0]})
    make = trainer(max_epochs=1)
    make.fit(quick(), TabularData(frame, target="y"))
    make.save_checkpoint("first.ckpt")
    later = frame.assign(city=["Pisa", "Rome"] * 45)
    data = TabularData.load_from_checkpoint("first.ckpt", path=later, unseen="add")
    model = fitted(trainer, data, "first.ckpt")
    assert model.feature_names == ["a", "city[Pisa]", "city[Rome]"]
    columns = torch.zeros(180, 3, dtype=torch.float64)
    columns[:, 0] = x[:, 0].repeat(2)
    columns[90::2, 1], columns[1::2, 2] = 1, 1
    fold = folds_of_rows(0, 90, 4).repeat(2)
    assert_same_bits(model, chosen(columns, y.repeat(2, 1), folds=fold))


@pytest.mark.parametrize("tells_folds", [True, False])
def test_an_interrupted_pass_goes_on(tells_folds: bool, trainer: MakeTrainer) -> None:
    x, y = problem(55)

    def data() -> Any:
        return TensorData(x, y, batch_size=20) if tells_folds else Resumable(x, y)

    expected = chosen(x, y, folds=5)
    saver = ModelCheckpoint("steps", every_n_train_steps=1, save_top_k=-1)
    make = trainer(max_epochs=1, enable_checkpointing=True, callbacks=[saver])
    make.fit(quick(folds=5, in_features=5), data())
    _, second, last = sorted(Path("steps").glob("*.ckpt"))
    assert_same_bits(fitted(trainer, data(), second, folds=5, in_features=5), expected)
    assert_same_bits(RegularizedLeastSquares.load_from_checkpoint(last), expected)


def test_loaders_that_tell_no_folds_give_them_by_the_number_of_the_row(
    trainer: MakeTrainer,
) -> None:
    x, y = problem()
    order = torch.randperm(len(x))
    loader = DataLoader(TensorDataset(x, y), 16, sampler=order.tolist())
    model = fitted(trainer, loader, in_features=5, folds=4)
    assert_same_bits(model, chosen(x[order], y[order], folds=4))
    with pytest.raises(InputError, match="blocks: True was given, and the loader does not say"):
        fitted(trainer, loader, in_features=5, blocks=True)


def test_auto_adds_the_rows_again_where_float64_gives_too_few_digits(
    trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("linreg_lightning.algebra.gram_state.EXACT_LIMIT", 100)
    x, y = problem()
    make, plain = trainer(max_epochs=1), quick()
    make.fit(plain, TensorData(x, y, batch_size=50))
    assert (make.current_epoch, plain.selection and plain.selection.accuracy) == (1, "float64")
    x[:, 2] = x[:, 0] + 1e-6 * x[:, 2]
    make, model = trainer(max_epochs=1), quick(alphas=[1e-9])
    make.fit(model, TensorData(x, y, batch_size=50))
    assert make.current_epoch == 2
    assert make.callback_metrics["train_loss"] == pytest.approx(model.fit_statistics["loss"])
    assert_same_bits(model, chosen(x, y, alphas=[1e-9], accuracy="exact"))


# Checkpoints


def test_a_checkpoint_alone_predicts(trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = problem()
    frame = pd.DataFrame(x.numpy(), columns=list("abcde")).assign(y=y[:, 0])
    make, model = trainer(max_epochs=1), quick()
    make.fit(model, TabularData(frame, target="y"))
    make.save_checkpoint("fit.ckpt")
    again = RegularizedLeastSquares.load_from_checkpoint("fit.ckpt")
    assert model.selection
    assert_same_bits(again, model.selection)
    assert again.summary() == model.summary()
    assert repr(again) == repr(model)
    shuffled = frame[list("ecabd")]
    assert again.predict(shuffled)["y"].tolist() == model.predict(frame)["y"].tolist()
    # The weights are in the checkpoint, so that a prediction need not wait for a selection.
    with monkeypatch.context() as patch:
        patch.setattr(regularized, "select", None)
        new = quick()
        data = TabularData(frame, target="y", test_fraction=1.0)
        (predicted,) = trainer().predict(new, data, ckpt_path="fit.ckpt")
        (measured,) = trainer().test(new, data, ckpt_path="fit.ckpt", verbose=False)
    assert torch.allclose(predicted, model.predict(x), rtol=1e-14)
    assert measured["test_rmse"] == pytest.approx(model.fit_statistics["rmse"], rel=1e-12)
    np.testing.assert_equal(new.coefficients(), model.coefficients())


def test_a_checkpoint_loaded_with_another_choice_predicts_by_it(trainer: MakeTrainer) -> None:
    x, y = problem()
    make = trainer(max_epochs=1)
    make.fit(quick(), TensorData(x, y))
    make.save_checkpoint("fit.ckpt")
    expected = chosen(x, y, choice="one_standard_error")
    again = RegularizedLeastSquares.load_from_checkpoint("fit.ckpt", choice="one_standard_error")
    assert_same_bits(again, expected)
    new = quick(choice="one_standard_error")
    (predicted,) = trainer().predict(new, TensorData(x, y), ckpt_path="fit.ckpt")
    assert torch.equal(predicted, again.predict(x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 5}, "folds: 5 was given .* made with 4"),
        ({"blocks": True}, "blocks: True was given .* made with False"),
        ({"fold_seed": 1}, "fold_seed: 1 was given .* made with 0"),
    ],
)
def test_other_folds_than_those_of_a_checkpoint_are_refused(
    options: dict[str, Any], message: str, trainer: MakeTrainer
) -> None:
    data, make = TensorData(*problem()), trainer(max_epochs=1)
    make.fit(quick(), data)
    make.save_checkpoint("fit.ckpt")
    with pytest.raises(InputError, match=message):
        fitted(trainer, data, "fit.ckpt", **options)


# Refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 1}, "folds: 1 was given; type a whole number from 2 to 255"),
        ({"folds": 2.5}, "folds: 2.5 was given; type a whole number"),
        ({"folds": True}, "folds: True was given; type a whole number"),
        ({"penalty": "l2"}, "penalty: l2 was given; type ridge, lasso or elasticnet"),
        ({"penalty": "elasticnet", "l1_ratio": 2.0}, "l1_ratio: 2.0 was given"),
        ({"alphas": [0.1, 0.2]}, "alphas: .* decreasing order"),
        ({"choice": "max"}, "choice: max was given"),
        ({"confidence": 2.0}, "confidence: 2.0 was given"),
        ({"accuracy": "low"}, "accuracy: 'low' was given"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        RegularizedLeastSquares(**options)


def test_rows_and_settings_that_exclude_a_fit_are_refused_in_one_line(
    trainer: MakeTrainer,
) -> None:
    x, y = problem()
    with pytest.raises(InputError, match=r"^folds: none of the rows .* type fewer folds"):
        fitted(trainer, TensorData(x[:3], y[:3]))
    frame = pd.DataFrame({"a": x[:, 0], "y": y[:, 0], "g": ["u", "v"] * 60})
    with pytest.raises(InputError, match=r"^by: RegularizedLeastSquares fits one regression"):
        fitted(trainer, TabularData(frame, target="y", by="g"))
    x[7, 2] = torch.nan
    with pytest.raises(InputError, match=r"'c'.* row 8"):
        fitted(trainer, TensorData(x, y, batch_size=4, feature_names=list("abcde")))
    model = RegularizedLeastSquares(in_features=5)
    for call in (model.coefficients, model.summary, model.to_frame, lambda: model.predict(x)):
        with pytest.raises(InputError, match="the model has not been fitted"):
            call()
    assert repr(model) == "<RegularizedLeastSquares: not fitted>"
    with pytest.raises(InputError, match="min_epochs: 2 was given; RegularizedLeastSquares has"):
        trainer(min_epochs=2).fit(model, TensorData(*problem()))


# The command


def test_the_command_fits_and_adds_rows(
    command: Linreg, refused: Callable[..., str], houses: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pd.read_csv(houses)
    frame[150:].to_csv("later.csv", index=False)
    frame[:150].to_csv("t.csv", index=False)
    found = command("fit --model RegularizedLeastSquares --data.path t.csv --data.target price")
    x, y = (torch.tensor(frame[names].to_numpy()) for names in (["sqft", "beds", "age"], ["price"]))
    expected = select_penalty(x[:150], y[:150])
    assert found["rows"] == 150
    assert [row["estimate"] for row in found["coefficients"]] == expected.table([*"abc"], ["y"])[
        "estimate"
    ]
    assert found["fit"]["alpha"] == expected.statistics["alpha"]
    message = refused("fit --ckpt_path last --data.path later.csv --model.fold_seed 1")
    assert "--model.fold_seed: 1 was given" in message
    line = "fit --ckpt_path last --data.path later.csv --model.choice one_standard_error"
    assert command(line)["rows"] == 200
    capsys.readouterr()
    command("summary")
    assert "in folds" in capsys.readouterr().out


def test_a_slow_selection_shows_how_far_it_is(
    trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def slow(sums: Any, options: Any, progress: Any, **others: Any) -> Selection:
        time.sleep(0.12)
        progress(0.4)
        return select(sums, replace(options, nested=False), **others)

    monkeypatch.setattr(regularized, "select", slow)
    for seconds, is_shown in ((0.0, True), (60.0, False)):
        monkeypatch.setattr(selection_progress, "SECONDS_BEFORE_BAR", seconds)
        make = trainer(max_epochs=1, enable_progress_bar=True)
        make.fit(quick(nested=True), TensorData(*problem()))
        errors = capsys.readouterr().err
        for number in ("  0%", " 40%"):
            assert (number in errors) is is_shown
