"""Computes x from the rows of a data frame, whose columns it finds by name."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, final

import pyarrow as pa
import torch
from torch import Tensor

from linreg_lightning.design_matrix.batch_builder import BatchBuilder, Missing, Unseen
from linreg_lightning.design_matrix.column_roles import ColumnRoles, check_dates
from linreg_lightning.design_matrix.design import Design
from linreg_lightning.design_matrix.row_counts import RowCounts
from linreg_lightning.design_matrix.row_subset import RowBlock
from linreg_lightning.errors import InputError
from linreg_lightning.frames import column_names
from linreg_lightning.matching import select_columns
from linreg_lightning.tables.csv_format import CsvFormat
from linreg_lightning.tables.csv_values import drop_markers
from linreg_lightning.tables.dataset import Chunk
from linreg_lightning.tables.table_file import dtype_kind

_BLOCK_ROWS = 2**16


@final
@dataclass(frozen=True)
class FrameReader:
    """Turns frames into x as `TabularData` turns files; the others are its arguments.

    >>> reader = FrameReader(Design(["area", "city"], {"city": ["Oslo", "Rome"]}))
    >>> reader.read(pa.table({"city": ["Rome", "Oslo"], "year": [1, 2], "area": [70, 90]}))[0]
    tensor([[70.,  1.],
            [90.,  0.]], dtype=torch.float64)
    """

    design: Design
    missing: Missing = "error"
    unseen: Unseen = "error"
    na_values: Any = None

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any], names: list[str]) -> FrameReader | None:
        """Return a reader from the arguments of a data module; `names` are the columns of x.

        None if the arguments have no `design` that computes these columns.
        """
        # In a data module from outside, `design` may mean anything.
        with suppress(TypeError, AttributeError, InputError):
            design = Design(**arguments["design"]) if "design" in arguments else None
            if design is not None and design.names == names:
                options = {"missing": "error", "unseen": "error", "na_values": None}
                options |= {k: arguments[k] for k in options if k in arguments}
                return cls(design, **options | design.options)
        return None

    def read(self, frame: Any, argument: str = "x") -> tuple[Tensor, RowCounts]:
        """Return x, (rows, columns of x) float64, and what was missing or unknown in the rows.

        A row that lacks a value has NaN. Other columns of the frame are ignored.

        Raises:
            InputError: the frame lacks a column, or has one of another kind than in the fit; a
                value is infinite; a value is missing or a level unknown, and the arguments refuse
                these.
        """
        features = self.design.features
        # A table without columns loses its number of rows.
        table = select_columns(frame, features or column_names(frame)[:1], argument)
        markers = CsvFormat(na_values=self.na_values)
        for name in features:
            self._check_kind(name, table.schema.field(name).type, argument)
            column = drop_markers(table[name], markers)
            table = table.set_column(table.column_names.index(name), name, column)
        dates = self.design.date_types()
        roles = ColumnRoles(features, list(self.design.levels), [], None, dates=dates)
        builder = BatchBuilder(self.design, roles, self.missing, self.unseen)
        parts = [torch.empty(0, len(self.design.names), dtype=torch.float64)]
        counts = RowCounts()
        for batch in table.to_batches(_BLOCK_ROWS):
            chunk = Chunk(batch, counts.rows, "", counts.rows)
            rows, count = builder.build(RowBlock(batch, chunk, None))
            parts.append(rows.x)
            counts += count
        return torch.cat(parts), counts

    def _check_kind(self, name: str, dtype: pa.DataType, argument: str) -> None:
        """Refuse a column of another kind than that of the fit."""
        if name in self.design.dates:
            fitted = self.design.date_types()[name]
            check_dates(f"{argument}: column {name!r}", fitted, dtype)
            return
        kind, levels = dtype_kind(dtype), self.design.levels.get(name)
        if levels is None:
            is_same, fitted = kind == "numbers", "numbers"
        else:
            is_same, fitted = _are_levels(levels, dtype), f"text, such as {levels[0]!r}"
        if not is_same:
            raise InputError(
                f"{argument}: column {name!r} holds values of type {dtype}, and the model was "
                f"fitted on {fitted}; give a column of the same kind"
            )


def _are_levels(levels: list[str], dtype: pa.DataType) -> bool:
    """Whether the levels of a category can come from a column of this type."""
    kind = dtype_kind(dtype)
    if kind in ("text", "other") or pa.types.is_null(dtype):
        return kind != "other"
    is_number = kind == "numbers" and not pa.types.is_boolean(dtype)
    try:
        pa.array(levels, pa.string()).cast(pa.float64() if is_number else dtype)
    except pa.ArrowException:
        return False
    return True
