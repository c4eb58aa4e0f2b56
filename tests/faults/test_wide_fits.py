"""Time and memory of fits with many columns: `pytest tests/faults`."""

import subprocess
import sys

import pytest

WIDE_FIT = """
import resource, warnings
import torch
from linreg_lightning.algebra import least_squares
warnings.simplefilter("ignore")
torch.manual_seed(0)
x, y = torch.randn(200, {columns}, dtype=torch.float64), torch.randn(200, dtype=torch.float64)

def size(kind):
    # Not ru_maxrss, which begins with the size of the parent process.
    with open("/proc/self/status") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(kind))

before, seconds = size("VmRSS"), resource.getrusage(resource.RUSAGE_SELF).ru_utime
least_squares(x, y, accuracy="{accuracy}")
seconds = resource.getrusage(resource.RUSAGE_SELF).ru_utime - seconds
print(seconds, (size("VmHWM") - before) / {columns} ** 2)
"""


@pytest.mark.parametrize(("accuracy", "seconds", "size"), [("exact", 5, 170), ("float64", 2, 90)])
def test_a_wide_fit_takes_seconds_and_a_few_matrices(accuracy, seconds, size) -> None:
    """Time is that of the process; sizes are bytes for each entry of the Gram matrix."""
    code = WIDE_FIT.format(accuracy=accuracy, columns=1500)
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )
    used_seconds, used_bytes = map(float, output.stdout.split())
    assert used_seconds < seconds
    assert 16 < used_bytes < size
