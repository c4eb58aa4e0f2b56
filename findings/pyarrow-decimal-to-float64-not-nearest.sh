#!/usr/bin/env bash
# pyarrow 26.0.1, numpy 2.4.6, Python 3.11.
#
# A column of prices is decimal(38, 2), as databases export it, and a program needs it in float64.
# One would guess: `cast(float64)` gives the nearest float64 of each number, as `float(value)` does and as the cast of the
# same numbers written as text does; decimals exist so that 0.1 is 0.1.
# Seen: one price in seven has another last bit, among those below a thousand as among those below a trillion. With
# `safe=True`, a whole decimal that float64 cannot hold (2^53 + 1) is rounded without an error; the same int64 is refused.
# Why it matters: a join or a comparison of such a column with the same prices read from CSV misses rows, and sums differ in
# their last digits by how the prices were stored. A cast to text and from there to float64 is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet pyarrow==26.0.1 numpy==2.4.6
"$work/env/bin/python" - <<'PYTHON'
from decimal import Decimal

import numpy as np
import pyarrow as pa

cents = np.random.default_rng(0).integers(1, 10**14, 100_000).tolist()
prices = [Decimal(n) / 100 for n in cents]
nearest = [float(price) for price in prices]
column = pa.array(prices, pa.decimal128(38, 2))
other = sum(a != b for a, b in zip(column.cast(pa.float64()).to_pylist(), nearest))
text = sum(a != b for a, b in zip(column.cast(pa.string()).cast(pa.float64()).to_pylist(), nearest))
small = [Decimal(n) / 100 for n in range(1, 100_000)]
few = pa.array(small, pa.decimal128(38, 2)).cast(pa.float64()).to_pylist()
wrong_small = sum(a != float(b) for a, b in zip(few, small))
print(f"below a trillion: {other / len(prices):.1%} are not the nearest; through text: {text}")
print(f"below a thousand: {wrong_small / len(small):.1%}")
whole = 2**53 + 1
rounded = pa.array([Decimal(whole)], pa.decimal128(38, 0)).cast(pa.float64(), safe=True)[0].as_py()
print(f"decimal {whole} becomes {rounded:.0f}")
try:
    pa.array([whole]).cast(pa.float64(), safe=True)
    refused = False
except pa.ArrowInvalid:
    refused = True
print(f"int64 {whole} is refused: {refused}")
assert other > 0.05 * len(prices) and wrong_small > 0.05 * len(small) and text == 0
assert rounded == 2**53 and refused
PYTHON
