"""Finds the columns of data frames by name, and their rows by label."""

import difflib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import narwhals.stable.v2 as nw
import pyarrow as pa

from linreg_lightning.errors import InputError
from linreg_lightning.frames import collect, column_names, is_frame, to_arrow, to_narwhals

_LISTED_NAMES = 20


def select_columns(frame: Any, names: Sequence[str], argument: str = "x") -> pa.Table:
    """Return columns of a data frame by name, in this order; other columns are not read.

    Raises:
        InputError: the frame lacks a column; see also `to_arrow`.

    >>> select_columns(pa.table({"age": [30], "sqft": [90]}), ["sqft"]).column_names
    ['sqft']
    """
    present = column_names(frame)
    for name in names:
        if name not in present:
            text = f"the {type(frame).__name__} has no column {name!r}"
            hint = f"{name_hint(name, present)} (an array is taken by position)"
            raise InputError(f"{argument}: {text}; {hint}")
    places = [present.index(name) for name in names]
    wrapped = nw.from_native(frame, pass_through=True)
    if isinstance(wrapped, nw.DataFrame):
        # By position, because the names of pandas may be numbers.
        table = to_arrow(wrapped[:, places].to_native(), argument)
    elif isinstance(wrapped, nw.LazyFrame):
        table = to_arrow(wrapped.select(*names).to_native(), argument)
    else:
        table = to_arrow(frame, argument).select(places)
    return table.rename_columns(list(names))


def columns_by_name(values: Any, names: list[str] | None) -> Any:
    """Return the named columns of a data frame; values that are no frame are returned unchanged."""
    return select_columns(values, names) if names and is_frame(values) else values


def align_rows(argument: str, values: Any, *others: Any) -> Any:
    """Return values in the order of the rows of the others, by the labels that pandas gives them.

    Values are returned unchanged unless both they and one of the others are pandas objects.

    Raises:
        InputError: the labels differ, or one occurs twice, so that only a guess pairs the rows.
    """
    for other in others:
        labels, wanted = _pandas_index(values), _pandas_index(other)
        if labels is None or wanted is None or len(labels) != len(wanted):
            continue
        if labels.equals(wanted):
            continue
        places = None
        if labels.is_unique and wanted.is_unique and labels.nlevels == wanted.nlevels:
            places = labels.get_indexer(wanted)
        if places is None or (places < 0).any():
            raise InputError(
                f"{argument}: its index does not match that of x; give both the same labels, or "
                "call reset_index(drop=True) on both if the rows are in the same order"
            )
        values = values.take(places)
    return values


def align_index(x: Any, y: Any, weight: Any = None) -> tuple[Any, Any]:
    """Return y and weight in the order of the rows of x, by the labels of pandas.

    Raises:
        InputError: labels differ, or one occurs twice (see `align_rows`).
    """
    y = align_rows("y", y, x)
    return y, align_rows("weight", weight, x, y)


def refuse_reordered(argument: str, values: Any, other: str, rows: Any) -> None:
    """Refuse pandas objects that have the labels of other `rows` in another order.

    Other labels do not count: tools that pair rows by position, such as those of scikit-learn, may
    give either of the two new ones.
    """
    labels, given = _pandas_index(values), _pandas_index(rows)
    if labels is None or given is None or labels.equals(given) or len(labels) != len(given):
        return
    is_unique = labels.is_unique and given.is_unique and labels.nlevels == given.nlevels
    if (labels.get_indexer(given) >= 0).all() if is_unique else Counter(labels) == Counter(given):
        remedy = f"give {argument}.loc[{other}.index], or " if is_unique else ""
        raise InputError(
            f"{argument}: its index has the labels of {other} in another order, and rows are "
            f"paired by their places; {remedy}call reset_index(drop=True) on both"
        )


def name_hint(name: str, present: Sequence[str]) -> str:
    """Return a similar name for a column that is missing, or else the names that there are.

    >>> name_hint("Age", ["age", "city"]), name_hint("x", ["age", "city"])
    ("did you mean 'age'?", 'it has age, city')
    """
    by_lower_case = {other.lower(): other for other in present}
    if similar := difflib.get_close_matches(name.lower(), by_lower_case, n=1):
        return f"did you mean {by_lower_case[similar[0]]!r}?"
    unlisted = len(present) - _LISTED_NAMES
    listed = ", ".join(present[:_LISTED_NAMES])
    return f"it has {listed}" + (f" and {unlisted} more" if unlisted > 0 else "")


def _pandas_index(values: Any) -> Any:
    """Return the labels of the rows of a pandas object; None for other values."""
    if not hasattr(type(values), "iloc"):
        return None
    wrapped = to_narwhals(values)
    if isinstance(wrapped, nw.DataFrame | nw.Series) and wrapped.implementation.is_pandas_like():
        return nw.to_native(wrapped).index
    return None


def named_columns(values: Any) -> list[tuple[str, Any]]:
    """Return the columns of a frame, a list or an array, or a single one, each with its name or "".

    >>> named_columns([[1, 2], ["a", "b"]])
    [('', [1, 2]), ('', ['a', 'b'])]
    """
    if is_frame(values):
        frame = collect(values)
        return [(name, frame[name]) for name in column_names(frame)]
    if isinstance(values, list | tuple) and values and _is_column(values[0]):
        return [("", column) for column in values]
    if getattr(values, "ndim", 1) == 2:
        return [("", values[:, j]) for j in range(values.shape[1])]
    return [("", values)]


def _is_column(value: Any) -> bool:
    return not isinstance(value, str) and hasattr(value, "__len__")
