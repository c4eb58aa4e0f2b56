"""Where the lines of CSV text end; agrees with pyarrow and does not parse the values."""

import re
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_QUOTE, _NEWLINE, _RETURN = b'"\n\r'


def line_ends(text: bytes, delimiter: str) -> NDArray[np.intp]:
    r"""Find the last byte of each line of a text that begins with a line.

    >>> line_ends(b'size,a\n3",1\n"\n",2\n5",3\n', ",").tolist()
    [6, 11, 17, 22]
    """
    newlines, is_quoted = _find_newlines(text, delimiter)
    return newlines[~is_quoted]


def whole_lines(text: bytes, delimiter: str) -> tuple[int, bool]:
    r"""Return the size of all whole lines, and whether one of their values has a line break.

    >>> whole_lines(b'1,2\n"a\nb",3\n4', ","), whole_lines(b'"a\nb', ",")
    ((12, True), (0, False))
    """
    if b'"' not in text:
        return text.rfind(b"\n") + 1, False
    newlines, is_quoted = _find_newlines(text, delimiter)
    ends = newlines[~is_quoted]
    end = int(ends[-1]) + 1 if len(ends) else 0
    return end, bool(is_quoted[newlines < end].any())


def has_quoted_newlines(text: bytes, delimiter: str) -> bool:
    """Whether a value continues on another line."""
    return bool(_find_newlines(text, delimiter)[1].any())


def _find_newlines(text: bytes, delimiter: str) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Find all newlines, and which of them are within a quoted value."""
    newlines = _newlines(text)
    if b'"' not in text:
        return newlines, np.zeros(len(newlines), bool)
    characters = np.frombuffer(text, np.uint8)
    quotes = np.flatnonzero(characters == _QUOTE)
    # A quote opens a value at its first character; two in succession stand for one in the value.
    before = characters[quotes - 1]
    opens = (quotes == 0) | (before == ord(delimiter)) | (before == _NEWLINE) | (before == _RETURN)
    opens[1:] |= np.diff(quotes) == 1
    if not opens[::2].all():
        quotes = _enclosing_quotes(text, delimiter)
    return newlines, np.searchsorted(quotes, newlines) % 2 == 1


def _newlines(text: bytes) -> NDArray[np.intp]:
    r"""Find all newlines, quoted or not; of \r\n the \n.

    A \r at the very end does not count, because a \n may follow.
    """
    characters = np.frombuffer(text, np.uint8)
    newlines = np.flatnonzero(characters == _NEWLINE)
    if b"\r" in text:
        returns = np.flatnonzero(characters[:-1] == _RETURN)
        single = returns[characters[returns + 1] != _NEWLINE]
        if len(single):
            return np.sort(np.concatenate((newlines, single)))
    return newlines


def _enclosing_quotes(text: bytes, delimiter: str) -> NDArray[np.intp]:
    """Find the quotes that open and close values; the last one may stay open."""
    # A value is quoted from its first character on, and a quote in it is doubled.
    separators = re.escape(delimiter.encode()) + rb"\n\r"
    values = re.finditer(rb'(?<![^%s])("(?:[^"]|"")*+)"?' % separators, text)
    quotes = [position for value in values for position in value.span(1) if position < len(text)]
    return np.array(quotes, np.intp)


def ends_in_quotes(text: bytes, delimiter: str) -> bool:
    r"""Whether the last value of a text begins with a quote and has no other one at its end.

    >>> ends_in_quotes(b'1,"2', ","), ends_in_quotes(b'1,"2""', ","), ends_in_quotes(b'1,2"', ",")
    (True, True, False)
    """
    return len(_enclosing_quotes(text, delimiter)) % 2 == 1


def blank_comments(text: bytes, delimiter: str, comment: str, is_end: bool) -> bytes:
    r"""Replace comments by newlines: empty lines are no rows, and each byte keeps its place.

    A comment at the end of a text that goes on stays, because more of it may follow.

    >>> blank_comments(b'# on top\n1,"#2" # no\n3,4\n#', ",", "#", is_end=False)
    b'\n\n\n\n\n\n\n\n\n1,"#2" \n\n\n\n\n3,4\n#'
    """
    mark = comment.encode()
    if mark not in text:
        return text
    separators = re.escape(delimiter.encode()) + rb"\n\r"
    value = rb'"(?<![^%s]")(?:[^"]|"")*+"?' % separators
    end = rb"" if is_end else rb"(?=[\n\r])"
    tokens = re.compile(value + rb"|" + re.escape(mark) + rb"[^\n\r]*+" + end)
    return tokens.sub(lambda token: _blank(token[0]) if token[0][:1] == mark else token[0], text)


def blank_ranges(text: bytes, ranges: list[tuple[int, int]]) -> bytes:
    """Replace parts of a text, from the first byte to before the second, by newlines."""
    for start, stop in ranges:
        text = text[:start] + _blank(text[start:stop]) + text[stop:]
    return text


def _blank(text: bytes) -> bytes:
    return b"\n" * len(text)


def line_ranges(text: bytes) -> list[tuple[int, int]]:
    r"""Find all lines as an editor shows them, where quotes mean nothing.

    >>> line_ranges(b'a "\n\nb"')
    [(0, 4), (4, 5), (5, 7)]
    """
    ends = [0, *(_newlines(text) + 1).tolist()]
    if ends[-1] != len(text):
        ends.append(len(text))
    return list(pairwise(ends))


def footer_start(text: bytes, lines: int) -> int:
    r"""Find where the last lines of a text begin, as an editor shows them.

    >>> footer_start(b"a\r\nb\r\n\r\n", 2), footer_start(b"a\nb", 1), footer_start(b"a\n", 3)
    (3, 2, 0)
    """
    start = len(text)
    while lines and start:
        stop = start - (text[start - 1] in b"\n\r")
        stop -= text[stop - 1 : stop + 1] == b"\r\n"
        start = text.rfind(b"\n", 0, stop) + 1
        start = max(start, text.rfind(b"\r", start, stop) + 1)
        lines -= 1
    return start


def count_lines(text: bytes, delimiter: str) -> int:
    r"""Count the lines that are not empty; pyarrow skips empty ones.

    >>> count_lines(b"1,2\n\n3,4\r\n\r\n5,6\r7,8", ",")
    4
    """
    ends = line_ends(text, delimiter)
    characters = np.frombuffer(text, np.uint8)
    if not len(ends) or ends[-1] != len(text) - 1:
        ends = np.append(ends, len(text))
    starts = np.concatenate(([0], ends[:-1] + 1))
    length = ends - starts
    empty = (length == 0) | ((length == 1) & (characters[starts] == _RETURN))
    return len(ends) - int(empty.sum())
