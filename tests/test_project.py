"""`linreg new` makes a project that is complete, has the user's name and works alone."""

import ast
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from linreg_lightning import InputError, cli
from linreg_lightning.project.new import (
    PACKAGE,
    command_name,
    contents,
    modules_named_in,
    package_name,
    project_files,
)

ROOT = PACKAGE.parent
LINEAR = {"algebra", "project", "tutorial", "synthetic", "summary"}
"""Files and folders that serve only linear regression."""


def test_a_project_has_all_modules_that_it_imports_and_no_linear_regression() -> None:
    paths = project_files()
    for path, file in paths.items():
        assert not LINEAR & set(Path(path).with_suffix("").parts), path
        assert "coefficient_" not in path
        for node in ast.walk(ast.parse(file.read_text())) if path.endswith(".py") else ():
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE.name):
                place = (node.module or "").replace(".", "/")
                assert {f"{place}.py", f"{place}/__init__.py"} & set(paths), node.module


def test_modules_are_found_in_imports_and_in_strings() -> None:
    source = """
from linreg_lightning import arrow
import linreg_lightning.data
CALLBACK = "linreg_lightning.plots.style:Style"
TEXT = "linreg_lightning.tutorial shows it"
"""
    found = set(modules_named_in(source))
    assert {"arrow.py", "data/__init__.py", "plots/style.py"} <= {
        path.partition("/")[2] for path in found
    }
    assert not any("tutorial" in path for path in found)


# Names


@pytest.mark.parametrize("name", ["my_project", "my-project", "a", "x2", "a" * 40])
def test_a_name_gives_the_names_of_package_and_command(name: str) -> None:
    package = package_name(name)
    assert package == name.replace("-", "_")
    assert command_name(package) == name.replace("_", "-")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("проект", "my_project"),
        ("MyProject", "as in my_project;"),
        ("my project", "as in my_project;"),
        ("my__project", "as in my_project;"),
        ("_private", "as in private;"),
        ("2fast", "as in fast;"),
        ("../escape", "as in escape;"),
        ("/tmp/there", "as in tmp_there;"),
        ("", "as in my_project;"),
        (".", "as in my_project;"),
        ("class", "a word of Python"),
        ("json", "installed already"),
        ("torch", "installed already"),
        ("linreg_lightning", "installed already"),
        ("tests", "what a folder"),
        ("a" * 41, "at most 40"),
    ],
)
def test_a_bad_name_is_refused(name: str, message: str, refused: Callable[..., str]) -> None:
    with pytest.raises(InputError, match=message):
        package_name(name)
    assert not list(Path().iterdir())


def test_an_existing_folder_is_not_changed(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("here", "link"):
        if name == "here":
            Path(name).mkdir()
        else:
            Path(name).symlink_to("nowhere")
        with pytest.raises(SystemExit) as stop:
            cli.main(["new", name])
        assert stop.value.code == 1
        assert f"there is a {name} here already" in capsys.readouterr().err
    assert sorted(path.name for path in Path().rglob("*")) == ["here", "link"]


def test_an_unfinished_project_is_removed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(SystemExit):
        cli.main(["new", "unwritten"])
    assert "No space left" in capsys.readouterr().err
    assert not list(Path().iterdir())


def test_new_imports_no_torch() -> None:
    code = (
        "import sys; from linreg_lightning.cli import main; main(['new', 'light']);"
        "assert not {'torch', 'lightning', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert Path("light/light/models/mlp.py").is_file()


@pytest.mark.parametrize("name", ["b", "b" * 20 + "_" + "c" * 19])
def test_a_project_of_any_name_is_formatted(name: str) -> None:
    cli.main(["new", name])
    for arguments in ("check", "format --check"):
        done = run(["ruff", *arguments.split(), "."], Path(name))
        assert "All checks passed" in done or "already formatted" in done


# A project in use


def test_a_wheel_makes_the_same_project_and_this_project_works_alone() -> None:
    python = [sys.executable, "-m"]
    run([*python, "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", ".", str(ROOT)])
    (wheel,) = Path().glob("*.whl")
    zipfile.ZipFile(wheel).extractall("installed")
    # One process imports the wheel, away from the repository; it makes a project and fits a model.
    code = (
        "from linreg_lightning import cli\n"
        "cli.main(['new', 'my-project'])\n"
        "cli.main('fit -c tutorial -c debug --figures false'.split())\n"
    )
    output = run([sys.executable, "-c", code], PYTHONPATH=str(Path("installed").resolve()))
    assert "rows 100" in output
    project = Path("my-project").resolve()
    made = {
        str(path.relative_to(project)): path.read_text()
        for path in project.rglob("*")
        if path.is_file()
    }
    assert made == dict(contents("my_project"))
    lines = [line for text in made.values() for line in text.splitlines()]
    named = [line for line in lines if re.search("lin.?reg", line, re.IGNORECASE)]
    assert named == ["Copyright (c) 2026 The linreg_lightning authors"]


def install(project: Path) -> Path:
    """Install a project in an environment of its own; return its Python."""
    python = environment(project.parent / "environment")
    options = ["install", "-q", "--no-deps", "--no-build-isolation", "-e", "."]
    run([sys.executable, "-m", "pip", "--python", str(python), *options], project)
    return python


def environment(folder: Path) -> Path:
    """Make a virtual environment that also finds the packages installed here."""
    run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
    (site,) = folder.glob("lib/python*/site-packages")
    shared = [path for path in sys.path if path.endswith("site-packages")]
    (site / "shared.pth").write_text("\n".join(shared))
    return folder / "bin" / "python"


def run(words: list[str], folder: Path = Path(), **variables: str) -> str:
    scripts = str(Path(sys.executable).parent)
    path = os.pathsep.join([scripts, os.environ["PATH"]])
    done = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, "PATH": path, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr
