#!/usr/bin/env bash
# statsmodels 0.15.0, pandas 3.1.1, numpy 2.4.6, Python 3.11.
#
# 40 rows in 8 groups of 5; the group of one row in each of the first 5 groups is missing (NaN). `ols(formula, frame)` with
# cov_type "cluster" takes the column of groups.
# One would guess: a missing group is refused, as pyfixest does, or its row is left out, as a missing value of y or x is.
# Seen: the five rows, which have nothing in common but the gap, become a ninth group. There is no warning, nobs is 40, and the
# standard errors are 5 % smaller than those of the 35 rows whose group is known.
# Why it matters: gaps in identifiers are common where tables are merged; rows of different, unknown groups are then taken as
# correlated, or many as one huge group, and the errors that the report calls robust to clusters are those of no model.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet statsmodels==0.15.0 pandas==3.1.1 numpy==2.4.6
cd "$work"
"$work/env/bin/python" - <<'PYTHON'
import warnings

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf

rng = np.random.default_rng(0)
frame = pd.DataFrame({"x": rng.normal(size=40), "group": np.repeat(np.arange(8.0), 5)})
frame["y"] = frame["x"] + rng.normal(size=40)
frame.loc[[0, 5, 10, 15, 20], "group"] = np.nan
known = frame.dropna()


def errors(rows, groups):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = smf.ols("y ~ x", rows).fit(cov_type="cluster", cov_kwds={"groups": groups})
    print(int(fit.nobs), "rows, degrees of freedom", fit.df_resid_inference, fit.bse.to_numpy())
    return fit.bse.to_numpy()


gaps = errors(frame, frame["group"])
ninth = errors(frame, frame["group"].fillna(99))
without = errors(known, known["group"])
assert np.allclose(gaps, ninth), "this has changed"
assert (gaps / without).max() < 0.96
PYTHON
