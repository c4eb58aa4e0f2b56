#!/usr/bin/env bash
# formulaic 1.2.2, pandas 3.1.1, numpy 2.4.6, Python 3.11.
#
# A column of logarithms to base 10, such as pH or decibels / 10, is to enter a model in its own units. Formulas know `exp10`
# beside `exp` and `exp2`.
# One would guess: `exp10(x)` is 10 to the power x, as `exp2(x)` is 2 to the power x.
# Seen: it is x to the power 10: `exp10(3)` is 59049 where 10^3 is 1000, while `exp2(3)` is 8. There is no warning.
# Why it matters: the fit runs, and its coefficient belongs to another column than the one that its name says.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet formulaic==1.2.2 pandas==3.1.1 numpy==2.4.6
cd "$work"
"$work/env/bin/python" - <<'PYTHON'
import numpy as np
import pandas as pd
from formulaic import model_matrix

frame = pd.DataFrame({"x": [0.5, 1.0, 2.0, 3.0]})
matrix = model_matrix("exp(x) + exp2(x) + exp10(x)", frame)
print(matrix.to_string())
assert np.allclose(matrix["exp(x)"], np.exp(frame["x"]))
assert np.allclose(matrix["exp2(x)"], 2 ** frame["x"])
assert np.allclose(matrix["exp10(x)"], frame["x"] ** 10), "this has changed"
assert not np.allclose(matrix["exp10(x)"], 10 ** frame["x"])
PYTHON
