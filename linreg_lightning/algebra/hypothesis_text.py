"""Reads linear hypotheses such as `x1 = x2, 2*x3 + x4 = 1`, with fractions that are exact."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

from linreg_lightning.errors import InputError
from linreg_lightning.matching import name_hint

_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?(?=[\s,=+*-]|$)")
_SIGN = re.compile(r"[^\w\s]")
# A term as a user means it: brackets keep blanks and operators within a name.
_BRACKETS = r"\((?:[^()]|\([^()]*\))*\)|\[[^\[\]]*\]"
_WORD = re.compile(rf"(?:{_BRACKETS}|[^\s,=+*])*")
_AFTER_NAME = " \t\r\n,=+*-"
_EXAMPLE = "type hypotheses such as 'x1 = x2, 2*x3 = 1'"

Coefficients = dict[int, Fraction]  # by the place of the term in the table of coefficients


class Hypothesis(NamedTuple):
    """The sum of coefficient times term is `value`; `text` says it with all terms on the left."""

    text: str
    coefficients: Coefficients
    value: Fraction


def parse_hypotheses(text: str, names: Sequence[str]) -> list[Hypothesis]:
    """Read hypotheses, which commas separate, about terms of these names.

    Each has one `=` or more between sums of terms and numbers; a term may have a number as its
    factor. At each place the longest name that fits is taken, so that a name may hold blanks,
    operators and commas, as `city[St. Louis]` and `a - b` do. Where none fits, blanks beside other
    signs than letters and digits, and the kind of quotes, do not count: `I(a**2)` is `I(a ** 2)`.

    Raises:
        InputError: the text is no such list, names no coefficient or an unknown one, or has a
            number that is the name of a column too.

    >>> [each.text for each in parse_hypotheses("1 = 2*b - a, a = b = 0", ["a", "b"])]
    ['2*b - a = 1', 'a - b = 0', 'b = 0']
    """
    if not isinstance(text, str):
        raise InputError(f"hypotheses: a {type(text).__name__} was given; {_EXAMPLE}")
    scanner = _Scanner(text, sorted(filter(None, names), key=len, reverse=True))
    hypotheses: list[Hypothesis] = []
    place = {name: k for k, name in reversed(list(enumerate(names)))}
    while True:
        left = scanner.sum()
        if not scanner.take("="):
            raise scanner.error("an = is missing")
        while True:
            right = scanner.sum()
            hypotheses.append(_hypothesis(left, right, place))
            left = right
            if not scanner.take("="):
                break
        if scanner.at_end:
            return hypotheses
        if not scanner.take(","):
            raise scanner.error("an operator or a comma is missing")


def reduce_hypotheses(hypotheses: Sequence[Hypothesis]) -> list[Hypothesis]:
    """Return hypotheses equivalent to these in which each has a term that no other has.

    Raises:
        InputError: one of them follows from the others, or contradicts them.
    """
    pivots: dict[int, Hypothesis] = {}
    for number, each in enumerate(hypotheses):
        rest = each
        for pivot in each.coefficients.keys() & pivots.keys():
            rest = _eliminate(rest, pivot, pivots[pivot])
        if not rest.coefficients:
            if rest.value:
                others = ", ".join(other.text for other in hypotheses[:number])
                text = f"{each.text} contradicts {others}; leave one of them out"
                raise InputError(f"hypotheses: {text}")
            text = f"{each.text} follows from those before it; leave it out"
            raise InputError(f"hypotheses: {text}")
        pivot, factor = max(rest.coefficients.items(), key=lambda item: abs(item[1]))
        rest = rest._replace(
            coefficients={k: v / factor for k, v in rest.coefficients.items()},
            value=rest.value / factor,
        )
        for other, earlier in pivots.items():
            if pivot in earlier.coefficients:
                pivots[other] = _eliminate(earlier, pivot, rest)
        pivots[pivot] = rest
    return list(pivots.values())


class _Sum(NamedTuple):
    terms: dict[str, Fraction]
    constant: Fraction


class _Scanner:
    """Reads sums from left to right; `names` are the longest first."""

    def __init__(self, text: str, names: Sequence[str]) -> None:
        self._text, self._names, self._place = text, names, 0

    @cached_property
    def _spellings(self) -> list[tuple[re.Pattern[str], str]]:
        return [(re.compile(_spelling(name)), name) for name in self._names if _SIGN.search(name)]

    @property
    def at_end(self) -> bool:
        return not self._rest.strip()

    def take(self, symbol: str) -> bool:
        """Go past a symbol, if it is the next one."""
        self._skip_blanks()
        found = self._rest.startswith(symbol)
        self._place += len(symbol) * found
        return found

    def sum(self) -> _Sum:
        """Read terms and numbers with signs before and between them."""
        terms: dict[str, Fraction] = {}
        constant = Fraction(0)
        sign = -1 if self.take("-") else 1
        if sign == 1:
            self.take("+")
        while True:
            factor, name = self._product()
            if name is None:
                constant += sign * factor
            else:
                terms[name] = terms.get(name, Fraction(0)) + sign * factor
            if self.take("+"):
                sign = 1
            elif self.take("-"):
                sign = -1
            else:
                return _Sum({k: v for k, v in terms.items() if v}, constant)

    def error(self, problem: str) -> InputError:
        """Return the error for a problem at this place."""
        before = self._text[: self._place].rstrip()
        where = f"after {before!r}" if before else "at its start"
        return InputError(f"hypotheses: {self._text!r} was given; {problem} {where}; {_EXAMPLE}")

    def _product(self) -> tuple[Fraction, str | None]:
        self._skip_blanks()
        start = self._place
        number, (name, length) = self._number(), self._name()
        if number is not None and name is not None and length >= len(number):
            self._place = start + len(number)
            is_factor = length == len(number) and self.take("*")
            if not is_factor:
                text = f"{name} is a number and a column; type 1*{name} for the column"
                raise InputError(f"hypotheses: {text}, and {float(number)!r} for the number")
            return self._value(number), self._known_name()
        if name is not None:
            self._place += length
            if not self.take("*"):
                return Fraction(1), name
            self._skip_blanks()
            number = self._number()
            if number is None:
                raise self.error("a number is missing")
            self._place += len(number)
            return self._value(number), name
        if number is not None:
            self._place += len(number)
            return self._value(number), self._known_name() if self.take("*") else None
        return Fraction(1), self._known_name()

    def _known_name(self) -> str:
        self._skip_blanks()
        name, length = self._name()
        if name is None:
            found = _WORD.match(self._rest)
            if not (word := found[0] if found else ""):
                raise self.error("a term is missing")
            hint = name_hint(word, sorted(self._names))
            raise InputError(f"hypotheses: the fit has no term {word!r}; {hint}")
        self._place += length
        return name

    def _value(self, number: str) -> Fraction:
        size = float(number)
        if size == float("inf") or (size == 0 and re.search("[1-9]", re.split("[eE]", number)[0])):
            raise InputError(f"hypotheses: {number} was given; type a number that float64 holds")
        return Fraction(number)

    def _number(self) -> str | None:
        found = _NUMBER.match(self._rest)
        return found[0] if found else None

    def _name(self) -> tuple[str | None, int]:
        """Return the name here, and how many characters of the text it has."""
        rest = self._rest
        for name in self._names:
            if rest.startswith(name) and rest[len(name) : len(name) + 1] in ("", *_AFTER_NAME):
                return name, len(name)
        for pattern, name in self._spellings:
            if (found := pattern.match(rest)) and rest[found.end() :][:1] in ("", *_AFTER_NAME):
                return name, found.end()
        return None, 0

    @property
    def _rest(self) -> str:
        return self._text[self._place :]

    def _skip_blanks(self) -> None:
        rest = self._rest
        self._place += len(rest) - len(rest.lstrip())


def _spelling(name: str) -> str:
    """Return a pattern of a name with or without blanks beside its signs."""
    pattern, before = "", ""
    for token in re.findall(r"\w+|[^\w\s]", name):
        words = bool(re.match(r"\w", before) and re.match(r"\w", token))
        pattern += (r"\s+" if words else r"\s*") * bool(before)
        pattern += "['\"]" if token in ("'", '"') else re.escape(token)
        before = token
    return pattern


def _hypothesis(left: _Sum, right: _Sum, place: dict[str, int]) -> Hypothesis:
    if not left.terms:
        left, right = right, left
    terms = dict(left.terms)
    for name, factor in right.terms.items():
        terms[name] = terms.get(name, Fraction(0)) - factor
    terms = {name: factor for name, factor in terms.items() if factor}
    value = right.constant - left.constant
    if not terms:
        text = "a hypothesis names no coefficient, or takes it from itself"
        raise InputError(f"hypotheses: {text}; {_EXAMPLE}")
    text = " ".join(_signed(factor, name) for name, factor in terms.items())
    text = f"-{text[2:]}" if text.startswith("- ") else text[2:]
    coefficients = {place[name]: factor for name, factor in terms.items()}
    return Hypothesis(f"{text} = {float(value):.12g}", coefficients, value)


def _signed(factor: Fraction, name: str) -> str:
    number = "" if abs(factor) == 1 else f"{float(abs(factor)):.12g}*"
    return f"{'-' if factor < 0 else '+'} {number}{name}"


def _eliminate(hypothesis: Hypothesis, pivot: int, by: Hypothesis) -> Hypothesis:
    """Return a hypothesis without the term `pivot`, of which `by` has the coefficient 1."""
    factor = hypothesis.coefficients[pivot]
    coefficients = dict(hypothesis.coefficients)
    for k, v in by.coefficients.items():
        coefficients[k] = coefficients.get(k, Fraction(0)) - factor * v
    coefficients = {k: v for k, v in coefficients.items() if v}
    value = hypothesis.value - factor * by.value
    return Hypothesis(hypothesis.text, coefficients, value)
