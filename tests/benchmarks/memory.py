"""Print the memory in MB that a fit of 4M x 20 float32 takes beyond its rows and the libraries."""

import logging
import re
import resource
from pathlib import Path

import torch

import linreg_lightning as ll

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


def peak() -> float:
    """Return the peak memory of this process in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux, `resource` also counts the memory of the parent process
        return int(re.search(r"VmHWM:\s*(\d+)", status.read_text())[1]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def fit(data: ll.TensorData) -> None:
    options = {"enable_progress_bar": False, "enable_model_summary": False}
    options["callbacks"] = [ll.TightLoop()]
    ll.Trainer(max_epochs=1, accelerator="cpu", **options).fit(ll.LinearRegression(0.01), data)


if __name__ == "__main__":
    fit(
        ll.TensorData(torch.randn(1000, 20), torch.randn(1000), batch_size=100)
    )  # imports everything
    before = peak()
    x, y = torch.empty(4_000_000, 20).normal_(), torch.empty(4_000_000).normal_()
    fit(ll.TensorData(x, y, batch_size=8192))
    print(peak() - before - (x.nbytes + y.nbytes) / 1e6)
