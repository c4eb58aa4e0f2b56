"""The entry of the `linreg` command; light, so that --help and --version answer at once."""

import os
import sys
from pathlib import Path
from pkgutil import resolve_name

from linreg_lightning import __version__
from linreg_lightning.cli.command_names import TRAINER_COMMANDS, unknown_command
from linreg_lightning.cli.defaults import COMMANDS, HELP
from linreg_lightning.cli.terminal import check_working_folder, error_message, fail, terminal
from linreg_lightning.errors import InputError


def main(args: list[str] | None = None) -> None:
    """Run one command line; None takes the arguments after `linreg` from the process.

    SystemExit says that the command failed and has printed its message: the code is 1 or 2, 130
    after Ctrl-C, or 143 after SIGTERM. Its code is 0 after a help text such as `fit --help`.

    >>> main(["--version"])
    linreg 0.1.0
    """
    with terminal(owns_process=args is None):
        _run(sys.argv[1:] if args is None else list(args))


def _run(args: list[str]) -> None:
    if args in (["--help"], ["-h"]):
        print(HELP, end="")
    elif args == ["--version"]:
        print(f"linreg {__version__}")
    elif not args:
        print(HELP, end="", file=sys.stderr)
        raise SystemExit(2)
    elif args[0].isidentifier() and args[0] not in (*TRAINER_COMMANDS, *COMMANDS):
        fail(unknown_command(args[0]), 2)
    else:
        check_working_folder()
        # The user's classes may be in the present folder; installed packages go first.
        sys.path.append(folder := str(Path.cwd()))
        try:
            _run_subcommand(args)
        finally:
            sys.path.remove(folder)


def _run_subcommand(args: list[str]) -> None:
    if args[0] in COMMANDS:
        try:
            print(resolve_name(COMMANDS[args[0]])(args[1:]))
        except (InputError, OSError) as error:
            fail(error_message(error), 1)
    else:
        parent = os.getppid()  # it may end during the import
        # Here, because it imports torch and lightning.
        from linreg_lightning.cli.run import run

        run(args, parent)
