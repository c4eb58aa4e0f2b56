"""A quick look for anything that became slower: ours / peer, beside the ratios recorded last.

    python -m pytest tests/benchmarks -k quick -n 0 -s

LINREG_BENCHMARK_RECORD=1 writes the new ratios into `quick.json`, which this run compares with.
torch and scikit-learn compute on one thread, so that other programs disturb less.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from conftest import clock, median_ratio, one_thread, processor, versions
from sklearn.linear_model import LinearRegression as ScikitLinearRegression
from test_least_squares import problem, quiet, sums, train
from test_speed import LR, by_hand, fit, make, shuffled_pass
from test_table import write_table

from linreg_lightning import (
    LeastSquares,
    LinearRegression,
    TabularData,
    TensorData,
    TightLoop,
    least_squares,
)
from linreg_lightning.algebra import ExactGram, Float64Gram

RECORD = Path(__file__).with_name("quick.json")
WORSE = 1.15  # a ratio above this multiple of the recorded one is marked
TIMES = 9

Work = Callable[[], Any]


def small_fit(folder: Path) -> tuple[Work, Work]:
    x, y = problem(1000, 5, torch.float64)
    a, b, many = x.numpy(), y.numpy(), range(50)
    return (
        lambda: [least_squares(x, y) for _ in many],
        lambda: [ScikitLinearRegression().fit(a, b) for _ in many],
    )


def sgd(folder: Path) -> tuple[Work, Work]:
    x, y = make(200_000)
    data = TensorData(x, y, batch_size=1024, shuffle=False)
    return (
        lambda: fit(LinearRegression(LR), data, 20, TightLoop()),
        lambda: by_hand(x, y, 1024, 20),
    )


def shuffling(folder: Path) -> tuple[Work, Work]:
    return shuffled_pass(2_000_000, blocks=False)


def file(suffix: str, rows: int, folder: Path) -> tuple[Work, Work]:
    path = write_table(folder, suffix, rows)
    read = pyarrow.csv.read_csv if suffix == "csv" else pyarrow.parquet.read_table
    # A new data module for each fit, because one reads its file only once.
    return lambda: train(LeastSquares(), TabularData(path, target="y")), lambda: read(path)


# Each entry makes two functions that are timed in turn: ours and its peer. Add new ones here.
MEASURES: dict[str, Callable[[Path], tuple[Work, Work]]] = {
    "float64 sums 300k x 30 / X'X": lambda folder: sums(Float64Gram),
    "exact sums 300k x 30 / X'X": lambda folder: sums(ExactGram),
    "least_squares 1000 x 5 / scikit-learn": small_fit,
    "SGD, batches of 1024 / loop by hand": sgd,
    "shuffled pass 2M x 20 / index_select": shuffling,
    "Parquet 1M x 20 to fit / pyarrow reads": partial(file, "parquet", 1_000_000),
    "CSV 300k x 20 to fit / pyarrow reads": partial(file, "csv", 300_000),
}


@pytest.fixture(scope="module")
def ratios() -> Iterator[dict[str, float]]:
    """Collect the ratios of one run, print them beside the recorded ones, and record them."""
    start, load = time.perf_counter(), os.getloadavg()[0]
    now: dict[str, float] = {}
    yield now
    last = recorded()
    run = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "load": round(load, 1)}
    run |= {
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "versions": " ".join(f"{package} {number}" for package, number in versions().items()),
    }
    print(f"\n\n{'ours / peer':<40}{'recorded':>9}{'now':>7}{'change':>9}")
    for name, ratio in now.items():
        if name in last["ratios"]:
            before = last["ratios"][name]
            mark = "  WORSE" if ratio > WORSE * before else ""
            print(f"{name:<40}{before:9.2f}{ratio:7.2f}{ratio / before - 1:+9.0%}{mark}")
        else:
            print(f"{name:<40}{'':9}{ratio:7.2f}")
    for when, which in ("recorded", last), (f"now, in {time.perf_counter() - start:.0f} s", run):
        print(f"{when}: {', '.join(f'{key} {which[key]}' for key in run if key in which)}")
    if max(load, last.get("load", 0)) > 1:
        print("Other programs were running too: ratios may be off by more than 15 %.")
    if os.environ.get("LINREG_BENCHMARK_RECORD"):
        content = run | {"ratios": last["ratios"] | now}
        RECORD.write_text(json.dumps(content, indent=2) + "\n")


def recorded() -> dict[str, Any]:
    return json.loads(RECORD.read_text()) if RECORD.exists() else {"ratios": {}}


@pytest.mark.parametrize("name", MEASURES)
def test_quick(
    name: str, ratios: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # Lightning's logger writes into it
    quiet()
    with one_thread():
        ours, peer = (partial(clock, work) for work in MEASURES[name](tmp_path))
        ratio, *_ = median_ratio(ours, peer, TIMES)
        if ratio > WORSE * recorded()["ratios"].get(name, ratio):
            # Measured again, in case another program disturbed it.
            ratio = min(ratio, median_ratio(ours, peer, TIMES)[0])
    ratios[name] = round(ratio, 3)
