#!/usr/bin/env bash
# pandas 3.1.1, pyarrow 26.0.1, polars 2.1.0, Python 3.11.
#
# A column of a pandas frame has both dates and points in time as Python objects: rows of a spreadsheet and of a database
# that were joined. The frame is written to Parquet, or goes to polars.
# One would guess: an error, as for numbers among text, or points in time for all rows (a date is then its midnight).
# Seen: the first object that is not missing decides. If it is a date, the column becomes date32, and 17:30 is dropped from
# each later point in time, without a word; if it is a point in time, the conversion is refused. polars takes the frame through pyarrow and does
# the same, and the file written by `to_parquet` has no times any more.
# Why it matters: the loss depends on which row comes first, and durations computed after a round trip are wrong by up
# to a day. `pandas.to_datetime` on the column before writing keeps all.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet pyarrow==26.0.1 pandas==3.1.1 polars==2.1.0
cd "$work"
"$work/env/bin/python" - <<'PYTHON'
from datetime import date, datetime

import pandas as pd
import polars as pl
import pyarrow as pa

objects = [date(2024, 1, 1), datetime(2024, 1, 2, 17, 30)]
frame = pd.DataFrame({"at": pd.Series(objects, dtype=object)})

column = pa.Table.from_pandas(frame)["at"]
print("pyarrow:", column.type, column.to_pylist())
assert column.type == pa.date32() and column.to_pylist() == [date(2024, 1, 1), date(2024, 1, 2)]

series = pl.from_pandas(frame)["at"]
print("polars:", series.dtype, series.to_list())
assert series.dtype == pl.Date

frame.to_parquet("at.parquet")
back = pd.read_parquet("at.parquet")["at"].tolist()
print("after Parquet:", back)
assert back == [date(2024, 1, 1), date(2024, 1, 2)]

turned = pd.DataFrame({"at": pd.Series(objects[::-1], dtype=object)})
try:
    print("other order:", pa.Table.from_pandas(turned)["at"].to_pylist())
    refused = False
except (pa.ArrowException, TypeError) as error:
    print("other order:", type(error).__name__, str(error)[:90])
    refused = True
assert refused
PYTHON
