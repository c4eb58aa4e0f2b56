"""Memory that a fit of 4M x 20 float32 takes beyond its rows and the libraries, in MB."""

import logging
import re
import resource
from pathlib import Path

import torch

import linreg_lightning as ll

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


def peak() -> float:
    """The process's largest memory so far, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux, `resource` counts the parent's memory too
        return int(re.search(r"VmHWM:\s*(\d+)", status.read_text())[1]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def fit(data: ll.TensorData) -> None:
    options = {"enable_progress_bar": False, "enable_model_summary": False}
    options["callbacks"] = [ll.TightLoop()]
    ll.Trainer(max_epochs=1, accelerator="cpu", **options).fit(ll.LinearRegression(0.01), data)


if __name__ == "__main__":
    fit(ll.TensorData(torch.randn(1000, 20), torch.randn(1000), batch_size=100))  # all imports
    before = peak()
    x, y = torch.empty(4_000_000, 20).normal_(), torch.empty(4_000_000).normal_()
    fit(ll.TensorData(x, y, batch_size=8192))
    print(peak() - before - (x.nbytes + y.nbytes) / 1e6)
