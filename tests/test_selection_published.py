"""Fits with a penalty against numbers that others have published, here those of R's glmnet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import statsmodels.regression.tests.results.glmnet_r_results as published
import torch

from linreg_lightning import select_penalty

TABLES = sorted(name for name in vars(published) if name.startswith("rslt_"))
# By how much glmnet's coordinate descent, which stops early, is off; ridge is as printed.
TOLERANCE = {"ridge": 5.1e-8, "lasso": 2e-6, "elasticnet": 4e-6}


@pytest.mark.filterwarnings("ignore:The choice")
@pytest.mark.parametrize("mixing", [0.0, 0.5, 1.0])
def test_coefficients_are_those_that_glmnet_printed_for_statsmodels(mixing: float) -> None:
    """The tables are `glmnet_r_results` of statsmodels; `lasso_r_results.R` beside it made them.

    Each has the numbers of rows and columns, glmnet's alpha and lambda, and the coefficients; rows
    have mean 0 and variance 1, divided by n - 1.
    """
    rows = np.loadtxt(Path(published.__file__).parent / "lasso_data.csv", delimiter=",")
    compared = 0
    for name in TABLES:
        count, columns, alpha, penalty, *expected = getattr(published, name)
        if alpha != mixing:
            continue
        compared += 1
        part = rows[: int(count), : int(columns) + 1]
        part = torch.from_numpy((part - part.mean(0)) / part.std(0, ddof=1))
        # The table of `penalty_scale`; glmnet divides the squares by n.
        scale = ((count - 1) / count) ** 0.5
        weights = alpha, (1 - alpha) / scale
        kind = {0.0: "ridge", 1.0: "lasso"}.get(alpha, "elasticnet")
        ratio = {"l1_ratio": weights[0] / sum(weights)} if kind == "elasticnet" else {}
        found = select_penalty(
            part[:, 1:],
            part[:, 0],
            penalty=kind,
            alphas=[penalty * sum(weights)],
            intercept=False,
            standardize=False,
            folds=2,
            accuracy="float64",
            **ratio,
        ).coefficients
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[kind])
        assert ((found == 0).numpy() == (np.array(expected) == 0)).all()
    assert compared == 27
