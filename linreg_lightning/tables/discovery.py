"""Which files a path means."""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from linreg_lightning import arrow as pyarrow
from linreg_lightning.errors import InputError

# What a partitioned data set calls a missing value.
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


class DataFile(NamedTuple):
    """A file, before it has been looked into.

    Attributes:
        path: as its file system has it.
        filesystem: a pyarrow file system.
        size: in bytes.
        partition: the columns that its folders stand for.
    """

    path: str
    filesystem: Any
    size: int
    partition: dict[str, Any]


def find_files(path: str) -> list[DataFile]:
    """All files that a path means, in a fixed order.

    Args:
        path: a file, a folder, a pattern, or an address that pyarrow knows.

    Raises:
        InputError: it leads nowhere, or may not be looked at.
    """
    try:
        if "://" in path:
            filesystem, inner = pyarrow.fs.FileSystem.from_uri(path)
            return _below(filesystem, inner, path)
        filesystem = pyarrow.fs.LocalFileSystem()
        if re.search(r"[*?\[]", path) and not Path(path).exists():
            paths = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - it may be absolute
            if not paths:
                raise InputError(f"path: {path} matches no file; check the pattern")
            return [found for one in paths for found in _below(filesystem, one, one)]
        return _below(filesystem, path, path)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(
            f"path: {path} cannot be opened ({str(error).splitlines()[0]}); check the name and "
            "your rights"
        ) from None


def _below(filesystem: Any, path: str, shown: str) -> list[DataFile]:
    info = filesystem.get_file_info(path)
    if info.type == pyarrow.fs.FileType.NotFound:
        raise InputError(f"path: there is no file {shown}; check the name")
    if info.type != pyarrow.fs.FileType.Directory:
        return [DataFile(path, filesystem, info.size or 0, {})]
    found = []
    for file in filesystem.get_file_info(pyarrow.fs.FileSelector(path, recursive=True)):
        inner = file.path[len(info.path) :].strip("/")
        hidden = any(part.startswith((".", "_")) for part in inner.split("/"))
        if file.type == pyarrow.fs.FileType.File and not hidden:
            found.append(DataFile(file.path, filesystem, file.size, _partition(inner)))
    if not found:
        raise InputError(f"path: there are no files in the folder {shown}; check the name")
    return sorted(found, key=lambda file: file.path)


def _partition(inner: str) -> dict[str, Any]:
    """The columns that the folders on the way to a file stand for.

    >>> _partition("year=2024/city=New%20York/part-0.parquet")
    {'year': 2024, 'city': 'New York'}
    """
    values: dict[str, Any] = {}
    for part in inner.split("/")[:-1]:
        name, equals, text = part.partition("=")
        if equals:
            value = unquote(text)
            number = re.fullmatch(r"-?(0|[1-9]\d{,17})", value)
            values[name] = None if value == _NO_VALUE else int(value) if number else value
    return values
