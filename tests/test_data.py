import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, strategies as st
from lightning.pytorch import Callback, Trainer, seed_everything

from linreg_lightning import (
    Batch,
    InputError,
    LeastSquares,
    LinearRegression,
    SyntheticData,
    TabularData,
    TensorData,
    cli,
)
from linreg_lightning.data.tensors import random_split
from linreg_lightning.tutorial import make_rows

# SyntheticData


def test_synthetic_data_give_the_tutorials_rows_by_default() -> None:
    data = SyntheticData()
    data.setup("fit")
    truth = torch.tensor([[1.0], [2.0], [3.0]])
    x, y = make_rows(truth, 100, 0.5, torch.Generator().manual_seed(0))
    train = data.splits["train"]
    assert train.x.shape == (100, 3)
    assert train.y.shape == (100, 1)
    assert train.weight is None
    assert torch.equal(train.x, x)
    assert torch.equal(train.y, y)
    assert data.feature_names == ["intercept", "x1", "x2"]
    assert data.target_names == ["y"]
    assert data.true_coefficients == {"y": {"intercept": 1.0, "x1": 2.0, "x2": 3.0}}
    (batch,) = data.train_dataloader()
    assert batch.rows == 100


def test_synthetic_rows_do_not_depend_on_the_global_seed() -> None:
    drawn = []
    for seed in (1, 2):
        seed_everything(seed)
        data = SyntheticData(rows=10)
        data.setup("fit")
        drawn.append(data.splits["train"].x)
    assert torch.equal(*drawn)
    other = SyntheticData(rows=10, seed=1)
    other.setup("fit")
    assert not torch.equal(other.splits["train"].x, drawn[0])


def test_splits_differ_and_training_rows_do_not_depend_on_other_splits() -> None:
    data, alone = SyntheticData(), SyntheticData(val_rows=0, test_rows=0)
    data.setup("fit")
    alone.setup("fit")
    assert torch.equal(alone.splits["train"].x, data.splits["train"].x)
    parts = [data.splits[name].x[:, 1] for name in ("train", "val", "test")]
    assert len(torch.cat(parts).unique()) == 300


@pytest.mark.parametrize(
    ("options", "shape", "truth"),
    [
        ({"features": 4}, (5, 1), [1, 2, 3, 4, 5]),
        ({"features": 1, "targets": 2}, (2, 2), [1, 2, 3, 4]),
        ({"weights": [5.0]}, (1, 1), [5]),
        ({"weights": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]}, (2, 3), [1, 2, 3, 4, 5, 6]),
    ],
)
def test_synthetic_data_have_any_number_of_features_and_targets(
    options: dict, shape: tuple, truth: list
) -> None:
    data = SyntheticData(**options, noise=0.0)
    data.setup("fit")
    rows = data.splits["train"]
    assert (rows.x.shape[1], rows.y.shape[1]) == shape == (data.in_features, data.out_features)
    weights = torch.tensor(truth, dtype=torch.float32).reshape(shape[1], shape[0]).T
    torch.testing.assert_close(rows.y, rows.x @ weights)
    values = [value for column in data.true_coefficients.values() for value in column.values()]
    assert values == truth


