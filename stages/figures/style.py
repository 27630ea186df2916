"""One style for all figures, readable in gray and without color vision, the same bytes everywhere.

Figures are drawn with Matplotlib's own defaults and the STYLE below, whatever the user's settings
are. Up to seven classes differ in lightness and in marker as well as in color (the palette of Okabe
and Ito, 2008). Margins are set by hand, in inches: Matplotlib's layout engines take as long as the
drawing itself.
"""

import unicodedata
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D
from PIL import Image

from stages.core.files import atomic_write

DIGITS = 6  # of everything drawn that comes out of a matrix product

FONT, FONT_SIZE = "DejaVu Sans", 10
STYLE: dict[str, Any] = {
    "figure.dpi": 100,
    "font.sans-serif": [FONT],
    "axes.formatter.limits": (-3, 4),  # keeps the numbers on the axes short
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": "medium",
    "grid.color": "#e6e6e6",
    "legend.framealpha": 0.9,
    "legend.markerscale": 1.5,
    "lines.markersize": 3.5,
    "lines.linewidth": 2.2,
    "text.parse_math": False,  # a dollar in the name of a column is a dollar
}
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000")
MARKERS = ("o", "^", "s", "v", "D", "P", "X")
POINTS: dict[str, Any] = {"linestyle": "none", "markeredgewidth": 0, "alpha": 0.75}
FITTED: dict[str, Any] = {"color": "black", "linestyle": "-"}
IDEAL: dict[str, Any] = {"color": "#d55e00", "linestyle": "--"}

# Inches.
WIDE, SQUARE = (6.4, 4.2), (5.7, 5.5)  # figures before their legends
LEFT, RIGHT, TOP, BOTTOM = 0.95, 0.19, 0.37, 0.6  # margins
PANEL = 2.4
NAME_WIDTH = 1.7
LEGEND_ROW, LEGEND_FRAME = 0.215, 0.1
LEGEND_HANDLE, LEGEND_GAP = 0.4, 0.28  # a sample beside its text; between two columns

NAME_LENGTH = 60  # characters, before a name is measured
PANELS, COLUMNS = 12, 4  # of one figure; in one row
FRAMES = 101  # of an animation
FRAME_MS, LAST_FRAME_MS = 60, 2000


@contextmanager
def figure_style() -> Generator[None, None, None]:
    """Build and save figures with Matplotlib's defaults and STYLE inside the block."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def save(figure: Figure, path: str) -> None:
    """Write a figure as a PNG of few colors, which takes a third of the space."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    with atomic_write(path) as temporary:
        image.quantize(128, Image.Quantize.MAXCOVERAGE).save(temporary, format="PNG")


# Names -------------------------------------------------------------------------------------------


@cache
def font_characters() -> frozenset[str]:
    """Return the characters that the font can draw."""
    return frozenset(map(chr, get_font(findfont(FONT)).get_charmap()))


def drawable(text: str) -> str:
    """Return `text` with a box in place of each character that the font lacks or cannot show."""
    return "".join(
        char if char in font_characters() and unicodedata.category(char)[0] != "C" else "□"
        for char in text
    )


def text_width(text: str) -> float:
    """Return the width of a drawable text in inches."""
    font = get_font(findfont(FONT))
    font.set_size(FONT_SIZE, 72)
    font.set_text(text)
    return font.get_width_height()[0] / 64 / 72  # from 1/64 of a point


@cache
def cut(text: str) -> str:
    """Return a drawable text, cut to NAME_WIDTH; of `column=category` the column, if possible."""
    if len(text) <= NAME_LENGTH and fits(text):
        return text
    column, _, category = text.rpartition("=")
    end = f"…={category}"
    if not column or not category or len(end) > NAME_LENGTH or not fits(column[0] + end):
        column, end = text, "…"
    column = column[:NAME_LENGTH]
    while not fits(column + end):
        column = column[:-1]
    return column + end


def fits(text: str) -> bool:
    """Return whether a drawable text is no wider than NAME_WIDTH."""
    return text_width(text) <= NAME_WIDTH


def truncate(names: Sequence[object]) -> list[str]:
    """Return names as a figure can show them: drawable, cut, and numbered where they look alike."""
    texts = [cut(drawable(str(name))) for name in names]
    counts = Counter(texts)
    return [f"{number}: {text}" if counts[text] > 1 else text for number, text in enumerate(texts)]


# Layout ------------------------------------------------------------------------------------------


def new_figure(size: tuple[float, float], top: float = TOP) -> Figure:
    """Return a figure of `size` with room for a title, `top` inches, and for labels."""
    width, height = size
    figure = Figure(figsize=size)
    figure.subplots_adjust(
        left=LEFT / width, right=1 - RIGHT / width, bottom=BOTTOM / height, top=1 - top / height
    )
    return figure


