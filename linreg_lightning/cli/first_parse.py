"""What the command reads before it can build its parser: some options, and files of settings."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple

from linreg_lightning.cli.checkpoint_info import CheckpointInfo
from linreg_lightning.cli.checkpoint_trust import check_classes
from linreg_lightning.cli.command import ROOT, active
from linreg_lightning.cli.command_classes import takes_argument
from linreg_lightning.cli.command_words import arrange, command_of
from linreg_lightning.cli.config_files import find_config, is_file, read_config, read_file
from linreg_lightning.cli.stored_arguments import class_paths
from linreg_lightning.errors import InputError

_KEYS = ("model", "data", "trainer")
_PATH_OPTION = re.compile(r"--data\.(init_args\.)?path(\+?=.*)?$", re.DOTALL)


class FirstParse(NamedTuple):
    """The subcommand, and what decides the defaults of the options: checkpoint and classes.

    `args` is the command line as the parser needs it; `configs` has the content of its files of
    settings.
    """

    command: str | None
    checkpoint: CheckpointInfo | None
    classes: dict[str, str]
    args: list[str]
    configs: dict[str, dict[Any, Any]]

    @classmethod
    def of(cls, args: list[str]) -> FirstParse:
        """Read these from a command line and its configuration files.

        >>> FirstParse.of(["fit", "--model", "LeastSquares", "--data.path", "a.csv"]).classes
        {'model': 'LeastSquares', 'data': 'linreg_lightning.data.tabular.TabularData'}
        """
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        parser.add_argument("-c", "--config", action="append", default=[])
        parser.add_argument("--trainer.default_root_dir", dest="root")
        parser.add_argument("--trust", action="store_true")
        # Only a typed one counts, as with --trust. The parser reports a value that is no boolean.
        parser.add_argument("--weights_only", default="true")
        for name in ("ckpt_path", *_KEYS):
            parser.add_argument(f"--{name}")
        flags, rest = parser.parse_known_args(args)
        _check_is_class("model", flags.model, f"a class of {active().name} --help")
        start = "" if takes_argument(resolve_name(active().data), "path") else "--data TabularData "
        _check_is_class("data", flags.data, f"{start}--data.path {flags.data}")
        command = command_of(args)
        files = [find_config(name) for name in flags.config]
        configs = {file: read_config(Path(file), command) for file in files}
        # The parser reads these files later, without a limit of their size and nesting.
        option_files = [read_file(key, Path(), getattr(flags, key)) for key in _KEYS]
        sources = [*configs.values(), vars(flags) | dict(zip(_KEYS, option_files, strict=True))]
        settings: dict[str, Any] = {"root": ROOT}
        for source in sources:
            for name, value in source.items():
                value = value.get("class_path") if isinstance(value, dict) else value
                settings |= {} if value is None else {name: value}
        checkpoint = None
        weights_only = flags.weights_only.lower() not in ("false", "no", "off")
        if settings.get("ckpt_path", "null") != "null":
            ckpt_path, root = str(settings["ckpt_path"]), str(settings["root"])
            try:
                checkpoint = CheckpointInfo.read(ckpt_path, root, weights_only)
            except InputError as error:
                if flags.ckpt_path is not None:
                    raise
                file = next(f for f in reversed(files) if configs[f].get("ckpt_path") is not None)
                text = f"{error} (named in {file}); type --ckpt_path null for none"
                raise InputError(text) from None
        classes = {k: settings[k] for k in ("model", "data") if isinstance(settings.get(k), str)}
        gives_path = any(map(_PATH_OPTION.match, rest)) or any(
            _has_path(source.get("data")) for source in sources
        )
        if gives_path and (checkpoint is None or not _has_path(checkpoint.data)):
            table = active().table
            if table and not takes_argument(resolve_name(active().data), "path"):
                classes.setdefault("data", table)
        if checkpoint is not None:
            named = class_paths([*configs.values(), option_files]) | set(classes.values())
            keys = ["model"]
            if checkpoint.data and is_default("data", checkpoint.data, classes):
                keys.append("data")
            trusts = flags.trust or not weights_only  # such a file has run its code already
            check_classes(checkpoint, keys, None if trusts else named, classes)
        sectioned = [
            name for name, file in zip(flags.config, files, strict=True) if command in configs[file]
        ]
        return cls(command, checkpoint, classes, arrange(args, sectioned), configs)

    def defaults(self) -> dict[str, Any]:
        """Return the defaults of the options that model, data and checkpoint decide.

        A class that the user has chosen gets no arguments of another class.
        """
        command, checkpoint, classes = active(), self.checkpoint, self.classes
        defaults: dict[str, Any] = {}
        model: dict[str, Any] | None = {"class_path": command.model}
        data: dict[str, Any] | None = {"class_path": command.data}
        table = {"class_path": command.table}
        has_table = bool(command.table) and "data" in classes
        has_table = has_table and is_default("data", table, classes)
        if checkpoint is not None:
            model, data = checkpoint.model, checkpoint.data
            if self.command == "fit":
                defaults |= checkpoint.trainer_settings()
        elif has_table and is_default("model", {"class_path": command.model}, classes):
            arguments: dict[str, Any] = {}
            for option, value in command.table_options.items():
                if option.startswith("model."):
                    arguments[option.removeprefix("model.")] = value
                else:
                    defaults[option] = value
            model = {"class_path": command.model, "init_args": arguments}
        if has_table and not (data and is_default("data", data, classes)):
            data = table
        for key, stored in (("model", model), ("data", data)):
            if stored and is_default(key, stored, classes):
                defaults[key] = stored
        return defaults


def is_default(key: str, stored: dict[str, Any], classes: dict[str, str]) -> bool:
    """Whether the user has chosen no other class for a key than the stored default."""
    given = classes.get(key, "").rpartition(".")[2]
    return given in ("", stored["class_path"].rpartition(".")[2])


def _has_path(settings: Any) -> bool:
    """Whether settings of the data, or those of a checkpoint, have an argument `path`."""
    if not isinstance(settings, dict):
        return False
    arguments = settings.get("init_args")
    return "path" in settings or (isinstance(arguments, dict) and "path" in arguments)


def _check_is_class(key: str, value: str | None, remedy: str) -> None:
    """Refuse a table in the place of a class, before the parser reads all of it as YAML."""
    if value and is_file(value) and not value.endswith((".yaml", ".yml", ".json")):
        raise InputError(f"--{key}: {value} is a file, not a class; type {remedy}")
