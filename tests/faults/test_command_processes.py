"""The command of a project in several processes: `pytest tests/faults`."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_command import project  # noqa: F401  a fixture

FIT = "fit --trainer.accelerator cpu --trainer.devices 2 --figures false"


@pytest.mark.parametrize(
    ("words", "status", "error"),
    [("", 0, ""), ("--trainer.max_epochs 0", 1, "my-project: error: --trainer: no batch")],
)
def test_two_devices_start_the_command_of_the_project_again(
    words: str,
    status: int,
    error: str,
    project: Path,  # noqa: F811  what the fixture returns
) -> None:
    paths = [str(project), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "my_project", *FIT.split(), *words.split()],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    assert done.returncode == status, done.stderr
    assert done.stdout.count("steps of the project: 4") == (2 if status == 0 else 0)
    assert error in done.stderr
    assert not re.search(r"\blinreg\b", done.stdout + done.stderr)
