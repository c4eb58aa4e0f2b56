"""Rows of files: CSV, Parquet, Arrow; in memory or streamed."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Literal, final

from linreg_lightning.data.base import Loader, RegressionDataModule, Split
from linreg_lightning.data.split_reader import SplitReader
from linreg_lightning.data.stream_loader import InOrderLoader, StreamLoader
from linreg_lightning.design_matrix.column_roles import Columns
from linreg_lightning.design_matrix.design import Design
from linreg_lightning.design_matrix.encoder import Encoder
from linreg_lightning.design_matrix.fit_design import learn
from linreg_lightning.design_matrix.hash_split import TEST, TRAIN, VAL, HashSplit
from linreg_lightning.design_matrix.row_subset import RowSubset
from linreg_lightning.errors import InputError
from linreg_lightning.protocols import LinearModel
from linreg_lightning.tables.dataset import TableDataset

# Bytes of files, and of the rows made of them, up to which they are held in memory.
_IN_MEMORY = 2**28
NAMES = (
    "path",
    "target",
    "features",
    "weight",
    "exclude",
    "categorical",
    "val_path",
    "test_path",
)
"""The arguments that name files or columns."""
_PARTS: dict[Split, int] = {"train": TRAIN, "val": VAL, "test": TEST}
_USE: dict[Split, str] = {
    "train": "to train on",
    "val": "to validate on",
    "test": "to test on",
    "predict": "to predict",
}
_SPLITS: dict[str, list[Split]] = {
    "fit": ["train", "val"],
    "validate": ["val"],
    "test": ["test"],
    "predict": ["predict"],
}


@final
class TabularData(RegressionDataModule):
    """Tables in files of any size: CSV with a header (also compressed), Parquet, Arrow or Feather.

    Numbers and booleans are used as they are, as float64; columns of text become indicators of
    their levels, `city[Paris]`, the first level left out (see `Design`). Up to 256 MB the rows are
    held in memory; beyond, every pass reads them anew, in constant memory.

    What is learned from the rows to train on, the columns, levels and means, goes into the
    checkpoint as `design`: later files may have their columns in another order, and need no target
    to be predicted.

    Args:
        path: a file, a folder, a pattern such as `sales-*.parquet`, an address that pyarrow knows
            (s3://, gs://), or several of these, whose rows come one behind the other. Folders named
            `column=value` give their files that column.
        target: the column to predict, or a list of several.
        features: the columns to predict it from; null for all others.
        weight: the column that says how much each row counts; null means 1 for every row. A row of
            weight 0 is as good as absent: its values may be missing.
        val_fraction: the fraction of rows for validation, 0 for none. Rows are split by a hash of
            their number: the same row is always in the same split.
        test_fraction: the fraction of rows for the test, 0 for none.
        batch_size: rows in a batch; null for all at once, or, of rows that are streamed, about two
            million numbers.
        shuffle: whether batches are cut from another order of the rows each epoch; of rows that are
            streamed, as far as a buffer of four million numbers reaches. `blocks`: of rows in
            memory, of the batches, which is faster (BatchLoader says what it means).
        seed: of the split.
        exclude: columns that are no features.
        categorical: columns of categories that look like numbers, such as postal codes.
        missing: what to do where a value is missing: `error`; `drop` leaves the row out, or
            predicts nothing for it; `mean` fills in the mean of the rows to train on, for a level
            its share. Rows without a target or weight are never filled in.
        unseen: what to do with a level that the rows to train on did not have: `error`, or `zero`
            for all its column's indicators.
        val_path: files for validation alone, instead of a fraction.
        test_path: files for the test alone, instead of a fraction.
        stream: whether to read the rows anew in each pass; null: when they are more than 256 MB.
        delimiter: what separates the columns of a CSV file, one character or `tab`.
        decimal: the decimal point of a CSV file.
        max_levels: of a column of text, before it is taken for an identifier.
        design: what an earlier fit has learned; comes with its checkpoint.

    Raises:
        InputError: a file that is missing or damaged; a column it does not have or that cannot be
            used; a value that is missing, no finite number or unknown, with its column and row.
    """

    split_option: ClassVar[str] = "{split}_fraction 0.2, or 1 for all rows of the file"

    def __init__(
        self,
        path: str | list[str],
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
        val_path: str | list[str] | None = None,
        test_path: str | list[str] | None = None,
        stream: bool | None = None,
        delimiter: str = ",",
        decimal: str = ".",
        max_levels: int = 1000,
        design: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(batch_size, shuffle, seed)
        # A Path is no type that the command could tell from a list that is typed.
        path = str(path) if isinstance(path, Path) else path
        self.save_hyperparameters()
        self._split = HashSplit(val_fraction, test_fraction, seed).checked()
        self._targets = _list(target)
        self._kept: list[str] = []
        self._kept_rows: deque[Any] = deque()
        self._sources: dict[str, TableDataset] = {}
        self._readers: dict[Split, SplitReader] = {}
        try:
            self._design = None if design is None else Design(**design)
        except TypeError:
            raise InputError(
                f"design: {design} was given; it comes with a checkpoint: leave it out"
            ) from None
        if not self._targets:
            raise InputError("target: no column was given; type the name of one")
        for argument in NAMES:
            for name in _list(self.hparams[argument]):
                if not isinstance(name, str):
                    raise InputError(
                        f"{argument}: {name!r} was given, a number to YAML; name it otherwise"
                    )
        if weight in self._targets:
            raise InputError(
                f"weight: {weight!r} was given, which is a target; name another column"
            )
        for name, value, allowed in (
            ("missing", missing, ("error", "drop", "mean")),
            ("unseen", unseen, ("error", "zero")),
        ):
            if value not in allowed:
                raise InputError(f"{name}: {value!r} was given; type {', '.join(allowed)}")
        for split in ("val", "test"):
            if self.hparams[f"{split}_path"] and self.hparams[f"{split}_fraction"]:
                raise InputError(
                    f"{split}_path: it was given beside a {split}_fraction; leave one of them out"
                )

    # What the columns are.

    @property
    def feature_names(self) -> list[str]:
        """The columns of x. Text in the table is read for its levels, once."""
        return self.design.names

    @property
    def target_names(self) -> list[str]:
        """The columns of y."""
        return self._targets

    @property
    def design(self) -> Design:
        """How columns become x: the checkpoint's, or learned from the rows to train on."""
        if self._design is None:
            self._design = learn(
                self._selection("train"),
                self._columns,
                _list(self.hparams["categorical"]),
                missing=self.hparams["missing"],
                max_levels=self.hparams["max_levels"],
                constant=self._model_has_constant(self._columns),
            )
        return self._design

    @cached_property
    def _columns(self) -> Columns:
        weight = self.hparams["weight"]
        if self._design is not None:
            if (
                self.hparams["missing"] == "mean"
                and self._design.features
                and not self._design.means
            ):
                raise InputError(
                    "missing: mean was given, but the fit has learned no means; type error or "
                    "drop, or fit with --data.missing mean"
                )
            return Columns(self._design.features, list(self._design.levels), self._targets, weight)
        features = self.hparams["features"]
        return Columns.chosen(
            self._source("path"),
            None if features is None else _list(features),
            _list(self.hparams["exclude"]),
            _list(self.hparams["categorical"]),
            self._targets,
            weight,
        )

    def _model_has_constant(self, columns: Columns) -> bool:
        """Whether the model that is fitted was not told to do without."""
        model = None if self.trainer is None else self.trainer.lightning_module
        told = model.fit_intercept if isinstance(model, LinearModel) else None
        return told is not False or "intercept" in columns.features

    # What the Trainer calls.

    def load(self, stage: str) -> None:
        """Learn what has to be known, and read the rows that are to be held in memory."""
        splits = [split for split in _SPLITS[stage] if self._is_asked_for(split)]
        for split in splits:
            self._part_of(split).check(self._selection(split).source)
        self.hparams["design"] = self.design.state()
        for split in splits:
            if split not in self.splits and split != "predict":
                self._hold(split)

    def has_rows(self, split: Split) -> bool:
        """Whether a split has any; of rows that are streamed, whether it should."""
        return super().has_rows(split) if split in self.splits else self._is_asked_for(split)

    def loader(
        self, split: Split, shuffle_seed: int | None = None, limit: int | float = 1.0
    ) -> Loader:
        """This process's batches of a split, from memory or from files."""
        if split in self.splits:
            return super().loader(split, shuffle_seed, limit)
        rank, world_size = self.rank_of_world
        reader = self._reader(split).share(rank, world_size)
        if split == "predict":
            size = min(self.batch_size or reader.block, reader.block)
            return InOrderLoader(lambda: reader.pairs(self._kept, size), self._kept_rows)
        batch_size = self.batch_size or reader.block
        rows, steps = reader.rows_and_steps(batch_size)
        source = reader.selection.source
        return StreamLoader(
            partial(reader.blocks, least=2 if split == "train" else 1),
            batch_size,
            len(self.feature_names) + len(self._targets) + 1,
            shuffle_seed,
            rows,
            steps,
            limit,
            name=f"{source.name}, {source.size} bytes",
        )

    def keep(self, columns: Sequence[str]) -> None:
        """Ask for columns that `kept` hands out beside the rows to predict.

        Raises:
            InputError: the table has no such column.
        """
        self._source("path").check_columns("--keep", columns)
        self._kept = list(columns)

    def kept(self) -> Any:
        """Those columns of the next batch to be predicted, a pyarrow record batch."""
        return self._kept_rows.popleft()

    # Their parts.

    def _source(self, argument: str) -> TableDataset:
        if argument not in self._sources:
            paths, options = _list(self.hparams[argument]), ("delimiter", "decimal")
            self._sources[argument] = TableDataset(
                paths, argument, **{name: self.hparams[name] for name in options}
            )
        return self._sources[argument]

    def _selection(self, split: Split) -> RowSubset:
        """All rows of a split, of all processes."""
        if split == "predict":
            return RowSubset(self._source("path"))
        own = f"{split}_path"
        if self.hparams.get(own):
            return RowSubset(self._source(own))
        return RowSubset(self._source("path"), self._split, _PARTS[split])

    def _is_asked_for(self, split: Split) -> bool:
        if split in ("train", "predict"):
            return True
        return bool(self.hparams[f"{split}_path"] or self.hparams[f"{split}_fraction"])

    def _part_of(self, split: Split) -> Columns:
        """The columns that are needed of a split."""
        columns = self._columns
        return columns._replace(targets=[], weight=None) if split == "predict" else columns

    def _reader(self, split: Split) -> SplitReader:
        if split not in self._readers:
            columns = self._part_of(split)
            encoder = partial(
                Encoder,
                self.design,
                columns.targets,
                columns.weight,
                self.hparams["missing"],
                self.hparams["unseen"],
            )
            self._readers[split] = SplitReader(
                self._selection(split), columns, encoder, _USE[split]
            )
        return self._readers[split]

    def _hold(self, split: Split) -> None:
        """Read a split into memory, unless it is too large or not wanted there."""
        stream = self.hparams["stream"]
        most = _IN_MEMORY if stream is None else 0 if stream else float("inf")
        rows = self._reader(split).held(most)
        if rows is not None:
            self.splits[split] = rows


def _list(value: Any) -> list[Any]:
    """Names that were given one or several at a time, as they were given."""
    if isinstance(value, list | tuple):
        return list(value)
    return [] if value is None else [value]
