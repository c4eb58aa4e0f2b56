"""Runs on a disk that is full, and runs that share a folder: whole files of one run, or none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import damaged, orphans, run, start

TABLE = "--data TabularData --data.path rows.csv --data.target y"
SIZES = (4, 8, 12, 16, 20, 24, 28, 36, 48, 300)  # KB


@pytest.fixture
def rows() -> int:
    count = 3000
    Path("rows.csv").write_text("x1,x2,y\n" + "1.5,2,3\n2,1,4\n3,7,5\n" * (count // 3))
    return count


@pytest.fixture
def own_mounts() -> Iterator[None]:
    """Skip the test unless this process may mount; what it mounts is unmounted after the test."""
    Path("disk").mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "disk"], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    subprocess.run(["umount", "disk"], check=True)
    yield
    subprocess.run(["umount", "disk"], capture_output=True)


def on_disk(size: int, line: str) -> int:
    """Run a command that writes to a new disk of some KB; return its status."""
    subprocess.run(["umount", "disk"], capture_output=True)
    options = ["-t", "tmpfs", "-o", f"size={size}k", "tmpfs"]
    subprocess.run(["mount", *options, "disk"], check=True)
    Path("err.txt").unlink(missing_ok=True)
    return run(f"{line} --trainer.default_root_dir disk")


@pytest.mark.usefixtures("own_mounts")
@pytest.mark.parametrize(
    "line",
    [
        "fit --trainer.max_epochs 3",
        "fit --trainer.max_epochs 3 --trainer.logger false",
        "predict --format csv",
        "predict --format parquet --trainer.logger false",
    ],
)
def test_a_full_disk_leaves_whole_files_and_one_line(line: str, rows: int) -> None:
    if line.startswith("predict"):
        assert run(f"fit -c least_squares {TABLE}") == 0
        (checkpoint,) = Path("logs").rglob("*.ckpt")
        line += f" --ckpt_path {checkpoint} --data.path rows.csv"
    statuses = []
    for size in SIZES:
        status = on_disk(size, line)
        errors = Path("err.txt").read_text()
        statuses.append(status)
        assert "Traceback" not in errors, errors
        assert errors.count("linreg: error: ") == (status != 0), errors
        assert status == 0 or "No space left" in errors, errors
        assert not damaged(Path("disk"), rows), f"{size} KB"
        assert not orphans(Path("disk"))
    print(f"\n{line.split(' --ckpt')[0]}: tried {len(SIZES)}, refused {sum(map(bool, statuses))}")
    assert 0 in statuses
    assert 1 in statuses


def test_two_predictions_into_one_folder_never_make_one_file(rows: int) -> None:
    assert run(f"fit -c least_squares {TABLE}") == 0
    Path("other.csv").write_text(Path("rows.csv").read_text().replace("1.5", "900"))
    root = "--data.batch_size 1 --trainer.logger false --trainer.default_root_dir one"
    lines = [
        f"predict --ckpt_path last {root} --data.path {name}.csv" for name in ("rows", "other")
    ]
    (checkpoint,) = Path("logs").rglob("*.ckpt")
    lines = [line.replace("last", str(checkpoint)) for line in lines]
    contents = []
    for line in lines:
        assert run(line) == 0
        contents.append(Path("one/predictions.csv").read_text())
    refused = 0
    for k in range(10):
        Path("one/predictions.csv").unlink()
        both = [start(line, errors=f"{k}{name}.txt") for name, line in enumerate(lines)]
        for process in both:
            process.join()
        statuses = [process.exitcode for process in both]
        assert 0 in statuses
        text = Path("one/predictions.csv").read_text()
        assert text in [contents[i] for i in (0, 1) if statuses[i] == 0]
        for i, status in enumerate(statuses):
            if status:
                refused += 1
                assert "another run is writing it" in Path(f"{k}{i}.txt").read_text()
        assert not orphans(Path("one"))
    print(f"\nshared folder: tried 10, refused {refused}, mixed 0")
    assert refused


def test_a_dead_output_does_not_stop_a_fit() -> None:
    words = [sys.executable, "-m", "linreg_lightning", "fit", "--figures", "false"]
    words += ["--trainer.max_epochs", "3", "--trainer.accelerator", "cpu"]
    for number, shell in enumerate(('"$@" > /dev/full', '"$@" | head -c 1', '"$@" >&-')):
        line = f"set -o pipefail; {shell}"
        done = subprocess.run(["bash", "-c", line, "-", *words], stderr=subprocess.PIPE, text=True)
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert done.stderr.count("linreg: error: standard output: ") == 1
        assert len(list(Path("logs").rglob("*.ckpt"))) == number + 1
