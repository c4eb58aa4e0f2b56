"""Which files a path means."""

import posixpath
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

import pyarrow as pa
from pyarrow import fs

from linreg_lightning.errors import InputError
from linreg_lightning.tables.partitions import Partition, is_key, parse_partition
from linreg_lightning.tables.transaction_log import refuse_logged_files, refuse_logged_folder

_WILDCARD = re.compile(r"[*?\[]")
# A question mark in an address is a wildcard, unless options such as region=... follow it.
_ADDRESS = re.compile(r"(?P<store>\w+://[^/]*)(?P<path>.*?)(?P<options>\?\w+=[^?]*)?", re.DOTALL)

_RETRIES, _RETRY_SECONDS = 3, 30  # of a request to a store


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

    They come in the order of their paths. Addresses are those that pyarrow knows (s3://, gs://);
    they may be patterns too.

    Raises:
        InputError: there is no such file, or it may not be read; it belongs to a Delta, Iceberg or
            Hudi table.
    """
    if path.startswith("~") and not Path(path.split("/")[0]).exists():
        path = str(Path(path).expanduser())  # a shell leaves ~ within quotes
    try:
        filesystem, inner_paths = _open_store(path)
        for inner_path in inner_paths:
            info = filesystem.get_file_info(inner_path)
            if info.type != fs.FileType.NotFound:
                files = _list_files(filesystem, info, inner_path, path, argument)
                if not files:
                    text = f"there are no files in the folder {path}"
                    raise InputError(f"{argument}: {text}; check the name")
                return _plain_files(files, argument)
        if not _WILDCARD.search(inner_paths[0]):
            raise InputError(f"{argument}: there is no file {path}; check the name")
        for pattern in inner_paths:
            by_path = {file.path: file for file in _match(filesystem, pattern, argument)}
            if by_path:
                files = [by_path[name] for name in sorted(by_path)]
                return _plain_files(files, argument)
        raise InputError(f"{argument}: {path} matches no file; check the pattern")
    except (OSError, pa.ArrowException) as error:
        reason, remedy = first_line(error), "check the name and your rights"
        if reason.startswith("Unrecognized filesystem"):
            reason, remedy = (
                "no such store is known",
                "download it, or type an address s3://, gs://",
            )
        text = f"{path} cannot be opened ({reason})"
        raise InputError(f"{argument}: {text}; {remedy}") from None


def first_line(error: Exception) -> str:
    """Return the first line of an error's message: pyarrow appends its C++ stack."""
    return str(error).strip().partition("\n")[0]


def is_connection_error(error: Exception) -> bool:
    """Whether a store did not answer, or not to the end, for as long as pyarrow tries."""
    return "NETWORK_CONNECTION" in str(error)


def read_error(error: Exception, argument: str, path: str, format_name: str) -> InputError:
    """Say why pyarrow cannot open or read a file."""
    if isinstance(error, FileNotFoundError):
        return InputError(f"{argument}: there is no file {path}; check the name")
    if isinstance(error, PermissionError):
        return InputError(f"{argument}: {path} is not yours to read; change its permissions")
    if "ACCESS_DENIED" in str(error):
        return InputError(f"{argument}: {path} is not yours to read; ask its owner for the right")
    if is_connection_error(error):
        reason = f"the connection to its store failed ({first_line(error)})"
        return InputError(f"{argument}: {path} cannot be read: {reason}; start again")
    if isinstance(error, pa.ArrowNotImplementedError):
        reason = f"has a type or compression that cannot be read ({first_line(error)})"
        remedy = "write it with another, such as the type Int64 or Float64"
        return InputError(f"{argument}: {path} {reason}; {remedy}")
    reason = f"it is damaged, cut off or something else ({first_line(error)})"
    return InputError(f"{argument}: {path} cannot be read as {format_name}: {reason}; get it again")


def _open_store(path: str) -> tuple[fs.FileSystem, list[str]]:
    """Return the file system of a path or address, and the paths in it that it may mean.

    pyarrow decodes addresses. But those who write partitions encode the names of folders, so that
    `city=New%20York` may be the real name of one.
    """
    if "://" not in path:
        return fs.LocalFileSystem(), [path]
    match = _ADDRESS.fullmatch(path)
    if match is None:
        filesystem, inner_path = fs.FileSystem.from_uri(path)
        return filesystem, [inner_path]
    options = match["options"] or ""
    if match["store"].startswith("gs://") and "retry_limit_seconds" not in options:
        options += f"{'&' if options else '?'}retry_limit_seconds={_RETRY_SECONDS}"
    uri = match["store"] + quote(match["path"], safe="/@") + options
    filesystem, inner_path = fs.FileSystem.from_uri(uri)
    return _retry_less(filesystem), list(dict.fromkeys((inner_path, unquote(inner_path))))


def _retry_less(filesystem: fs.FileSystem) -> fs.FileSystem:
    """Let a silent store be given up within about a minute; by default it takes several."""
    if filesystem.type_name != "s3":
        return filesystem
    # An address has no option for it, so this copies the options as pickle does.
    _, (options,) = filesystem.__reduce__()
    retry = fs.AwsStandardS3RetryStrategy(max_attempts=_RETRIES)
    return fs.S3FileSystem(**options | {"retry_strategy": retry})


def _match(filesystem: fs.FileSystem, pattern: str, argument: str) -> list[DataFile]:
    """List the files that match a pattern, and those in folders that do.

    The modules glob and fsspec take a folder that they may not list for an empty one.
    """
    parts = pattern.split("/")
    first = next(i for i, part in enumerate(parts) if _WILDCARD.search(part))
    base = "/".join(parts[:first]) or pattern[: pattern.startswith("/")]
    paths = [base]
    for i, part in enumerate(parts[first:], first + 1):
        is_last = i == len(parts)
        paths = [p for folder in paths for p in _expand(filesystem, folder, part, is_last)]
    infos = filesystem.get_file_info(paths)
    found = [info for info in infos if info.type != fs.FileType.NotFound]
    return [
        file for info in found for file in _list_files(filesystem, info, base, info.path, argument)
    ]


def _expand(filesystem: fs.FileSystem, folder: str, part: str, is_last: bool) -> list[str]:
    """Return what a part of a pattern means in a folder: folders alone, unless it is the last."""
    if not _WILDCARD.search(part):
        return [posixpath.join(folder, part)]
    is_deep, root = part == "**", folder or "."
    if is_deep and is_last:
        return [root]
    selector = fs.FileSelector(root, allow_not_found=True, recursive=is_deep)
    paths = [folder] if is_deep else []
    for info in filesystem.get_file_info(selector):
        inner_path, name = info.path[len(root) :].strip("/"), info.base_name
        if is_deep:
            fits = not any(map(_is_hidden, inner_path.split("/")))
        else:
            # The marks that Spark leaves, such as _SUCCESS, have no suffix.
            is_mark = name[0] == "." or (_is_hidden(name) and "." not in name)
            fits = fnmatchcase(name, part) and (name[0] == part[0] or not is_mark)
        if fits and (info.type == fs.FileType.Directory or (is_last and not is_deep)):
            paths.append(posixpath.join(folder, inner_path))
    return paths


def _list_files(
    filesystem: fs.FileSystem, info: fs.FileInfo, base: str, given: str, argument: str
) -> list[DataFile]:
    """List one file, or all visible files below a folder; messages name the path as given.

    The user typed the folders of `base`, and not those below it.
    """
    if info.type == fs.FileType.Unknown:
        text = f"{given} is a pipe or device, and rows are read more than once"
        raise InputError(f"{argument}: {text}; write them into a file first")
    files = [info]
    if info.type == fs.FileType.Directory:
        inner = filesystem.get_file_info(fs.FileSelector(info.path, recursive=True))
        refuse_logged_folder([each.path for each in inner], argument)
        files = [
            file
            for file in inner
            if file.type == fs.FileType.File
            and not any(map(_is_hidden, file.path[len(info.path) :].strip("/").split("/")))
        ]
    elif base == info.path:
        base = posixpath.dirname(base)
    typed = parse_partition(posixpath.normpath(base), is_typed=True)
    found = []
    for file in files:
        folders = posixpath.dirname(file.path[len(base) :])
        partition = typed | parse_partition(folders)
        found.append(DataFile(file.path, filesystem, file.size or 0, partition, argument))
    return sorted(found, key=lambda file: file.path)


def _plain_files(files: list[DataFile], argument: str) -> list[DataFile]:
    """Return files, unless they belong to a table that is more than its files."""
    filesystem = files[0].filesystem
    # The right to read one object of a store may not be that to list others.
    if len(files) > 1 or isinstance(filesystem, fs.LocalFileSystem):
        refuse_logged_files(filesystem, [file.path for file in files], argument)
    return files


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "_")) and not is_key(name)
