#!/usr/bin/env bash
# formulaic 1.2.2, pandas 3.1.1, numpy 2.4.6, Python 3.11.
#
# 50 rows of which one lacks x. By default formulaic leaves out rows with a gap, and `poly(x, 2)`, `bs(x, df=4)` and `cr(x, df=4)`
# learn from the other 49 rows.
# One would guess: `scale(x)` and `center(x)` do too, and the matrix has 49 rows, or an error says that they cannot.
# Seen: their mean is NaN, so that each value is, and all rows are left out: the matrix has its columns and no row. There is no
# warning. A spec that was learned from complete rows gives 49 rows of the same table.
# Why it matters: with response and several terms, the fit fails far from the cause, or a report of 0 rows is taken as one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet formulaic==1.2.2 pandas==3.1.1 numpy==2.4.6
cd "$work"
"$work/env/bin/python" - <<'PYTHON'
import warnings

import numpy as np
import pandas as pd
from formulaic import model_matrix

rng = np.random.default_rng(0)
frame = pd.DataFrame({"x": rng.normal(size=50)})
frame.loc[3, "x"] = np.nan
rows = {}
with warnings.catch_warnings():
    warnings.simplefilter("error")
    for term in ("x", "poly(x, 2)", "bs(x, df=4)", "cr(x, df=4)", "center(x)", "scale(x)"):
        rows[term] = len(model_matrix(term, frame))
    learned = model_matrix("scale(x)", frame.dropna()).model_spec
    rows["scale(x), learned before"] = len(learned.get_model_matrix(frame))
print(rows)
assert rows.pop("scale(x)") == rows.pop("center(x)") == 0, "this has changed"
assert set(rows.values()) == {49}
PYTHON
