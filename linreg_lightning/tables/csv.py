"""CSV files, read in sections of whole lines that all processors parse together."""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple, final

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from linreg_lightning.errors import InputError
from linreg_lightning.frames import ROUNDED, may_be_rounded
from linreg_lightning.tables import csv_lines
from linreg_lightning.tables.csv_dates import CsvDates
from linreg_lightning.tables.csv_format import CsvFormat
from linreg_lightning.tables.discovery import DataFile, read_error
from linreg_lightning.tables.disguised_numbers import number_advice
from linreg_lightning.tables.number_text import NumberParser, TextError
from linreg_lightning.tables.table_file import Batches, TableFile, Types

_SECTION_BYTES = 2**23  # parsed at a time: work for all processors, and little memory
_THREAD_BYTES = 2**20  # parsed by one thread at a time
_MAX_LINE_BYTES = 2**26  # more text without a line end is no table
_LONG_WHOLE_NUMBER = r"^[ \t]*[+-]?\d{16,}[ \t]*$"
_SAMPLE_BYTES = 2**22  # from which the types of the columns are guessed
# The first bytes of files that are not CSV.
_NOT_CSV = {
    b"\xff\xfe": "is not UTF-8 text; save it as UTF-8",
    b"\xfe\xff": "is not UTF-8 text; save it as UTF-8",
    b"\x1f\x8b": "is compressed; let its name end in .gz",
    b"PK\x03\x04": "is a ZIP archive, as Excel's are; save it as CSV",
}


class Lines(NamedTuple):
    """Whole lines of text."""

    text: bytes
    has_quoted_newlines: bool


class Section(NamedTuple):
    """Where lines that are parsed together are in the file."""

    offset: int
    first_row: int
    rows: int


