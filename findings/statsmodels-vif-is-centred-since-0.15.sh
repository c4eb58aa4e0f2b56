#!/usr/bin/env bash
# statsmodels 0.14.6 and 0.15.0, numpy 2.4.6, Python 3.11.
#
# `variance_inflation_factor` of two independent columns whose mean is ten times their deviation, without and with a column of 1.
# One would guess: both releases give the same numbers. The new argument `standardize` (default True) is documented as a measure
# for numerical stability, and a change of scale does not change a VIF.
# Seen: standardizing also subtracts the means. Without a column of 1, version 0.14.6 gives 64 and version 0.15.0 gives 1.02;
# with it, the VIF of the column of 1 is 194 and 1. `standardize=False` gives the numbers of 0.14.6. There is no warning.
# Why it matters: a check for collinearity of a model without intercept passes after the upgrade where it failed before.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/vif.py" <<'PYTHON'
import sys
import warnings

import numpy as np
import statsmodels
from statsmodels.stats.outliers_influence import variance_inflation_factor

warnings.simplefilter("error")
columns = np.random.default_rng(0).normal(10, 1, size=(100, 2))
with_constant = np.column_stack([np.ones(100), columns])


def factors(**options):
    return [
        variance_inflation_factor(x, index, **options)
        for x in (columns, with_constant)
        for index in range(x.shape[1])
    ]


seen = factors()
print(statsmodels.__version__, np.round(seen, 3))
if sys.argv[1] == "0.14.6":
    assert min(seen[:3]) > 50
else:
    assert max(seen) < 1.1, "this has changed"
    assert min(factors(standardize=False)[:3]) > 50
PYTHON
for version in 0.14.6 0.15.0; do
  python3 -m venv "$work/$version"
  "$work/$version/bin/pip" install --quiet "statsmodels==$version" numpy==2.4.6
  "$work/$version/bin/python" "$work/vif.py" "$version"
done
