"""The `linreg` command: its entry, light enough to answer --help and --version at once."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pkgutil import resolve_name

from linreg_lightning import __version__
from linreg_lightning.cli.defaults import COMMANDS, HELP
from linreg_lightning.errors import InputError


def main(args: list[str] | None = None) -> None:
    """Run one command line; returns when the work is done.

    Args:
        args: the words after `linreg`; None takes them from the process.

    Raises:
        SystemExit: the work could not be done; its code is 1 or 2 (143 after SIGTERM), its message
            has been printed.
            Also with code 0 after some texts that were asked for, such as `fit --help`.

    >>> main(["--version"])
    linreg 0.1.0
    """
    args = sys.argv[1:] if args is None else list(args)
    if args in (["--help"], ["-h"]):
        print(HELP, end="")
    elif args == ["--version"]:
        print(f"linreg {__version__}")
    elif not args:
        print(HELP, end="", file=sys.stderr)
        raise SystemExit(2)
    elif args[0] in COMMANDS:
        try:
            print(resolve_name(COMMANDS[args[0]])(args[1:]))
        except (InputError, OSError) as error:
            print(f"linreg: error: {error}", file=sys.stderr)
            raise SystemExit(1) from None
    else:
        _command()(args)


def _command() -> Callable[[list[str]], None]:
    """What runs a command of Lightning's, imported without a pause for garbage.

    Imports make hundreds of thousands of objects that stay. To look through them for garbage, again
    and again, would take a sixth of the time that a short fit takes.
    """
    first = "linreg_lightning.cli.run" not in sys.modules
    collects = gc.isenabled()
    gc.disable()
    try:
        from linreg_lightning.cli.run import run
    finally:
        if first:
            gc.freeze()
        if collects:
            gc.enable()
    return run
