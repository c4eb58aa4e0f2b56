"""Which classes a checkpoint may name: opening it imports their modules, which runs their code."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from inspect import signature
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from linreg_lightning.cli.checkpoint_info import OPTIMIZER_KEY, CheckpointInfo
from linreg_lightning.cli.error_messages import BASES
from linreg_lightning.errors import InputError

PACKAGES = {__name__.partition(".")[0], "lightning", "torch"}
TRUST_HELP = "Import whatever classes the checkpoint names, also from unknown modules."
# For any other type, the parser may import what a text names: a class or a function.
_PLAIN_TYPES = {"str", "int", "float", "bool", "None", "NoneType", "list", "dict", "tuple"} | {
    *("Sequence", "Mapping", "Any", "Optional", "Union", "class", "collections", "abc", "typing"),
    *("inspect", "_empty"),
}


def check_classes(checkpoint: CheckpointInfo, keys: Sequence[str], named: set[str] | None) -> None:
    """Refuse a checkpoint with classes of unknown modules, or with classes that do not exist.

    Args:
        checkpoint: it names the classes of its model and data, and perhaps others in their
            arguments.
        keys: which classes the command uses: model, data.
        named: the class paths that the user has typed, whose packages are known; None trusts all.

    Raises:
        InputError: a class is of another module than ours, Lightning's, torch's, one already
            imported or one that the user has named; or it is no model, or no data module.
    """
    file = checkpoint.path
    packages = PACKAGES | {name.partition(".")[0] for name in named or ()}
    if named is not None:
        for class_path in class_paths(checkpoint.content.get(OPTIMIZER_KEY)):
            _check_module(class_path, packages, file, "")
    for key in keys:
        stored = getattr(checkpoint, key)
        if stored is None:
            continue
        class_path = stored["class_path"]
        if named is not None:
            _check_module(class_path, packages, file, f" name it (--{key} {class_path}), or")
        cls = _import(key, class_path, file)
        if named is not None:
            try:
                imported = _imported_by_arguments(cls, stored["init_args"])
            except RecursionError:
                text = f"{file} has arguments of the {key} that contain themselves"
                raise InputError(f"--ckpt_path: {text}; use another checkpoint") from None
            for path in imported:
                _check_module(path, packages, file, "")


def class_paths(settings: Any) -> set[str]:
    """Return every class path in nested settings.

    >>> class_paths([{"class_path": "mine.Net", "init_args": {"lr": 1}}])
    {'mine.Net'}
    """
    return {text for key, text in _texts(settings) if key == "class_path"}


def _texts(settings: Any, key: Any = None) -> Iterator[tuple[Any, str]]:
    """Yield every text in nested settings, and the key that it stands under."""
    if isinstance(settings, str):
        yield key, settings
    elif isinstance(settings, dict):
        for name, value in settings.items():
            yield from _texts(value, name)
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from _texts(value, key)


def _imported_by_arguments(cls: type, arguments: dict[str, Any]) -> set[str]:
    """Return what the parser may import when it reads a class's arguments."""
    parameters = signature(cls).parameters
    found = class_paths(arguments)
    for name, value in arguments.items():
        annotation = str(parameters[name].annotation) if name in parameters else "Any"
        types = re.findall(r"\w+", re.sub(r"Literal\[.*?\]|[\w.]*Path\w*", "", annotation))
        if not _PLAIN_TYPES.issuperset(types):
            found |= {text for _, text in _texts(value) if re.fullmatch(r"\w+(\.\w+)+", text)}
    return found


def _check_module(class_path: str, packages: set[str], file: Path, remedy: str) -> None:
    if class_path.partition(".")[0] in packages or _is_imported(class_path):
        return
    raise InputError(
        f"--ckpt_path: {file} names the class {class_path}, and opening it would run the code of "
        f"that module; if you know it,{remedy} type --trust"
    )


def _is_imported(class_path: str) -> bool:
    """Whether the class's module is imported; in a package, the last name may be a module too."""
    module_name, _, name = class_path.rpartition(".")
    module = sys.modules.get(module_name)
    return module is not None and (hasattr(module, name) or not hasattr(module, "__path__"))


def _import(key: str, class_path: str, file: Path) -> type:
    try:
        cls: Any = resolve_name(class_path)
    except Exception as error:  # a module may raise anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(
            f"--ckpt_path: {file} holds a {class_path}, which cannot be imported in the folder "
            f"{Path.cwd()} ({reason}); go to the folder of its module, or give the class this name"
        ) from None
    if not isinstance(cls, type) or not issubclass(cls, BASES[key]):
        text = f"{file} names {class_path}, which is no {BASES[key].__name__}"
        raise InputError(f"--ckpt_path: {text}; use another checkpoint")
    return cls
