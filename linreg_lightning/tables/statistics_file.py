"""Files of Stata, SPSS and SAS, read by pyreadstat."""

import warnings
from typing import Any, NamedTuple, final

import pyarrow as pa
import pyarrow.compute as pc

from linreg_lightning.tables.discovery import DataFile, first_line
from linreg_lightning.tables.table_file import Types
from linreg_lightning.tables.whole_table import WholeTable, import_reader

_ROWS = 100_000  # read at a time, because the library returns Python's numbers
_MAX_LISTED_LABELS = 3


class Reader(NamedTuple):
    """A format of a statistics package, and pyreadstat's function for it."""

    format_name: str
    function: str


STATA = Reader("a Stata file", "read_dta")
SPSS = Reader("an SPSS file", "read_sav")
SAS = Reader("a SAS file", "read_sas7bdat")
SAS_TRANSPORT = Reader("a SAS transport file", "read_xport")


@final
class StatisticsFile(WholeTable):
    """Columns of numbers, dates and text; a value that the file declares missing is missing.

    Numbers may have labels, such as 1 for `north`. Read as categories, they have these as levels;
    read as numbers, they stay numbers, with a warning where more than two have a label.
    """

    format_name = "a file of a statistics package"

    def __init__(self, file: DataFile, reader: Reader) -> None:
        self._reader = reader
        self._library = import_reader("pyreadstat", file, reader.format_name)
        self._labels: dict[str, dict[Any, str]] = {}
        self._warned: set[str] = set()
        super().__init__(file)

    def load(self) -> pa.Table:
        read, path = getattr(self._library, self._reader.function), self.local_path()
        tables: list[pa.Table] = []
        errors = self._library.ReadstatError, self._library.PyreadstatError
        try:
            while not tables or tables[-1].num_rows == _ROWS:
                start = len(tables) * _ROWS
                columns, description = read(
                    path, output_format="dict", row_offset=start, row_limit=_ROWS
                )
                tables.append(pa.table({name: pa.array(v) for name, v in columns.items()}))
        except errors as error:
            reason = f"cannot be read as {self._reader.format_name} ({first_line(error)})"
            raise self.error(f"{reason}; get it again, or export it as CSV") from None
        self._labels = description.variable_value_labels
        return pa.concat_tables(tables, promote_options="permissive")

    def select(self, types: Types) -> pa.Table:
        table = self.table.select(list(types))
        for index, (name, dtype) in enumerate(types.items()):
            labels = self._labels.get(name)
            if labels and pa.types.is_dictionary(dtype):
                values = table[name].combine_chunks().dictionary_encode()
                levels = [labels.get(v, f"{v:g}") for v in values.dictionary.to_pylist()]
                texts = pc.take(pa.array(levels, pa.string()), values.indices).dictionary_encode()
                table = table.set_column(index, name, texts)
            elif labels and len(labels) > 2 and pa.types.is_floating(dtype):
                self._warn(name, labels)
        return table

    def _warn(self, name: str, labels: dict[Any, str]) -> None:
        """Say once that numbers stand for something else."""
        if name in self._warned:
            return
        self._warned.add(name)
        some = [f"{v:g} {text!r}" for v, text in list(labels.items())[:_MAX_LISTED_LABELS]]
        more = ", ..." if len(labels) > len(some) else ""
        warnings.warn(
            f"column {name!r} of {self.path} has labels for its numbers ({', '.join(some)}{more}), "
            "and is read as numbers; if these stand for categories, name it in categorical",
            stacklevel=2,
        )
