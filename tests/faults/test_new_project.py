"""A project of the installed wheel, in an environment of its own: `pytest tests/faults`."""

import os
import re
import sys
import time
import zipfile
from pathlib import Path

import pytest
from test_project import ROOT, run

from linreg_lightning.project.new import TASKS, TEMPLATE

LEARNED = {"regression": "r2", "classification": "accuracy", "images": "accuracy"}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment with our wheel, and the packages installed here."""
    folder = tmp_path_factory.mktemp("environment")
    run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
    (site,) = folder.glob("lib/python*/site-packages")
    shared = [path for path in sys.path if path.endswith("site-packages")]
    (site / "shared.pth").write_text("\n".join(shared))
    python = folder / "bin" / "python"
    install(python, str(ROOT))
    (wheel,) = site.glob("linreg_lightning")
    for file in TEMPLATE.rglob("*"):  # hidden files too
        if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".pyc":
            assert (wheel / "project" / "template" / file.relative_to(TEMPLATE)).is_file()
    return python


def install(python: Path, *package: str, folder: Path = Path()) -> None:
    options = ["install", "-q", "--no-deps", "--no-build-isolation", *package]
    run([sys.executable, "-m", "pip", "--python", str(python), *options], folder, PYTHONPATH="")


@pytest.mark.parametrize("task", TASKS)
def test_a_new_project_works_by_itself(task: str, environment: Path) -> None:
    scripts, project = environment.parent, Path(f"my-{task}").resolve()
    variables = {
        "PYTHONPATH": "",  # imports the wheel, not this repository
        "PATH": os.pathsep.join(
            [str(scripts), str(Path(sys.executable).parent), os.environ["PATH"]]
        ),
        "MYPY_CACHE_DIR": str(ROOT / ".mypy_cache"),
    }

    def command(line: str, folder: Path = project) -> str:
        return run(line.split(), folder, **variables)

    begin = time.perf_counter()
    command(f"linreg new {project.name} --task {task}", Path())
    install(environment, "-e", ".", folder=project)
    output = command(f"{project.name} fit --trainer.accelerator cpu")
    seconds = time.perf_counter() - begin
    print(f"{task}: a trained model {seconds:.1f} s after `linreg new`")
    command("git init -q")
    command("git add .")
    assert float(re.findall(rf"{LEARNED[task]} ([\d.]+)", output)[-1]) > 0.9
    assert "test_loss" in command(f"{project.name} test --ckpt_path last")
    command(f"{project.name} predict --ckpt_path last")
    assert len(list(project.glob("logs/*/predictions.csv"))) == 1
    assert list(project.glob("logs/*/*.png"))
    assert "passed" in command(f"{environment} -m pytest -q")
    command("ruff check .")
    command("ruff format --check .")
    command(f"{environment} -m mypy")
    untracked = command("git status --porcelain --untracked-files").splitlines()
    assert all(line.startswith("A ") for line in untracked)
    # A wheel of the project has its settings too.
    command(f"{sys.executable} -m pip wheel -q --no-deps --no-build-isolation -w dist .")
    (wheel,) = project.glob("dist/*.whl")
    assert f"my_{task}/configs/base.yaml" in zipfile.ZipFile(wheel).namelist()
