"""JSON lines: text with a JSON object on each line, whose members are the columns."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import final

import pyarrow as pa
from pyarrow.json import ParseOptions, ReadOptions, read_json

from linreg_lightning.errors import InputError
from linreg_lightning.frames import ROUNDED, may_be_rounded
from linreg_lightning.tables.discovery import DataFile, first_line
from linreg_lightning.tables.table_file import Batches, TableFile, Types, dtype_kind, overlap

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SECTION_BYTES = 2**23  # parsed at a time, by all processors
_MAX_LINE_BYTES = 2**26  # more text without a line end is one large object or array


@final
class JsonLinesFile(TableFile):
    """JSON lines, compressed or not.

    Creating one parses the whole file, because a later line may have another member, or text where
    earlier ones have numbers. An object without a member lacks that value.
    """

    format_name = "JSON lines"

    def __init__(self, file: DataFile) -> None:
        self._first_rows = [0]  # of each section; the last number is that of all rows
        super().__init__(file)

    def read_schema(self) -> pa.Schema:
        """Return the columns of all rows, with types that fit them."""
        types: dict[str, pa.DataType] = {}
        for text in self._sections():
            first_row = self._first_rows[-1]
            table = self._parse(text, None, first_row)
            for name, dtype in zip(table.schema.names, table.schema.types, strict=True):
                types[name] = self._common_type(name, types.get(name, dtype), dtype, first_row)
            self._first_rows.append(first_row + table.num_rows)
        return pa.schema(list(types.items()))

    def count_rows(self) -> int:
        return self._first_rows[-1]

    def read_batches(self, types: Types, start: int, stop: int | None, size: int) -> Batches:
        schema = pa.schema([self.schema.field(name) for name in types])
        first_rows = self._first_rows
        for text, first_row, next_row in zip(
            self._sections(), first_rows, first_rows[1:], strict=False
        ):
            if overlap(first_row, next_row - first_row, start, stop):
                table = self._parse(text, schema, first_row).select(schema.names)
                self._refuse_rounding(table, text)
                row = first_row
                for batch in table.combine_chunks().to_batches():
                    yield row, batch
                    row += batch.num_rows

    def _sections(self) -> Iterator[bytes]:
        """Yield whole lines, some megabytes at a time, the same in each pass."""
        rest, is_first = b"", True
        with self.filesystem.open_input_stream(self.path, buffer_size=0) as stream:
            while text := stream.read(_SECTION_BYTES):
                text = rest + text
                if is_first:
                    text, is_first = text.removeprefix(BYTE_ORDER_MARK), False
                end = text.rfind(b"\n") + 1
                if not end and len(text) >= _MAX_LINE_BYTES:
                    reason = f"has no line end within {len(text):,} bytes"
                    raise self.error(f"{reason}; write each row as an object on a line of its own")
                rest = text[end:]
                if text[:end].strip():
                    yield text[:end]
        if rest.strip():
            yield rest

    def _parse(self, text: bytes, schema: pa.Schema | None, first_row: int) -> pa.Table:
        """Parse lines; without a schema all members, with types that fit these lines."""
        behavior = "infer" if schema is None else "ignore"
        options = ParseOptions(schema, unexpected_field_behavior=behavior)
        with suppress(pa.ArrowException):
            return read_json(pa.BufferReader(text), ReadOptions(use_threads=True), options)
        try:
            # One block is slower, but all its rows together decide the types, and rows are counted.
            reading = ReadOptions(use_threads=False, block_size=len(text))
            return read_json(pa.BufferReader(text), reading, options)
        except pa.ArrowException as error:
            raise self._parse_error(first_line(error), first_row) from None

    def _parse_error(self, message: str, first_row: int) -> InputError:
        match = re.search(r" in row (\d+)", message)
        row = f"row {first_row + int(match[1]) + 1}" if match else "a row"
        if match := re.search(r"Column\(/(.*)\) changed from (\w+) to (\w+)", message):
            name, earlier, later = match.groups()
            return self._mixed_types(name, earlier, later, row)
        if match := re.search(r"Column\(/(.*)\) was specified twice", message):
            return self.error(f"has two members named {match[1]!r} in {row}; rename one")
        return self.error(f"is no JSON in {row} ({message}); write each row as an object on a line")

    def _common_type(
        self, name: str, earlier: pa.DataType, later: pa.DataType, row: int
    ) -> pa.DataType:
        """Choose the type of a column that earlier lines have as another; refuse to mix kinds."""
        if earlier == later or pa.types.is_null(later):
            return earlier
        if pa.types.is_null(earlier):
            return later
        kinds = {dtype_kind(earlier), dtype_kind(later)}
        if kinds == {"numbers"} and pa.bool_() not in (earlier, later):
            return pa.float64()
        if kinds <= {"text", "times"}:
            return pa.string()  # some of the texts look like times
        raise self._mixed_types(name, earlier, later, f"row {row + 1}")

    def _mixed_types(self, name: str, earlier: object, later: object, row: str) -> InputError:
        text = f"has a {later} in column {name!r}, {row}, after rows with a {earlier}"
        return self.error(f"{text}; write all its values as one type, or null")

    def _refuse_rounding(self, table: pa.Table, text: bytes) -> None:
        """Refuse a whole number that float64 does not hold, as other formats do."""
        for name, numbers in zip(table.column_names, table.columns, strict=True):
            if pa.types.is_float64(numbers.type) and may_be_rounded(numbers):
                key = re.escape(json.dumps(name, ensure_ascii=False).encode())
                for match in re.finditer(key + rb"\s*:\s*(-?\d{16,})\s*[,}]", text):
                    if int(match[1]) != int(float(match[1])):
                        raise self.error(f"has {match[1].decode()} in column {name!r}, {ROUNDED}")
