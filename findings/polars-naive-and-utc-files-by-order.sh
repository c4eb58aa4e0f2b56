#!/usr/bin/env bash
# polars 2.1.0, Python 3.11.
#
# Two Parquet files hold the same point of a clock, 12:00: one without a time zone, as a local clock shows it, one in UTC.
# `scan_parquet` reads both as one table.
# One would guess: it refuses them, as it does for a file in Europe/Rome beside one without a zone: without knowing where the
# first clock stood, nobody can say which came first.
# Seen: it reads them, and the type of the column is that of the file named first: with the file in UTC first, 12:00 of the
# local clock becomes 12:00 UTC; with the other first, the zone is dropped. No error and no warning.
# Why it matters: a pattern sorts files by name, so that renaming one changes the type of the column; where the clocks were not
# in UTC, hours and intervals between the rows of the two files are wrong by the offset.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet polars==2.1.0
cd "$work"
"$work/env/bin/python" - <<'PYTHON'
from datetime import datetime

import polars as pl

naive = pl.DataFrame({"t": [datetime(2024, 1, 1, 12)]})
naive.write_parquet("naive.parquet")
for name, zone in (("utc", "UTC"), ("rome", "Europe/Rome")):
    naive.with_columns(pl.col("t").dt.replace_time_zone(zone)).write_parquet(f"{name}.parquet")


def read(*names):
    try:
        table = pl.scan_parquet([f"{name}.parquet" for name in names]).collect()
    except pl.exceptions.SchemaError as error:
        print(*names, "refused:", str(error).partition(",")[0])
        return "refused"
    print(*names, table.schema["t"], table["t"].n_unique(), "different times")
    return table.schema["t"].time_zone, table["t"].n_unique()


print("polars", pl.__version__)
assert read("naive", "utc") == (None, 1)
assert read("utc", "naive") == ("UTC", 1)
assert read("naive", "rome") == read("rome", "naive") == "refused"
PYTHON
