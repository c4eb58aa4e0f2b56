"""Which columns of a table play which role."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import pyarrow as pa

from linreg_lightning.design_matrix.dates import Dates, is_known_zone
from linreg_lightning.errors import InputError
from linreg_lightning.tables.csv_layout import NAMELESS, is_marker
from linreg_lightning.tables.dataset import TableDataset
from linreg_lightning.tables.table_file import dtype_kind
from linreg_lightning.validation import row_number

_TIMES_HINT = "turn it into a number, such as days; or "
_SAMPLE_ROWS = 1000
_LIKE_A_NUMBER = re.compile(r"[^A-Za-z]*[0-9]")  # $7.50 and (12) too
_PANDAS_ROW_NUMBERS = re.compile(r"__index_level_\d+__")


class ColumnRoles(NamedTuple):
    """The roles of columns: `features` in the order of x; `categories` are some of these.

    `by` is the column of groups, each of which gets a fit of its own. `dates` are the features that
    are dates or times of day, with the type to read each as where the table is text. `has_classes`
    says that the target, one column, is a category. `group` is the column whose groups of rows each
    lie in one fold of a cross-validation, and `clusters` those whose errors are correlated within
    clusters; these may be features too. Effects of the levels of the columns `absorbed` are no
    columns of x.
    """

    features: list[str]
    categories: list[str]
    targets: list[str]
    weight: str | None
    by: str | None = None
    dates: Mapping[str, Any] = MappingProxyType({})
    has_classes: bool = False
    group: str | None = None
    clusters: tuple[str, ...] = ()
    absorbed: tuple[str, ...] = ()

    @property
    def keys(self) -> list[tuple[str, str]]:
        """The columns that say which rows belong together, each with its argument's name."""
        groups = [] if self.group is None else [("group", self.group)]
        clusters = [("cluster", name) for name in self.clusters]
        absorbed = [("absorb", name) for name in self.absorbed if name not in self.clusters]
        return [*groups, *clusters, *absorbed]

    @property
    def values(self) -> list[str]:
        """The columns beside x: targets, then groups (by) and `keys`, then the weight."""
        by, weight = ([] if name is None else [name] for name in (self.by, self.weight))
        return [*self.targets, *by, *(name for _, name in self.keys), *weight]

    def without_keys(self) -> ColumnRoles:
        """Return the roles of rows that no model is fitted to."""
        return self._replace(group=None, clusters=(), absorbed=())

    def reading(self, features: list[str], targets: list[str]) -> ColumnRoles:
        """Return the roles for a pass that reads these columns and the weight alone."""
        return self.without_keys()._replace(features=features, targets=targets, by=None)

    @classmethod
    def assign(
        cls,
        dataset: TableDataset,
        features: Sequence[str] | None,
        exclude: Sequence[str],
        categorical: Sequence[str],
        targets: Sequence[str],
        weight: str | None,
        by: str | None = None,
        dates: Dates = "refuse",
        has_classes: bool = False,
        group: str | None = None,
        clusters: Sequence[str] = (),
        absorbed: Sequence[str] = (),
    ) -> ColumnRoles:
        """Assign the roles that the arguments of `TabularData` ask for.

        Raises:
            InputError: a column does not exist, has two roles, or has a type that fits none.
        """
        keys: dict[str, Any] = {"clusters": tuple(clusters), "absorbed": tuple(absorbed)}
        roles = cls([], [], list(targets), weight, by, has_classes=has_classes, group=group, **keys)
        may_be_features = {group, *clusters} - {*absorbed}
        # Columns without a name are left out also if nothing says so.
        dataset.check_columns("exclude", [name for name in exclude if name])
        dataset.check_columns("categorical", categorical)
        if features is None:
            constant = dataset.constant_keys.difference(categorical)
            taken = {*roles.values, *exclude, *constant}
            names = [name for name in dataset.schema.names if name not in taken]
            names = [name for name in names if not _PANDAS_ROW_NUMBERS.fullmatch(name)]
            features = [name for name in names if not NAMELESS.fullmatch(name)]
        else:
            dataset.check_columns("features", features)
        for name in features:
            if name in roles.values and name not in may_be_features:
                reason = "is a target, the weight, the column of groups or absorbed already"
                raise InputError(f"features: {name!r} {reason}; leave it out")
            if name in exclude:
                raise InputError(f"exclude: {name!r} is one of the features; leave it out there")
        for name in categorical:
            if name not in features:
                raise InputError(f"categorical: {name!r} is not one of the features; leave it out")
        categories, times = [], {}
        for name in features:
            dtype = dataset.schema.field(name).type
            kind = dtype_kind(dtype)
            is_category = name in categorical or kind == "text"
            if kind == "times" and not is_category and not pa.types.is_duration(dtype):
                times[name] = _fitted_type(dataset, name, dates)
                continue
            _check_kind(dataset, "categorical" if is_category else "features", name, is_category)
            if is_category:
                categories.append(name)
        return roles._replace(features=list(features), categories=categories, dates=times)

    def check(self, dataset: TableDataset) -> None:
        """Raise InputError if a table lacks a column, or its type does not fit its role."""
        weight = [] if self.weight is None else [self.weight]
        roles = {"features": self.features, "target": self.targets, "weight": weight}
        dataset.check_columns("by", [] if self.by is None else [self.by])
        for argument, name in self.keys:
            dataset.check_columns(argument, [name])
            _check_kind(dataset, argument, name, is_category=True)
        for name, fitted in self.dates.items():
            dtype = dataset.schema.field(name).type if name in dataset.schema.names else pa.null()
            if dtype_kind(dtype) == "times" or not dataset.is_text:
                where = f"{dataset.argument}: column {name!r} of {dataset.name}"
                check_dates(where, fitted, dtype)
        for argument, names in roles.items():
            dataset.check_columns(argument, names)
            if dataset.is_text:
                for name in names if argument == "target" else ():
                    if self.has_classes:
                        _check_kind(dataset, argument, name, is_category=False)
                    else:
                        _refuse_words(dataset, name)
                continue  # other text is checked value by value
            for name in names:
                if name in self.dates and argument == "features":
                    continue
                is_category = name in self.categories
                is_text = dtype_kind(dataset.schema.field(name).type) == "text"
                if argument == "target" and self.has_classes and is_text:
                    continue
                if not is_category and is_text:
                    raise _text_for_numbers(dataset, argument, name)
                _check_kind(dataset, argument, name, is_category)

    def types(self, dataset: TableDataset, kept: Sequence[str] = ()) -> dict[str, Any]:
        """Return the columns to read, with the type to read each as where the table is text."""
        types: dict[str, Any] = dict.fromkeys(kept, pa.string())
        for name in [*self.features, *self.values]:
            is_boolean = pa.types.is_boolean(dataset.schema.field(name).type)
            types[name] = pa.bool_() if is_boolean else pa.float64()
        levels = pa.dictionary(pa.int32(), pa.string())
        for name in self.dates:
            if name in types:
                types[name] = self._date_type(dataset.schema.field(name).type, name, name in kept)
        texts = [*self.categories, *([] if self.by is None else [self.by])]
        texts += [name for _, name in self.keys if name not in self.features]
        texts += self.targets if self.has_classes else []
        return types | dict.fromkeys(texts, levels)

    def _date_type(self, guess: pa.DataType, name: str, is_kept: bool) -> pa.DataType:
        """Return the type to read dates in text as; those that are kept stay as they are."""
        fitted = self.dates[name]
        if dtype_kind(guess) != "times" or pa.types.is_time(fitted):
            return fitted
        is_fine = pa.types.is_timestamp(guess) and guess.unit == "ns"
        return guess if is_kept or is_fine else fitted


