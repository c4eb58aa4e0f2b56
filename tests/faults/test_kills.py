"""100 runs are killed at random moments; the next run finds whole files and removes the rest."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from processes import damaged, orphans, run, seconds, start

FIT_KILLS, PREDICT_KILLS, INTERRUPTS = 30, 20, 20  # of each test
ROWS = 3000
EACH_EPOCH = (
    "--trainer.callbacks+=linreg_lightning.callbacks.run_checkpoint.RunCheckpoint "
    "--trainer.callbacks.seconds=0"
)
ROOTS = ("", " --trainer.logger false --trainer.default_root_dir one")


def kill(process: Any, delay: float, counts: dict[str, int], rows: int = 0) -> None:
    """Kill a process after a time, unless it has ended; count what it leaves."""
    process.join(delay)
    process.kill()
    process.join()
    counts["tried"] += 1
    counts["killed"] += process.exitcode == -signal.SIGKILL
    counts["left"] += bool(orphans(Path()))
    counts["damaged"] += len(damaged(Path("logs" if rows else ""), rows))
    assert not damaged(Path("logs" if rows else ""), rows)


def report(name: str, counts: dict[str, int]) -> None:
    print(f"\n{name}:", ", ".join(f"{key} {value}" for key, value in counts.items()))


@pytest.mark.parametrize("root", ROOTS, ids=["own folders", "one folder"])
def test_killed_fits_leave_whole_files_and_the_next_run_removes_the_rest(root: str) -> None:
    moments, counts = random.Random(0), dict.fromkeys(("tried", "killed", "left", "damaged"), 0)
    duration = seconds(f"fit --trainer.max_epochs 40 {EACH_EPOCH}{root}")
    while counts["killed"] < FIT_KILLS:
        process = start(f"fit --trainer.max_epochs 100000 {EACH_EPOCH}{root}")
        kill(process, duration * moments.uniform(0.1, 1.0), counts)
        if counts["tried"] % 10 == 0:
            assert run(f"fit --trainer.max_epochs 2{root}") == 0
            assert not orphans(Path())
            assert run(f"validate --ckpt_path last{root}") == 0
    report("fits killed", counts)


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_killed_predictions_leave_whole_files_and_the_next_run_removes_the_rest(
    format: str,
) -> None:
    moments, counts = random.Random(1), dict.fromkeys(("tried", "killed", "left", "damaged"), 0)
    Path("rows.csv").write_text("x1,x2,y\n" + "1.5,2,3\n2,1,4\n3,7,5\n" * (ROWS // 3))
    table = "--data TabularData --data.path rows.csv --data.target y"
    assert run(f"fit -c least_squares {table}") == 0
    predict = f"predict --ckpt_path last --data.path rows.csv --data.batch_size 1 --format {format}"
    predict += " --trainer.logger false"
    duration = seconds(predict)
    while counts["killed"] < PREDICT_KILLS:
        kill(start(predict), duration * moments.uniform(0.1, 1.0), counts, rows=ROWS)
        if counts["tried"] % 10 == 0:
            assert run(predict) == 0
            assert not orphans(Path())
    assert run(predict) == 0
    assert not orphans(Path())
    report(f"predictions killed, {format}", counts)


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_interrupted_fits_end_in_one_line_and_keep_their_work(again: bool) -> None:
    moments, kept = random.Random(2), 0
    line = "fit --trainer.max_epochs 20000 --data.batch_size 7 --trainer.limit_val_batches 0"
    duration = seconds(f"{line} --trainer.max_steps 2000")
    for _ in range(INTERRUPTS):
        Path("err.txt").unlink(missing_ok=True)
        process = start(line)
        time.sleep(duration * moments.uniform(0.05, 1.5))
        os.kill(process.pid, signal.SIGINT)
        if again:
            time.sleep(moments.uniform(0, 0.05))
            os.kill(process.pid, signal.SIGINT)
        process.join(30)
        assert process.exitcode is not None, "the command hangs"
        errors = Path("err.txt").read_text() if Path("err.txt").exists() else ""
        assert "Traceback" not in errors, errors
        assert process.exitcode in (130, -signal.SIGINT), errors
        assert errors.count("linreg: error: ") <= 1
        kept += "has the fit so far" in errors
        assert not damaged(Path())
    print(f"\ninterrupted: tried {INTERRUPTS}, kept within an epoch {kept}, tracebacks 0")
    assert again or kept
