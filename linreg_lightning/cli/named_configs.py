"""The files of settings that `-c NAME` finds by their name; imports as little as `command`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from linreg_lightning.cli.command import Command

PACKAGE = Path(__file__).parent.parent
GENERAL = ("debug", "gpu")
"""Files of this package that every command has."""


def named_configs(command: Command) -> dict[str, Path]:
    """Return the files of a command by name: those of its package, and general ones."""
    general = package_configs("linreg_lightning")
    files = [general / f"{name}.yaml" for name in GENERAL]
    files += sorted(package_configs(command.model).glob("*.yaml"))
    return {file.stem: file for file in files if file.is_file()}


def package_configs(class_path: str) -> Path:
    """Return the folder `configs` of a class's package: in it, as in a wheel, or beside it."""
    spec = find_spec(class_path.partition(".")[0])  # without an import
    places = (spec.submodule_search_locations if spec is not None else None) or ()
    packed = [Path(place) / "configs" for place in places]
    beside = [Path(place).parent / "configs" for place in places]
    return next((folder for folder in (*packed, *beside) if folder.is_dir()), Path("configs"))
