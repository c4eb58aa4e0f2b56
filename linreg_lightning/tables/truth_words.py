"""Recognises columns in which true and false are written in several pairs of words."""

from collections.abc import Callable
from typing import final

from linreg_lightning.tables.number_text import Place

_PAIRS = ({"true", "false"}, {"yes", "no"}, {"t", "f"}, {"y", "n"})


@final
class TruthWords:
    """The pairs of words for true and false that a column has, such as yes and no.

    >>> words = TruthWords()
    >>> words.add("TRUE", lambda: Place("TRUE", "row 1"))
    >>> words.add("no", lambda: Place("no", "row 2"))
    >>> words.advice("x")
    "has 'no' in column 'x', row 2, and 'TRUE' in row 1; write true and false in one pair of words"
    """

    def __init__(self) -> None:
        self._fit = True
        self._found: dict[int, Place] = {}

    def add(self, text: str, place: Callable[[], Place]) -> None:
        """Add a text of the column."""
        pairs = [k for k, words in enumerate(_PAIRS) if text.strip().lower() in words]
        self._fit = self._fit and bool(pairs)
        if self._fit and pairs[0] not in self._found:
            self._found[pairs[0]] = place()

    def advice(self, name: str) -> str | None:
        """Refuse several pairs of words; None for one pair, and for a column of other texts."""
        if not self._fit or len(self._found) < 2:
            return None
        one, two = list(self._found.values())[:2]
        text = f"{two.describe(name)}, and {one.text!r} in {one.row}"
        return f"{text}; write true and false in one pair of words"
