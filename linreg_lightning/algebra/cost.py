"""How long a wide table takes and how much memory, to be said before the work begins."""

from __future__ import annotations

from typing import NamedTuple


class _Cost(NamedTuple):
    """What one core of about 3 GHz took; another machine may take half or twice as long."""

    matrix_seconds: float  # for each entry of the Gram matrix
    rank_seconds: float  # for each entry and each column that is kept
    bytes: float  # for each entry
    expected_seconds: float  # which need no word
    expected_bytes: float


_COSTS = {
    "float64": _Cost(4e-8, 6e-11, bytes=64, expected_seconds=10, expected_bytes=2e9),
    "exact": _Cost(4e-7, 1.8e-9, bytes=160, expected_seconds=60, expected_bytes=4e9),
}


def cost_note(accuracy: str, columns: int, rows: float) -> str | None:
    """Return one sentence on the time and memory of a wide fit, or None where both are small.

    `accuracy` is `exact` or `float64`. At most as many columns as rows are kept; the time to add
    the rows is not counted.

    >>> cost_note("exact", columns=100, rows=10**6)
    >>> cost_note("exact", columns=6000, rows=10**6)
    '6,000 columns in exact take about 7 minutes and 4.3 GB, and in float64 10 s and 2.3 GB.'
    """
    cost, quick = _COSTS[accuracy], _COSTS["float64"]
    seconds, memory = _estimate(cost, columns, rows)
    if seconds <= cost.expected_seconds and memory <= cost.expected_bytes:
        return None
    note = f"{columns:,} columns in {accuracy} take about {_amounts(seconds, memory)}"
    if cost is quick:
        return f"{note}."
    return f"{note}, and in float64 {_amounts(*_estimate(quick, columns, rows))}."


def _estimate(cost: _Cost, columns: int, rows: float) -> tuple[float, float]:
    entries = float(columns) ** 2
    seconds = entries * (cost.matrix_seconds + cost.rank_seconds * min(columns, rows))
    return seconds, entries * cost.bytes


def _amounts(seconds: float, memory: float) -> str:
    if seconds >= 90:
        time = f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.0f} hours"
    else:
        time = f"{max(1, round(seconds, -1 if seconds > 10 else 0)):.0f} s"
    return f"{time} and {memory / 1e9:.1f} GB"
