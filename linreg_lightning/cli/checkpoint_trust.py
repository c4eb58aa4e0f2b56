"""Which classes a checkpoint may name: opening it imports their modules, which runs their code."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from inspect import signature
from operator import attrgetter
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from linreg_lightning.cli.checkpoint_info import CheckpointInfo
from linreg_lightning.errors import InputError

PACKAGES = {__name__.partition(".")[0], "lightning", "torch"}
TRUST_HELP = "Import whatever classes the checkpoint names, also from unknown modules."


def check_classes(
    checkpoint: CheckpointInfo, named: set[str] | None, keys: Sequence[str] = ("model", "data")
) -> None:
    """Refuse a checkpoint with classes of unknown modules, or with classes that do not exist.

    Args:
        checkpoint: it names the classes of its model and data, and perhaps others in their
            arguments.
        named: the class paths that the user has typed, whose packages are known; None trusts all.
        keys: which of the two classes the command uses.

    Raises:
        InputError: a class is of another module than ours, Lightning's, torch's, one already
            imported or one that the user has named; or it cannot be imported.
    """
    packages = PACKAGES | {name.partition(".")[0] for name in named or ()}
    for key in keys:
        stored = getattr(checkpoint, key)
        if stored is None:
            continue
        class_path = stored["class_path"]
        if named is not None:
            _check(class_path, packages, checkpoint.path, f" name it (--{key} {class_path}), or")
        cls = _import(class_path, checkpoint.path)
        if named is not None:
            try:
                nested = class_paths(stored["init_args"]) | _class_arguments(cls, stored)
            except RecursionError:
                text = f"{checkpoint.path} has arguments of the {key} that contain themselves"
                raise InputError(f"--ckpt_path: {text}; use another checkpoint") from None
            for path in nested:
                _check(path, packages, checkpoint.path, "")


def class_paths(settings: Any) -> set[str]:
    """Return every class path in nested settings.

    >>> class_paths([{"class_path": "mine.Net", "init_args": {"lr": 1}}])
    {'mine.Net'}
    """
    found: set[str] = set()
    if isinstance(settings, dict):
        path = settings.get("class_path")
        found |= {path} if isinstance(path, str) else set()
        settings = list(settings.values())
    for each in settings if isinstance(settings, list | tuple) else ():
        found |= class_paths(each)
    return found


def _class_arguments(cls: Any, stored: dict[str, Any]) -> set[str]:
    """Return the texts among a class's arguments that the parser imports: classes, functions."""
    parameters = signature(cls).parameters if callable(cls) else {}
    found = set()
    for name, value in stored["init_args"].items():
        annotation = str(parameters[name].annotation) if name in parameters else "Any"
        is_plain = re.search(r"\b(str|Any|_empty|\w*Path\w*)\b", annotation)
        if isinstance(value, str) and re.fullmatch(r"\w+(\.\w+)+", value) and not is_plain:
            found.add(value)
    return found


def _check(class_path: str, packages: set[str], file: Path, remedy: str) -> None:
    if class_path.partition(".")[0] in packages or _is_imported(class_path):
        return
    raise InputError(
        f"--ckpt_path: {file} names the class {class_path}, and opening it would run the code of "
        f"that module; if you know it,{remedy} type --trust"
    )


def _is_imported(class_path: str) -> bool:
    """Whether a class can be had without an import."""
    names = class_path.split(".")
    for count in range(len(names) - 1, 0, -1):
        module = sys.modules.get(".".join(names[:count]))
        if module is not None:
            try:
                attrgetter(".".join(names[count:]))(module)
            except AttributeError:
                return count == len(names) - 1 and not hasattr(module, "__path__")
            return True
    return False


def _import(class_path: str, file: Path) -> Any:
    try:
        return resolve_name(class_path)
    except Exception as error:  # a module may raise anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(
            f"--ckpt_path: {file} holds a {class_path}, which cannot be imported in the folder "
            f"{Path.cwd()} ({reason}); go to the folder of its module, or give the class this name"
        ) from None
