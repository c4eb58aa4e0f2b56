"""Rows of files of all formats and of data frames; in memory or streamed."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import Tensor

from linreg_lightning.algebra.folds import FoldRule
from linreg_lightning.batch import NumberedRows
from linreg_lightning.data.base import RegressionDataModule, Split
from linreg_lightning.data.loader import Loader
from linreg_lightning.data.row_folds import fold_rule, learn_groups, with_folds
from linreg_lightning.data.row_groups import check_task, take_groups
from linreg_lightning.data.row_keys import set_model_keys
from linreg_lightning.data.split_reader import SplitReader
from linreg_lightning.data.stream_loader import StreamLoader
from linreg_lightning.data.table_arguments import (
    FILES,
    as_list,
    check_arguments,
    outermost_arguments,
    plain_source,
)
from linreg_lightning.data.table_design import TableDesign
from linreg_lightning.data.table_readers import TableReaders
from linreg_lightning.data.table_sources import TableSources
from linreg_lightning.design_matrix.dates import Dates
from linreg_lightning.design_matrix.design import Design

_MAX_BYTES_IN_MEMORY = 2**28
_SHUFFLE_BUFFER_NUMBERS = 2**22  # a row of 3 features, target and weight has 5 numbers
if TYPE_CHECKING:
    Source = Any  # also a data frame of any library
else:
    Source = str | list[str]  # jsonargparse reads this type; the command takes no frames
_SPLITS: dict[str, list[Split]] = {"fit": ["train", "val"], "validate": ["val"]}
_SPLITS |= {"test": ["test"], "predict": ["predict"]}


class TabularData(RegressionDataModule):
    """Tables of any size: CSV (also compressed), JSON lines, Parquet, Arrow (Feather), frames.

    With the extra `formats` also workbooks of Excel, and files of Stata, SPSS and SAS.

    Numbers and booleans become float64; columns of text become indicators of their levels (see
    `Design`). Up to 256 MB of rows are held in memory; larger tables are read anew in each pass.

    The columns of x, with levels and means, are fitted to the rows to train on, and go into the
    checkpoint as `design`: later files may have their columns in another order. A subclass may give
    arguments other defaults, or fix them; its `__init__` takes `**kwargs` and passes them on,
    because a checkpoint gives it `design`.

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
        thousands: what separates thousands in a CSV file, one character or `space`; null: nothing.
        percent: whether 3% in a CSV file is read as 0.03.
        currency: whether $7.50 in a CSV file is read as 7.5, and (12) or 12- as -12.
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
            it; `mean` fills in the mean of all rows to train on (for an indicator, the fraction of
            them with that level); it leaves out a row without a target, weight or group, whose
            other values count in the means.
        unseen: `error` refuses a level that no row to train on has; `zero` sets all indicators of
            its column to 0, as those of the first level are, and a warning counts such rows; `add`
            gives it a coefficient where rows to train on are added to a `LeastSquares` fit from a
            checkpoint, and is `error` elsewhere.
        val_path: files for validation alone, instead of a fraction.
        test_path: the same for the test.
        stream: whether to read the rows anew in each pass; null: if they have more than 256 MB.
        delimiter: what separates the columns of a CSV file, one character or `tab`.
        decimal: the decimal point of a CSV file.
        sheet: the sheet of a workbook of Excel or OpenDocument; null if it has one.
        skip_rows: how many lines of a CSV file or sheet to skip above its header; or a list of
            lines, counted from 0: `[1]` is a line of units below a header in the first line.
        skip_footer: how many lines of these to skip at the end, such as totals.
        comment: the character that begins comments in a CSV file, such as `#`.
        na_values: what stands for a missing value, in a CSV file beside nothing, NA, N/A, NaN and
            NULL: one text or number, such as `?` or -999, or a list.
        max_levels: the most levels of a column of text; one with more is taken for an identifier.
        design: the columns of x that an earlier fit has found; comes with its checkpoint.
        dates: what a column of dates gives. `days`: the days since the first date among the rows to
            train on, y = b_0 + b days. `parts`: y = b_0 + b year + b_month + b_weekday + b_hour, by
            the clocks of the column's zone (UTC, if a CSV file has offsets), with indicators of
            those that the rows to train on have, without the first; for others see `unseen`. Times
            of day alone give hours, and dates alone none. `refuse` ends with a message that names
            both.
        date_format: how a CSV file writes dates that are not as in 2024-12-31, in the codes of
            strptime, such as `%d/%m/%Y`; or a list of these.
        group: the column whose groups of rows, such as patients, each stay in one fold of a
            cross-validation; no feature by default.
        cluster: the column, or two, whose clusters of rows, such as states, have errors that may be
            correlated, for `LeastSquares(errors="cluster")`; no feature by default.
        absorb: the column, or two, each of whose levels, such as users, has an effect of its own in
            a `LeastSquares` fit: the same coefficients as with an indicator for each level, without
            the memory of these.
        classes: whether the target is a category, of text, booleans or whole numbers. y then has
            the number of each row's class in `class_names`, int64 (rows,). These are the sorted
            classes of the rows to train on; a row of any other class is refused.
        formula: y as a sum of terms, such as `log(price) ~ area + C(city) * age + poly(age, 2)`, in
            place of target and features; needs the extra `formula`. Terms are those of formulaic;
            levels, centres, polynomials and knots are learned from the rows to train on. `- 1`
            leaves the constant out. Predictions are of log(price), unless `original_units` of
            `predict` asks for the median or mean of price.

    Raises:
        InputError: a file that is missing, damaged or written anew during a fit; a column that it
            does not have or that cannot be used; a value that is missing, not finite or unknown,
            with its column and row.
    """

    split_option: ClassVar[str] = "{split}_fraction 0.2, or 1 for all rows of the file"

    def __init__(
        self,
        path: Source,
        target: str | list[str] | None = None,
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
        unseen: Literal["error", "zero", "add"] = "error",
        val_path: Source | None = None,
        test_path: Source | None = None,
        stream: bool | None = None,
        delimiter: str = ",",
        decimal: str = ".",
        sheet: str | None = None,
        max_levels: int = 1000,
        design: dict[str, Any] | None = None,
        by: str | None = None,
        skip_rows: int | list[int] | None = None,
        skip_footer: int | None = None,
        comment: str | None = None,
        na_values: str | float | list[str | float] | None = None,
        dates: Dates = "refuse",
        date_format: str | list[str] | None = None,
        thousands: str | None = None,
        percent: bool = False,
        currency: bool = False,
        classes: bool = False,
        group: str | None = None,
        cluster: str | list[str] | None = None,
        absorb: str | list[str] | None = None,
        formula: str | None = None,
    ) -> None:
        arguments = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        super().__init__(batch_size, shuffle, seed)
        self._save_arguments()
        sources = {name: arguments[name] for name in FILES}
        arguments |= {name: plain_source(source) for name, source in sources.items()}
        check_arguments(arguments)
        self._sources = TableSources(sources, arguments)
        self._design = TableDesign(self._sources, arguments)
        self.target_names = self._design.target_names
        self.cluster_names, self.absorbed_names = as_list(cluster), as_list(absorb)
        self._unseen, self._by, self._stream = unseen, by, stream
        self._group = group
        reading = {"missing": missing, "unseen": unseen, "na_values": na_values}
        # Arguments that a subclass has fixed are not in hparams; the design keeps them.
        self._fixed = {k: v for k, v in reading.items() if k not in self.hparams}
        self._fold_rule: FoldRule | None = None  # of the rows to train on that are held
        self._row_groups: tuple[list[str], Tensor] | None = None
        self._kept: list[str] = []
        self._readers = TableReaders(self._sources, self._design, missing, unseen)
        self._name_columns()

    def feature_bits(self) -> list[int]:
        """The significant bits of the types in the files, one number for each column of x."""
        return self._design.feature_bits()

    def load(self, stage: str) -> None:
        """Fit the design, unless a checkpoint has brought it, and read rows into memory."""
        if self._by is not None:
            check_task(stage, self._model)
        set_model_keys(self.trainer, self.cluster_names, self.absorbed_names)
        rule = fold_rule(self.trainer, self._group is not None)
        if stage == "fit" and rule != self._fold_rule:
            self._fold_rule = rule
            self.splits.pop("train", None)  # whose rows have other folds, or none
            self._readers.forget("train")
        splits = [split for split in _SPLITS[stage] if self._sources.has(split)]
        for split in splits:
            self._design.roles(split).check(self._sources.subset(split).dataset)
        if stage == "fit" and self._unseen == "add" and self._design.may_extend(self._model):
            self._design.add_levels()
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
        design = self._design.fit(self._model)
        self._name_columns()
        design.options = self._fixed
        self.hparams["design"] = design.state()
        return design

    def _save_arguments(self) -> None:
        """Keep, as plain values, the arguments from which a checkpoint makes this object again."""
        arguments, frame = outermost_arguments(self)
        # In the outermost frame Lightning finds no data frames, which it would copy.
        self.save_hyperparameters(frame=frame)
        if not self.hparams:  # in the command they are set by now, and plain
            plain = {name: plain_source(value) for name, value in arguments.items()}
            self.save_hyperparameters(plain, frame=frame)

    @property
    def _model(self) -> Any:
        return None if self.trainer is None else self.trainer.lightning_module

    def _name_columns(self) -> None:
        design = self._design.design
        self.feature_names = [] if design is None else design.names
        self.class_names = [] if design is None else design.classes

    def has_rows(self, split: Split) -> bool:
        """Whether a split has any row; of a stream, whether the arguments name a source."""
        return super().has_rows(split) if split in self.splits else self._sources.has(split)

    def loader(
        self, split: Split, shuffle_seed: int | None = None, limit: int | float = 1.0
    ) -> Loader:
        """Return this process's batches of a split, from memory or from files."""
        if split in self.splits:
            return super().loader(split, shuffle_seed, limit)
        reader = self._readers.share(self._reader(split), split, *self.rank_and_world_size)
        batch_size = self.batch_size or reader.block_rows
        if split == "predict":
            size = min(batch_size, reader.block_rows)
            return StreamLoader(self._convert(partial(reader.prediction_blocks, self._kept, size)))
        rows, batches = reader.count_rows_and_batches(batch_size)
        numbers_in_row = len(self.feature_names) + len(self.target_names) + 1
        buffer = max(1, _SHUFFLE_BUFFER_NUMBERS // numbers_in_row)
        min_rows, rule = 1, None
        if split == "train":  # one row determines no slope
            min_rows, rule = 2, learn_groups(self.trainer, self._reader(split))
        blocks = self._convert(lambda: (with_folds(b, rule) for b in reader.blocks(min_rows)))
        name = f"{reader.subset.dataset.name}, {reader.subset.dataset.size} bytes"
        return StreamLoader(blocks, batch_size, shuffle_seed, buffer, rows, batches, limit, name)

    def teardown(self, stage: str) -> None:
        """Say what was missing or unseen in rows that several processes have streamed."""
        super().teardown(stage)
        self._readers.report()

    def keep(self, columns: Sequence[str]) -> None:
        """Put columns of the table into each batch to predict; raise InputError if it lacks one."""
        self._sources.table().check_columns("keep", columns)
        self._kept = list(columns)

    def numbered_rows(self, kept: Sequence[str] = ()) -> Iterator[NumberedRows]:
        """Yield the rows to train on in the order of the files, with their numbers from 1.

        Raises:
            InputError: as the class; the table lacks a column of `kept`.
        """
        self._sources.table().check_columns("keep", kept)
        return self._reader("train").numbered_blocks(kept)

    def _convert(self, blocks: Callable[[], Iterator[Any]]) -> Callable[[], Iterator[Any]]:
        return lambda: map(self.in_model_precision, blocks())

    def _reader(self, split: Split) -> SplitReader:
        return self._readers.reader(split, self.fit_design(), self._model, self._fold_rule)
