"""What the command reads before it can build its parser: some options, and files of settings."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from jsonargparse import ActionConfigFile  # type: ignore[attr-defined]
from lightning.pytorch.cli import LightningCLI

from linreg_lightning.cli.checkpoint_info import CheckpointInfo
from linreg_lightning.cli.checkpoint_trust import check_classes
from linreg_lightning.cli.defaults import (
    COMMAND,
    DATA,
    MODEL,
    ROOT,
    TABLE,
    TABLE_MODEL,
    TABLE_TRAINER,
)
from linreg_lightning.cli.settings_file import read_settings, read_yaml
from linreg_lightning.cli.stored_arguments import class_paths
from linreg_lightning.errors import InputError

PACKAGE = Path(__file__).parent.parent
_KEYS = ("model", "data", "trainer")
_PATH_OPTION = re.compile(r"--data\.(init_args\.)?path(\+?=.*)?$", re.DOTALL)


class FirstParse(NamedTuple):
    """The subcommand, and what decides the defaults of the options: checkpoint and classes."""

    command: str | None
    checkpoint: CheckpointInfo | None
    classes: dict[str, str]

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
        _check_is_class("model", flags.model, f"a class of {COMMAND} --help")
        _check_is_class("data", flags.data, f"--data TabularData --data.path {flags.data}")
        command = next((word for word in rest if word in LightningCLI.subcommands()), None)
        configs = [_settings(Path(find_config(name)), command) for name in flags.config]
        # The parser reads these files later, without a limit of their size and nesting.
        option_files = [_read_file(key, Path(), getattr(flags, key)) for key in _KEYS]
        sources = [*configs, vars(flags) | dict(zip(_KEYS, option_files, strict=True))]
        settings: dict[str, Any] = {"root": ROOT}
        for source in sources:
            for name, value in source.items():
                value = value.get("class_path") if isinstance(value, dict) else value
                settings |= {} if value is None else {name: value}
        checkpoint = None
        if "ckpt_path" in settings:
            ckpt_path, root = str(settings["ckpt_path"]), str(settings["root"])
            weights_only = flags.weights_only.lower() not in ("false", "no", "off")
            checkpoint = CheckpointInfo.read(ckpt_path, root, weights_only)
        classes = {k: settings[k] for k in ("model", "data") if isinstance(settings.get(k), str)}
        gives_path = any(map(_PATH_OPTION.match, rest)) or any(
            _has_path(source.get("data")) for source in sources
        )
        if gives_path and (checkpoint is None or not _has_path(checkpoint.data)):
            classes.setdefault("data", TABLE)
        if checkpoint is not None:
            named = class_paths([configs, option_files]) | set(classes.values())
            keys = ["model"]
            if checkpoint.data and is_default("data", checkpoint.data, classes):
                keys.append("data")
            trusts = flags.trust or not weights_only  # such a file has run its code already
            check_classes(checkpoint, keys, None if trusts else named, classes)
        return cls(command, checkpoint, classes)

    def defaults(self) -> dict[str, Any]:
        """Return the defaults of the options that model, data and checkpoint decide.

        A class that the user has chosen gets no arguments of another class.
        """
        checkpoint, classes = self.checkpoint, self.classes
        defaults: dict[str, Any] = {}
        model: dict[str, Any] | None = {"class_path": MODEL}
        data: dict[str, Any] | None = {"class_path": DATA}
        table = {"class_path": TABLE}
        has_table = "data" in classes and is_default("data", table, classes)
        if checkpoint is not None:
            model, data = checkpoint.model, checkpoint.data
            if self.command == "fit":
                defaults |= checkpoint.trainer_settings()
        elif has_table and is_default("model", {"class_path": MODEL}, classes):
            model = {"class_path": MODEL, "init_args": TABLE_MODEL}
            defaults |= TABLE_TRAINER
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
    if value and _is_file(value) and not value.endswith((".yaml", ".yml", ".json")):
        raise InputError(f"--{key}: {value} is a file, not a class; type {remedy}")


def _settings(file: Path, command: str | None) -> dict[str, Any]:
    """Return a file's settings, with those of the files that it names, and the root folder."""
    if not file.is_file():
        return {}  # the parser reports it, or reads its name as settings
    try:
        content = read_settings(file)
    except InputError as error:
        raise InputError(f"--config: {error}") from None
    # A file before the subcommand has the settings below the subcommand's name.
    content |= _section(content, command, file)
    for key in _KEYS:
        content[key] = _read_file(key, file.parent, content.get(key))
    return content | {"root": _section(content, "trainer", file).get("default_root_dir")}


def _section(content: dict[Any, Any], name: str | None, file: Path) -> dict[Any, Any]:
    section = content.get(name) or {}
    if not isinstance(section, dict):
        raise InputError(f"--config: {file} has {name}: {section}; write its settings there")
    return section


def _read_file(key: str, folder: Path, value: Any) -> Any:
    """Return the content of a file of settings that stands for an option's value; or the value."""
    if not isinstance(value, str) or not _is_file(str(folder / value)):
        return value
    try:
        return (read_settings if key == "trainer" else read_yaml)(folder / value)
    except InputError as error:
        raise InputError(f"--{key}: {error}") from None


def find_config(name: str) -> str:
    """Return the path of a configuration: a file, or one that the package brings, by its name."""
    folder = PACKAGE / "configs"  # in a wheel
    folder = folder if folder.is_dir() else PACKAGE.parent / "configs"
    if _is_file(name) or not re.fullmatch(r"[\w-]+", name):
        return name  # the parser reports a missing file
    for file in (Path(f"{name}.yaml"), folder / f"{name}.yaml"):
        if file.is_file():
            return str(file)
    known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
    raise InputError(f"--config: there is no file {name}; type a file, or one of {known}")


def _is_file(name: str) -> bool:
    return os.path.isfile(name)  # noqa: PTH113  Path.is_file raises OSError for a long text


class ConfigByName(ActionConfigFile):
    """The action of `-c`: a file, or a configuration that the package brings, by its name."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: Any = None) -> None:
        super().__call__(parser, cfg, find_config(values))  # type: ignore[no-untyped-call]
