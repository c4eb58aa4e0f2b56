"""Files are whole or absent, whatever ends a run; what a run has done stays."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, Trainer

from linreg_lightning import LinearRegression, SyntheticData, atomic_file, cli
from linreg_lightning.atomic_file import SUFFIX, UnfinishedFile, atomic_path, remove_orphans
from linreg_lightning.callbacks.run_checkpoint import RunCheckpoint
from linreg_lightning.checkpoint_io import AtomicCheckpointIO
from linreg_lightning.errors import InputError
from linreg_lightning.tables.prediction_file import PredictionFile

Linreg = Callable[..., dict[str, Any]]
Refused = Callable[..., str]
MakeTrainer = Callable[..., Trainer]
QUIET = "--figures false --trainer.accelerator cpu --trainer.enable_progress_bar no"


def files(root: str = ".") -> set[str]:
    return {
        str(path.relative_to(root))
        for path in Path(root).rglob("*")
        if path.is_file() and not path.name.startswith("events.")
    }


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function after which files with a part of a name find the disk full."""

    def fill(name: str) -> None:
        flush = UnfinishedFile.flush

        def fail(self: UnfinishedFile) -> None:
            if name in self.final_path.name:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            flush(self)

        monkeypatch.setattr(UnfinishedFile, "flush", fail)

    return fill


# Whole files


def test_a_file_is_flushed_before_it_gets_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        assert not Path("a.txt").exists()
        flushed.append(os.fstat(descriptor).st_size)
        fsync(descriptor)

    monkeypatch.setattr(atomic_file.os, "fsync", record)
    with atomic_path(Path("a.txt")) as unfinished:
        unfinished.write_text("whole")
    assert flushed == [5]
    assert files() == {"a.txt"}


def test_a_full_disk_keeps_the_older_file_and_leaves_no_other(
    full_disk: Callable[[str], None],
) -> None:
    Path("a.txt").write_text("old")
    full_disk("a.txt")
    message = r"^default_root_dir: a.txt cannot be written \(No space left on device\); make room"
    with pytest.raises(InputError, match=message), atomic_path(Path("a.txt")) as unfinished:
        unfinished.write_text("new")
    assert files() == {"a.txt"}
    assert Path("a.txt").read_text() == "old"


def test_the_command_writes_every_file_beside_its_target(
    command: Linreg, monkeypatch: pytest.MonkeyPatch
) -> None:
    renamed = set()
    rename = UnfinishedFile.rename

    def record(self: UnfinishedFile) -> None:
        renamed.add(str(self.final_path.absolute().relative_to(Path.cwd())))
        rename(self)

    monkeypatch.setattr(UnfinishedFile, "rename", record)
    command("fit --figures true --trainer.max_epochs 3")
    command("predict --ckpt_path last")
    command("predict --ckpt_path last --format parquet")
    assert {Path(name).suffix for name in renamed} >= {".ckpt", ".yaml", ".json", ".png", ".csv"}
    assert files() <= renamed  # an earlier checkpoint is gone


@pytest.mark.parametrize("name", [".ckpt", "config.yaml", "hparams.yaml", "coefficients.json"])
def test_a_full_disk_ends_a_fit_in_one_line(
    name: str, refused: Refused, full_disk: Callable[[str], None]
) -> None:
    full_disk(name)
    message = refused("fit --trainer.max_epochs 3")
    assert "--trainer.default_root_dir: logs/version_0/" in message
    assert f"{name} cannot be written (No space left on device); make room" in message
    assert not [path for path in files() if name in path or SUFFIX in path]


def test_a_full_disk_that_another_library_finds_is_one_line(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Interrupt, "on_before_optimizer_step", fail)
    line = "fit --trainer.callbacks+=test_written_files.Interrupt --trainer.callbacks.number 1"
    assert refused(line).endswith(
        "No space left on device; make room on this disk, or write to another one"
    )


def test_a_full_disk_ends_a_resumed_fit_and_keeps_its_checkpoint(
    command: Linreg, refused: Refused, full_disk: Callable[[str], None]
) -> None:
    command("fit --trainer.max_epochs 3")
    full_disk(".ckpt")
    message = refused("fit --ckpt_path last --trainer.max_epochs 5")
    assert ".ckpt cannot be written (No space left on device); make room" in message
    checkpoints = {path for path in files() if ".ckpt" in path}
    assert checkpoints == {"logs/version_0/checkpoints/epoch=2-step=3.ckpt"}


def test_checkpoints_are_written_so_from_python_too(
    trainer: MakeTrainer, full_disk: Callable[[str], None]
) -> None:
    options = {"callbacks": [RunCheckpoint()], "enable_checkpointing": True}
    runner = trainer(max_epochs=2, default_root_dir="run", **options)
    runner.fit(LinearRegression(), SyntheticData())
    assert isinstance(runner.strategy.checkpoint_io, AtomicCheckpointIO)
    full_disk("mine.ckpt")
    with pytest.raises(InputError, match=r"mine.ckpt cannot be written"):
        runner.save_checkpoint("mine.ckpt")
    assert files() == {"run/checkpoints/epoch=1-step=2.ckpt"}