def test_y_keeps_its_constant_without_the_column_of_ones() -> None:
    data, bare = SyntheticData(), SyntheticData(ones=False)
    data.setup("fit")
    bare.setup("fit")
    assert bare.feature_names == ["x1", "x2"]
    assert torch.equal(bare.splits["train"].x, data.splits["train"].x[:, 1:])
    assert torch.equal(bare.splits["train"].y, data.splits["train"].y)
    assert bare.true_coefficients == data.true_coefficients


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": -1.0}, "noise: -1.0 was given"),
        ({"rows": 1}, "rows: 1 was given; type a whole number, 2 or above"),
        ({"val_rows": -1}, "val_rows: -1 was given"),
        ({"weights": []}, r"weights: \[\] was given"),
        ({"weights": [[1.0], [2.0, 3.0]]}, "weights: .* of one length"),
        ({"weights": [float("nan")]}, "weights: "),
        ({"weights": [1.0], "features": 2}, "leave one of them out"),
        ({"targets": 0}, "targets: 0 was given"),
        ({"batch_size": 0}, "batch_size: 0 was given; type a whole number above 0"),
        ({"batch_size": 2.5}, "batch_size: 2.5 was given"),
        ({"seed": -1}, "seed: -1 was given; type a whole number from 0"),
        ({"seed": 2**63}, "seed: 9223372036854775808 was given"),
    ],
)
def test_synthetic_data_refuse_invalid_arguments(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SyntheticData(**options)


# TensorData


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("convert", [torch.Tensor.clone, torch.Tensor.numpy])
def test_tensors_and_arrays_keep_their_precision(dtype: torch.dtype, convert: Callable) -> None:
    x, y = torch.randn(6, 2, dtype=dtype), torch.randn(6, dtype=dtype)
    data = TensorData(convert(x), convert(y))
    data.setup("fit")
    (batch,) = data.train_dataloader()
    assert batch.x.dtype == batch.y.dtype == dtype
    assert torch.equal(batch.x, x)
    assert batch.y.shape == (6, 1)
    assert torch.equal(batch.y.squeeze(1), y)
    assert (data.feature_names, data.target_names) == (["x1", "x2"], ["y"])


def test_tensors_are_not_copied() -> None:
    x, y = torch.randn(6, 2), torch.randn(6, 1)
    data = TensorData(x, y)
    data.setup("fit")
    assert data.splits["train"].x.data_ptr() == x.data_ptr()


def test_data_frames_give_the_column_names() -> None:
    frame = pd.DataFrame({"a": [1, 2, 3], "b": [True, False, True], "c": [0.5, 1.5, 2.5]})
    data = TensorData(frame[["a", "b"]], frame["c"])
    data.setup("fit")
    assert (data.feature_names, data.target_names) == (["a", "b"], ["c"])
    expected = torch.tensor([[1, 1], [2, 0], [3, 1]], dtype=torch.float64)
    assert torch.equal(data.splits["train"].x, expected)
    assert torch.equal(data.splits["train"].y, torch.tensor([[0.5], [1.5], [2.5]]).double())


def test_lists_are_accepted_with_given_column_names() -> None:
    data = TensorData(
        [[1, 2], [3, 4]], [[5, 6], [7, 8]], feature_names=["p", "q"], target_names=["r", "s"]
    )
    data.setup("fit")
    assert data.feature_names == ["p", "q"]
    assert data.splits["train"].y.shape == (2, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"y": torch.ones(3)}, r"y: a shape of \(3, 1\) was given beside x of \(4, 2\)"),
        ({"weight": torch.ones(3)}, r"weight: a shape of \(3,\)"),
        ({"weight": [1, 2, -3, 1]}, "weight: -3 was given in row 3"),
        ({"weight": [0, 0, 0, 0]}, "weight: it is 0 in every row"),
        ({"x": torch.ones(4)}, r"x: a shape of \(4,\)"),
        ({"x": [[1, 2], [3, float("nan")], [5, 6], [7, 8]]}, "column 'x2': row 2 holds nan"),
        ({"y": [1, 2, float("inf"), 4]}, "column 'y': row 3 holds inf"),
        (
            {"x": pd.DataFrame({"a": ["p", "q", "r", "s"]})},
            "x: it has 'p' in column 'a', row 1, which is no number",
        ),
        ({"feature_names": ["a"]}, "feature_names: .* 2 different names are needed"),
        ({"feature_names": ["a", "a"]}, "feature_names: "),
        ({"feature_names": ["intercept", "b"], "x": [[1, 2]] * 3 + [[2, 2]]}, "is not all ones"),
        ({"val_fraction": 1.5}, "val_fraction: 1.5 was given"),
        ({"val_fraction": 0.6, "test_fraction": 0.6}, "together they must not be above 1"),
        ({"x": torch.ones(4, 2, dtype=torch.complex64)}, "complex"),
    ],
)
def test_tensor_data_refuse_invalid_arguments(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TensorData(**{"x": torch.ones(4, 2), "y": torch.ones(4), **options}).setup("fit")


def test_one_row_is_too_few_to_fit_and_enough_to_predict() -> None:
    data = TensorData(torch.ones(1, 2), torch.ones(1))
    data.setup("fit")
    with pytest.raises(InputError, match="TensorData: 1 row to train on; a fit needs at least 2"):
        data.train_dataloader()
    data.setup("predict")
    (batch,) = data.predict_dataloader()
    assert batch.rows == 1


# Splits


@given(
    n=st.integers(1, 80),
    val=st.floats(0, 1),
    test=st.floats(0, 1),
    seed=st.integers(0, 5),
)
def test_splits_are_disjoint_complete_and_repeatable(
    n: int, val: float, test: float, seed: int
) -> None:
    number = torch.arange(n).unsqueeze(1)
    rows = Batch(number, number, number.squeeze(1))
    if val + test > 1:
        with pytest.raises(InputError, match="together"):
            random_split(rows, val, test, seed)
        return
    parts = random_split(rows, val, test, seed)
    assert sorted(torch.cat([part.x for part in parts]).flatten().tolist()) == list(range(n))
    assert abs(parts[1].rows - n * val) <= 1
    assert abs(parts[2].rows - n * test) <= 1
    for part, again in zip(parts, random_split(rows, val, test, seed), strict=True):
        assert torch.equal(part.x, again.x)
        assert torch.equal(part.x, part.y)
        assert torch.equal(part.x.squeeze(1), part.weight)


def test_the_split_does_not_depend_on_batch_size_or_global_seed(houses: Path) -> None:
    validation = []
    for batch_size, seed in ((None, 1), (7, 2)):
        seed_everything(seed)
        data = TabularData(str(houses), "price", val_fraction=0.3, batch_size=batch_size)
        data.setup("fit")
        validation.append(data.splits["val"].x)
    assert torch.equal(*validation)
    assert len(validation[0]) == 60
    other = TabularData(str(houses), "price", val_fraction=0.3, seed=1)
    other.setup("fit")
    assert not torch.equal(other.splits["val"].x, validation[0])


# TabularData


def test_tabular_data_read_the_same_numbers_as_numpy(houses: Path) -> None:
    data = TabularData(str(houses), "price")
    data.setup("fit")
    table = np.loadtxt(houses, delimiter=",", skiprows=1)
    rows = data.splits["train"]
    assert data.feature_names == ["sqft", "beds", "age"]
    assert np.array_equal(rows.x.numpy(), table[:, :3])
    assert np.array_equal(rows.y.numpy(), table[:, 3:])


def test_columns_are_chosen_by_name_in_the_given_order(houses: Path) -> None:
    data = TabularData(str(houses), ["price", "beds"], features=["age"], weight="sqft")
    data.setup("fit")
    table = np.loadtxt(houses, delimiter=",", skiprows=1)
    rows = data.splits["train"]
    assert np.array_equal(rows.x.numpy(), table[:, [2]])
    assert np.array_equal(rows.y.numpy(), table[:, [3, 1]])
    assert np.array_equal(rows.weight.numpy(), table[:, 0])


def test_a_table_to_predict_needs_no_target(houses: Path) -> None:
    frame = pd.read_csv(houses)
    frame[["age", "sqft", "beds"]].to_csv("new.csv", index=False)
    data = TabularData("new.csv", "price", features=["sqft", "beds", "age"])
    data.setup("predict")
    (batch,) = data.predict_dataloader()
    assert np.array_equal(batch.x.numpy(), frame[["sqft", "beds", "age"]].to_numpy())
    assert batch.y.shape == (200, 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("a,b,y", "has no line end"),
        ("a,b,y\n", "has a header but no rows"),
        ("a,b,y\n1,2,3\n4,5\n", "has 2 values in row 2 where its header has 3"),
        ("a,b,y\n1,2,3\n1,x,4\n", "has 'x' in column 'b', row 2, which is no number"),
        ("a,b,y\n1,2,3\n1,,4\n", "column 'b': row 2 holds nan"),
        ("a,b,y\n1,2,3\n1,NaN,4\n", "column 'b': row 2 holds nan"),
        ("a,b,y\n1,2,inf\n1,2,4\n", "column 'y': row 1 holds inf"),
        ("a,a,y\n1,2,3\n", "has two columns named 'a'"),
        ("a,b,yy\n1,2,3\n", "has no column 'y'; did you mean 'yy'?"),
        ("p,q,r\n1,2,3\n", "has no column 'y'; it has p, q, r"),
        ("p;y\n1;2\n", "separates its columns by ';'; type delimiter ';'"),
    ],
)
def test_bad_files_are_refused(content: str, message: str) -> None:
    Path("bad.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        TabularData("bad.csv", "y").setup("fit")


def test_text_that_is_not_utf8_is_refused() -> None:
    for content in ("a,y\n1,2\né,2\n", "é,y\n1,2\n2,2\n"):
        Path("bad.csv").write_bytes(content.encode("latin1"))
        with pytest.raises(InputError, match="is not UTF-8"):
            TabularData("bad.csv", "y").setup("fit")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "nowhere.csv"}, "path: there is no file nowhere.csv"),
        ({"path": "empty"}, "path: there are no files in the folder empty"),
        ({"target": []}, "target: no column was given"),
        ({"features": ["sqft", "bed"]}, "features: .* no column 'bed'; did you mean 'beds'"),
        ({"features": ["sqft", "price"]}, "features: 'price' is a target"),
        ({"features": ["sqft", "sqft"]}, "features: .* names a column twice"),
        ({"weight": "w"}, "weight: .* has no column 'w'"),
        ({"test_fraction": -0.1}, "test_fraction: -0.1 was given"),
        ({"batch_size": -2}, "batch_size: -2 was given"),
    ],
)
def test_tabular_data_refuse_invalid_arguments(houses: Path, options: dict, message: str) -> None:
    Path("empty").mkdir()
    with pytest.raises(InputError, match=message):
        TabularData(**{"path": str(houses), "target": "price", **options}).setup("fit")


