#!/usr/bin/env bash
# pyarrow 26.0.1, pandas 3.1.1, polars 2.1.0, tzdata 2026.1 or later, Python 3.11 on Linux.
#
# A forecast has hours of the years to come, in UTC, and a column for the hour of the day in Berlin.
# One would guess: noon in UTC on 1 July is 14 o'clock in Berlin, in 2037 and in 2038, as the rules of the zone say that it
# goes on, and as pandas, polars and Python's zoneinfo compute.
# Seen: `pyarrow.compute.hour` and `local_timestamp` give 14 in 2037 and 13 from 2038 on: the transitions that the file of
# the zone lists end in 2037, and the rule after them is left out. Winter is right.
# Why it matters: loads, prices and tariffs by hour of the day are off by one in every summer of a long forecast, by
# one library of two that read the same Parquet file.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet pyarrow==26.0.1 pandas==3.1.1 polars==2.1.0 tzdata
"$work/env/bin/python" - <<'PYTHON'
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

years = [2037, 2038, 2050, 2099]
noons = [datetime(year, 7, 1, 12, tzinfo=UTC) for year in years]
column = pa.array(noons, pa.timestamp("s", "UTC")).cast(pa.timestamp("s", "Europe/Berlin"))
hours = {
    "zoneinfo": [noon.astimezone(ZoneInfo("Europe/Berlin")).hour for noon in noons],
    "pandas": column.to_pandas().dt.hour.tolist(),
    "polars": pl.from_arrow(column).dt.hour().to_list(),
    "pyarrow hour": pc.hour(column).to_pylist(),
    "pyarrow local_timestamp": [each.hour for each in pc.local_timestamp(column).to_pylist()],
}
print("noon in UTC on 1 July of", years)
for name, values in hours.items():
    print(f"{name:24}{values}")
for name in ("zoneinfo", "pandas", "polars"):
    assert hours[name] == [14, 14, 14, 14], name
for name in ("pyarrow hour", "pyarrow local_timestamp"):
    assert hours[name] == [14, 13, 13, 13], name
PYTHON
