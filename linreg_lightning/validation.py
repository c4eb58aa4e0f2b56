"""Refuse values that no fit can use, with the same words for tensors, frames and files."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError
from linreg_lightning.frames import column_names, frame_numbers, is_frame, is_series
from linreg_lightning.matching import align_index, align_rows

RowName = Callable[[int], str]
"""From the position of a row, counted from 0, to what the user calls it: `row 5 of b.csv`."""
_COMPLEX = "{}: complex numbers were given; give real ones"


def row_number(row: int) -> str:
    """Call rows by their number, counted from 1."""
    return f"row {row + 1}"


def check_fractions(val_fraction: float, test_fraction: float) -> None:
    """Raise an InputError if a fraction is outside [0, 1], or their sum above 1."""
    for name, value in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        check_argument(name, value, 0 <= value <= 1, "a number from 0 (none) to 1 (all)")
    if val_fraction + test_fraction > 1:
        raise InputError(
            f"val_fraction and test_fraction: {val_fraction} and {test_fraction} were given; "
            "together they must not be above 1"
        )


def check_rows(batch: Batch, feature_names: Sequence[str], target_names: Sequence[str]) -> Batch:
    """Return the rows, with 0 for NaN and infinity in rows of weight 0, which do not count.

    Raises:
        InputError: NaN or infinity in a row that counts; weights that are negative, not finite, or
            all 0; a column named `intercept` that is not all ones.

    >>> import torch
    >>> rows = Batch(torch.tensor([[1.0], [torch.nan]]), torch.ones(2, 1))
    >>> check_rows(rows, ["area"], ["price"])
    Traceback (most recent call last):
    ...
    linreg_lightning.errors.InputError: column 'area': row 2 holds nan, a missing value; fill in a \
