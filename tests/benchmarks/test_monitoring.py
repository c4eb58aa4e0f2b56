"""The cost of monitoring: whole runs with plots and logger, and without them, in turn."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

PAIRS = 5
OFF = ["--figures", "false", "--trainer.logger", "false"]
RUNS = {
    "100 epochs of one batch": [],
    "100 epochs of 100 batches": ["--data.rows", "10000", "--data.batch_size", "100"],
    "100 epochs of a million rows": ["--data.rows", "1000000"],
}


def seconds(options: list[str], folder: Path) -> float:
    command = [sys.executable, "-m", "linreg_lightning", "fit", *options]
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start


def test_monitoring_costs_little(tmp_path: Path) -> None:
    for options in ([], OFF):
        seconds(options, tmp_path)
    for name, options in RUNS.items():
        pairs = [
            (seconds(options, tmp_path), seconds([*options, *OFF], tmp_path)) for _ in range(PAIRS)
        ]
        more = statistics.median(on - off for on, off in pairs)
        ratio = statistics.median(on / off for on, off in pairs)
        on, off = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"\n{name}: on {on:.2f} s, off {off:.2f} s, more {more:.2f} s, ratio {ratio:.2f}")
        assert ratio <= 1.15 or more <= 1.0
