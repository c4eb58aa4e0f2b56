"""Numbers for the clusters of rows, and for the levels that a fit absorbs."""

from typing import Any

import torch
from torch import Tensor

from linreg_lightning.algebra.folds import group_numbers
from linreg_lightning.errors import InputError
from linreg_lightning.matching import named_columns
from linreg_lightning.validation import group_values, own_names

MAX_WAYS = 2


def key_numbers(
    argument: str, values: Any, rows: int, *others: Any
) -> tuple[Tensor, tuple[str, ...]]:
    """Return a number for each row in each column of keys, (rows, ways) int64, and their names.

    `values` is one column, (rows,): numbers, text, booleans or dates; or a list of one or two
    columns, a data frame of them, or an array, (rows, ways). Equal values have equal numbers, and
    other values other ones, but for two texts whose hashes of 64 bits are equal: among 10^6 texts
    the probability of such a pair is 3e-8. Columns without a name are named after the argument.

    Raises:
        InputError: more than two columns; a column of another length; a missing value.

    >>> key_numbers("cluster", [["Oslo", "Rome", "Oslo"], [2001, 2001, 2002]], rows=3)[1]
    ('cluster 1', 'cluster 2')
    >>> key_numbers("cluster", [7, 8, 7], rows=3)
    (tensor([[7],
            [8],
            [7]]), ('cluster',))
    """
    columns = named_columns(values)
    if not 0 < len(columns) <= MAX_WAYS:
        raise InputError(f"{argument}: {len(columns)} columns were given; give one or two")
    numbers, names = [], []
    for place, (name, column) in enumerate(columns, 1):
        numbers.append(group_numbers(*group_values(argument, column, rows, *others)))
        numbered = f"{argument} {place}" if len(columns) > 1 else argument
        names.append(name or (own_names(column) or [numbered])[0])
    return torch.stack(numbers, 1), tuple(names)
