"""Which columns of a table play which part."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from linreg_lightning.errors import InputError
from linreg_lightning.tables.dataset import TableDataset
from linreg_lightning.tables.dtypes import dtype_kind

_HINTS = {
    "times": (
        "turn it into a number, such as days since a date, or into parts such as its month; or "
        "leave it out by --data.exclude"
    ),
    "other": "leave it out by --data.exclude",
}
# What pandas calls them.
_INDEX = re.compile(r"__index_level_\d+__")


class Columns(NamedTuple):
    """The parts that columns play.

    Attributes:
        features: what to predict from, in the order of x.
        categories: those of them that are categories.
        targets: what to predict.
        weight: how much each row counts.
    """

    features: list[str]
    categories: list[str]
    targets: list[str]
    weight: str | None

    @classmethod
    def chosen(
        cls,
        source: TableDataset,
        features: Sequence[str] | None,
        exclude: Sequence[str],
        categorical: Sequence[str],
        targets: Sequence[str],
        weight: str | None,
    ) -> Columns:
        """What the user's words mean for a table.

        Args:
            source: the table.
            features: None takes all columns that play no other part, but the numbers of rows that
                pandas writes into Parquet files beside a frame.
            exclude: columns that are no features.
            categorical: columns that are categories although they hold numbers.
            targets: to predict.
            weight: of the rows.

        Raises:
            InputError: a column does not exist, has two parts, or is of a type that has none.
        """
        taken = [*targets, *([] if weight is None else [weight])]
        for argument, names in (("exclude", exclude), ("categorical", categorical)):
            source.check_columns(argument, names)
        if features is None:
            out = {*taken, *exclude}
            names = [name for name in source.schema.names if not _INDEX.fullmatch(name)]
            features = [name for name in names if name not in out]
        else:
            source.check_columns("features", features)
        for name in features:
            if name in taken:
                raise InputError(
                    f"features: {name!r} is a target or the weight already; leave it out"
                )
            if name in exclude:
                raise InputError(f"exclude: {name!r} is one of the features; leave it out there")
        for name in categorical:
            if name not in features:
                raise InputError(f"categorical: {name!r} is not one of the features; leave it out")
        categories = []
        for name in features:
            is_a = dtype_kind(source.schema.field(name).type)
            if name in categorical or is_a == "text":
                _check(source, "categorical", name, is_a, allowed="times")
                categories.append(name)
            else:
                _check(source, "features", name, is_a)
        return cls(list(features), categories, list(targets), weight)

    def check(self, source: TableDataset) -> None:
        """Refuse a table that lacks a column, or has it with another type.

        Raises:
            InputError: it does.
        """
        parts = {
            "features": self.features,
            "target": self.targets,
            "weight": [] if self.weight is None else [self.weight],
        }
        for argument, names in parts.items():
            source.check_columns(argument, names)
            for name in names:
                if source.is_text:
                    continue  # the values themselves will say
                is_a = dtype_kind(source.schema.field(name).type)
                if name in self.categories:
                    _check(source, argument, name, is_a, allowed="times")
                    continue
                if is_a == "text":
                    raise InputError(
                        f"{argument}: column {name!r} of {source.name} holds text, and numbers are "
                        f"needed{_HINT_OF_TARGET if argument == 'target' else ''}; turn it into "
                        "numbers, or name another"
                    )
                _check(source, argument, name, is_a)

    def types(self, source: TableDataset, kept: Sequence[str] = ()) -> dict[str, Any]:
        """Each column to read, and the type to read it as where the source is text.

        Args:
            source: the table.
            kept: columns to pass on: as they are written, or the numbers that features hold.
        """
        types: dict[str, Any] = dict.fromkeys(kept, pa.string())
        for name in [
            *self.features,
            *self.targets,
            *([] if self.weight is None else [self.weight]),
        ]:
            flag = pa.types.is_boolean(source.schema.field(name).type)
            types[name] = pa.bool_() if flag else pa.float64()
        texts = pa.dictionary(pa.int32(), pa.string())
        return types | dict.fromkeys(self.categories, texts)


_HINT_OF_TARGET = " for a regression"


def _check(source: TableDataset, argument: str, name: str, is_a: str, allowed: str = "") -> None:
    if is_a not in _HINTS or is_a == allowed:
        return
    type_ = source.schema.field(name).type
    raise InputError(
        f"{argument}: column {name!r} of {source.name} holds values of type {type_}; {_HINTS[is_a]}"
    )
