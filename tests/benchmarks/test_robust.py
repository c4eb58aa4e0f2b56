"""Robust and clustered errors, against classical ones and against statsmodels."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conftest import clock

from linreg_lightning.algebra import least_squares


@pytest.mark.parametrize(("errors", "goal"), [("HC3", "2.5"), ("cluster", "none")])
def test_seconds_of_errors(errors: Any, goal: str, compare: Callable[..., float]) -> None:
    statsmodels = pytest.importorskip("statsmodels.api")
    warnings.simplefilter("ignore")
    rng, rows = np.random.default_rng(0), 2_000_000
    x = rng.normal(size=(rows, 20))
    y = x.sum(1) + rng.normal(size=rows) * (1 + np.abs(x[:, 0]))
    clusters = rng.integers(0, 10_000, rows) if errors == "cluster" else None
    tensors = torch.from_numpy(x), torch.from_numpy(y)

    def ours() -> float:
        return clock(lambda: least_squares(*tensors).robust(errors, cluster=clusters).p)

    def classical() -> float:
        return clock(lambda: least_squares(*tensors).p)

    def peer() -> float:
        options = {} if clusters is None else {"groups": clusters}

        def run() -> None:
            model = statsmodels.OLS(y, statsmodels.add_constant(x, prepend=True))
            _ = model.fit(cov_type=errors, cov_kwds=options).pvalues

        return clock(run)

    what = f"{errors}, {rows:,} x 20"
    compare(f"{what}, against classical errors", goal, ours, classical, times=9)
    compare(f"{what}, against statsmodels", "none", ours, peer, times=5)
