#!/usr/bin/env bash
# pyfixest 0.60.0, statsmodels 0.15.0, numpy 2.4.6, Python 3.11.
#
# OLS of 40 rows, 3 coefficients, without fixed effects, errors HC2 and HC3.
# One would guess: HC2 and HC3 divide each squared residual by (1 - h) and (1 - h)^2 and have no other correction, as in
# statsmodels, in R's sandwich and in the papers that define them; n / (n - k) makes HC1 of HC0.
# Seen: pyfixest's default multiplies them by n / (n - k) too, so that each standard error is 4 % larger here.
# `ssc(k_adj=False)` gives statsmodels' numbers, and for "HC1" it then gives HC0.
# Why it matters: HC3 is chosen for small samples, where this matters most, and tables under the same name do not agree.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet pyfixest==0.60.0 statsmodels==0.15.0 numpy==2.4.6
cd "$work"
"$work/env/bin/python" - <<'PYTHON'
import warnings

import numpy as np
import pandas as pd

warnings.simplefilter("ignore")
import pyfixest
import statsmodels.formula.api as smf

rng = np.random.default_rng(0)
frame = pd.DataFrame(rng.normal(size=(40, 2)), columns=["a", "b"])
frame["y"] = frame["a"] + rng.normal(size=40)
for kind in ("HC1", "HC2", "HC3"):
    theirs = smf.ols("y ~ a + b", frame).fit(cov_type=kind).bse.to_numpy()
    seen = pyfixest.feols("y ~ a + b", frame, vcov=kind).se().to_numpy()
    plain = pyfixest.feols("y ~ a + b", frame, vcov=kind, ssc=pyfixest.ssc(k_adj=False))
    ratio = seen / theirs
    print(kind, "pyfixest / statsmodels", ratio, "without k_adj", plain.se().to_numpy() / theirs)
    if kind == "HC1":
        assert np.allclose(ratio, 1)
    else:
        assert np.allclose(ratio, np.sqrt(40 / 37)), "this has changed"
        assert np.allclose(plain.se().to_numpy(), theirs)
PYTHON
