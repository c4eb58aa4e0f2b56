"""`CoefficientTable` shows the coefficients of a fit as a summary and as a data frame."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Literal, get_args

from linreg_lightning.errors import InputError
from linreg_lightning.text_table import (
    Format,
    Report,
    Table,
    clean,
    named_statistics,
    statistics_phrases,
)

FrameKind = Literal["pandas", "polars", "pyarrow"]

_NAMES_SHOWN = 6


class CoefficientTable(ABC):
    """A fit that shows its table of coefficients as text, in a notebook and as a data frame.

    A subclass defines `_report` and `_frame_columns`; both raise an InputError before a fit.
    """

    def summary(self, format: Format = "text") -> str:
        """Return coefficients, intervals and measures of fit as a table.

        A p below 1e-16 is shown as `<1e-16`. A missing number is shown as NA, and a line below the
        table gives the reason. Of several targets, a second table has the measures of fit.

        Args:
            format: `text`; `html`, one element without scripts that takes the colours of its page;
                `latex`, a `table` that needs no package; or `markdown`.

        Raises:
            InputError: nothing has been fitted; `format` is none of these.
        """
        return self._report().render(format)

    def to_frame(self, kind: FrameKind | None = None) -> Any:
        """Return the coefficients as a data frame, a row for each target and term.

        Its columns, all digits kept: `target`, `term`, `true` where true coefficients are known,
        `estimate`, and after least squares `std_error`, `t`, `p`, `ci_low`, `ci_high`. A fit of
        groups has `group` and `rows` before them.

        Args:
            kind: the library of the frame, `pandas`, `polars` or `pyarrow`. None takes pandas where
                it is installed, and else pyarrow, which this package always has.

        Raises:
            InputError: nothing has been fitted; the library is unknown or not installed.
        """
        columns = self._frame_columns()
        kind = kind or ("pandas" if find_spec("pandas") else "pyarrow")
        if kind not in get_args(FrameKind):
            raise InputError(f"kind: {kind!r} was given; type pandas, polars or pyarrow")
        if find_spec(kind) is None:
            raise InputError(f"kind: {kind} is not installed; install it, or type pyarrow")
        import narwhals.stable.v2 as nw  # here, because most programs need no frame

        return nw.from_dict(columns, backend=kind).to_native()

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows; before a fit None, so that it shows the `repr`."""
        try:
            return self.summary("html")
        except InputError:
            return None

    @abstractmethod
    def _report(self) -> Report:
        """Return the tables that `summary` shows."""

    @abstractmethod
    def _frame_columns(self) -> dict[str, list[Any]]:
        """Return the columns of `to_frame`."""


def fit_title(model: str, targets: Sequence[str], features: Sequence[str]) -> str:
    """Return one line that names a model, its targets and its features.

    >>> fit_title("Fit", ["price"], ["sqft", "age"])
    'Fit: price on sqft, age'
    >>> fit_title("Fit", ["y1", "y2"], [f"x{j}" for j in range(1, 100)])
    'Fit: y1, y2 on x1, x2, x3, x4, x5, ..., x99 (99 features)'
    """
    return f"{model}: {_names(targets, 'targets')} on {_names(features, 'features')}"


def fit_repr(title: str, statistics: Mapping[str, Any]) -> str:
    """Return the `repr` of a fit: its title and, where known, its rows and r2."""
    phrases = []
    if "rows" in statistics:
        phrases.append(f"{statistics['rows']:.0f} rows")
    shown = {"r2", "r2_uncentered"}
    phrases += statistics_phrases({k: v for k, v in statistics.items() if k in shown})
    return clean(f"<{'; '.join([title, ', '.join(phrases)] if phrases else [title])}>")


