"""The one checker of values: fractions, weights, numbers that are not finite."""

from __future__ import annotations

from linreg_lightning.errors import InputError


def check_fractions(val_fraction: float, test_fraction: float) -> None:
    """Refuse fractions that cannot be, before any row is read.

    Raises:
        InputError: a fraction outside [0, 1], or two whose sum is above 1.
    """
    for name, value in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if not 0 <= value <= 1:
            raise InputError(f"{name}: {value} was given; type a number from 0 (none) to 1 (all)")
    if val_fraction + test_fraction > 1:
        raise InputError(
            f"val_fraction and test_fraction: {val_fraction} and {test_fraction} were given; "
            "together they must not be above 1"
        )


def check_argument(name: str, value: object, valid: bool, expected: str) -> None:
    """Refuse an argument outside its range.

    Args:
        name: of the argument.
        value: what was given.
        valid: whether the value is in the range.
        expected: the range in words: what to type instead.

    Raises:
        InputError: `valid` is false.
    """
    if not valid:
        raise InputError(f"{name}: {value} was given; type {expected}")
