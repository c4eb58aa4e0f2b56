"""Kills or stops one of two processes of a fit; the other must say so, and the run resume.

Run it by `pytest -n 0 -s tests/faults/test_lost_peers.py`: it takes about five minutes.
"""

import collections
import contextlib
import os
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback
from test_lost_process import FIT, SAVE, end, error_line, start_two

TRIALS, SEED = 20, 18
MODELS = ("LeastSquares", "LinearRegression --trainer.max_epochs 3")
PACE = "--trainer.callbacks+=test_lost_peers.Paced"
MONITOR = "--trainer.callbacks+=PeerMonitor --trainer.callbacks.seconds=3"


class Paced(Callback):
    """Makes a batch take 0.1 seconds, and shows when the first begins."""

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        Path(f"started{trainer.global_rank}").touch()
        time.sleep(0.1)


@pytest.fixture(autouse=True)
def table() -> None:
    rows = [f"{i % 7},{i * i % 11 / 7},{i % 13}" for i in range(401)]
    Path("t.csv").write_text("\n".join(["a,b,y", *rows]))


def fit(model: str, root: str) -> str:
    return f"{FIT.replace('--model LeastSquares', f'--model {model}')} {root}"


def start_and_wait(line: str) -> list[Any]:
    """Start two processes, and return them when both are in their first batch or later."""
    for path in Path().glob("started*"):
        path.unlink()
    processes = start_two(f"{line} {SAVE} {PACE}")
    while not (Path("started0").exists() and Path("started1").exists()):
        time.sleep(0.02)
    return processes


def coefficients(root: str) -> list[bytes]:
    return [path.read_bytes() for path in Path(root).glob("*/coefficients.json")]


def outcome(root: str, model: str, generator: random.Random) -> str:
    """Kill one process at a random moment, and say what the other did."""
    processes = start_and_wait(fit(model, root))
    time.sleep(generator.uniform(0, 2.5))
    victim = generator.randrange(2)
    with contextlib.suppress(ProcessLookupError):
        os.kill(processes[victim].pid, signal.SIGKILL)
    code = end(processes, 60)[1 - victim]
    text = Path(f"out{1 - victim}").read_text()
    if code == 0:
        return "survived"  # both were done, or nearly
    if code != 1:
        return "hangs" if code is None else "crashes"
    if "Traceback" in text:
        return "tracebacks"
    named = re.match(rf".*process {victim + 1} \(PID \d+", error_line(1 - victim))
    return "ended and named" if named else text


def resumed(root: str, whole: list[bytes]) -> str:
    """Resume a run, and say whether it gives the same coefficients as a whole run."""
    codes = end(start_two(f"fit --ckpt_path last --trainer.default_root_dir {root}"))
    if codes != [0, 0]:
        return f"not resumed: {codes} {Path('out0').read_text()}"
    return "resumed" if coefficients(root) == whole else "silently wrong"


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


def test_a_killed_process_ends_the_other_and_the_run_resumes_to_the_same_bytes(
    command: Callable[..., Any],
) -> None:
    rows = [f"{i % 7},{i * i % 11 / 7},{i % 13}" for i in range(101)]
    Path("t.csv").write_text("\n".join(["a,b,y", *rows]))
    command(f"{FIT} one")
    kill = "--trainer.callbacks+=test_lost_peers.SlowStart"
    kill += " --trainer.callbacks+=test_lost_peers.KillSecond"
    monitor = "--trainer.callbacks+=PeerMonitor --trainer.callbacks.seconds=3"
    processes = start_two(f"{FIT} two {SAVE} {kill} {monitor}")
    processes[1].join(120)
    killed = time.monotonic()
    assert end(processes) == [1, -signal.SIGKILL]
    assert time.monotonic() - killed < 15  # three seconds on an idle machine
    message = error_line(0)
    assert re.match(
        rf"linreg: error: process 2 \(PID {processes[1].pid} on .+\) has ended", message
    )
    assert "--ckpt_path last" in message
    assert end(start_two(f"{FIT} two --ckpt_path last")) == [0, 0], Path("out0").read_text()
    one, *resumed = (sorted(Path(root).glob("*/coefficients.json")) for root in ("one", "two"))
    assert [path.read_bytes() for path in resumed[0]] == [one[0].read_bytes()]


def test_kills_at_random_times() -> None:
    generator, counts = random.Random(SEED), collections.Counter[str]()
    whole = {}
    for number, model in enumerate(MODELS):
        assert end(start_two(fit(model, f"whole{number}"))) == [0, 0]
        whole[model] = coefficients(f"whole{number}")
    for trial in range(TRIALS):
        model, root = MODELS[trial % len(MODELS)], f"run{trial}"
        seen = outcome(root, model, generator)
        counts[seen] += 1
        counts["tried"] += 1
        if seen == "ended and named" and list(Path(root).glob("**/*.ckpt")):
            counts[resumed(root, whole[model])] += 1
    print(dict(counts))
    assert set(counts) <= {"tried", "survived", "ended and named", "resumed"}, counts
    assert counts["resumed"] > TRIALS / 4


@pytest.mark.parametrize("stopped", [0, 1])
@pytest.mark.parametrize("model", MODELS)
def test_a_stopped_process_ends_the_other_and_then_itself(model: str, stopped: int) -> None:
    processes = start_and_wait(f"{fit(model, 'run')} {MONITOR}")
    os.kill(processes[stopped].pid, signal.SIGSTOP)
    begin = time.monotonic()
    processes[1 - stopped].join(60)
    assert 3 < time.monotonic() - begin < 10
    os.kill(processes[stopped].pid, signal.SIGCONT)
    assert end(processes, 10) == [1, 1]
    for rank in (0, 1):
        expected = rf".*process {stopped + 1} \(PID \d+ on .+\) has given no sign of life for 3 sec"
        assert re.match(expected, error_line(rank))


def test_a_run_that_is_stopped_as_a_whole_goes_on() -> None:
    processes = start_and_wait(f"{fit(MODELS[0], 'run')} {MONITOR}")
    for process in processes:
        os.kill(process.pid, signal.SIGSTOP)
    time.sleep(6)
    for process in processes:
        os.kill(process.pid, signal.SIGCONT)
    assert end(processes, 60) == [0, 0]
