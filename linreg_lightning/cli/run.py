"""Runs one of Lightning's subcommands; turns its errors into one message and an exit status."""

import argparse
import contextlib
import logging
import random
import re
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
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
from linreg_lightning.cli.command import active
from linreg_lightning.cli.command_classes import import_classes
from linreg_lightning.cli.command_words import option_words
from linreg_lightning.cli.error_messages import (
    missing_metric_message,
    parse_error_message,
    same_argument_message,
)
from linreg_lightning.cli.first_parse import FirstParse
from linreg_lightning.cli.named_configs import PACKAGE
from linreg_lightning.cli.resumed_fit import schedule_end
from linreg_lightning.cli.terminal import (
    check_working_folder,
    error_message,
    fail,
    restored_interrupt,
    say,
)
from linreg_lightning.cli.trainer_cli import TrainerCLI
from linreg_lightning.errors import InputError

IGNORED_WARNINGS = (
    r".*isinstance\(treespec, LeafSpec\).*",
    "The dirpath has changed from .*",  # a resumed run has its own folder
    r"\s*Unable to serialize instance",  # a resumed run uses the default of its class
)
_BROADCAST = "Using a target size"  # torch computes a wrong loss then
_ONE_FIT = threading.RLock()  # two at once would draw from the same random numbers
_ENDED = 128 + signal.SIGTERM  # the exit status of a process that SIGTERM has ended
_OBSERVER = "lightning.fabric.strategies.launchers.subprocess_script"

# Lightning's advertisements, and its message about Ctrl-C beside this package's own.
_HIDDEN_MESSAGES = re.compile("Tip: For seamless|Detected KeyboardInterrupt")
logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
    lambda record: not _HIDDEN_MESSAGES.search(record.getMessage())
)


class _FailedError(Exception):
    """Why a command line has failed: a message for the user, and the exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def run(args: list[str], parent: int) -> None:
    """Run a command line; exit with a message if it fails. `parent` has started this process."""
    end_with_parent(parent)
    with _message_before_kill():
        try:
            _run(args)
        except _FailedError as failure:
            _fail(str(failure), failure.status)


def run_fit(options: Mapping[str, Any]) -> dict[str, float]:
    """Run `fit` with options by name in a process that goes on; return the last metrics."""
    try:
        with _ONE_FIT, restored_interrupt(), _restored_random_numbers():
            metrics = _run(["fit", *option_words(options)], False).trainer.callback_metrics
    except _FailedError as failure:
        if failure.status == _ENDED:
            raise SystemExit(_ENDED) from None  # the caller shall not go on with its next fit
        raise InputError(str(failure)) from None
    except SystemExit as stop:
        if stop.code:
            raise
        raise InputError(
            "options: the command has printed a text instead of fitting; leave out the option that "
            "asks for it, such as help or print_config"
        ) from None
    return {name: float(value) for name, value in metrics.items()}


@contextlib.contextmanager
def _restored_random_numbers() -> Iterator[None]:
    """Let the caller draw the options of its next fit: each fit seeds the global generators.

    Lightning's `isolate_rng` does not restore them after an error.
    """
    of_python, of_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)


def _run(args: list[str], owns_process: bool = True) -> TrainerCLI:
    """Run a command line; raise _FailedError for what the user can put right."""
    # `catch_warnings` restores the filters and `showwarning`.
    with warnings.catch_warnings():
        for message in IGNORED_WARNINGS:
            warnings.filterwarnings("ignore", message)
        warnings.filterwarnings("error", _BROADCAST)
        warnings.showwarning = partial(_show_warning, warnings.showwarning)
        checkpoint = None
        try:
            import_classes(active())
            first_parse = FirstParse.of(args)
            checkpoint = first_parse.checkpoint
            if first_parse.command != "fit":
                warnings.filterwarnings("ignore", "Be aware that when using `ckpt_path`")
            # In a fit the Trainer handles SIGTERM itself: it stops after the current step.
            with contextlib.nullcontext() if first_parse.command == "fit" else _sigterm_raises():
                return TrainerCLI(args, first_parse, owns_process)
        except argparse.ArgumentError as error:
            raise _FailedError(parse_error_message(error.message, error.argument_name), 2) from None
        except (InputError, MisconfigurationException, OSError) as error:
            check_working_folder()
            raise _FailedError(missing_metric_message(error) or _one_line(error), 1) from None
        except SIGTERMException:
            text = "ended by SIGTERM before it was done"
            raise _FailedError(text, _ENDED) from None
        except SystemExit as stop:
            # The Trainer turns Ctrl-C into an exit with status 1.
            first = getattr(rank_zero_only, "rank", 0) == 0  # the others print nothing
            if first and isinstance(stop.__context__, KeyboardInterrupt):
                raise stop.__context__ from None
            raise
        except Exception as error:
            if isinstance(error, RuntimeError):
                message = (
                    missing_metric_message(error)
                    or same_argument_message(error)
                    or _process_group_message(error)
                )
                if message:
                    raise _FailedError(message, 1) from None
            if found := re.match(r"Tried to step \d+ times.*steps is (\d+)", str(error)):
                raise _FailedError(schedule_end(int(found[1])), 1) from None
            if checkpoint is None or not is_from_restoring(error):
                raise
            raise _FailedError(str(unusable(checkpoint.path, error)), 1) from None


def _one_line(error: Exception) -> str:
    message = error_message(error)
    if "No supported gpu backend" in message:
        return "--trainer.accelerator: gpu was given, and torch finds none here; type cpu or auto"
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
    context = copy_context()  # the log is written by a thread, which has another

    def end(record: logging.LogRecord) -> bool:
        time.sleep(1)  # the error of this process, which says more, may be on its way
        number = re.search(r"rank: (\d+)", record.getMessage())
        name = f"process {int(number[1]) + 1}" if number else "another process"
        text = f"{name} has ended before its work was done; start all processes again"
        return context.run(end_process, text, 1)

    logger = logging.getLogger(_OBSERVER)
    logger.addFilter(end)
    try:
        yield
    finally:
        logger.removeFilter(end)


def _show_warning(default: Any, message: Any, category: Any, filename: str, *args: Any) -> None:
    """Print a warning of this package on one line, and others as usual."""
    if Path(filename).is_relative_to(PACKAGE):
        say(f"warning: {message}")
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
