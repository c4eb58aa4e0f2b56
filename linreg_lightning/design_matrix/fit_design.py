"""Fits the design: reads levels and means from the rows to train on."""

import re
from collections import Counter
from collections.abc import Collection

import numpy as np
import pyarrow.compute as pc

from linreg_lightning.design_matrix.batch_builder import Missing
from linreg_lightning.design_matrix.column_roles import ColumnRoles
from linreg_lightning.design_matrix.dates import Dates, DateStatistics
from linreg_lightning.design_matrix.design import Design
from linreg_lightning.design_matrix.exact_sum import ExactSum
from linreg_lightning.design_matrix.level_counts import LevelCounts, no_value
from linreg_lightning.design_matrix.level_names import to_categories
from linreg_lightning.design_matrix.row_counts import too_few_complete
from linreg_lightning.design_matrix.row_subset import RowBlock, RowSubset
from linreg_lightning.errors import InputError
from linreg_lightning.frames import parse_numbers
from linreg_lightning.tables.csv_format import CsvFormat
from linreg_lightning.tables.dataset import TableDataset
from linreg_lightning.tables.number_text import NumberParser, TextError
from linreg_lightning.tables.table_file import dtype_kind

_BLOCK_ROWS = 2**16
_WHOLE = re.compile("[+-]?[0-9]+")
_TARGET_REMEDY = "name another column as target"


def fit_design(
    subset: RowSubset,
    roles: ColumnRoles,
    declared: Collection[str],
    missing: Missing,
    max_levels: int,
    constant: bool,
    dates: Dates = "refuse",
) -> Design:
    """Fit the design to the rows to train on; reads only the columns that it needs.

    Categories that are `declared` may look like numbers. Where `missing` is `mean`, the design gets
    means; where it is `drop`, levels are those of complete rows.

    Raises:
        InputError: a column of categories has no level, too many, one for each row, or numbers
            among its text; a column has no value to take the mean of, or no date; no row is left;
            the target has a single class, or numbers that are not whole.
    """
    dataset, wants_means, drops = subset.dataset, missing == "mean", missing == "drop"
    levels = {
        name: LevelCounts(name, max_levels, dataset, is_declared=name in declared)
        for name in roles.categories
    }
    classes = roles.targets if roles.has_classes else []
    levels |= {n: LevelCounts(n, max_levels, dataset, True, _TARGET_REMEDY) for n in classes}
    statistics = {name: DateStatistics(dates, dtype) for name, dtype in roles.dates.items()}
    others = [name for name in roles.features if name not in levels and name not in statistics]
    sums = {name: ExactSum() for name in others if wants_means}
    if levels or sums or statistics:
        # Complete rows are known only from all columns.
        read = [*levels, *sums, *statistics]
        needed = roles if drops else roles.reading(read, classes)
        needed._replace(features=[], categories=[]).check(dataset)
        rows = 0
        for block in subset.read(needed.types(dataset), _BLOCK_ROWS):
            block = block.select(roles.weight, complete=drops)
            rows += block.table.num_rows
            for name in classes:
                _refuse_fractions(name, block, dataset)
            for counts in levels.values():
                counts.add(block)
            for name, total in sums.items():
                values = parse_numbers(block.table.column(name), name)
                total.add(values[np.isfinite(values)])
            for name, dated in statistics.items():
                dated.add(block.table.column(name))
        if not rows:
            raise _no_row(subset, needed if drops else None)
        for counts in levels.values():
            counts.check(rows, "complete rows" if drops else "rows")
        counted: dict[str, ExactSum | DateStatistics] = {**sums, **statistics}
        for name, values_of_column in counted.items():
            if not values_of_column.count:
                raise no_value(name)
    class_names = [level for name in classes for level in _class_names(name, levels.pop(name))]
    means = _means(sums, levels, statistics) if wants_means else {}
    sorted_levels = {name: counts.sorted() for name, counts in levels.items()}
    states = {name: dated.state() for name, dated in statistics.items()}
    return Design(roles.features, sorted_levels, means, constant, states, class_names)


def _means(
    sums: dict[str, ExactSum],
    levels: dict[str, LevelCounts],
    statistics: dict[str, DateStatistics],
) -> dict[str, list[float]]:
    means = {name: [total.mean] for name, total in sums.items()}
    means |= {name: counts.shares() for name, counts in levels.items()}
    return means | {name: dated.means() for name, dated in statistics.items()}


def _class_names(name: str, counts: LevelCounts) -> list[str]:
    names = counts.sorted()
    if len(names) == 1:
        text = f"column {name!r} has a single class, {names[0]!r}, in the rows to train on"
        raise InputError(f"target: {text}; give rows of two classes or more")
    return names


def _refuse_fractions(name: str, block: RowBlock, dataset: TableDataset) -> None:
    """Refuse classes that are numbers, but not whole ones: such a target is for a regression."""
    if dtype_kind(dataset.schema.field(name).type) != "numbers":
        return
    parser = NumberParser(dataset.csv_format if dataset.is_text else CsvFormat())
    categories = to_categories(block.table.column(name))
    for level in categories.unique().drop_null().to_pylist():
        if not _WHOLE.fullmatch(level) and _is_fraction(parser, level):
            row = pc.index(categories.dictionary_decode(), level).as_py()
            text = f"column {name!r}: {block.row_name(row)} holds {level}, which is no class"
            remedy = "give whole numbers or text; or, for a regression, set classes to false"
            raise InputError(f"target: {text}; {remedy}")


def _is_fraction(parser: NumberParser, text: str) -> bool:
    try:
        return not parser.value(text).is_integer()
    except TextError:  # a word, or a whole number that float64 does not hold
        return text in ("inf", "-inf")


def _no_row(subset: RowSubset, dropped: ColumnRoles | None) -> InputError:
    """Say that no row is left; `dropped` are the columns without which a row was left out."""
    dataset = subset.dataset
    text = f"path: {dataset.name} has no row left to train on"
    if dropped is None:
        return InputError(f"{text}; lower val_fraction or test_fraction")
    rows, missing = 0, Counter[str]()
    for block in subset.read(dropped.types(dataset), _BLOCK_ROWS):
        rows += block.table.num_rows
        for name, column in zip(block.table.schema.names, block.table.columns, strict=True):
            missing[name] += pc.sum(column.is_null(nan_is_null=True)).as_py() or 0
    return InputError(f"{text}; {too_few_complete(rows, rows, missing, dropped.features)}")
