"""Imports the classes that a command names; refuses a name without a class."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from inspect import Parameter, signature

from lightning.pytorch import Trainer

from linreg_lightning.cli.command import Command
from linreg_lightning.errors import InputError


def import_classes(command: Command) -> None:
    """Import the classes of a command, so that the parser knows their modules' short names.

    Raises:
        InputError: there is no such class, or no such argument of the Trainer; an error within an
            imported module stays as it is.
    """
    named = {"model": [command.model], "models": command.models, "data": [command.data]}
    named |= {"table": [command.table] if command.table else [], "callbacks": command.callbacks}
    for argument, class_paths in named.items():
        for class_path in class_paths:
            if not _exists(class_path):
                raise InputError(
                    f"Command: {argument}: there is no class {class_path}; type its module and "
                    "its name, such as my_project.model.Net"
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
        if not module or find_spec(module) is None:
            return False
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise  # the package itself imports what is not installed
        return False
    return hasattr(import_module(module), name)
