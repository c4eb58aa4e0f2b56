"""Several fits in one process: a loop, and a study of Optuna, compared in TensorBoard's HPARAMS."""

import json
import random
import re
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from conftest import CONFIGS
from tensorboard import program

from linreg_lightning import InputError, cli
from linreg_lightning.cli.linreg import linreg

QUIET: dict[str, Any] = {
    "figures": False,
    "trainer.accelerator": "cpu",
    "trainer.enable_progress_bar": False,
    "trainer.max_epochs": 3,
}
# Each run differs from the one before in something that a later fit might inherit.
RUNS: list[dict[str, Any]] = [
    {"model": "ManualLinearRegression", "model.lr": 0.02, "data.seed": 7},
    {"model.lr": 0.05, "data.batch_size": 16, "trainer.precision": 64, "seed_everything": 5},
    {"model.lr": 0.1, "data.batch_size": 20},
]
# The imports take seconds, so they come before the processes part.
ONE_PROCESS_EACH = """
import json, os, sys
import linreg_lightning.cli.run
from linreg_lightning.cli.linreg import linreg

for number, options in enumerate(json.loads(sys.argv[1])):
    if not (child := os.fork()):
        with open(f"metrics_{number}.json", "w") as file:
            json.dump(linreg.fit(options), file)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Fit all runs in a loop and in processes of their own; return the metrics and the folder."""
    folder = tmp_path_factory.mktemp("sweep")
    options = [QUIET | run for run in RUNS]
    words = [sys.executable, "-c", ONE_PROCESS_EACH, json.dumps(options)]
    with (
        subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL) as processes,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.chdir(folder)
        loop = [linreg.fit({**one, "trainer.default_root_dir": "loop"}) for one in options]
    assert processes.returncode == 0
    alone = [json.loads((folder / f"metrics_{n}.json").read_text()) for n in range(len(RUNS))]
    return {"loop": loop, "alone": alone, "folder": folder / "loop"}


def test_the_fits_of_a_loop_give_the_metrics_of_fits_in_their_own_processes(
    sweep: dict[str, Any],
) -> None:
    assert sweep["loop"] == sweep["alone"]
    assert len({metrics["val_loss"] for metrics in sweep["loop"]}) == len(RUNS)


def test_hparams_compares_all_runs_of_a_loop(sweep: dict[str, Any]) -> None:
    server = program.TensorBoard()
    server.configure(argv=["", *f"--logdir {sweep['folder']} --host 127.0.0.1 --port 0".split()])
    question = {
        "experimentName": "",
        "allowedStatuses": ["STATUS_SUCCESS"],
        "colParams": [{"metric": {"tag": tag}} for tag in ("val/loss", "val/r2")],
        "startIndex": 0,
        "sliceSize": 10,
    }
    request = urllib.request.Request(
        f"{server.launch()}data/plugin/hparams/session_groups",
        json.dumps(question).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        groups = json.load(answer)["sessionGroups"]
    shown = {
        group["hparams"]["lr"]: {
            metric["name"]["tag"].replace("/", "_"): metric["value"]
            for metric in group["metricValues"]
        }
        for group in groups
    }
    assert len(groups) == len(RUNS)
    for run, metrics in zip(RUNS, sweep["loop"], strict=True):
        seen = shown[run["model.lr"]]
        for name in ("val_loss", "val_r2"):
            assert seen[name] == pytest.approx(metrics[name], rel=1e-6)


def test_the_study_of_the_readme_fits_its_trials(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (CONFIGS.parent / "README.md").read_text()
    (code,) = re.findall(r"```python\n(import optuna\n.*?)```", readme, re.DOTALL)
    studies: list[Any] = []
    create = optuna.create_study
    monkeypatch.setattr(optuna, "create_study", lambda: studies.append(create()) or studies[-1])
    fit = cli.fit
    monkeypatch.setattr(cli, "fit", lambda options: fit(QUIET | options))
    assert ", 20)" in code
    exec(code.replace(", 20)", ", 2)"), {})
    values = [trial.value for trial in studies[0].trials]
    assert len(set(values)) == len(list(Path("logs").glob("version_*/checkpoints/*.ckpt"))) == 2
    printed = re.findall(r"validation  loss (\S+)", capsys.readouterr().out)
    assert values == pytest.approx([float(loss) for loss in printed], rel=1e-5)


def test_a_fit_leaves_the_random_numbers_of_its_caller_alone() -> None:
    def draw() -> list[float]:
        return [random.random(), float(np.random.rand()), float(torch.rand(1))]

    def seed() -> None:
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)

    seed()
    expected = [draw() for _ in range(3)]
    seed()
    drawn = [draw()]
    linreg.fit(QUIET)
    drawn.append(draw())
    with pytest.raises(InputError, match=r"has diverged.*lower lr"):
        linreg.fit(QUIET | {"model.lr": 1e6})
    drawn.append(draw())
    assert drawn == expected


def test_fits_in_threads_give_the_same_metrics_as_one_after_another() -> None:
    options = [QUIET | {"model.lr": rate, "data.batch_size": 8} for rate in (0.001, 0.002)]
    with ThreadPoolExecutor(2) as threads:
        in_threads = list(threads.map(linreg.fit, options))
    assert in_threads == [linreg.fit(one) for one in options]
