"""Sections of CSV text: whole lines, read in order, in constant memory."""

import warnings
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa

from linreg_lightning.errors import InputError
from linreg_lightning.tables import csv_layout, csv_lines
from linreg_lightning.tables.csv_format import CsvFormat
from linreg_lightning.tables.table_file import TableFile

_READ_BYTES = 2**23
_HEAD_BYTES = 2**18  # where to look for lines above and below the table
_COMPRESSED = (".gz", ".bz2", ".lz4", ".zst", ".br")  # which pyarrow decompresses
CONVERT = "save it as UTF-8, such as by iconv -f {} -t UTF-8 OLD.csv > NEW.csv"
# The first bytes of files that are not CSV.
_NOT_CSV = {
    b"\xff\xfe": f"is not UTF-8 text; {CONVERT.format('UTF-16')}",
    b"\xfe\xff": f"is not UTF-8 text; {CONVERT.format('UTF-16')}",
    b"\x1f\x8b": "is compressed; let its name end in .gz",
    b"PK\x03\x04": "is a ZIP archive, as Excel's are; save it as CSV",
}
_MAX_LINE_BYTES = 2**26  # more text without a line end is no table


class Lines(NamedTuple):
    """Whole lines of text."""

    text: bytes
    has_quoted_newlines: bool


class Section(NamedTuple):
    """Where lines that are parsed together are in the file."""

    offset: int
    first_row: int
    rows: int


