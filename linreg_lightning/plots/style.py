"""The one look of all pictures: colours, type, axes, title, legend and caption."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, ParamSpec

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.ticker import MaxNLocator, ScalarFormatter

# Okabe and Ito's palette: told apart by every kind of colour vision.
BLUE, VERMILION, GREEN, BLACK = "#0072B2", "#D55E00", "#009E73", "#000000"
INK, GREY, PALE = "#222222", "#666666", "#D9D9D9"

# 700 dots wide: TensorBoard shows a picture 350 wide and scales it by leaving out dots, which only
# a whole factor survives. Small in inches, so that type stays large there.
_WIDTH, _HEIGHT, _DPI = 5.0, 4.2, 140
_CAPTION_COLUMNS = 88
_LOOK: dict[str, Any] = {
    "text.parse_math": False,  # a dollar in a column's name is a dollar
    "text.color": INK,
    "axes.unicode_minus": True,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "figure.constrained_layout.w_pad": 0.1,
    "grid.color": "#EBEBEB",
    "grid.linewidth": 0.8,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.handletextpad": 0.5,
    "legend.columnspacing": 1.4,
    "font.size": 10,
}
# Where they are installed, for scripts that matplotlib's own font lacks.
_FALLBACKS = ("Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "IPAexGothic")

P = ParamSpec("P")
Look = dict[str, Any]
"""Keyword arguments of matplotlib: how something is drawn."""


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Let a function draw in this look, and leave matplotlib's settings as they were."""

    @wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(_settings()):
            return draw(*args, **kwargs)

    return wrapper


def new_figure(caption: str, height: float = _HEIGHT) -> Figure:
    """An empty figure with a caption below.

    Args:
        caption: a sentence or two, broken into lines here.
        height: in inches, with room for two such lines; more of them add their own.
    """
    lines = textwrap.wrap(caption, _CAPTION_COLUMNS)
    height += 0.125 * len(lines[2:])
    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    if lines:
        figure.supxlabel("\n".join(lines), x=0.02, ha="left", fontsize=7.5, color=GREY)
    return figure


def head(figure: Figure, title: str, *axes: Axes, columns: int = 3) -> None:
    """The title, and below it what is drawn by name: above the axes, where it covers no data."""
    pairs = [axis.get_legend_handles_labels() for axis in axes]
    legend = figure.legend(
        [handle for handles, _ in pairs for handle in handles],
        [label for _, labels in pairs for label in labels],
        title=title,
        title_fontproperties={"size": 11.5, "weight": "bold"},
        alignment="left",
        loc="outside upper left",
        ncols=columns,
        borderaxespad=0.2,
    )
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set(alpha=1.0, sizes=[22])


def few_ticks(axis: Axis, columns: int = 34) -> None:
    """Ticks at round numbers written out in full, as many as can be read side by side.

    Args:
        axis: whose ends are known.
        columns: how many letters there is room for.
    """
    formatter = ScalarFormatter(useOffset=False)
    formatter.set_scientific(False)
    axis.set_major_formatter(formatter)
    low, high = axis.get_view_interval()
    for most in range(7, 0, -1):
        locator = MaxNLocator(most, steps=[1, 2, 2.5, 5, 10])
        axis.set_major_locator(locator)
        seen = [place for place in locator() if low <= place <= high]
        if sum(len(text) + 1 for text in formatter.format_ticks(seen)) <= columns:
            break


def short(name: str, most: int = 28) -> str:
    """A name that fits; of a long one its two ends.

    >>> short("a name that is much longer than anybody would like")
    'a name that i…ody would like'
    """
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-(most - 1 - half) :]}"


def png(figure: Figure) -> bytes:
    """The picture as a file's content."""
    file = io.BytesIO()
    with mpl.rc_context(_settings()), warnings.catch_warnings():
        # A name in a script that no font at hand has: its letters are drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure.savefig(file, format="png")
    return file.getvalue()


@cache
def _settings() -> Any:
    """All of matplotlib's, whatever its user has set; but the backend, which a context keeps."""
    installed = set(fontManager.get_font_names())
    family = ["DejaVu Sans", *(name for name in _FALLBACKS if name in installed)]
    defaults: dict[str, Any] = {k: v for k, v in mpl.rcParamsDefault.items() if k != "backend"}
    return {**defaults, **_LOOK, "font.family": family}
