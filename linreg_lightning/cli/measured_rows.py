"""The rows on which a command measures a fitted model: another table's, or those held out."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from linreg_lightning.data.row_groups import check_task
from linreg_lightning.errors import InputError
from linreg_lightning.tables.discovery import find_files

SPLIT_ARGUMENTS = frozenset({"val_path", "val_fraction", "test_path", "test_fraction"})
_SPLITS = {"validate": "val", "test": "test"}


def choose_rows(stored: Mapping[str, Any], given: dict[str, Any], command: str) -> frozenset[str]:
    """Let arguments of the checkpoint give way to those that name the rows to measure on.

    A fit's `val_fraction` of 0.2, for example, says nothing of another table, of which the user
    wants to test on all rows.

    Args:
        stored: the arguments of the checkpoint's data.
        given: those of this command; one that equals the stored argument may be replaced here.
        command: the subcommand.

    Returns:
        The names of the arguments that may differ from the checkpoint's.

    Raises:
        InputError: the fit has trained on rows of a file that is named here to measure on; or the
            path is another, but the rows come from other files; or the fit has one for each group.

    >>> given = {"path": "b.csv", "val_fraction": 0.2, "test_fraction": 1.0}
    >>> _ = choose_rows({"path": "a.csv", "val_fraction": 0.2, "test_fraction": 0.0}, given, "test")
    >>> given
    {'path': 'b.csv', 'val_fraction': 0.0, 'test_fraction': 1.0}
    """
    split = _SPLITS.get(command, "")
    path, fraction = f"{split}_path", f"{split}_fraction"
    other = "val_fraction" if split == "test" else "test_fraction"
    if not split or "path" not in stored or fraction not in given:
        return frozenset()
    if stored.get("by") is not None:
        check_task(command, None)
    is_other_table = given["path"] != stored["path"]
    if given.get(path) and given[path] != stored.get(path):
        _check_files(path, given[path], stored["path"])
        if given[fraction] == stored.get(fraction):
            given[fraction] = 0.0
        return frozenset(given)
    if is_other_table and stored.get(path) and given.get(path):
        if given[fraction] == stored.get(fraction):
            raise InputError(
                f"--data.path: {given['path']} was given, but {command} takes the rows of {path}, "
                f"which is {given[path]}; type --data.{path} {given['path']}"
            )
        given[path] = None
    if is_other_table and files_of(given["path"]) != files_of(stored["path"]):
        if given[fraction]:
            _check_files("path", given["path"], stored["path"])
        if given[fraction] + given[other] > 1 and given[other] == stored.get(other):
            given[other] = 0.0
        return frozenset(given)
    return frozenset({"path"})


def _check_files(name: str, given: Any, fitted: Any) -> None:
    """Refuse files that hold rows of the fit."""
    if both := sorted(files_of(given) & files_of(fitted)):
        raise InputError(
            f"--data.{name}: {given} was given, but the fit has trained on rows of {both[-1]}; "
            "name a file with other rows, or fit anew with rows held out (--data.test_fraction 0.2)"
        )


def files_of(paths: Any) -> set[str]:
    """Return the paths given, and those of all files in them; absolute, except addresses."""
    names = [str(path) for path in ([paths] if isinstance(paths, str | Path) else paths or ())]
    for name in [name for name in names if "://" not in name]:
        with contextlib.suppress(InputError):  # the file may be gone
            names += [file.path for file in find_files(name)]
    return {name if "://" in name else str(Path(name).resolve()) for name in names}
