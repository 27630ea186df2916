"""The generated sections of docs/performance.md, and its figure."""

import re
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from stages.core.errors import UserError
from stages.core.files import atomic_write
from stages.figures.style import (
    COLORS,
    MARKERS,
    WIDE,
    add_legends,
    figure_style,
    new_figure,
    save,
)
from tools.bench.copies import PROJECT
from tools.bench.measuring import Usage

PAGE = PROJECT / "docs/performance.md"
FIGURE = PROJECT / "docs/figures/performance.png"
END = "<!-- end -->"


def start_mark(name: str) -> str:
    """Return the comment that opens a section; END closes it."""
    return f"<!-- bench: {name} -->"


def replace_section(text: str, name: str, content: str) -> str:
    """Return the page's text with `content` between the marks of a section.

    Raises UserError if the page lacks them, or has them twice.
    """
    pattern = re.compile(
        rf"(?<={re.escape(start_mark(name))}\n).*?(?={re.escape(END)})", flags=re.DOTALL
    )
    if len(pattern.findall(text)) != 1:
        raise UserError(
            f"docs/performance.md must have one section between `{start_mark(name)}` and `{END}`, "
            "each on a line of its own."
        )
    return pattern.sub(lambda _: f"\n{content}\n\n", text)


def write_section(name: str, content: str) -> None:
    """Write a section of the page."""
    text = replace_section(PAGE.read_text(encoding="utf-8"), name, content)
    with atomic_write(str(PAGE)) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")


def write_figure(usages: Mapping[str, Mapping[int, Usage]]) -> None:
    """Write the page's figure."""
    with figure_style():
        save(draw_growth(usages), str(FIGURE))


def draw_growth(usages: Mapping[str, Mapping[int, Usage]]) -> Figure:
    """Return a figure of the seconds of each stage, {rows: usage}, on two logarithmic axes.

    A dashed line has the slope of what grows in proportion to the rows.
    """
    figure = new_figure(WIDE)
    axes = figure.add_subplot()
    for (stage, sizes), color, marker in zip(usages.items(), COLORS, MARKERS, strict=False):
        seconds = [usage.seconds for usage in sizes.values()]
        axes.plot(list(sizes), seconds, color=color, marker=marker, label=stage)
    n_rows = sorted({n for sizes in usages.values() for n in sizes})
    last = n_rows[-1]
    above = 1.5 * max(sizes[last].seconds for sizes in usages.values())
    ideal = "in proportion to the rows"
    ends = [last / 100, last], [above / 100, above]
    axes.plot(*ends, color="black", linestyle="--", linewidth=1, label=ideal)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="training rows of each table",
        ylabel="seconds",
        title="Time of each stage against the number of rows",
    )
    axes.minorticks_off()
    axes.set_xticks(n_rows, [format_count(n) for n in n_rows])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    add_legends(figure, ("", axes.get_lines()))
    return figure


def format_count(n: int) -> str:
    """Return a number of rows in few letters."""
    return f"{n // 10**6} million" if n >= 10**6 else f"{n:,}"
