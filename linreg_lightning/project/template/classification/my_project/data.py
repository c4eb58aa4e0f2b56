"""The data: a table of fruits."""

from pathlib import Path
from typing import Any

import linreg_lightning as ll

EXAMPLE = str(Path(__file__).with_name("fruits.csv"))


class Fruits(ll.TabularData):
    """Rows of a table, with a class to predict; all other columns are features.

    Args:
        path: a file (CSV, Parquet, ...), a folder, or several of them.
        target: the column of classes.
        val_fraction: the part of the rows for validation.
        test_fraction: the part of the rows for the test.
        classes: whether the target is a class; a project that predicts numbers needs false.
        kwargs: other arguments of `TabularData`: `exclude`, `missing`, `batch_size`, `seed`, ...
    """

    def __init__(
        self,
        path: str | list[str] = EXAMPLE,
        target: str = "fruit",
        val_fraction: float = 0.2,
        test_fraction: float = 0.2,
        classes: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            path,
            target,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            classes=classes,
            **kwargs,
        )
