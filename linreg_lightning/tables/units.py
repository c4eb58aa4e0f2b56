"""Recognises numbers with a unit, such as 12 kg."""

import re
from collections.abc import Callable
from typing import final

from linreg_lightning.tables.number_text import CURRENCY, MINUS, Place

_QUANTITY = re.compile(
    rf"\s*[+{MINUS}]?(?P<currency>{CURRENCY})?\s*(?P<number>[0-9][0-9.,]*|[.,][0-9]+)"
    r"(?P<gap>\s*)(?P<unit>(?:[^\W\d_]|[°\"\'\u2032\u2033/])(?:[^\W\d_]|[ °/²³^.])*[23]?)?\s*"
)
_UNIT = re.compile(
    "[mckd]?m[23²³]?|in|ft|yd|mi|[mk]g|lbs?|oz|[mcd]l|ms|sec|min|hrs?|[kmgt]b|[mkg]?wh?|b?hp|cc"
    "|[kmg]?hz|[hkm]?pa|bar|psi|kmpl|mpg|mph|km/?h|m/s|sqft|°[cf]?|px|pt|pct|[\"'\u2032\u2033]"
)
_POWER = re.compile("[kmb]|[mb]n|mio|mrd|thousand|million|billion|lakh|crore|cr")
_MAX_UNITS = 20


@final
class Units:
    """The units of a column whose texts are all numbers, with or without a unit.

    >>> units = Units()
    >>> units.add("12 kg", lambda: Place("12 kg", "row 1"))
    >>> units.advice("x")
    "has '12 kg' in column 'x', row 1, and the column holds numbers with the unit 'kg'; write them \
without it, such as '12'"
    """

    def __init__(self) -> None:
        self.fit = True
        """Whether all texts so far are numbers, with or without a unit."""
        self._found: dict[str, tuple[Place, re.Match[str]]] = {}

    def add(self, text: str, place: Callable[[], Place]) -> None:
        """Add a text with a digit."""
        match = _QUANTITY.fullmatch(text) if self.fit else None
        self.fit = match is not None and len(self._found) <= _MAX_UNITS
        if match is None or not match["unit"]:
            return
        unit = match["unit"].strip().lower()
        unit = unit if len(unit) < 3 else unit.removesuffix("s")
        found = self._found.get(unit)
        is_telling = _POWER.fullmatch(unit) and _is_amount(match)
        if found is None or (is_telling and not _is_amount(found[1])):
            self._found[unit] = place(), match

    def advice(self, name: str) -> str | None:
        """Refuse numbers with units; None for texts such as 10k or 4th, which may be categories."""
        if not self.fit or not self._found:
            return None
        place, match = next(iter(self._found.values()))
        quantities = [quantity for _, quantity in self._found.values()]
        text = f"{place.describe(name)}, and the column holds numbers with"
        if all(map(_POWER.fullmatch, self._found)) and any(map(_is_amount, quantities)):
            return f"{text} {match['unit']!r} after them; write them out in digits"
        is_known = all(
            quantity["gap"] if len(unit) == 1 else _UNIT.fullmatch(unit)
            for unit, quantity in zip(self._found, quantities, strict=True)
        )
        if not is_known and not (len(quantities) == 1 and match["gap"]):
            return None
        text = f"{text} the unit {match['unit']!r}"
        if len(quantities) > 1:
            return f"{text} and others; write all in one unit, and leave the unit out"
        return f"{text}; write them without it, such as {match['number']!r}"


def _is_amount(quantity: re.Match[str]) -> bool:
    """Whether a quantity has a currency or a separator, which no category has."""
    return bool(quantity["currency"]) or re.search("[.,]", quantity["number"]) is not None
