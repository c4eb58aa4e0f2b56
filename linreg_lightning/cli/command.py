"""A command over any model and data module: `linreg`, and that of one's own project."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NoReturn

from linreg_lightning.cli.terminal import check_working_folder, error_message, fail, terminal
from linreg_lightning.errors import PROGRAM, InputError

TRAINER_COMMANDS = ("fit", "validate", "test", "predict")
"""Commands that a method of Lightning's Trainer runs."""
ROOT = "logs"
"""The folder that runs write to."""

_active: ContextVar[Command] = ContextVar("_active")


@dataclass(frozen=True, eq=False)
class Command:
    """A command line over a model and a data module, with checkpoints, resume, help and pictures.

    Making one imports neither torch nor the classes that it names, so `--help` answers at once. The
    files that `-c NAME` finds are in the folder `configs` in the package of `model`, or beside it.

    Args:
        name: what the user types, such as `my-project`.
        about: what the command is for, one sentence.
        model: the class path of the default model, such as `my_project.model.Regressor`.
        data: the class path of the default data module.
        version: what `--version` prints; "" takes that of the installed distribution `name`.
        examples: command lines for the help, without `name`; () shows a fit, a test, a prediction.
        trainer: defaults of the Trainer's arguments, such as `{"max_epochs": 20}`.
        callbacks: class paths of callbacks of every run, beside those that every command has.
        models: class paths of other models, which `--model` takes by their short names too.
        table: the class path of the data where `--data.path` is given and `data` has no `path`.
        table_options: defaults of options of a fit of `model` to `table`: `{"model.lr": 0.1}`.
        commands: other subcommands by name: the path of a function that takes the words after the
            name and returns the text to print, such as
            `{"summary": "linreg_lightning.cli.summary:summary"}` for a model with coefficients.
        purposes: what a subcommand does, for the help, where its general words do not say it.

    >>> command = Command("my-project", "Learn.", "my_project.model.Net", "my_project.data.Images")
    >>> command.main(["--help"])  # doctest: +ELLIPSIS
    usage: my-project [--help] [--version] {fit,validate,test,predict} ...
    <BLANKLINE>
    Learn.
    ...
    """

    name: str
    about: str
    model: str
    data: str
    version: str = ""
    examples: Sequence[str] = ()
    trainer: Mapping[str, Any] = field(default_factory=dict)
    callbacks: Sequence[str] = ()
    models: Sequence[str] = ()
    table: str = ""
    table_options: Mapping[str, Any] = field(default_factory=dict)
    commands: Mapping[str, str] = field(default_factory=dict)
    purposes: Mapping[str, str] = field(default_factory=dict)

    @property
    def packages(self) -> set[str]:
        """The packages of models and data; a checkpoint may name any class in them."""
        paths = filter(None, (self.model, self.data, *self.models, self.table))
        return {path.partition(".")[0] for path in paths}

    def main(self, args: Sequence[str] | None = None) -> None:
        """Run one command line; None takes the arguments after the command from the process.

        SystemExit says that the command failed and has printed its message: the code is 1 or 2, 130
        after Ctrl-C, or 143 after SIGTERM. Its code is 0 after a help text such as `fit --help`.
        """
        with self._activated(), terminal(owns_process=args is None):
            _run(self, sys.argv[1:] if args is None else list(args))

    def run(self) -> NoReturn:
        """Run the command line of this process and end the process.

        Python's own shutdown visits every object, which takes a second after the imports of torch
        and Lightning. It may also abort if a thread of pyarrow or gloo still runs.
        """
        status = 0
        try:
            self.main()
        except SystemExit as stop:
            if not isinstance(stop.code, int | None):
                raise
            status = stop.code or 0
        # Python's shutdown makes the next two calls, which have no public names.
        threading._shutdown()  # type: ignore[attr-defined]  # waits for threads of the user's
        atexit._run_exitfuncs()
        for stream in filter(None, (sys.stdout, sys.stderr)):
            with contextlib.suppress(OSError, ValueError):  # `main` has reported it
                stream.flush()
        os._exit(status)

    def fit(self, options: Mapping[str, Any] | None = None) -> dict[str, float]:
        """Run `fit` in this process, and return the last value of each metric.

        The run has a folder, checkpoints and a line in TensorBoard's HPARAMS as any other. It uses
        one device, because several would run the calling script once for each.

        Args:
            options: values by option: `{"model.lr": 0.1}` is `--model.lr 0.1`.

        Returns:
            What the model and the callbacks have logged, such as `val_loss` where the data have
            rows for validation.

        Raises:
            InputError: an option cannot work, or the fit itself has raised an InputError.
        """
        from linreg_lightning.cli.run import run_fit

        with self._activated(), _working_folder_on_path():
            return run_fit(options or {})

    @contextlib.contextmanager
    def _activated(self) -> Iterator[None]:
        command, program = _active.set(self), PROGRAM.set(self.name)
        try:
            yield
        finally:
            PROGRAM.reset(program)
            _active.reset(command)


def active() -> Command:
    """Return the command that runs; `linreg` where none does."""
    from linreg_lightning.cli.linreg import linreg  # which is made of the class above

    return _active.get(linreg)


def _run(command: Command, args: list[str]) -> None:
    from linreg_lightning.cli.help_text import help_text, unknown_command, version

    if args in (["--help"], ["-h"]):
        print(help_text(command), end="")
    elif args == ["--version"]:
        print(f"{command.name} {version(command)}")
    elif not args:
        print(help_text(command), end="", file=sys.stderr)
        raise SystemExit(2)
    elif args[0].isidentifier() and args[0] not in (*TRAINER_COMMANDS, *command.commands):
        fail(unknown_command(args[0]), 2)
    else:
        check_working_folder()
        with _working_folder_on_path():
            _run_subcommand(command, args)


@contextlib.contextmanager
def _working_folder_on_path() -> Iterator[None]:
    """Let classes of the user's be in the present folder; installed packages go first."""
    sys.path.append(folder := str(Path.cwd()))
    try:
        yield
    finally:
        sys.path.remove(folder)


def _run_subcommand(command: Command, args: list[str]) -> None:
    if args[0] in command.commands:
        try:
            print(resolve_name(command.commands[args[0]])(args[1:]))
        except (InputError, OSError) as error:
            fail(error_message(error), 1)
    else:
        parent = os.getppid()  # now, because the parent may end during the slow import
        # Here, because it imports torch and lightning.
        from linreg_lightning.cli.run import run

        run(args, parent)
