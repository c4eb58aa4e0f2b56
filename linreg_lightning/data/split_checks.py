"""Checks splits of rows of any shape, such as images and the numbers of their classes."""

from collections.abc import Collection, Mapping
from typing import Any

import torch

from linreg_lightning.batch import Batch, FoldBatch
from linreg_lightning.errors import InputError
from linreg_lightning.validation import check_weight, row_number


def check_kinds(splits: Mapping[Any, Any], names: Collection[str]) -> None:
    """Raise an InputError for a split of another name, or one that is no `Batch` of tensors.

    >>> check_kinds({"valid": Batch(torch.ones(3, 2), torch.ones(3, 1))}, ["train", "val"])
    Traceback (most recent call last):
    ...
    linreg_lightning.errors.InputError: splits: 'valid' was given; the names are train, val
    """
    for split, rows in splits.items():
        if split not in names:
            raise InputError(f"splits: {split!r} was given; the names are {', '.join(names)}")
        parts = rows[:2] if isinstance(rows, Batch | FoldBatch) else [rows]
        for part in parts:
            if not isinstance(part, torch.Tensor):
                kind = type(part).__name__
                raise InputError(
                    f"splits[{split!r}]: a {kind} was given; give Batch(x, y) of tensors"
                )


def check_splits(splits: Mapping[Any, Batch | FoldBatch], class_names: list[str]) -> None:
    """Raise an InputError for values in a split that no model can use.

    They are NaN and infinity, x, y and weights that differ in their rows, a negative weight and,
    where y is the number of a class, another number.

    >>> rows = Batch(torch.ones(3, 1, 8, 8), torch.tensor([0, 1, 2]))
    >>> check_splits({"train": rows}, ["cat", "dog"])
    Traceback (most recent call last):
    ...
    linreg_lightning.errors.InputError: splits['train'].y: row 3 holds the class 2; with \
class_names of 2 classes, give whole numbers from 0 to 1
    """
    for split, rows in splits.items():
        name = f"splits[{split!r}]"
        try:
            rows.validate_rows()
        except InputError as error:
            raise InputError(f"{name}.{error}") from None
        for part, values in ("x", rows.x), ("y", rows.y):
            # The sum shows NaN and infinity without a copy.
            if not values.is_floating_point() or values.sum().isfinite():
                continue
            wrong = ~values.isfinite()
            if wrong.any():
                place = wrong.nonzero()[0]
                value = values[tuple(place)].item()
                text = f"{name}.{part}: {row_number(int(place[0]))} holds {value}"
                raise InputError(f"{text}; give finite numbers, or leave the row out")
        if rows.weight is not None:
            check_weight(rows.weight)
        if class_names and (split != "predict" or rows.y.ndim == 1):
            _check_classes(f"{name}.y", rows.y, len(class_names))


def _check_classes(argument: str, y: torch.Tensor, classes: int) -> None:
    expected = f"with class_names of {classes} classes, give whole numbers from 0 to {classes - 1}"
    if y.dtype != torch.int64 or y.ndim != 1:
        text = f"{argument}: a tensor of {y.dtype} and shape {tuple(y.shape)} was given"
        raise InputError(f"{text}; {expected}, int64 (rows,)")
    wrong = (y < 0) | (y >= classes)
    if wrong.any():
        row = int(wrong.nonzero()[0, 0])
        raise InputError(f"{argument}: {row_number(row)} holds the class {y[row]}; {expected}")
