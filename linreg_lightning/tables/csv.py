"""CSV files, read in sections of whole lines that all processors parse together."""

from collections.abc import Iterator
from contextlib import suppress
from typing import final

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from linreg_lightning.errors import InputError
from linreg_lightning.frames import ROUNDED, may_be_rounded
from linreg_lightning.tables import csv_errors, csv_layout, csv_lines, csv_sections
from linreg_lightning.tables.csv_dates import CsvDates
from linreg_lightning.tables.csv_format import OPTIONS, CsvFormat
from linreg_lightning.tables.csv_sections import Lines, Section
from linreg_lightning.tables.csv_values import drop_missing
from linreg_lightning.tables.discovery import DataFile, read_error
from linreg_lightning.tables.number_text import NumberParser, TextError
from linreg_lightning.tables.table_file import Batches, TableFile, Types

_SECTION_BYTES = 2**23  # parsed at a time: work for all processors, and little memory
_THREAD_BYTES = 2**20  # parsed by one thread at a time
_LONG_WHOLE_NUMBER = r"^[ \t]*[+-]?\d{16,}[ \t]*$"
_SAMPLE_BYTES = 2**22  # from which the types of the columns are guessed
_NULLS = csv.ConvertOptions().null_values


@final
class CsvFile(TableFile):
    """Text with a header, UTF-8, compressed or not.

    The stream reader of pyarrow parses on one thread, and its parallel reader holds the whole file.
    So this class cuts the file into sections of whole lines and gives each to the parallel reader.
    """

    format_name, options = "CSV", OPTIONS

    def __init__(self, file: DataFile, csv_format: CsvFormat) -> None:
        self._format, self._delimiter = csv_format, csv_format.delimiter_character
        self._numbers = NumberParser(csv_format, csv_format.habits)
        self._index: list[Section] | None = None
        self._names: list[str] = []  # of all columns; the schema leaves out those that are `empty`
        self._empty: list[str] = []
        self._skipped: list[tuple[int, int]] = []
        self._has_quoted_nulls = False
        self._dates = CsvDates(csv_format.date_format, self.error)
        super().__init__(file)

    def read_schema(self) -> pa.Schema:
        """Return the names in the header, and types that fit the first rows."""
        self._skipped = csv_sections.find_skipped_lines(self, self._format, _SAMPLE_BYTES)
        lines = next(self._read_sections(0, _SAMPLE_BYTES), Lines(b"", False))
        text = lines.text
        csv_sections.refuse_other_formats(self, text)
        # Blank lines and a byte order mark may come before the header.
        start = len(text) - len(text.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n"))
        ends = csv_lines.line_ends(text[start:], self._delimiter)
        stop = start + int(ends[0]) + 1 if len(ends) else len(text)
        self._header_end = max([stop, *(end for _, end in self._skipped)])
        if text[stop : self._header_end].strip(b"\r\n"):
            reason = f"{self._format.skip_rows} was given, and rows of {self.path} come before them"
            raise InputError(f"skip_rows: {reason}; give lines above or right below the header")
        header = Lines(
            text[start:stop], csv_lines.has_quoted_newlines(text[start:stop], self._delimiter)
        )
        rows = Lines(text[stop:] or b"\n", lines.has_quoted_newlines)
        try:
            names = self._parse(header, None, {}, threads=False).schema.names
            self._names = csv_layout.name_columns(names)
            table = self._parse_sample(rows)
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise self._parse_error(error, self._names, 0) from None
        schema = table.schema
        self._refuse_surroundings(schema, text)
        if self._format.percent and b"%" not in rows.text:
            remedy = "write % after percentages; if no file of the fit has %, type percent false"
            raise self.error(f"has no number with %, and percent is true; {remedy}")
        self._text_numbers = {
            name
            for name, column in zip(schema.names, table.columns, strict=True)
            if pa.types.is_string(column.type) and self._numbers.reads(column)
        }
        fields = [(each.name, self._type(each)) for each in schema if each.name not in self._empty]
        schema = pa.schema(fields)
        return self._dates.find(schema, lambda texts: self._parse(rows, self._names, texts, False))

    def _type(self, field: pa.Field) -> pa.DataType:
        if field.name in self._text_numbers:
            return pa.float64()
        # pyarrow takes text that is not UTF-8 for bytes; read as text, it is refused.
        return pa.string() if pa.types.is_binary(field.type) else field.type

    def _parse_sample(self, rows: Lines) -> pa.Table:
        """Parse the first rows, whose lines may end with more delimiters."""
        try:
            return self._parse(rows, self._names, {}, threads=False)
        except pa.ArrowException:
            names, head = self._names, csv_sections.read_head(self)
            width, values = csv_layout.row_width(head, self._format)
            more = width - len(names)
            if width and more > 0 and not any(value for row in values for value in row[-more:]):
                self._names = csv_layout.name_columns([*names, *[""] * more])
            elif reason := csv_layout.describe_surroundings(head, self._format, is_table=False):
                raise self.error(reason) from None
            elif more == 1 and csv_layout.are_row_names([row[0] for row in values]):
                self._names = csv_layout.name_columns(["", *names])  # as R writes row names
            elif more == -1 and csv_layout.NAMELESS.fullmatch(names[-1]):
                self._names = names[:-1]
            return self._parse(rows, self._names, {}, threads=False)

    def _refuse_surroundings(self, schema: pa.Schema, text: bytes) -> None:
        """Refuse lines that are no rows; note columns that have neither a name nor a value."""
        nameless = [name for name in self._names if csv_layout.NAMELESS.fullmatch(name)]
        self._empty = [name for name in nameless if pa.types.is_null(schema.field(name).type)]
        has_values = set(nameless) - {*self._empty, self._names[0]}
        is_table = len(schema) > 1 and not has_values
        may_have_units = pa.string() in schema.types and not self._format.skips_chosen_lines
        if not is_table or may_have_units:
            head = csv_sections.read_head(self)
            if reason := csv_layout.describe_surroundings(head, self._format, is_table):
                raise self.error(reason)
        csv_sections.check_footer(self, self._format, len(schema), text)

    def count_rows(self) -> int:
        with self.read_errors():
            return sum(section.rows for section in self._index_sections())

    def read_batches(self, types: Types, start: int, stop: int | None, size: int) -> Batches:
        offset, first_row = self._header_end, 0
        expected: Iterator[int] | None = None
        if start > 0 or self._index is not None:
            # Only a count of the lines tells which section holds a row.
            index = self._index_sections()
            sections = [each for each in index if each.first_row + each.rows > start]
            if not sections:
                return
            offset, first_row, _ = sections[0]
            expected = (section.rows for section in sections)
        for lines in self._read_sections(offset, _SECTION_BYTES):
            table = self._parse_section(lines, types, first_row)
            if expected is not None and next(expected, None) != table.num_rows:
                reason = "has other lines than a moment ago, or lines that end in different ways"
                remedy = "let it be written to the end, or read it with one process"
                raise self.error(f"{reason}; {remedy}")
            for batch in table.combine_chunks().to_batches():
                yield first_row, batch
                first_row += batch.num_rows
            if stop is not None and first_row >= stop:
                return

    def _index_sections(self) -> list[Section]:
        """Find where each section begins and count its rows; this reads the file once."""
        if self._index is None:
            index, offset, first_row = [], self._header_end, 0
            for text, _ in self._read_sections(offset, _SECTION_BYTES):
                rows = csv_lines.count_lines(text, self._delimiter)
                index.append(Section(offset, first_row, rows))
                offset += len(text)
                first_row += rows
            self._index = index
        return self._index

    def _read_sections(self, offset: int, size: int) -> Iterator[Lines]:
        return csv_sections.read_sections(self, self._format, offset, size, self._skipped)

    def _parse_section(self, lines: Lines, types: Types, first_row: int) -> pa.Table:
        # One thread is slower, but takes rows of any length and tells which row is wrong.
        # Text is slower than numbers, but may have a notation that pyarrow does not read.
        for threads, as_text in ((True, False), (False, False), (False, True)):
            try:
                table = self._parse_columns(lines, types, threads, as_text)
                break
            except TextError as error:
                raise self._number_error(error, first_row) from None
            except pa.ArrowException as error:
                reason = error
        else:
            raise self._parse_error(reason, self._names, first_row) from None
        self._refuse_rounding(table, lines, first_row)
        return self._dates.parse(table, types, first_row)

    def _refuse_rounding(self, table: pa.Table, lines: Lines, first_row: int) -> None:
        """Refuse a whole number that float64 does not hold, as other formats do."""
        columns = dict(zip(table.column_names, table.columns, strict=True))
        large = [
            name
            for name, numbers in columns.items()
            if pa.types.is_float64(numbers.type) and may_be_rounded(numbers)
        ]
        if not large:
            return
        types = dict.fromkeys(large, pa.string())
        texts = self._parse(lines, self._names, types, threads=False)
        for name in large:
            is_whole = pc.match_substring_regex(texts[name], _LONG_WHOLE_NUMBER)
            for row in pc.indices_nonzero(is_whole.fill_null(False)).to_pylist():
                text = texts[name][row].as_py()
                if int(text) != columns[name][row].as_py():
                    where = f"column {name!r}, row {first_row + row + 1}"
                    raise self.error(f"has {text} in {where}, {ROUNDED}")

    def _parse_columns(self, lines: Lines, types: Types, threads: bool, as_text: bool) -> pa.Table:
        # Where some numbers have %, one without may be a slip.
        as_text = as_text or self._format.percent
        numbers = [name for name, dtype in types.items() if dtype == pa.float64()]
        numbers = [name for name in numbers if as_text or name in self._text_numbers]
        texts = {**self._dates.as_text(types), **dict.fromkeys(numbers, pa.string())}
        table = self._parse_categories(lines, texts, threads).select(list(types))
        for name in numbers:
            values = self._numbers.parse(name, table[name])
            table = table.set_column(table.column_names.index(name), name, values)
        table = drop_missing(table, self._format)
        # In a column of strings, NA is a key and not a missing value.
        strings = {name: dtype for name, dtype in types.items() if dtype == pa.string()}
        if strings:
            keys = self._parse(lines, self._names, strings, threads, nulls=False)
            for name in strings:
                table = table.set_column(table.column_names.index(name), name, keys[name])
        return table

    def _parse_categories(self, lines: Lines, types: Types, threads: bool) -> pa.Table:
        """Parse columns; a category in quotes is one, also if it reads as NA."""
        names = self._names
        all_types = {**types, **dict.fromkeys(self._empty, pa.null())}
        categories = {name: dtype for name, dtype in types.items() if pa.types.is_dictionary(dtype)}
        if not (categories and self._has_quoted_nulls):
            try:
                quoted_nulls = not categories
                return self._parse(lines, names, all_types, threads, quoted_nulls=quoted_nulls)
            except pa.ArrowException:
                if not categories or b'"' not in lines.text:
                    raise
        # A number may be missing in quotes, so categories are parsed apart.
        table = self._parse(lines, names, all_types, threads)
        self._has_quoted_nulls = True
        texts = self._parse(lines, names, categories, threads, quoted_nulls=False)
        for name in categories:
            table = table.set_column(table.column_names.index(name), name, texts[name])
        return table

    def _parse(
        self,
        lines: Lines,
        names: list[str] | None,
        types: Types,
        threads: bool,
        nulls: bool = True,
        quoted_nulls: bool = True,
    ) -> pa.Table:
        """Parse some columns, or all if there are no types; without names the header has them."""
        text, has_quoted_newlines = lines
        # Where two threads share a quoted \r\n, pyarrow loses its \n.
        threads = threads and not (has_quoted_newlines and b"\r" in text)
        block_size = _THREAD_BYTES if threads else len(text)
        return csv.read_csv(
            pa.BufferReader(csv_sections.copy_to_arrow(text)),
            csv.ReadOptions(use_threads=threads, block_size=block_size, column_names=names),
            csv.ParseOptions(delimiter=self._delimiter, newlines_in_values=has_quoted_newlines),
            csv.ConvertOptions(
                include_columns=list(types),
                column_types=dict(types),
                null_values=[*_NULLS, *self._format.missing_texts],
                strings_can_be_null=nulls,
                quoted_strings_can_be_null=quoted_nulls,
                decimal_point=self._format.decimal,
            ),
        )

    def _number_error(self, error: TextError, first_row: int) -> InputError:
        """Say which text is no number, and how to read its column if its texts are alike."""
        row = f"row {first_row + error.row + 1}"
        if error.reason:
            where = f"column {error.column!r}, {row}"
            return self.error(f"has {error.text!r} in {where}, which is {error.reason}")
        advice = None
        with suppress(pa.ArrowException):  # another column may be damaged further on
            texts = self.read_texts([error.column])
            advice = csv_errors.number_advice(error, row, self._format, texts)
        return self.error(advice or csv_errors.not_a_number(error.column, error.text, row))

    def read_texts(self, names: list[str]) -> Iterator[tuple[int, pa.Table]]:
        """Yield columns as text, some megabytes at a time, with the number of the first row."""
        first_row, types = 0, dict.fromkeys(names, pa.string())
        for lines in self._read_sections(self._header_end, _SAMPLE_BYTES):
            table = self._parse(lines, self._names, types, threads=False)
            yield first_row, table
            first_row += table.num_rows

    def _parse_error(self, error: Exception, names: list[str], first_row: int) -> InputError:
        tail = csv_sections.read_tail(self)
        if reason := csv_errors.describe(error, names, first_row, tail, self._format):
            return self.error(reason)
        return read_error(error, self.argument, self.path, self.format_name)
