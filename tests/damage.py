"""Damaged copies of tables, and what reading each of them does, in a process of its own."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import math
import multiprocessing
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pyarrow import ipc

from linreg_lightning import InputError, TabularData

CSV_MODULE = "linreg_lightning.tables.csv"
SECONDS = 60
"""After which a reading hangs."""
CONTEXT: Any = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["linreg_lightning.data.tabular", __name__])
_MISSING = {"", "NA", "NULL", "NaN", "nan", "null", "N/A", "n/a", "#N/A"}


class Outcome(NamedTuple):
    """What happened: `kind` is a heading of the report, `text` a digest or a message."""

    kind: str
    text: str


# Undamaged tables


def columns(rows: int = 120) -> dict[str, Any]:
    """Return numbers, whole numbers, flags and text, with a target that depends on them."""
    random = np.random.default_rng(7)
    a, n = random.normal(50, 20, rows).round(6), random.integers(-900, 900, rows)
    flag, c = random.random(rows) < 0.4, random.choice(["Oslo", "Paris", 'Rome, "L"'], rows)
    y = 3 * a - n / 8 + 5 * flag + 9 * (c == "Oslo") + random.normal(0, 1, rows)
    return {"a": a, "n": n, "flag": flag, "c": c, "y": y}


def _csv(line_end: str = "\n", quote: int = csv.QUOTE_MINIMAL) -> bytes:
    stream, table = io.StringIO(), columns()
    writer = csv.writer(stream, lineterminator=line_end, quoting=quote)  # type: ignore[arg-type]
    writer.writerow(table)
    writer.writerows(zip(*(values.tolist() for values in table.values()), strict=True))
    return stream.getvalue().encode()


def _parquet(**options: Any) -> bytes:
    stream = pa.BufferOutputStream()
    pq.write_table(pa.table(columns()), stream, row_group_size=50, **options)
    return bytes(stream.getvalue())


def _arrow(writer: Callable[..., Any], compression: str | None, text: pa.DataType) -> bytes:
    stream, table = pa.BufferOutputStream(), pa.table(columns())
    c = table["c"].combine_chunks()
    c = c.dictionary_encode() if pa.types.is_dictionary(text) else c.cast(text)
    table = table.set_column(3, "c", c)
    options = ipc.IpcWriteOptions(compression=compression)
    with writer(stream, table.schema, options=options) as file:
        file.write_table(table, max_chunksize=50)
    return bytes(stream.getvalue())


def undamaged() -> dict[str, list[bytes]]:
    """Return files by kind, each with the same rows."""
    levels = pa.dictionary(pa.int32(), pa.string())
    layouts = (None, levels), (None, pa.string()), ("lz4", pa.string()), ("zstd", levels)
    arrow = (*layouts, (None, pa.string_view()))
    return {
        "csv": [_csv(), _csv("\r\n", csv.QUOTE_ALL)],
        "csv.gz": [gzip.compress(_csv(), mtime=0)],
        "parquet": [
            _parquet(),
            _parquet(compression="none", use_dictionary=False),
            _parquet(compression="zstd", write_page_checksum=True),
            _parquet(compression="none", write_page_checksum=True, data_page_version="2.0"),
        ],
        "arrow": [_arrow(ipc.new_file, *layout) for layout in arrow],
        "arrows": [_arrow(ipc.new_stream, *layout) for layout in arrow],
    }


# Damage


def _flip(content: bytearray, random: Random) -> None:
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)


def _flip_near_the_end(content: bytearray, random: Random) -> None:
    content[-random.randint(1, min(len(content), 400))] ^= 1 << random.randrange(8)


def _truncate(content: bytearray, random: Random) -> None:
    del content[random.randrange(len(content)) :]


def _insert(content: bytearray, random: Random) -> None:
    place = random.randrange(len(content))
    content[place:place] = random.randbytes(random.choice([1, 2, 8, 100]))


def _delete(content: bytearray, random: Random) -> None:
    place = random.randrange(len(content))
    del content[place : place + random.choice([1, 2, 8, 100])]


def _overwrite(content: bytearray, random: Random) -> None:
    place, size = random.randrange(len(content)), random.choice([2, 8, 100])
    content[place : place + size] = random.choice([bytes(size), random.randbytes(size)])


def _swap(content: bytearray, random: Random) -> None:
    size = random.choice([8, 64, 512])
    one, two = sorted(random.randrange(len(content)) for _ in range(2))
    two = max(two, one + size)
    first, second = content[one : one + size], content[two : two + size]
    content[two : two + size], content[one : one + size] = first, second


DAMAGE = (_flip, _flip, _flip_near_the_end, _truncate, _insert, _delete, _overwrite, _swap)


def damaged(kind: str, files: list[bytes], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield damaged copies, each with the name of its damage."""
    random = Random(f"{kind} {seed}")
    for k in range(count):
        damage = DAMAGE[k % len(DAMAGE)]
        original = files[random.randrange(len(files))]
        content = bytearray(original)
        while bytes(content) == original:
            damage(content, random)
        yield damage.__name__.strip("_"), bytes(content)


# Reading


def _digest(names: list[str], x: Any, y: Any) -> str:
    values = hashlib.sha256(repr((x.tolist(), y.tolist())).encode()).hexdigest()
    return f"{len(x)} rows of {names}: {values}"


