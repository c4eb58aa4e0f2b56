#!/usr/bin/env bash
# statsmodels 0.15.0, numpy 2.4.6, Python 3.11.
#
# A weighted fit of 40 rows, 3 coefficients. `OLSInfluence` takes the result of WLS without a word.
# One would guess: the leverages add up to 3, the number of coefficients, and Cook's distance of a row is how far the
# coefficients move when the row is left out, which the script computes by leaving it out.
# Seen: the leverages add up to less than 2: each is the true one divided by the square root of the weight. With the default
# settings there is no warning. Cook's distances are a third to an eighth of the true ones in the first rows, and another row is the most influential.
# The same class gives the right numbers for OLS of rows that were multiplied by the square roots of their weights.
# Why it matters: the rows that an analyst looks at, or leaves out, are chosen by these numbers.
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
from statsmodels.stats.outliers_influence import OLSInfluence

rng = np.random.default_rng(0)
x = sm.add_constant(rng.normal(size=(40, 2)))
weight = rng.uniform(0.2, 5, 40)
y = x @ [1, 2, 3] + rng.normal(size=40) / np.sqrt(weight)
fit = sm.WLS(y, x, weight).fit()
with warnings.catch_warnings():
    warnings.simplefilter("error")
    seen = OLSInfluence(fit)
    leverage, cook = seen.hat_matrix_diag, seen.cooks_distance[0]
root = np.sqrt(weight)
right = OLSInfluence(sm.OLS(y * root, x * root[:, None]).fit())
moved = []
for row in range(40):
    rest = np.arange(40) != row
    move = sm.WLS(y[rest], x[rest], weight[rest]).fit().params - fit.params
    moved.append(move @ (x.T * weight) @ x @ move / 3 / fit.scale)
print("sum of leverages", leverage.sum(), "of scaled rows", right.hat_matrix_diag.sum())
print("Cook's distances, row left out", np.round(moved[:4], 5), "statsmodels", cook[:4].round(5))
print("most influential row: left out", np.argmax(moved), "statsmodels", cook.argmax())
assert np.allclose(moved, right.cooks_distance[0]) and np.isclose(right.hat_matrix_diag.sum(), 3)
assert np.allclose(leverage, right.hat_matrix_diag / root), "this has changed"
assert leverage.sum() < 2 and not np.allclose(cook, moved, rtol=0.5)
PYTHON