def test_a_bad_cell_is_reported_by_column_in_any_order_of_features() -> None:
    Path("bad.csv").write_text("a,b,c,y\n1,2,3,4\n1,2,oops,4\n")
    with pytest.raises(InputError, match="'oops' in column 'c', row 2"):
        TabularData("bad.csv", "y", features=["c", "a"]).setup("fit")


def test_shuffle_by_blocks_keeps_the_rows_of_each_batch() -> None:
    data = TensorData(
        torch.arange(40.0).unsqueeze(1), torch.zeros(40), batch_size=4, shuffle="blocks"
    )
    data.setup("fit")
    loader = data.train_dataloader()
    first, second = ({tuple(batch.x.flatten().tolist()) for batch in loader} for _ in range(2))
    assert first == second
    assert {number for block in first for number in block} == set(range(40))
    with pytest.raises(InputError, match="shuffle: 'rows' was given; type true, false or blocks"):
        TensorData(torch.ones(4, 1), torch.ones(4), shuffle="rows")


def test_reversed_big_endian_and_masked_arrays_are_read_correctly() -> None:
    x = np.arange(12.0).reshape(6, 2)
    for array in (x[::-1], x.astype(">f8"), x.astype(np.longdouble)):
        data = TensorData(array, x[:, 0], batch_size=np.int64(3))
        data.setup("fit")
        assert data.splits["train"].x.tolist() == array.tolist()
    masked = TensorData(np.ma.masked_equal(x, 4.0), x[:, 0])
    with pytest.raises(InputError, match="column 'x1': row 3 holds nan"):
        masked.setup("fit")


