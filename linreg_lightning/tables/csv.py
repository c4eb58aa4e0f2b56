"""A CSV file, in sections of whole lines that all processors parse together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, final

import numpy as np

from linreg_lightning import arrow as pyarrow
from linreg_lightning import validation
from linreg_lightning.errors import InputError
from linreg_lightning.tables.csv_lines import (
    count_lines,
    has_quoted_newlines,
    last_line_end,
    line_ends,
)
from linreg_lightning.tables.table_file import Span, TableFile

# Bytes parsed at a time: enough for every processor, little enough for the memory.
_SECTION = 2**23
# Bytes that a thread parses at a time.
_PIECE = 2**20
# Bytes from which the types of the columns are told.
_SAMPLE = 2**22
# How files begin that are something else.
_NO_TEXT = {
    b"\xff\xfe": "is not UTF-8 text; save it as UTF-8",
    b"\xfe\xff": "is not UTF-8 text; save it as UTF-8",
    b"\x1f\x8b": "is compressed; let its name end in .gz",
    b"PK\x03\x04": "is a ZIP archive, as Excel's are; save it as CSV",
}


@final
class CsvFile(TableFile):
    r"""Text with a header, UTF-8, compressed or not.

    pyarrow's own reader of streams parses on one thread, and its reader on all threads holds the
    whole file; so sections of whole lines are given to the latter.

    Args:
        path: of the file.
        filesystem: a pyarrow file system.
        size: of the file, in bytes.
        delimiter: what separates columns, one character.
        decimal: the decimal point, one character.
    """

    form = "CSV"

    def __init__(
        self, path: str, filesystem: Any, size: int, delimiter: str = ",", decimal: str = "."
    ) -> None:
        super().__init__(path, filesystem, size)
        self._delimiter, self._decimal = delimiter, decimal

    @cached_property
    def schema(self) -> Any:
        """The names in the header, and the types that the first rows look like."""
        text = next(self._sections(0, _SAMPLE), b"")
        for start, reason in _NO_TEXT.items():
            if text.startswith(start):
                raise self._refusal(reason)
        content = text.strip()
        if b"\r" in content and b"\n" not in content:
            raise self._refusal("ends its lines by carriage returns; save it with line feeds")
        if not content or b"\n" not in text:
            raise self._refusal("is empty; it needs a header and rows")
        try:
            schema = self.checked(self._parse(text, None, {}, threads=False).schema)
        except (pyarrow.ArrowException, UnicodeDecodeError) as error:
            raise self._explained(error, [], 0) from None
        # What is not UTF-8 is seen as bytes; read as text, it will be complained of.
        types = [pyarrow.string() if _is_binary(field) else field.type for field in schema]
        return pyarrow.schema(zip(schema.names, types, strict=True))

    @cached_property
    def rows(self) -> int:
        """How many rows it has, by counting lines."""
        _, counts = self._index
        return sum(counts)

    def read(
        self, types: Mapping[str, Any], start: int, stop: int | None, size: int
    ) -> Iterator[tuple[int, Any]]:
        """Yield (number of the first row, pyarrow record batch), in the order of the rows."""
        offset, before = self._header, 0
        counts: Iterator[int] | None = None
        if start:
            # The number of a line is known by counting those in front of it.
            ends, rows = self._index
            first = int(np.searchsorted(np.cumsum(rows), start, side="right"))
            before = sum(rows[:first])
            offset = ends[first - 1] if first else offset
            counts = iter(rows[first:])
        elif "_index" in vars(self):
            counts = iter(self._index[1])
        for text in self._sections(offset, _SECTION):
            table = self._table(text, types, before)
            if counts is not None and next(counts, None) != table.num_rows:
                raise self._refusal(
                    "has other lines than a moment ago, or lines that end in different ways; "
                    "let it be written to the end, or read it with one process"
                )
            span = Span.of(table.num_rows, before, start, stop)
            if span is not None:
                part = table.slice(span.start, span.stop - span.start)
                number = before + span.start
                for batch in part.combine_chunks().to_batches(max_chunksize=size):
                    yield number, batch
                    number += batch.num_rows
            before += table.num_rows
            if stop is not None and before >= stop:
                return

    @cached_property
    def _header(self) -> int:
        """Where the first line behind the header begins."""
        text = next(self._sections(0, _SAMPLE), b"")
        blank = len(text) - len(text.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n"))
        ends = line_ends(text[blank:], self._delimiter)
        return blank + int(ends[0]) + 1 if len(ends) else len(text)

    @cached_property
    def _index(self) -> tuple[list[int], list[int]]:
        """Where each section ends, and how many rows it has."""
        ends, counts, place = [], [], self._header
        for text in self._sections(place, _SECTION):
            place += len(text)
            ends.append(place)
            counts.append(count_lines(text, self._delimiter))
        return ends, counts

    def _sections(self, offset: int, size: int) -> Iterator[bytes]:
        """Yield the text behind an offset, cut behind ends of lines, about `size` bytes a time."""
        try:
            with self.filesystem.open_input_stream(self.path, buffer_size=0) as stream:
                _skip(stream, offset)
                rest = b""
                # Where a section ends depends on where it begins, not on those in front of it.
                while text := stream.read(size - len(rest) if len(rest) < size else size):
                    text = rest + text
                    cut = last_line_end(text, self._delimiter)
                    if cut:
                        yield text[:cut]
                    rest = text[cut:]
                if rest:
                    yield rest
        except (OSError, pyarrow.ArrowException) as error:
            raise self.cannot_be_read(error) from None

    def _table(self, text: bytes, types: Mapping[str, Any], before: int) -> Any:
        try:
            return self._typed(text, types, threads=True)
        except pyarrow.ArrowException:
            try:
                # Slower, but rows may have any length, and messages have the number of the row.
                return self._typed(text, types, threads=False)
            except pyarrow.ArrowException as error:
                raise self._explained(error, self.schema.names, before) from None

    def _typed(self, text: bytes, types: Mapping[str, Any], threads: bool) -> Any:
        names = self.schema.names
        table = self._parse(text, names, types, threads)
        passed_on = {name: type_ for name, type_ in types.items() if type_ == pyarrow.string()}
        if passed_on:
            # Among keys, NA is no missing value.
            keys = self._parse(text, names, passed_on, threads, gaps=False)
            for name in passed_on:
                table = table.set_column(table.column_names.index(name), name, keys[name])
        return table

    def _parse(
        self,
        text: bytes,
        names: list[str] | None,
        types: Mapping[str, Any],
        threads: bool,
        gaps: bool = True,
    ) -> Any:
        return pyarrow.csv.read_csv(
            pyarrow.BufferReader(text),
            pyarrow.csv.ReadOptions(
                use_threads=threads,
                block_size=_PIECE if threads else len(text),
                column_names=names,
            ),
            pyarrow.csv.ParseOptions(
                delimiter=self._delimiter,
                newlines_in_values=has_quoted_newlines(text, self._delimiter),
            ),
            pyarrow.csv.ConvertOptions(
                include_columns=list(types),
                column_types=dict(types),
                strings_can_be_null=gaps,
                decimal_point=self._decimal,
            ),
        )

    def _explained(self, error: Exception, names: list[str], before: int) -> InputError:
        """What is wrong with the text, in the user's words; `before` rows are in front of it."""
        message = str(error)
        found = re.search(r"Row #(\d+)", message)
        # Where the names are still to be read, the header is the first row.
        row = before + int(found[1]) - (not names) if found else None
        where = "a row" if row is None else f"row {row}"
        if "\ufffd" in message or isinstance(error, UnicodeDecodeError) or "UTF8" in message:
            reason = f"is not UTF-8 text, in {where} or before; save it as UTF-8"
        elif bad := re.search(r"column #(\d+): .* to (\w+): invalid value '(.*)'", message, re.S):
            reason = not_a_number(names[int(bad[1])], bad[3], where, flags=bad[2] == "bool")
        elif ragged := re.search(r"Expected (\d+) columns, got (\d+)", message):
            mend = "mend the row"
            if ragged[1] == "1":
                mend += ", or type what separates columns, such as --data.delimiter ';'"
            reason = f"has {ragged[2]} values in {where} where its header has {ragged[1]}; {mend}"
        else:
            return self.cannot_be_read(error)
        return self._refusal(reason)

    def _refusal(self, reason: str) -> InputError:
        return InputError(f"path: {self.path} {reason}")


def not_a_number(column: str, value: str, where: str, flags: bool = False) -> str:
    """What to say of a value among numbers, or among true and false."""
    comma = (
        ' (with decimal commas, type --data.decimal ",")'
        if re.fullmatch(r"-?\d+,\d+", value)
        else ""
    )
    text = validation.not_a_number(
        value, column, where, "neither true nor false" if flags else "no number"
    )
    return (
        f"{text}{comma}; mend it, leave the column out by --data.exclude, or, if it holds "
        "categories, name it in --data.categorical"
    )


def _is_binary(field: Any) -> bool:
    return bool(pyarrow.types.is_binary(field.type))


def _skip(stream: Any, offset: int) -> None:
    if stream.seekable():
        stream.seek(offset)
        return
    while offset > 0:
        read = len(stream.read(min(offset, _SECTION)))
        offset = offset - read if read else 0
