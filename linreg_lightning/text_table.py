"""Tables and short sentences as text, HTML, LaTeX or Markdown."""

import html
import math
import re
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self, get_args

from linreg_lightning.errors import InputError

Format = Literal["text", "html", "latex", "markdown"]

_SMALLEST_P = 1e-16  # below it, float64 sees no difference from 0
_TEXT_WIDTH = 100
_CONTROL = dict.fromkeys((*range(32), *range(127, 160), 0x2028, 0x2029), " ")
_MARKDOWN = {c: f"\\{c}" for c in "\\`*_[]"} | {c: f"&#{ord(c)};" for c in "&<>|$~"}
_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {c: f"${c}$" for c in "<>|"}
_LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {c: f"{{{c}}}" for c in "[]*"}  # after a line break, LaTeX takes [ and * as arguments
_LATEX |= {'"': r"\symbol{34}"}  # babel gives it other meanings


class Table(NamedTuple):
    """Cells as they are printed; text is aligned to the left, numbers to the right."""

    header: list[str]
    rows: list[list[str]]
    is_text: list[bool]  # of each column

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]]) -> Self:
        """Format values by name: numbers with six digits, p with three; NaN is NA, None is blank.

        The columns are those of the first row.

        >>> Table.from_rows([{"name": "x1", "estimate": 2 / 3, "p": 1e-20}]).rows
        [['x1', '0.666667', '<1e-16']]
        """
        names = list(rows[0]) if rows else []
        cells = [[_format(row.get(name), is_p=_is_p(name)) for name in names] for row in rows]
        header = [clean(_label(name)) for name in names]
        return cls(header, cells, [isinstance(rows[0][name], str) for name in names])


class Report(NamedTuple):
    r"""A title and, below it, tables and paragraphs; a paragraph is a list of phrases.

    >>> table = Table.from_rows([{"name": "x_1", "estimate": 0.5}])
    >>> report = Report("y on x_1", [table, ["rows 100", "r2 0.98"]])
    >>> print(report.render("text"))
    y on x_1
    name  estimate
    x_1        0.5
    rows 100  r2 0.98
    >>> print(report.render("markdown"))
    **y on x\_1**
    <BLANKLINE>
    | name | estimate |
    |:---|---:|
    | x\_1 | 0.5 |
    <BLANKLINE>
    rows 100, r2 0.98
    """

    title: str
    parts: list[Table | list[str]]

    def render(self, format: Format) -> str:
        """Return the report as text, HTML, LaTeX or Markdown.

        HTML is one element that takes colours and fonts from its page. LaTeX is a `table` that
        needs no package.

        Raises:
            InputError: the format is none of these.
        """
        if format not in get_args(Format):
            raise InputError(f"format: {format!r} was given; type text, html, latex or markdown")
        return _RENDERERS[format](clean(self.title), [part for part in self.parts if part])


def clean(text: str) -> str:
    """Return text without control characters, which would break lines or steer a terminal."""
    return text.translate(_CONTROL)


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as a Markdown table, numbers with six digits; missing values and NaN are blank.

    >>> print(markdown_table([{"name": "x|1", "estimate": 2 / 3}]))
    | name | estimate |
    |:---|---:|
    | x&#124;1 | 0.666667 |
    """
    names = dict.fromkeys(name for row in rows for name in row)
    blanks = [{name: _nan_to_none(row.get(name)) for name in names} for row in rows]
    return _markdown_table(Table.from_rows(blanks))


def named_statistics(statistics: Mapping[str, Any]) -> dict[str, Any]:
    """Return statistics with `r2_uncentered` in the name of a number, not as a flag beside it.

    Without a constant in the model, r2 compares residuals to y, not to y less its mean.

    >>> named_statistics({"rows": 9, "r2": 0.5, "r2_uncentered": True})
    {'rows': 9, 'r2_uncentered': 0.5}
    """
    flag = statistics.get("r2_uncentered")
    if not isinstance(flag, bool):
        return dict(statistics)
    end = "_uncentered" if flag else ""
    names = {"r2": f"r2{end}", "r2_adjusted": f"r2_adjusted{end}"}
    numbers = {name: value for name, value in statistics.items() if name != "r2_uncentered"}
    return {names.get(name, name): value for name, value in numbers.items()}


def statistics_phrases(statistics: Mapping[str, Any]) -> list[str]:
    """Return a phrase, name and number, for each statistic; a list has one for each target."""
    return [
        f"{_label(name)} {_format(value, is_p=_is_p(name))}"
        for name, value in named_statistics(statistics).items()
    ]


def format_statistics(statistics: Mapping[str, Any]) -> str:
    """Join names and numbers into lines of text; a list has a number for each target.

    >>> format_statistics({"rows": 100, "r2": [0.5, 2 / 3]})
    'rows 100  r2 0.5, 0.666667'
    >>> format_statistics({"rows": 100, "r2": 0.5, "r2_uncentered": True})
    'rows 100  r2 (uncentered) 0.5'
    """
    return _wrap(statistics_phrases(statistics))


def _label(name: str) -> str:
    return name.replace("_uncentered", " (uncentered)").replace("_", " ")


def _is_p(name: str) -> bool:
    return name in ("p", "f_p")


def _nan_to_none(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _format(value: Any, is_p: bool = False) -> str:
    if isinstance(value, list):
        return ", ".join(_format(item, is_p) for item in value)
    if isinstance(value, float):
        if is_p and value < _SMALLEST_P:
            return f"<{_SMALLEST_P:g}"
        return "NA" if math.isnan(value) else f"{value:.{3 if is_p else 6}g}"
    return "" if value is None else clean(str(value))


def _wrap(phrases: Sequence[str]) -> str:
    # Lines break between phrases only: within one, NUL stands for a space.
    text = "  ".join(clean(phrase).replace(" ", "\0") for phrase in phrases)
    text = textwrap.fill(text, _TEXT_WIDTH, break_long_words=False, break_on_hyphens=False)
    return text.replace("\0", " ")


def _text(title: str, parts: Sequence[Table | list[str]]) -> str:
    blocks = [_text_table(part) if isinstance(part, Table) else _wrap(part) for part in parts]
    return "\n".join([title, *blocks])


def _text_table(table: Table) -> str:
    lines = [table.header, *table.rows]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    text = []
    for line in lines:
        cells = []
        for cell, width, is_text in zip(line, widths, table.is_text, strict=True):
            blanks = " " * (width - _width(cell))
            cells.append(cell + blanks if is_text else blanks + cell)
        text.append("  ".join(cells).rstrip())
    return "\n".join(text)


def _width(text: str) -> int:
    """Return how many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.category(c) in ("Mn", "Me", "Cf") for c in text)


