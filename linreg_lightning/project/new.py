"""`linreg new`: makes a project of an example to replace and the modules that it needs."""

import argparse
import ast
import keyword
import re
import shutil
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path

from linreg_lightning.atomic_file import UnfinishedFile
from linreg_lightning.errors import InputError

PACKAGE = Path(__file__).parent.parent
OVERLAY = "linreg_lightning/project/overlay/"
"""Files of a new project alone; each replaces this package's file of the same path."""

GENERAL = (
    ".ci/*",
    ".github/workflows/*",
    ".gitignore",
    "LICENSE",
    "pyproject.toml",
    "configs/debug.yaml",
    "configs/gpu.yaml",
    "linreg_lightning/__main__.py",
    "linreg_lightning/py.typed",
    "tests/conftest.py",
    "tests/test_batch.py",
    "tests/test_plots.py",
    "tests/test_layout.py",
    "tests/test_loader.py",
    "tests/test_moments.py",
)
"""Files that a new project has too, beside the modules that these and the overlay import."""

PYPROJECT = (
    (r".*_checkout.*\n", ""),
    (r"(bench|fast) = \[.*\n(?:(?!\]).*\n)*\]\n", ""),
    (r'(?m)^ *"(mpmath|numba|scikit-learn|shtab|statsmodels).*\n', ""),
    (r'"numba\.\*", ', ""),
    (r"\[\[tool.mypy.overrides\]\]\nmodule = .*exact_kernel.*\n(.+\n)*\n?", ""),
    (r"(?m)^description = .*$", 'description = "Regression on PyTorch Lightning"'),
    # A longer package name makes longer lines of text, which the formatter cannot break.
    (r'ignore = \["D105"', 'ignore = ["E501", "D105"'),
)
"""Patterns in pyproject.toml, and their replacements in a new project."""


def new(args: list[str]) -> str:
    """Make a project in a folder of its name, completely or not at all; return the next steps.

    InputError says that the name cannot be used, or that the folder exists.
    """
    text = "Make your own project: a package with command, tests and CI, in a folder."
    parser = argparse.ArgumentParser("linreg new", description=text)
    parser.add_argument("name", help="the package's name, in lower case, such as my_project")
    given = parser.parse_args(args).name
    package = package_name(given)
    folder = Path(given)
    if folder.exists() or folder.is_symlink():
        raise InputError(f"name: there is a {given} here already; type another name, or move it")
    unfinished = Path(f".{given}-unfinished")
    lock = UnfinishedFile(folder)
    try:
        shutil.rmtree(unfinished, ignore_errors=True)  # what a killed run has left
        for path, text in contents(package):
            file = unfinished / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            if text.startswith("#!"):
                file.chmod(file.stat().st_mode | 0o111)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        lock.discard()
    return f"""\
made  {folder}/, a project that trains, tested

  cd {folder}
  pip install -e '.[test]' && pytest
  {command_name(package)} fit

your model     {package}/models/mlp.py
your data      {package}/data/waves.py, or any table by --data.path FILE
your settings  configs/example.yaml"""


def package_name(given: str) -> str:
    """Return a name of lower-case words, joined by `_` or `-`, as Python imports it.

    InputError refuses other forms, and names of Python, of installed packages and of the project's
    other folders.

    >>> package_name("my-project")
    'my_project'
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", given):
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", given).lower()
        proposal = "_".join(re.findall(r"[a-z0-9]+", words)).lstrip("0123456789_")
        raise InputError(
            f"name: {given!r} was given; type lower-case English letters, digits and _ between "
            f"them, as in {proposal or 'my_project'}; the present folder gets the project"
        )
    if len(given) > 40:
        raise InputError(f"name: {given} has {len(given)} letters; type at most 40")
    package = given.replace("-", "_")
    if keyword.iskeyword(package) or package in sys.builtin_module_names:
        raise InputError(f"name: {given} is a word of Python itself; type another")
    if package in ("build", "configs", "dist", "logs", "tests") or package.startswith("test_"):
        raise InputError(f"name: {given} is what a folder or a test is called; type another")
    if getattr(find_spec(package), "origin", None):  # a folder without modules has none
        raise InputError(
            f"name: a package {package} is installed already, and Python can import only one of "
            "the two; type another"
        )
    return package


def command_name(package: str) -> str:
    """Return a package's name as pip installs it and a terminal runs it."""
    return package.replace("_", "-")


def contents(package: str) -> Iterator[tuple[str, str]]:
    """Yield path and text of each file of a new project, with the names of its package in them."""
    for path, file in sorted(project_files().items()):
        text = file.read_text(encoding="utf-8")
        for pattern, replacement in PYPROJECT if path == "pyproject.toml" else ():
            text = re.sub(pattern, replacement, text)
        if path != "LICENSE":  # it names the authors of the files
            text = text.replace("linreg_lightning", package)
            text = re.sub("linreg-lightning|linreg", command_name(package), text)
            text = _wrap_imports(text)
        yield path.replace("linreg_lightning", package, 1), text


def project_files() -> dict[str, Path]:
    """Return the files of a new project, by their path in it."""
    repository = repository_files()
    overlay = {k.removeprefix(OVERLAY): v for k, v in repository.items() if k.startswith(OVERLAY)}
    available = {**repository, **overlay}
    general = [path for path in repository if any(fnmatch(path, name) for name in GENERAL)]
    chosen: dict[str, Path] = {}
    waiting = [*overlay, *general]
    while waiting:
        path = waiting.pop()
        if path in available and path not in chosen:
            chosen[path] = available[path]
            if path.endswith(".py"):
                waiting += modules_named_in(chosen[path].read_text(encoding="utf-8"))
    return chosen


def modules_named_in(source: str) -> list[str]:
    """Return the files that a module's imports, and its strings such as "package.Class", may mean.

    >>> modules_named_in("from linreg_lightning.batch import Batch")[:2]
    ['linreg_lightning.py', 'linreg_lightning/__init__.py']
    """
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant):
            names.append(str(node.value))
    paths: list[str] = []
    for name in names:
        parts = re.split("[.:]", name)
        if parts[0] == "linreg_lightning" and all(map(str.isidentifier, parts)):
            for module in accumulate(parts, "{}/{}".format):
                paths += [f"{module}.py", f"{module}/__init__.py"]
    return paths


def repository_files() -> dict[str, Path]:
    """Return the place of each file on this machine, by its path in the repository.

    A wheel has `configs` in the package, and in `_checkout` the other files beside the package.
    """
    places = {PACKAGE.name: PACKAGE}
    for name in (".ci", ".github", ".gitignore", "LICENSE", "configs", "pyproject.toml", "tests"):
        folders = (PACKAGE, PACKAGE / "_checkout", PACKAGE.parent)
        places[name] = next(folder / name for folder in folders if (folder / name).exists())
    return {
        (name / file.relative_to(place)).as_posix(): file
        for name, place in places.items()
        for file in (place, *place.rglob("*"))
        if file.is_file() and file.parent.name != "__pycache__"
    }


def _wrap_imports(text: str) -> str:
    """Break imports that a longer package name has made too long, as the formatter does."""

    def wrap(match: re.Match[str]) -> str:
        indent, start, names = match.groups()
        items = "".join(f"{indent}    {name},\n" for name in names.split(", "))
        return f"{indent}{start} (\n{items}{indent})"

    return re.sub(r"(?m)^(?=.{101})( *)(from \S+ import) ([^(\n]+)$", wrap, text)
