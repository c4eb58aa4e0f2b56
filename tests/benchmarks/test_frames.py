"""A polars frame with a column of text, to coefficients, against the same scikit-learn Pipeline."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from conftest import add_result, clock
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from test_least_squares import held_bytes, quiet

from linreg_lightning import LeastSquares, TabularData, Trainer

ROWS = int(10_000_000 * float(os.environ.get("LINREG_BENCHMARK_SCALE", "1")))
NUMBERS = [f"x{j}" for j in range(19)]


def frame(rows: int) -> pl.DataFrame:
    """Return 19 columns of numbers, one of text with ten levels, and the target."""
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {name: rng.normal(size=rows) for name in NUMBERS}
    level = rng.integers(0, 10, rows)
    columns["city"] = pl.Series([f"city {k}" for k in range(10)])[level]
    columns["y"] = sum(columns[name] for name in NUMBERS) + level + rng.normal(size=rows)
    return pl.DataFrame(columns)


def fit(table: pl.DataFrame) -> LeastSquares:
    model = LeastSquares(accuracy="float64")
    settings: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    Trainer(max_epochs=1, **settings).fit(model, TabularData(table, target="y"))
    return model


def fit_pipeline(table: pl.DataFrame) -> Any:
    encoder = OneHotEncoder(drop="first", sparse_output=False)
    columns = make_column_transformer((encoder, ["city"]), remainder="passthrough")
    return make_pipeline(columns, LinearRegression()).fit(table.drop("y"), table["y"].to_numpy())


def test_seconds_from_a_frame_to_coefficients(compare: Callable[..., float]) -> None:
    quiet()
    table = frame(ROWS)
    ours, peer = (partial(clock, partial(work, table)) for work in (fit, fit_pipeline))
    what = f"a polars frame of {ROWS:,} x 20, one column of text, against a scikit-learn Pipeline"
    compare(what, "0.2", ours, peer)


def extra_bytes(rows: int) -> int:
    """Return the peak memory of a fit beyond the frame and the libraries, in a new process."""
    quiet()
    torch.set_num_threads(1)
    fit(frame(1000))
    table = frame(rows)
    before = held_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    fit(table)
    return held_bytes("VmHWM") - before


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc of Linux is needed")
def test_memory_beyond_a_frame() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        extra = pool.apply(extra_bytes, (ROWS,)) / 1e6
    add_result(f"memory beyond a polars frame of {ROWS:,} x 20", f"{extra:.0f} MB", "300 MB")
