#!/usr/bin/env bash
# linearmodels 7.1, pandas 3.1.1, statsmodels 0.15.0, Python 3.11.
#
# 200 rows with an effect of 30 groups and two regressors, by the two classes of linearmodels that absorb such effects:
# `AbsorbingLS(...).fit()` and `PanelOLS(..., entity_effects=True).fit()`, both with errors "unadjusted".
# One would guess: the same model with the same kind of errors gives the same errors, those of OLS with dummies.
# Seen: PanelOLS gives those of OLS with dummies. AbsorbingLS divides by n instead of n - k, though its result has df_resid, the
# right number: its errors are 8 % smaller here, more with more groups. `debiased=True` gives those of PanelOLS.
# Why it matters: with few rows a group, as in panels of two years, its standard errors are too small by a factor of 1.4.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet linearmodels==7.1 pandas==3.1.1 statsmodels==0.15.0
cd "$work"
"$work/env/bin/python" - <<'PYTHON'
import numpy as np
import pandas as pd
import statsmodels.api as sm
from linearmodels import PanelOLS
from linearmodels.iv import AbsorbingLS

rng = np.random.default_rng(0)
frame = pd.DataFrame(rng.normal(size=(200, 2)), columns=["a", "b"])
frame["group"] = np.arange(200) % 30
frame["y"] = frame["a"] + rng.normal(size=200) + rng.normal(size=30)[frame["group"]]
frame["time"] = frame.groupby("group").cumcount()
x = frame[["a", "b"]]
absorbing = AbsorbingLS(frame["y"], x, absorb=frame[["group"]].astype("category"))
panel = frame.set_index(["group", "time"])
fits = {
    "AbsorbingLS": absorbing.fit(cov_type="unadjusted").std_errors,
    "AbsorbingLS, debiased": absorbing.fit(cov_type="unadjusted", debiased=True).std_errors,
    "PanelOLS": PanelOLS(panel["y"], panel[["a", "b"]], entity_effects=True).fit().std_errors,
}
dummies = pd.get_dummies(frame["group"], dtype=float).add_prefix("g")
truth = sm.OLS(frame["y"], pd.concat([x, dummies], axis=1)).fit().bse[["a", "b"]]
for name, errors in fits.items():
    print(name, "/ OLS with dummies", (errors / truth).tolist())
assert np.allclose(fits["PanelOLS"], truth) and np.allclose(fits["AbsorbingLS, debiased"], truth)
assert np.allclose(fits["AbsorbingLS"] / truth, np.sqrt(168 / 200)), "this has changed"
PYTHON
