"""The names of all commands; imports as little as `main.py`."""

from __future__ import annotations

import re

from linreg_lightning.cli.defaults import COMMAND, COMMANDS, HELP

TRAINER_COMMANDS = ("fit", "validate", "test", "predict")
"""Commands that a method of Lightning's Trainer runs."""


def command_list() -> str:
    """Return the names of all commands as part of a sentence.

    >>> command_list()[:19]
    'fit, validate, test'
    """
    *names, last = (*TRAINER_COMMANDS, *COMMANDS)
    return f"{', '.join(names)} or {last}"


def description(name: str) -> str:
    """Return what a command does, from the general help, and how to find the other commands.

    >>> description("validate")[:53]
    'Measure a fitted model on the validation rows. Other '
    """
    found = re.search(rf"(?m)^  {name} +(.+)$", HELP)
    text = found[1] if found else name
    others = f"Other commands: {COMMAND} {command_list()}; {COMMAND} --help explains them."
    return f"{text[:1].upper()}{text[1:]}. {others}"


def unknown_command(name: str) -> str:
    """Return the message for a word that is no command."""
    return f"{name}: there is no such command; type {command_list()}"
