"""Data frames in memory, with the methods of a table file."""

from typing import Any, final

import pyarrow as pa

from linreg_lightning.frames import to_arrow
from linreg_lightning.tables.discovery import DataFile
from linreg_lightning.tables.whole_table import WholeTable

_MIN_CHUNK_ROWS = 1000


@final
class FrameTable(WholeTable):
    """The rows of a data frame of any library, which messages call `name`.

    They share the memory of the frame where its library allows that.
    """

    format_name = "a data frame"

    def __init__(self, frame: Any, argument: str, name: str = "the frame") -> None:
        table = to_arrow(frame, argument)
        if any(c.num_chunks > 1 + table.num_rows // _MIN_CHUNK_ROWS for c in table.columns):
            # Rows that were appended one by one would be read one by one.
            table = table.combine_chunks()
        self._rows = table
        super().__init__(DataFile(name, None, table.nbytes, {}, argument))

    def load(self) -> pa.Table:
        return self._rows

    def version(self) -> tuple[object, ...]:
        return ()
