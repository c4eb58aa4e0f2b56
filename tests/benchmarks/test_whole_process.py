"""Whole processes against their peers, in turn."""

import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import add_result, clock

HERE = Path(__file__).parent


def seconds(command: list[str]) -> float:
    return clock(lambda: subprocess.run(command, check=True, capture_output=True))


def test_linreg_fit_against_a_bare_lightning_script(compare: Callable[..., float]) -> None:
    ours = [sys.executable, "-m", "linreg_lightning", "fit", "--figures", "false"]
    bare = [sys.executable, str(HERE / "bare.py")]
    what = "`linreg fit --figures false`, whole process, against a bare Lightning script"
    compare(what, "0.65", lambda: seconds(ours), lambda: seconds(bare), times=7)


def test_import() -> None:
    script = (
        "import time; start = time.perf_counter(); import linreg_lightning; "
        "print(time.perf_counter() - start)"
    )
    command = [sys.executable, "-c", script]
    times = [float(subprocess.check_output(command)) for _ in range(8)][1:]
    add_result("`import linreg_lightning`", f"{1000 * statistics.median(times):.0f} ms", "30 ms")


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


@pytest.mark.parametrize("batch_size", [1024, 8192, 65536])
def test_two_processes(batch_size: int) -> None:
    def epoch(processes: int) -> float:
        script = [sys.executable, str(HERE / "descent.py"), str(processes), str(batch_size), "5"]
        return float(subprocess.check_output(script, stderr=subprocess.DEVNULL))

    pairs = [(epoch(1), epoch(2)) for _ in range(5)]
    one, two = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(one / two for one, two in pairs)
    what = f"SGD, 4M x 20, an epoch in batches of {batch_size} of each process, one thread each"
    add_result(
        f"{what}, one process / two", f"{one:.3g} s / {two:.3g} s: {ratio:.2f}", "1.6 or more"
    )


def test_memory_of_training() -> None:
    megabytes = [
        float(subprocess.check_output([sys.executable, HERE / "memory.py"])) for _ in range(3)
    ]
    what = "memory while training 4M x 20 float32, beyond the rows and the libraries"
    add_result(what, f"{statistics.median(megabytes):.0f} MB", "300 MB")
