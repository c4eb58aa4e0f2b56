"""What the README shows, runs."""

import contextlib
import io
import re
import shlex
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from conftest import CONFIGS, least_squares

from linreg_lightning import SyntheticData, Trainer, cli

README = (CONFIGS.parent / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SHELL = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]


def estimates(text: str) -> dict[str, float]:
    """The estimates in the last table of coefficients."""
    lines = [line.split() for line in text.splitlines()]
    head = max(index for index, line in enumerate(lines) if line[:1] == ["name"])
    column = lines[head].index("estimate")
    return {line[0]: float(line[column]) for line in lines[head + 1 : head + 4]}


def printed(code: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out, warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*LeafSpec.*")  # Lightning's own
        exec(compile(code, "README.md", "exec"), {})
    return out.getvalue()


def test_it_is_short_and_begins_with_the_two_commands() -> None:
    assert len(README.splitlines()) < 120
    assert SHELL[:2] == ["pip install . && linreg fit", "pip install -e '.[test]' && pytest"]


def test_both_columns_of_the_comparison_come_to_least_squares() -> None:
    data = SyntheticData()
    data.setup("fit")
    exact = least_squares(*data.splits["train"][:2]).flatten().tolist()
    by_hand = [float(number) for number in re.findall(r"\d\.\d+", printed(PYTHON[0]))]
    assert by_hand == pytest.approx(exact, abs=2e-4)
    assert list(estimates(printed(PYTHON[1])).values()) == pytest.approx(exact, abs=2e-4)
    assert list(estimates(README).values()) == pytest.approx(exact, abs=2e-5)


def test_a_model_of_ones_own() -> None:
    assert len(PYTHON) == 3
    assert len(PYTHON[2].splitlines()) <= 40
    run: dict[str, Any] = {}
    exec(compile(PYTHON[2], "README.md", "exec"), run)
    model = run["Network"]()
    options: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False}
    Trainer(max_epochs=100, accelerator="cpu", logger=False, **options).fit(model, run["Sine"]())
    x = torch.linspace(-3, 3, 50).unsqueeze(1)
    assert (model.layers(x) - x.sin()).abs().max() < 0.1


def test_the_commands_in_their_order(
    command: Callable[..., Any], houses: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("configs").symlink_to(CONFIGS)
    pd.read_csv(houses).drop(columns="price").to_csv("new.csv", index=False)
    Path("mine.py").write_text(PYTHON[2])
    commands = [shlex.split(line) for line in SHELL[2:]]
    assert len(commands) == 7
    for program, *words in commands:
        assert program == "linreg"
        if words[0] == "new":
            cli.main(words)
        else:
            command(*words)
    out = capsys.readouterr().out
    assert out.count("coefficients  logs/version_") == 4
    assert "predictions  logs/version_" in out


def test_what_it_points_to_is_there() -> None:
    for path in re.findall(r"`((?:linreg_lightning|tests|configs)/[\w./]*)`", README):
        assert (CONFIGS.parent / path).exists(), path
