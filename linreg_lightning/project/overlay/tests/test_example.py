"""The example and a table train through the command, as a user runs it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CONFIGS
from lightning.pytorch import Trainer

from linreg_lightning import MLP, Batch, TensorData, Waves, cli

Command = Callable[..., Any]


def measured(name: str, text: str) -> float:
    """The last printed value of a metric."""
    return float(re.findall(rf"{name}\D+([\d.]+)", text)[-1])


def test_the_example_finds_the_waves(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    command(f"fit -c {CONFIGS}/example.yaml")
    command("test --ckpt_path last")
    # The noise is 0.1, and no model predicts better than that.
    assert 0.09 < measured("test_rmse", capsys.readouterr().out) < 0.15


def test_fit_without_options_is_the_example(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    command("fit --trainer.max_epochs 2")
    alone = capsys.readouterr().out
    command("fit -c example --trainer.max_epochs 2")
    assert measured("rmse", capsys.readouterr().out) == measured("rmse", alone)


def test_a_table_in_any_units(
    command: Command, houses: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(f"fit --data TabularData --data.path {houses} --data.target price")
    command(f"predict --ckpt_path last --data.path {houses}")
    assert measured("r2", capsys.readouterr().out) > 0.95
    (file,) = Path().glob("**/predictions.csv")
    assert len(file.read_text().splitlines()) == 201


def test_a_row_of_weight_two_counts_as_two_rows(trainer: Callable[..., Trainer]) -> None:
    x, y = torch.randn(6, 2), torch.randn(6, 1)
    twice = torch.tensor([1.0, 1, 1, 1, 1, 2])
    last = [0, 1, 2, 3, 4, 5, 5]
    fitted = []
    for data in (TensorData(x, y, weight=twice), TensorData(x[last], y[last])):
        torch.manual_seed(0)
        model = MLP()
        trainer(max_epochs=3).fit(model, data)
        fitted.append(model(x))
    torch.testing.assert_close(*fitted)


def test_a_batch_without_weight_does_not_diverge(trainer: Callable[..., Trainer]) -> None:
    weight = torch.tensor([1.0, 0, 1, 2])
    model = MLP()
    data = TensorData(torch.randn(4, 2), torch.randn(4), weight=weight, batch_size=1)
    trainer(max_epochs=2).fit(model, data)
    assert model.fit_statistics["rows"] == 3


def test_shapes_of_rows_and_predictions() -> None:
    model = MLP(in_features=2, out_features=3)
    assert model(torch.ones(5, 2)).shape == (5, 3)
    data = Waves(rows=10)
    data.setup("fit")
    assert isinstance(data.splits["train"], Batch)
    assert data.splits["train"].x.shape == (10, 2)


def test_bad_arguments_are_refused(refused: Callable[..., str]) -> None:
    assert "nonsense" in refused("fit --data.nonsense 1")
    assert "hidden: -3 was given" in refused("fit --model.hidden -3")
    assert "lr: -1.0 was given" in refused("fit --model.lr -1")
    assert "rows: 1 was given" in refused("fit --data.rows 1")
    assert "noise: -1.0 was given" in refused("fit --data.noise -1")
    assert "--ckpt_path" in refused("predict")


def test_the_help_names_commands_and_classes(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--help"])
    text = capsys.readouterr().out
    for name in ("fit", "predict", "MLP", "Waves"):
        assert name in text


def test_a_fit_that_diverges_says_so(refused: Callable[..., str]) -> None:
    assert "diverged" in refused("fit --model.lr 1e30 --trainer.max_epochs 5")
