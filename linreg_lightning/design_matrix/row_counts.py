"""Counts what happened to rows on their way into batches, and says it in one line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

_EXAMPLES = 3


class UnseenLevels(NamedTuple):
    """The rows of a column whose level no row trained on had.

    They count as the level `counted_as`: the first one, all of whose indicators are 0. None: every
    level has an indicator, so that the rows count as none of them.
    """

    rows: int
    examples: tuple[str, ...]
    counted_as: str | None

    def __add__(self, other: UnseenLevels) -> UnseenLevels:  # type: ignore[override]
        examples = tuple(dict.fromkeys((*self.examples, *other.examples)))[:_EXAMPLES]
        return UnseenLevels(self.rows + other.rows, examples, self.counted_as)

    def describe(self, column: str) -> str:
        """Say how many rows of the column count as which level."""
        rows = "1 row" if self.rows == 1 else f"{self.rows} rows"
        level = "none of its levels" if self.counted_as is None else repr(self.counted_as)
        return (
            f"column {column!r}, {rows} as {level} (such as {', '.join(map(repr, self.examples))})"
        )


@dataclass(frozen=True)
class RowCounts:
    """How many `rows` were read, and what some of them lacked.

    Args:
        rows: the number of rows.
        incomplete: the rows that lack a value after means were filled in.
        missing: the missing values of these, by column.
        filled: the values filled in for other rows, by column.
        unseen_rows: the rows with a level that no row trained on had, neither refused nor
            incomplete.
        unseen: what became of these, by column.
    """

    rows: int = 0
    incomplete: int = 0
    missing: Counter[str] = field(default_factory=Counter)
    filled: Counter[str] = field(default_factory=Counter)
    unseen_rows: int = 0
    unseen: dict[str, UnseenLevels] = field(default_factory=dict)

    def __add__(self, other: RowCounts) -> RowCounts:
        unseen = dict(self.unseen)
        for column, levels in other.unseen.items():
            unseen[column] = unseen[column] + levels if column in unseen else levels
        return RowCounts(
            self.rows + other.rows,
            self.incomplete + other.incomplete,
            self.missing + other.missing,
            self.filled + other.filled,
            self.unseen_rows + other.unseen_rows,
            unseen,
        )

    def messages(self, purpose: str = "to predict") -> list[str]:
        """Say what happened to rows with missing values or unseen levels, one line for each kind.

        `purpose` says what the rows are for.

        >>> RowCounts(10, 2, missing=Counter(age=1, city=1)).messages("to train on")
        ['2 of 10 rows were left out of those to train on; missing values: age 1, city 1']
        >>> RowCounts(10, filled=Counter(age=3)).messages()
        ['In the 10 rows to predict, 3 missing values were replaced by means: age 3']
        >>> unseen = {"c": UnseenLevels(2, ("z",), "a")}
        >>> RowCounts(4, unseen_rows=2, unseen=unseen).messages("to test on")[0][-48:]
        "another: column 'c', 2 rows as 'a' (such as 'z')"
        """
        lines = []
        if self.incomplete:
            predicts = purpose == "to predict"
            outcome = "given no prediction" if predicts else f"left out of those {purpose}"
            rows = f"{self.incomplete} of {self.rows} rows were {outcome}"
            lines.append(f"{rows}; missing values: {_listed(self.missing)}")
        if self.filled:
            values = self.filled.total()
            text = "1 missing value was" if values == 1 else f"{values} missing values were"
            rows = f"In the {self.rows} rows {purpose}"
            lines.append(f"{rows}, {text} replaced by means: {_listed(self.filled)}")
        if self.unseen:
            columns = "; ".join(levels.describe(name) for name, levels in self.unseen.items())
            rows = f"{self.unseen_rows} of {self.rows} rows {purpose}"
            use = "are predicted as" if purpose == "to predict" else "count as"
            lines.append(
                f"{rows} have a level that no row trained on had, and {use} another: {columns}"
            )
        return lines


def too_few_complete(
    rows: int, incomplete: int, missing: Counter[str], features: Collection[str]
) -> str:
    """Say which columns left too few rows that are complete, and what to do.

    >>> too_few_complete(9, 9, Counter(age=9, city=2), ["age", "city"])
    "9 of 9 rows lack a value (age 9, city 2); leave 'age' out by exclude"
    """
    names = [name for name, count in missing.most_common() if count]
    text = f"{incomplete} of {rows} rows lack a value ({_listed(+missing)})"
    if not names or names[0] not in features:
        return f"{text}; give values to {names[0]!r}" if names else text
    remedy = f"leave {names[0]!r} out by exclude"
    return f"{text}; {remedy}" + ("" if missing[names[0]] == rows else ", or set missing to mean")


def _listed(values: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(values.items()))
