"""The data: a table of houses."""

from pathlib import Path
from typing import Any

import linreg_lightning as ll

EXAMPLE = str(Path(__file__).with_name("houses.csv"))


class Houses(ll.TabularData):
    """Rows of a table, with a number to predict; all other columns are features.

    Args:
        path: a file (CSV, Parquet, ...), a folder, or several of them.
        target: the column to predict, or a list of several.
        val_fraction: the part of the rows for validation.
        test_fraction: the part of the rows for the test.
        kwargs: other arguments of `TabularData`: `exclude`, `missing`, `batch_size`, `seed`, ...
    """

    def __init__(
        self,
        path: str | list[str] = EXAMPLE,
        target: str | list[str] = "price",
        val_fraction: float = 0.2,
        test_fraction: float = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            path, target, val_fraction=val_fraction, test_fraction=test_fraction, **kwargs
        )
