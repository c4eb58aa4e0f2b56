"""Kills one of two processes of a fit at random times; the other must say so, and the run resume.

Run it by `pytest -n 0 -s tests/faults/test_lost_peers.py`: it takes about five minutes.
"""

import collections
import contextlib
import multiprocessing
import os
import random
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback
from test_lost_process import FIT, SAVE, TWO_NODES, free_port, variables

from linreg_lightning import cli

TRIALS, SEED, LIMIT = 20, 18, 60.0
MODELS = ("LeastSquares", "LinearRegression --trainer.max_epochs 3")


class Paced(Callback):
    """Makes a batch take 0.1 seconds, and shows when the first begins."""

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        Path(f"started{trainer.global_rank}").touch()
        time.sleep(0.1)


def fit(line: str, rank: int, port: int, folder: str) -> None:
    """Run a command line as one of two processes, with what it prints in a file."""
    os.chdir(folder)
    os.environ.update(variables(rank, port))
    with Path(f"out{rank}").open("w") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    sys.stdout, sys.stderr = (open(number, "w", buffering=1) for number in (1, 2))  # noqa: PTH123, SIM115
    with contextlib.suppress(BrokenPipeError):
        cli.main(f"{line} {TWO_NODES} --trainer.strategy ddp".split())


def start_two(line: str) -> list[Any]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["linreg_lightning.cli.run", "test_lost_peers"])
    port, folder = free_port(), str(Path.cwd())
    processes = [context.Process(target=fit, args=(line, r, port, folder)) for r in (0, 1)]
    for process in processes:
        process.start()
    return processes


def end(processes: list[Any]) -> list[int | None]:
    """Return the exit status of each process; None of one that hangs, which is then killed."""
    deadline, codes = time.monotonic() + LIMIT, []
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        codes.append(process.exitcode)
        process.kill()
    return codes


def outcome(root: str, model: str, generator: random.Random) -> str:
    """Kill one process at a random moment; resume if there is a checkpoint; say what was seen."""
    line = f"{FIT.replace('--model LeastSquares', f'--model {model}')} {root}"
    for path in Path().glob("started*"):
        path.unlink()
    pace = "--trainer.callbacks+=test_lost_peers.Paced"
    processes = start_two(f"{line} {SAVE} {pace}")
    while not (Path("started0").exists() and Path("started1").exists()):
        time.sleep(0.02)
    time.sleep(generator.uniform(0, 2.5))
    victim = generator.randrange(2)
    with contextlib.suppress(ProcessLookupError):
        os.kill(processes[victim].pid, signal.SIGKILL)
    codes = end(processes)
    text = Path(f"out{1 - victim}").read_text()
    messages = [line for line in text.splitlines() if line.startswith("linreg: error")]
    if "Traceback" in text:
        return "tracebacks"
    if None in codes:
        return "hangs"
    if codes[1 - victim] == 0:
        return "survived"  # both were done, or nearly
    if codes[1 - victim] != 1:
        return "crashes"
    named = len(messages) == 1 and re.search(rf"process {victim + 1} \(PID \d+", messages[0])
    return "ended and named" if named else f"ended with {messages}"


def resumed(root: str) -> str:
    codes = end(start_two(f"fit --ckpt_path last --trainer.default_root_dir {root}"))
    texts = [Path(f"out{rank}").read_text() for rank in (0, 1)]
    return "" if codes == [0, 0] else f"not resumed: {codes} {texts}"


def test_kills_at_random_times(tmp_path: Path) -> None:
    generator, counts = random.Random(SEED), collections.Counter[str]()
    rows = [f"{i % 7},{i * i % 11 / 7},{i % 13}" for i in range(401)]
    Path("t.csv").write_text("\n".join(["a,b,y", *rows]))
    whole = {}
    for number, model in enumerate(MODELS):
        line = FIT.replace("--model LeastSquares", f"--model {model}")
        assert end(start_two(f"{line} whole{number}")) == [0, 0]
        (path,) = Path(f"whole{number}").glob("*/coefficients.json")
        whole[model] = path.read_bytes()
    for trial in range(TRIALS):
        model, root = MODELS[trial % len(MODELS)], f"run{trial}"
        seen = outcome(root, model, generator)
        counts[seen] += 1
        counts["tried"] += 1
        if seen == "ended and named" and list(Path(root).glob("**/*.ckpt")):
            problem = resumed(root)
            (path, *_) = [*Path(root).glob("*/coefficients.json"), Path("missing")]
            same = path.exists() and path.read_bytes() == whole[model]
            counts["resumed" if same else problem or "silently wrong"] += 1
    print(dict(counts))
    assert set(counts) <= {"tried", "survived", "ended and named", "resumed"}, counts
    assert counts["resumed"] > TRIALS / 4
