"""A fit of several processes of which one is lost: the others end, and the run resumes."""

import itertools
import multiprocessing
import os
import queue
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
from lightning.pytorch import LightningModule

from linreg_lightning import InputError, __main__
from linreg_lightning.callbacks import PeerMonitor, peer_monitor
from linreg_lightning.cli import run

FIT = (
    "fit --data TabularData --data.path t.csv --data.target y --data.batch_size 10 "
    "--model LeastSquares --figures false --trainer.accelerator cpu "
    "--trainer.enable_progress_bar false --trainer.default_root_dir"
)
TWO_NODES = "--trainer.num_nodes 2 --trainer.devices 1"
SAVE = "--trainer.callbacks+=ModelCheckpoint --trainer.callbacks.every_n_train_steps=1"


def variables(rank: int, port: int) -> dict[str, str]:
    """Return what torchrun tells one of two processes, each the only one of its node."""
    result = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    result |= {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "test"}
    return result | {"RANK": str(rank), "GROUP_RANK": str(rank)}


def start_two(line: str) -> list[Any]:
    """Start a command line in two processes; each writes what it prints to a file `out<rank>`."""
    context = multiprocessing.get_context("forkserver")  # imports torch only once
    context.set_forkserver_preload(["linreg_lightning.cli.run"])
    words, port = f"{line} {TWO_NODES} --trainer.strategy ddp".split(), free_port()
    processes = [
        context.Process(target=run_one, args=(words, variables(rank, port), str(Path.cwd())))
        for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    return processes


def run_one(words: list[str], environment: dict[str, str], folder: str) -> None:
    os.chdir(folder)
    os.environ.update(environment)
    with Path(f"out{environment['RANK']}").open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.argv = ["linreg", *words]
    __main__.run()


def end(processes: list[Any], limit: float = 120.0) -> list[int | None]:
    """Return the exit status of each process; None of one that hangs, which is then killed."""
    deadline = time.monotonic() + limit
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    return codes


def error_line(rank: int) -> str:
    """Return the only error message of a process, which comes without a traceback."""
    text = Path(f"out{rank}").read_text()
    assert "Traceback" not in text
    (message,) = [line for line in text.splitlines() if line.startswith("linreg: error")]
    return message


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class FakeTrainer:
    """The Trainer of the first of three processes; the others are plain sockets."""

    world_size, global_rank, is_global_zero = 3, 0, True
    checkpoint_callbacks: tuple[()] = ()
    state = SimpleNamespace(fn="fit")

    def __init__(self) -> None:
        self.strategy, self.second, self.third = self, socket.socket(), socket.socket()

    def broadcast(self, port: int) -> int:
        for other, name in ((self.second, "process 2"), (self.third, "process 3")):
            other.connect(("127.0.0.1", port))
            other.sendall(f"{name}\n".encode())
        return port

    def reduce_boolean_decision(self, decision: bool) -> bool:
        return decision


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> queue.Queue[str]:
    """Make the seconds of the monitor short, and collect the messages that it would end with."""
    result: queue.Queue[str] = queue.Queue()
    monkeypatch.setattr(peer_monitor, "end_process", lambda message, status: result.put(message))
    for name in ("_BEAT", "_GRACE"):
        monkeypatch.setattr(peer_monitor, name, 0.02)
    return result


def monitored(seconds: float) -> tuple[PeerMonitor, FakeTrainer]:
    monitor, trainer = PeerMonitor(), FakeTrainer()
    monitor.seconds = seconds
    monitor.setup(trainer, LightningModule(), "fit")
    return monitor, trainer


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("", "process 2 has ended without a message"),
        ("\n\n", "process 2 has ended without a message"),
        ("\nprocess 2 has failed\n", "process 2 has failed"),
    ],
)
def test_the_first_process_says_what_the_second_did_and_tells_the_third(
    sent: str, expected: str, messages: queue.Queue[str]
) -> None:
    _, trainer = monitored(60)
    trainer.second.sendall(sent.encode())
    trainer.second.close()
    assert messages.get(timeout=10).startswith(expected)
    name, loss = itertools.islice(filter(str.strip, trainer.third.makefile()), 2)
    assert re.fullmatch(r"process 1 \(PID \d+ on .+\)\n", name)
    assert loss.startswith(expected)


def test_a_silent_process_is_lost_and_one_that_is_done_is_not(messages: queue.Queue[str]) -> None:
    _, trainer = monitored(0.3)
    trainer.second.sendall(b"\ndone\n")
    assert messages.get(timeout=10).startswith("process 3 has given no sign of life for 0.3 sec")
    assert messages.empty()


def test_a_warning_says_that_the_processes_cannot_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_monitor, "_CONNECT", 0.01)
    monkeypatch.setattr(FakeTrainer, "broadcast", lambda _, port: port)  # nobody connects
    with pytest.warns(UserWarning, match="cannot connect to port .+; let them connect to all"):
        monitored(60)


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


def test_a_process_ends_if_the_one_that_started_it_has_ended_before_all_have_joined(
    messages: queue.Queue[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    peer_monitor.end_with_parent(os.getppid() + 1)
    with pytest.raises(queue.Empty):  # the first process has no other to wait for
        messages.get(timeout=0.1)

    ended = []

    def end(message: str, status: int) -> None:
        ended.append(message)
        messages.put(message)

    monkeypatch.setattr(peer_monitor, "end_process", end)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: bool(ended))
    monkeypatch.setenv("LOCAL_RANK", "1")
    peer_monitor.end_with_parent(os.getppid() + 1)
    time.sleep(0.1)  # the thread ends before the real functions are back
    assert messages.get(timeout=10).startswith("the process that started this one has ended")
