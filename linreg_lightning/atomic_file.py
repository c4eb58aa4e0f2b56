"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from linreg_lightning.errors import InputError

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

SUFFIX = ".linreg-part"
"""What a file's name ends with until it is whole; no other program uses it."""

_SECONDS_FOR_ANOTHER_WRITER = 10.0
_REMEDIES = {errno.EAGAIN: "wait for its end, or ", errno.ENOSPC: "make room, or "}


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; flush and rename it to `path` if the block succeeds.

    A block that fails leaves no temporary file, and an older file at `path` stays as it was. If two
    processes write `path`, one waits for the other.

    Raises:
        InputError: the file cannot be written, because the disk is full, for example.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with atomic_path(Path(folder, "a.txt")) as unfinished:
    ...         _ = unfinished.write_text("whole")
    ...     [path.name for path in Path(folder).iterdir()]
    ['a.txt']
    """
    with write_errors(path):
        unfinished = UnfinishedFile(path, seconds=_SECONDS_FOR_ANOTHER_WRITER)
        try:
            yield unfinished.path
            unfinished.rename()
        finally:
            unfinished.discard()


class UnfinishedFile:
    """The file `<path>.linreg-part<part>`, locked until it is renamed or discarded.

    The kernel drops the lock of a process that is killed. So a file without a lock is an orphan: it
    is taken over by the next process that writes `path`, or removed by `remove_orphans`.

    Args:
        path: the final path.
        part: what tells several unfinished files of one final path apart.
        seconds: how long to wait for another process that writes the same file.

    Raises:
        BlockingIOError: another process writes the same file.
    """

    def __init__(self, path: Path, part: str = "", seconds: float = 0.0) -> None:
        self.final_path = path
        self.path = self.of_part(part)
        self._descriptor: int | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + seconds
        while self._descriptor is None:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            if _lock(self.path, descriptor, without_locks=True):
                os.ftruncate(descriptor, 0)  # it may be an orphan
                self._descriptor = descriptor
                return
            os.close(descriptor)
            if time.monotonic() > deadline:
                text = "another run is writing it"
                raise BlockingIOError(errno.EAGAIN, text, str(self.path))
            time.sleep(0.001)

    def of_part(self, part: str) -> Path:
        """Return the path of the unfinished file of another part."""
        return self.final_path.with_name(f"{self.final_path.name}{SUFFIX}{part}")

    def flush(self) -> None:
        """Make the disk hold what was written, whoever wrote it."""
        assert self._descriptor is not None
        os.fsync(self._descriptor)

    def rename(self) -> None:
        """Flush the file and give it its final name."""
        self.flush()
        if fcntl is None:
            self._release()  # Windows renames no open file
        self.path.replace(self.final_path)
        self._release()

    def discard(self) -> None:
        """Remove the file, unless it has its final name."""
        if self._descriptor is not None:
            with suppress(OSError):
                self.path.unlink()
            self._release()

    def _release(self) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                if fcntl is not None:  # a forked process may have the descriptor too
                    fcntl.flock(self._descriptor, fcntl.LOCK_UN)
                os.close(self._descriptor)
            self._descriptor = None


def remove_orphans(root: Path) -> None:
    """Remove the unfinished files of killed processes: of root, its runs, and their checkpoints."""
    for pattern in ("", "*/", "*/checkpoints/", "checkpoints/"):
        for path in root.glob(f"{pattern}*{SUFFIX}*"):
            with suppress(OSError):  # another process has removed it, or owns it
                descriptor = os.open(path, os.O_RDWR)
                try:
                    if _lock(path, descriptor, without_locks=False):
                        path.unlink()
                finally:
                    os.close(descriptor)


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn an error of the disk into an InputError that names the file."""
    try:
        yield
    except OSError as error:
        reason, remedy = error.strerror or str(error), _REMEDIES.get(error.errno or 0, "")
        raise InputError(
            f"default_root_dir: {path} cannot be written ({reason}); {remedy}give the Trainer "
            "another default_root_dir"
        ) from None


def _lock(path: Path, descriptor: int, without_locks: bool) -> bool:
    """Try to lock an open file; return False if it is another's, or no longer at the path.

    Where files have no locks, an open file counts as `without_locks`.
    """
    is_ours = without_locks
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = True
        except BlockingIOError:
            return False
        except OSError:  # some network file systems have no locks
            pass
    try:  # the last writer may have renamed the file
        return is_ours and os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
