"""Imports the classes that a command names; refuses a name without a class."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from inspect import Parameter, signature
from pkgutil import resolve_name
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer

from linreg_lightning.cli.command import Command
from linreg_lightning.errors import InputError


def import_classes(command: Command) -> None:
    """Import the classes of a command, so that the parser knows their modules' short names.

    Raises:
        InputError: there is no such class, or it is of another kind; no such argument of the
            Trainer. An error within an imported module stays as it is.
    """
    if command.name.split() != [command.name]:
        raise InputError(f"Command: name: {command.name!r} was given; give the one word to type")
    named: dict[str, tuple[Any, Sequence[str]]] = {
        "model": (LightningModule, [command.model]),
        "models": (LightningModule, command.models),
        "data": (LightningDataModule, [command.data]),
        "table": (LightningDataModule, [command.table] if command.table else []),
        "callbacks": (Callback, command.callbacks),
    }
    for argument, (base, class_paths) in named.items():
        if isinstance(class_paths, str):
            raise InputError(f"Command: {argument}: {class_paths!r} was given; give a list")
        for class_path in class_paths:
            if not isinstance(class_path, str) or not _exists(class_path):
                raise InputError(
                    f"Command: {argument}: there is no class {class_path}; type its module and "
                    "its name, such as my_project.model.Net"
                )
            found = resolve_name(class_path)
            if not callable(found) or (isinstance(found, type) and not issubclass(found, base)):
                raise InputError(
                    f"Command: {argument}: {class_path} is no {base.__name__}; name another class"
                )
    known = signature(Trainer).parameters
    options = [name.split(".") for name in command.table_options]
    for name in (*command.trainer, *(words[1] for words in options if words[0] == "trainer")):
        if name not in known:
            raise InputError(f"Command: trainer: the Trainer has no argument {name}; leave it out")


def takes_argument(cls: type, name: str) -> bool:
    """Whether a class has an argument of this name, perhaps as one of `**kwargs` for its base."""
    for each in cls.__mro__[:-1]:
        parameters = signature(each).parameters
        if name in parameters:
            return True
        if all(parameter.kind != Parameter.VAR_KEYWORD for parameter in parameters.values()):
            return False
    return False


def _exists(class_path: str) -> bool:
    module, _, name = class_path.rpartition(".")
    try:
        if not module or module.startswith(".") or find_spec(module) is None:
            return False
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise  # the package itself imports what is not installed
        return False
    return hasattr(import_module(module), name)
