#!/usr/bin/env bash
# statsmodels 0.15.0, numpy 2.4.6, Python 3.11.
#
# Ramsey's RESET adds powers of the fitted values to a model and tests them. `linear_reset` takes a result of WLS.
# One would guess: the larger model is fitted with the weights of the given one, since its fitted values are.
# Seen: the larger model has the class WLS and no weights, which is OLS. F is 1.37 where the weighted test gives 0.38; the fitted
# values come from the weighted model, so that the number is that of neither test. There is no warning.
# Why it matters: whoever weights rows because their variances differ is told by this test about a model that was not fitted.
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
from statsmodels.stats.diagnostic import linear_reset

rng = np.random.default_rng(0)
x = sm.add_constant(rng.normal(size=(40, 2)))
weight = rng.uniform(0.2, 5, 40)
y = x @ [1, 2, 3] + rng.normal(size=40) / np.sqrt(weight)
fit = sm.WLS(y, x, weight).fit()
larger = np.column_stack([x, fit.fittedvalues**2, fit.fittedvalues**3])
powers = np.eye(5)[3:]
with warnings.catch_warnings():
    warnings.simplefilter("error")
    seen = linear_reset(fit, use_f=True).statistic
weighted = sm.WLS(y, larger, weight).fit().f_test(powers).statistic
unweighted = sm.OLS(y, larger).fit().f_test(powers).statistic
print("linear_reset", seen, "by hand, weighted", weighted, "without weights", unweighted)
assert np.isclose(seen, unweighted), "this has changed"
assert seen > 3 * weighted
PYTHON
