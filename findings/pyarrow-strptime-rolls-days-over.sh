#!/usr/bin/env bash
# pyarrow 26.0.1, pandas 3.1.1, polars 2.1.0, Python 3.11 on Linux.
#
# A CSV file has dates as day/month/year, and a slip: 31/02/2024. A program reads it with the format that it documents,
# by `timestamp_parsers` of the CSV reader or by `pyarrow.compute.strptime`.
# One would guess: the text is refused, or null, as a month 13 is, and as pandas (an error) and polars (null) do.
# Seen: 31/02/2024 becomes 2 March 2024, 31/04/2024 becomes 1 May, 29/02/2023 becomes 1 March, without a word. A year of
# two digits is taken for `%Y`: 01/03/24 becomes 1 March of the year 24 (in polars too).
# Why it matters: a typing error moves to another month, where no later check can find it; days since the first date, and
# all that is fitted on them, are wrong by up to two thousand years for two-digit years. Check texts by
# `datetime.strptime`, or compare `strftime` of the result with the text.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet pyarrow==26.0.1 pandas==3.1.1 polars==2.1.0
"$work/env/bin/python" - <<'PYTHON'
from datetime import datetime

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

slips = ["31/02/2024", "31/04/2024", "29/02/2023"]
read = pc.strptime(pa.array(slips), format="%d/%m/%Y", unit="s").to_pylist()
print("pyarrow strptime:", dict(zip(slips, map(str, read))))
assert read == [datetime(2024, 3, 2), datetime(2024, 5, 1), datetime(2023, 3, 1)]

text = b"sold\n" + "\n".join([*slips, "01/03/24"]).encode()
options = csv.ConvertOptions(timestamp_parsers=["%d/%m/%Y"])
column = csv.read_csv(pa.BufferReader(text), convert_options=options)["sold"].to_pylist()
print("pyarrow CSV:", list(map(str, column)))
assert column == [*read, datetime(24, 3, 1)]

month_13 = pc.strptime(pa.array(["01/13/2024"]), format="%d/%m/%Y", unit="s", error_is_null=True)
print("month 13 is null:", month_13.null_count == 1)
assert month_13.null_count == 1

for slip in slips:
    try:
        pd.to_datetime(pd.Series([slip]), format="%d/%m/%Y")
        raise AssertionError("pandas has read it")
    except ValueError:
        pass
    assert pl.Series([slip]).str.to_date("%d/%m/%Y", strict=False).null_count() == 1
print("pandas refuses them, polars gives null")
PYTHON
