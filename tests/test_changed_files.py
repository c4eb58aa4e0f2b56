"""Rows that are read again from files that have changed since the fit."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import linreg_lightning as ll


def test_rows_whose_file_has_lost_a_column_are_refused(tmp_path: Path) -> None:
    path, rng = tmp_path / "t.csv", np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(20, 3)), columns=["x", "age", "y"])
    frame.to_csv(path, index=False)
    design = ll.TabularData(str(path), "y").fit_design().state()
    frame.drop(columns="age").to_csv(path, index=False)
    again = ll.TabularData(str(path), "y", design=design)
    with pytest.raises(ll.InputError, match="has no column 'age'"):
        next(again.numbered_rows())
