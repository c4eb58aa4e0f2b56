"""Files of Stata, SPSS and SAS, read by pyreadstat."""

import warnings
from collections import Counter
from typing import Any, NamedTuple, final

import pyarrow as pa
import pyarrow.compute as pc

from linreg_lightning.tables.csv_format import CsvFormat
from linreg_lightning.tables.csv_values import drop_markers
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

    def __init__(self, file: DataFile, reader: Reader, csv_format: CsvFormat | None = None) -> None:
        self._reader, self._format = reader, csv_format or CsvFormat()
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
        table = pa.concat_tables(tables, promote_options="permissive")
        for k, column in enumerate(table.columns):
            column = drop_markers(column, self._format)  # numbers, before labels replace them
            table = table.set_column(k, table.column_names[k], column)
        return table

    def select(self, types: Types) -> pa.Table:
        table = self.table.select(list(types))
        for index, (name, dtype) in enumerate(types.items()):
            labels = self._labels.get(name)
            if labels and pa.types.is_dictionary(dtype):
                values = table[name].combine_chunks().dictionary_encode()
                levels = self._level_names(name, labels, values.dictionary.to_pylist())
                texts = pc.take(pa.array(levels, pa.string()), values.indices).dictionary_encode()
                table = table.set_column(index, name, texts)
            elif labels and len(labels) > 2 and pa.types.is_floating(dtype):
                self._warn(name, labels)
        return table

    def _level_names(
        self, name: str, labels: dict[Any, str], numbers: list[Any]
    ) -> list[str | None]:
        """Return the label of each number; where several have the same one, with the number."""
        plain = {v: repr(v).removesuffix(".0") for v in [*labels, *numbers] if v == v}
        texts = {v: labels.get(v, plain[v]) for v in plain}
        counts = Counter(texts.values())
        shared = [v for v in texts if counts[texts[v]] > 1]
        if shared and name not in self._warned:
            self._warned.add(name)
            same = [plain[v] for v in shared if texts[v] == texts[shared[0]]]
            reason = f"has the label {texts[shared[0]]!r} for {' and '.join(same)}"
            levels = f"{texts[shared[0]]} ({same[0]})"
            warnings.warn(
                f"column {name!r} of {self.path} {reason}; such levels have the number in their "
                f"name, as in {levels!r}",
                stacklevel=2,
            )
        names = {v: f"{texts[v]} ({plain[v]})" if v in shared else texts[v] for v in texts}
        return [names.get(v) for v in numbers]  # NaN is a missing value

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
