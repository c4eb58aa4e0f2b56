"""How time and memory grow with the rows and the columns; draws the plots of README.md.

    python -m pytest tests/benchmarks/test_growth.py -n 0 -s

This command writes `growth_rows.png` and `growth_columns.png` into the folder `.github`. It takes
some minutes and 4 GB. LINREG_BENCHMARK_SCALE=0.1 takes a tenth of the rows.
"""

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from conftest import add_result, clock
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from sklearn.linear_model import LinearRegression as ScikitLinearRegression
from test_least_squares import held_bytes, quiet, train
from torch.utils.data import DataLoader, IterableDataset

from linreg_lightning import Batch, LeastSquares
from linreg_lightning.plots import png
from linreg_lightning.plots.style import BLUE, GREEN, GREY, VERMILION, styled

PLOTS = Path(__file__).parents[2] / ".github"
SCALE = float(os.environ.get("LINREG_BENCHMARK_SCALE", "1"))
ROUNDS, ENOUGH_SECONDS = 5, 60.0  # at most 5 rounds, and none begins after 60 seconds
BLOCK = 2**20  # numbers of x that are made at a time
ROWS = [(int(rows * SCALE), 10) for rows in (1e6, 1e7, 1e8)]
COLUMNS = [(int(5e4 * SCALE), columns) for columns in (10, 30, 100, 300, 1000)]


class Point(NamedTuple):
    """What one fit takes: the median seconds of some rounds, and the peak of its memory."""

    size: int
    seconds: float
    megabytes: float
    rounds: int


