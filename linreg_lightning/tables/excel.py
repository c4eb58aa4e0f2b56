"""Sheets of Excel and OpenDocument workbooks, read by fastexcel."""

import logging
from collections.abc import Mapping
from typing import Any, final

import pyarrow as pa
import pyarrow.compute as pc

from linreg_lightning.errors import InputError
from linreg_lightning.matching import name_hint
from linreg_lightning.tables.csv_errors import not_a_number
from linreg_lightning.tables.csv_format import CsvFormat
from linreg_lightning.tables.csv_values import drop_missing
from linreg_lightning.tables.discovery import DataFile, first_line
from linreg_lightning.tables.table_file import Types
from linreg_lightning.tables.whole_table import WholeTable, import_reader


@final
class ExcelSheet(WholeTable):
    """One sheet: a row of names, then the rows; `sheet` is its name.

    `skip_rows` (a number), `skip_footer` and `na_values` of the format mean the same as in a CSV
    file. Cells with an error such as #N/A lack a value. In a column with both numbers and text, the
    text is refused, unless it is read as categories.
    """

    format_name = "a workbook"

    def __init__(self, file: DataFile, csv_format: CsvFormat, sheet: str | None = None) -> None:
        self._library = import_reader("fastexcel", file, self.format_name)
        skip_rows = csv_format.skip_rows or 0
        if not isinstance(skip_rows, int):
            text = f"skip_rows: {skip_rows} was given, and {file.path} is {self.format_name}"
            raise InputError(f"{text}; give how many rows are above its header")
        self._format, self._sheet, self._header_row = csv_format, sheet, skip_rows
        self._texts: dict[str, pa.ChunkedArray] = {}  # of columns with numbers and text
        super().__init__(file)

    def load(self) -> pa.Table:
        # The library says where it takes a column of several types for text; `load` looks itself.
        logging.getLogger("fastexcel.types.dtype").setLevel(logging.ERROR)
        with self.filesystem.open_input_file(self.path) as stream:
            content = stream.read()
        try:
            book = self._library.read_excel(content)
            sheet = self._choose_sheet(book)
            table = self._read(book, sheet, None)
            texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
            numbers = self._read(book, sheet, dict.fromkeys(texts, "float")) if texts else table
        except self._library.FastExcelError as error:
            reason = f"cannot be read as a workbook ({first_line(error)})"
            raise self.error(f"{reason}; if it is another archive, unpack it") from None
        for name in texts:
            if 0 < numbers[name].null_count < table.num_rows:
                index, column = table.column_names.index(name), self._drop_markers(table[name])
                has_text = pc.and_(pc.is_valid(column), pc.is_null(numbers[name]))
                if pc.any(has_text).as_py():
                    self._texts[name] = column
                table = table.set_column(index, name, numbers[name])
        return drop_missing(table, self._format)

    def _drop_markers(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return text without what the user has said stands for a missing value."""
        markers = pa.array(self._format.missing_texts, pa.string())
        is_marker = pc.is_in(pc.utf8_trim_whitespace(column), markers)
        return pc.if_else(is_marker, pa.scalar(None, column.type), column)

    def _choose_sheet(self, book: Any) -> str:
        names: list[str] = book.sheet_names
        if self._sheet is not None:
            if self._sheet not in names:
                hint = name_hint(self._sheet, names).replace("column", "sheet")
                raise self.error(f"has no sheet {self._sheet!r}; {hint}")
            return self._sheet
        visible = [
            name
            for name in names
            if (sheet := book.load_sheet(name, header_row=None, n_rows=1)).visible == "visible"
            and sheet.total_height
        ]
        if not visible:
            raise self.error("has no sheet with rows; name another file")
        if len(visible) > 1:
            text = f"has {len(visible)} sheets ({', '.join(map(repr, visible))})"
            raise self.error(f"{text}; type which one to read, such as sheet {visible[0]!r}")
        return visible[0]

    def _read(self, book: Any, sheet: str, dtypes: Mapping[str, str] | None) -> pa.Table:
        options = {
            "header_row": self._header_row,
            "skip_whitespace_tail_rows": True,
            "whitespace_as_null": True,
            # By default the library guesses types from 1,000 rows, and drops later text.
            "schema_sample_rows": None,
            "dtypes": dtypes,
        }
        loaded = book.load_sheet(sheet, **options)
        if footer := self._format.skip_footer:
            loaded = book.load_sheet(sheet, n_rows=max(0, loaded.height - footer), **options)
        table = pa.table(loaded)
        if not table.num_columns:
            reason = f"has no names of columns in row {self._header_row + 1} of {sheet!r}"
            raise self.error(f"{reason}; lower skip_rows")
        names = {column.name: column.column_name_from for column in loaded.available_columns()}
        kept = []
        for name in table.column_names:
            if names[name] != "generated" and name.strip():
                kept.append(name)
            elif table[name].null_count < table.num_rows:
                place = f"column {table.column_names.index(name) + 1} of {sheet!r} has no name"
                remedy = "name it, or type how many rows are above the names, such as skip_rows 1"
                raise self.error(f"cannot be used: {place}; {remedy}")
        return table.select(kept)

    def select(self, types: Types) -> pa.Table:
        table = self.table.select(list(types))
        for name in [name for name in types if name in self._texts]:
            texts = self._texts[name]
            if pa.types.is_floating(types[name]):
                is_text = pc.and_(pc.is_valid(texts), pc.is_null(self.table[name]))
                row = pc.index(is_text, True).as_py()
                raise self.error(not_a_number(name, texts[row].as_py(), f"row {row + 1}"))
            index = table.column_names.index(name)
            table = table.set_column(index, name, texts.dictionary_encode())
        return table
