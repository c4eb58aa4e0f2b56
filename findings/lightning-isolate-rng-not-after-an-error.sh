#!/usr/bin/env bash
# lightning 2.6.6, torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11.
#
# A random search draws a learning rate, and calls a function that seeds everything and fits. To go on drawing, it calls
# that function within `isolate_rng()`, "a context manager that resets the global random state on exit to what it was
# before entering". Some of the fits diverge and raise an error, which the search catches.
# One would guess: the context manager restores the random state after an error too, as `torch.random.fork_rng` does.
# Seen: it restores nothing after an error. The next draw is the one that follows the seed: after each failed fit the
# search draws the same number, and nothing is said.
# Why it matters: from the first failure on, a search by `random`, numpy or torch repeats itself.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet lightning==2.6.6 torch==2.13.0 numpy==2.4.6
cd "$work"
"$work/env/bin/python" -W ignore - 2> "$work/log" <<'PYTHON' || { tail -5 "$work/log"; exit 1; }
import random

import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.utilities.seed import isolate_rng


def fit(rate, diverges):
    seed_everything(0, verbose=False)
    if diverges:
        raise ArithmeticError


def search(context, diverges):
    random.seed(1)
    torch.manual_seed(1)
    drawn = []
    for _ in range(4):
        drawn.append((round(random.random(), 3), round(torch.rand(1).item(), 3)))
        try:
            with context():
                fit(drawn[-1], diverges)
        except ArithmeticError:
            pass
    return drawn


for diverges in (False, True):
    drawn = search(isolate_rng, diverges)
    print("every fit diverges:" if diverges else "no fit diverges:", drawn)
    assert len(set(drawn)) == (2 if diverges else 4)
with_torch = [number for _, number in search(torch.random.fork_rng, True)]
print("torch.random.fork_rng, every fit diverges:", with_torch)
assert len(set(with_torch)) == 4
PYTHON
