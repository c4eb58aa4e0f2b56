"""The one exception for what a user can put right."""


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