def _fitted_type(dataset: TableDataset, name: str, dates: Dates) -> pa.DataType:
    """Return the type of a column of dates or times of day, or refuse it as `dates` says."""
    dtype = dataset.schema.field(name).type
    dtype = dtype.value_type if pa.types.is_dictionary(dtype) else dtype
    is_time = pa.types.is_time(dtype)
    text = f"dates: column {name!r} of {dataset.name} holds values of type {dtype}"
    parts = "parts (indicators of hours)" if is_time else "parts (year, month, weekday, hour)"
    days = "" if is_time else " or days (since the first date)"
    if dates == "refuse" or (is_time and dates == "days"):
        reason = ", which have no date" if dates == "days" else ""
        others = "leave it out by exclude, or name it in categorical"
        raise InputError(f"{text}{reason}; type {parts}{days}, {others}")
    zone = getattr(dtype, "tz", None)
    if zone is not None and not is_known_zone(zone):
        reason = f"{text}, whose time zone is not known here"
        raise InputError(f"{reason}; convert it to UTC, or leave it out by exclude")
    return pa.time32("s") if is_time else pa.timestamp("us", zone)


def check_dates(column: str, fitted: pa.DataType, dtype: pa.DataType) -> None:
    """Refuse a column that does not hold dates of the kind that the design was fitted on."""
    dtype = dtype.value_type if pa.types.is_dictionary(dtype) else dtype
    if pa.types.is_null(dtype):
        return
    is_time = pa.types.is_time(fitted)
    has_zone = getattr(fitted, "tz", None) is not None
    is_same_zone = (getattr(dtype, "tz", None) is not None) == has_zone
    is_date = dtype_kind(dtype) == "times" and not pa.types.is_duration(dtype)
    if not is_date or pa.types.is_time(dtype) != is_time or not is_same_zone:
        kind = "times of day" if is_time else f"dates with{'' if has_zone else 'out'} a time zone"
        raise InputError(
            f"{column} holds values of type {dtype}, and the model was fitted on {kind}; "
            "give a column of the same kind"
        )


