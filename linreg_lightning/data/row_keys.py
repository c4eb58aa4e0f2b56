"""The clusters that each row to train on is in, and the levels of the effects to absorb."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from lightning.pytorch.trainer.states import TrainerFn
from numpy.typing import NDArray

from linreg_lightning.algebra.folds import group_numbers
from linreg_lightning.algebra.keys import MAX_WAYS
from linreg_lightning.design_matrix.level_names import to_categories
from linreg_lightning.design_matrix.row_subset import RowBlock
from linreg_lightning.errors import InputError
from linreg_lightning.protocols import TakesKeys

Missing = NDArray[np.bool_]


def check_names(
    arguments: Mapping[str, Sequence[str]], roles: Mapping[str, Sequence[Any]], holds_out: bool
) -> None:
    """Refuse columns of clusters or of levels to absorb that are too many, or have another role.

    `arguments` are the columns by argument, and `roles` those of other arguments. Rows held out are
    refused where a fit predicts none.
    """
    if arguments["absorb"] and holds_out:
        raise InputError(
            "absorb: rows for validation or a test were given too, and a fit that absorbs effects "
            "predicts no rows; leave val_fraction, test_fraction, val_path and test_path out"
        )
    for argument, names in arguments.items():
        if names and any(roles["by"]):
            raise InputError(
                f"{argument}: by was given too, whose fits do not use it; leave one out"
            )
    for argument, names in arguments.items():
        if len(names) > MAX_WAYS:
            raise InputError(f"{argument}: {len(names)} columns were given; give one or two")
        if len({*names}) < len(names):
            raise InputError(f"{argument}: {names[0]!r} was given twice; give two columns, or one")
        for other, taken in roles.items():
            for name in names:
                if name in taken:
                    text = f"{argument}: {name!r} was given as {other} too; name another column"
                    raise InputError(text)


def set_model_keys(trainer: Any, clusters: Sequence[str], absorbed: Sequence[str]) -> None:
    """Tell the model that the Trainer fits the columns of keys; refuse those it does not use."""
    if trainer is None or trainer.state.fn != TrainerFn.FITTING:
        return
    model = trainer.lightning_module
    if isinstance(model, TakesKeys):
        model.set_keys(clusters, absorbed)
        return
    for argument, names in (("cluster", clusters), ("absorb", absorbed)):
        if names:
            raise InputError(
                f"{argument}: {' and '.join(map(repr, names))} was given, and "
                f"{type(model).__name__} does not use it; take the model LeastSquares, or leave "
                f"{argument} out"
            )


@dataclass(frozen=True)
class TableKeys:
    """Numbers the clusters and the levels to absorb of a table's rows.

    Args:
        columns: their columns, clusters first.
    """

    columns: tuple[str, ...]

    def __call__(self, block: RowBlock) -> tuple[NDArray[np.int64], dict[str, Missing]]:
        """Return a number for each row's value, (rows, columns), and which rows have none."""
        found = {name: column_keys(block.table.column(name)) for name in self.columns}
        numbers = np.stack([found[name][0] for name in self.columns], 1)
        return numbers, {name: missing for name, (_, missing) in found.items()}


def column_keys(column: pa.Array) -> tuple[NDArray[np.int64], Missing]:
    """Return a number for the value of each row, as `group_numbers`, and which rows have none."""
    number: NDArray[np.int64]
    dtype = column.type
    if pa.types.is_floating(dtype) or (pa.types.is_integer(dtype) and dtype != pa.uint64()):
        # As numbers, which is much faster where each row has a group of its own.
        missing = column.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
        values = column.fill_null(0).to_numpy(zero_copy_only=False)
        number = group_numbers(torch.from_numpy(values.copy())).numpy()
        return number, missing
    categories = to_categories(column)
    levels = categories.dictionary.to_pylist()
    of_level = group_numbers(torch.arange(len(levels)), levels).numpy()
    missing = categories.is_null().to_numpy(zero_copy_only=False)
    index = categories.indices.fill_null(len(levels)).to_numpy(zero_copy_only=False)
    number = np.append(of_level, 0)[index]
    return number, missing
