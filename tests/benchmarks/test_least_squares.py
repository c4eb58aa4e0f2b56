"""LeastSquares against its peers; the rows are in memory."""

import logging
import multiprocessing
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import add_result, clock
from lightning.pytorch import Trainer
from sklearn.linear_model import LinearRegression as ScikitLinearRegression

from linreg_lightning import Batch, LeastSquares, TensorData, grouped_least_squares
from linreg_lightning.algebra import ExactGram, Float64Gram, Gram, least_squares
from linreg_lightning.algebra.compiled_sums import load_kernel

ROUNDS = 5
SHAPES = [
    (1_000_000, 10, torch.float64),
    (400_000, 50, torch.float64),
    (200_000, 200, torch.float64),
    (2_000_000, 20, torch.float32),
]


def seconds(work: Callable[[], Any]) -> float:
    time.sleep(0.1)  # let the idle threads of another library stop spinning
    return clock(work)


def problem(rows: int, columns: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(rows, columns, dtype=dtype)
    return x, x.sum(dim=1) + torch.randn(rows, dtype=dtype)


def sums(
    kind: type[Gram], dtype: torch.dtype = torch.float64, weighted: bool = False
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return two functions: the sums of 300k x 30 without a Trainer, and X'X in float64."""
    x, y = problem(300_000, 30, dtype)
    weight = torch.rand(len(x), dtype=dtype) if weighted else None
    rows, double = Batch(x, y.unsqueeze(1), weight), x.double()
    return lambda: kind(features=30).update(rows), lambda: double.T @ double


def train(model: LeastSquares, data: Any, accelerator: str = "cpu") -> None:
    trainer = Trainer(
        max_epochs=1,
        accelerator=accelerator,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, data)


def fit(
    accuracy: str, x: torch.Tensor, y: torch.Tensor, accelerator: str = "cpu"
) -> list[dict[str, Any]]:
    model = LeastSquares(accuracy)
    train(model, TensorData(x, y), accelerator)
    return model.coefficients()


def quiet() -> None:
    for name in ("lightning.pytorch", "sklearnex"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.simplefilter("ignore")


@pytest.fixture(autouse=True)
def _quiet() -> None:
    quiet()


@pytest.mark.parametrize(
    ("kind", "dtype", "weighted", "goal"),
    [
        (Float64Gram, torch.float64, False, "none"),
        (ExactGram, torch.float64, False, "2.5"),
        (ExactGram, torch.float64, True, "5"),
        (ExactGram, torch.float32, False, "1.5"),
    ],
)
def test_sums_against_a_matrix_product(
    kind: type[Gram], dtype: torch.dtype, weighted: bool, goal: str, compare: Callable[..., float]
) -> None:
    ours, product = (partial(seconds, work) for work in sums(kind, dtype, weighted))
    what = f"{kind.accuracy} sums{', weighted' * weighted}, 300k x 30 {str(dtype)[6:]}"
    compare(f"{what}, against X'X in float64", goal, ours, product, times=9)


@pytest.mark.parametrize(("rows", "columns", "dtype"), SHAPES)
def test_seconds_of_a_fit(rows: int, columns: int, dtype: torch.dtype) -> None:
    intel = pytest.importorskip("sklearnex.linear_model")
    x, y = problem(rows, columns, dtype)
    double = x.double()
    contestants: dict[str, Callable[[], Any]] = {
        "X'X in float64": lambda: double.T @ double,
        "float64": lambda: fit("float64", x, y),
        "exact": lambda: fit("exact", x, y),
        "scikit-learn": lambda: ScikitLinearRegression().fit(x.numpy(), y.numpy()),
        "scikit-learn-intelex": lambda: intel.LinearRegression().fit(x.numpy(), y.numpy()),
    }
    rounds = [[seconds(work) for work in contestants.values()] for _ in range(1 + ROUNDS)][1:]
    medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
    times = dict(zip(contestants, medians, strict=True))
    line = "  ".join(f"{name} {value:.3f}" for name, value in times.items())
    print(f"\n{rows} x {columns} {str(dtype).removeprefix('torch.')}: {line}")
    for ours, theirs in (
        ("float64", "scikit-learn"),
        ("float64", "scikit-learn-intelex"),
        ("exact", "scikit-learn"),
    ):
        ratio = statistics.median(
            row[list(times).index(theirs)] / row[list(times).index(ours)] for row in rounds
        )
        print(f"    {theirs} takes {ratio:.2f} times as long as {ours}")


def fit_one_by_one(x: torch.Tensor, y: torch.Tensor, by: torch.Tensor) -> list[Any]:
    """Return scikit-learn's fit of each group, as one would write it."""
    order = by.numpy().argsort(kind="stable")
    starts = torch.bincount(by).cumsum(0)[:-1].numpy()
    groups = zip(*(np.split(v.numpy()[order], starts) for v in (x, y)), strict=True)
    return [ScikitLinearRegression().fit(*rows) for rows in groups]


@pytest.mark.parametrize("rows", ["together", "shuffled", "together, 50 to 150 a group"])
def test_seconds_of_fits_of_groups(rows: str, compare: Callable[..., float]) -> None:
    groups = 10_000
    by = torch.arange(groups).repeat_interleave(100)
    if "150" in rows:
        counts = torch.randint(50, 151, (groups,), generator=torch.Generator().manual_seed(0))
        by = torch.arange(groups).repeat_interleave(counts)
    if rows == "shuffled":
        by = by[torch.randperm(len(by))]
    x, y = problem(len(by), 5, torch.float64)
    compare(
        f"{groups} groups of 100 x 5, rows {rows}, against a loop over scikit-learn",
        "0.02",
        lambda: seconds(lambda: grouped_least_squares(x, y, by)),
        lambda: seconds(lambda: fit_one_by_one(x, y, by)),
    )


@pytest.mark.parametrize("trainer", [False, True])
def test_small_fits_against_scikit_learn(trainer: bool, compare: Callable[..., float]) -> None:
    x, y = problem(1000, 5, torch.float64)
    double = x.numpy(), y.numpy()

    def ours() -> Any:
        return fit("exact", x, y) if trainer else least_squares(x, y)

    what = f"a fit of 1,000 x 5{' under a Trainer' * trainer}, against scikit-learn"
    works = ours, lambda: ScikitLinearRegression().fit(*double)
    timed = [partial(seconds_of_each, work) for work in works]
    compare(what, "15 ms" if trainer else "1 ms", *timed, times=9)


def seconds_of_each(work: Callable[[], Any], fits: int = 20) -> float:
    return seconds(lambda: [work() for _ in range(fits)]) / fits


def held_bytes(which: str, file: Path = Path("/proc/self/status")) -> int:
    """Return the bytes that this process holds now (VmRSS) or held at its peak (VmHWM)."""
    lines = file.read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(which))


def extra_bytes(accuracy: str, rows: int, columns: int, dtype: torch.dtype) -> tuple[int, int]:
    """Return the peak memory of a fit beyond its rows and libraries, and the memory of numba.

    Call this function in a new process.
    """
    quiet()
    fit(accuracy, *problem(1000, columns, dtype))  # libraries and threads take their memory here
    before = held_bytes("VmRSS")
    if accuracy == "exact":  # numba is imported only for many rows
        load_kernel()
    numba = held_bytes("VmRSS") - before
    x, y = problem(rows, columns, dtype)
    before = held_bytes("VmRSS")
    fit(accuracy, x, y)
    return held_bytes("VmHWM") - before, numba


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc of Linux is needed")
@pytest.mark.parametrize(("rows", "columns", "dtype"), [*SHAPES, (1_000_000, 50, torch.float64)])
@pytest.mark.parametrize("accuracy", ["float64", "exact"])
def test_memory_of_a_fit(accuracy: str, rows: int, columns: int, dtype: torch.dtype) -> None:
    is_large = (rows, columns) == (1_000_000, 50)
    found = []
    for _ in range(ROUNDS if is_large else 1):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found.append(pool.apply(extra_bytes, (accuracy, rows, columns, dtype)))
    extra, numba = (statistics.median(column) / 1e6 for column in zip(*found, strict=True))
    what = f"memory of a fit beyond the rows, {rows:,} x {columns} {str(dtype)[6:]}, {accuracy}"
    more = f", and {numba:.0f} MB for numba" if accuracy == "exact" else ""
    add_result(what, f"{extra:.0f} MB{more}", "60 MB" if is_large else "100 MB")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a GPU is needed")
@pytest.mark.parametrize("accuracy", ["float64", "exact"])
def test_seconds_of_a_fit_on_a_gpu(accuracy: str) -> None:
    rows, columns = 20_000_000, 100
    x = torch.randn(rows, columns, device="cuda")
    y = x.sum(dim=1) + torch.randn(rows, device="cuda")
    times = []
    for _ in range(1 + ROUNDS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        fit(accuracy, x, y, "gpu")
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    median = statistics.median(times[1:])
    print(f"\n{rows} x {columns} float32 on a GPU, Trainer included: {accuracy} {median:.1f} ms")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a GPU is needed")
def test_a_gpu_gives_the_same_bits_as_the_cpu() -> None:
    for weighted in (False, True):
        x, y = problem(200_000, 30, torch.float64)
        weight = (torch.rand(200_000),) if weighted else ()
        models = []
        for accelerator in ("cpu", "gpu"):
            trainer = Trainer(max_epochs=1, accelerator=accelerator, devices=1, logger=False)
            models.append(LeastSquares("exact"))
            trainer.fit(models[-1], TensorData(x, y, *weight, batch_size=70_000))
        assert models[0].coefficients() == models[1].coefficients()