def _check_kind(dataset: TableDataset, argument: str, name: str, is_category: bool) -> None:
    """Refuse a column of times, unless it is a category, or of a type without a use."""
    dtype = dataset.schema.field(name).type
    kind = dtype_kind(dtype)
    if kind == "other" or (kind == "times" and not is_category):
        is_feature = argument in ("features", "categorical")
        remedy = "leave it out by exclude" if is_feature else "name another column"
        remedy = f"{_TIMES_HINT if kind == 'times' else ''}{remedy}"
        raise InputError(
            f"{argument}: column {name!r} of {dataset.name} holds values of type {dtype}; {remedy}"
        )


def _refuse_words(dataset: TableDataset, target: str) -> None:
    """Refuse a target in a file of text whose first rows hold words, and nothing like a number."""
    if dtype_kind(dataset.schema.field(target).type) == "text":
        sample = dataset.sample([target], _SAMPLE_ROWS)  # without a column that cannot be read
        column = sample.get(target, pa.array([], pa.string()))
        texts = column.unique().drop_null().to_pylist()
        word = next((text for text in texts if text.strip() and not is_marker(text)), None)
        if word is not None and not any(map(_LIKE_A_NUMBER.match, texts)):
            row = column.index(word).as_py()
            example = f", such as {word!r} in {row_number(row)}"
            raise _text_for_numbers(dataset, "target", target, example)


def _text_for_numbers(
    dataset: TableDataset, argument: str, name: str, example: str = ""
) -> InputError:
    text = f"column {name!r} of {dataset.name} holds text{example}, and numbers are needed"
    if argument != "target":
        return InputError(f"{argument}: {text}; turn it into numbers, or name another")
    remedy = "turn it into numbers, name another or, if it holds classes, set classes to true"
    return InputError(f"target: {text} for a regression; {remedy}")
