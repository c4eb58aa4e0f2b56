"""Runs one of Lightning's subcommands; turns its errors into one message and an exit status."""

import argparse
import contextlib
import logging
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

from linreg_lightning.cli.error_messages import parse_error_message
from linreg_lightning.cli.first_parse import PACKAGE, FirstParse
from linreg_lightning.cli.main import fail
from linreg_lightning.cli.regression_cli import RegressionCLI
from linreg_lightning.errors import InputError

IGNORED_WARNINGS = (
    r".*isinstance\(treespec, LeafSpec\).*",
    "The dirpath has changed from .*",  # a resumed run has its own folder
)
# The messages of torch's process groups when another process is gone.
_LOST_CONNECTION = re.compile(r"(closed|reset) by peer|Broken pipe|remote process exited")

# Hides Lightning's advertisements.
logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
    lambda record: "Tip: For seamless cloud" not in record.getMessage()
)


def run(args: list[str]) -> None:
    """Run a command line; exit with a message if it fails."""
    with warnings.catch_warnings():  # restores the filters and `showwarning`
        for message in IGNORED_WARNINGS:
            warnings.filterwarnings("ignore", message)
        warnings.showwarning = partial(_show_warning, warnings.showwarning)
        try:
            first_parse = FirstParse.of(args)
            # In a fit the Trainer handles SIGTERM itself: it stops after the current step.
            with contextlib.nullcontext() if first_parse.command == "fit" else _sigterm_raises():
                RegressionCLI(args, first_parse)
        except argparse.ArgumentError as error:
            _fail(parse_error_message(error.message), 2)
        except (InputError, MisconfigurationException, OSError) as error:
            _fail(str(error), 1)
        except RuntimeError as error:
            if not _LOST_CONNECTION.search(str(error)):
                raise
            _fail("another process has ended and has printed its own message", 1)
        except SIGTERMException:
            _fail("ended by SIGTERM before it was done", 128 + signal.SIGTERM)


def _fail(message: str, status: int) -> NoReturn:
    if torch.distributed.is_initialized():
        # Threads of the process group crash if they still run while Python shuts down.
        torch.distributed.destroy_process_group()
    # Each process reads its own rows, so the message says which process failed.
    rank = getattr(rank_zero_only, "rank", 0)
    fail(f"process {rank + 1}: {message}" if rank else message, status)


def _show_warning(default: Any, message: Any, category: Any, filename: str, *args: Any) -> None:
    """Print a warning of this package on one line, and others as usual."""
    if Path(filename).is_relative_to(PACKAGE):
        print(f"linreg: warning: {message}", file=sys.stderr)
    else:
        default(message, category, filename, *args)


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    def raise_sigterm(*_: Any) -> NoReturn:
        raise SIGTERMException

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set a handler
        return
    handler = signal.signal(signal.SIGTERM, raise_sigterm)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
