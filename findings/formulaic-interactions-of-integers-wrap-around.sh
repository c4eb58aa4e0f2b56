#!/usr/bin/env bash
# formulaic 1.2.2, pandas 3.1.1, numpy 2.4.6, Python 3.11.
#
# Columns of small integers as Parquet and Stata files have them: rooms and area as int16, units and price as int32.
# One would guess: the matrix of a model holds real numbers, so that the interaction `a:b` is the product, as in R.
# Seen: products are computed in the integers of the columns and wrap around: 300 x 300 is 24464, 20000 x 2 is -25536. The same
# values as int64 or float64 columns give the right products. There is no warning.
# Why it matters: a fit on the file and one on the same table from CSV differ, and the first is wrong for the largest rows only.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet formulaic==1.2.2 pandas==3.1.1 numpy==2.4.6
cd "$work"
"$work/env/bin/python" - <<'PYTHON'
import warnings

import pandas as pd
from formulaic import model_matrix

columns = {"int16": ([300, 20000], [300, 2]), "int32": ([300000, 20000], [30000, 2])}
for dtype, (a, b) in columns.items():
    frame = pd.DataFrame({"a": a, "b": b})
    truth = [x * y for x, y in zip(a, b, strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small = model_matrix("a:b", frame.astype(dtype))["a:b"].tolist()
        large = model_matrix("a:b", frame)["a:b"].tolist()
    print(dtype, small, "int64", large)
    assert large == truth
    assert small[0] != truth[0], "this has changed"
PYTHON
