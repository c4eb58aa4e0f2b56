"""Which texts in options and settings files are read as numbers and booleans."""

from __future__ import annotations

import datetime
import re
from typing import Any

import torch
import yaml
from jsonargparse import get_loader, set_dumper, set_loader
from jsonargparse._loaders_dumpers import get_yaml_default_loader
from jsonargparse.typing import register_type

from linreg_lightning.cli.settings_file import load_yaml

PARSER_MODE = "linreg"
_TEXT, _BOOLEAN, _INTEGER, _FLOAT = (
    f"tag:yaml.org,2002:{name}" for name in ("str", "bool", "int", "float")
)
_make_loader: Any = get_yaml_default_loader  # mypy refuses to call an untyped function
_ConverterLoader: Any = _make_loader()  # jsonargparse converts text to the types of arguments by it
_resolve: Any = _ConverterLoader.resolve


def _resolve_without_colon(self: Any, kind: type, value: Any, implicit: Any) -> Any:
    """Take 1:30 as text. YAML 1.1 reads it as a number in base 60, which is 90."""
    tag = _resolve(self, kind, value, implicit)
    return _TEXT if tag in (_INTEGER, _FLOAT) and ":" in value else tag


# jsonargparse offers no public way to change how it reads a text as a number.
_ConverterLoader.resolve = _resolve_without_colon


class _SettingsLoader(_ConverterLoader):  # type: ignore[misc]
    """Takes yes, no, on and off as text; for a boolean argument, jsonargparse converts the text."""

    def resolve(self, kind: type, value: Any, implicit: Any) -> Any:
        tag = super().resolve(kind, value, implicit)
        return _TEXT if tag == _BOOLEAN and value.lower() not in ("true", "false") else tag


class _SettingsDumper(yaml.SafeDumper):
    """Puts quotes around the text 1e3, which jsonargparse, unlike PyYAML, reads as a number."""


_SettingsDumper.add_implicit_resolver(
    _FLOAT, re.compile(r"[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def load_value(text: str, path: str = "") -> Any:
    """Read YAML, but take a line such as `#w` or `a: b` as text: columns have such names.

    >>> load_value("#w"), load_value("a: b"), load_value("[a, no]"), load_value("a: b", "run.yaml")
    ('#w', 'a: b', ['a', 'no'], {'a': 'b'})
    """
    is_option = not path and "\n" not in text and not text.startswith(("[", "{"))
    if not is_option:
        return load_yaml(text, lambda content: yaml.load(content, _SettingsLoader))
    try:
        value = load_yaml(text, get_loader("yaml"))
    except TypeError:  # jsonargparse fails where YAML has a key that is no text, as in `?`
        return text
    return value if isinstance(value, int | float) else text


def dump_settings(settings: Any) -> str:
    r"""Return settings as YAML that `load_value` reads back.

    >>> dump_settings({"names": ["1e3", "no"], "lr": 1e-5})
    "names:\n- '1e3'\n- 'no'\nlr: 1.0e-05\n"
    """
    text: str = yaml.dump(settings, Dumper=_SettingsDumper, allow_unicode=True, sort_keys=False)
    return text


# Arguments of one's own models may have these types, which jsonargparse does not know.
register_type(datetime.datetime, datetime.datetime.isoformat, datetime.datetime.fromisoformat)
register_type(datetime.date, datetime.date.isoformat, datetime.date.fromisoformat)
register_type(torch.device)

set_loader(PARSER_MODE, load_value, (yaml.YAMLError,))
set_dumper("yaml", dump_settings)
