#!/usr/bin/env bash
# statsmodels 0.15.0, numpy 2.4.6, Python 3.11.
#
# 40 rows in 8 clusters, one regressor. The errors by cluster can be had in two ways: `fit(cov_type="cluster")`, and
# `fit().get_robustcov_results("cluster")`. With one regressor, the F test of the model is the test of its slope.
# One would guess: both ways give the same report, and its F test has the p-value of its slope. The docstring of the second says
# that without `use_t` it takes the normal distribution for all robust errors.
# Seen: coefficients and standard errors are the same, the p-values are 0.017 and 0.049: the first takes the normal distribution,
# the second t with 7 degrees of freedom. In the first report, f_pvalue is 0.049 beside the 0.017 of the slope, though F = z^2: it
# is of the F distribution with 7 degrees of freedom.
# Why it matters: with few clusters the normal distribution finds effects that are not there, and the default takes it; the way
# that was chosen cannot be seen from the standard errors.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet statsmodels==0.15.0 numpy==2.4.6
cd "$work"
"$work/env/bin/python" - <<'PYTHON'
import numpy as np
import statsmodels.api as sm

rng = np.random.default_rng(0)
x = sm.add_constant(rng.normal(size=40))
y = x @ [1, 0.7] + rng.normal(size=40)
clusters = np.repeat(np.arange(8), 5)
model = sm.OLS(y, x)
direct = model.fit(cov_type="cluster", cov_kwds={"groups": clusters})
later = model.fit().get_robustcov_results("cluster", groups=clusters)
for name, fit in (("fit", direct), ("get_robustcov_results", later)):
    print(name, "error", fit.bse[1], "p", fit.pvalues[1], "F", fit.fvalue, "p of F", fit.f_pvalue)
assert np.allclose(direct.bse, later.bse) and np.isclose(direct.fvalue, direct.tvalues[1] ** 2)
assert direct.pvalues[1] < later.pvalues[1] / 2, "this has changed"
assert np.isclose(direct.f_pvalue, later.pvalues[1]), "this has changed"
PYTHON
