"""Checks the arguments of `TabularData`."""

import inspect
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from traceback import walk_stack
from types import FrameType
from typing import Any, get_args

from linreg_lightning.data.row_groups import check_by
from linreg_lightning.data.row_keys import check_names
from linreg_lightning.design_matrix.batch_builder import Missing, Unseen
from linreg_lightning.design_matrix.dates import Dates
from linreg_lightning.errors import InputError
from linreg_lightning.frames import describe, is_frame
from linreg_lightning.tables.csv_format import CsvFormat
from linreg_lightning.validation import check_argument, check_fractions

FILES = ("path", "val_path", "test_path")
HELD_OUT = ("val_path", "val_fraction", "test_path", "test_fraction")
_KEYS = ("group", "cluster", "absorb")
_NAMES = (*FILES, "target", "features", "weight", "exclude", "categorical", "by", *_KEYS)
"""The arguments that name files or columns."""


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Raise InputError for arguments that no table fits, or that contradict each other."""
    check_fractions(arguments["val_fraction"], arguments["test_fraction"])
    targets = as_list(arguments["target"])
    if arguments["formula"] is not None:
        _check_formula(arguments)
    elif not targets:
        raise InputError("target: no column was given; type the name of one, or a formula")
    # The command keeps hyper-parameters as YAML, which reads the name 1e3 as the number 1000.
    for argument in _NAMES:
        for name in as_list(arguments[argument]):
            if not isinstance(name, str):
                kind = "file, or a data frame" if argument in FILES else "column"
                text = f"a {type(name).__name__} was given; give the name of a {kind}"
                if isinstance(name, int | float):
                    text = f"{name!r} is a number; quote it, or rename the column or the file"
                raise InputError(f"{argument}: {text}")
    weight, by, group = arguments["weight"], arguments["by"], arguments["group"]
    classes = arguments["classes"]
    check_argument("classes", repr(classes), classes in (True, False), "true or false")
    if classes and len(targets) > 1:
        text = f"{', '.join(map(repr, targets))} were given, and classes is true, which takes one"
        raise InputError(f"target: {text}; name one column")
    if classes and by is not None:
        reason = "is true, and the fits of groups are regressions"
        raise InputError(f"classes: it {reason}; leave classes or by out")
    if weight in targets:
        raise InputError(f"weight: {weight!r} is a target already; name another column")
    for split in ("val", "test"):
        if arguments[f"{split}_path"] and (fraction := arguments[f"{split}_fraction"]):
            remedy = f"set {split}_fraction to 0, or leave {split}_path out"
            raise InputError(f"{split}_path: {split}_fraction is {fraction:g}; {remedy}")
    if by is not None:
        features = [*as_list(arguments["features"]), *as_list(arguments["categorical"])]
        roles: dict[str, list[Any]] = {"target": targets, "features": features, "weight": [weight]}
        check_by(by, roles, any(arguments[name] for name in HELD_OUT))
    others: dict[str, list[Any]] = {"target": targets, "weight": [weight], "by": [by]}
    if group is not None:
        for argument, names in others.items():
            if group in names:
                raise InputError(f"group: {group!r} was given as {argument} too; name another")
    keys = {name: as_list(arguments[name]) for name in ("cluster", "absorb")}
    check_names(keys, others, any(arguments[name] for name in HELD_OUT))
    for name, choices in (("missing", Missing), ("unseen", Unseen), ("dates", Dates)):
        *first, last = get_args(choices)
        is_one = arguments[name] in get_args(choices)
        check_argument(name, repr(arguments[name]), is_one, f"{', '.join(first)} or {last}")


def _check_formula(arguments: Mapping[str, Any]) -> None:
    """Refuse a formula beside arguments that say what it says, or that it has no use for."""
    formula = arguments["formula"]
    if not isinstance(formula, str) or not formula.strip():
        raise InputError(f"formula: {formula!r} is no text; type one such as 'y ~ x1 + x2'")
    for name in ("target", "features", "exclude", "categorical", "classes"):
        if arguments[name]:
            text = f"{name}: {arguments[name]!r} was given, and a formula too"
            raise InputError(f"{text}; leave {name} out, and name columns in the formula")
    if arguments["dates"] != "refuse":
        text = f"dates: {arguments['dates']!r} was given, and a formula has no terms of dates"
        raise InputError(f"{text}; leave dates out, and turn dates into numbers first")
    if arguments["unseen"] == "add":
        text = "unseen: add was given, and the terms of a formula keep their levels"
        raise InputError(f"{text}; type error or zero, or fit all rows anew")
    if arguments["missing"] == "mean":
        text = "missing: mean was given, and the terms of a formula have no means"
        raise InputError(f"{text}; type drop or error")


def outermost_arguments(instance: Any) -> tuple[dict[str, Any], FrameType]:
    """Return the arguments of an object's own class, and the outermost frame of the program.

    Called while the object is made, it finds the arguments from which a checkpoint makes it again:
    those that a subclass itself gives to its base must not be given to the subclass.

    Raises:
        InputError: the class takes no `design`, which a checkpoint gives it.
    """
    frames = [frame for frame, _ in walk_stack(inspect.currentframe())][1:]
    calls = [frame for frame in frames if frame.f_code.co_name == "__init__"]
    values = [inspect.getargvalues(call) for call in calls]
    names, _, rest, given = [v for v in values if v.locals[v.args[0]] is instance][-1]
    if rest is None and "design" not in names:
        name = type(instance).__name__
        reason = f"{name} does not take it, and a checkpoint gives the columns of x by it"
        raise InputError(f"design: {reason}; let {name}.__init__ take **kwargs and pass them on")
    arguments = {name: given[name] for name in names[1:]} | (given[rest] if rest else {})
    return arguments, frames[-1]


def csv_format(arguments: Mapping[str, Any]) -> CsvFormat:
    """Return how CSV files are written."""
    formats = {field.name: arguments[field.name] for field in fields(CsvFormat) if field.init}
    return CsvFormat(**formats | {"date_format": tuple(as_list(arguments["date_format"]))})


def as_list(value: Any) -> list[Any]:
    """Return a list as one, None as an empty list, and any other value in a list."""
    if isinstance(value, list | tuple):
        return list(value)
    return [] if value is None else [value]


def plain_source(source: Any) -> Any:
    """Return what a checkpoint, which holds plain types, keeps of a path, a frame or a list."""
    if isinstance(source, list | tuple):
        return [plain_source(each) for each in source]
    if is_frame(source):
        return describe(source)
    return str(source) if isinstance(source, Path) else source
