"""Which files a path means."""

import glob
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import pyarrow as pa
from pyarrow import fs

from linreg_lightning.errors import InputError

Partition = dict[str, int | str | None]
# The name that Hive gives to the folder of a missing value.
_MISSING = "__HIVE_DEFAULT_PARTITION__"


class DataFile(NamedTuple):
    """A file before it is opened.

    `partition` has the columns and values of its folders; `argument` named it, for messages.
    """

    path: str
    filesystem: fs.FileSystem
    size: int
    partition: Partition
    argument: str = "path"


def find_files(path: str, argument: str = "path") -> list[DataFile]:
    """Find all files of a path: a file, a folder, a pattern such as `2024-*.csv`, an address.

    They come in the order of their paths. Addresses are those that pyarrow knows (s3://, gs://).

    Raises:
        InputError: there is no such file, or it may not be read.
    """
    try:
        if "://" in path:
            filesystem, inner_path = fs.FileSystem.from_uri(path)
            return _list_files(filesystem, inner_path, path, argument)
        matches, filesystem = [path], fs.LocalFileSystem()
        if re.search(r"[*?\[]", path) and not Path(path).exists():
            # Path.glob refuses absolute patterns.
            matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207
            if not matches:
                raise InputError(f"{argument}: {path} matches no file; check the pattern")
        return [f for match in matches for f in _list_files(filesystem, match, match, argument)]
    except (OSError, pa.ArrowException) as error:
        reason = f"cannot be opened ({first_line(error)}); check the name and your rights"
        raise InputError(f"{argument}: {path} {reason}") from None


def first_line(error: Exception) -> str:
    """Return the first line of an error's message: pyarrow appends its C++ stack."""
    return str(error).strip().partition("\n")[0]


def read_error(error: Exception, argument: str, path: str, format_name: str) -> InputError:
    """Say why pyarrow cannot open or read a file."""
    if isinstance(error, FileNotFoundError):
        return InputError(f"{argument}: there is no file {path}; check the name")
    if isinstance(error, PermissionError):
        return InputError(f"{argument}: {path} is not yours to read; change its permissions")
    if isinstance(error, pa.ArrowNotImplementedError):
        reason = f"has a type or compression that cannot be read ({first_line(error)})"
        remedy = "write it with another, such as the type Int64 or Float64"
        return InputError(f"{argument}: {path} {reason}; {remedy}")
    reason = f"it is damaged, cut off or something else ({first_line(error)})"
    return InputError(f"{argument}: {path} cannot be read as {format_name}: {reason}; get it again")


def _list_files(filesystem: fs.FileSystem, path: str, given: str, argument: str) -> list[DataFile]:
    """List one file, or all visible files below a folder; messages name the path as given."""
    info = filesystem.get_file_info(path)
    if info.type == fs.FileType.NotFound:
        raise InputError(f"{argument}: there is no file {given}; check the name")
    if info.type == fs.FileType.Unknown:
        text = f"{given} is a pipe or device, and rows are read more than once"
        raise InputError(f"{argument}: {text}; write them into a file first")
    if info.type != fs.FileType.Directory:
        return [DataFile(path, filesystem, info.size or 0, {}, argument)]
    files = []
    for file in filesystem.get_file_info(fs.FileSelector(path, recursive=True)):
        inner_path = file.path[len(info.path) :].strip("/")
        hidden = any(part.startswith((".", "_")) for part in inner_path.split("/"))
        if file.type == fs.FileType.File and not hidden:
            partition = _parse_partition(inner_path)
            files.append(DataFile(file.path, filesystem, file.size, partition, argument))
    if not files:
        raise InputError(f"{argument}: there are no files in the folder {given}; check the name")
    return sorted(files, key=lambda file: file.path)


def _parse_partition(path: str) -> Partition:
    """Read columns and values from the folders of a path.

    >>> _parse_partition("year=2024/city=New%20York/part-0.parquet")
    {'year': 2024, 'city': 'New York'}
    """
    partition: Partition = {}
    for folder in path.split("/")[:-1]:
        name, equals, text = folder.partition("=")
        if equals:
            value = unquote(text)
            is_integer = re.fullmatch(r"-?(0|[1-9]\d{,17})", value)
            partition[name] = None if value == _MISSING else int(value) if is_integer else value
    return partition
