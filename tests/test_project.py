"""`linreg new` writes a small project of the user's name, whose own tests pass."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from linreg_lightning import InputError, cli
from linreg_lightning.project.new import TASKS, command_name, package_name

ROOT = Path(__file__).parent.parent


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
        ("linreg", "is this command"),
        ("linreg_lightning", "is this command"),
        ("linreg-lightning", "is this command"),
        ("class", "a word or a module of Python"),
        ("json", "a word or a module of Python"),
        ("winreg", "a word or a module of Python"),
        ("Con", "as in my_project;"),
        ("torch/", "as in my_project;"),
        ("Übung", "as in ubung;"),
        ("con", "for a device"),
        ("nul", "for a device"),
        ("com1", "for a device"),
        ("lpt9", "for a device"),
        ("torch", "installed already"),
        ("python", "a command python already"),
        ("tests", "what a folder"),
        ("configs", "what a folder"),
        ("a" * 41, "at most 40"),
    ],
)
def test_a_bad_name_is_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        package_name(name)
    assert not list(Path().iterdir())


def test_an_existing_folder_is_not_changed(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("here", "a_link"):
        if name == "here":
            Path(name).mkdir()
        else:
            Path(name).symlink_to("nowhere")
        with pytest.raises(SystemExit) as stop:
            cli.main(["new", name])
        assert stop.value.code == 1
        assert f"{name} is here already" in capsys.readouterr().err
    assert sorted(path.name for path in Path().rglob("*")) == ["a_link", "here"]


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
    assert Path("light/light/model.py").is_file()


def test_the_help_says_what_comes_out(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["new", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    cli.main(["new", "made"])
    files = {path for path in Path("made").rglob("*") if path.is_file()}
    files -= {Path("made/made/__init__.py"), Path("made/made/houses.csv")}
    assert all(path.name in text or f"{path.parent.name}/ " in text for path in files)
    assert all(task in text for task in TASKS)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["my_project", "b" * 20 + "_" + "c" * 19])
def test_a_project_is_short_formatted_and_has_its_own_names(task: str, name: str) -> None:
    cli.main(["new", name, "--task", task])
    files = [path for path in Path(name).rglob("*") if path.is_file()]
    texts = {path: path.read_text() for path in files}
    assert sum(len(text.splitlines()) for text in texts.values()) <= 400
    for path, text in texts.items():
        assert not re.search(r"lin.?reg(?!_lightning\b)", text, re.IGNORECASE), path
        assert name == "my_project" or not re.search("my.project", f"{path}{text}"), path
    for arguments in ("check", "format --check"):
        run(["ruff", *arguments.split(), "."], Path(name))


def test_the_tests_of_each_project_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{task}_project" for task in TASKS]
    for task, name in zip(TASKS, names, strict=True):
        cli.main(["new", name, "--task", task])
        monkeypatch.syspath_prepend(Path(name).resolve())
    # In this process, which has imported torch already.
    words = ["-q", "-p", "no:xdist", "-p", "no:cacheprovider", "--basetemp=temporary"]
    words += ["--import-mode=importlib"]  # the files of the projects have the same names
    try:
        assert pytest.main([*words, *(f"{name}/tests" for name in names)]) == pytest.ExitCode.OK
    finally:
        for module in [each for each in sys.modules if each.partition(".")[0] in names]:
            del sys.modules[module]


def run(words: list[str], folder: Path = Path(), **variables: str) -> str:
    """Run a command, which must succeed, and return what it prints."""
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
