"""Rows of a CSV file."""

from __future__ import annotations

import difflib
import re
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, NoReturn, final

import torch
from torch import Tensor

from linreg_lightning.batch import Batch
from linreg_lightning.data.base import RegressionDataModule, check_values
from linreg_lightning.data.split import check_fractions, split
from linreg_lightning.errors import InputError


@final
class TabularData(RegressionDataModule):
    """A CSV file with a header, read into memory as float64; every column used must be numbers.

    Args:
        path: the file.
        target: the column to predict, or a list of several.
        features: the columns to predict it from; null for all others.
        weight: the column that says how much each row counts; null means 1 for every row.
        val_fraction: the fraction of rows for validation, 0 for none.
        test_fraction: the fraction of rows for the test, 0 for none.
        batch_size: rows in a batch; null for all at once.
        shuffle: whether batches are cut from another order of the rows each epoch; `blocks`: of the
            batches, which is faster (BatchLoader says what it means).
        seed: of the split.

    Raises:
        InputError: a file that is missing, empty or no CSV; a column it does not have; a value that
            is no finite number, with its column and row.
    """

    split_option: ClassVar[str] = "{split}_fraction 0.2, or 1 for all rows of the file"

    def __init__(
        self,
        path: str,
        target: str | list[str],
        features: str | list[str] | None = None,
        weight: str | None = None,
        val_fraction: float = 0.0,
        test_fraction: float = 0.0,
        batch_size: int | None = None,
        shuffle: bool | Literal["blocks"] = True,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, shuffle, seed)
        check_fractions(val_fraction, test_fraction)
        self.save_hyperparameters()
        self._path = Path(path)
        self._targets = [target] if isinstance(target, str) else list(target)
        self._features = [features] if isinstance(features, str) else features
        self._weight = weight
        if not self._targets:
            raise InputError("target: no column was given; type the name of one")

    @cached_property
    def feature_names(self) -> list[str]:
        """The columns of x: those asked for, or all that are neither target nor weight."""
        taken = [*self._targets, *([] if self._weight is None else [self._weight])]
        if self._features is None:
            return [name for name in self._header if name not in taken]
        self._check_columns("features", self._features)
        both = [name for name in self._features if name in taken]
        if both:
            raise InputError(
                f"features: {both[0]!r} is a target or the weight already; leave it out"
            )
        return self._features

    @property
    def target_names(self) -> list[str]:
        """The columns of y."""
        return self._targets

    def load(self, stage: str) -> None:
        """Read the file and split its rows; to predict, all of them, and no target is needed."""
        if self._weight is not None and stage != "predict":
            self._check_columns("weight", [self._weight])
        if stage == "predict":
            rows = self._read(self.feature_names, [], None)
            self.splits["predict"] = rows
        elif "train" not in self.splits:
            self._check_columns("target", self._targets)
            rows = self._read(self.feature_names, self._targets, self._weight)
            fractions = self.hparams["val_fraction"], self.hparams["test_fraction"]
            parts = split(rows, *fractions, self.hparams["seed"])
            self.splits["train"], self.splits["val"], self.splits["test"] = parts
        # A checkpoint then asks later files for these columns, in this order.
        self.hparams["features"] = self.feature_names

    @cached_property
    def _header(self) -> list[str]:
        import pyarrow.csv

        try:
            options = pyarrow.csv.ReadOptions(use_threads=False)  # errors then name the row
            with pyarrow.csv.open_csv(self._path, read_options=options) as reader:
                names: list[str] = reader.schema.names
        except (OSError, ValueError) as error:
            self._refuse(error)
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            raise InputError(f"path: {self._path} has two columns named {repeated!r}; rename one")
        if "" in names:
            raise InputError(
                f"path: column {names.index('') + 1} of {self._path} has no name; name it or leave "
                "it out (pandas writes such a column of row numbers without index=False)"
            )
        return names

    def _check_columns(self, argument: str, names: list[str]) -> None:
        for name in names:
            if name not in self._header:
                close = difflib.get_close_matches(name, self._header, n=1)
                if len(self._header) == 1 and re.search(r"[;\t|]", self._header[0]):
                    meant = "it has one column, with ; or tabs in it: separate columns by commas"
                elif close:
                    meant = f"did you mean {close[0]!r}?"
                else:
                    meant = f"it has {', '.join(self._header)}"
                raise InputError(f"{argument}: {self._path} has no column {name!r}; {meant}")
        if len(set(names)) < len(names):
            raise InputError(f"{argument}: {names} names a column twice; name it once")

    def _read(self, features: list[str], targets: list[str], weight: str | None) -> Batch:
        import pyarrow.csv

        columns = [*features, *targets, *([] if weight is None else [weight])]

        def read(use_threads: bool) -> pyarrow.Table:
            return pyarrow.csv.read_csv(
                self._path,
                read_options=pyarrow.csv.ReadOptions(use_threads=use_threads),
                convert_options=pyarrow.csv.ConvertOptions(
                    include_columns=columns,
                    column_types=dict.fromkeys(columns, pyarrow.float64()),
                ),
            )

        try:
            table = read(use_threads=True)
        except (OSError, ValueError):
            try:
                table = read(use_threads=False)  # slower, but its message has the row's number
            except (OSError, ValueError) as error:
                self._refuse(error)
        if not table.num_rows:
            raise InputError(f"path: {self._path} has a header but no rows; name a file with rows")

        def tensor(names: list[str]) -> Tensor:
            values = torch.empty(table.num_rows, len(names), dtype=torch.float64)
            for j, name in enumerate(names):
                values[:, j] = torch.from_numpy(table[name].to_numpy(zero_copy_only=False).copy())
            return values

        rows = Batch(
            tensor(features),
            tensor(targets),
            None if weight is None else tensor([weight]).squeeze(1),
        )
        check_values(rows, features, targets)
        return rows

    def _refuse(self, error: Exception) -> NoReturn:
        """Say what is wrong with the file in the user's words."""
        if not self._path.exists():
            raise InputError(f"path: there is no file {self._path}; check the name") from None
        message = str(error)
        row = re.search(r"Row #(\d+)", message)
        where = f"row {int(row[1]) - 1}" if row else "a row"
        if "Empty CSV file" in message:
            reason = "is empty; it needs a header and rows"
        elif "\ufffd" in message or isinstance(error, UnicodeDecodeError):
            reason = f"is not UTF-8 text, in {where} or before; save it as UTF-8"
        elif text := re.search(r"column #(\d+): .*invalid value '(.*)'", message, re.DOTALL):
            name = self._header[int(text[1])]
            reason = (
                f"has {text[2]!r} in column {name!r}, {where}, which is no number; mend it, or "
                f"leave the column out by naming the others in features"
            )
        elif ragged := re.search(r"Expected (\d+) columns, got (\d+)", message):
            reason = (
                f"has {ragged[2]} values in {where} where its header has {ragged[1]}; mend the row"
            )
        else:
            reason = f"cannot be read as CSV ({message})"
        raise InputError(f"path: {self._path} {reason}") from None
