"""Writes the results of all benchmarks into one table, with machine, date and versions."""

from __future__ import annotations

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_limits

RESULTS = Path(__file__).parent / "results.md"
PACKAGES = (
    "torch",
    "lightning",
    "pyarrow",
    "duckdb",
    "polars",
    "numba",
    "scikit-learn",
    "skorch",
    "keras",
    "celer",
    "glum",
    "skglm",
)
ROWS: list[str] = []

Timed = Callable[[], float]


@pytest.fixture
def compare() -> Callable[..., float]:
    """Return a function that times two functions in turn and adds the median ratio to the table."""

    def measure(what: str, goal: str, ours: Timed, peer: Timed, times: int = 5) -> float:
        ratio, a, b = median_ratio(ours, peer, times)
        add_result(what, f"{a:.3g} s against {b:.3g} s: {ratio:.2f}", goal)
        return ratio

    return measure


def median_ratio(ours: Timed, peer: Timed, times: int) -> tuple[float, float, float]:
    """Time two functions in turn; return the median ratio and both median times."""
    pairs = [(ours(), peer()) for _ in range(times + 1)][1:]  # the first one warms up
    ratio = statistics.median(a / b for a, b in pairs)
    a, b = (statistics.median(column) for column in zip(*pairs, strict=True))
    return ratio, a, b


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch, numpy and scikit-learn compute on one thread each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(threads)


def add_result(what: str, figures: str, goal: str = "none") -> None:
    """Add a line to the table of results."""
    ROWS.append(f"| {what} | {figures} | {goal} |")
    print(f"\n{what}: {figures} (goal: {goal})")


def pytest_sessionfinish() -> None:
    if not ROWS:
        return
    lines = [
        "# Results of one run",
        "",
        "Written by `python -m pytest tests/benchmarks -n 0 -s`: medians of times taken in turn.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {processor()}, {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f} at the end, "
        f"{', '.join(f'{name} {number}' for name, number in versions().items())}.",
        "",
        "| measure | ours against the peer | goal |",
        "|---|---|---|",
        *ROWS,
    ]
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that are measured."""
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def processor() -> str:
    """Return the name of the processor."""
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
