"""Where the lines of CSV text end; agrees with pyarrow and does not parse the values."""

import re

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
