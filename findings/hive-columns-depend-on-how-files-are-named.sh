#!/usr/bin/env bash
# pyarrow 26.0.1, polars 2.1.0, duckdb 2.0.1, Python 3.11.
#
# A table lies in folders g=u/month=01, g=u/month=02, g=v/month=01... Its columns g and month are in the names of the folders
# alone. A program reads all of it by the top folder or by a pattern, or one part of it.
# One would guess: the same files give the same columns, however they are named, with one type in all three libraries.
# Seen: by the top folder all have g and month, but month is int32 in pyarrow, Int64 in polars and text ("01") in duckdb. By a
# pattern of files polars has neither column, unless `hive_partitioning=True`. By the folder g=u pyarrow and polars lose g
# and duckdb keeps it. By one file, `pyarrow.dataset` with `partitioning="hive"` has both columns, and
# `pyarrow.parquet.read_table` none.
# Why it matters: a model that was fitted on the folder meets a file of one day without the columns that it needs, or a
# filter month = 1 compares text with a number; a fit by a pattern lacks its strongest predictor, and nothing fails.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet pyarrow==26.0.1 polars==2.1.0 duckdb==2.0.1
cd "$work"
"$work/env/bin/python" - <<'PYTHON'
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

for g in "uv":
    for month in ("01", "02"):
        folder = Path(f"t/g={g}/month={month}")
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"x": [1.0, 2.0]}), folder / "rows.parquet")


def of_pyarrow(path):
    schema = ds.dataset(path, partitioning="hive").schema
    return dict(zip(schema.names, map(str, schema.types)))


def of_polars(path, **options):
    return {k: str(v) for k, v in pl.scan_parquet(path, **options).collect_schema().items()}


def of_duckdb(path):
    return {row[0]: row[1] for row in duckdb.sql(f"DESCRIBE SELECT * FROM '{path}'").fetchall()}


pattern, part, file = "t/*/*/*.parquet", "t/g=u", "t/g=u/month=01/rows.parquet"
by_folder = of_pyarrow("t"), of_polars("t"), of_duckdb("t/**/*.parquet")
print("top folder:", *by_folder, sep="\n  ")
assert [each["month"] for each in by_folder] == ["int32", "Int64", "VARCHAR"]
by_pattern = of_polars(pattern), of_polars(pattern, hive_partitioning=True), of_duckdb(pattern)
print("pattern (polars, polars with hive_partitioning, duckdb):", *by_pattern, sep="\n  ")
assert [len(each) for each in by_pattern] == [1, 3, 3]
by_part = of_pyarrow(part), of_polars(part), of_duckdb(f"{part}/**/*.parquet")
print("folder g=u:", *by_part, sep="\n  ")
assert ["g" in each for each in by_part] == [False, False, True]
by_file = of_pyarrow(file), pq.read_table(file).schema.names, of_polars(file)
print("one file (pyarrow.dataset, pyarrow.parquet, polars):", *by_file, sep="\n  ")
assert [len(each) for each in by_file] == [3, 1, 1]
PYTHON
