"""A first look at a command line, before it can be parsed."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from lightning.pytorch.cli import LightningCLI

from linreg_lightning.errors import InputError


class FirstParse(NamedTuple):
    """What decides the defaults for parsing the rest.

    Attributes:
        command: the subcommand.
        ckpt_path: a checkpoint.
        root: the folder that runs write below.
        classes: the classes that are named, of `model` and `data`.
    """

    command: str | None
    ckpt_path: str | None
    root: str
    classes: dict[str, str]

    @classmethod
    def of(cls, args: list[str], root: str) -> FirstParse:
        """Read a command line, and the configuration files it names, for these alone.

        Args:
            args: the words after `linreg`.
            root: the folder where none is named.

        Raises:
            InputError: a table is named as a class; a file has a value where settings belong.

        >>> FirstParse.of(["fit", "--data", "TabularData", "--data.path", "a.csv"], "logs")
        FirstParse(command='fit', ckpt_path=None, root='logs', classes={'data': 'TabularData'})
        """
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        parser.add_argument("-c", "--config", action="append", default=[])
        for option in ("ckpt_path", "trainer.default_root_dir", "model", "data"):
            parser.add_argument(f"--{option}")
        known, rest = parser.parse_known_args(args)
        flags = vars(known)
        ckpt_path = None
        classes: dict[str, str] = {}
        command = next((word for word in rest if word in LightningCLI.subcommands()), None)
        for file in map(Path, known.config):
            content = _read_yaml(file)
            # A file in front of the subcommand has the settings below its name.
            content |= _section(content, command, file)
            ckpt_path = content.get("ckpt_path") or ckpt_path
            trainer = content.get("trainer")
            if isinstance(trainer, str):
                content["trainer"] = _read_yaml(file.parent / trainer)
            root = _section(content, "trainer", file).get("default_root_dir", root)
            for key in ("model", "data"):
                value = content.get(key)
                named = value.get("class_path") if isinstance(value, dict) else value
                if isinstance(named, str):
                    classes[key] = named
        typed = {key: flags[key] for key in ("model", "data") if flags[key] is not None}
        for key, value in typed.items():
            _check_class(key, value)
        ckpt_path = flags["ckpt_path"] or ckpt_path
        return cls(
            command,
            None if ckpt_path is None else str(ckpt_path),
            str(flags["trainer.default_root_dir"] or root),
            classes | typed,
        )


_SETTINGS = (".yaml", ".yml", ".json")
"""How the names of files end that may stand for a class and its arguments."""


def _check_class(key: str, value: str) -> None:
    """Refuse a table in the place of a class, before the parser reads all of it as YAML."""
    found = False
    with contextlib.suppress(OSError, ValueError):  # settings in braces are no name of a file
        found = Path(value).is_file() and not value.endswith(_SETTINGS)
    if found:
        meant = f"--data TabularData --data.path {value}"
        if key != "data":
            meant = "a class of linreg --help"
        raise InputError(f"--{key}: {value} is a file, not a class; type {meant}")


def _section(content: dict[Any, Any], name: str | None, file: Path) -> dict[Any, Any]:
    """The settings below a name, if any."""
    value = content.get(name) or {}
    if not isinstance(value, dict):
        raise InputError(f"--config: {file} has {name}: {value}; write its settings there")
    return value


def _read_yaml(file: Path) -> dict[Any, Any]:
    """A file's content; nothing of one that the real parser will complain of."""
    with contextlib.suppress(OSError, ValueError, yaml.YAMLError):
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
    return {}
