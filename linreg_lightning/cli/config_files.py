"""The files of the option `-c`: where they are, and what they hold."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jsonargparse import ActionConfigFile  # type: ignore[attr-defined]

from linreg_lightning.cli.command import active
from linreg_lightning.cli.named_configs import named_configs
from linreg_lightning.cli.reused_settings import adapt, checkpoint_path, moved_root
from linreg_lightning.cli.settings_file import read_settings, read_yaml
from linreg_lightning.errors import InputError


def read_config(file: Path, command: str | None) -> dict[Any, Any]:
    """Return a file's settings, with those of the files that it names.

    `root` is the folder of runs, and `ckpt_path` the checkpoint that the file names for a command.
    """
    if not file.is_file():
        return {}  # the parser reports it, or reads its name as settings
    try:
        content = read_settings(file)
    except InputError as error:
        raise InputError(f"--config: {error}") from None
    # A file before the subcommand has the settings below the subcommand's name.
    content |= _section(content, command, file)
    content["ckpt_path"] = checkpoint_path(content, file, command, Path.cwd())
    for key in ("model", "data", "trainer"):
        content[key] = read_file(key, file.parent, content.get(key))
    root = _section(content, "trainer", file).get("default_root_dir")
    return content | {"root": moved_root(content, file, Path.cwd()) or root}


def _section(content: dict[Any, Any], name: str | None, file: Path) -> dict[Any, Any]:
    section = content.get(name) or {}
    if not isinstance(section, dict):
        raise InputError(f"--config: {file} has {name}: {section}; write its settings there")
    return section


def read_file(key: str, folder: Path, value: Any) -> Any:
    """Return the content of a file of settings that stands for an option's value; or the value."""
    if not isinstance(value, str) or not is_file(str(folder / value)):
        return value
    try:
        return (read_settings if key == "trainer" else read_yaml)(folder / value)
    except InputError as error:
        raise InputError(f"--{key}: {error}") from None


def find_config(name: str) -> str:
    """Return the path of a configuration: a file, or one that the command brings, by its name."""
    if (Path(name) / "config.yaml").is_file():
        return str(Path(name) / "config.yaml")  # of a run's folder
    if is_file(name) or not re.fullmatch(r"[\w-]+", name):
        return name  # the parser reports a missing file
    if Path(f"{name}.yaml").is_file():
        return f"{name}.yaml"
    known = named_configs(active())
    if name in known:
        return str(known[name])
    text = f"there is no file {name}; type a file, or one of {', '.join(sorted(known))}"
    raise InputError(f"--config: {text}")


def is_file(name: str) -> bool:
    """Whether a text is the name of a file."""
    return os.path.isfile(name)  # noqa: PTH113  Path.is_file raises OSError for a long text


def name_file(message: str, args: Sequence[str], configs: Mapping[str, dict[Any, Any]]) -> str:
    """Say in which file the value stands that a message refuses, if it was not typed.

    >>> message = "--model.lr: 1 was given, but a.ckpt was made with 2; leave --model.lr out"
    >>> name_file(message, ["fit", "-c", "a.yaml"], {"a.yaml": {"model": {"init_args": {"lr": 1}}}})
    '--model.lr: 1 was given in a.yaml, but a.ckpt was made with 2; remove lr from a.yaml'
    """
    option = message.partition(": ")[0].removeprefix("--")
    key, _, name = option.partition(".")
    typed = {word.partition("=")[0] for word in args}
    if not message.startswith("--") or typed & {f"--{option}", f"--{key}.init_args.{name}"}:
        return message
    for file, settings in reversed(list(configs.items())):
        value = settings.get(key)
        arguments = {**value, **(value.get("init_args") or {})} if isinstance(value, dict) else {}
        if name in arguments or (value is not None and not name):
            message = message.replace(" was given, but", f" was given in {file}, but", 1)
            return message.replace(f"leave --{option} out", f"remove {name or key} from {file}")
    return message


class ConfigByName(ActionConfigFile):
    """The action of `-c`: a file, a run's folder, or the name of one that the command brings."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: Any = None) -> None:
        name = find_config(values)
        parser.adapt = partial(adapt, file=Path(name), command=parser.command, folder=Path.cwd())
        super().__call__(parser, cfg, name)  # type: ignore[no-untyped-call]
