"""Adds the levels that later rows bring to a design."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from linreg_lightning.design_matrix.batch_builder import Missing
from linreg_lightning.design_matrix.column_roles import ColumnRoles
from linreg_lightning.design_matrix.design import Design
from linreg_lightning.design_matrix.level_counts import sort_levels
from linreg_lightning.design_matrix.level_names import to_categories
from linreg_lightning.design_matrix.row_subset import RowSubset
from linreg_lightning.errors import InputError
from linreg_lightning.tables.disguised_numbers import is_number

_BLOCK_ROWS = 2**16


def add_levels(
    design: Design,
    subset: RowSubset,
    roles: ColumnRoles,
    declared: Collection[str],
    missing: Missing,
    max_levels: int,
) -> Design:
    """Return the design with the levels of more rows to train on; reads the columns of categories.

    The first level stays the first one, to which the others compare; the others are in the order of
    `sort_levels`. The fraction of the earlier rows that have a new level is 0. Other arguments are
    those of `fit_design`.

    Raises:
        InputError: a column would have more than `max_levels` levels, or a number among text.
    """
    dataset, drops = subset.dataset, missing == "drop"
    found: dict[str, set[str]] = {name: set(levels) for name, levels in design.levels.items()}
    if not found:
        return design
    needed = roles if drops else roles.reading([*found], [])
    for block in subset.read(needed.types(dataset), _BLOCK_ROWS):
        block = block.select(roles.weight, complete=drops)
        for name, levels in found.items():
            new = {*to_categories(block.table.column(name)).unique().to_pylist()} - levels - {None}
            if dataset.is_text and name not in declared:
                _refuse_numbers(name, new, design.levels[name])
            levels |= new
            if len(levels) > max_levels:
                raise InputError(
                    f"column {name!r}: with the rows to add it has more than {max_levels} levels, "
                    f"such as {min(new)!r}; is it an identifier? fit all rows anew without it, or "
                    "with a higher max_levels"
                )
    ordered = {name: _order(design, name, found[name]) for name in design.levels}
    means = dict(design.means)
    for name in means.keys() & ordered.keys():
        share = dict(zip(design.levels[name], means[name], strict=True))
        means[name] = [share.get(level, 0.0) for level in ordered[name]]
    return replace(design, levels=ordered, means=means)


def is_extension(later: Design, earlier: Design) -> bool:
    """Whether one design is another one with more levels, whose columns are 0 in earlier rows.

    >>> earlier = Design(["area", "city"], {"city": ["Oslo", "Rome"]})
    >>> is_extension(Design(["area", "city"], {"city": ["Oslo", "Paris", "Rome"]}), earlier)
    True
    """
    if earlier != replace(later, levels=earlier.levels, means=earlier.means):
        return False
    return all(_extends(earlier, later, name) for name in earlier.levels)


def _extends(earlier: Design, later: Design, name: str) -> bool:
    """Whether rows of the earlier levels have the same indicators in both designs."""
    before, after = earlier.levels[name], later.levels.get(name, [])
    return {*before} <= {*after} and (before[0] == after[0] or _keeps_all(earlier, name))


def _order(design: Design, name: str, levels: Collection[str]) -> list[str]:
    first = design.levels[name][0]
    if _keeps_all(design, name):
        return sort_levels(levels)
    return [first, *sort_levels({*levels} - {first})]


def _keeps_all(design: Design, name: str) -> bool:
    """Whether each level has an indicator, because the model has no constant."""
    is_first = name == next(each for each in design.features if each in design.levels)
    return is_first and not design.constant


def _refuse_numbers(name: str, new: Collection[str], levels: Collection[str]) -> None:
    """Refuse a number in a column of text: nobody can tell a slip from a category."""
    numbers = sorted(filter(is_number, new))
    if numbers and not any(map(is_number, levels)):
        raise InputError(
            f"column {name!r}: the rows to add hold the number {numbers[0]!r}, and earlier rows "
            f"text, such as {min(levels)!r}; mend it"
        )
