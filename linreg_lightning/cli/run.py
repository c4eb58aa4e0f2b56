"""Runs one of Lightning's subcommands; turns its errors into one message and an exit status."""

import argparse
import contextlib
import logging
import re
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

from linreg_lightning.callbacks.peer_monitor import (
    end_process,
    end_with_parent,
    is_lost_connection,
)
from linreg_lightning.cli.checkpoint_content import is_from_restoring, unusable
from linreg_lightning.cli.config_files import PACKAGE
from linreg_lightning.cli.error_messages import missing_metric_message, parse_error_message
from linreg_lightning.cli.first_parse import FirstParse
from linreg_lightning.cli.regression_cli import RegressionCLI
from linreg_lightning.cli.resumed_fit import schedule_end
from linreg_lightning.cli.terminal import check_working_folder, error_message, fail
from linreg_lightning.errors import InputError

IGNORED_WARNINGS = (
    r".*isinstance\(treespec, LeafSpec\).*",
    "The dirpath has changed from .*",  # a resumed run has its own folder
    r"\s*Unable to serialize instance",  # a resumed run uses the default of its class
)
_OBSERVER = "lightning.fabric.strategies.launchers.subprocess_script"

# Lightning's advertisements, and its message about Ctrl-C beside this package's own.
_HIDDEN_MESSAGES = re.compile("Tip: For seamless|Detected KeyboardInterrupt")
logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
    lambda record: not _HIDDEN_MESSAGES.search(record.getMessage())
)


def run(args: list[str], parent: int) -> None:
    """Run a command line; exit with a message if it fails. `parent` has started this process."""
    # `catch_warnings` restores the filters and `showwarning`.
    end_with_parent(parent)
    with warnings.catch_warnings(), _message_before_kill():
        for message in IGNORED_WARNINGS:
            warnings.filterwarnings("ignore", message)
        warnings.showwarning = partial(_show_warning, warnings.showwarning)
        checkpoint = None
        try:
            first_parse = FirstParse.of(args)
            checkpoint = first_parse.checkpoint
            if first_parse.command != "fit":
                warnings.filterwarnings("ignore", "Be aware that when using `ckpt_path`")
            # In a fit the Trainer handles SIGTERM itself: it stops after the current step.
            with contextlib.nullcontext() if first_parse.command == "fit" else _sigterm_raises():
                RegressionCLI(args, first_parse)
        except argparse.ArgumentError as error:
            _fail(parse_error_message(error.message), 2)
        except (InputError, MisconfigurationException, OSError) as error:
            check_working_folder()
            _fail(missing_metric_message(error) or _one_line(error), 1)
        except SIGTERMException:
            _fail("ended by SIGTERM before it was done", 128 + signal.SIGTERM)
        except SystemExit as stop:
            # The Trainer turns Ctrl-C into an exit with status 1.
            first = getattr(rank_zero_only, "rank", 0) == 0  # the others print nothing
            if first and isinstance(stop.__context__, KeyboardInterrupt):
                raise stop.__context__ from None
            raise
        except Exception as error:
            if isinstance(error, RuntimeError):
                message = missing_metric_message(error) or _process_group_message(error)
                if message:
                    _fail(message, 1)
            if found := re.match(r"Tried to step \d+ times.*steps is (\d+)", str(error)):
                _fail(schedule_end(int(found[1])), 1)
            if checkpoint is None or not is_from_restoring(error):
                raise
            _fail(str(unusable(checkpoint.path, error)), 1)


def _one_line(error: Exception) -> str:
    message = error_message(error)
    # Lightning breaks some messages into lines.
    return message if isinstance(error, InputError) else " ".join(message.split())


def _process_group_message(error: RuntimeError) -> str:
    """Return what an error of torch's process group means; nothing for another error."""
    if is_lost_connection(error):
        return "; ".join(getattr(error, "__notes__", ["another process has ended"]))
    text = str(error).splitlines()[0]
    if isinstance(error, torch.distributed.DistError) or "Timed out waiting" in text:
        return (
            f"another process cannot be reached, or is slower than the timeout ({text}); start all "
            "processes at about the same time; to wait longer, type --trainer.strategy DDPStrategy "
            "--trainer.strategy.timeout 2:00:00"
        )
    return ""


def _fail(message: str, status: int) -> NoReturn:
    # Each process reads its own rows, so the message says which process failed.
    rank = getattr(rank_zero_only, "rank", 0)
    message = f"process {rank + 1}: {message}" if rank else message
    if torch.distributed.is_initialized():
        end_process(message, status)
    fail(message, status)


@contextlib.contextmanager
def _message_before_kill() -> Iterator[None]:
    """Print a message and exit before Lightning kills this process.

    Every five seconds Lightning looks whether one of the processes that it has started has failed.
    Then it writes "[rank: 1] Child process with PID 12 terminated ..." to its log, and kills all.
    """

    def end(record: logging.LogRecord) -> bool:
        time.sleep(1)  # the error of this process, which says more, may be on its way
        number = re.search(r"rank: (\d+)", record.getMessage())
        name = f"process {int(number[1]) + 1}" if number else "another process"
        end_process(f"{name} has ended before its work was done; start all processes again", 1)

    logger = logging.getLogger(_OBSERVER)
    logger.addFilter(end)
    try:
        yield
    finally:
        logger.removeFilter(end)


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