def test_overfit_batches_repeats_the_same_batches(trainer: Callable[..., Trainer]) -> None:
    seen = []

    class Spy(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
            seen.append(batch.x.flatten().tolist())

    data = TensorData(torch.arange(50.0)[:, None], torch.arange(50.0), batch_size=5)
    runner = trainer(max_epochs=3, overfit_batches=2, callbacks=[Spy()])
    runner.fit(LinearRegression(lr=1e-6), data)
    assert seen[:2] == seen[2:4] == seen[4:]
    assert seen[0] != seen[1]


def test_tensors_with_gradients_are_accepted_and_sparse_tensors_are_refused() -> None:
    x = torch.ones(4, 2, requires_grad=True)
    data = TensorData(x * 2, x.sum(1), weight=x[:, 0])
    data.setup("fit")
    assert not any(part.requires_grad for part in data.splits["train"])
    with pytest.raises(
        InputError, match="x: a sparse tensor, or one on the meta device, was given"
    ):
        TensorData(torch.eye(3).to_sparse(), torch.ones(3))


# Subclasses of TabularData

HOUSES = '''
import linreg_lightning as ll


class Houses(ll.TabularData):
    """Houses.

    Args:
        path: the file of houses.
        target: what to predict.
        val_fraction: the part of the rows for validation.
        **kwargs: as in `TabularData`.
    """

    def __init__(
        self,
        path: str | list[str] = "houses.csv",
        target: str = "price",
        val_fraction: float = 0.2,
        **kwargs,
    ) -> None:
        super().__init__(
            path, target, val_fraction=val_fraction, missing="drop", na_values=-1, **kwargs
        )
'''


@pytest.fixture
def mine(houses: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a module of a project's own data, beside a table of which one value is missing."""
    lines = houses.read_text().splitlines()
    lines[3] = lines[3].replace(lines[3].split(",")[2], "-1")
    houses.write_text("\n".join(lines) + "\n")
    Path("mine.py").write_text(HOUSES)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    yield importlib.import_module("mine")
    sys.modules.pop("mine")


@pytest.mark.filterwarnings("ignore:1 of ")
def test_a_checkpoint_makes_data_of_a_subclass_again(
    mine: Any, trainer: Callable[..., Trainer]
) -> None:
    frame = pd.read_csv("houses.csv")
    plain = TabularData("houses.csv", "price", val_fraction=0.2, missing="drop", na_values=-1)
    for source in ("houses.csv", frame):
        data = mine.Houses(source, batch_size=50)
        runner, model = trainer(max_epochs=1), LeastSquares()
        runner.fit(model, data)
        # The subclass gives `missing` and `na_values` itself, so that a checkpoint must not.
        assert data.hparams.keys() == {"path", "target", "val_fraction", "batch_size", "design"}
        assert data.hparams["path"] in ("houses.csv", "<pandas DataFrame in memory>")
    runner.save_checkpoint("a.ckpt")
    trainer(max_epochs=1).fit(reference := LeastSquares(), plain)
    assert model.coefficients() == reference.coefficients()
    loaded = mine.Houses.load_from_checkpoint("a.ckpt", path="houses.csv", weights_only=True)
    loaded.setup("fit")
    assert loaded.batch_size == 50
    assert torch.equal(loaded.splits["val"].x, data.splits["val"].x)
    # Rows of a frame are read as the subclass reads its files.
    answer = LeastSquares.load_from_checkpoint("a.ckpt").predict(frame)
    assert answer.price.isna().tolist() == (frame.age == -1).tolist()


@pytest.mark.filterwarnings("ignore:1 of ")
def test_the_command_fits_and_resumes_with_data_of_a_subclass(
    mine: Any, command: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    model = "--model.standardize true"
    command(f"fit --data mine.Houses --data.batch_size 50 {model} --trainer.max_epochs 2")
    command("fit --ckpt_path last --trainer.max_epochs 4")
    resumed = command("fit --ckpt_path last --trainer.max_epochs 5")
    capsys.readouterr()
    whole = command(f"fit --data mine.Houses --data.batch_size 50 {model} --trainer.max_epochs 5")
    assert resumed == whole
    command("predict --ckpt_path last")
    (file,) = Path("logs").glob("**/predictions.csv")
    assert pd.read_csv(file).price.isna().sum() == 1
    Path("new.csv").write_text(Path("houses.csv").read_text())
    command("test --ckpt_path last --data.path new.csv --data.test_fraction 1")
    assert "test_r2" in capsys.readouterr().out
    checkpoint = max(Path("logs").glob("**/*.ckpt"), key=lambda path: path.stat().st_mtime_ns)
    data = mine.Houses.load_from_checkpoint(checkpoint, path=pd.read_csv("houses.csv"))
    assert data.feature_names == ["sqft", "beds", "age"]
    with pytest.raises(SystemExit):
        cli.main(["fit", "--data.help", "mine.Houses"])
    text = capsys.readouterr().out
    assert "the file of houses" in text
    assert all(f"--data.{name} " in text for name in ("delimiter", "classes", "seed", "design"))
    assert not any(f"--data.{name} " in text for name in ("missing", "na_values"))


def test_a_subclass_that_takes_no_design_is_refused(houses: Path) -> None:
    class Fixed(TabularData):
        def __init__(self, path: str) -> None:
            super().__init__(path, "price")

    with pytest.raises(InputError, match=r"design: Fixed does not take it, .* let Fixed.__init__"):
        Fixed("houses.csv")
