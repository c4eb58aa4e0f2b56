"""The parser of options: its help has a short usage, and it can print shell completions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, final

import yaml
from jsonargparse import set_parsing_settings
from lightning.pytorch.cli import LightningArgumentParser

from linreg_lightning.cli.command import active
from linreg_lightning.cli.help_text import description
from linreg_lightning.cli.setting_values import dump_settings, load_value

set_parsing_settings(add_print_completion_argument=True)


@final
class OptionParser(LightningArgumentParser):
    """Lightning's parser under the command's name, with a usage of one line.

    `prints_completion` says whether the command line asks for a script of shell completions.
    `command` is the subcommand; `adapt` changes the settings in a file of `-c` so that it can use
    them.
    """

    prints_completion = False
    command: str | None = None
    adapt: Callable[[dict[Any, Any]], dict[Any, Any]] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"prog": active().name, **kwargs})

    def format_help(self, *args: Any, **kwargs: Any) -> str:
        """Return the help. The usage names no option, because the list below it names them all."""
        self.usage = f"{self.prog.replace(' [options]', '')} [options]"
        text: str = super().format_help(*args, **kwargs)
        return text

    def add_subcommands(self, *args: Any, **kwargs: Any) -> Any:
        """Add Lightning's commands, and for a shell's completions the other commands too."""
        commands = super().add_subcommands(*args, **kwargs)
        for name in active().commands if self.prints_completion else ():
            commands.add_subcommand(name, OptionParser(description=description(name)))
        return commands

    def parse_string(self, content: str, path: Any = "", *args: Any, **kwargs: Any) -> Any:
        """Read settings. Those of a file may come from another command, or from a moved folder."""
        if path and self.adapt is not None:
            with contextlib.suppress(yaml.YAMLError):  # the parser reports it
                settings = load_value(content, str(path))
                if isinstance(settings, dict) and (adapted := self.adapt(settings)) != settings:
                    content = dump_settings(adapted)
        return super().parse_string(content, path, *args, **kwargs)

    def dump(self, *args: Any, **kwargs: Any) -> str:
        """Return settings as text. They were checked when they were parsed, and are not again."""
        text: str = super().dump(*args, **{"skip_validation": True, **kwargs})
        return text
