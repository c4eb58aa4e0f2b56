"""Damages checkpoints and settings at random; the command refuses each, or reads the same values.

A campaign, which a bare `pytest` does not collect: `pytest -s tests/faults` runs and reports it.
"""

from __future__ import annotations

import contextlib
import copy
import io
import multiprocessing
import random
import re
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml

from linreg_lightning import cli

SECONDS = 60  # in which a command must end
CPU = "--trainer.accelerator cpu --trainer.enable_progress_bar false"
FAULTS = {"silently wrong", "traceback", "crash", "hang"}
FORK: Any = multiprocessing.get_context("fork")


class Case(NamedTuple):
    """A damaged file, the path at which the command finds it, and the commands that read it."""

    name: str
    path: Path
    content: bytes
    lines: list[str]
    meaning: Callable[[bytes], Any] = type
    """What a content says; if that is not what the original says, other results are right."""


def run(line: str) -> tuple[str, str]:
    """Run a command; return how it ended and all that it has written, the folder's name aside."""
    for file in Path("logs").glob("*/predictions.csv"):
        file.unlink()
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main(line.split())
    except SystemExit as stop:
        if stop.code in (0, None):
            return "done", out.getvalue()
        message = err.getvalue().strip()
        last = message.splitlines()[-1] if message else ""
        is_one_line = last.startswith("linreg: error: ") and "Traceback" not in message
        return ("refused" if is_one_line else "traceback"), message
    except BaseException:
        return "traceback", traceback.format_exc()
    files = [file.read_text() for file in Path("logs").glob("*/predictions.csv")]
    return "done", "\n".join(files) or out.getvalue()


def worker(cases: list[Case], connection: Any) -> None:
    """Run the cases' commands; send how each ended."""
    torch.set_num_threads(1)
    for case in cases:
        whole = case.path.read_bytes()
        case.path.write_bytes(case.content)
        connection.send([run(line) for line in case.lines])
        case.path.write_bytes(whole)
    connection.close()


def results(cases: list[Case]) -> Iterator[list[tuple[str, str]]]:
    """Yield how the commands of each case ended, also if one crashes or hangs."""
    originals = {case.path: case.path.read_bytes() for case in cases}
    done = 0
    while done < len(cases):
        ours, theirs = FORK.Pipe(duplex=False)
        process = FORK.Process(target=worker, args=(cases[done:], theirs))
        process.start()
        theirs.close()
        outcome = "hang"
        try:
            while done < len(cases) and ours.poll(SECONDS):
                result = ours.recv()
                done += 1
                yield result
        except EOFError:
            outcome = "crash"
        if done < len(cases):
            process.kill()
            done += 1
            yield [(outcome, "")]
        process.join()
        for path, content in originals.items():
            path.write_bytes(content)


def campaign(cases: list[Case]) -> Counter[str]:
    """Run all cases; count how they ended, and print those that ended badly."""
    lines = sorted({line for case in cases for line in case.lines})
    expected = {line: run(line) for line in lines}
    assert {outcome for outcome, _ in expected.values()} == {"done"}, expected
    wholes = {case.path: case.path.read_bytes() for case in cases}
    counts: Counter[str] = Counter()
    messages: Counter[str] = Counter()
    for case, found in zip(cases, results(cases), strict=True):
        endings = set()
        for line, (outcome, text) in zip(case.lines, found, strict=False):
            ending = outcome
            if outcome == "done" and text == expected[line][1]:
                ending = "survived"
            elif outcome == "done":
                is_other = case.meaning(case.content) != case.meaning(wholes[case.path])
                ending = "other settings" if is_other else "silently wrong"
            if ending == "refused":
                messages[re.sub(r"\S*\.(ckpt|yaml)|\d+", "#", text.splitlines()[-1])] += 1
            if ending in FAULTS:
                print(f"{ending}: {case.name}: {line}\n{text[-2000:]}")
            endings.add(ending)
        worst = sorted(endings, key=lambda ending: (ending in FAULTS, ending == "refused"))
        counts[worst[-1]] += 1
    for message, times in messages.most_common():
        print(times, message)
    print(f"tried {counts.total()}", dict(counts))
    return counts


# Damage


