"""The common look of all plots: colours, type, ticks, title, legend and caption."""

import io
import textwrap
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axis import Axis, YAxis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.ticker import MaxNLocator, ScalarFormatter

# Okabe and Ito's palette, which readers with any colour vision can tell apart.
BLUE, VERMILION, GREEN, BLACK = "#0072B2", "#D55E00", "#009E73", "#000000"
INK, GREY = "#222222", "#666666"

# The splits differ by shape as well as by colour.
SPLIT_MARKERS: tuple[dict[str, Any], ...] = (
    {"color": BLUE, "marker": "o"},
    {"color": VERMILION, "marker": "^"},
)

MANY_ROWS = 300  # above this, points are small, because they overlap

# 700 pixels: TensorBoard shows images 350 wide and drops pixels. Few inches make large type.
_WIDTH, _HEIGHT, _DPI = 5.0, 4.2, 140
# Used where installed, for scripts that matplotlib's own font lacks.
_FALLBACK_FONTS = ("Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "IPAexGothic")
_INSTALLED_FONTS = set(fontManager.get_font_names())
_RC_PARAMS: dict[Any, Any] = {
    # All defaults, whatever the user has set, but the backend: a context does not restore that.
    **{name: value for name, value in mpl.rcParamsDefault.items() if name != "backend"},
    "font.family": ["DejaVu Sans", *(f for f in _FALLBACK_FONTS if f in _INSTALLED_FONTS)],
    "text.parse_math": False,  # column names may hold dollar signs
    "text.color": INK,
    "axes.labelcolor": INK,
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    **dict.fromkeys(("axes.axisbelow", "axes.grid"), True),
    "figure.constrained_layout.w_pad": 0.1,
    "grid.color": "#EBEBEB",
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 9),
    **dict.fromkeys(("xtick.color", "ytick.color", "axes.edgecolor"), GREY),
    "legend.handletextpad": 0.5,
    "legend.columnspacing": 1.4,
}
styled = mpl.rc_context(_RC_PARAMS)
"""Decorator of a plot function: it draws in this look, and leaves matplotlib's settings alone."""


def new_figure(caption: str, height: float = _HEIGHT) -> Figure:
    """Return an empty figure with a caption below; captions above two lines add to the height."""
    lines = textwrap.wrap(caption, 84)
    size = _WIDTH, height + 0.125 * len(lines[2:])
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    if lines:
        figure.supxlabel("\n".join(lines), x=0.02, ha="left", fontsize=7.5, color=GREY)
    return figure


def add_legend(figure: Figure, title: str, columns: int = 3) -> None:
    """Add the title with the legend below it, above the axes, where it covers no data."""
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)  # two axes may show the same
    legend = figure.legend(
        [*entries.values()],
        [*entries],
        title=title,
        title_fontproperties={"size": 11.5, "weight": "bold"},
        alignment="left",
        loc="outside upper left",
        ncols=columns,
        borderaxespad=0.2,
    )
    for points in legend.findobj(PathCollection):
        points.set(alpha=1.0, sizes=[22])


def set_plain_ticks(axis: Axis, max_characters: int = 34) -> None:
    """Put few enough ticks at round numbers, written in full; needs the axis's final limits.

    All labels of an x axis together have at most `max_characters`.
    """
    formatter = ScalarFormatter(useOffset=False)
    formatter.set_scientific(False)
    axis.set_major_formatter(formatter)
    low, high = axis.get_view_interval()
    for intervals in range(7, 0, -1):
        locator = MaxNLocator(intervals, steps=[1, 2, 2.5, 5, 10])
        axis.set_major_locator(locator)
        visible = [tick for tick in locator() if low <= tick <= high]
        length = sum(len(label) + 1 for label in formatter.format_ticks(visible))
        if length <= max_characters or isinstance(axis, YAxis):
            break


def point_style(rows: int) -> dict[str, Any]:
    """Return scatter arguments: many points are smaller and fainter than few."""
    size, alpha = (22, 0.65) if rows <= MANY_ROWS else (6, 0.4)
    return {"s": size, "alpha": alpha, "linewidths": 0}


def shorten(name: str, length: int = 28) -> str:
    """Return the name, or its start and end where it is longer than `length`.

    >>> shorten("a name that is much longer than anybody would like")
    'a name that i…ody would like'
    """
    start = (length - 1) // 2
    return name if len(name) <= length else f"{name[:start]}…{name[-(length - 1 - start) :]}"


def shorten_distinctly(names: Sequence[str], length: int = 28) -> list[str]:
    """Shorten names so that different names stay different, where plain `shorten` merges them.

    Names that become the same show the place where they begin to differ.

    >>> shorten_distinctly(["income_in_2019_of_the_district", "income_in_2020_of_the_district"], 16)
    ['inc…n_2019_of_t…', 'inc…n_2020_of_t…']
    """
    texts = {name: shorten(name, length) for name in names}
    for _ in range(len(texts)):  # names that differ at several places need several rounds
        groups: dict[str, list[str]] = {}
        for name, text in texts.items():
            groups.setdefault(text, []).append(name)
        for group in groups.values():
            if len(group) > 1:
                places = range(min(map(len, group)) + 1)
                place = next(i for i in places if len({name[i : i + 1] for name in group}) > 1)
                texts |= {name: _around(name, place, length) for name in group}
    return [texts[name] for name in names]


def _around(name: str, place: int, length: int) -> str:
    """Return the first three characters of a name and the characters around a place."""
    width = length - 4
    start = min(place - width // 3, len(name) - width)
    if start <= 4:
        return f"{name[: length - 1]}…"
    part = name[start : start + width]
    return f"{name[:3]}…{part if name.endswith(part) else part[:-1] + '…'}"


@styled
def png(figure: Figure) -> bytes:
    """Return the figure as the content of a PNG file."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        # A name in a script that no installed font has is drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure.savefig(file, format="png")
    return file.getvalue()
