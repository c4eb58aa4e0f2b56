"""Absorbed effects with errors clustered by them, against pyfixest."""

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from conftest import clock

from linreg_lightning.algebra import least_squares


@pytest.mark.parametrize(("ways", "goal"), [(1, "0.5"), (2, "1")])
def test_seconds_of_a_fit(ways: int, goal: str, compare: Callable[..., float]) -> None:
    pyfixest = pytest.importorskip("pyfixest")
    pandas = pytest.importorskip("pandas")
    warnings.simplefilter("ignore")
    rng, rows = np.random.default_rng(0), 2_000_000
    levels = [rng.integers(0, 100_000, rows), rng.integers(0, 1_000, rows)][:ways]
    x = rng.normal(size=(rows, 5))
    y = x.sum(1) + rng.normal(size=100_000)[levels[0]] + rng.normal(size=rows)
    frame = pandas.DataFrame(x, columns=[f"x{j}" for j in range(5)])
    frame = frame.assign(y=y, **{f"g{k}": column for k, column in enumerate(levels)})
    formula = "y ~ x0 + x1 + x2 + x3 + x4 | " + " + ".join(f"g{k}" for k in range(ways))
    options = {"vcov": {"CRV1": "g0"}, "copy_data": False, "store_data": False, "lean": True}

    def ours() -> float:
        def run() -> None:
            _ = least_squares(x, y, absorb=levels).robust("cluster", cluster=levels[0]).p

        return clock(run)

    def peer() -> float:
        return clock(lambda: pyfixest.feols(formula, frame, **options))

    peer()  # compiles and imports
    what = f"100,000 effects{' and 1,000' if ways == 2 else ''}, clustered, {rows:,} x 5"
    compare(f"{what}, against pyfixest", goal, ours, peer, times=5)
