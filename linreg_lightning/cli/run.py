"""How a command line that names a subcommand is run, and how it ends where it cannot be done."""

from __future__ import annotations

import argparse
import re
import signal
import sys
from typing import NoReturn

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

from linreg_lightning.cli.command import RegressionCLI
from linreg_lightning.cli.import_path import on_import_path
from linreg_lightning.cli.message import condense
from linreg_lightning.cli.warning_filters import quiet
from linreg_lightning.errors import InputError

# In the words of torch's ways to talk to other processes.
_OTHER_ENDED = re.compile(r"(closed|reset) by peer|Broken pipe|remote process exited")


def run(args: list[str]) -> None:
    """Run a command line that names a subcommand.

    Raises:
        SystemExit: it could not be done; the message has been printed.
    """
    with quiet(), on_import_path():
        try:
            RegressionCLI(args)
        except argparse.ArgumentError as error:
            _fail(condense(error.message), 2)
        except (InputError, MisconfigurationException, OSError) as error:
            _fail(str(error), 1)
        except ValueError as error:
            # The parser wraps what a constructor raises; what it hides may be for the user.
            if not isinstance(error.__cause__, InputError):
                raise
            _fail(str(error.__cause__), 1)
        except RuntimeError as error:
            if not _OTHER_ENDED.search(str(error)):
                raise
            _fail("another process has ended; what it had to say, it has said", 1)
        except SIGTERMException:
            _fail("ended by SIGTERM before it was done", 128 + signal.SIGTERM)


def _fail(message: str, status: int) -> NoReturn:
    # Each process has rows of its own, and only it can say what is wrong with them.
    rank = getattr(rank_zero_only, "rank", 0)
    who = f"process {rank + 1}: " if rank else ""
    print(f"linreg: error: {who}{message}", file=sys.stderr)
    raise SystemExit(status) from None