@final
class CsvFile(TableFile):
    """Text with a header, UTF-8, compressed or not.

    The stream reader of pyarrow parses on one thread, and its parallel reader holds the whole file.
    So this class cuts the file into sections of whole lines and gives each to the parallel reader.
    """

    format_name = "CSV"

    def __init__(self, file: DataFile, csv_format: CsvFormat) -> None:
        self._format, self._delimiter = csv_format, csv_format.delimiter_character
        self._numbers = NumberParser(csv_format)
        self._index: list[Section] | None = None
        self._dates = CsvDates(csv_format.date_format, self.error)
        super().__init__(file)

    def read_schema(self) -> pa.Schema:
        """Return the names in the header, and types that fit the first rows."""
        lines = next(self._read_sections(0, _SAMPLE_BYTES), Lines(b"", False))
        text = lines.text
        for first_bytes, reason in _NOT_CSV.items():
            if text.startswith(first_bytes):
                raise self.error(reason)
        if not text.strip():
            raise self.error("is empty; it needs a header and rows")
        if b"\0" in text.partition(b"\n")[0]:
            reason = "is neither text nor a Parquet or Arrow file"
            raise self.error(f"{reason}; decompress it, or save it as one of these")
        if b"\n" not in text.lstrip():
            raise self._no_line_end(text)
        # Blank lines and a byte order mark may come before the header.
        blank = len(text) - len(text.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n"))
        ends = csv_lines.line_ends(text[blank:], self._delimiter)
        self._header_end = blank + int(ends[0]) + 1 if len(ends) else len(text)
        if self._format.percent and b"%" not in text[self._header_end :]:
            reason = "has no number with %, and percent true would read 3% as 0.03"
            raise self.error(f"{reason}; type percent false, or write % after percentages")
        try:
            table = self._parse(lines, None, {}, threads=False)
            names = (schema := table.schema).names  # pyarrow decodes them here
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise self._parse_error(error, [], 0) from None
        self._text_numbers = {
            name
            for name, column in zip(names, table.columns, strict=True)
            if pa.types.is_string(column.type) and self._numbers.reads(column)
        }
        # pyarrow takes text that is not UTF-8 for bytes; read as text, it is refused.
        types = [pa.string() if pa.types.is_binary(field.type) else field.type for field in schema]
        for k in (k for k, name in enumerate(names) if name in self._text_numbers):
            types[k] = pa.float64()
        schema = pa.schema(zip(names, types, strict=True))
        return self._dates.find(schema, lambda texts: self._parse(lines, None, texts, False))

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
        """Yield whole lines from an offset on, about `size` bytes at a time, the same each pass."""
        open_stream = self.filesystem.open_input_stream
        with open_stream(self.path, buffer_size=0) as stream:
            if stream.seekable():
                stream.seek(offset)
                offset = 0
            while offset > 0 and (skipped := len(stream.read(min(offset, _SECTION_BYTES)))):
                offset -= skipped
            rest = b""
            # A long line takes 2, 4, 8... times the size, so that each byte is copied twice at most
            # and the sections are the same wherever a pass begins.
            while text := stream.read((size << (len(rest) // size).bit_length()) - len(rest)):
                text = rest + text
                end, has_quoted_newlines = csv_lines.whole_lines(text, self._delimiter)
                if not end and len(text) >= _MAX_LINE_BYTES:
                    raise self._no_line_end(text)
                if end:
                    yield Lines(text[:end], has_quoted_newlines)
                rest = text[end:]
            if rest:
                if csv_lines.ends_in_quotes(rest, self._delimiter):
                    row = rest[:40].decode(errors="replace")
                    reason = f"ends within a quoted value, in the row that begins with {row!r}"
                    raise self.error(f"{reason}; it is cut off or lacks a quote")
                yield Lines(rest, csv_lines.has_quoted_newlines(rest, self._delimiter))

    def _no_line_end(self, text: bytes) -> InputError:
        if b"\r" in text.strip() and b"\n" not in text:
            return self.error("ends its lines by carriage returns; save it with line feeds")
        quotes = " outside of quotes" if b"\n" in text else ""
        reason = f"has no line end within {len(text):,} bytes of text{quotes}"
        return self.error(f"{reason}; is it a CSV file? Each row needs a line of its own")

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
            raise self._parse_error(reason, self.schema.names, first_row) from None
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
        texts = self._parse(lines, self.schema.names, types, threads=False)
        for name in large:
            is_whole = pc.match_substring_regex(texts[name], _LONG_WHOLE_NUMBER)
            for row in pc.indices_nonzero(is_whole.fill_null(False)).to_pylist():
                text = texts[name][row].as_py()
                if int(text) != columns[name][row].as_py():
                    where = f"column {name!r}, row {first_row + row + 1}"
                    raise self.error(f"has {text} in {where}, {ROUNDED}")

    def _parse_columns(self, lines: Lines, types: Types, threads: bool, as_text: bool) -> pa.Table:
        names = self.schema.names
        # Where some numbers have %, one without may be a slip.
        as_text = as_text or self._format.percent
        numbers = [name for name, dtype in types.items() if dtype == pa.float64()]
        numbers = [name for name in numbers if as_text or name in self._text_numbers]
        texts = dict.fromkeys(numbers, pa.string())
        table = self._parse(lines, names, {**self._dates.as_text(types), **texts}, threads)
        for name in numbers:
            values = self._numbers.parse(name, table[name])
            table = table.set_column(table.column_names.index(name), name, values)
        # In a column of strings, NA is a key and not a missing value.
        strings = {name: dtype for name, dtype in types.items() if dtype == pa.string()}
        if strings:
            keys = self._parse(lines, names, strings, threads, nulls=False)
            for name in strings:
                table = table.set_column(table.column_names.index(name), name, keys[name])
        return table

    def _parse(
        self, lines: Lines, names: list[str] | None, types: Types, threads: bool, nulls: bool = True
    ) -> pa.Table:
        """Parse some columns, or all if there are no types; without names the header has them."""
        text, has_quoted_newlines = lines
        # Where two threads share a quoted \r\n, pyarrow loses its \n.
        threads = threads and not (has_quoted_newlines and b"\r" in text)
        block_size = _THREAD_BYTES if threads else len(text)
        return csv.read_csv(
            pa.BufferReader(_copy_to_arrow(text)),
            csv.ReadOptions(use_threads=threads, block_size=block_size, column_names=names),
            csv.ParseOptions(delimiter=self._delimiter, newlines_in_values=has_quoted_newlines),
            csv.ConvertOptions(
                include_columns=list(types),
                column_types=dict(types),
                strings_can_be_null=nulls,
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
            advice = number_advice(error, row, self._format, self._texts(error.column))
        return self.error(advice or not_a_number(error.column, error.text, row))

    def _texts(self, name: str) -> Iterator[tuple[int, pa.ChunkedArray]]:
        """Yield a column as text, section by section, each with the number of its first row."""
        first_row = 0
        for lines in self._read_sections(self._header_end, _SECTION_BYTES):
            table = self._parse(lines, self.schema.names, {name: pa.string()}, threads=False)
            yield first_row, table[name]
            first_row += table.num_rows

    def _parse_error(self, error: Exception, names: list[str], first_row: int) -> InputError:
        """Say what is wrong with the text; without names the header is parsed too."""
        message = str(error)
        match = re.search(r"Row #(\d+)", message)
        # Where the header is parsed, pyarrow counts it as the first row.
        row = f"row {first_row + int(match[1]) - (not names)}" if match else "a row"
        if "\ufffd" in message or isinstance(error, UnicodeDecodeError) or "UTF8" in message:
            return self.error(f"is not UTF-8 text, in {row} or before; save it as UTF-8")
        what = r"column #(\d+): .*? to (\w+).*?: (?:invalid value|.* zone offset in) '(.*?)'"
        if match := re.search(rf"{what}(?:$|\. If)", message, re.S):
            expected = "neither true nor false" if match[2] == "bool" else "no number"
            if match[2] not in ("bool", "double"):
                has_zone = "with" if "expected a zone" in message else "without"
                expected = f"no time {has_zone} a time zone" if "zone" in message else "no date"
            return self.error(not_a_number(names[int(match[1])], match[3], row, expected))
        if match := re.search(r"Expected (\d+) columns, got (\d+)", message):
            count = "1 value" if match[2] == "1" else f"{match[2]} values"
            text = f"has {count} in {row} where its header has {match[1]}; mend the row"
            hint = ", or type what separates columns, such as delimiter ';'"
            return self.error(text + (hint if match[1] == "1" else ""))
        return read_error(error, self.argument, self.path, self.format_name)


def _copy_to_arrow(text: bytes) -> pa.Buffer:
    """Copy text, because pyarrow's threads abort the process if they free Python's at its exit."""
    buffer = pa.allocate_buffer(len(text))
    pa.FixedSizeBufferWriter(buffer).write(text)
    return buffer


def not_a_number(column: str, value: str, row: str, expected: str = "no number") -> str:
    """Say that a value in a column of numbers is none, and what to do about it."""
    return (
        f"has {value!r} in column {column!r}, {row}, which is {expected}; mend it, leave the "
        "column out by exclude, or, if it holds categories, name it in categorical"
    )
