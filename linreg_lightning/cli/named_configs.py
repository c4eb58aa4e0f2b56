"""The files of settings that `-c NAME` finds by their name; imports as little as `command`."""

from __future__ import annotations

from pathlib import Path

from linreg_lightning.cli.command import Command

PACKAGE = Path(__file__).parent.parent
_PACKED = PACKAGE / "configs"  # in a wheel
PACKAGE_CONFIGS = _PACKED if _PACKED.is_dir() else PACKAGE.parent / "configs"
"""The folder of this package's own files; those of any model are `GENERAL`."""
GENERAL = ("debug", "gpu")


def named_configs(command: Command) -> dict[str, Path]:
    """Return the files of a command by name: those of its folder, and general ones."""
    files = [PACKAGE_CONFIGS / f"{name}.yaml" for name in GENERAL]
    if command.configs is not None:
        files += sorted(Path(command.configs).glob("*.yaml"))
    return {file.stem: file for file in files if file.is_file()}
