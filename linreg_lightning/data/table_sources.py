"""Which files or frames, and which of their rows, each split of a table has."""

from collections.abc import Mapping
from typing import Any, final

from lightning.pytorch.utilities import rank_zero_warn

from linreg_lightning.data.base import Split
from linreg_lightning.data.table_arguments import FILES, as_list, csv_format, plain_source
from linreg_lightning.design_matrix.column_roles import ColumnRoles
from linreg_lightning.design_matrix.number_codes import describe_codes_and_dates
from linreg_lightning.design_matrix.row_subset import TEST, TRAIN, VAL, HashSplit, RowSubset
from linreg_lightning.errors import InputError
from linreg_lightning.frames import is_description, is_frame
from linreg_lightning.tables.csv_format import OPTIONS, CsvFormat
from linreg_lightning.tables.csv_layout import NAMELESS
from linreg_lightning.tables.dataset import TableDataset

_COUNTS_IN = {"sheet": "workbooks"} | dict.fromkeys(
    ("skip_rows", "skip_footer"), "CSV and workbooks"
)
_PARTS: dict[Split, int] = {"train": TRAIN, "val": VAL, "test": TEST}


@final
class TableSources:
    """Opens the tables that the arguments of `TabularData` name, when they are needed.

    Args:
        sources: path, val_path and test_path as they were given.
        arguments: all arguments, as plain values.
    """

    def __init__(self, sources: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        self._sources = {name: as_list(sources[name]) for name in FILES}
        self._fractions = {name: arguments[f"{name}_fraction"] for name in ("val", "test")}
        self._seed, self._sheet = arguments["seed"], arguments["sheet"]
        self._csv_format = csv_format(arguments)
        self._tables: dict[str, TableDataset] = {}

    def has(self, split: Split) -> bool:
        """Whether the arguments name a fraction or files for a split."""
        fraction = self._fractions.get(split, 1.0)
        return bool(fraction or self._sources[f"{split}_path"])

    def table(self, argument: str = "path") -> TableDataset:
        """Return the table that an argument names."""
        if argument not in self._tables:
            given = self._sources[argument]
            sources = [each if is_frame(each) else plain_source(each) for each in given]
            for lost in filter(is_description, sources):
                text = f"{argument}: the checkpoint does not keep the rows of its {lost}"
                raise InputError(f"{text}; give a frame, or the name of a file, as {argument}")
            table = TableDataset(sources, argument, self._csv_format, self._sheet)
            self._tables[argument] = table
        return self._tables[argument]

    def subset(self, split: Split) -> RowSubset:
        """Return the rows of a split."""
        if split == "predict":
            return RowSubset(self.table())
        if self._sources.get(f"{split}_path"):
            return RowSubset(self.table(f"{split}_path"))
        by_hash = HashSplit(self._fractions["val"], self._fractions["test"], self._seed)
        return RowSubset(self.table(), by_hash, _PARTS[split])

    def refuse_unused_options(self) -> None:
        """Refuse options that count in the format of no file of the fit."""
        default, given = CsvFormat(), self._csv_format
        names = OPTIONS - {"na_values"}  # which counts in all formats
        values = {name: getattr(given, name) for name in names} | {"sheet": self._sheet}
        unused = {name for name in values if values[name] != getattr(default, name, None)}
        for argument in FILES if unused else ():
            if self._sources[argument]:
                unused -= self.table(argument).first_file.options
        for name in sorted(unused):
            formats, table = _COUNTS_IN.get(name, "CSV"), self.table()
            value = values[name]
            shown = " or ".join(map(repr, value if isinstance(value, tuple) else [value]))
            reason = f"{shown} was given, which counts in {formats} only"
            file = f"{table.name} is {table.first_file.format_name}"
            raise InputError(f"{name}: {reason}, and {file}; leave {name} out")

    def warn_of_codes_and_dates(self, roles: ColumnRoles) -> None:
        """Say which features of whole numbers look like codes or dates."""
        for line in describe_codes_and_dates(self.table(), roles):
            rank_zero_warn(line)

    def warn_of_nameless_columns(self, roles: ColumnRoles, exclude: list[str]) -> None:
        """Say which columns without a name the fit leaves out."""
        table = self.table()
        used = {*roles.features, *roles.values, *exclude}
        left_out = [n for n in table.schema.names if NAMELESS.fullmatch(n) and n not in used]
        if left_out:
            columns = f"left out columns without a name, {', '.join(map(repr, left_out))}"
            text = f"path: {table.name}: {columns}"
            rank_zero_warn(f"{text}; to use one, name it in the header, or list all in features")
