"""The one exception for what a user can put right."""

import re
from contextvars import ContextVar

PROGRAM: ContextVar[str] = ContextVar("PROGRAM", default="linreg")
"""The name of the command that runs; its messages begin with it."""

_SECRET = re.compile(r"(://[^\s:/@]+):[^\s@]+@")


class InputError(ValueError):
    """Something given by the user cannot work: an option, a file, a shape, a value.

    Its message is one sentence or two that name the argument, what was given and what to type
    instead. The `linreg` command prints the message without a traceback; from Python it is an
    ordinary `ValueError`.

    >>> raise InputError("batch_size: 0 was given; type a whole number above 0")
    Traceback (most recent call last):
    ...
    linreg_lightning.errors.InputError: batch_size: 0 was given; type a whole number above 0
    """

    def __init__(self, message: str) -> None:
        super().__init__(hide_secrets(message))


def hide_secrets(text: str) -> str:
    """Replace the secret in an address such as `s3://key:secret@bucket` by asterisks.

    >>> hide_secrets("there is no file s3://key:secret@bucket/a.csv")
    'there is no file s3://key:***@bucket/a.csv'
    """
    return _SECRET.sub(r"\1:***@", text)
