"""Readers of the splits of a table, made when they are needed."""

from dataclasses import replace
from typing import Any, final

from linreg_lightning.algebra.folds import FoldRule
from linreg_lightning.data.base import Split
from linreg_lightning.data.row_folds import add_folds
from linreg_lightning.data.split_reader import SplitReader
from linreg_lightning.data.table_design import TableDesign
from linreg_lightning.data.table_sources import TableSources
from linreg_lightning.design_matrix.batch_builder import BatchBuilder, Missing, Unseen
from linreg_lightning.design_matrix.design import Design

_ADD_HINT = ", or set unseen to add to give each new level a coefficient"
_ANEW_HINT = ", leave such rows out, or fit all rows anew"
_PURPOSES = {"train": "to train on", "val": "to validate on", "test": "to test on"}


@final
class TableReaders:
    """A `SplitReader` for each split, and another for this process's share of its rows.

    Args:
        sources: the tables.
        design: the design of the table, and the roles of its columns.
        missing, unseen: those of `TabularData`.
    """

    def __init__(
        self, sources: TableSources, design: TableDesign, missing: Missing, unseen: Unseen
    ) -> None:
        self._sources, self._design = sources, design
        self._missing, self._unseen = missing, unseen
        self._readers: dict[Split, SplitReader] = {}
        self._shares: dict[Split, SplitReader] = {}

    def reader(
        self, split: Split, design: Design, model: Any, rule: FoldRule | None
    ) -> SplitReader:
        """Return the reader of all rows of a split; `rule` gives rows to train on their folds."""
        if split not in self._readers:
            roles = self._design.roles(split)
            subset = self._sources.subset(split)
            builder = BatchBuilder(design, roles, self._missing, self._unseen)
            if split == "train" and self._design.has_earlier_rows:
                hint = _ADD_HINT if self._design.may_extend(model) else _ANEW_HINT
                builder = replace(builder, unseen_hint=hint, date_hint=_ANEW_HINT)
            if split == "train":
                builder = add_folds(builder, subset.dataset, rule)
            purpose = _PURPOSES.get(split, "to predict")
            self._readers[split] = SplitReader(subset, builder, purpose)
        return self._readers[split]

    def share(self, reader: SplitReader, split: Split, rank: int, processes: int) -> SplitReader:
        """Return the reader of the rows of a split that one process reads."""
        share = self._shares.get(split)
        if share is None or (share.rank, share.world_size) != (rank, processes):
            share = self._shares[split] = reader.share(rank, processes)
        return share

    def report(self) -> None:
        """Say what was missing or unseen in rows that several processes have streamed."""
        for reader in self._shares.values():
            reader.report()

    def forget(self, split: Split) -> None:
        """Make the readers of a split anew when they are needed next."""
        self._readers.pop(split, None)
        self._shares.pop(split, None)
