"""What the command reads before it can build its parser: some options, and files of settings."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jsonargparse import ActionConfigFile, get_loader, set_loader  # type: ignore[attr-defined]
from lightning.pytorch.cli import LightningCLI

from linreg_lightning.cli.checkpoint_info import CheckpointInfo
from linreg_lightning.cli.checkpoint_trust import check_classes, class_paths
from linreg_lightning.cli.defaults import COMMAND, ROOT
from linreg_lightning.cli.settings_file import load_yaml, read_settings, read_yaml
from linreg_lightning.errors import InputError

PACKAGE = Path(__file__).parent.parent
PARSER_MODE = "linreg"
_KEYS = ("model", "data", "trainer")


class FirstParse(NamedTuple):
    """The subcommand, and what decides the defaults of the options: checkpoint and classes."""

    command: str | None
    checkpoint: CheckpointInfo | None
    classes: dict[str, str]

    @classmethod
    def of(cls, args: list[str]) -> FirstParse:
        """Read these from a command line and its configuration files.

        >>> FirstParse.of(["fit", "--data", "TabularData", "--data.path", "a.csv"])
        FirstParse(command='fit', checkpoint=None, classes={'data': 'TabularData'})
        """
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        parser.add_argument("-c", "--config", action="append", default=[])
        parser.add_argument("--trainer.default_root_dir", dest="root")
        parser.add_argument("--trust", action="store_true")
        for name in ("ckpt_path", *_KEYS):
            parser.add_argument(f"--{name}")
        flags, rest = parser.parse_known_args(args)
        _check_is_class("model", flags.model, f"a class of {COMMAND} --help")
        _check_is_class("data", flags.data, f"--data TabularData --data.path {flags.data}")
        command = next((word for word in rest if word in LightningCLI.subcommands()), None)
        configs = [_settings(Path(find_config(name)), command) for name in flags.config]
        # The parser reads these files later, without a limit of their size and nesting.
        option_files = [_read_file(key, Path(), getattr(flags, key)) for key in _KEYS]
        settings: dict[str, Any] = {"root": ROOT}
        for source in (*configs, vars(flags)):
            for name, value in source.items():
                value = value.get("class_path") if isinstance(value, dict) else value
                settings |= {} if value is None else {name: value}
        checkpoint = None
        if "ckpt_path" in settings:
            checkpoint = CheckpointInfo.read(str(settings["ckpt_path"]), str(settings["root"]))
        classes = {k: settings[k] for k in ("model", "data") if isinstance(settings.get(k), str)}
        if checkpoint is not None:
            named = class_paths([configs, option_files]) | set(classes.values())
            keys = ["model"]
            if checkpoint.data and is_default("data", checkpoint.data, classes):
                keys.append("data")
            check_classes(checkpoint, keys, None if flags.trust else named)
        return cls(command, checkpoint, classes)


def is_default(key: str, stored: dict[str, Any], classes: dict[str, str]) -> bool:
    """Whether the user has chosen no other class for a key than the checkpoint's."""
    given = classes.get(key, "").rpartition(".")[2]
    return given in ("", stored["class_path"].rpartition(".")[2])


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


def load_value(text: str, path: str = "") -> Any:
    """Read YAML, but take a line such as `#w` or `a: b` as text: columns have such names.

    >>> load_value("#w"), load_value("a: b"), load_value("[a, b]"), load_value("a: b", "run.yaml")
    ('#w', 'a: b', ['a', 'b'], {'a': 'b'})
    """
    value = load_yaml(text, get_loader("yaml"))
    is_option = not path and "\n" not in text and not text.startswith(("[", "{"))
    return text if is_option and not isinstance(value, int | float) else value


set_loader(PARSER_MODE, load_value, (yaml.YAMLError,))
