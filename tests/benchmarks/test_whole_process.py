"""Whole processes against their peers, in turn."""

import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from conftest import add_result, clock

HERE = Path(__file__).parent


def seconds(command: list[str]) -> float:
    return clock(lambda: subprocess.run(command, check=True, capture_output=True))


def test_linreg_fit_against_a_bare_lightning_script(compare: Callable[..., float]) -> None:
    ours = [sys.executable, "-m", "linreg_lightning", "fit", "--figures", "false"]
    bare = [sys.executable, str(HERE / "bare.py")]
    what = "`linreg fit --figures false`, whole process, against a bare Lightning script"
    compare(what, "0.65", lambda: seconds(ours), lambda: seconds(bare), times=7)


def test_help_imports_no_torch() -> None:
    command = [sys.executable, "-m", "linreg_lightning", "--help"]
    time = statistics.median(seconds(command) for _ in range(7))
    imported = subprocess.run(
        [sys.executable, "-X", "importtime", *command[1:]],
        check=True,
        capture_output=True,
        text=True,
    )
    torch = "torch" in imported.stderr
    add_result(
        "`linreg --help`", f"{time:.2f} s, torch is {'' if torch else 'not '}imported", "0.3 s"
    )


def test_memory_of_training() -> None:
    megabytes = [
        float(subprocess.check_output([sys.executable, HERE / "memory.py"])) for _ in range(3)
    ]
    what = "memory while training 4M x 20 float32, beyond the rows and the libraries"
    add_result(what, f"{statistics.median(megabytes):.0f} MB", "300 MB")
