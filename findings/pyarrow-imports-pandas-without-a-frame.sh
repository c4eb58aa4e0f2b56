#!/usr/bin/env bash
# pyarrow 26.0.1, pandas 3.1.1, Python 3.11.
#
# A tool reads Parquet and CSV files by pyarrow and never makes a data frame.
# One would guess: pyarrow imports pandas when something is converted to or from it, and not before.
# Seen, where pandas is installed: `pa.array([1])`, even `pa.scalar(1)`, imports all of it, to ask whether the value is
# a Series; so does `pq.read_table`, through `pyarrow.dataset`. `ParquetFile(...).read()`, `pq.read_schema` and
# `csv.read_csv` do not.
# Why it matters: pandas takes a good part of a second to import, so the same tool starts slower on a machine that has it,
# and which of two equal ways to read a file was written decides it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet pyarrow==26.0.1 pandas==3.1.1
cd "$work"
printf 'a\n1\n' > a.csv
env/bin/python -c "import pyarrow as pa, pyarrow.parquet as pq; pq.write_table(pa.table({'a': [1, 2, 3]}), 'a.parquet')"
imports_pandas() {
    env/bin/python -c "
import sys, pyarrow as pa, pyarrow.csv as csv, pyarrow.parquet as pq
$1
print('pandas' in sys.modules)"
}
expect() {
    seen=$(imports_pandas "$2")
    echo "pandas imported: $seen by $2"
    test "$seen" = "$1"
}
expect False "pq.ParquetFile('a.parquet').read()"
expect False "pq.read_schema('a.parquet')"
expect False "csv.read_csv('a.csv')"
expect True "pq.read_table('a.parquet')"
expect True "pa.array([1])"
expect True "pa.scalar(1)"
