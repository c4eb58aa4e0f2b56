"""Runs `linreg` in processes that may be killed, without importing torch in each of them."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet
import torch
import yaml

from linreg_lightning.atomic_file import SUFFIX

CONTEXT: Any = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["linreg_lightning.cli.run", "linreg_lightning.callbacks.coefficient_file", __name__]
)
HIDDEN = "--trainer.accelerator cpu --trainer.enable_progress_bar false"


def _run(words: list[str], folder: str, output: str, errors: str) -> None:
    os.chdir(folder)
    for descriptor, path in ((1, output), (2, errors)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(file, descriptor)
        os.close(file)
    sys.argv = ["linreg", *words]
    from linreg_lightning import cli

    cli.main()


def start(line: str, output: str = "out.txt", errors: str = "err.txt") -> Any:
    """Start a command in the present folder; return its process."""
    words = [*line.split(), *HIDDEN.split()]
    if words[0] == "fit":
        words += ["--figures", "false"]
    process = CONTEXT.Process(target=_run, args=(words, str(Path.cwd()), output, errors))
    process.start()
    return process


def run(line: str, **streams: str) -> int:
    """Run a command to its end; return its exit status."""
    process = start(line, **streams)
    process.join(120)
    assert process.exitcode is not None, "the command hangs"
    return int(process.exitcode)


def seconds(line: str) -> float:
    """Return how long a command takes that nothing disturbs, once its modules are loaded."""
    run(line)
    begin = time.perf_counter()
    assert run(line) == 0, Path("err.txt").read_text()
    return time.perf_counter() - begin


def damaged(root: Path, rows: int = 0) -> list[str]:
    """Return the files below root that have their final name and are not whole."""
    found = []
    for path in root.rglob("*"):
        is_events = path.name.startswith("events.")
        if path.is_file() and SUFFIX not in path.name and not is_events:
            try:
                _check(path, rows)
            except FileNotFoundError:
                pass  # a live run has replaced it
            except Exception as error:
                found.append(f"{path}: {type(error).__name__}: {error}")
    return found


def _check(path: Path, rows: int) -> None:
    """Raise any error if a file is not whole."""
    if path.suffix == ".ckpt":
        assert torch.load(path, map_location="cpu", weights_only=True)["loops"]
    elif path.suffix == ".json":
        assert json.loads(path.read_text())["coefficients"]
    elif path.suffix == ".yaml":
        content = yaml.safe_load(path.read_text())
        assert path.name != "config.yaml" or {"model", "data", "trainer"} <= set(content)
    elif path.suffix == ".png":
        assert path.read_bytes().endswith(b"IEND\xaeB`\x82")
    elif path.suffix == ".csv":
        text = path.read_text()
        assert text.endswith("\n")
        assert text.count("\n") == rows + 1
    elif path.suffix == ".parquet":
        assert pyarrow.parquet.read_table(path).num_rows == rows


def orphans(root: Path) -> list[Path]:
    """Return the unfinished files below root."""
    return [path for path in root.rglob(f"*{SUFFIX}*") if path.is_file()]
