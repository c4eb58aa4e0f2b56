#!/usr/bin/env bash
# statsmodels 0.15.0, numpy 2.4.6, Python 3.11.
#
# Ten points lie on a line that falls from 1 to 0 while x, an identifier or a count of small units, goes from 1.3e14 to 1.9e14:
# the line through them is a problem of two well-separated columns, which numpy's `polyfit` solves.
# One would guess: `OLS(y, add_constant(x))` finds it, as R2 = 1 of a perfect line; or the rank is said to be 1, with a warning.
# Seen: R2 is -0.39, a value that least squares with a constant cannot have. The intercept is 2e-29, so that the line passes
# through the origin; the rank is given as 2 and no warning is raised. `method="qr"` finds the line, as does x in units of 1000.
# The default method inverts by singular values and leaves those out that are below 1e-15 of the largest, for which a column of
# ones beside one of 1e14 is not large enough; the rank is counted with another limit.
# Why it matters: byte counts and account numbers are of this size; the coefficients, standard
# errors and predictions are those of another model, and only a negative R2 tells.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet statsmodels==0.15.0 numpy==2.4.6
"$work/env/bin/python" - <<'PYTHON'
import warnings

import numpy as np
import statsmodels
import statsmodels.api as sm

x, y = np.linspace(1.3e14, 1.9e14, 10), np.linspace(1, 0, 10)


def fit(x, method="pinv"):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        answer = sm.OLS(y, sm.add_constant(x)).fit(method=method)
    print(method, answer.params, "R2", answer.rsquared, "rank", answer.model.rank, "warnings", len(caught))
    return answer, caught


print("statsmodels", statsmodels.__version__, "numpy", np.__version__)
slope, intercept = np.polyfit(x, y, 1)
print("polyfit", intercept, slope)
assert np.allclose(intercept, 1 + 1.3e14 / 6e13)
answer, caught = fit(x)
assert answer.rsquared < 0 and abs(answer.params[0]) < 1e-20
assert answer.model.rank == 2 and not caught
for right, _ in (fit(x / 1000), fit(x, "qr")):
    assert np.allclose(right.params[0], intercept) and np.allclose(right.rsquared, 1)
PYTHON
