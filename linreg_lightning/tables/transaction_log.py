"""Folders of tables whose own log says which of their files count: Delta, Iceberg and Hudi."""

import posixpath
import re
from collections.abc import Iterable
from contextlib import suppress

from pyarrow import fs

from linreg_lightning.errors import InputError
from linreg_lightning.tables.partitions import is_key

_DELTA, _ICEBERG, _HUDI = "_delta_log", "metadata", ".hoodie"
_KINDS = {
    _DELTA: "a Delta table",
    _ICEBERG: "an Iceberg table",
    _HUDI: "a Hudi table",
}
_REMEDIES = {
    _DELTA: "in Python (needs deltalake): polars.read_delta({!r}).write_parquet({!r})",
    _ICEBERG: "in Python (needs pyiceberg): polars.scan_iceberg({!r}).sink_parquet({!r})",
    _HUDI: "by Spark: spark.read.format('hudi').load({!r}).write.parquet({!r})",
}
_LOG = re.compile(r"(?:(.*)/)?(_delta_log|\.hoodie|metadata(?=/[^/]*\.metadata\.json$))(?:/|$)")


def refuse_logged_folder(paths: Iterable[str], argument: str) -> None:
    """Raise InputError if one of the paths in a folder belongs to the log of such a table.

    Plain Parquet files in it may hold rows that were deleted or changed since.
    """
    logs: dict[str, list[str]] = {}
    for path in paths:
        if match := _LOG.match(path):
            logs.setdefault(match[2], []).append(path)
    for kind, found in logs.items():
        match = _LOG.match(found[0])
        folder = (match and match[1]) or "."
        table = max(found) if kind == _ICEBERG else folder
        remedy = _REMEDIES[kind].format(table, "rows.parquet")
        reason = "whose log says which rows of its files count, and is not read"
        raise InputError(f"{argument}: {folder} is {_KINDS[kind]}, {reason}; convert it {remedy}")


def refuse_logged_files(filesystem: fs.FileSystem, paths: Iterable[str], argument: str) -> None:
    """Raise InputError if the log of such a table lies in a folder of files or above it."""
    folders = set()
    for path in paths:
        folder = posixpath.dirname(path)
        while is_key(posixpath.basename(folder)):
            folder = posixpath.dirname(folder)
        folders.add(folder)
        if posixpath.basename(folder) == "data":
            folders.add(posixpath.dirname(folder))
    logs = [posixpath.join(folder, kind) for folder in sorted(folders) for kind in _KINDS]
    with suppress(OSError):
        for info in filesystem.get_file_info(logs):
            if info.type == fs.FileType.Directory:
                inner = filesystem.get_file_info(fs.FileSelector(info.path))
                refuse_logged_folder([each.path for each in inner], argument)
