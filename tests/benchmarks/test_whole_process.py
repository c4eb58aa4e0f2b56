"""Whole processes against their peers, in turn: `python -m pytest tests/benchmarks -s`."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

PAIRS = 7


def seconds(command: list[str], folder: Path) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start


def test_linreg_fit_against_a_bare_lightning_script(tmp_path: Path) -> None:
    ours = [sys.executable, "-m", "linreg_lightning", "fit"]
    bare = [sys.executable, str(Path(__file__).parent / "bare.py")]
    for command in (ours, bare):
        seconds(command, tmp_path)
    pairs = [(seconds(ours, tmp_path), seconds(bare, tmp_path)) for _ in range(PAIRS)]
    ratio = statistics.median(a / b for a, b in pairs)
    a, b = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"\nlinreg fit {a:.2f} s, bare Lightning script {b:.2f} s, median ratio {ratio:.2f}")


def test_help_against_an_empty_python(tmp_path: Path) -> None:
    ours = [sys.executable, "-m", "linreg_lightning", "--help"]
    empty = [sys.executable, "-c", "pass"]
    a, b = (
        statistics.median(seconds(command, tmp_path) for _ in range(PAIRS))
        for command in (ours, empty)
    )
    print(f"\nlinreg --help {a:.2f} s, an empty Python {b:.2f} s")