def add_height(figure: Figure, inches: float) -> None:
    """Make a figure taller at its bottom; its axes keep their sizes."""
    old, margins = figure.get_figheight(), figure.subplotpars
    new = old + inches
    top, bottom = 1 - (1 - margins.top) * old / new, (margins.bottom * old + inches) / new
    figure.set_figheight(new)
    figure.subplots_adjust(top=top, bottom=bottom)


def legend_columns(texts: Sequence[str], width: float) -> int:
    """Return how many columns of a legend with these texts fit into `width` inches, at least 1."""
    widths = np.array([LEGEND_HANDLE + LEGEND_GAP + text_width(text) for text in texts])
    for n_columns in range(len(texts), 1, -1):
        if sum(column.max() for column in np.array_split(widths, n_columns)) < width:
            return n_columns
    return 1


def add_legends(figure: Figure, *legends: tuple[str, Sequence[Line2D]]) -> None:
    """Put legends, (title or "", entries), below all axes, one below the other."""
    width = figure.get_figwidth()
    columns = [
        legend_columns([str(line.get_label()) for line in lines], width) for _, lines in legends
    ]
    heights = [
        LEGEND_ROW * (-(-len(lines) // n_columns) + bool(title)) + 2 * LEGEND_FRAME
        for (title, lines), n_columns in zip(legends, columns, strict=True)
    ]
    add_height(figure, sum(heights))
    y = sum(heights)
    for (title, lines), n_columns, height in zip(legends, columns, heights, strict=True):
        figure.legend(
            handles=lines,
            title=title or None,
            ncols=n_columns,
            loc="upper center",
            bbox_to_anchor=(0.5, y / figure.get_figheight()),
            borderaxespad=0,
        )
        y -= height


def panels(n_panels: int, title: str) -> tuple[Figure, list[Axes]]:
    """Return a figure of small axes in rows of COLUMNS that share y, and the axes."""
    n_columns = min(COLUMNS, n_panels)
    n_rows = -(-n_panels // n_columns)
    figure = new_figure((max(PANEL * n_columns, SQUARE[0]), PANEL * n_rows + 0.9), top=0.7)
    figure.subplots_adjust(hspace=0.35, wspace=0.22)
    figure.suptitle(title)
    grid = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False).ravel()
    for axes in grid[n_panels:]:
        axes.set_axis_off()
    for axes in grid[:n_panels]:  # a power of ten, above the numbers of y, not below the title
        axes.yaxis.get_offset_text().set(x=-0.05, horizontalalignment="right")
    return figure, list(grid[:n_panels])


def label_lowest(grid: Sequence[Axes], xlabel: str) -> None:
    """Label only the outer panels, x below the lowest of each column, even in a row not full."""
    for axes in grid:
        axes.label_outer()
    for axes in grid[-COLUMNS:]:
        axes.tick_params(labelbottom=True)
        axes.set_xlabel(xlabel)


def some_of(n_drawn: int, n_all: int, what: str) -> str:
    """Return what a figure says of those it draws: nothing if it draws all."""
    return "" if n_drawn == n_all else f" ({n_drawn:,} of {n_all:,} {what})"


def point_label(n_drawn: int, n_all: int, what: str) -> str:
    """Return the entry of a legend for points, which says how many of them are drawn, if not all.

    `what` they are, such as "training points".
    """
    return what if n_drawn == n_all else f"{n_drawn:,} of {n_all:,} {what}"


# Animations --------------------------------------------------------------------------------------


def frame_indices(n_rows: int, n_frames: int = FRAMES) -> np.ndarray:
    """Return up to `n_frames` evenly spread indices of rows, the first and the last among them."""
    return np.unique(np.linspace(0, n_rows - 1, n_frames).round().astype(int))


@dataclass(frozen=True)
class Animation:
    """A figure of one axes, whose `line` moves through `frames`, (x, y), each below its title."""

    figure: Figure
    line: Line2D
    frames: Sequence[tuple[np.ndarray, np.ndarray]]
    titles: Sequence[str]


def draw_frames(animation: Animation) -> Iterator[Image.Image]:
    """Yield the image of each frame; only the line and the title are drawn anew."""
    canvas = FigureCanvasAgg(animation.figure)
    (axes,) = animation.figure.axes
    animation.line.set_animated(True)
    canvas.draw()
    background = canvas.copy_from_bbox(animation.figure.bbox)
    for (x, y), title in zip(animation.frames, animation.titles, strict=True):
        canvas.restore_region(background)
        animation.line.set_data(x, y)
        axes.draw_artist(animation.line)
        axes.set_title(title)
        axes.draw_artist(axes.title)
        yield Image.fromarray(np.array(canvas.buffer_rgba())).convert("RGB")


def save_animation(animation: Animation, path: str) -> None:
    """Write an animation as a GIF that loops and stops for a while on its last frame."""
    images = list(draw_frames(animation))
    palette = images[-1].quantize(32, Image.Quantize.MAXCOVERAGE)
    images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    with atomic_write(path) as temporary:
        images[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=images[1:],
            duration=[FRAME_MS] * (len(images) - 1) + [LAST_FRAME_MS],
            loop=0,
        )
