"""The model learns its example, and bad input is refused."""

import pytest
from linreg_lightning import InputError

from my_project.__main__ import command

CPU = {"trainer.accelerator": "cpu", "figures": False}


def test_it_learns() -> None:
    metrics = command.fit(CPU)
    assert metrics["val_accuracy"] > 0.85


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="lr: -1"):
        command.fit({**CPU, "model.lr": -1.0})
    with pytest.raises(InputError, match="nowhere"):
        command.fit({**CPU, "data.path": "nowhere.csv"})
