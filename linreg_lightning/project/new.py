"""`linreg new`: makes a project of one's own from this package's files.

It has an example to replace, and the modules of this package that it needs.
"""

from __future__ import annotations

import argparse
import ast
import keyword
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

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

NOT_NEEDED = (
    r".*_checkout.*\n",
    r"bench = \[.*\n(?:(?!\]).*\n)*\]\n",
    r' *"(mpmath|scikit-learn|statsmodels).*\n',
)
"""Parts of pyproject.toml that a new project does not need, as patterns."""

MAX_LENGTH = 40  # of a name
FOLDERS = {"build", "configs", "dist", "logs", "tests"}


def new(args: list[str]) -> str:
    """Make a project in a folder of its name, completely or not at all; return the next steps.

    InputError says that the name cannot be used, or that the folder exists.
    """
    text = "Make your own project: a package with command, tests and CI, in a folder."
    parser = argparse.ArgumentParser("linreg new", description=text)
    parser.add_argument("name", help="the package's name, in lower case, such as my_project")
    given = parser.parse_args(args).name
    names = Names.of(given)
    folder = Path(given)
    if folder.exists() or folder.is_symlink():
        raise InputError(f"name: there is a {given} here already; type another name, or move it")
    unfinished = Path(f".{given}-unfinished-{platform.node()}-{os.getpid()}")
    _remove_orphans(unfinished.name.rpartition("-")[0])
    unfinished.mkdir()
    try:
        for path, text in contents(names):
            file = unfinished / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            if text.startswith("#!"):
                file.chmod(file.stat().st_mode | 0o111)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return f"""\
made  {folder}/, a project that trains, tested

  cd {folder}
  pip install -e '.[test]' && pytest
  {names.command} fit

your model     {names.package}/models/mlp.py
your data      {names.package}/data/waves.py, or any table by --data TabularData
your settings  configs/example.yaml"""


def _remove_orphans(name: str) -> None:
    """Remove what killed runs on this machine have left unfinished."""
    for folder in Path().glob(f"{name}-*"):
        process = folder.name.rpartition("-")[2]
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (OSError, ValueError, OverflowError):
            continue  # somebody else's


class Names(NamedTuple):
    """The spelling that Python imports, and the one that pip installs and a terminal runs."""

    package: str
    command: str

    @classmethod
    def of(cls, given: str) -> Names:
        """Return the spellings of a name: lower-case words joined by `_` or `-`.

        InputError refuses other forms, and names of Python, of installed packages and of the
        project's other folders.

        >>> Names.of("my-project")
        Names(package='my_project', command='my-project')
        """
        if not re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", given):
            words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", given).lower()
            proposal = "_".join(re.findall(r"[a-z0-9]+", words)).lstrip("0123456789_")
            raise InputError(
                f"name: {given!r} was given; type lower-case English letters, digits and _ between "
                f"them, as in {proposal or 'my_project'}; the present folder gets the project"
            )
        if len(given) > MAX_LENGTH:
            raise InputError(f"name: {given} has {len(given)} letters; type at most {MAX_LENGTH}")
        package, command = given.replace("-", "_"), given.replace("_", "-")
        if keyword.iskeyword(package) or package in sys.builtin_module_names:
            raise InputError(f"name: {given} is a word of Python itself; type another")
        if package in FOLDERS or package.startswith("test_"):
            raise InputError(f"name: {given} is what a folder or a test is called; type another")
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:  # a folder without modules has no origin
            raise InputError(
                f"name: a package {package} is installed already, and Python can import only one "
                "of the two; type another"
            )
        return cls(package, command)

    def put_into(self, text: str) -> str:
        """Replace this package's names in a text by these.

        >>> Names.of("my_project").put_into("linreg fit --model linreg_lightning.models.MLP")
        'my-project fit --model my_project.models.MLP'
        """
        text = text.replace("linreg_lightning", self.package)
        return re.sub("linreg-lightning|linreg", self.command, text)


def contents(names: Names) -> Iterator[tuple[str, str]]:
    """Yield path and text of each file of a new project, with its names put in."""
    for path, file in sorted(project_files().items()):
        text = file.read_text(encoding="utf-8")
        if path == "pyproject.toml":
            text = _requirements(text)
        if path != "LICENSE":  # it names the authors of the files
            text = _wrap_imports(names.put_into(text))
        yield path.replace("linreg_lightning", names.package, 1), text


def project_files() -> dict[str, Path]:
    """Return the files of a new project, by their path in it."""
    repository = dict(files())
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
    ['linreg_lightning/__init__.py', 'linreg_lightning/batch.py']
    """
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.append(node.value.replace(":", "."))
    paths: list[str] = []
    for name in names:
        parts = name.split(".")
        if parts[0] == "linreg_lightning" and all(map(str.isidentifier, parts)):
            for k in range(1, len(parts) + 1):
                module = "/".join(parts[:k])
                paths += [f"{module}.py"] * (k > 1) + [f"{module}/__init__.py"]
    return paths


def files() -> Iterator[tuple[str, Path]]:
    """Yield the path in the repository, and on this machine, of each file.

    A wheel has `configs` in the package, and in `_checkout` the other files beside the package.
    """
    in_wheel = (PACKAGE / "_checkout").is_dir()
    checkout = PACKAGE / "_checkout" if in_wheel else PACKAGE.parent
    for part in (".ci", ".github", ".gitignore", "LICENSE", "pyproject.toml", "tests"):
        yield from _below(checkout / part, Path(part))
    yield from _below((PACKAGE if in_wheel else PACKAGE.parent) / "configs", Path("configs"))
    for path in PACKAGE.iterdir():
        if path.name not in ("_checkout", "configs"):
            yield from _below(path, Path(PACKAGE.name, path.name))


def _below(path: Path, name: Path) -> Iterator[tuple[str, Path]]:
    for file in (path, *path.rglob("*")):
        if file.is_file() and file.parent.name != "__pycache__":
            yield (name / file.relative_to(path)).as_posix(), file


def _requirements(text: str) -> str:
    for pattern in NOT_NEEDED:
        text = re.sub(pattern, "", text)
    description = 'description = "Regression on PyTorch Lightning"'
    text = re.sub(r"(?m)^description = .*$", description, text)
    # A longer package name makes longer lines of text, which the formatter cannot break.
    return text.replace('ignore = ["D105"', 'ignore = ["E501", "D105"')


def _wrap_imports(text: str) -> str:
    """Break imports that a longer package name has made too long, as the formatter does."""

    def wrap(match: re.Match[str]) -> str:
        indent, start, names = match.groups()
        if len(match[0]) <= 100:
            return match[0]
        items = "".join(f"{indent}    {name},\n" for name in names.split(", "))
        return f"{indent}{start} (\n{items}{indent})"

    return re.sub(r"(?m)^( *)(from \S+ import) ([^(\n]+)$", wrap, text)
