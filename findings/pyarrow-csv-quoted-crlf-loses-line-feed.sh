#!/usr/bin/env bash
# pyarrow 26.0.1, Python 3.11.
#
# A CSV file written on Windows has a text column whose quoted values have line ends (CR LF) in them, such as addresses; all
# of its values are one of two texts. It is read with `newlines_in_values=True`, as the documentation says for such files.
# One would guess: what is within quotes is kept as it is, so that the column has two different values.
# Seen: it has more than two. The file is read in blocks of 1 MiB. Where a block ends between the CR and the LF of a value,
# the LF is lost, without an error: twice in these 17 MB. With `use_threads=False` too; in one block (`block_size` as large
# as the file) not.
# Why it matters: the column, taken for categories, has a level more, with a row or two; a join or a count of different
# values is off by a few rows, and which ones depends on the bytes before them and on the size of the blocks.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet pyarrow==26.0.1
"$work/env/bin/python" - <<'PYTHON'
import csv
import io
from collections import Counter

import pyarrow as pa
import pyarrow.csv as pc

text = io.StringIO(newline="")
writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC)  # ends its lines by CR LF
writer.writerow(["address", "y"])
writer.writerows(["1 High Street\r\nOxford" if i % 2 else "2 Low Road\r\nYork", i] for i in range(600_000))
data = text.getvalue().encode()


def levels(**options):
    parse = pc.ParseOptions(newlines_in_values=True)
    table = pc.read_csv(io.BytesIO(data), parse_options=parse, read_options=pc.ReadOptions(**options))
    return Counter(table["address"].to_pylist())


print("pyarrow", pa.__version__, "with", len(data), "bytes")
by_module = Counter(row[0] for row in list(csv.reader(io.StringIO(data.decode(), newline="")))[1:])
print("the csv module: ", dict(by_module))
print("pyarrow:        ", dict(levels()))
print("without threads:", dict(levels(use_threads=False)))
print("in one block:   ", dict(levels(block_size=len(data))))
assert len(by_module) == len(levels(block_size=len(data))) == 2
assert len(levels()) > 2 and len(levels(use_threads=False)) > 2
assert all("\n" not in value for value in levels().keys() - by_module.keys())
PYTHON