def _read(path: str) -> Outcome:
    """Read as a fit does, once into memory and once as a stream."""
    digests = []
    for stream in (False, True):
        data = TabularData(path, "y", stream=stream)
        # The files are small, and have to be cut into several sections.
        with patch.multiple(CSV_MODULE, _SECTION_BYTES=1000, _THREAD_BYTES=300):
            data.setup("fit")
            batches = list(data.loader("train"))
        x, y = (torch.cat(parts) for parts in zip(*(each[:2] for each in batches), strict=True))
        digests.append(_digest(data.feature_names, x, y))
    if len(set(digests)) > 1:
        return Outcome("silently wrong", "memory and stream differ")
    return Outcome("survived", digests[0])


def _read_plainly(path: str) -> Outcome:
    """Read as a careful stranger does: other parsers, or all at once and validated."""
    kind = path.partition(".")[2]
    if kind.startswith("csv"):
        content = Path(path).read_bytes()
        text = (gzip.decompress(content) if kind == "csv.gz" else content).decode()
        names, *rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
        table = dict(zip(names, zip(*rows, strict=True), strict=True))
    else:
        if kind == "parquet":
            read = pq.ParquetFile(path, page_checksum_verification=True).read()
        else:
            read = (ipc.open_file if kind == "arrow" else ipc.open_stream)(path).read_all()
        read.validate(full=True)
        table = {name: read[name].to_pylist() for name in read.schema.names}
    table.pop("", None)  # a column without a name is left out, and the fit says so
    target = np.array([[float(value)] for value in table.pop("y")])
    x, names = [], []
    for name, values in table.items():
        numbers = _numbers(values)
        if numbers is not None:
            x.append(numbers)
            names.append(name)
            continue
        # True beside other words is a level, named as in other formats.
        values = [{"True": "true", "False": "false"}.get(value, value) for value in values]
        for level in sorted(set(values))[1:] or values[:1]:
            x.append([float(value == level) for value in values])
            names.append(f"{name}[{level}]")
    return Outcome("survived", _digest(names, np.array(x).T, target))


def _numbers(values: Any) -> list[float] | None:
    words = {"true": "1", "false": "0", "True": "1", "False": "0"}
    try:
        return [
            math.nan if value in _MISSING else float(words.get(value, value)) for value in values
        ]
    except (TypeError, ValueError):
        return None


Read = Callable[[str], Outcome]


def attempt(function: Read, path: Path) -> Outcome:
    """Call a function with a path, and tell whether it refuses the file or fails."""
    try:
        return function(str(path))
    except InputError as error:
        return Outcome("refused", str(error))
    except BaseException:
        return Outcome("traceback", traceback.format_exc())


def _work(connection: Any) -> None:
    warnings.simplefilter("ignore")
    while True:
        connection.send(attempt(*connection.recv()))


class Reader:
    """Reads files in another process, and starts a new one after a crash or hang."""

    def __init__(self) -> None:
        self._process: Any = None

    def attempt(self, function: Read, path: Path) -> Outcome:
        """Do so there; `crash` and `hang` say that the function never returned."""
        if self._process is None:
            self._connection, other = CONTEXT.Pipe()
            self._process = CONTEXT.Process(target=_work, args=(other,), daemon=True)
            self._process.start()
            other.close()
        self._connection.send((function, path))
        try:
            if self._connection.poll(SECONDS):
                outcome: Outcome = self._connection.recv()
                return outcome
            kind = "hang"
        except EOFError:
            kind = "crash"
        return Outcome(kind, f"exit status {self.close()}")

    def close(self) -> int | None:
        """End the process, and return its exit status."""
        self._process.join(1)
        self._process.kill()
        self._process.join()
        status: int | None = self._process.exitcode
        self._process = None
        return status


def campaign(
    count: int, seed: int, folder: Path, attempt: Callable[[Read, Path], Outcome]
) -> Counter[str]:
    """Read `count` damaged files of each kind; print and return how many had each outcome.

    A file that a careful stranger reads as the same other numbers holds valid other values, such as
    another digit, which nothing in the file contradicts. Only a CSV file may have other rows.
    """
    total: Counter[str] = Counter()
    for kind, files in undamaged().items():
        path = folder / f"t.{kind}"
        right = set()
        for content in files:
            path.write_bytes(content)
            right.add(attempt(_read, path))
        assert len(right) == 1, right
        counts: Counter[str] = Counter()
        for k, (damage, content) in enumerate(damaged(kind, files, count, seed)):
            path.write_bytes(content)
            outcome = attempt(_read, path)
            if outcome.kind == "survived" and outcome not in right:
                same = attempt(_read_plainly, path) == outcome
                same &= kind == "csv" or outcome.text.startswith("120 rows")
                outcome = Outcome("other values" if same else "silently wrong", outcome.text)
            counts[outcome.kind] += 1
            if outcome.kind not in ("refused", "survived", "other values"):
                print(f"{kind} {k} ({damage}): {outcome.kind}: {outcome.text}")
                path.with_name(f"{kind}-{k}-{outcome.kind}").write_bytes(content)
        print(f"{kind}: {count} tried, {dict(counts)}")
        total += counts
    print(f"all: {total.total()} tried, {dict(total)}")
    return total
