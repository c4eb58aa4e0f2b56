"""The commands and examples of the README run, and the files that it names exist."""

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
from torch.distributed import run

from linreg_lightning import SyntheticData, Trainer, cli


def unrolled(line: str) -> list[str]:
    """Return the commands of a loop such as `for x in 1 2; do command $x; done`."""
    if not (loop := re.fullmatch(r"for (\w+) in (.+); do (.+); done", line)):
        return [line]
    return [loop[3].replace(f"${loop[1]}", value) for value in loop[2].split()]


README = (CONFIGS.parent / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SHELL = [
    command
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    for command in unrolled(line)
]
SEVERAL_MACHINES = [line for line in SHELL if line.startswith(("torchrun", "srun"))]


def estimates(text: str, rows: int = 3) -> dict[str, float]:
    """Return the estimates in the last table of coefficients, which has `rows` rows."""
    lines = [line.split() for line in text.splitlines()]
    head = max(index for index, line in enumerate(lines) if line[:1] == ["term"])
    column = lines[head].index("estimate")
    return {line[0]: float(line[column]) for line in lines[head + 1 : head + 1 + rows]}


def printed(code: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out, warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*LeafSpec.*")  # comes from Lightning
        exec(compile(code, "README.md", "exec"), {})
    return out.getvalue()


def test_the_readme_is_short_and_begins_with_two_commands() -> None:
    assert len(README.splitlines()) <= 200
    assert SHELL[:2] == ["pip install . && linreg fit", "pip install -e '.[test]' && pytest"]


def test_both_columns_of_the_comparison_reach_least_squares() -> None:
    data = SyntheticData()
    data.setup("fit")
    exact = least_squares(*data.splits["train"][:2]).flatten().tolist()
    by_hand = [float(number) for number in re.findall(r"\d\.\d+", printed(PYTHON[0]))]
    assert by_hand == pytest.approx(exact, abs=2e-4)
    assert list(estimates(printed(PYTHON[1])).values()) == pytest.approx(exact, abs=2e-4)
    assert list(estimates(README).values()) == pytest.approx(exact, abs=2e-5)


def test_the_python_example_recovers_its_coefficients() -> None:
    text, lasso = printed(PYTHON[2]).split("Lasso")
    table, robust = text.split("Fit:", maxsplit=1)
    function, rest = robust.split("Hypotheses:")
    for shown in (table, function, lasso):
        assert list(estimates(shown, rows=4).values()) == pytest.approx([1, 2, 0, -1], abs=0.03)
    assert "standard errors: HC3" in function
    assert "x1 = 2" in rest
    assert "Breusch-Pagan (equal variances)" in rest


def test_the_example_model_learns() -> None:
    assert len(PYTHON) == 5
    assert len(PYTHON[4].splitlines()) <= 40
    names: dict[str, Any] = {}
    exec(compile(PYTHON[4], "README.md", "exec"), names)
    model = names["Network"]()
    options: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False}
    Trainer(max_epochs=100, accelerator="cpu", logger=False, **options).fit(model, names["Sine"]())
    x = torch.linspace(-3, 3, 50).unsqueeze(1)
    assert (model.layers(x) - x.sin()).abs().max() < 0.1


def test_the_commands_of_the_readme_run_in_order_from_any_folder(
    command: Callable[..., Any], houses: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pd.read_csv(houses).drop(columns="price").to_csv("new.csv", index=False)
    Path("mine.py").write_text(PYTHON[4])
    commands = [shlex.split(line) for line in SHELL[2:] if line not in SEVERAL_MACHINES]
    assert len(commands) == 10
    for program, *words in commands:
        if program == "tensorboard":
            assert words == ["--logdir", "logs"]  # the folder of all earlier runs
        elif words[0] == "new":
            cli.main(words)
        else:
            assert program == "linreg"
            command(*words)
    out = capsys.readouterr().out
    assert out.count("coefficients  logs/version_") == 5
    assert "predictions  logs/version_" in out


def test_both_lines_for_several_machines_run_on_one_process(
    command: Callable[..., Any], houses: Path
) -> None:
    # `tests/faults/test_two_hosts.py` runs them as they are, on two machines.
    torchrun, srun = SEVERAL_MACHINES
    launcher, fit = torchrun.split(" -m linreg_lightning ")
    options = vars(run.get_args_parser().parse_args([*shlex.split(launcher)[1:], "program"]))
    assert [options[name] for name in ("nnodes", "node_rank", "nproc_per_node")] == ["2", 0, "4"]
    assert srun == f"srun --nodes 2 --ntasks-per-node 4 linreg {fit}"
    pd.read_csv(houses).rename(columns={"price": "y"}).to_csv("rows.csv", index=False)
    words = shlex.split(fit.replace("num_nodes 2", "num_nodes 1").replace("devices 4", "devices 1"))
    assert command(*words)["rows"] == 200


@pytest.mark.parametrize("page", ["README.md", "linreg_lightning/README.md"])
def test_the_files_that_a_readme_names_exist(page: str) -> None:
    text = (CONFIGS.parent / page).read_text()
    root = CONFIGS.parent if page == "README.md" else CONFIGS.parent / "linreg_lightning"
    room = (
        r"tables|design_matrix|data|algebra|models|metrics|callbacks|plots|tight_loop|cli|project"
    )
    for path in re.findall(rf"`((?:linreg_lightning|configs|{room})/[\w./]*)`", text):
        assert (root / path).exists(), path
    for path in re.findall(r"\]\(([\w./]+)\)", text):
        assert (root / path).exists(), path
