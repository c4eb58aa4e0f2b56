"""What the command must know before it can build its parser."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.cli import LightningCLI

from linreg_lightning.cli.config_files import find_config, is_file, read_yaml
from linreg_lightning.cli.defaults import COMMAND, ROOT
from linreg_lightning.errors import InputError


class FirstParse(NamedTuple):
    """The arguments that decide the defaults of all others.

    Attributes:
        command: the subcommand, if one is named.
        ckpt_path: the checkpoint, if one is given.
        root: the folder that holds all runs.
        classes: the classes given for `model` and `data`.
    """

    command: str | None
    ckpt_path: str | None
    root: str
    classes: dict[str, str]

    @classmethod
    def of(cls, args: list[str]) -> FirstParse:
        """Read these from a command line and from the configuration files that it names.

        >>> FirstParse.of(["fit", "--data", "TabularData", "--data.path", "a.csv"])
        FirstParse(command='fit', ckpt_path=None, root='logs', classes={'data': 'TabularData'})
        """
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        parser.add_argument("-c", "--config", action="append", default=[])
        parser.add_argument("--trainer.default_root_dir", dest="root")
        for name in ("ckpt_path", "model", "data"):
            parser.add_argument(f"--{name}")
        flags, rest = parser.parse_known_args(args)
        command = next((word for word in rest if word in LightningCLI.subcommands()), None)
        settings: dict[str, Any] = {"root": ROOT, "ckpt_path": None}
        for name in flags.config:
            settings |= _settings(Path(find_config(name)), command)
        _check_class("model", flags.model)
        _check_class("data", flags.data)
        settings |= {name: value for name, value in vars(flags).items() if value is not None}
        ckpt_path = settings["ckpt_path"]
        ckpt_path = None if ckpt_path is None else str(ckpt_path)
        classes = {k: settings[k] for k in ("model", "data") if isinstance(settings.get(k), str)}
        return cls(command, ckpt_path, str(settings["root"]), classes)


def _settings(file: Path, command: str | None) -> dict[str, Any]:
    """Return the settings of a configuration that matter here, those that are not null."""
    content = read_yaml(file)
    # A file before the subcommand has the settings below the subcommand's name.
    content |= _section(content, command, file)
    if isinstance(content.get("trainer"), str):
        content["trainer"] = read_yaml(file.parent / content["trainer"])
    content["root"] = _section(content, "trainer", file).get("default_root_dir")
    for key in ("model", "data"):
        if isinstance(content.get(key), dict):
            content[key] = content[key].get("class_path")
    return {name: value for name, value in content.items() if value is not None}


def _section(content: dict[Any, Any], name: str | None, file: Path) -> dict[Any, Any]:
    section = content.get(name) or {}
    if not isinstance(section, dict):
        raise InputError(f"--config: {file} has {name}: {section}; write its settings there")
    return section


def _check_class(key: str, value: str | None) -> None:
    """Refuse a table in the place of a class, before the parser reads all of it as YAML."""
    if value is None or value.endswith((".yaml", ".yml", ".json")) or not is_file(value):
        return
    table = f"--data TabularData --data.path {value}"
    remedy = table if key == "data" else f"a class of {COMMAND} --help"
    raise InputError(f"--{key}: {value} is a file, not a class; type {remedy}")
