"""A fit resumes bit for bit, and the command fits, tests and predicts."""

from pathlib import Path

import pytest
import torch

from my_project.__main__ import command

CPU = {"trainer.accelerator": "cpu", "figures": False}


def weights(run: int) -> dict[str, torch.Tensor]:
    (path,) = Path(f"logs/version_{run}/checkpoints").glob("*.ckpt")
    return dict(torch.load(path, weights_only=True)["state_dict"])


def test_a_resumed_fit_ends_with_the_same_bits() -> None:
    command.fit({**CPU, "trainer.max_epochs": 2})
    command.fit({**CPU, "trainer.max_epochs": 1})
    command.fit({**CPU, "trainer.max_epochs": 2, "ckpt_path": "last"})
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
