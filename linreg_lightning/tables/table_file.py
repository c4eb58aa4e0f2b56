"""One file of a table: its columns, the number of its rows, and the rows themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from linreg_lightning.errors import InputError


class TableFile(ABC):
    """A file that can be read in part, in order, in constant memory.

    Args:
        path: of the file, as its file system has it.
        filesystem: a pyarrow file system.
        size: of the file, in bytes.
    """

    form: str
    """What the format is called."""

    def __init__(self, path: str, filesystem: Any, size: int) -> None:
        self.path = path
        self.filesystem = filesystem
        self.size = size

    @cached_property
    @abstractmethod
    def schema(self) -> Any:
        """The pyarrow schema; of text, what its beginning looks like.

        Raises:
            InputError: the file cannot be read, or has columns that cannot be told apart.
        """

    @cached_property
    @abstractmethod
    def rows(self) -> int:
        """How many rows it has; for text, this reads the whole file once."""

    @abstractmethod
    def read(
        self, types: Mapping[str, Any], start: int, stop: int | None, size: int
    ) -> Iterator[tuple[int, Any]]:
        """Yield (number of the first row, pyarrow record batch), in the order of the rows.

        Args:
            types: the columns to read, and for text the types to read them as.
            start: the first row, from 0.
            stop: the row behind the last one; None reads to the end.
            size: the most rows of a record batch.

        Raises:
            InputError: the file is damaged, or a value does not have the type asked for.
        """

    def cannot_be_read(self, error: Exception) -> InputError:
        """What to say of a file that pyarrow does not understand."""
        if isinstance(error, FileNotFoundError):
            return InputError(f"path: there is no file {self.path}; check the name")
        if isinstance(error, PermissionError):
            return InputError(f"path: {self.path} is not yours to read; change its permissions")
        reason = str(error).strip().splitlines()[0]
        return InputError(
            f"path: {self.path} cannot be read as {self.form}: it is damaged, cut off or something "
            f"else ({reason}); get it again"
        )

    def checked(self, schema: Any) -> Any:
        """The schema, if its columns can be told apart.

        Raises:
            InputError: two have the same name, or one has none.
        """
        names = schema.names
        repeated = next((name for name, count in Counter(names).items() if count > 1), None)
        if repeated is not None:
            raise InputError(f"path: {self.path} has two columns named {repeated!r}; rename one")
        if "" in names:
            raise InputError(
                f"path: column {names.index('') + 1} of {self.path} has no name; name it or leave "
                "it out (pandas writes such a column of row numbers without index=False)"
            )
        return schema


class Span(NamedTuple):
    """Part of something with `rows` rows in front of it: its rows from `start` to `stop`.

    >>> Span.of(rows=10, before=100, start=105, stop=None)
    Span(start=5, stop=10)
    >>> Span.of(rows=10, before=100, start=120, stop=None) is None
    True
    """

    start: int
    stop: int

    @classmethod
    def of(cls, rows: int, before: int, start: int, stop: int | None) -> Span | None:
        """The part of `rows` rows behind `before` that lies in start .. stop; None if none does."""
        first = max(start - before, 0)
        last = rows if stop is None else min(stop - before, rows)
        return cls(first, last) if first < last else None
