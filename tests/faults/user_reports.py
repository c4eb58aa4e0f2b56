"""What people reported about other tools, and how the tests ask ours about the same kind of input.

`python tests/faults/user_reports.py` writes the table of README.md anew.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from lightning.pytorch import Trainer

from linreg_lightning import InputError, LeastSquares, TabularData

Options = dict[str, Any]
README = Path(__file__).parent / "README.md"


@dataclass(frozen=True)
class Report:
    """A public report, and ours on the smallest input of its kind."""

    source: str
    met: str  # what the user met, in the test's own words
    ours: str  # what ours does
    make: Callable[[], Any] = dict  # writes the input, returns what TabularData takes as path
    # The coefficients, known from how the input is made, and the options that lead to them.
    expected: dict[str, float] = field(default_factory=dict)
    options: Options = field(default_factory=dict)
    says: tuple[str, ...] = ()  # what the warnings of this fit must have
    # Fits before it, and what their refusals must have: the last one names the options above.
    refused: tuple[tuple[Options, tuple[str, ...]], ...] = ()
    may_warn: bool = False  # whether a warning may stand for such a refusal
    or_refused: str = ""  # an option that this format may refuse; it is never ignored
    target: str = "y"


class Answer(NamedTuple):
    coefficients: dict[str, float]
    refusal: str
    warnings: str
    model: LeastSquares


def quiet_trainer() -> Trainer:
    return Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def fit(path: Any, target: str = "y", **options: Any) -> Answer:
    """Fit a table exactly; return its coefficients, or why it is refused."""
    model, coefficients, refusal = LeastSquares(), {}, ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            quiet_trainer().fit(model, TabularData(path, target, **options))
        except InputError as error:
            refusal = str(error)
        else:
            coefficients = {row["name"]: row["estimate"] for row in model.coefficients()}
    texts = "\n".join(str(each.message) for each in caught)
    return Answer(coefficients, refusal, texts, model)


def text(name: str, content: str, encoding: str = "utf-8") -> Callable[[], str]:
    """Return a function that writes a file and returns its name."""

    def make() -> str:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(content.encode(encoding))
        return name

    return make


def parquet(folder: str, **files: dict[str, Any]) -> Callable[[], str]:
    """Return a function that writes Parquet files, whose names have / for __, into a folder."""

    def make() -> str:
        for name, columns in files.items():
            path = Path(folder, name.replace("__", "/") + ".parquet")
            path.parent.mkdir(parents=True, exist_ok=True)
            pd.DataFrame(columns).to_parquet(path, index=False)
        return folder

    return make


def partitions(key: str, *values: str) -> Callable[[], str]:
    """Return a function that writes y = 2 x + 10 k, where k numbers the values of a key from 1."""

    def make() -> str:
        for k, value in enumerate(values, 1):
            folder = Path("table", f"{key}={value}")
            folder.mkdir(parents=True)
            frame = pd.DataFrame({"x": [1.0, 2.0, 4.0, 7.0]})
            frame.assign(y=2 * frame.x + 10 * k).to_parquet(folder / "part-0.parquet", index=False)
        return "table"

    return make


def workbook(*rows: list[Any]) -> Callable[[], str]:
    """Return a function that writes a workbook of one sheet."""

    def make() -> str:
        import openpyxl

        book = openpyxl.Workbook()
        for row in rows:
            book.active.append(row)
        book.save("book.xlsx")
        return "book.xlsx"

    return make


def table(reports: list[Report]) -> str:
    """Return the table of README.md."""
    lines = ["| source | what users met | what ours does |", "|---|---|---|"]
    for each in reports:
        name = re.sub(r"^https?://(github\.com/)?", "", each.source)
        name = re.sub(r"/(issues|pull)/", "#", name)
        name = name if len(name) <= 50 else name.split("/")[0]
        lines.append(f"| [{name}]({each.source}) | {each.met} | {each.ours} |")
    return "\n".join(lines) + "\n"


def all_reports() -> list[Report]:
    modules = [import_module(name) for name in ("test_user_reports", "test_user_reports_runs")]
    return [each for module in modules for each in module.REPORTS]


if __name__ == "__main__":
    sys.path.insert(0, str(README.parent))
    head = README.read_text().split("| source |")[0]
    README.write_text(head + table(all_reports()))
