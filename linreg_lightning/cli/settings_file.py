"""Reads YAML, and refuses what would take a reader of settings minutes or break it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from linreg_lightning.errors import InputError

MAX_BYTES = 1_000_000
MAX_DEPTH = 100
MAX_VALUES = 100_000

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_settings(file: Path) -> dict[Any, Any]:
    """Return the settings of a YAML file, or raise InputError: it cannot be read, or holds none."""
    settings = read_yaml(file)
    if not isinstance(settings, dict):
        found = "is empty" if settings is None else "holds no settings by name, such as `lr: 0.1`"
        raise InputError(f"{file} {found}")
    return settings


def read_yaml(file: Path) -> Any:
    """Return the content of a YAML file, or raise InputError: it cannot be read."""
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise InputError(f"{file} has more than {MAX_BYTES} bytes, too many for settings")
        return load_yaml(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        found = f"its byte {error.start + 1} is {content[error.start]:#x}"
        raise InputError(f"{file} is not UTF-8 text: {found}; save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror or error})") from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).replace('"<unicode string>", ', "").split())
        raise InputError(f"{file} is not valid YAML: {reason}") from None


def load_yaml(text: str, load: Callable[[str], Any] = yaml.safe_load) -> Any:
    """Return what YAML stands for, read by `load`.

    Raises:
        yaml.YAMLError: the text is not valid, is nested too deep, or has too many values.

    >>> load_yaml("a: &all [*all]")
    Traceback (most recent call last):
    ...
    yaml.error.YAMLError: the alias *all contains itself
    """
    _check_size(text)
    try:
        return load(text)
    except (ValueError, OverflowError, RecursionError) as error:  # a date of month 13
        raise yaml.YAMLError(str(error)) from None


def _check_size(text: str) -> None:
    """Refuse deep nesting, and aliases that stand for too many values or for themselves.

    A reader takes minutes for these, or overflows its stack. The parser's events do not.
    """
    open_anchors: list[Any] = [None]  # of the document, and of each open list or mapping in it
    counts = [0]  # of the values in each of these
    count_of_anchor: dict[Any, int] = {}
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_anchors.append(event.anchor)
            counts.append(0)
            if len(counts) > MAX_DEPTH:
                raise yaml.YAMLError(f"it is nested more than {MAX_DEPTH} levels deep")
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in open_anchors:
                raise yaml.YAMLError(f"the alias *{event.anchor} contains itself")
            counts[-1] += count_of_anchor.get(event.anchor, 1)
        elif isinstance(event, yaml.ScalarEvent):
            count_of_anchor[event.anchor] = 1
            counts[-1] += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            count = counts.pop() + 1
            count_of_anchor[open_anchors.pop()] = count
            counts[-1] += count
        if counts[-1] > MAX_VALUES:
            raise yaml.YAMLError(f"it has more than {MAX_VALUES} values, counted with its aliases")
