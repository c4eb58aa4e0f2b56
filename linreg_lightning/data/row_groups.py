"""Groups of rows, each of which gets a fit of its own: checks, and the group of each row."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from linreg_lightning.batch import Batch, FoldBatch
from linreg_lightning.design_matrix.level_counts import sort_levels
from linreg_lightning.errors import InputError
from linreg_lightning.protocols import GroupTable


def check_by(by: str, roles: Mapping[str, Collection[Any]], holds_out: bool) -> None:
    """Refuse a column of groups that has another role, and rows held out of the fits."""
    for argument, names in roles.items():
        if by in names:
            raise InputError(f"by: {by!r} was given as {argument} too; name another column")
    if holds_out:
        raise InputError(
            "by: rows for validation or a test were given too, and the fits of groups predict no "
            "rows; leave val_fraction, test_fraction, val_path and test_path out"
        )


def check_task(stage: str, model: Any) -> None:
    """Refuse anything but a fit, and a model that does not fit groups."""
    if stage != TrainerFn.FITTING:
        task = TrainerFn(stage).value
        raise InputError(
            f"by: the fits of groups can be read, but {task} needs a single fit; take the "
            "coefficients from groups.csv, or fit the rows of one group, without by"
        )
    if model is not None and not isinstance(model, GroupTable):
        raise InputError(
            f"by: {type(model).__name__} fits one regression to all rows, not one to each group; "
            "take the model LeastSquares, or leave by out"
        )


def take_groups(
    rows: Batch | FoldBatch | None, names: Iterable[str]
) -> tuple[Batch | FoldBatch, tuple[list[str], Tensor]]:
    """Return the rows without the last column of y, and the sorted names and the group of each row.

    That column has the place of each row's group in `names`. Rows that are None, because they do
    not fit into memory, are refused.
    """
    if rows is None:
        raise InputError(
            "by: groups are fitted from rows in memory, and these have over 256 MB, or stream is "
            "true; if they fit, set stream to false"
        )
    given = list(names)
    order = sort_levels(given)
    place = {name: k for k, name in enumerate(order)}
    places = torch.tensor([place[name] for name in given], dtype=torch.int64)
    return rows._replace(y=rows.y[:, :-1]), (order, places[rows.y[:, -1].long()])
