"""The columns of a CSV file whose dates are written in a format that the user has given."""

from collections.abc import Callable, Mapping, Sequence
from typing import final

import pyarrow as pa
from pyarrow import types as pa_types

from linreg_lightning.errors import InputError
from linreg_lightning.tables.date_text import DateTextError, find_formats, parse_dates

Types = Mapping[str, pa.DataType]


@final
class CsvDates:
    """Finds the columns that formats of strptime read, and parses them; `error` names the file."""

    def __init__(self, formats: Sequence[str], error: Callable[[str], InputError]) -> None:
        self._formats, self._error = formats, error
        self._schema: pa.Schema = pa.schema([])
        self._format_of_column: dict[str, str] = {}

    def find(self, schema: pa.Schema, parse: Callable[[Types], pa.Table]) -> pa.Schema:
        """Return the schema with timestamps for columns whose first rows are all dates.

        `parse` returns the first rows of some columns, with the types that it is given.

        Raises:
            InputError: no column holds dates, or two formats read other dates from a column.
        """
        self._schema = schema
        texts = {field.name: pa.string() for field in schema if _may_be_text(field.type)}
        if not self._formats or not texts:
            return schema
        table, looks_dated = parse(texts), False
        for name in texts:
            column, dates = table[name].combine_chunks(), {}
            for date_format in self._formats if column.null_count < len(column) else ():
                try:
                    dates[date_format] = parse_dates(column, date_format)
                except DateTextError:
                    continue
            if not dates:
                levels = column.drop_null().unique().to_pylist()
                looks_dated = looks_dated or bool(find_formats(levels)[0])
                continue
            first, *others = dates
            for other in others:
                if not dates[other].equals(dates[first]):
                    text = f"both {first!r} and {other!r} read column {name!r}, as other dates"
                    raise InputError(f"date_format: {text}; leave one out")
            self._format_of_column[name] = first
            place = schema.get_field_index(name)
            schema = schema.set(place, pa.field(name, dates[first].type))
        # Dates in another format, or with a slip, are refused where columns of text are.
        if not any(map(_may_be_dates, schema.types)) and not looks_dated:
            formats = " or ".join(map(repr, self._formats))
            remedy = "type that of its dates, or leave date_format out"
            raise self._error(f"has no column of dates in the format {formats}; {remedy}")
        self._schema = schema
        return schema

    def as_text(self, types: Types) -> dict[str, pa.DataType]:
        """Return types with strings for the columns to parse in a format."""
        return {name: pa.string() if self._format(name, types) else types[name] for name in types}

    def parse(self, table: pa.Table, types: Types, first_row: int) -> pa.Table:
        """Parse the columns that `as_text` has left as text; refuse a text that is no date."""
        for place, name in enumerate(table.column_names):
            if date_format := self._format(name, types):
                try:
                    dates = parse_dates(table[name].combine_chunks(), date_format)
                except DateTextError as error:
                    text = _not_a_date(name, error, first_row, date_format)
                    raise self._error(text) from None
                table = table.set_column(place, name, dates.cast(types[name]))
        return table

    def _format(self, name: str, types: Types) -> str | None:
        """Return the format of a column; None if its dates are as in 2024-12-31, or it has none."""
        is_date = pa_types.is_timestamp(types[name]) or pa_types.is_date(types[name])
        if not self._formats or not is_date:
            return None
        is_iso = pa_types.is_temporal(self._schema.field(name).type)
        return self._format_of_column.get(name, None if is_iso else self._formats[0])


def _may_be_dates(dtype: pa.DataType) -> bool:
    return bool(pa_types.is_temporal(dtype)) or dtype == pa.null()


def _may_be_text(dtype: pa.DataType) -> bool:
    return dtype in (pa.string(), pa.int64())


def _not_a_date(name: str, error: DateTextError, first_row: int, date_format: str) -> str:
    where = f"{error.text!r} in column {name!r}, row {first_row + error.row + 1}"
    remedy = "mend it, or type the format that all dates have"
    return f"has {where}, which is no date in the format {date_format!r}; {remedy}"
