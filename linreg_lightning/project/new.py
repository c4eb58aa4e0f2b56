"""`linreg new`: writes a small project that depends on this package, for a task to choose."""

import argparse
import keyword
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from linreg_lightning.atomic_file import UnfinishedFile
from linreg_lightning.errors import InputError

TEMPLATE = Path(__file__).parent / "template"
"""The files of new projects as they stand: those of every project, and a folder for each task."""

PACKAGE, COMMAND = "my_project", "my-project"
"""The names in the template that the names of the new project replace."""

TASKS = {
    "regression": "predicts a number from a table by a network; RMSE, R2",
    "classification": "predicts a class from a table by a network; accuracy, F1, confusion matrix",
    "images": "tells images apart by convolutions; accuracy, F1, confusion matrix",
}
"""What the example of each task does, and what it measures."""

HELP = """\
Write a project of your own into a new folder NAME: a package that builds upon linreg_lightning,
with a command that fits, tests and predicts, resumes, and logs to TensorBoard. In the folder:

  NAME/data.py       the data: an example to replace; a table has its CSV file beside it
  NAME/model.py      the model: an example to replace
  NAME/__main__.py   the command NAME, in a few lines
  configs/           settings to start from: base, debug, gpu
  tests/             it learns, resumes bit for bit, runs by its command, refuses bad input
  pyproject.toml, README.md, .gitignore, .github/workflows/ci.yml

"""

FOLDERS = {"build", "configs", "dist", "docs", "logs", "tests"}
DEVICES = {"con", "prn", "aux", "nul"} | {
    f"{port}{n}" for port in ("com", "lpt") for n in range(10)
}
"""Names that Windows keeps for devices, so that no file can have them."""


def new(args: list[str]) -> str:
    """Write a project into a folder of its name, completely or not at all; return the next steps.

    InputError says that the name cannot be used, or that the folder exists.
    """
    given = _parse(args)
    package = package_name(given.name)
    folder = Path(given.name)
    if folder.exists() or folder.is_symlink():
        raise InputError(f"name: {folder} is here already; type another name, or move it")
    unfinished = Path(f".{folder}-unfinished")
    lock = UnfinishedFile(folder)
    try:
        shutil.rmtree(unfinished, ignore_errors=True)  # what a killed run has left
        for path, text in project_files(package, given.task):
            file = unfinished / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        lock.discard()
    return f"""\
made  {folder}/, which {TASKS[given.task]}

  cd {folder}
  pip install -e '.[dev]' && pytest
  {command_name(package)} fit

your data      {package}/data.py
your model     {package}/model.py
your settings  configs/base.yaml"""


def project_files(package: str, task: str) -> Iterator[tuple[str, str]]:
    """Yield path and text of each file of a new project, with its names in both."""
    names = {PACKAGE: package, COMMAND: command_name(package)}
    for folder in (TEMPLATE / "common", TEMPLATE / task):
        for file in sorted(folder.rglob("*")):
            path = file.relative_to(folder).as_posix()
            if file.is_file() and "__pycache__" not in path:
                yield _replace(path, names), _replace(file.read_text(encoding="utf-8"), names)


def package_name(given: str) -> str:
    """Return a name of lower-case words, joined by `_` or `-`, as Python imports it.

    InputError refuses other forms, and names of Python, of installed packages and commands, of
    devices and of the project's other folders.

    >>> package_name("my-project")
    'my_project'
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", given):
        raise InputError(
            f"name: {given!r} was given; type lower-case English letters, digits and _ between "
            f"them, as in {_proposal(given)}; the present folder gets the project"
        )
    if len(given) > 40:
        raise InputError(f"name: {given} has {len(given)} letters; type at most 40")
    package = given.replace("-", "_")
    if command_name(package) in ("linreg", "linreg-lightning"):
        raise InputError(f"name: {given} is this command, which yours would replace; type another")
    if keyword.iskeyword(package) or package in sys.stdlib_module_names:
        raise InputError(f"name: {given} is a word or a module of Python itself; type another")
    if package in DEVICES:
        raise InputError(f"name: Windows keeps {given} for a device; type another")
    if package in FOLDERS or package.startswith("test_"):
        raise InputError(f"name: {given} is what a folder or a test is called; type another")
    if getattr(find_spec(package), "origin", None):  # a folder without modules has none
        raise InputError(
            f"name: a package {package} is installed already, and Python can import only one of "
            "the two; type another"
        )
    if path := shutil.which(command_name(package)):
        raise InputError(
            f"name: there is a command {command_name(package)} already, {path}, which yours would "
            "replace; type another"
        )
    return package


def command_name(package: str) -> str:
    """Return a package's name as pip installs it and a terminal runs it."""
    return package.replace("_", "-")


def _proposal(given: str) -> str:
    """Return a name that can be used and, where there is one, is like the given one."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", unicodedata.normalize("NFKD", given)).lower()
    letters = words.encode("ascii", "ignore").decode()
    name = "_".join(re.findall(r"[a-z0-9]+", letters)).lstrip("0123456789_")
    try:
        return package_name(name) if name else PACKAGE
    except InputError:
        return PACKAGE


def _parse(args: list[str]) -> argparse.Namespace:
    tasks = "".join(f"  {name:<16} {text}\n" for name, text in TASKS.items())
    parser = argparse.ArgumentParser(
        "linreg new",
        description=f"{HELP}Tasks:\n{tasks}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", help="the package's name, in lower case, such as my_project")
    parser.add_argument("--task", choices=TASKS, default="regression", help="(default: regression)")
    return parser.parse_args(args)


def _replace(text: str, names: dict[str, str]) -> str:
    for name, replacement in names.items():
        text = text.replace(name, replacement)
    return text
