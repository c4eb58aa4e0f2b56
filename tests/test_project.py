"""`linreg new`: what it makes is complete, has the user's name, and works by itself."""

import ast
import os
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from linreg_lightning import InputError, cli
from linreg_lightning.project.checkout import PACKAGE
from linreg_lightning.project.contents import OVERLAY, contents, is_general
from linreg_lightning.project.names import Names

ROOT = PACKAGE.parent


def general_modules() -> Iterator[Path]:
    overlay = {path.relative_to(ROOT / OVERLAY) for path in (ROOT / OVERLAY).rglob("*.py")}
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(ROOT)
        if is_general(str(place)) and place not in overlay:
            yield path


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.startswith("linreg_lightning.")}


@pytest.mark.parametrize(
    "path", list(general_modules()), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_a_general_room_imports_no_special_one(path: Path) -> None:
    made = {path for path, _ in contents(Names.of("linreg_own"))}
    for name in imported(path):
        place = name.replace(".", "/").replace("linreg_lightning", "linreg_own")
        module = place.rpartition("/")[0]
        assert {f"{p}{end}" for p in (place, module) for end in (".py", "/__init__.py")} & made, (
            name
        )


# Names


@pytest.mark.parametrize("name", ["my_project", "my-project", "a", "x2", "a" * 40])
def test_a_name_in_its_spellings(name: str) -> None:
    names = Names.of(name)
    assert names.package == name.replace("-", "_")
    assert names.distribution == names.command == name.replace("_", "-")


@pytest.mark.parametrize(
    ("name", "complaint"),
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
def test_another_is_refused(name: str, complaint: str, refused: Callable[..., str]) -> None:
    with pytest.raises(InputError, match=complaint):
        Names.of(name)
    assert not list(Path().iterdir())


def test_an_existing_folder_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
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


def test_nothing_half_written_stays(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(SystemExit):
        cli.main(["new", "unwritten"])
    assert "No space left" in capsys.readouterr().err
    assert not list(Path().iterdir())


def test_it_needs_no_torch() -> None:
    code = (
        "import sys; from linreg_lightning.cli import main; main(['new', 'light']);"
        "assert not {'torch', 'lightning', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert Path("light/light/models/mlp.py").is_file()


@pytest.mark.parametrize("name", ["b", "b" * 20 + "_" + "c" * 19])
def test_any_name_leaves_it_formatted(name: str) -> None:
    cli.main(["new", name])
    for arguments in ("check", "format --check"):
        done = run(["ruff", *arguments.split(), "."], Path(name))
        assert "All checks passed" in done or "already formatted" in done


# A project at work


def test_from_a_checkout_and_from_a_wheel_it_works_by_itself() -> None:
    python = [sys.executable, "-m"]
    run([*python, "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", ".", str(ROOT)])
    (wheel,) = Path().glob("*.whl")
    zipfile.ZipFile(wheel).extractall("installed")
    run([*python, "linreg_lightning", "new", "my-project"])
    run([*python, "linreg_lightning", "new", "wheely"], PYTHONPATH=str(Path("installed").resolve()))
    with ThreadPoolExecutor() as both:
        list(both.map(works_by_itself, ["my-project", "wheely"]))


def works_by_itself(name: str) -> None:
    project, package = Path(name).resolve(), name.replace("-", "_")
    ours = [
        line
        for path in project.rglob("*")
        if path.is_file()
        for line in path.read_text().splitlines()
        if re.search("lin.?reg", line, re.IGNORECASE)
    ]
    assert ours == ["Copyright (c) 2026 The linreg_lightning authors"]
    run(["git", "init", "-q"], project)
    run(["git", "add", "."], project)

    python = environment(Path(f"{name}-environment").resolve())
    install = ["install", "-q", "--no-deps", "--no-build-isolation", "-e", "."]
    run([sys.executable, "-m", "pip", "--python", str(python), *install], project)
    assert "passed" in run([str(python), "-m", "pytest", "-q", "-n", "0"], project)
    if name == "my-project":  # the other one differs by its name
        run([str(python), "-m", "mypy"], project, MYPY_CACHE_DIR=str(ROOT / ".mypy_cache"))
        run(["ruff", "check", "."], project)
        run(["ruff", "format", "--check", "."], project)
    start = time.monotonic()
    command = str(python.parent / name)
    said = run(
        [command, "fit", "-c", "configs/example.yaml", "--trainer.accelerator", "cpu"], project
    )
    print(f"{name}: fitted in {time.monotonic() - start:.1f} s")
    assert float(re.findall(r"rmse ([\d.]+)", said)[-1]) < 0.15
    (settings,) = project.glob("logs/*/config.yaml")
    assert f"class_path: {package}." in settings.read_text()
    untracked = run(["git", "status", "--porcelain", "--untracked-files"], project).splitlines()
    assert all(line.startswith("A ") for line in untracked)


def environment(folder: Path) -> Path:
    """An empty one, which finds the installed heavy packages behind its own."""
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
