"""Fixtures and helpers that several test files use."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Each pytest-xdist worker gets one core. With more threads than cores, torch's threads spin while
# they wait for each other: one test took 57 seconds instead of 3.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from lightning.pytorch import Trainer

from linreg_lightning import cli
from linreg_lightning.tight_loop.step_group import StepGroup

CONFIGS = Path(__file__).parent.parent / "configs"


def pytest_collection_finish() -> None:
    """Spare the garbage collector the millions of objects of the imported libraries.

    Without it, the suite takes a sixth longer.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _empty_folder_and_fixed_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)


@pytest.fixture
def trainer() -> Callable[..., Trainer]:
    """Return a function that makes a Trainer; this Trainer writes no file and prints nothing."""

    def make(**options: Any) -> Trainer:
        quiet: dict[str, Any] = {
            "max_epochs": 100,
            "accelerator": "cpu",
            "devices": 1,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "log_every_n_steps": 1,
        }
        return Trainer(**{**quiet, **options})

    return make


@pytest.fixture(scope="session")
def command() -> Callable[..., dict[str, Any]]:
    """Return a function that runs `linreg` and returns the newest coefficients.json.

    The command runs in this process, on the CPU. It draws figures only if `--figures` is given.
    """

    def run(*args: str) -> dict[str, Any]:
        words = " ".join(args).split()
        if words[0] != "summary":
            words += ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
        if words[0] == "fit" and "--figures" not in words:
            words += ["--figures", "false"]
        cli.main(words)
        files = sorted(
            Path().glob("**/coefficients.json"), key=lambda file: file.stat().st_mtime_ns
        )
        answer: dict[str, Any] = json.loads(files[-1].read_text()) if files else {}
        return answer

    return run


@pytest.fixture
def refused(
    command: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Return a function that runs `linreg`, checks that it fails, and returns its error message."""

    def run(*args: str) -> str:
        with pytest.raises(SystemExit) as stop:
            command(*args)
        assert stop.value.code in (1, 2)
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert message.startswith("linreg: error: ")
        return message

    return run


@pytest.fixture
def houses() -> Path:
    """Write a table of columns with different scales.

    price = 50000 + 150 sqft + 10000 beds - 500 age + noise.
    """
    generator = torch.Generator().manual_seed(1)
    rows = 200
    sqft = 500 + 3500 * torch.rand(rows, generator=generator, dtype=torch.float64)
    beds = torch.randint(1, 7, (rows,), generator=generator).double()
    age = 80 * torch.rand(rows, generator=generator, dtype=torch.float64)
    noise = 1000 * torch.randn(rows, generator=generator, dtype=torch.float64)
    price = 50000 + 150 * sqft + 10000 * beds - 500 * age + noise
    lines = zip(*(column.tolist() for column in (sqft, beds, age, price)), strict=True)
    text = "\n".join(",".join(map(repr, line)) for line in lines)
    path = Path("houses.csv")
    path.write_text(f"sqft,beds,age,price\n{text}\n")
    return path


def least_squares(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the coefficients, (features, targets), by torch.linalg.lstsq in float64."""
    return torch.linalg.lstsq(x.double(), y.double()).solution


def estimates(answer: dict[str, Any]) -> dict[str, float]:
    """Map the name of each coefficient to its estimate."""
    return {row["name"]: row["estimate"] for row in answer["coefficients"]}


@pytest.fixture
def group_sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the number of steps in each group that a TightLoop takes."""
    sizes: list[int] = []
    take = StepGroup.take

    def take_and_record(self: StepGroup, fetcher: Any, count: int) -> None:
        sizes.append(count)
        take(self, fetcher, count)

    monkeypatch.setattr(StepGroup, "take", take_and_record)
    return sizes
