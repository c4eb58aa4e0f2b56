"""Sheets of Excel and OpenDocument workbooks, read by fastexcel."""

import logging
import re
from collections import Counter
from collections.abc import Mapping
from itertools import dropwhile
from typing import Any, final

import pyarrow as pa
import pyarrow.compute as pc

from linreg_lightning.errors import InputError
from linreg_lightning.matching import name_hint
from linreg_lightning.tables.csv_errors import not_a_number
from linreg_lightning.tables.csv_format import CsvFormat
from linreg_lightning.tables.csv_layout import is_total, name_columns
from linreg_lightning.tables.csv_sections import warn_of_skipped_row
from linreg_lightning.tables.csv_values import drop_missing
from linreg_lightning.tables.discovery import DataFile, first_line
from linreg_lightning.tables.table_file import Types
from linreg_lightning.tables.whole_table import WholeTable, import_reader

_LAST_ROWS = 100  # in which totals are looked for


@final
class ExcelSheet(WholeTable):
    """One sheet: a row of names, then the rows. `sheet` is its name.

    Of the format of CSV files `skip_rows`, `skip_footer` and `na_values` count here too; rows are
    counted from the top of the sheet. Cells with an error such as #N/A lack a value. In a column
    with both numbers and text, the text is refused, unless it is read as categories.
    """

    format_name, options = "a workbook", frozenset({"sheet", "skip_rows", "skip_footer"})

    def __init__(
        self, file: DataFile, sheet: str | None = None, csv_format: CsvFormat | None = None
    ) -> None:
        self._library = import_reader("fastexcel", file, self.format_name)
        self._sheet, self._format = sheet, csv_format or CsvFormat()
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
            rows = None
            if self._format.skip_footer:
                rows = max(0, table.num_rows - self._format.skip_footer)
                self._warn_of_skipped_rows(table.slice(rows).to_pylist())
                table = self._read(book, sheet, None, rows)  # of types that fit these
            texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
            floats = dict.fromkeys(texts, "float")
            numbers = self._read(book, sheet, floats, rows) if texts else table
        except self._library.FastExcelError as error:
            reason = f"cannot be read as a workbook ({first_line(error)})"
            raise self.error(f"{reason}; if it is another archive, unpack it") from None
        if self._format.skip_footer is None and table.num_columns > 1:
            self._refuse_totals(table.column(0))
        return self._without_markers(table, numbers, texts)

    def _without_markers(self, table: pa.Table, numbers: pa.Table, texts: list[str]) -> pa.Table:
        """Drop what stands for a missing value; make columns with a number columns of numbers."""
        markers = pa.array(self._format.missing_texts, pa.string())
        for name in texts:
            index, column = table.column_names.index(name), table[name]
            is_marker = pc.is_in(pc.utf8_trim_whitespace(column), markers)
            if pc.any(is_marker).as_py():
                column = pc.if_else(is_marker, pa.scalar(None, pa.string()), column)
                is_number = pc.or_(pc.is_null(column), pc.is_valid(numbers[name]))
                if pc.all(is_number).as_py():
                    column = numbers[name]
                table = table.set_column(index, name, column)
        texts = [name for name in texts if pa.types.is_string(table[name].type)]
        for name in texts:
            if 0 < numbers[name].null_count < table[name].length() > table[name].null_count:
                has_text = pc.and_(pc.is_valid(table[name]), pc.is_null(numbers[name]))
                if pc.any(has_text).as_py():
                    self._texts[name] = table[name]
        for name in self._texts:
            index = table.column_names.index(name)
            table = table.set_column(index, name, numbers[name])
        return drop_missing(table, self._format)

    def _refuse_totals(self, column: pa.ChunkedArray) -> None:
        """Refuse last rows that begin with the word total, as in a CSV file."""
        last = column.slice(max(0, len(column) - _LAST_ROWS)).to_pylist()
        totals = list(dropwhile(lambda value: not is_total(str(value)), last))
        if totals and all(is_total(str(value)) for value in totals):
            remedy = f"type skip_footer {len(totals)} to leave it out, skip_footer 0 if it is a row"
            raise self.error(f"ends with a total, {totals[-1]!r}; {remedy}")

    def _warn_of_skipped_rows(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            values = [str(value) for value in row.values() if value is not None]
            if len(values) == len(row) and not is_total(values[0]):
                warn_of_skipped_row(self, self._format, repr(",".join(values)))
                return

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

    def _read(
        self, book: Any, sheet: str, dtypes: Mapping[str, str] | None, rows: int | None = None
    ) -> pa.Table:
        # By default the library guesses types from 1,000 rows, and drops later text.
        options = {"schema_sample_rows": None, "skip_whitespace_tail_rows": True, "dtypes": dtypes}
        header, below = self._header_and_units()
        lines = {"header_row": header, "skip_rows": below or None, "n_rows": rows}
        loaded = book.load_sheet(sheet, whitespace_as_null=True, **lines, **options)
        table = pa.table(loaded)
        if not table.num_columns:
            reason = f"has no names of columns in row {header + 1} of {sheet!r}"
            raise self.error(f"{reason}; lower skip_rows")
        self._refuse_repeated_names(book, sheet, table.column_names, header)
        origins = {column.name: column.column_name_from for column in loaded.available_columns()}
        named = [n for n in table.column_names if origins[n] != "generated" and n.strip()]
        full = [n for n in table.column_names if table[n].null_count < table.num_rows]
        nameless = [name for name in full if name not in named]
        if nameless and (len(nameless) > 1 or nameless[0] != table.column_names[0]):
            place = f"column {table.column_names.index(nameless[-1]) + 1} of {sheet!r} has no name"
            remedy = "name it, or type how many rows are above the names, such as skip_rows 2"
            raise self.error(f"cannot be used: {place}; {remedy}")
        # pandas writes row labels in a first column without a name.
        names = name_columns(["", *named])[: len(nameless)] + named
        return table.select([*nameless, *named]).rename_columns(names)

    def _refuse_repeated_names(self, book: Any, sheet: str, names: list[str], header: int) -> None:
        """Refuse two columns of one name, the second of which the library gives a number."""
        bases = {name.rpartition("_")[0] for name in names if re.search(r"_\d+$", name)}
        if bases.isdisjoint(names):
            return
        row = book.load_sheet(sheet, header_row=None, skip_rows=header, n_rows=1, dtypes="string")
        for name, count in Counter(map(str, pa.table(row).to_pylist()[0].values())).items():
            if count > 1 and name in bases:
                raise self.error(f"has two columns named {name!r}; rename one")

    def _header_and_units(self) -> tuple[int, int]:
        """Return the row of the names, counted from 0, and how many rows to skip below it."""
        skipped = self._format.skipped_lines
        header = next(number for number in range(len(skipped) + 1) if number not in skipped)
        below = [number for number in skipped if number > header]
        if below != list(range(header + 1, header + 1 + len(below))):
            text = f"{self._format.skip_rows} was given, and rows of {self.path} come before them"
            raise InputError(f"skip_rows: {text}; give lines above or right below the header")
        return header, len(below)

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