def _html(title: str, parts: Sequence[Table | list[str]]) -> str:
    # Notebooks would typeset text between two dollar signs as mathematics.
    lines = ['<div class="tex2jax_ignore mathjax_ignore">', f"<p><b>{html.escape(title)}</b></p>"]
    for part in parts:
        if isinstance(part, Table):
            lines.append('<table style="border-collapse: collapse">')
            lines.append(f"<thead>{_html_row(part.header, part.is_text, 'th')}</thead>\n<tbody>")
            lines += [_html_row(row, part.is_text, "td") for row in part.rows]
            lines.append("</tbody>\n</table>")
        else:
            lines.append(f"<p>{html.escape(', '.join(map(clean, part)))}</p>")
    return "\n".join([*lines, "</div>"])


def _html_row(cells: list[str], is_text: list[bool], tag: str) -> str:
    text = ""
    for cell, left in zip(cells, is_text, strict=True):
        side = "left" if left else "right"
        style = f"text-align: {side}; padding: 0.1em 0.6em; white-space: pre"
        scope = ' scope="col"' if tag == "th" else ""
        text += f'<{tag}{scope} style="{style}">{html.escape(cell)}</{tag}>'
    return f"<tr>{text}</tr>"


def _markdown(title: str, parts: Sequence[Table | list[str]]) -> str:
    blocks = [f"**{_escape(title, _MARKDOWN)}**"]
    for part in parts:
        if isinstance(part, Table):
            blocks.append(_markdown_table(part))
        else:
            text = _escape(", ".join(map(clean, part)), _MARKDOWN)
            # A paragraph must not begin as a list, a heading or a rule does.
            blocks.append(re.sub(r"^(\s*\d*)([-+#=.)])", r"\1\\\2", text))
    return "\n\n".join(blocks)


def _markdown_table(table: Table) -> str:
    lines = [[_escape(cell, _MARKDOWN) for cell in row] for row in (table.header, *table.rows)]
    lines.insert(1, [":---" if left else "---:" for left in table.is_text])
    rule = "|" + "|".join(lines[1]) + "|"
    text = ["| " + " | ".join(cells) + " |" for cells in lines]
    return "\n".join([text[0], rule, *text[2:]])


def _latex(title: str, parts: Sequence[Table | list[str]]) -> str:
    lines = [r"\begin{table}[htbp]", r"\centering", rf"\caption{{{_latex_text(title)}}}"]
    for part in parts:
        if isinstance(part, Table):
            sides = "".join("l" if left else "r" for left in part.is_text)
            rows = [" & ".join(map(_latex_text, row)) for row in part.rows]
            head = " & ".join(map(_latex_text, part.header))
            lines += [rf"\begin{{tabular}}{{{sides}}}", r"\hline", rf"{head} \\", r"\hline"]
            lines += [*(rf"{row} \\" for row in rows), r"\hline", r"\end{tabular}"]
        else:
            lines.append(rf"\par\smallskip {_latex_text(', '.join(map(clean, part)))}")
    return "\n".join([*lines, r"\end{table}"])


def _latex_text(text: str) -> str:
    # LaTeX prints a hyphen for -, which is shorter than a minus sign.
    return re.sub(r"(^|\s|\de)-(?=\d|inf)", r"\1$-$", _escape(text, _LATEX))


def _escape(text: str, escapes: Mapping[str, str]) -> str:
    return "".join(escapes.get(character, character) for character in text)


_RENDERERS = {"text": _text, "html": _html, "latex": _latex, "markdown": _markdown}
