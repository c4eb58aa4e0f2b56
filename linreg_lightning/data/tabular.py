"""Rows of files, CSV, Parquet or Arrow, and of data frames; in memory or streamed."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from torch import Tensor

from linreg_lightning.batch import significant_bits
from linreg_lightning.data.base import RegressionDataModule, Split
from linreg_lightning.data.loader import Loader
from linreg_lightning.data.row_groups import check_task, take_groups
from linreg_lightning.data.split_reader import SplitReader
from linreg_lightning.data.stream_loader import StreamLoader
from linreg_lightning.data.table_arguments import FILES, as_list, check_arguments, plain_source
from linreg_lightning.design_matrix.batch_builder import BatchBuilder
from linreg_lightning.design_matrix.column_roles import ColumnRoles
from linreg_lightning.design_matrix.dates import Dates
from linreg_lightning.design_matrix.design import Design
from linreg_lightning.design_matrix.fit_design import fit_design
from linreg_lightning.design_matrix.row_subset import TEST, TRAIN, VAL, HashSplit, RowSubset
from linreg_lightning.errors import InputError
from linreg_lightning.frames import is_description, is_frame
from linreg_lightning.protocols import LinearModel
from linreg_lightning.tables.csv_format import CsvFormat
from linreg_lightning.tables.dataset import TableDataset

_MAX_BYTES_IN_MEMORY = 2**28
_SHUFFLE_BUFFER_NUMBERS = 2**22  # a row of 3 features, target and weight has 5 numbers
if TYPE_CHECKING:
    Source = Any  # also a data frame of any library
else:
    Source = str | list[str]  # jsonargparse reads this type; the command takes no frames
_PARTS: dict[Split, int] = {"train": TRAIN, "val": VAL, "test": TEST}
_PURPOSES = {"train": "to train on", "val": "to validate on", "test": "to test on"}
_SPLITS: dict[str, list[Split]] = {
    "fit": ["train", "val"],
    "validate": ["val"],
    "test": ["test"],
    "predict": ["predict"],
}


@final
class TabularData(RegressionDataModule):
    """Tables of any size: CSV with a header (also compressed), Parquet, Arrow (Feather), frames.

    Numbers and booleans become float64; columns of text become indicators of their levels (see
    `Design`). Up to 256 MB of rows are held in memory; of more, each pass reads all anew.

    The columns of x, with levels and means, are fitted to the rows to train on, and go into the
    checkpoint as `design`: later files may have their columns in another order.

    Args:
        path: a file, a folder, a pattern such as `sales-*.parquet`, an address that pyarrow knows
            (s3://, gs://), or a list of these. Folders named `column=value` give that column. From
            Python also a data frame of pandas, polars, pyarrow, DuckDB or another library.
        target: the column to predict, or a list of several.
        features: the columns to predict it from; null for all others.
        weight: the column that says how much each row counts; null means 1 for every row. A row of
            weight 0 does not count: its values may be missing.
        by: the column that says to which group a row belongs: `LeastSquares` then fits one
            regression for each group, with all rows, which must fit into memory.
        val_fraction: the fraction of rows for validation, split by a hash of their number.
        test_fraction: the same for the test.
        batch_size: rows in a batch; null takes all rows or, in a stream, about two million numbers.
        shuffle: whether the rows come in another order in each epoch; a stream is shuffled in a
            buffer of four million numbers. `blocks` shuffles whole batches only, which is faster,
            for rows in memory (see `BatchLoader`).
        seed: the seed of the hash that splits the rows; torch's own seed decides their order.
        exclude: columns that the model does not use.
        categorical: columns of categories that look like numbers, such as postal codes.
        missing: `error` refuses a missing value; `drop` leaves the row out, or predicts nothing for
            it; `mean` fills in the mean of the rows to train on (for an indicator, the fraction of
            them with that level), but never a target or weight.
        unseen: `error` refuses a level that no row to train on has; `zero` sets all indicators of
            its column to 0.
        val_path: files for validation alone, instead of a fraction.
        test_path: the same for the test.
        stream: whether to read the rows anew in each pass; null: if they have more than 256 MB.
        delimiter: what separates the columns of a CSV file, one character or `tab`.
        decimal: the decimal point of a CSV file.
        max_levels: the most levels of a column of text; one with more is taken for an identifier.
        design: the columns of x that an earlier fit has found; comes with its checkpoint.
        dates: what a column of dates gives. `days`: the days since the first date among the rows to
            train on, y = b_0 + b days. `parts`: y = b_0 + b year + b_month + b_weekday + b_hour, by
            the clocks of the column's zone (UTC, if a CSV file has offsets), with indicators of
            those that the rows to train on have, without the first; for others see `unseen`. Times
            of day alone give hours, and dates alone none. `refuse` asks which.
        date_format: how a CSV file writes dates that are not as in 2024-12-31, in the codes of
            strptime, such as `%d/%m/%Y`; or a list of these.

    Raises:
        InputError: a file that is missing, damaged or written anew during a fit; a column that it
            does not have or that cannot be used; a value that is missing, not finite or unknown,
            with its column and row.
    """

    split_option: ClassVar[str] = "{split}_fraction 0.2, or 1 for all rows of the file"

    def __init__(
        self,
        path: Source,
        target: str | list[str],
        features: str | list[str] | None = None,
        weight: str | None = None,
        val_fraction: float = 0.0,
        test_fraction: float = 0.0,
        batch_size: int | None = None,
        shuffle: bool | Literal["blocks"] = True,
        seed: int = 0,
        exclude: str | list[str] | None = None,
        categorical: str | list[str] | None = None,
        missing: Literal["error", "drop", "mean"] = "error",
        unseen: Literal["error", "zero"] = "error",
        val_path: Source | None = None,
        test_path: Source | None = None,
        stream: bool | None = None,
        delimiter: str = ",",
        decimal: str = ".",
        max_levels: int = 1000,
        design: dict[str, Any] | None = None,
        by: str | None = None,
        dates: Dates = "refuse",
        date_format: str | list[str] | None = None,
    ) -> None:
        super().__init__(batch_size, shuffle, seed)
        sources = path, val_path, test_path
        self._sources = {name: as_list(value) for name, value in zip(FILES, sources, strict=True)}
        path, val_path, test_path = map(plain_source, sources)
        self.save_hyperparameters()
        check_arguments(self.hparams)
        self._fractions = {"val": val_fraction, "test": test_fraction}
        self.target_names = as_list(target)
        self._features = None if features is None else as_list(features)
        self._exclude, self._categorical = as_list(exclude), as_list(categorical)
        self._weight, self._missing, self._unseen, self._by = weight, missing, unseen, by
        self._row_groups: tuple[list[str], Tensor] | None = None
        self._stream, self._max_levels, self._dates = stream, max_levels, dates
        self._csv_format = CsvFormat(delimiter, decimal, date_format=tuple(as_list(date_format)))
        self._kept: list[str] = []
        self._datasets: dict[str, TableDataset] = {}
        self._readers: dict[Split, SplitReader] = {}
        try:
            self._design = None if design is None else Design(**design)
        except TypeError:
            text = f"design: {design} was given; it comes with a checkpoint: leave it out"
            raise InputError(text) from None
        self.feature_names = [] if self._design is None else self._design.names

    def feature_bits(self) -> list[int]:
        """The significant bits of the types in the files, one number for each column of x."""
        schema = self._dataset("path").schema
        sources = [] if self._design is None else self._design.sources
        return [significant_bits(schema.field(source).type) for source in sources]

    def load(self, stage: str) -> None:
        """Fit the design, unless a checkpoint has brought it, and read rows into memory."""
        if self._by is not None:
            check_task(stage, None if self.trainer is None else self.trainer.lightning_module)
        splits = [split for split in _SPLITS[stage] if self._has_source(split)]
        for split in splits:
            self._roles(split).check(self._subset(split).dataset)
        self.fit_design()
        max_bytes = {None: _MAX_BYTES_IN_MEMORY, True: 0, False: math.inf}[self._stream]
        for split in splits:
            if split not in self.splits and split != "predict":
                rows = self._reader(split).read_all(max_bytes)
                if self._by is not None:
                    names = self._reader(split).builder.groups
                    rows, self._row_groups = take_groups(rows, names)
                if rows is not None:
                    self.splits[split] = rows

    def row_groups(self) -> tuple[list[str], Tensor] | None:
        """The names of the groups, sorted, and the number of each row's; None without `by`."""
        return self._row_groups

    def fit_design(self) -> Design:
        """Return the checkpoint's design, or fit one to the rows to train on, once."""
        if self._design is None:
            model = None if self.trainer is None else self.trainer.lightning_module
            constant = not isinstance(model, LinearModel) or model.fit_intercept is not False
            roles = self._roles("train")
            constant = constant or "intercept" in roles.features
            arguments = self._categorical, self._missing, self._max_levels, constant, self._dates
            self._design = fit_design(self._subset("train"), roles, *arguments)
            self.feature_names = self._design.names
        self.hparams["design"] = self._design.state()
        return self._design

    def has_rows(self, split: Split) -> bool:
        """Whether a split has any row; of a stream, whether the arguments name a source."""
        return super().has_rows(split) if split in self.splits else self._has_source(split)

    def loader(
        self, split: Split, shuffle_seed: int | None = None, limit: int | float = 1.0
    ) -> Loader:
        """Return this process's batches of a split, from memory or from files."""
        if split in self.splits:
            return super().loader(split, shuffle_seed, limit)
        reader = self._reader(split).share(*self.rank_and_world_size)
        batch_size = self.batch_size or reader.block_rows
        if split == "predict":
            size = min(batch_size, reader.block_rows)
            return StreamLoader(self._convert(partial(reader.prediction_blocks, self._kept, size)))
        rows, batches = reader.count_rows_and_batches(batch_size)
        numbers_in_row = len(self.feature_names) + len(self.target_names) + 1
        buffer = max(1, _SHUFFLE_BUFFER_NUMBERS // numbers_in_row)
        min_rows = 2 if split == "train" else 1  # a fit needs 2
        blocks = self._convert(partial(reader.blocks, min_rows=min_rows))
        name = f"{reader.subset.dataset.name}, {reader.subset.dataset.size} bytes"
        return StreamLoader(blocks, batch_size, shuffle_seed, buffer, rows, batches, limit, name)

    def keep(self, columns: Sequence[str]) -> None:
        """Put columns of the table into each batch to predict; raise InputError if it lacks one."""
        self._dataset("path").check_columns("keep", columns)
        self._kept = list(columns)

    def _convert(self, blocks: Callable[[], Iterator[Any]]) -> Callable[[], Iterator[Any]]:
        return lambda: map(self.in_model_precision, blocks())

    def _has_source(self, split: Split) -> bool:
        """Whether the arguments name a fraction or files for a split."""
        fraction = self._fractions.get(split, 1.0)
        return bool(fraction or self._sources[f"{split}_path"])

    def _dataset(self, argument: str) -> TableDataset:
        if argument not in self._datasets:
            sources = [
                each if is_frame(each) else plain_source(each) for each in self._sources[argument]
            ]
            for lost in filter(is_description, sources):
                text = f"{argument}: the checkpoint does not keep the rows of its {lost}"
                raise InputError(f"{text}; give a frame, or the name of a file, as {argument}")
            self._datasets[argument] = TableDataset(sources, argument, self._csv_format)
        return self._datasets[argument]

    def _subset(self, split: Split) -> RowSubset:
        if split == "predict":
            return RowSubset(self._dataset("path"))
        if self._sources.get(f"{split}_path"):
            return RowSubset(self._dataset(f"{split}_path"))
        by_hash = HashSplit(self._fractions["val"], self._fractions["test"], self.seed)
        return RowSubset(self._dataset("path"), by_hash, _PARTS[split])

    def _roles(self, split: Split) -> ColumnRoles:
        if self._design is None:
            names = self._features, self._exclude, self._categorical, self.target_names
            others = self._weight, self._by, self._dates
            roles = ColumnRoles.assign(self._dataset("path"), *names, *others)
        else:
            features, levels = self._design.features, list(self._design.levels)
            if self._missing == "mean":
                self._design.check_means()
            dates = self._design.date_types()
            roles = ColumnRoles(features, levels, self.target_names, self._weight, self._by, dates)
        return roles._replace(targets=[], weight=None, by=None) if split == "predict" else roles

    def _reader(self, split: Split) -> SplitReader:
        if split not in self._readers:
            design, roles = self.fit_design(), self._roles(split)
            builder = BatchBuilder(design, roles, self._missing, self._unseen)
            purpose = _PURPOSES.get(split, "to predict")
            self._readers[split] = SplitReader(self._subset(split), builder, purpose)
        return self._readers[split]
