"""How long a wide table takes and how much memory, to be said before the work begins."""

from __future__ import annotations

_SECONDS, _BYTES = 10, 2e9  # which need no word
# What one core of about 3 GHz took; another machine may take half or twice as long: seconds for
# each entry of the Gram matrix, seconds for each entry and column kept, bytes for each entry.
_COSTS = {"float64": (4e-8, 6e-11, 64), "exact": (1e-6, 1.8e-9, 120)}


def cost_note(accuracy: str, columns: int, rows: float, folds: int = 1) -> str | None:
    """Return one sentence on the time and memory of a wide fit, or None where both are small.

    `accuracy` is `exact` or `float64`. At most as many columns as rows are kept; the time to add
    the rows is not counted. Sums by fold take as much for each fold.

    >>> cost_note("exact", columns=100, rows=10**6)
    >>> cost_note("exact", columns=6000, rows=10**6)
    '6,000 columns in exact take about 7 minutes and 4.3 GB, and in float64 14 s and 2.3 GB.'
    >>> cost_note("float64", columns=3000, rows=10**6, folds=10)
    '3,000 columns in float64 in 10 folds take about 20 s and 5.8 GB.'
    """
    costs = [_cost(kind, columns, rows, folds) for kind in dict.fromkeys((accuracy, "float64"))]
    seconds, size = costs[0]
    if seconds <= _SECONDS and size <= _BYTES:
        return None
    texts = [f"{_duration(seconds)} and {size / 1e9:.1f} GB" for seconds, size in costs]
    subject = f"{columns:,} columns in {accuracy}" + (f" in {folds} folds" if folds > 1 else "")
    return f"{subject} take about {', and in float64 '.join(texts)}."


def _cost(accuracy: str, columns: int, rows: float, folds: int) -> tuple[float, float]:
    for_entry, for_rank, size = _COSTS[accuracy]
    entries = folds * float(columns) ** 2
    return entries * (for_entry + for_rank * min(columns, rows)), entries * size


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{max(1, seconds):.0f} s"
