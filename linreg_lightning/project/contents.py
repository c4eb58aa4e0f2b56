"""What a new project holds: this package's general rooms, and a model to replace."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatch

from linreg_lightning.project.checkout import files
from linreg_lightning.project.names import Names

OVERLAY = "linreg_lightning/project/overlay/"
"""Files of a new project alone; one in the place of another of this package replaces it."""

SPECIAL = (
    ".github/*.png",
    "linreg_lightning/algebra/*",
    "linreg_lightning/callbacks/coefficient_*",
    "linreg_lightning/cli/summary.py",
    "linreg_lightning/data/synthetic.py",
    "linreg_lightning/tutorial.py",
    "linreg_lightning/models/closure_optimizer.py",
    "linreg_lightning/models/least_squares.py",
    "linreg_lightning/models/linear.py",
    "linreg_lightning/models/manual.py",
    "linreg_lightning/models/regression.py",
    "linreg_lightning/models/trainer_checks.py",
    "linreg_lightning/project/*",
    "configs/least_squares.yaml",
    "configs/manual.yaml",
    "configs/tabular.yaml",
    "configs/tutorial.yaml",
    "tests/benchmarks/*",
    "tests/nist.py",
)
"""What is about linear regression alone. General files import none of these."""

TESTS = (
    "tests/conftest.py",
    "tests/test_batch.py",
    "tests/test_plots.py",
    "tests/test_layout.py",
    "tests/test_loader.py",
    "tests/test_moments.py",
)
"""Tests of general rooms by themselves; the others fit linear models."""

NOT_NEEDED = ("mpmath", "scikit-learn", "statsmodels")
"""Requirements of special files."""

SECTIONS = (
    r"\[tool\.hatch\.build\.targets\.wheel\.force-include\].*\n(?:(?!\[).*\n)*",
    r"bench = \[.*\n(?:(?!\]).*\n)*\]\n",
)
"""Parts of pyproject.toml that a new project does not need, as patterns."""


def contents(names: Names) -> Iterator[tuple[str, str]]:
    """Path and text of each file of a new project, its names put in."""
    overlay = {
        path.removeprefix(OVERLAY): file for path, file in files() if path.startswith(OVERLAY)
    }
    general = {path: file for path, file in files() if is_general(path)}
    for path, file in sorted({**general, **overlay}.items()):
        text = file.read_text(encoding="utf-8")
        if path == "pyproject.toml":
            text = _requirements(text)
        if path != "LICENSE":  # it says whose work the rest began as
            text = names.put_into(text)
        if path.endswith(".py"):
            text = _wrapped(text)
        yield path.replace("linreg_lightning", names.package, 1), text


def is_general(path: str) -> bool:
    """Whether a file of this package belongs to a new project too."""
    if path.startswith("tests/"):
        return path in TESTS
    return not any(fnmatch(path, pattern) for pattern in SPECIAL)


def _requirements(text: str) -> str:
    """pyproject.toml without what only special files need."""
    for section in SECTIONS:
        text = re.sub(section, "", text)
    kept = (
        line
        for line in text.splitlines(keepends=True)
        if not line.strip().startswith(tuple(f'"{name}' for name in NOT_NEEDED))
    )
    text = re.sub(
        r"(?m)^description = .*$", 'description = "Regression on PyTorch Lightning"', "".join(kept)
    )
    # A longer name makes longer sentences, which the formatter leaves as they are.
    return text.replace('ignore = ["D105"', 'ignore = ["E501", "D105"')


def _wrapped(text: str) -> str:
    """Imports that a longer name has made too long, as the formatter would write them."""

    def wrapped(found: re.Match[str]) -> str:
        line, indent, start, names = found[0], found[1], found[2], found[3]
        if len(line) <= 100:
            return line
        items = "".join(f"{indent}    {name},\n" for name in names.split(", "))
        return f"{indent}{start} (\n{items}{indent})"

    return re.sub(r"(?m)^( *)(from \S+ import) ([^(\n]+)$", wrapped, text)
