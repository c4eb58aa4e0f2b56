"""The arguments that a checkpoint keeps of a class: what they import, and which of them differ."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from enum import Enum
from inspect import signature
from pkgutil import resolve_name
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser

from linreg_lightning.cli.error_messages import BASES
from linreg_lightning.cli.setting_values import PARSER_MODE

# For any other type, the parser may import what a text names: a class or a function.
_PLAIN_TYPES = {"str", "int", "float", "bool", "None", "NoneType", "list", "dict", "tuple"} | {
    *("Sequence", "Mapping", "Any", "Optional", "Union", "class", "collections", "abc", "typing"),
    *("set", "frozenset", "List", "Dict", "Tuple", "Set", "FrozenSet", "Iterable", "Collection"),
    *("inspect", "_empty"),
}


def class_paths(settings: Any) -> set[str]:
    """Return every class path in nested settings.

    >>> class_paths([{"class_path": "mine.Net", "init_args": {"lr": 1}}])
    {'mine.Net'}
    """
    return {text for key, text in _texts(settings) if key == "class_path"}


def imported_by_arguments(cls: type, arguments: dict[str, Any]) -> set[str]:
    """Return what the parser may import when it reads a class's arguments."""
    parameters = signature(cls).parameters
    found = class_paths(arguments)
    for name, value in arguments.items():
        annotation = str(parameters[name].annotation) if name in parameters else "Any"
        types = re.findall(r"\w+", re.sub(r"Literal\[.*?\]|[\w.]*Path\w*", "", annotation))
        if not _PLAIN_TYPES.issuperset(types):
            found |= {text for _, text in _texts(value) if re.fullmatch(r"\w+(\.\w+)+", text)}
    return found


def is_imported(class_path: str) -> bool:
    """Whether the class's module is imported; in a package, the last name may be a module too."""
    module_name, _, name = class_path.rpartition(".")
    module = sys.modules.get(module_name)
    return module is not None and (hasattr(module, name) or not hasattr(module, "__path__"))


def differing_arguments(
    key: str, stored: dict[str, Any], given: dict[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Return stored and given value of the arguments that differ.

    A checkpoint keeps plain values: the list [8, 8] for a tuple, the text A for Kind.A. They are
    compared as the parser reads them.

    Args:
        key: model or data.
        stored: a class and its arguments in the checkpoint.
        given: a class and its arguments as the parser has read them.
    """
    old, new = _arguments(stored), _arguments(given)
    differing = _differing(old, new)
    if differing:
        old |= _read(key, stored)
        differing &= _differing(old, new)
    return {name: (_as_typed(old[name]), _as_typed(new[name])) for name in sorted(differing)}


def is_unknown(value: Any) -> bool:
    """Whether a stored value is a text by which the parser says that it could not store it.

    It then was the default of the class, such as a lambda: a command line has only plain values.
    """
    try:
        return any(text.startswith("Unable to serialize instance ") for _, text in _texts(value))
    except RecursionError:  # it contains itself, which `check_classes` refuses
        return False


def _as_typed(value: Any) -> Any:
    return value.name if isinstance(value, Enum) else value


def _arguments(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a class, also those for its `**kwargs`."""
    return {**settings.get("init_args", {}), **settings.get("dict_kwargs", {})}


def _differing(old: dict[str, Any], new: dict[str, Any]) -> set[str]:
    return {
        name
        for name, value in old.items()
        if name in new and new[name] != value and str(new[name]) != str(value)
    }


def _read(key: str, stored: dict[str, Any]) -> dict[str, Any]:
    """Return the stored arguments as the parser reads them; import no module for it."""
    try:
        cls = resolve_name(stored["class_path"]) if is_imported(stored["class_path"]) else None
        if cls is None or not all(
            map(is_imported, imported_by_arguments(cls, stored["init_args"]))
        ):
            return {}
        parser = LightningArgumentParser(exit_on_error=False, parser_mode=PARSER_MODE)
        parser.add_lightning_class_args(BASES[key], key, subclass_mode=True)
        options = parser.parse_object({key: stored})
        return dict(options[key].as_dict()["init_args"])
    except Exception:  # the values may be anything, and the parser and their types raise anything
        return {}


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
