#!/usr/bin/env bash
# statsmodels 0.15.0, numpy 2.4.6, Python 3.11.
#
# Two models of the same y: one on a, the other on b and c. Neither contains the other, so that the F and likelihood-ratio tests of
# nested models do not exist. `compare_f_test` and `compare_lr_test` are asked for them.
# One would guess: an error, as the methods have the columns of both models, or NaN with a warning.
# Seen: where the larger model fits worse, F and the likelihood ratio are negative, which they cannot be, with the p-value 1 and
# no warning. Where it fits better, the numbers are plausible and the p-value is below 0.05: nothing shows that it means nothing.
# Why it matters: p = 1 reads as "the larger model is not needed", and a small p as "it is", for a test that was none.
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
a, b, c = rng.normal(size=(3, 50))
warnings.simplefilter("error")
results = {}
for name, y in (("a matters", 2 * a), ("b matters", 0.5 * a + b)):
    y = y + rng.normal(size=50)
    small = sm.OLS(y, sm.add_constant(a)).fit()
    large = sm.OLS(y, sm.add_constant(np.column_stack([b, c]))).fit()
    results[name] = large.compare_f_test(small), large.compare_lr_test(small)
    print(name, "F, p, df:", results[name][0], "LR, p, df:", results[name][1])
(f, p, _), (ratio, p_ratio, _) = results["a matters"]
assert f < 0 and ratio < 0 and p == p_ratio == 1, "this has changed"
(f, p, _), (ratio, p_ratio, _) = results["b matters"]
assert f > 0 and max(p, p_ratio) < 0.05, "this has changed"
PYTHON