def test_a_root_that_is_no_folder_is_refused(refused: Refused) -> None:
    Path("file").write_text("")
    message = refused("fit --trainer.default_root_dir file")
    assert "--trainer.default_root_dir: " in message
    assert "cannot be written (Not a directory); give the Trainer another" in message


# Orphans


def test_a_killed_writer_leaves_an_orphan_that_the_next_writer_removes() -> None:
    program = """
import os, signal
from pathlib import Path
from linreg_lightning.atomic_file import atomic_path
with atomic_path(Path("run/a.txt")) as unfinished:
    unfinished.write_text("a longer text than the next")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", program], env=os.environ)
    assert killed.returncode == -signal.SIGKILL
    assert files() == {f"run/a.txt{SUFFIX}"}
    with atomic_path(Path("run/a.txt")) as unfinished:
        unfinished.write_text("next")
    assert files() == {"run/a.txt"}
    assert Path("run/a.txt").read_text() == "next"


def test_orphans_are_removed_and_files_of_live_runs_and_others_stay() -> None:
    orphans = [f"{folder}a.ckpt{SUFFIX}" for folder in ("", "run/", "run/checkpoints/")]
    for name in (*orphans, "download.part", "run/whole.ckpt", f"run/data/deep/b{SUFFIX}"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("text")
    live = UnfinishedFile(Path("run/live.csv"), "0")
    remove_orphans(Path())
    expected = {"download.part", "run/whole.ckpt", f"run/data/deep/b{SUFFIX}"}
    assert files() == {*expected, f"run/live.csv{SUFFIX}0"}
    live.discard()
    assert files() == expected


def test_a_file_that_its_writer_has_renamed_is_no_orphan(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("a.txt")
    first = UnfinishedFile(path)
    writers = []
    flock = atomic_file.fcntl.flock

    def rename_before(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(atomic_file.fcntl, "flock", flock)
        first.rename()  # and the next writer begins
        writers.append(UnfinishedFile(path))
        flock(descriptor, operation)

    monkeypatch.setattr(atomic_file.fcntl, "flock", rename_before)
    remove_orphans(Path())
    assert files() == {"a.txt", f"a.txt{SUFFIX}"}
    writers[0].discard()


def test_a_command_removes_what_a_killed_run_left(command: Linreg) -> None:
    orphan = Path(f"logs/version_0/checkpoints/epoch=3-step=4.ckpt{SUFFIX}")
    orphan.parent.mkdir(parents=True)
    orphan.write_text("")
    command("fit --trainer.max_epochs 1")
    assert not orphan.exists()


def test_new_removes_what_a_killed_new_left(capsys: pytest.CaptureFixture[str]) -> None:
    Path(".sprout-unfinished").mkdir()
    Path(".sprout-unfinished/file").write_text("text")
    live = UnfinishedFile(Path("sprout"))
    with pytest.raises(SystemExit):
        cli.main(["new", "sprout"])
    assert "another run is writing it" in capsys.readouterr().err
    live.discard()
    cli.main(["new", "sprout"])
    assert [path.name for path in Path().iterdir()] == ["sprout"]
    assert not Path("sprout/file").exists()


# Two runs


def test_a_second_prediction_into_one_folder_is_refused(command: Linreg, refused: Refused) -> None:
    command("fit --trainer.max_epochs 1")
    first = PredictionFile(Path("logs/predictions.csv"), 0)
    message = refused("predict --ckpt_path last --trainer.logger false")
    assert message == (
        "linreg: error: --trainer.default_root_dir: logs/predictions.csv cannot be written "
        "(another run is writing it); wait for its end, or give the Trainer another "
        "default_root_dir"
    )
    first.discard()
    command("predict --ckpt_path last --trainer.logger false")
    assert Path("logs/predictions.csv").read_text().count("\n") > 1


# Ctrl-C


class Interrupt(Callback):
    """Presses Ctrl-C, or sends another signal, within a step."""

    def __init__(self, number: int) -> None:
        self.number = number

    def on_before_optimizer_step(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 12:
            os.kill(os.getpid(), self.number)


class InterruptFirstBatch(Callback):
    """Presses Ctrl-C in the first of the batches that a step is made of."""

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 4:
            os.kill(os.getpid(), signal.SIGINT)
            self.on_train_batch_start = lambda *_: None  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGINT, "interrupted; {} has the fit so far; type --ckpt_path last"),
        (signal.SIGTERM, "ended by SIGTERM before it was done"),
    ],
)
def test_a_signal_keeps_the_batch_and_the_run_resumes_to_the_same_result(
    number: int, reason: str, command: Linreg, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "fit --data.batch_size 16 --trainer.max_epochs 4"
    whole = command(line)
    shutil.rmtree("logs")
    handler = signal.getsignal(number)
    with pytest.raises(SystemExit) as stop:
        command(
            f"{line} --trainer.callbacks+=test_written_files.Interrupt",
            f"--trainer.callbacks.number={int(number)}",
        )
    assert stop.value.code == 128 + number
    assert signal.getsignal(number) is handler
    (checkpoint,) = (path for path in Path().rglob("*.ckpt") if "step=13" in path.name)
    errors = capsys.readouterr().err
    assert f"linreg: error: {reason.format(checkpoint)}" in errors
    assert "KeyboardInterrupt" not in errors
    resumed = command(f"fit --ckpt_path {checkpoint} --trainer.max_epochs 4")
    assert resumed == whole


@pytest.mark.parametrize(
    ("batch_size", "epochs"),
    [
        pytest.param(10, 4, id="a step of five batches, two steps an epoch"),
        pytest.param(50, 9, id="epochs shorter than a step"),
    ],
)
def test_ctrl_c_waits_for_the_batches_of_a_step(
    command: Linreg, capsys: pytest.CaptureFixture[str], batch_size: int, epochs: int
) -> None:
    line = f"fit --data.batch_size {batch_size} --trainer.accumulate_grad_batches 5"
    line += f" --trainer.max_epochs {epochs}"
    whole = command(line)
    shutil.rmtree("logs")
    with pytest.raises(SystemExit):
        command(f"{line} --trainer.callbacks+=test_written_files.InterruptFirstBatch")
    assert "step=5.ckpt has the fit so far" in capsys.readouterr().err
    assert command(f"fit --ckpt_path last --trainer.max_epochs {epochs}") == whole


class InterruptValidation(Callback):
    """Presses Ctrl-C in the second validation of a run."""

    def on_validation_batch_start(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 2 and not trainer.sanity_checking:
            os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_in_a_validation_keeps_the_epoch(
    command: Linreg, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = command("fit --trainer.max_epochs 4")
    shutil.rmtree("logs")
    with pytest.raises(SystemExit):
        command(
            "fit --trainer.max_epochs 4",
            "--trainer.callbacks+=test_written_files.InterruptValidation",
        )
    assert "step=3.ckpt has the fit so far" in capsys.readouterr().err
    assert command("fit --ckpt_path last --trainer.max_epochs 4") == whole


def test_ctrl_c_before_and_after_the_fit_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    for name in ("__init__", "after_fit"):
        with monkeypatch.context() as patch:
            patch.setattr(f"linreg_lightning.cli.trainer_cli.TrainerCLI.{name}", interrupt)
            with pytest.raises(SystemExit) as stop:
                cli.main(f"fit --trainer.max_epochs 1 {QUIET}".split())
        assert stop.value.code == 130
        assert capsys.readouterr().err.splitlines()[-1] == "linreg: error: interrupted"
    assert len(list(Path().rglob("*.ckpt"))) == 1


# The terminal


class Unwritable(io.StringIO):
    """A full disk or a closed pipe."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("closed", [False, True])