number, leave the row out, or give it weight 0
    """
    absent = None
    if batch.weight is not None:
        check_weight(batch.weight)
        absent = batch.weight == 0
        if absent.all():
            raise all_weights_zero()
    check_finite(batch, [*feature_names, *target_names])
    check_intercept(batch.x, feature_names, absent)
    if absent is None or (batch.x.sum().isfinite() and batch.y.sum().isfinite()):
        return batch
    x, y = (v.masked_fill(absent[:, None] & ~v.isfinite(), 0.0) for v in (batch.x, batch.y))
    return batch._replace(x=x, y=y)


def check_finite(
    batch: Batch,
    names: Sequence[str],
    row_name: RowName = row_number,
    missing_hint: str = "",
    allow_missing: bool = False,
) -> None:
    """Raise an InputError for NaN or infinity in a row whose weight is not 0.

    The message names the column, the row and the value. `names` are those of the columns of x and
    y, or empty; `missing_hint` says what else to do about a NaN; `allow_missing` lets NaN pass.
    """
    features = batch.x.shape[1]
    parts = ("x", batch.x, names[:features]), ("y", batch.y, names[features:])
    for argument, values, columns in parts:
        # The sum shows NaN and infinity without a copy. A sum that overflows is no error.
        if values.sum().isfinite():
            continue
        wrong = values.isinf() if allow_missing else ~values.isfinite()
        if batch.weight is not None:
            wrong &= (batch.weight != 0)[:, None]
        if not wrong.any():
            continue
        row, column = wrong.nonzero()[0].tolist()
        shown = repr(columns[column]) if columns else f"{column + 1} of {argument}"
        if batch.rows > 1 and values[:, column].isnan().all():
            rows = f"{row_name(0)} and the {batch.rows - 1} rows after it hold no value"
            drop = missing_hint and ", or, if other rows have values, set missing to drop"
            raise InputError(f"column {shown}: {rows}; leave it out by exclude{drop}")
        value = values[row, column].item()
        missing = ", a missing value" if value != value else ""
        remedy = (
            f"fill in a number, leave the row out, or give it weight 0{missing and missing_hint}"
        )
        raise InputError(f"column {shown}: {row_name(row)} holds {value}{missing}; {remedy}")


def check_weight(weight: Tensor, row_name: RowName = row_number, column: str = "weight") -> None:
    """Raise an InputError if one of the weights, (rows,), is negative, NaN or infinite."""
    values = weight.unsqueeze(1)
    check_finite(Batch(values, values[:, :0]), [column], row_name)
    if (weight < 0).any():
        row = int((weight < 0).nonzero()[0, 0])
        raise InputError(
            f"weight: {weight[row].item():g} was given in {row_name(row)}; weights must be 0 or "
            "above"
        )


def all_weights_zero() -> InputError:
    """Return the error for rows of which none counts."""
    return InputError("weight: it is 0 in every row; at least one row must count")


def check_intercept(x: Tensor, names: Sequence[str], absent: Tensor | None = None) -> None:
    """Raise an InputError if a column of x named `intercept` is not 1 in all but `absent` rows."""
    if "intercept" not in names:
        return
    wrong = x[:, list(names).index("intercept")] != 1
    if absent is not None:
        wrong &= ~absent
    if wrong.any():
        raise InputError(
            "column 'intercept': this name is the constant's, but the column is not all ones; "
            "rename it"
        )


def check_argument(name: str, value: object, valid: bool, expected: str) -> None:
    """Raise an InputError unless the value of an argument is valid.

    >>> check_argument("lr", -1, False, "a number above 0")
    Traceback (most recent call last):
    ...
    linreg_lightning.errors.InputError: lr: -1 was given; type a number above 0
    """
    if not valid:
        raise InputError(f"{name}: {value} was given; type {expected}")


def to_tensor(argument: str, values: Any) -> Tensor:
    """Return the values as a floating-point tensor, without a copy where that is possible.

    Masked values become NaN, as do missing values of data frames. Whole numbers become float64.

    Raises:
        InputError: text, categories, complex numbers, or whole numbers that float64 would round.

    >>> to_tensor("x", [[1, 2], [3, 4]])
    tensor([[1., 2.],
            [3., 4.]], dtype=torch.float64)
    """
    source = values
    if not isinstance(values, Tensor):
        try:
            is_table = is_frame(values) or is_series(values)
            array = frame_numbers(values, argument) if is_table else np.asarray(values)
            if array.dtype.kind == "c":
                raise InputError(_COMPLEX.format(argument))
            if isinstance(values, np.ma.MaskedArray):
                mask = np.ma.getmaskarray(values)
                array = _to_float64(argument, source, np.where(mask, 0, array))
                array[mask] = np.nan
            is_long = array.dtype.kind == "f" and array.dtype.itemsize > 8
            if array.dtype == object or is_long or not array.dtype.isnative:
                array = _to_float64(argument, source, array)
            if not array.flags.writeable or min(array.strides, default=0) < 0:
                # torch shares no memory that is read-only (data frames) or reversed.
                array = array.copy()
            values = torch.from_numpy(array)
        except InputError:
            raise
        except (TypeError, ValueError, OverflowError) as error:
            raise _not_numbers(argument, values, error) from None
    values = values.detach()
    if values.layout is not torch.strided or values.is_meta:
        raise InputError(
            f"{argument}: a sparse tensor, or one on the meta device, was given; give a dense one"
        )
    if values.is_complex():
        raise InputError(_COMPLEX.format(argument))
    tensor: Tensor = values if values.is_floating_point() else values.double()
    if values.dtype in (torch.int64, torch.uint64) and bool((tensor.abs() >= 2.0**53).any()):
        _to_float64(argument, source, values.cpu().numpy())
    return tensor


def rows_to_tensors(x: Any, y: Any = None, weight: Any = None) -> Batch:
    """Return x, y and weight as a Batch; without y, it has no targets.

    Rows of pandas objects are matched by their labels, not by their places.

    Raises:
        InputError: values are not numbers; labels or shapes do not match.

    >>> import torch
    >>> rows_to_tensors([[1.0], [2.0]], y=[3.0, 4.0]).y
    tensor([[3.],
            [4.]], dtype=torch.float64)
    """
    y, weight = align_index(x, y, weight)
    features = to_tensor("x", x)
    targets = features.new_empty(*features.shape[:1], 0)
    if y is not None:
        targets = to_tensor("y", y).to(features.device)
    if targets.ndim == 1:
        targets = targets.unsqueeze(1)
    if weight is not None:
        weight = to_tensor("weight", weight).to(features.device)
    return Batch(features, targets, weight).validate()


def group_values(
    argument: str, values: Any, rows: int, *others: Any
) -> tuple[Tensor, list[Any] | None]:
    """Return the group of each row as a number, and what the numbers stand for, if not themselves.

    Raises:
        InputError: not one value for each row; other labels than pandas objects among `others`;
            values that cannot be sorted.

    >>> group_values("by", ["b", "a", "b"], rows=3)
    (tensor([1, 0, 1]), ['a', 'b'])
    """
    values = align_rows(argument, values, *others)
    if isinstance(values, np.ma.MaskedArray):
        mask, values = np.ma.getmaskarray(values), np.array(values, object)
        values[mask] = None
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.shape != (rows,):
        raise InputError(f"{argument}: a shape of {array.shape} was given; ({rows},) is needed")
    kind = array.dtype.kind
    number = np.float64 if kind == "f" else np.int64
    if kind == "f" or (kind in "biu" and np.can_cast(array.dtype, number)):
        numbers = np.array(array, number)  # a copy: that of a data frame is read-only
        if np.isnan(numbers).any():
            raise _no_group(argument, int(np.isnan(numbers).argmax()))
        return torch.from_numpy(numbers), None
    keys = (array.astype(str) if kind in "mM" else array).tolist()
    try:
        code = dict.fromkeys(keys)
        for key in code:
            if key in (None, "NaT") or (key == key) is not True:
                raise _no_group(argument, next(row for row, k in enumerate(keys) if k is key))
        labels = sorted(code)
    except TypeError as error:
        text = f"values that have no order were given ({error})"
        raise InputError(f"{argument}: {text}; give numbers only, or text only") from None
    code = {label: k for k, label in enumerate(labels)}
    return torch.tensor([code[key] for key in keys]), labels


def _no_group(argument: str, row: int) -> InputError:
    text = f"{row_number(row)} has no group, a missing value"
    return InputError(f"{argument}: {text}; give it one, or leave the row out")


def _to_float64(argument: str, source: Any, array: Any) -> Any:
    """Return an array as float64; refuse whole numbers that are not the same in float64."""
    if array.dtype == object and any(isinstance(value, str) for value in array.flat):
        raise ValueError("it holds text")
    result = array.astype(np.float64)
    if array.dtype.kind != "f":
        for place in np.argwhere(np.abs(result) >= 2.0**53).tolist():
            value = array[tuple(place)]
            is_float = isinstance(value, float | np.floating)
            if not is_float and int(value) != int(result[tuple(place)]):
                row, column = (*place, 0, 0)[:2]
                names = own_names(source) or [str(column + 1)]
                raise InputError(
                    f"{argument}: {value} in column {names[min(column, len(names) - 1)]!r}, "
                    f"{row_number(row)}, is a whole number that float64 cannot hold; subtract a "
                    "constant from the column, or leave it out"
                )
    return result


def _not_numbers(argument: str, values: Any, error: Exception) -> InputError:
    names = own_names(values)
    reason = f"a {type(values).__name__} that holds no table of numbers was given ({error})"
    for (row, *columns), value in np.ndenumerate(np.atleast_1d(np.asarray(values, dtype=object))):
        if isinstance(value, str):
            column = columns[0] if columns else 0
            name = str(column + 1) if names is None else names[column]
            place = f"column {name!r}, {row_number(row)}"
            reason = f"it has {value!r} in {place}, which is no number"
            break
    return InputError(f"{argument}: {reason}; give numbers only")


def own_names(values: Any) -> list[str] | None:
    """Return the names of the columns of a data frame or a series; else None."""
    if is_frame(values):
        return column_names(values)
    name = getattr(values, "name", None)
    return None if name in (None, "") else [str(name)]
