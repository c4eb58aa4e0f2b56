"""The `linreg` command: its entry, light enough to answer --help and --version at once."""

from __future__ import annotations

import sys

import linreg_lightning
from linreg_lightning.cli.application import HELP


def main(args: list[str] | None = None) -> None:
    """Run one command line; returns when the work is done.

    Args:
        args: the words after `linreg`; None takes them from the process.

    Raises:
        SystemExit: the work could not be done; its code is 1 or 2, its message has been printed.
            Also with code 0 after some texts that were asked for, such as `fit --help`.

    >>> main(["--version"])
    linreg 0.1.0
    """
    args = sys.argv[1:] if args is None else list(args)
    if args in (["--help"], ["-h"]):
        print(HELP, end="")
    elif args == ["--version"]:
        print(f"linreg {linreg_lightning.__version__}")
    elif not args:
        print(HELP, end="", file=sys.stderr)
        raise SystemExit(2)
    else:
        from linreg_lightning.cli.command import run

        run(args)
