"""It learns, resumes bit for bit, runs by its command, and refuses bad input."""

from pathlib import Path

import pytest
import torch
from linreg_lightning import InputError

from my_project.__main__ import command

CPU = {"trainer.accelerator": "cpu", "figures": False}


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def weights(run: int) -> dict[str, torch.Tensor]:
    (path,) = Path(f"logs/version_{run}/checkpoints").glob("*.ckpt")
    return dict(torch.load(path, weights_only=True)["state_dict"])


def test_it_learns() -> None:
    metrics = command.fit(CPU)
    assert metrics["val_r2"] > 0.9


def test_a_resumed_fit_ends_with_the_same_bits() -> None:
    command.fit({**CPU, "trainer.max_epochs": 4})
    command.fit({**CPU, "trainer.max_epochs": 2})
    command.fit({**CPU, "trainer.max_epochs": 4, "ckpt_path": "last"})
    whole, resumed = weights(0), weights(2)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_the_command_fits_tests_and_predicts(capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["fit", "-c", "base", "-c", "debug"])
    command.main(["test", "--ckpt_path", "last"])
    command.main(["predict", "--ckpt_path", "last"])
    assert "test_loss" in capsys.readouterr().out
    assert list(Path("logs").glob("*/*.png"))
    (predictions,) = Path("logs").glob("*/predictions.csv")
    assert len(predictions.read_text().splitlines()) > 1


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="lr: -1"):
        command.fit({**CPU, "model.lr": -1.0})
    with pytest.raises(InputError, match="nowhere"):
        command.fit({**CPU, "data.path": "nowhere.csv"})
