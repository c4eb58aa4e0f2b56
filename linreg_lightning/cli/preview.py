"""A first look at a command line, before it can be parsed."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from lightning.pytorch.cli import LightningCLI


class Preview(NamedTuple):
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
    def of(cls, args: list[str], root: str) -> Preview:
        """Read a command line, and the configuration files it names, for these alone.

        Args:
            args: the words after `linreg`.
            root: the folder where none is named.

        >>> Preview.of(["fit", "--data", "TabularData", "--data.path", "a.csv"], "logs")
        Preview(command='fit', ckpt_path=None, root='logs', classes={'data': 'TabularData'})
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
        for file in known.config:
            content = _read_yaml(file)
            # A file in front of the subcommand has the settings below its name.
            content |= content.get(command) or {}
            ckpt_path = content.get("ckpt_path") or ckpt_path
            root = (content.get("trainer") or {}).get("default_root_dir", root)
            for key in ("model", "data"):
                value = content.get(key)
                named = value.get("class_path") if isinstance(value, dict) else value
                if isinstance(named, str):
                    classes[key] = named
        return cls(
            command,
            flags["ckpt_path"] or ckpt_path,
            flags["trainer.default_root_dir"] or root,
            classes | {key: flags[key] for key in ("model", "data") if flags[key] is not None},
        )


def _read_yaml(file: str) -> dict[Any, Any]:
    """A file's content; nothing of one that the real parser will complain of."""
    with contextlib.suppress(OSError, ValueError, yaml.YAMLError):
        content = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
    return {}
