"""From rows to train, validation and test rows."""

from __future__ import annotations

import torch

from linreg_lightning.batch import Batch
from linreg_lightning.validation import check_fractions


def split(
    rows: Batch, val_fraction: float = 0.0, test_fraction: float = 0.0, seed: int = 0
) -> tuple[Batch, Batch, Batch]:
    """Split rows at random into disjoint train, validation and test rows.

    A row's split depends on the number of rows, the fractions and the seed alone. Within a split
    the rows keep their order.

    Args:
        rows: what to split.
        val_fraction: the fraction for validation, from 0 (none) to 1 (all); rounded to whole rows.
        test_fraction: the same for the test.
        seed: of a generator of its own.

    Raises:
        InputError: a fraction outside [0, 1], or two whose sum is above 1.

    >>> rows = Batch(torch.randn(10, 3), torch.randn(10, 1))
    >>> [part.rows for part in split(rows, val_fraction=0.2, test_fraction=0.1)]
    [7, 2, 1]
    """
    check_fractions(val_fraction, test_fraction)
    n_val, n_test = round(rows.rows * val_fraction), round(rows.rows * test_fraction)
    if n_val + n_test == 0:
        # Nothing is held out: the rows themselves, instead of a sorted permutation of them.
        none = rows.map(lambda tensor: tensor[:0])
        return rows, none, none
    n_train = max(rows.rows - n_val - n_test, 0)
    order = torch.randperm(rows.rows, generator=torch.Generator().manual_seed(seed))
    train, val, test = (
        part.sort().values.to(rows.x.device)
        for part in (order[:n_train], order[n_train : n_train + n_val], order[n_train + n_val :])
    )
    return (
        rows.map(lambda tensor: tensor[train]),
        rows.map(lambda tensor: tensor[val]),
        rows.map(lambda tensor: tensor[test]),
    )