def test_a_fit_whose_output_fails_keeps_its_work(
    closed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None if closed else Unwritable())
        with pytest.raises(SystemExit) as stop:
            cli.main(f"fit --trainer.max_epochs 2 {QUIET.removesuffix('no')}yes".split())
    assert stop.value.code == 1
    message = capsys.readouterr().err.splitlines()[-1]
    reason = "it is closed" if closed else "No space left on device"
    assert message.startswith(f"linreg: error: standard output: it cannot be written ({reason})")
    names = ("checkpoints/epoch=1-step=2.ckpt", "coefficients.json", "config.yaml")
    assert {f"logs/version_0/{name}" for name in names} <= files()


def test_a_terminal_that_lacks_a_character_shows_an_escape(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("t.csv").write_text("größe,y\n1,2\n2,4.1\n3,6.2\n4,8\n", encoding="utf-8")
    table = "-c least_squares --data.path t.csv --data.target y"
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", output)
        cli.main(f"fit {table} {QUIET}".split())
    output.seek(0)
    assert r"gr\xf6\xdfe" in output.read()
    content = json.loads(next(Path().rglob("coefficients.json")).read_text(encoding="utf-8"))
    assert content["coefficients"][1]["name"] == "größe"


def test_a_deleted_working_folder_is_one_line(refused: Refused) -> None:
    home = Path.cwd()
    gone = home / "gone"
    gone.mkdir()
    try:
        os.chdir(gone)
        gone.rmdir()
        assert "the working folder: it was deleted" in refused("fit --trainer.max_epochs 1")
    finally:
        os.chdir(home)


class DeleteRun(Callback):
    """Deletes the run's folder while TensorBoard writes to it."""

    def on_train_start(self, trainer: Any, *_: Any) -> None:
        trainer.logger.experiment.flush()
        shutil.rmtree(trainer.log_dir)


def test_a_deleted_run_folder_is_one_line(
    refused: Refused, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "fit --trainer.max_epochs 3 --trainer.callbacks+=test_written_files.DeleteRun"
    message = refused(line)
    assert "events.out" in message
    assert "Traceback" not in capsys.readouterr().err
