"""Which fold of a cross-validation a row is in: the same for any batches and processes."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from linreg_lightning.errors import InputError
from linreg_lightning.validation import check_argument

MAX_FOLDS = 255  # their numbers are kept in a byte
MAX_KNOWN_GROUPS = 1024
"""Up to this many groups are dealt out to the folds in turn, more of them by their hashes."""
_LOW_BITS = 2**63 - 1


@dataclass(frozen=True)
class FoldRule:
    """How the rows of a cross-validation go to its folds.

    Args:
        folds: how many folds there are, from 2 to 255.
        seed: of the hash that decides the fold.
        blocks: whether each fold is a block of consecutive rows, as for rows in the order of time.
        groups: the sorted hashes of the known groups. The fold of a known group is its place here
            mod folds, and that of any other group is its hash mod folds. None: no group has been
            seen yet.

    Raises:
        InputError: folds is not from 2 to 255, or seed no whole number.

    >>> FoldRule(folds=3, blocks=True).of_rows(0, 7, rows=7)
    tensor([0, 0, 0, 1, 1, 2, 2], dtype=torch.uint8)
    """

    folds: int
    seed: int = 0
    blocks: bool = False
    groups: tuple[int, ...] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_folds(self.folds)
        _key(self.seed)

    def of_rows(self, start: int, stop: int, rows: int) -> Tensor:
        """Return the fold of each row from number `start` to before `stop`, of `rows` in all."""
        if self.blocks:
            return folds_of_blocks(start, stop, self.folds, rows)
        return folds_of_rows(start, stop, self.folds, self.seed)

    def with_groups(self, numbers: Tensor) -> FoldRule:
        """Return the rule that knows the groups with these numbers, unless they are many."""
        hashes = self._hash(numbers.unique()).sort().values
        known = hashes.tolist() if len(hashes) <= MAX_KNOWN_GROUPS else []
        return replace(self, groups=tuple(known))

    def of_groups(self, numbers: Tensor) -> Tensor:
        """Return the fold of each row, (rows,) uint8, by the number of its group, int64."""
        fold = hashes = self._hash(numbers)
        if self.groups:
            known = torch.tensor(self.groups, device=numbers.device)
            place = torch.searchsorted(known, hashes)
            is_known = known[place.clamp(max=len(known) - 1)] == hashes
            fold = torch.where(is_known, place, hashes)
        return (fold % self.folds).to(torch.uint8)

    def _hash(self, numbers: Tensor) -> Tensor:
        return splitmix64(numbers ^ _key(self.seed)) & _LOW_BITS


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
    values: Tensor,
    folds: int,
    seed: int = 0,
    labels: list[Any] | None = None,
    weight: Tensor | None = None,
    argument: str = "folds",
) -> Tensor:
    """Return the fold of each row, (rows,) uint8, by its group.

    Up to 1,024 groups are dealt out in turn, in the order of hash(group, seed): the numbers of
    groups in two folds differ by at most 1. Of more groups, each goes to the fold
    hash(group, seed) mod folds. `group_numbers` says what `values` and `labels` are; rows of weight
    0 do not count, and `argument` names the number of folds in messages.

    Raises:
        InputError: folds is not from 2 to 255, or above the number of groups.

    >>> folds_of_groups(torch.tensor([1, 0, 1]), folds=2, labels=["oslo", "rome"])
    tensor([1, 0, 1], dtype=torch.uint8)
    """
    numbers = group_numbers(values, labels)
    counted = numbers if weight is None else numbers[(weight != 0).to(numbers.device)]
    check_groups(len(counted.unique()), folds, argument)
    return FoldRule(folds, seed).with_groups(counted).of_groups(numbers)


def group_numbers(values: Tensor, labels: list[Any] | None = None) -> Tensor:
    """Return a number for the group of each row, (rows,) int64.

    `values`, (rows,) int64 or float64, are the groups themselves or, where there are `labels`,
    index these: what `validation.group_values` returns. The number depends on the value or the text
    of the label alone. 3.0 is the same group as 3 and as the text "3", so that a file of any format
    gives the same folds; true is the same as 1.

    >>> group_numbers(torch.tensor([1, 0, 1]), labels=["3.0", "true"])
    tensor([1, 3, 1])
    """
    if labels is not None:
        return torch.tensor([*map(_label_number, labels)], dtype=torch.int64)[values]
    whole = values.to(torch.int64)
    if not values.is_floating_point():
        return whole
    return torch.where(whole == values, whole, values.double().view(torch.int64))


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
    """Refuse, with an InputError, folds but a whole number from 2 to 255, at most that of rows."""
    whole = isinstance(folds, Integral) and not isinstance(folds, bool)
    if not (whole and 2 <= folds <= MAX_FOLDS):
        raise InputError(f"folds: {folds} was given; type a whole number from 2 to {MAX_FOLDS}")
    if rows is not None and folds > rows:
        raise InputError(
            f"folds: {folds} was given for {rows} rows; type at most the number of rows"
        )


def check_groups(groups: int, folds: int, argument: str = "folds", where: str = "") -> None:
    """Refuse, with an InputError, fewer groups than folds; `where` says where they are."""
    if 0 < groups < folds:  # 0 groups: no row counts, which others refuse
        number = f"{groups} groups" if groups != 1 else "1 group"
        remedy = f"type at most {groups}" if groups > 1 else "give rows of at least 2 groups"
        raise InputError(f"{argument}: {folds} was given for {number}{where}; {remedy}")


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
    whole = isinstance(seed, Integral) and not isinstance(seed, bool)
    check_argument("fold_seed", seed, whole, "a whole number")
    return int(splitmix64(torch.tensor(_signed(int(seed) % 2**64))))
