"""Which columns of a table play which role."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from linreg_lightning.errors import InputError
from linreg_lightning.tables.dataset import TableDataset
from linreg_lightning.tables.dtypes import dtype_kind

# What to do with a column of a kind that is no number.
_REMEDIES = {
    "times": (
        "turn it into a number, such as days since a date, or into parts such as its month; or "
        "leave it out by exclude"
    ),
    "other": "leave it out by exclude",
}
# The name that pandas gives to the row numbers it writes into Parquet files.
_INDEX = re.compile(r"__index_level_\d+__")


class ColumnRoles(NamedTuple):
    """The roles of columns.

    Attributes:
        features: what to predict from, in the order of x.
        categories: those of the features that are categories.
        targets: what to predict.
        weight: how much each row counts; None means 1 for every row.
    """

    features: list[str]
    categories: list[str]
    targets: list[str]
    weight: str | None

    @property
    def values(self) -> list[str]:
        """The columns beside x: targets, then the weight."""
        return [*self.targets, *([] if self.weight is None else [self.weight])]

    @classmethod
    def assign(
        cls,
        dataset: TableDataset,
        features: Sequence[str] | None,
        exclude: Sequence[str],
        categorical: Sequence[str],
        targets: Sequence[str],
        weight: str | None,
    ) -> ColumnRoles:
        """Assign the roles that the arguments of `TabularData` ask for.

        `features` of None takes all columns without another role, except the row numbers that
        pandas writes into Parquet files.

        Raises:
            InputError: a column does not exist, has two roles, or has a type that fits none.
        """
        roles = cls([], [], list(targets), weight)
        dataset.check_columns("exclude", exclude)
        dataset.check_columns("categorical", categorical)
        if features is None:
            taken = {*roles.values, *exclude}
            names = [name for name in dataset.schema.names if not _INDEX.fullmatch(name)]
            features = [name for name in names if name not in taken]
        else:
            dataset.check_columns("features", features)
        for name in features:
            if name in roles.values:
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
            if name in categorical or dtype_kind(dataset.schema.field(name).type) == "text":
                _check_kind(dataset, "categorical", name, allowed="times")
                categories.append(name)
            else:
                _check_kind(dataset, "features", name)
        return roles._replace(features=list(features), categories=categories)

    def check(self, dataset: TableDataset) -> None:
        """Check that a table has these columns, with types that fit their roles.

        Raises:
            InputError: a column is missing or has another type.
        """
        weight = [] if self.weight is None else [self.weight]
        roles = {"features": self.features, "target": self.targets, "weight": weight}
        for argument, names in roles.items():
            dataset.check_columns(argument, names)
            if dataset.is_text:
                continue  # text is checked value by value
            for name in names:
                if name in self.categories:
                    _check_kind(dataset, argument, name, allowed="times")
                    continue
                if dtype_kind(dataset.schema.field(name).type) == "text":
                    use = " for a regression" if argument == "target" else ""
                    raise InputError(
                        f"{argument}: column {name!r} of {dataset.name} holds text, and numbers "
                        f"are needed{use}; turn it into numbers, or name another"
                    )
                _check_kind(dataset, argument, name)

    def types(self, dataset: TableDataset, kept: Sequence[str] = ()) -> dict[str, Any]:
        """Return the columns to read, with the type to read each as where the table is text.

        Columns that are only kept for the predictions are read as they are written.
        """
        types: dict[str, Any] = dict.fromkeys(kept, pa.string())
        for name in [*self.features, *self.values]:
            is_boolean = pa.types.is_boolean(dataset.schema.field(name).type)
            types[name] = pa.bool_() if is_boolean else pa.float64()
        levels = pa.dictionary(pa.int32(), pa.string())
        return types | dict.fromkeys(self.categories, levels)


def _check_kind(dataset: TableDataset, argument: str, name: str, allowed: str = "") -> None:
    """Refuse a column of times or of a type without a use, unless that kind is allowed."""
    type_ = dataset.schema.field(name).type
    remedy = _REMEDIES.get(dtype_kind(type_))
    if remedy is not None and dtype_kind(type_) != allowed:
        raise InputError(
            f"{argument}: column {name!r} of {dataset.name} holds values of type {type_}; {remedy}"
        )