class Blocks(IterableDataset[Batch]):
    """Random rows, made block by block; `seconds` is the time that making them took."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns, self.seconds = rows, columns, 0.0

    def __iter__(self) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(0)
        random = partial(torch.rand, generator=generator, dtype=torch.float64)
        step = BLOCK // self.columns
        for first in range(0, self.rows, step):
            start = time.perf_counter()
            x = random(min(step, self.rows - first), self.columns)
            y = x.sum(dim=1, keepdim=True) + random(len(x), 1)
            self.seconds += time.perf_counter() - start
            yield Batch(x, y)


def streamed(accuracy: str, blocks: Blocks) -> float:
    model = LeastSquares(accuracy, in_features=blocks.columns)
    return clock(lambda: train(model, DataLoader(blocks, batch_size=None))) - blocks.seconds


def in_memory(blocks: Blocks) -> float:
    x, y, filled = np.empty((blocks.rows, blocks.columns)), np.empty(blocks.rows), 0
    for batch in blocks:
        part = slice(filled, filled + batch.rows)
        x[part], y[part], filled = batch.x, batch.y[:, 0], part.stop
    return clock(lambda: ScikitLinearRegression().fit(x, y))


# Each contestant: how it is fitted, its colour, and the copies of all rows that it holds.
CONTESTANTS: dict[str, tuple[Callable[[Blocks], float], str, int]] = {
    "float64": (partial(streamed, "float64"), BLUE, 0),
    "exact": (partial(streamed, "exact"), VERMILION, 0),
    "scikit-learn": (in_memory, GREEN, 4),
}


def measure(name: str, rows: int, columns: int) -> tuple[float, float, int]:
    """Return the seconds, megabytes and rounds of a fit; call this function in a new process."""
    quiet()
    fit = CONTESTANTS[name][0]
    fit(Blocks(1000, columns))  # libraries and threads take their memory here
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory starts anew
    before, start, seconds = held_bytes("VmRSS"), time.perf_counter(), []
    while len(seconds) < ROUNDS and time.perf_counter() - start < ENOUGH_SECONDS:
        seconds.append(fit(Blocks(rows, columns)))
    megabytes = (held_bytes("VmHWM") - before) / 1e6
    return statistics.median(seconds), max(megabytes, 1.0), len(seconds)


def grow(name: str, sizes: list[tuple[int, int]], by_rows: bool) -> list[Point]:
    """Measure one contestant at all sizes for which its rows fit into memory."""
    points = []
    for rows, columns in sizes:
        available = held_bytes("MemAvailable", Path("/proc/meminfo"))
        if 8 * rows * columns * CONTESTANTS[name][2] > available:
            print(f"\n{name}, {rows:,} x {columns}: does not fit into memory", end="")
            break
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            point = Point(rows if by_rows else columns, *pool.apply(measure, (name, rows, columns)))
        points.append(point)
        figures = f"{point.seconds:.3g} s (median of {point.rounds}), {point.megabytes:.0f} MB"
        add_result(f"growth: {name}, {rows:,} x {columns}", figures)
    return points


def number(value: float, position: int | None = None) -> str:
    """Return the label of a tick: 0.1, 10,000, 10 million."""
    return f"{value / 1e6:g} million" if value >= 1e6 else f"{value:,g}"


def label_lines(axes: Axes, series: dict[str, list[tuple[int, float]]]) -> None:
    """Write each name beside the end of its line, and no name over another."""
    last = max(points[-1][0] for points in series.values())
    ends = {name: points[-1] for name, points in series.items()}
    bottom, top = np.log10(axes.get_ylim())
    lowest = bottom
    for name, (size, value) in sorted(ends.items(), key=lambda end: end[1][1]):
        style = {"color": CONTESTANTS[name][1], "weight": "bold", "fontsize": 9}
        if size == last:
            place = max(np.log10(value), lowest)
            axes.text(size * 1.2, 10**place, name, va="center", **style)
            lowest = place + 0.07 * (top - bottom)
        else:
            highest = all(value >= dict(points)[size] for points in series.values())
            where = {"ha": "right", "va": "bottom"} if highest else {"ha": "left", "va": "top"}
            shift = (-6, 2) if highest else (6, -4)
            axes.annotate(name, (size, value), shift, textcoords="offset points", **where, **style)


@styled
def draw(title: str, unit: str, results: dict[str, list[Point]], caption: str) -> Figure:
    figure = Figure(figsize=(9.0, 3.9), dpi=140, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, weight="bold")
    figure.supxlabel(caption, x=0.01, ha="left", fontsize=8, color=GREY)
    for axes, what, place in zip(
        figure.subplots(1, 2), ("seconds", "memory, MB"), (1, 2), strict=True
    ):
        series = {name: [(p[0], p[place]) for p in points] for name, points in results.items()}
        for name, points in series.items():
            axes.plot(*zip(*points, strict=True), "o-", color=CONTESTANTS[name][1], markersize=4)
        axes.set(xscale="log", yscale="log", xlabel=unit, ylabel=what)
        axes.margins(y=0.15)
        low, high = axes.get_xlim()
        axes.set_xlim(low, high * (high / low) ** 0.3)  # room for the names
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(number))
        axes.xaxis.set_major_locator(LogLocator(10))
        axes.yaxis.set_major_locator(LogLocator(10, (1, 3)))
        label_lines(axes, series)
    return figure


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc of Linux is needed")
@pytest.mark.parametrize("by_rows", [True, False], ids=["rows", "columns"])
def test_growth(by_rows: bool) -> None:
    sizes = ROWS if by_rows else COLUMNS
    results = {name: grow(name, sizes, by_rows) for name in CONTESTANTS}
    fixed = f"{sizes[0][1]} columns" if by_rows else f"{sizes[0][0]:,} rows"
    threads = torch.get_num_threads()
    caption = (
        f"{fixed} of float64, {threads} thread{'s' * (threads > 1)}, medians of up to {ROUNDS} "
        "fits. float64 and exact: LeastSquares under a Trainer, rows made in blocks and not kept.\n"
        "Memory: the peak beyond the libraries. scikit-learn keeps all rows in memory"
    )
    caption += ", and more rows did not fit." if len(results["scikit-learn"]) < len(sizes) else "."
    what = "rows" if by_rows else "columns"
    figure = draw(f"One fit, by the number of {what}", what, results, caption)
    (PLOTS / f"growth_{what}.png").write_bytes(png(figure))