def damaged(whole: bytes, generator: random.Random) -> tuple[str, bytes]:
    """Return the name of a kind of damage, and a content with it."""
    kind = generator.choice(
        ["flip", "flip", "flip", "flips", "cut", "lose", "blank", "swap", "repeat", "empty"]
    )
    content = bytearray(whole)
    start, other = sorted(generator.randrange(len(whole)) for _ in range(2))
    stop = min(start + generator.randrange(1, 600), len(whole))
    if kind in ("flip", "flips"):
        for _ in range(1 if kind == "flip" else generator.randrange(2, 20)):
            content[generator.randrange(len(whole))] ^= 1 << generator.randrange(8)
    elif kind == "cut":
        del content[start:]
    elif kind == "lose":
        del content[start:stop]
    elif kind == "blank":
        content[start:stop] = bytes(stop - start)
    elif kind == "swap":
        middle = bytes(content[other : other + stop - start])
        content[other : other + stop - start] = content[start:stop]
        content[start:stop] = middle
    elif kind == "repeat":
        content[stop:stop] = content[start:stop]
    else:
        content.clear()
    return f"{kind} {start}:{stop} {other}", bytes(content)


def serialized(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def foreign(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield archives without damage whose content no run has written: entries lost or replaced."""
    content = torch.load(io.BytesIO(whole), weights_only=True)
    for path in entries(content, depth=4):
        for value in ("lost", None, 5, "x", [], {}):
            changed = copy.deepcopy(content)
            owner = changed
            for key in path[:-1]:
                owner = owner[key]
            if value == "lost":
                del owner[path[-1]]
            else:
                owner[path[-1]] = value
            yield f"{value} for {path}", serialized(changed)
    for value in (
        None,
        5,
        [],
        {},
        {"state_dict": {}},
        torch.ones(3),
        {"loops": 1, "state_dict": 2},
    ):
        yield f"{value} alone", serialized(value)
    yield "old format", b"\x80\x02" + whole[2:]


def entries(content: dict[Any, Any], depth: int) -> Iterator[list[Any]]:
    for key, value in content.items():
        yield [key]
        if isinstance(value, dict) and depth > 1:
            yield from ([key, *path] for path in entries(value, depth - 1))


def odd_settings() -> Iterator[tuple[str, bytes]]:
    """Yield YAML that is hard to read."""
    levels = [f"a{k + 1}: &a{k + 1} [{', '.join([f'*a{k}'] * 10)}]" for k in range(8)]
    yield "aliases", "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x, x]", *levels]).encode()
    yield "deep list", b"a: " + b"[" * 3000 + b"]" * 3000
    yield "deep map", b"{a: " * 3000 + b"}" * 3000
    yield "deep block", b"- " * 3000 + b"1"
    yield "cycle", b"trainer: &a {max_epochs: *a}"
    yield "cycle at the top", b"&a [*a]"
    yield "no UTF-8", b"trainer: {max_epochs: \xff}"
    yield "UTF-16", "trainer: {max_epochs: 3}".encode("utf-16")
    yield "text", b"hello"
    yield "list", b"- 1\n- 2\n"
    yield "null", b"null"
    yield "number for a name", b"1: 2"
    yield "list for a name", b"{[a]: b}"
    yield "zero byte", b"trainer: {max_epochs: \x00}"
    yield "tag", b"trainer: !!python/name:os.system"
    yield "unknown alias", b"trainer: *a"
    yield "two documents", b"---\ntrainer: {}\n---\nmodel: x\n"
    yield "month 13", b"trainer: {max_epochs: 2024-13-45}"
    yield "6000 digits", b"trainer: {max_epochs: " + b"9" * 6000 + b"}"
    yield "merge", b"trainer: {<<: 5}"
    for section in ("trainer", "model", "data"):
        for value in ("null", "5", "x", "[]", "{}", "[1]", "{1: 2}", "{class_path: 5}"):
            yield f"{section}: {value}", f"{section}: {value}".encode()


def settings(content: bytes) -> Any:
    """Return what YAML says; of a file that says nothing, the error."""
    try:
        return yaml.safe_load(content)
    except Exception as error:
        return str(error)


# Cases


def make_runs() -> list[Path]:
    """Fit two models of a table; return their checkpoints."""
    generator = random.Random(7)
    rows = [[generator.uniform(-5, 5) for _ in range(3)] for _ in range(60)]
    lines = [f"{a},{b},{'xy'[c > 0]},{1 + 2 * a - b + c}" for a, b, c in rows]
    Path("table.csv").write_text("\n".join(["a,b,c,y", *lines]))
    Path("new.csv").write_text("\n".join(["a,b,c", "1,2,x", "3,4,y"]))
    table = "--data TabularData --data.path table.csv --data.target y"
    sgd = "--model LinearRegression --model.standardize true --trainer.max_epochs 3"
    for model in ("--model LeastSquares", sgd):
        assert run(f"fit {model} {table} --figures false {CPU}")[0] == "done"
    return sorted(Path("logs").glob("*/checkpoints/*.ckpt"))


def checkpoint_cases(
    paths: list[Path], count: int, count_foreign: int, seed: int, predict: bool = True
) -> list[Case]:
    generator = random.Random(seed)
    cases = []
    for k in range(count):
        path = paths[k % 2]
        cases.append(checkpoint_case(path, damaged(path.read_bytes(), generator), predict))
    for path in paths:
        everything = list(foreign(path.read_bytes()))
        chosen = generator.sample(everything, min(count_foreign // 2, len(everything)))
        cases += [checkpoint_case(path, each, predict) for each in chosen]
    text = Path("table.csv").read_bytes()
    contents = [("a table", text), ("the start of a PNG", b"\x89PNG\r\n\x1a\n" + bytes(50))]
    return cases + [checkpoint_case(paths[0], each, predict) for each in contents]


def checkpoint_case(path: Path, damage: tuple[str, bytes], predict: bool) -> Case:
    lines = [f"summary --ckpt_path {path} --format json"]
    if predict:
        lines.append(f"predict --ckpt_path {path} --data.path new.csv {CPU}")
    return Case(damage[0], path, damage[1], lines)


def settings_cases(path: Path, count: int, seed: int) -> list[Case]:
    """Return cases of a run's config.yaml: as the file of `-c`, and beside a checkpoint."""
    generator = random.Random(seed)
    beside = path.parent.parent / "config.yaml"
    given = Path("given.yaml")
    text = "seed_everything: 3\ntrainer: trainer.yaml\nmodel:\n  class_path: LinearRegression\n"
    given.write_text(
        text + "  init_args: {lr: 0.05, momentum: 0.5}\ndata:\n  init_args:\n    rows: 40\n"
    )
    trainer = Path("trainer.yaml")
    trainer.write_text("max_epochs: 7\nprecision: 64-true\nlog_every_n_steps: 5\n")
    lines = {
        beside: f"fit --ckpt_path {path} --print_config",
        given: "fit -c given.yaml --print_config",
        trainer: "fit -c given.yaml --print_config",
    }
    odd = list(odd_settings())
    cases = []
    for k in range(count):
        file, line = list(lines.items())[k % 3]
        name, content = damaged(file.read_bytes(), generator) if k % 2 else odd[k // 2 % len(odd)]
        cases.append(Case(f"{file}: {name}", file, content, [line], settings))
    return cases


# Campaigns


@pytest.mark.parametrize("seed", [1, 2])
def test_no_damaged_checkpoint_changes_a_table(seed: int) -> None:
    counts = campaign(checkpoint_cases(make_runs(), 120, 160, seed))
    assert not FAULTS & counts.keys()
    assert counts["refused"] > 100


def test_no_damaged_settings_are_misread() -> None:
    counts = campaign(settings_cases(make_runs()[1], 270, seed=3))
    assert not FAULTS & counts.keys()
    assert counts["refused"] > 100


def test_predictions_during_a_fit_use_a_whole_checkpoint() -> None:
    words = (
        "fit --trainer.max_epochs 1000000 --figures false --trainer.callbacks+=RunCheckpoint "
        f"--trainer.callbacks.seconds=0 {CPU}"
    )
    with Path("fit.txt").open("w") as output:
        fit = subprocess.Popen(
            [sys.executable, "-m", "linreg_lightning", *words.split()],
            stdout=output,
            stderr=output,
        )
        try:
            while not list(Path().glob("**/*.ckpt")):
                assert fit.poll() is None, Path("fit.txt").read_text()
            ends = [run(f"predict --ckpt_path last {CPU}") for _ in range(20)]
            assert fit.poll() is None
        finally:
            fit.kill()
            fit.wait()
    assert [end for end, _ in ends] == ["done"] * 20, ends
