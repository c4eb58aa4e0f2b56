"""The terminal that a command talks to: it may be closed, full or unable to show a character."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from linreg_lightning.errors import PROGRAM

INTERRUPTED = 128 + signal.SIGINT


def say(message: str) -> None:
    """Print a message of the command, with its name in front."""
    print(f"{PROGRAM.get()}: {message}", file=sys.stderr)


def fail(message: str, status: int) -> NoReturn:
    """Print an error message and exit."""
    with contextlib.suppress(OSError, ValueError):  # nobody may read it
        say(f"error: {message}")
    raise SystemExit(status) from None


def error_message(error: Exception) -> str:
    """Return an error's message; a full disk, of which other libraries name no file, says more."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error.strerror}; make room on this disk, or write to another one"
    return str(error)


class Output:
    """A stream of text that drops what it cannot write, so that the work goes on.

    It writes characters that its encoding lacks as escapes. `error` says why it failed.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.error = "it is closed" if stream is None else ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def isatty(self) -> bool:
        """Whether the stream is a terminal; a closed one is none."""
        return self._stream is not None and bool(self._stream.isatty())

    def write(self, text: str) -> int:
        """Write a text, or drop it."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Write what the stream has kept back, or drop it."""
        self._try(lambda: self._stream.flush())

    def _try(self, action: Callable[[], Any]) -> None:
        if not self.error:
            try:
                action()
            except UnicodeEncodeError as error:
                text = error.object.encode(error.encoding, "backslashreplace")
                self.write(text.decode(error.encoding))
            except (OSError, ValueError) as error:
                self.error = getattr(error, "strerror", None) or str(error)


@contextlib.contextmanager
def terminal(owns_process: bool) -> Iterator[None]:
    """Keep a command's work where its output fails or Ctrl-C ends it; exit with one message.

    Args:
        owns_process: whether the process ends with the command.
    """
    if owns_process:
        _open_standard_descriptors()
    streams, output = (sys.stdout, sys.stderr), Output(sys.stdout)
    sys.stdout, sys.stderr = output, Output(sys.stderr)
    thread_hook = threading.excepthook
    threading.excepthook = _without_tensorboard(thread_hook)
    try:
        with restored_interrupt(signal.SIG_DFL if owns_process else None):
            try:
                yield
                output.flush()
            except KeyboardInterrupt as stop:
                fail("; ".join(["interrupted", *map(str, stop.args)]), INTERRUPTED)
            except SystemExit as stop:
                output.flush()
                if stop.code or not output.error:
                    raise
            if output.error:
                reason = f"it cannot be written ({output.error})"
                fail(f"standard output: {reason}; what the command writes to files is complete", 1)
    finally:
        (sys.stdout, sys.stderr), threading.excepthook = streams, thread_hook


@contextlib.contextmanager
def restored_interrupt(handler: Any = None) -> Iterator[None]:
    """Let Ctrl-C do what it did before, or what `handler` says, after a run.

    The Trainer ignores it since an interrupt; Python's exit prints a traceback.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if in_main_thread and before is not None:
            signal.signal(signal.SIGINT, before if handler is None else handler)


def check_working_folder() -> None:
    """Refuse to run in a folder that was deleted; torch would end the process without a reason."""
    try:
        Path.cwd()
    except FileNotFoundError:
        fail("the working folder: it was deleted; go to another (cd)", 1)


def _without_tensorboard(hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Print no traceback of TensorBoard's thread: its next call raises the same in the run."""

    def print_others(args: Any) -> None:
        if not type(args.thread).__module__.startswith("tensorboard."):
            hook(args)

    return print_others


def _open_standard_descriptors() -> None:
    """Open the standard streams that are closed, so that no file of the run gets their numbers."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
