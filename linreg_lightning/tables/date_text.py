"""Dates as people write them: finds their format, and reads them in one."""

import re
import warnings
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from itertools import chain, zip_longest

import pyarrow as pa
import pyarrow.compute as pc

from linreg_lightning.errors import InputError
from linreg_lightning.frames import to_numpy

_EPOCH = datetime(1970, 1, 1)
_CODES = {
    **{"Y": r"\d{4}", "y": r"\d{2}", "m": r"\d{1,2}", "d": r"\d{1,2}", "f": r"\d{1,6}"},
    **{"H": r"\d{1,2}", "I": r"\d{1,2}", "M": r"\d{2}", "S": r"\d{2}", "p": "[aApP][mM]"},
    **{"z": r"[+-]\d{2}:?\d{2}", "a": "[A-Za-z]{3}", "A": "[A-Za-z]{6,9}"},
    **{"b": "[A-Za-z]{3}", "B": "[A-Za-z]{3,9}"},
}
"""What each code of strptime that `date_format` may have stands for."""
_WITH_SIGNS = [
    "%d*%m*%Y",
    "%m*%d*%Y",
    "%Y*%m*%d",
    "%d*%m*%y",
    "%m*%d*%y",
    "%y*%m*%d",
    "%d*%b*%Y",
    "%d*%b*%y",
]
_WITH_SIGNS += ["%Y*%m", "%m*%Y", "%b*%Y", "%b*%y", "%Y*%b", "%Y*%b*%d", "%b*%d*%Y"]
_DATES = [form.replace("*", sign) for form in _WITH_SIGNS for sign in ("/", ".", "-", " ")]
_DATES += [
    "%b %d, %Y",
    "%d. %b %Y",
    "%d %b, %Y",
    "%d%b%Y",
    "%d%b%y",
    "%b. %d, %Y",
    "%YM%m",
    "%Y%m%d",
]
_DATES += [form.replace("%b", "%B") for form in _DATES if "%b" in form]
_TIMES = ["%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M%p", "%I:%M:%S %p", "%I:%M:%S%p"]
_TIMES += ["%H:%M:%S UTC", "%H:%M:%S %z", "%H:%M:%S%z", "%H:%M %z", "%H%M%S", "%H%M"]
_ENDS = ["", *(f"{between}{time}" for between in (" ", "T", ", ") for time in _TIMES)]
_STARTS = ["", "%a ", "%a, ", "%A ", "%A, "]
_FIRST = {"d": "day", "m": "month", "b": "month", "B": "month", "y": "year", "Y": "year"}
_START = re.compile(
    "(?i)0|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun"
)
_MAX_LENGTH = 50
_DURATION = re.compile(
    r"[+-]?\d+ days?( [+-]?\d+:\d\d:\d\d(\.\d+)?)?|[+-]?\d+:\d\d:\d\d(\.\d+)?"
    r"|[+-]?P(?=.*\d)(\d+W)?(\d+D)?(T(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?"
)
_PERIOD = re.compile(r"(?i)\d{4}[-/ ]?[QW]\d{1,2}|[QW]\d{1,2}[-/ ]?\d{4}")


class DateTextError(ValueError):
    """A text that is no date, in a row counted from 0."""

    def __init__(self, row: int, text: str) -> None:
        super().__init__(text)
        self.row, self.text = row, text


def is_date_format(date_format: str) -> bool:
    """Whether a format has a year and a month, and only codes that are read.

    >>> is_date_format("%d/%m/%Y"), is_date_format("%H:%M"), is_date_format("dd/mm/yyyy")
    (True, False, False)
    """
    codes = set(re.findall(r"%(.?)", date_format))
    return bool(codes & {*"Yy"}) and bool(codes & {*"mbB"}) and codes <= {*_CODES}


def parse_dates(texts: pa.Array, date_format: str) -> pa.Array:
    """Return texts as dates, or if the format has hours as timestamps, in UTC if it has %z.

    Raises:
        DateTextError: a text is no date in this format.

    >>> parse_dates(pa.array(["28/02/2023", None]), "%d/%m/%Y").to_pylist()
    [datetime.date(2023, 2, 28), None]
    """
    encoded = pc.utf8_trim_whitespace(texts).dictionary_encode()
    distinct, width = encoded.dictionary, _fixed_width(date_format)
    dates = pc.strptime(distinct, format=date_format, unit="us", error_is_null=True)
    # pyarrow turns 31 April into 1 May, and takes 24 for the year 24. Python is strict and ten
    # times as slow: it reads these, and what pyarrow does not read, such as fractions of a second.
    doubtful = pc.or_(pc.less_equal(pc.day(dates), 3), pc.less(pc.year(dates), 1000))
    if width is not None:
        doubtful = pc.or_(doubtful, pc.not_equal(pc.utf8_length(distinct), width))
    ticks = to_numpy(dates.cast(pa.int64()), 0).copy()
    for number in pc.indices_nonzero(doubtful.fill_null(True)).to_pylist():
        text = distinct[number].as_py()
        date = _parse(text, date_format)
        if date is None or len(text) != (width or len(text)):
            raise DateTextError(pc.index(encoded.indices, number).as_py(), text)
        ticks[number] = (date - _EPOCH) // timedelta(microseconds=1)
    dtype = pa.timestamp("us", "UTC" if "%z" in date_format else None)
    dates = pa.Array.from_buffers(dtype, len(ticks), [None, pa.py_buffer(ticks)])
    has_hours = re.search("%[HIz]", date_format) is not None
    return (dates if has_hours else dates.cast(pa.date32())).take(encoded.indices)


