#!/usr/bin/env bash
# torch 2.13.0 (CPU, Linux x86-64, with MKL), numpy 2.4.6, Python 3.11.
#
# A program takes square roots in float64.
# One would guess: a root is correctly rounded everywhere, because IEEE 754 prescribes it, processors have an instruction
# for it, and C, NumPy and Python's math keep to it.
# Seen: torch gives another last bit for 1.4 % of numbers in float64, and for 20 % in float32, for one number as for many.
# Its roots come from MKL's vector functions, which state an error of up to one unit in the last place.
# Why it matters: `x.sqrt()` and `numpy.sqrt(x.numpy())` are not equal in all bits, nor is a root on the CPU to that on
# another device; error bounds of double-double arithmetic that assume a correctly
# rounded root do not hold. numpy.sqrt on the tensor's own memory gives the correct one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$work/env/bin/python" - <<'PYTHON'
import math

import numpy as np
import torch

assert torch.backends.mkl.is_available(), "not tried: it needs a torch with MKL"
x = torch.rand(100_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
right = np.array([math.sqrt(value) for value in x.tolist()])
assert (np.sqrt(x.numpy()) == right).all()
wrong = np.flatnonzero(x.sqrt().numpy() != right)
wrong_in_float32 = (x.float().sqrt().numpy() != np.sqrt(x.float().numpy())).mean()
k = int(wrong[0])
print(f"float64: {len(wrong) / len(x):.1%} of roots are not correctly rounded")
print(f"float32: {wrong_in_float32:.1%}")
print(f"alone: torch {float(x[k].sqrt())!r}, math {float(right[k])!r}")
assert 0.005 < len(wrong) / len(x) < 0.05
assert wrong_in_float32 > 0.05
assert float(x[k].sqrt()) != right[k]
PYTHON
