"""Writes the results of all benchmarks into one table, with machine, date and versions."""

from __future__ import annotations

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

RESULTS = Path(__file__).parent / "results.md"
PACKAGES = ("torch", "lightning", "scikit-learn", "skorch", "keras")
ROWS: list[str] = []

Timed = Callable[[], float]


@pytest.fixture
def compare() -> Callable[..., float]:
    """Return a function that times two functions in turn and adds the median ratio to the table."""

    def measure(what: str, goal: str, ours: Timed, peer: Timed, times: int = 5) -> float:
        pairs = [(ours(), peer()) for _ in range(times + 1)][1:]  # the first one warms up
        ratio = statistics.median(a / b for a, b in pairs)
        a, b = (statistics.median(column) for column in zip(*pairs, strict=True))
        add_result(what, f"{a:.3g} s against {b:.3g} s: {ratio:.2f}", goal)
        return ratio

    return measure


def add_result(what: str, figures: str, goal: str) -> None:
    """Add a line to the table of results."""
    ROWS.append(f"| {what} | {figures} | {goal} |")
    print(f"\n{what}: {figures} (goal: {goal})")


def pytest_sessionfinish() -> None:
    if not ROWS:
        return
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"{package} not installed")
    lines = [
        "# Results of one run",
        "",
        "Written by `python -m pytest tests/benchmarks -n 0 -s`: medians of times taken in turn.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {_processor()}, {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f} at the end, Python {platform.python_version()}, "
        f"{', '.join(versions)}.",
        "",
        "| measure | ours against the peer | goal |",
        "|---|---|---|",
        *ROWS,
    ]
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def clock(function: Callable[[], object]) -> float:
    """Return the seconds that a call takes; the garbage of earlier calls is collected before it."""
    gc.collect()
    gc.freeze()
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