def find_formats(texts: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the formats that read most texts, more than half, and the texts that they do not read.

    >>> find_formats(["03/04/2024", "05/04/2024"]), find_formats(["13/04/2024", "05/04/2024", "?"])
    ((['%d/%m/%Y', '%m/%d/%Y'], []), (['%d/%m/%Y'], ['?']))
    """
    read: dict[str, list[str]] = {}
    for text in texts:
        for date_format in _formats_like(re.sub(r"\d", "0", text.strip())):
            if _parse(text.strip(), date_format):
                read.setdefault(date_format, []).append(text)
    most = max(map(len, read.values()), default=0)
    if 2 * most <= len(texts):
        return [], []
    # May is both a full and a short name.
    best = {form.replace("%B", "%b"): form for form in reversed(read) if len(read[form]) == most}
    formats = list(reversed(best.values()))
    # 2024 is a year rather than the year 20 and the time 24, which are read as well.
    formats = [form for form in formats if "%Y" in form] or formats
    known = set(read[formats[0]])
    return formats, [text for text in texts if text not in known]


def refuse_dates(
    texts: Collection[str], file: str, column: str, is_csv: bool, warns: bool = False
) -> None:
    """Refuse a column of dates as text; of a table that is no CSV file, only warn if `warns`.

    Raises:
        InputError: all texts are durations, or dates; or, in a CSV file, quarters, times of day, or
            most are dates.
    """
    plain = [text.strip() for text in texts]
    if (
        plain
        and all(map(_DURATION.fullmatch, plain))
        and not (is_csv and all(map(_is_time, plain)))
    ):
        raise InputError(_duration_remedy(min(plain), file, column))
    if is_csv:
        if remedy := _remedy(texts, file, column):
            raise InputError(remedy)
        return
    formats, others = find_formats(texts)
    if not formats or others:
        return
    text = f"column {column!r}: it holds dates as text, such as {min(texts)!r}"
    remedy = "turn it into dates, such as by pandas.to_datetime, or name it in categorical"
    if not warns:
        raise InputError(f"{text}; {remedy}, or leave it out by exclude")
    warnings.warn(f"{text}, and is taken for categories; {remedy}", stacklevel=2)


def _duration_remedy(example: str, file: str, column: str) -> str:
    text = f"path: column {column!r} of {file} holds durations as text, such as {example!r}"
    hours = f"pandas.to_timedelta(df[{column!r}]).dt.total_seconds() / 3600"
    others = "leave it out by exclude, or name it in categorical"
    return f"{text}; turn them into hours, such as by {hours}, {others}"


def _remedy(texts: Collection[str], file: str, column: str) -> str | None:
    """Return what to do about a CSV column of dates as text; None if it holds something else."""
    where = f"column {column!r} of {file} holds"
    others = "leave it out by exclude, or name it in categorical"
    example = min(texts, default="")
    if texts and all(_PERIOD.fullmatch(text.strip()) for text in texts):
        remedy = f"write each as a date, such as 2024-01-31, {others}"
        return f"categorical: {where} quarters or weeks, such as {example!r}; {remedy}"
    if texts and all(_is_time(text.strip()) for text in texts):
        remedy = f"write each as 14:30 or 14:30:00, {others}"
        return f"categorical: {where} times of day as text, such as {example!r}; {remedy}"
    formats, rest = find_formats(texts)
    if not formats:
        return None
    example = min(set(texts) - set(rest))
    if rest:
        reason = f"{where} {min(rest)!r} among dates such as {example!r}"
        return (
            f"path: {reason}; mend it, leave the column out by exclude, or name it in categorical"
        )
    choices = [f"{form!r} if the {_first_part(form)} comes first" for form in formats]
    choice = " or ".join(choices) if len(formats) > 1 else repr(formats[0])
    remedy = f"type {choice}, and dates parts or days; or {others}"
    return f"date_format: {where} dates as text, such as {example!r}; {remedy}"


@lru_cache(maxsize=10_000)
def _formats_like(shape: str) -> list[str]:
    """Return the formats that a text with 0 in place of its digits may have."""
    if not _START.match(shape) or shape.isdigit() or len(shape) > _MAX_LENGTH:
        return []
    found = []
    for start in _STARTS:
        if begin := _pattern(start).match(shape):
            for date in _DATES:
                if middle := _pattern(date).match(shape, begin.end()):
                    found += [
                        start + date + end
                        for end in _ENDS
                        if _pattern(end).fullmatch(shape, middle.end())
                    ]
    return found


def _first_part(date_format: str) -> str:
    return next(_FIRST[code] for code in re.findall("%(.)", date_format) if code in _FIRST)


def _is_time(text: str) -> bool:
    return any(_pattern(time).fullmatch(text) and _parse(text, time) for time in _TIMES)


@cache
def _pattern(date_format: str) -> re.Pattern[str]:
    parts = re.split(r"%(.)", date_format)
    codes = [_CODES[code] for code in parts[1::2]]
    texts = map(re.escape, parts[::2])
    return re.compile("".join(chain(*zip_longest(texts, codes, fillvalue=""))))


def _fixed_width(date_format: str) -> int | None:
    """Return the length of all dates whose digits are not separated: 1112024 has two readings."""
    if not re.search("%[YymdHMS]%[ymdHMS]", date_format):
        return None
    return len(_EPOCH.strftime(date_format))


def _parse(text: str, date_format: str) -> datetime | None:
    try:
        date = datetime.strptime(text, date_format)
        return date if date.tzinfo is None else date.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
