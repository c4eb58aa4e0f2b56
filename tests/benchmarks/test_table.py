"""TabularData from file to coefficients, in fresh processes: speed and memory.

    python -m pytest tests/benchmarks/test_table.py -n 0 -s

This command writes tables of a few gigabytes into pytest's temporary folder. The variable
LINREG_BENCHMARK_SCALE=0.1 makes the tables a tenth as long.
"""

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest

SCALE = float(os.environ.get("LINREG_BENCHMARK_SCALE", "1"))
ROUNDS = 5
COLUMNS = 20
FIT = (
    "fit --model LeastSquares --data TabularData --data.path {} --data.target y "
    "--trainer.accelerator cpu --trainer.enable_progress_bar false --trainer.logger false"
)

# A script that prints the seconds of its work without imports, and its peak memory in megabytes.
FRAME = """
import gc, time
{imports}
gc.freeze()  # keep the objects of the imports out of the measured work
start = time.perf_counter()
{work}
seconds = time.perf_counter() - start
with open("/proc/self/status") as file:
    # getrusage also counts the memory of the process that started this one.
    (peak,) = (line.split()[1] for line in file if line.startswith("VmHWM"))
print("\\nresult", seconds, int(peak) / 1024)
"""


def ours(path: Path, *options: str) -> str:
    words = [*FIT.format(path).split(), *options]
    return FRAME.format(
        imports="import linreg_lightning.cli.run, linreg_lightning.data, linreg_lightning.cli",
        work=f"linreg_lightning.cli.main({words!r})",
    )


def peer(path: Path) -> str:
    read = f"pandas.read_csv({str(path)!r}, engine='pyarrow')"
    if path.suffix == ".parquet":
        read = f"pandas.read_parquet({str(path)!r})"
    return FRAME.format(
        imports="import pandas, pyarrow, pyarrow.parquet, sklearn.linear_model",
        work=(
            f"frame = {read}\n"
            "sklearn.linear_model.LinearRegression().fit(frame.drop(columns='y'), frame['y'])"
        ),
    )


def polars_sums(path: Path) -> str:
    """Return a script in which polars adds up the products of all pairs of columns."""
    return FRAME.format(
        imports="import polars",
        work=(
            f"rows = polars.scan_{path.suffix[1:]}({str(path)!r})\n"
            "names = rows.collect_schema().names()\n"
            "pairs = [(a, b) for i, a in enumerate(names) for b in names[i:]]\n"
            "sums = [(polars.col(a) * polars.col(b)).sum().alias(f'{a} {b}') for a, b in pairs]\n"
            "rows.select(*sums, polars.all().sum(), polars.len()).collect(engine='streaming')"
        ),
    )


def duckdb_sums(path: Path) -> str:
    """Return a script in which DuckDB adds up the products of all pairs of columns."""
    return FRAME.format(
        imports="import duckdb",
        work=(
            f"rows = {str(path)!r}\n"
            "names = duckdb.sql(f\"SELECT * FROM '{rows}'\").columns\n"
            "products = [f'sum({a} * {b})' for i, a in enumerate(names) for b in names[i:]]\n"
            "sums = ', '.join([*products, *(f'sum({a})' for a in names), 'count(*)'])\n"
            "duckdb.sql(f\"SELECT {sums} FROM '{rows}'\").fetchall()"
        ),
    )


def reading(path: Path) -> str:
    read = "pyarrow.csv.read_csv" if path.suffix == ".csv" else "pyarrow.parquet.read_table"
    return FRAME.format(
        imports="import pyarrow.csv, pyarrow.parquet", work=f"{read}({str(path)!r})"
    )


def run(code: str, folder: Path) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("result"))
    _, seconds, megabytes = line.split()
    return float(seconds), float(megabytes)


def write_table(folder: Path, suffix: str, rows: int) -> Path:
    """Write a table of 19 features and y, all normally distributed, and return its path."""
    path = folder / f"{rows}.{suffix}"
    names = [*(f"x{j}" for j in range(1, COLUMNS)), "y"]
    schema = pyarrow.schema([(name, pyarrow.float64()) for name in names])
    kind = pyarrow.csv.CSVWriter if suffix == "csv" else pyarrow.parquet.ParquetWriter
    random = np.random.default_rng(0)
    with kind(path, schema) as writer:
        for start in range(0, rows, 2**19):
            x = random.standard_normal((min(2**19, rows - start), COLUMNS))
            x[:, -1] += x[:, :-1].sum(axis=1)
            writer.write_table(pyarrow.table(list(x.round(6).T), schema=schema))
    return path


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Callable[[str, int], Path]]:
    """Return a function that writes a table of 19 features and y; delete the tables afterwards."""
    written = []

    def write(suffix: str, rows: int) -> Path:
        written.append(write_table(tmp_path, suffix, rows))
        return written[-1]

    yield write
    for path in written:
        path.unlink()


@pytest.mark.parametrize(("suffix", "rows"), [("parquet", 10_000_000), ("csv", 5_000_000)])
def test_seconds_from_file_to_coefficients(
    table: Callable[[str, int], Path], tmp_path: Path, suffix: str, rows: int
) -> None:
    path, few = table(suffix, int(rows * SCALE)), table(suffix, 1000)
    makers = {"linreg": ours, "pandas + scikit-learn": peer, "pyarrow, reading only": reading}
    # DuckDB and polars add the sums of products up, but solve for nothing.
    for name, maker in (("duckdb", duckdb_sums), ("polars", polars_sums)):
        if find_spec(name):
            makers[name] = maker
    rounds = []
    for _ in range(ROUNDS + 1):
        # The start-up time is the time for a table of 1000 rows.
        seconds = {name: run(make(path), tmp_path)[0] for name, make in makers.items()}
        start_up = {name: run(make(few), tmp_path)[0] for name, make in makers.items()}
        rounds.append((seconds, start_up))
    del rounds[0]  # the warm-up
    for name in makers:
        whole, start = (
            statistics.median(part[name] for part in parts) for parts in zip(*rounds, strict=True)
        )
        print(f"\n{path.name}: {name} {whole:.2f} s, of which start-up {start:.2f} s", end="")
    for name in list(makers)[1:]:
        whole = statistics.median(all_["linreg"] / all_[name] for all_, _ in rounds)
        aside = statistics.median(
            (all_["linreg"] - start["linreg"]) / (all_[name] - start[name])
            for all_, start in rounds
        )
        print(
            f"\n{path.name}: linreg takes {whole:.2f} times as long as {name}, {aside:.2f} with "
            "start-up aside",
            end="",
        )


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_memory_does_not_grow_with_the_rows(
    table: Callable[[str, int], Path], tmp_path: Path, suffix: str
) -> None:
    peaks = []
    for rows in (2_000_000, 20_000_000):
        path = table(suffix, int(rows * SCALE))
        peaks.append(run(ours(path, "--data.stream", "true"), tmp_path)[1])
        path.unlink()
        path.touch()
    print(f"\n{suffix}: {peaks[0]:.0f} MB and {peaks[1]:.0f} MB for ten times the rows", end="")
    assert peaks[1] < 1.1 * peaks[0]
    assert peaks[1] < 1500