def coefficient_report(
    title: str,
    rows: Sequence[Mapping[str, Any]],
    statistics: Mapping[str, Any],
    *,
    confidence: float = 0.95,
    ridge: float = 0.0,
    base_levels: Mapping[str, str] | None = None,
    notes: Sequence[str | list[str]] = (),
) -> Report:
    """Return the report of a fit.

    Args:
        title: the `fit_title`.
        rows: the rows of `coefficients()`, or those of a table of groups.
        statistics: name to number, or to a number for each target.
        confidence: how often the intervals cover the true coefficient.
        ridge: the penalty, which explains why there are no standard errors.
        base_levels: for columns of categories, the level that the others are compared to.
        notes: sentences, or lists of phrases, to put below the table.
    """
    statistics = named_statistics(statistics)
    targets = list(dict.fromkeys(row["target"] for row in rows if "target" in row))
    shown = rows
    if len(targets) < 2:
        shown = [{k: v for k, v in row.items() if k != "target"} for row in rows]
    percent = f"{100 * confidence:.10g}%"
    labels = {"name": "term", "ci_low": f"{percent} low", "ci_high": f"{percent} high"}
    shown = [{labels.get(name, name): value for name, value in row.items()} for row in shown]
    common = {name: v for name, v in statistics.items() if not isinstance(v, list)}
    parts: list[Table | list[str]] = [Table.from_rows(shown), statistics_phrases(common)]
    target_rows = [
        {"target": target, **{name: v[k] for name, v in statistics.items() if name not in common}}
        for k, target in enumerate(targets)
    ]
    if len(common) < len(statistics):
        parts.append(Table.from_rows(target_rows))
    parts += [[note] if isinstance(note, str) else note for note in notes]
    parts.append(
        [f"{column}: compared to {level}" for column, level in (base_levels or {}).items()]
    )
    parts.append(_missing_numbers(rows, statistics, ridge))
    return Report(title, parts)


def _missing_numbers(
    rows: Sequence[Mapping[str, Any]], statistics: Mapping[str, Any], ridge: float
) -> list[str]:
    """Return a paragraph that says why numbers are NA; an empty one if no number is NA."""
    reasons = []
    fitted = [row for row in rows if not math.isnan(row["estimate"])]
    if len(fitted) < len(rows):
        effects = "absorbed effects and " if "absorbed" in statistics else ""
        reasons.append(f"left out, as a linear combination of {effects}earlier columns")
    with_error = [row for row in fitted if not _is_missing(row, "std_error")]
    if len(with_error) < len(fitted):
        penalty = "unknown with a ridge penalty, which biases the estimates"
        reasons.append(
            penalty if ridge else "unknown, because no residual degree of freedom is left"
        )
    lists = {name: v if isinstance(v, list) else [v] for name, v in statistics.items()}
    undefined = any(math.isnan(number) for numbers in lists.values() for number in numbers)
    if any(_is_missing(row, "t") for row in with_error) or (undefined and not reasons):
        r2 = lists.get("r2", []) + lists.get("r2_uncentered", [])
        is_constant = any(map(math.isnan, r2))
        nothing = "a target is constant" if is_constant else "there is nothing to test"
        has_t = not any(_is_missing(row, "t") for row in with_error)
        slopes = {row.get("name", row.get("term")) for row in with_error} - {"intercept"}
        if slopes and has_t and not is_constant:
            reasons.append("f unknown, because these errors allow no joint test of all slopes")
        else:
            reasons.append(f"0 / 0, because {nothing}")
    return [f"NA: {'; or '.join(reasons)}"] if reasons else []


def _is_missing(row: Mapping[str, Any], name: str) -> bool:
    """Whether a row has a number that is NaN; a blank, None, is not missing."""
    value = row.get(name)
    return value is not None and math.isnan(value)


def _names(names: Sequence[str], kind: str) -> str:
    if len(names) <= _NAMES_SHOWN:
        return ", ".join(names) or "a constant alone"
    first = ", ".join(names[: _NAMES_SHOWN - 1])
    return f"{first}, ..., {names[-1]} ({len(names)} {kind})"
