"""A fit of several processes of which one is lost: the others end, and the run resumes."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
from lightning.pytorch import Callback

from linreg_lightning import InputError
from linreg_lightning.callbacks import PeerMonitor
from linreg_lightning.cli import run

FIT = (
    "fit --data TabularData --data.path t.csv --data.target y --data.batch_size 10 "
    "--model LeastSquares --figures false --trainer.accelerator cpu "
    "--trainer.enable_progress_bar false --trainer.default_root_dir"
)
TWO_NODES = "--trainer.num_nodes 2 --trainer.devices 1"
SAVE = "--trainer.callbacks+=ModelCheckpoint --trainer.callbacks.every_n_train_steps=1"


class SlowStart(Callback):
    """Makes the first batch of one process take longer than the silence that means a loss."""

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0 and trainer.global_rank == 1:
            time.sleep(4)


class KillSecond(Callback):
    """Kills the second process in its third batch, while the first waits in its fourth."""

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 2 and trainer.global_rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if batch_idx == 3:
            time.sleep(60)


def variables(rank: int, port: int) -> dict[str, str]:
    """Return what torchrun tells one of two processes, each the only one of its node."""
    result = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    result |= {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "test"}
    return result | {"RANK": str(rank), "GROUP_RANK": str(rank)}


def start(rank: int, port: int, line: str) -> subprocess.Popen[str]:
    path = f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    return subprocess.Popen(
        [sys.executable, "-m", "linreg_lightning", *line.split()],
        env=os.environ | variables(rank, port) | {"PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
    )


def start_two(line: str) -> list[subprocess.Popen[str]]:
    port = free_port()
    return [start(rank, port, f"{line} {TWO_NODES} --trainer.strategy ddp") for rank in (0, 1)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_killed_process_ends_the_other_and_the_run_resumes_to_the_same_bytes(
    command: Callable[..., Any],
) -> None:
    rows = [f"{i % 7},{i * i % 11 / 7},{i % 13}" for i in range(101)]
    Path("t.csv").write_text("\n".join(["a,b,y", *rows]))
    command(f"{FIT} one")
    kill = "--trainer.callbacks+=test_lost_process.SlowStart"
    kill += " --trainer.callbacks+=test_lost_process.KillSecond"
    monitor = "--trainer.callbacks+=PeerMonitor --trainer.callbacks.seconds=3"
    processes = start_two(f"{FIT} two {SAVE} {kill} {monitor}")
    assert processes[1].wait(120) == -signal.SIGKILL
    killed = time.monotonic()
    _, stderr = processes[0].communicate(timeout=60)
    assert processes[0].returncode == 1
    assert time.monotonic() - killed < 15  # three seconds on an idle machine
    (message,) = [line for line in stderr.splitlines() if line.startswith("linreg: error")]
    assert re.match(
        rf"linreg: error: process 2 \(PID {processes[1].pid} on .+\) has ended", message
    )
    assert "--ckpt_path last" in message
    assert "Traceback" not in stderr
    for process in start_two(f"{FIT} two --ckpt_path last"):
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
    one, *resumed = (sorted(Path(root).glob("*/coefficients.json")) for root in ("one", "two"))
    assert [path.read_bytes() for path in resumed[0]] == [one[0].read_bytes()]


def test_the_longest_silence_is_at_least_three_seconds() -> None:
    with pytest.raises(InputError, match="seconds: 2 was given; type 3 or more"):
        PeerMonitor(seconds=2)


def test_a_process_that_no_other_joins_ends_with_one_line(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables(rank=0, port=free_port()).items():
        monkeypatch.setenv(name, value)
    timeout = "--trainer.strategy DDPStrategy --trainer.strategy.timeout 0:00:01"
    message = refused(f"fit {TWO_NODES} {timeout}")
    assert "another process cannot be reached, or is slower than the timeout" in message


def test_a_message_comes_before_lightning_kills_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = []
    monkeypatch.setattr(run, "end_process", lambda message, status: events.append(message))
    monkeypatch.setattr(os, "kill", lambda *_: events.append("kill"))
    child = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    child.wait()
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with run._message_before_kill():
        _ChildProcessObserver(os.getpid(), [child])._run()
    message = "process 2 has ended before its work was done; start all processes again"
    assert events == [message, "kill"]
