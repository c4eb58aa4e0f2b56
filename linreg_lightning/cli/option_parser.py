"""The parser of options: its help has a short usage, and it can print shell completions."""

from __future__ import annotations

from typing import Any, final

from jsonargparse import set_parsing_settings
from lightning.pytorch.cli import LightningArgumentParser

from linreg_lightning.cli.command_names import description
from linreg_lightning.cli.defaults import COMMAND, COMMANDS

set_parsing_settings(add_print_completion_argument=True)


@final
class OptionParser(LightningArgumentParser):
    """Lightning's parser under the command's name, with a usage of one line.

    `prints_completion` says whether the command line asks for a script of shell completions.
    """

    prints_completion = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"prog": COMMAND, **kwargs})

    def format_help(self, *args: Any, **kwargs: Any) -> str:
        """Return the help. The usage names no option, because the list below it names them all."""
        self.usage = f"{self.prog.replace(' [options]', '')} [options]"
        text: str = super().format_help(*args, **kwargs)
        return text

    def add_subcommands(self, *args: Any, **kwargs: Any) -> Any:
        """Add Lightning's commands, and for a shell's completions the other commands too."""
        commands = super().add_subcommands(*args, **kwargs)
        for name in COMMANDS if self.prints_completion else ():
            commands.add_subcommand(name, OptionParser(description=description(name)))
        return commands