def read_sections(
    file: TableFile, csv_format: CsvFormat, offset: int, size: int, skipped: list[tuple[int, int]]
) -> Iterator[Lines]:
    """Yield whole lines from an offset on, about `size` bytes at a time, the same each pass.

    Comments and the `skipped` bytes, which a first section has to hold, become empty lines.
    """
    delimiter, footer = csv_format.delimiter_character, csv_format.skip_footer or 0
    first = offset
    with file.filesystem.open_input_stream(file.path, buffer_size=0) as stream:
        if stream.seekable():
            stream.seek(offset)
            offset = 0
        while offset > 0 and (passed := len(stream.read(min(offset, _READ_BYTES)))):
            offset -= passed
        rest, is_end = b"", False
        # A long line takes 2, 4, 8... times the size, so that each byte is copied twice at most
        # and the sections are the same wherever a pass begins.
        while not is_end:
            new = stream.read((size << (len(rest) // size).bit_length()) - len(rest))
            is_end = not new
            raw = text = rest + new
            if skipped and first == 0:
                text = csv_lines.blank_ranges(text, skipped)
            if footer:  # may end with any piece
                text = text[: csv_lines.footer_start(text, footer)]
            if csv_format.comment is not None:
                text = csv_lines.blank_comments(text, delimiter, csv_format.comment, is_end)
            if is_end:
                break
            end, has_quoted_newlines = csv_lines.whole_lines(text, delimiter)
            if not end and len(text) >= _MAX_LINE_BYTES:
                raise no_line_end(file, text)
            if end:
                yield Lines(text[:end], has_quoted_newlines)
                first += end
            rest = raw[end:]
        if text:
            if csv_lines.ends_in_quotes(text, delimiter):
                row = text[:40].decode(errors="replace")
                reason = f"ends within a quoted value, in the row that begins with {row!r}"
                raise file.error(f"{reason}; it is cut off or lacks a quote")
            yield Lines(text, csv_lines.has_quoted_newlines(text, delimiter))


def no_line_end(file: TableFile, text: bytes) -> InputError:
    """Say that a text has no line end, where a header should end."""
    if b"\r" in text.strip() and b"\n" not in text:
        return file.error("ends its lines by carriage returns; save it with line feeds")
    quotes = " outside of quotes" if b"\n" in text else ""
    reason = f"has no line end within {len(text):,} bytes of text{quotes}"
    return file.error(f"{reason}; is it a CSV file? Each row needs a line of its own")


def refuse_other_formats(file: TableFile, text: bytes) -> None:
    """Raise InputError if the text at the beginning of a file is no CSV in UTF-8."""
    for first_bytes, reason in _NOT_CSV.items():
        if text.startswith(first_bytes):
            raise file.error(reason)
    if not text.strip():
        raise file.error("is empty; it needs a header and rows")
    if b"\0" in text.partition(b"\n")[0]:
        even, odd = text[:100:2].strip(b"\0"), text[1:100:2].strip(b"\0")
        if bool(even) != bool(odd):
            encoding = CONVERT.format("UTF-16LE" if even else "UTF-16BE")
            raise file.error(f"is not UTF-8 text; {encoding}")
        reason = "is neither text nor a Parquet or Arrow file"
        raise file.error(f"{reason}; decompress it, or save it as one of these")
    if b"\n" not in text.lstrip():
        raise no_line_end(file, text)


def find_skipped_lines(file: TableFile, csv_format: CsvFormat, size: int) -> list[tuple[int, int]]:
    """Find the lines to skip among the first `size` bytes: where each begins and ends."""
    numbers = csv_format.skipped_lines
    if not numbers:
        return []
    ranges = csv_lines.line_ranges(read_head(file, size))
    if numbers[-1] >= len(ranges):
        text = (
            f"skip_rows: {csv_format.skip_rows} was given, and {file.path} has {len(ranges)} lines"
        )
        remedy = "give the lines around the header only"
        raise InputError(f"{text} in its first {size:,} bytes; {remedy}")
    return [ranges[number] for number in numbers]


def read_head(file: TableFile, size: int = _HEAD_BYTES) -> bytes:
    """Return the first lines of a file; the last one is not cut off."""
    with file.filesystem.open_input_stream(file.path, buffer_size=0) as stream:
        head = bytes(stream.read(size))
    return head if len(head) < size else head[: head.rfind(b"\n") + 1]


def read_tail(file: TableFile, only_if_quick: bool = False) -> bytes:
    """Return the last lines of a file; where that takes reading it all, nothing if so asked."""
    start, tail = 0, b""
    if not file.path.endswith(_COMPRESSED):
        with file.filesystem.open_input_file(file.path) as source:
            start = max(0, source.size() - _HEAD_BYTES)
            tail = source.read_at(_HEAD_BYTES, start)
    elif not only_if_quick:
        with file.filesystem.open_input_stream(file.path, buffer_size=0) as stream:
            while piece := stream.read(_READ_BYTES):
                start += max(0, len(tail) + len(piece) - _HEAD_BYTES)
                tail = (tail + piece)[-_HEAD_BYTES:]
    return tail[tail.find(b"\n") + 1 :] if start else tail


def check_footer(file: TableFile, csv_format: CsvFormat, width: int, text: bytes) -> None:
    """Refuse totals that count as rows; warn where `skip_footer` skips what looks like a row.

    A checkpoint brings `skip_footer` along, and a file to predict may have no footer.
    """
    tail = read_tail(file, only_if_quick=True)
    if csv_format.skip_footer is None:
        if totals := csv_layout.find_totals(tail or text, csv_format, width):
            remedy = f"type skip_footer {len(totals)} to leave it out, skip_footer 0 if it is a row"
            raise file.error(f"ends with a total, {totals[-1]}; {remedy}")
    elif row := csv_layout.find_skipped_row(tail, csv_format, width):
        warn_of_skipped_row(file, csv_format, row)


def warn_of_skipped_row(file: TableFile, csv_format: CsvFormat, row: str) -> None:
    """Say that `skip_footer` skips what looks like a row."""
    text = f"{file.argument}: skip_footer {csv_format.skip_footer} leaves out {row} of {file.path}"
    warnings.warn(f"{text}, which looks like a row; type skip_footer 0 if it is one", stacklevel=2)


def copy_to_arrow(text: bytes) -> pa.Buffer:
    """Copy text, because pyarrow's threads abort the process if they free Python's at its exit."""
    buffer = pa.allocate_buffer(len(text))
    pa.FixedSizeBufferWriter(buffer).write(text)
    return buffer
