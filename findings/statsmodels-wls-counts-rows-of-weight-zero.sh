#!/usr/bin/env bash
# statsmodels 0.15.0, numpy 2.4.6, Python 3.11.
#
# 60 rows, of which 20 have the weight 0, as a mask of rows to leave out has it.
# One would guess: the fit is that of the other 40 rows, as of R's lm, which takes such rows out of its degrees of freedom.
# Seen: the coefficients are; df_resid is 57 instead of 37, and all classical standard errors are a fifth too small. HC1
# and cluster corrections count the rows too. The log-likelihood is minus infinity, so that AIC and BIC choose nothing.
# Why it matters: a mask by weights, as survey designs and cross-validation make it, gives too small errors and p-values.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet statsmodels==0.15.0 numpy==2.4.6
cd "$work"
"$work/env/bin/python" - <<'PYTHON'
import warnings

import numpy as np
import statsmodels.api as sm

rng = np.random.default_rng(0)
x = sm.add_constant(rng.normal(size=(60, 2)))
y = x @ [1, 2, 3] + rng.normal(size=60)
weight = rng.uniform(0.5, 2, 60)
weight[::3] = 0
kept = weight > 0
warnings.simplefilter("ignore")  # of the logarithm of 0, when llf is asked for
for kind in ("nonrobust", "HC0", "HC1", "HC3"):
    masked = sm.WLS(y, x, weight).fit(cov_type=kind)
    without = sm.WLS(y[kept], x[kept], weight[kept]).fit(cov_type=kind)
    ratio = masked.bse / without.bse
    print(kind, "df", masked.df_resid, without.df_resid, "errors", ratio, "aic", masked.aic)
    assert np.allclose(masked.params, without.params)
    assert (masked.df_resid, without.df_resid) == (57, 37) and masked.aic == np.inf
    expected = {"nonrobust": np.sqrt(37 / 57), "HC1": np.sqrt(60 / 57 * 37 / 40)}.get(kind, 1)
    assert np.allclose(ratio, expected), "this has changed"
PYTHON
