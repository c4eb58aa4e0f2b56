"""Which fold of a cross-validation a row is in: the same for any batches and processes."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from linreg_lightning.errors import InputError

MAX_FOLDS = 255  # their numbers are kept in a byte
_LOW_BITS = 2**63 - 1


@dataclass(frozen=True)
class FoldRule:
    """How the rows of a cross-validation go to its folds.

    Args:
        folds: how many folds there are, from 2 to 255.
        seed: of the hash that decides.
        blocks: whether each fold is a block of consecutive rows, as for rows in the order of time.

    Raises:
        InputError: folds is not from 2 to 255.

    >>> FoldRule(folds=3, blocks=True).of_rows(0, 7, rows=7)
    tensor([0, 0, 0, 1, 1, 2, 2], dtype=torch.uint8)
    """

    folds: int
    seed: int = 0
    blocks: bool = False

    def __post_init__(self) -> None:
        check_folds(self.folds)

    def of_rows(self, start: int, stop: int, rows: int) -> Tensor:
        """Return the fold of each row from number `start` to before `stop`, of `rows` in all."""
        if self.blocks:
            return folds_of_blocks(start, stop, self.folds, rows)
        return folds_of_rows(start, stop, self.folds, self.seed)

    def of_groups(self, values: Tensor, labels: list[Any] | None = None) -> Tensor:
        """Return the fold of each row by its group; see `folds_of_groups`."""
        return folds_of_groups(values, self.folds, self.seed, labels)


def folds_of_rows(start: int, stop: int, folds: int, seed: int = 0) -> Tensor:
    """Return the fold of each row from number `start` to before `stop`, (rows,) uint8.

    Each `folds` consecutive rows, from row 0 on, are in different folds:
    fold = (row + h) mod folds, with h a hash of the seed and of row // folds. So the sizes of two
    folds differ by at most 1, and no fold is empty where there are as many rows as folds.

    Raises:
        InputError: folds is not from 2 to 255.

    >>> folds_of_rows(0, 12, folds=4)
    tensor([3, 0, 1, 2, 2, 3, 0, 1, 1, 2, 3, 0], dtype=torch.uint8)
    """
    check_folds(folds)
    first = start // folds
    turn = splitmix64(torch.arange(first, -(-stop // folds)) ^ _key(seed)) & _LOW_BITS
    fold = torch.arange(folds)
    after_turn = ((fold + fold[:, None]) % folds).to(torch.uint8)
    return after_turn[turn % folds].flatten()[start - first * folds :][: stop - start]


def folds_of_groups(
    values: Tensor, folds: int, seed: int = 0, labels: list[Any] | None = None
) -> Tensor:
    """Return the fold of each row, (rows,) uint8, by its group: hash(group, seed) mod folds.

    `values`, (rows,) int64 or float64, are the groups themselves or, where there are `labels`,
    index these: what `validation.group_values` returns. The fold depends on the value or the text
    of the label alone, not on the other groups. The number 3.0 is the same group as 3 and as the
    text "3", so that a file of any format gives the same folds; true is the same as 1. Folds may
    be empty where there are few groups.

    Raises:
        InputError: folds is not from 2 to 255.

    >>> folds_of_groups(torch.tensor([1, 0, 1]), folds=5, labels=["oslo", "rome"])
    tensor([0, 4, 0], dtype=torch.uint8)
    """
    check_folds(folds)
    if labels is not None:
        number = torch.tensor([*map(_label_number, labels)], dtype=torch.int64)[values]
    elif values.is_floating_point():
        whole = values.to(torch.int64)
        number = torch.where(whole == values, whole, values.double().view(torch.int64))
    else:
        number = values.to(torch.int64)
    return ((splitmix64(number ^ _key(seed)) & _LOW_BITS) % folds).to(torch.uint8)


def _label_number(label: Any) -> int:
    """Return the number that a label is or, where it is text, a hash of it, as an int64."""
    text = str(label)
    try:
        value = float(text)
    except ValueError:
        if text in ("true", "True", "false", "False"):
            return int(text.lower() == "true")
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little", signed=True)
    if text.lstrip("+-").isdigit() and len(text) < 22:  # float64 does not hold all of 64 bits
        return _signed(int(text) % 2**64)
    if value.is_integer() and -(2.0**63) <= value < 2.0**63:
        return int(value)
    return int.from_bytes(struct.pack("<d", value), "little", signed=True)


def folds_of_blocks(start: int, stop: int, folds: int, rows: int) -> Tensor:
    """Return the fold of each row from number `start` to before `stop` of `rows`, uint8.

    Each fold is a block of consecutive rows, as of `sklearn.model_selection.KFold`: the first
    rows mod folds of them have one row more than the others.

    Raises:
        InputError: folds is not from 2 to 255, or above the number of rows.

    >>> folds_of_blocks(0, 7, folds=3, rows=7)
    tensor([0, 0, 0, 1, 1, 2, 2], dtype=torch.uint8)
    """
    check_folds(folds, rows)
    size, longer = divmod(rows, folds)
    fold = torch.arange(folds)
    last = size * (fold + 1) + (fold + 1).clamp(max=longer)
    return torch.searchsorted(last, torch.arange(start, stop), right=True).to(torch.uint8)


def check_folds(folds: int, rows: int | None = None) -> None:
    """Refuse, with an InputError, a number of folds outside 2 .. 255 or above that of rows."""
    if not 2 <= folds <= MAX_FOLDS:
        raise InputError(f"folds: {folds} was given; type a whole number from 2 to {MAX_FOLDS}")
    if rows is not None and folds > rows:
        raise InputError(
            f"folds: {folds} was given for {rows} rows; type at most the number of rows"
        )


def splitmix64(number: Tensor) -> Tensor:
    """Hash each int64 by the generator splitmix64 (S. Vigna, 2015), in arithmetic modulo 2^64.

    >>> splitmix64(torch.tensor([0]))
    tensor([-2152535657050944081])
    """
    number = number + _signed(0x9E3779B97F4A7C15)
    number = (number ^ _shift_right(number, 30)) * _signed(0xBF58476D1CE4E5B9)
    number = (number ^ _shift_right(number, 27)) * _signed(0x94D049BB133111EB)
    return number ^ _shift_right(number, 31)


def _shift_right(number: Tensor, bits: int) -> Tensor:
    """Return the bits shifted, with zeros instead of the sign."""
    shifted: Tensor = (number >> bits) & (2 ** (64 - bits) - 1)
    return shifted


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number


def _key(seed: int) -> int:
    return int(splitmix64(torch.tensor(_signed(seed % 2**64))))
