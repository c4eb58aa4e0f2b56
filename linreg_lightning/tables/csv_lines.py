"""The lines of CSV text, as pyarrow sees them, without parsing them."""

from __future__ import annotations

from typing import Any

import numpy as np

_QUOTE, _NEWLINE, _RETURN = b'"\n\r'


def _breaks(text: bytes) -> Any:
    """Where there are ends of lines, quoted or not; those that are made of two bytes: the second.

    A carriage return at the very end may be the first of two.
    """
    characters = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(characters == _NEWLINE)
    if b"\r" in text:
        returns = np.flatnonzero(characters[:-1] == _RETURN)
        alone = returns[characters[returns + 1] != _NEWLINE]
        ends = np.sort(np.concatenate((ends, alone))) if len(alone) else ends
    return ends


def line_ends(text: bytes, delimiter: str) -> Any:
    r"""Where lines end: those of its breaks that are not quoted, as pyarrow sees it.

    Args:
        text: begins with a line.
        delimiter: what separates columns.

    >>> line_ends(b'size,a\n3",1\n"\n",2\n5",3\n', ",").tolist()
    [6, 11, 17, 22]
    """
    ends = _breaks(text)
    if b'"' not in text:
        return ends
    characters = np.frombuffer(text, np.uint8)
    quotes = np.flatnonzero(characters == _QUOTE)
    # Quotes open at the start of a value, and twice in succession they are one of the value's own.
    before = characters[quotes - 1]
    opens = (quotes == 0) | np.isin(before, (ord(delimiter), _NEWLINE, _RETURN))
    opens[1:] |= np.diff(quotes) == 1
    if not opens[::2].all():
        quotes = _quoting(quotes, before, ord(delimiter))
    outside = ends[np.searchsorted(quotes, ends) % 2 == 0]
    # A text that would be one line, and not end, has a quote that is none.
    return outside if len(outside) or len(quotes) % 2 == 0 else ends


def _quoting(quotes: Any, before: Any, delimiter: int) -> Any:
    """Which quotes open and close values, in turn, where some are letters like others."""
    starts = {delimiter, _NEWLINE, _RETURN}
    found: list[int] = []
    places, skip = quotes.tolist(), -1
    for place, character, following in zip(places, before.tolist(), [*places[1:], -1], strict=True):
        inside = len(found) % 2 == 1
        if place == skip:
            continue
        if inside and following == place + 1:
            skip = following
        elif inside or place == 0 or character in starts:
            found.append(place)
    return np.array(found, np.int64)


def last_line_end(text: bytes, delimiter: str) -> int:
    """Behind the last line; 0 if none ends."""
    if b'"' not in text:
        return text.rfind(b"\n") + 1
    ends = line_ends(text, delimiter)
    return int(ends[-1]) + 1 if len(ends) else 0


def has_quoted_newlines(text: bytes, delimiter: str) -> bool:
    """Whether a value goes on in another line."""
    return b'"' in text and len(line_ends(text, delimiter)) < len(_breaks(text))


def count_lines(text: bytes, delimiter: str) -> int:
    r"""How many lines are not empty, as pyarrow skips those that are.

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
