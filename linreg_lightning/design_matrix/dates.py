"""Terms of dates: a year with indicators of months, weekdays and hours, or a count of days."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from linreg_lightning.frames import Floats, to_numpy

Dates = Literal["refuse", "parts", "days"]
Integers = NDArray[np.int64]
_NS_PER_DAY, _NS_PER_HOUR = 86_400 * 10**9, 3600 * 10**9
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_UNSEEN = -1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LEVELS = {"month": range(1, 13), "weekday": range(7), "hour": range(24)}
_WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]


class Moments(NamedTuple):
    """Points in time: whole days since 1970-01-01, and nanoseconds since the day began."""

    day: Integers
    nanosecond: Integers
    missing: NDArray[np.bool_]

    @classmethod
    def of(cls, column: Any, zone: str | None = None) -> "Moments":
        """Read a pyarrow array of dates or times, in UTC, or by the wall clocks of a zone.

        >>> Moments.of(pa.array(["1969-12-31 06:00"]).cast(pa.timestamp("s")))
        Moments(day=array([-1]), nanosecond=array([21600000000000]), missing=array([False]))
        """
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        missing = to_numpy(column.is_null().cast(pa.int8()), 0).astype(bool)
        if zone is not None and pa.types.is_timestamp(column.type):
            column = _local_times(column.cast(pa.timestamp(column.type.unit, zone)))
        dtype = column.type
        if pa.types.is_date32(dtype) or pa.types.is_null(dtype):
            day = to_numpy(column.cast(pa.int32()), 0).astype(np.int64)
            return cls(day, np.zeros_like(day), missing)
        if pa.types.is_time32(dtype):
            column = column.cast(pa.int32())
        per_second = _PER_SECOND["ms" if pa.types.is_date64(dtype) else dtype.unit]
        ticks = to_numpy(column.cast(pa.int64()), 0)
        day, tick = np.divmod(ticks, 86_400 * per_second)
        return cls(day, tick * (10**9 // per_second), missing)

    def parts(self) -> dict[str, Integers]:
        """Return the year, the month from 1, the weekday from 0 for Monday, and the hour."""
        date = self.day.astype("datetime64[D]")
        months = date.astype("datetime64[M]").astype(np.int64)
        return {
            "year": months // 12 + 1970,
            "month": months % 12 + 1,
            "weekday": (self.day + 3) % 7,
            "hour": self.nanosecond // _NS_PER_HOUR,
        }


def _local_times(column: Any) -> Any:
    """Return timestamps with a zone as those of its clocks, without one; missing ones are any."""
    # pyarrow knows no daylight saving time after 2037, and Python no year after 9999.
    local, unit, zone = pc.local_timestamp(column), column.type.unit, column.type.tz
    year = pc.year(column)
    rows = pc.indices_nonzero(pc.and_(pc.greater(year, 2036), pc.less(year, 9999)))
    if not len(rows) or zone.startswith(("+", "-")):
        return local
    per_second, ticks = _PER_SECOND[unit], to_numpy(column.cast(pa.int64()), 0)
    late = to_numpy(rows, 0)
    seconds, number = np.unique(ticks[late] // per_second, return_inverse=True)
    clock = ZoneInfo(zone)
    times = (_EPOCH + timedelta(seconds=second) for second in seconds.tolist())
    offsets = [time.astimezone(clock).utcoffset() for time in times]
    shifts = np.array([offset // timedelta(seconds=1) for offset in offsets if offset is not None])
    local_ticks = to_numpy(local.cast(pa.int64()), 0).copy()
    local_ticks[late] = ticks[late] + shifts[number] * per_second
    return pa.Array.from_buffers(local.type, len(column), [None, pa.py_buffer(local_ticks)])


class DaysTerm:
    """Days since the first date, which is [days since 1970, nanoseconds]: one column of x."""

    def __init__(self, column: str, first: Sequence[int]) -> None:
        self.column, self.base, self._first = column, None, first
        self.names = [f"{column}[days]"]

    def transform(self, values: Any, out: Floats) -> NDArray[np.intp]:
        """Write the days into `out`, (1, rows), NaN where a date is missing; return no row."""
        day, nanosecond, missing = Moments.of(values)
        # Differences of whole numbers are exact; only the fraction and the sum are rounded.
        out[0] = (day - self._first[0]) + (nanosecond - self._first[1]) / _NS_PER_DAY
        out[0, missing] = np.nan
        return np.empty(0, np.intp)

    def column_means(self, means: list[float]) -> list[float]:
        """Return the mean of each column of x."""
        return means


class PartsTerm:
    """A year, and zeros and ones for each month, weekday and hour but the first of each.

    `levels` has the months, weekdays and hours of the rows to train on. A part with one level has
    no column. `keeps_all` keeps the first level of the first part. Times of day have only hours.
    """

    def __init__(self, column: str, state: Mapping[str, Any], keeps_all: bool) -> None:
        self.column, self._zone = column, state.get("zone")
        self._has_year = "zone" in state
        self._levels: dict[str, list[int]] = {
            part: state[part] for part in _LEVELS if state.get(part)
        }
        parts = list(self._levels)
        if not self._has_year and len(self._levels["hour"]) == 1:
            keeps_all = True  # or else the column would have no place in x
        self._first = {part: 0 if keeps_all and part == parts[0] else 1 for part in parts}
        self.names = [f"{column}[year]"] if self._has_year else []
        for part, levels in self._levels.items():
            for level in levels[self._first[part] :]:
                self.names.append(f"{column}[{part}={_label(part, level)}]")
        bases = [
            f"{part} {_label(part, levels[0])}"
            for part, levels in self._levels.items()
            if self._first[part] and len(levels) > 1
        ]
        self.base = ", ".join(bases) or None
        """The parts that the others are compared to."""

    def transform(self, values: Any, out: Floats) -> NDArray[np.intp]:
        """Write the parts, NaN where a date is missing; return rows with an unknown month etc."""
        moments = Moments.of(values, self._zone)
        parts = moments.parts()
        out.fill(0.0)
        if self._has_year:
            out[0] = parts["year"]
        start, unknown = int(self._has_year), np.zeros(len(values), bool)
        for part, levels in self._levels.items():
            first = self._first[part]
            numbers = np.full(_LEVELS[part].stop, _UNSEEN)
            numbers[levels] = np.arange(len(levels))
            level_of_row = numbers[parts[part]]
            rows = np.flatnonzero(level_of_row >= first)
            out[start + level_of_row[rows] - first, rows] = 1.0
            unknown |= level_of_row == _UNSEEN
            start += len(levels) - first
        out[:, moments.missing] = np.nan
        return np.flatnonzero(unknown & ~moments.missing)

    def unseen_value(self, value: Any) -> str:
        """Name a date, in an array of one, and its part that no row trained on had.

        >>> state = {"zone": None, "month": [1, 2], "weekday": [0, 1], "hour": []}
        >>> date = pa.array(["2024-07-01"]).cast(pa.date32())
        >>> PartsTerm("sold", state, keeps_all=False).unseen_value(date)
        '2024-07-01 (month 7)'
        """
        if pa.types.is_dictionary(value.type):
            value = value.dictionary_decode()
        numbers = Moments.of(value, self._zone).parts()
        parts = {part: int(numbers[part][0]) for part in self._levels}
        part, level = next((p, n) for p, n in parts.items() if n not in self._levels[p])
        return f"{value.cast(pa.string())[0].as_py()} ({part} {_label(part, level)})"

    def column_means(self, means: list[float]) -> list[float]:
        """Return the mean of each column of x, given those of the year and of all levels."""
        columns, start = means[: int(self._has_year)], int(self._has_year)
        for part, levels in self._levels.items():
            columns = columns + means[start + self._first[part] : start + len(levels)]
            start += len(levels)
        return columns


def _label(part: str, level: int) -> str:
    return _WEEKDAYS[level] if part == "weekday" else str(level)


DateTerm = DaysTerm | PartsTerm


def date_term(column: str, state: Mapping[str, Any], keeps_all: bool) -> DateTerm:
    """Return the term that a state from `DateStatistics` describes."""
    if "first" in state:
        return DaysTerm(column, state["first"])
    return PartsTerm(column, state, keeps_all)


def fitted_type(state: Mapping[str, Any]) -> Any:
    """Return the type of dates, or of times of day, that a state was learned from.

    >>> fitted_type({"zone": None, "first": [19723, 0]}), fitted_type({"hour": [9, 10]})
    (TimestampType(timestamp[us]), Time32Type(time32[s]))
    """
    return pa.timestamp("us", state["zone"]) if "zone" in state else pa.time32("s")


def is_known_zone(zone: str) -> bool:
    """Whether the clocks of a time zone are known.

    >>> is_known_zone("Europe/Berlin"), is_known_zone("+05:45"), is_known_zone("Mars/Olympus")
    (True, True, False)
    """
    try:
        pc.local_timestamp(pa.scalar(0, pa.timestamp("s", zone)))
    except pa.ArrowException:
        return False
    return True


class DateStatistics:
    """What a column of dates has among the rows to train on: parts or the first date, and means."""

    def __init__(self, dates: Dates, dtype: Any) -> None:
        self._dates, self._dtype = dates, dtype
        self._rows = {part: np.zeros(levels.stop, np.int64) for part, levels in _LEVELS.items()}
        self.count = self._years = self._nanoseconds = 0
        self._first: int | None = None
        self._has_times = False

    def add(self, column: Any) -> None:
        """Add the dates of some rows."""
        is_parts = self._dates == "parts"
        moments = Moments.of(column, getattr(self._dtype, "tz", None) if is_parts else None)
        rows = np.flatnonzero(~moments.missing)
        if not len(rows):
            return
        day, nanosecond = moments.day[rows], moments.nanosecond[rows]
        self.count += len(rows)
        if is_parts:
            for part, values in moments._replace(day=day, nanosecond=nanosecond).parts().items():
                if part == "year":
                    self._years += int(values.sum())
                else:
                    self._rows[part] += np.bincount(values, minlength=len(self._rows[part]))
            self._has_times = self._has_times or bool(nanosecond.any())
            return
        self._nanoseconds += int(day.sum()) * _NS_PER_DAY + int(nanosecond.sum())
        earliest = int(day.min())
        first = earliest * _NS_PER_DAY + int(nanosecond[day == earliest].min())
        self._first = first if self._first is None else min(first, self._first)

    def state(self) -> dict[str, Any]:
        """Return what a term needs, as plain strings, numbers and lists."""
        if self._first is not None:
            return {"zone": self._dtype.tz, "first": list(divmod(self._first, _NS_PER_DAY))}
        levels = {part: np.flatnonzero(rows).tolist() for part, rows in self._rows.items()}
        if pa.types.is_time(self._dtype):
            return {"hour": levels["hour"]}
        # Dates as midnights have no hours, so that later dates may have a time of day.
        return levels | {"zone": self._dtype.tz, "hour": levels["hour"] * self._has_times}

    def means(self) -> list[float]:
        """Return the mean of the days; or of the year, and the fraction of rows of each level."""
        if self._first is not None:
            sum_from_first = self._nanoseconds - self.count * self._first
            return [float(Fraction(sum_from_first, self.count * _NS_PER_DAY))]
        state, means = self.state(), []
        if "zone" in state:
            means.append(float(Fraction(self._years, self.count)))
        for part in _LEVELS:
            means += [float(self._rows[part][level] / self.count) for level in state.get(part, [])]
        return means
