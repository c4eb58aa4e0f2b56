"""Makes the `config.yaml` of a run a file of settings for any command, wherever it lies now."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from linreg_lightning.cli.command import ROOT
from linreg_lightning.data import TabularData

# The options that only some of the subcommands have.
_COMMANDS_OF_OPTION = {
    **dict.fromkeys(("figures", "optimizer", "lr_scheduler", "change"), ("fit",)),
    **dict.fromkeys(("intervals", "keep", "format", "original_units"), ("predict",)),
    "verbose": ("validate", "test"),
}
# A file that a run has saved holds all options, among them these.
_SAVED = frozenset({"ckpt_path", "trust", "trainer", "model", "data"})


def adapt(
    settings: dict[Any, Any], file: Path, command: str | None, folder: Path
) -> dict[Any, Any]:
    """Return a file's settings without those that a command cannot use.

    These are the options of other commands, and the design of the columns, which the checkpoint
    holds. Runs whose folder was moved stay together. `folder` is the working folder.
    """
    adapted = {
        key: value
        for key, value in settings.items()
        if command in _COMMANDS_OF_OPTION.get(key, (command,))
    }
    data = adapted.get("data")
    if isinstance(data, dict) and _is_table(data) and isinstance(data.get("init_args"), dict):
        arguments = {k: v for k, v in data["init_args"].items() if k != "design"}
        adapted["data"] = data | {"init_args": arguments}
    if root := moved_root(settings, file, folder):
        adapted["trainer"] = settings["trainer"] | {"default_root_dir": root, "logger": True}
    return adapted


def checkpoint_path(
    settings: dict[Any, Any], file: Path, command: str | None, folder: Path
) -> str | None:
    """Return the checkpoint that a file of settings names for a command; None if it names none.

    The config.yaml of a fit names the checkpoint that the fit has started from; other commands
    take the newest that the fit has written. That of another command names the model it has used,
    from which no fit goes on.
    """
    path = settings.get("ckpt_path")
    if settings.keys() >= _SAVED:
        is_of_fit = "figures" in settings
        if command != "fit" and is_of_fit:
            own = [each for each in file.parent.glob("checkpoints/**/*.ckpt") if each.is_file()]
            return str(max(own, key=lambda each: each.stat().st_mtime_ns)) if own else None
        if command == "fit" and not is_of_fit:
            return None
    if path is not None and (root := moved_root(settings, file, folder)):
        stored_root = settings["trainer"].get("default_root_dir") or ROOT
        moved = Path(root) / os.path.relpath(str(path), str(stored_root))
        path = moved if moved.is_file() else path
    return None if path is None else str(path)


def moved_root(settings: dict[Any, Any], file: Path, folder: Path) -> str:
    """Return the folder of runs in which a run's config.yaml lies; "" for any other file."""
    run = (folder / file).parent
    trainer = settings.get("trainer")
    is_in_run = settings.keys() >= _SAVED and re.fullmatch(r"version_\d+", run.name)
    if not is_in_run or not isinstance(trainer, dict) or trainer.get("logger") not in (None, True):
        return ""
    return str(run.parent.relative_to(folder) if folder in run.parents else run.parent)


def _is_table(data: dict[Any, Any]) -> bool:
    """Whether settings name a class of tables, such as one derived from TabularData."""
    class_path = str(data.get("class_path"))
    with contextlib.suppress(Exception):  # it may be no class, and its module may raise anything
        return issubclass(resolve_name(class_path), TabularData)
    return class_path == TabularData.__name__
