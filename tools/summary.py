"""Print the main metrics, each next to its references: theory or baselines.

    python -m tools.summary

The last step of `make repro`.
"""

import textwrap
import unicodedata
from collections.abc import Iterator, Sequence

from stages.shared.summary import Row, Summary, read_metrics, summarize
from tools.cli import make_parser, run

MAX_WIDTH = 80  # columns of a terminal
GAP = "   "

Line = tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool."""
    make_parser("summary", __doc__).parse_args(arguments)
    summary = summarize(read_metrics())
    print(format_tables(summary))
    for warning in summary.warnings:
        print(textwrap.fill(f"warning: {printable(warning)}", MAX_WIDTH, subsequent_indent="  "))


def format_tables(summary: Summary) -> str:
    """Return the tables as text, aligned with each other, at most MAX_WIDTH columns."""
    head = ("training", "validation", "test")
    weights = [(printable(name), *values, "") for name, *values in summary.weights]
    tables: list[list[Line]] = [
        [("regression", *head), *metric_lines(summary.regression)],
        [("  coefficients", "trained", "least squares", ""), *map(indent, weights)],
        [("classifier", *head), *metric_lines(summary.classifier)],
    ]
    # A line without numbers, a remark, may run into their columns.
    lines = [line for table in tables for line in table if any(line[1:])]
    longest, *widths = (max(map(display_width, column)) for column in zip(*lines, strict=True))
    name_width = min(longest, MAX_WIDTH - sum(widths) - len(GAP) * len(widths))
    return "\n\n".join(
        "\n".join(format_line(line, (name_width, *widths)) for line in table) for table in tables
    )


def metric_lines(rows: Sequence[Row]) -> Iterator[Line]:
    """Yield the lines of rows, references below their metric, without details."""
    for name, *cells, is_reference, is_detail in rows:
        if not is_detail:
            yield f"{'    ' if is_reference else '  '}{name}", *cells


def indent(line: Line) -> Line:
    """Return a line, its name below that of its table."""
    name, *cells = line
    return f"    {name}", *cells


def format_line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Return one line: the name cut or filled on the right, numbers filled on the left."""
    if not any(cells[1:]):
        return truncate(cells[0], MAX_WIDTH)
    name = truncate(cells[0], widths[0])
    numbers = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
    return GAP.join([name + " " * (widths[0] - display_width(name)), *numbers]).rstrip()


def printable(name: str) -> str:
    """Return the name of a column as a terminal can show it in one line."""
    return "".join(char if char.isprintable() else "□" for char in name)


def display_width(text: str) -> int:
    """Return how many columns of a terminal `text` takes; East Asian characters take two."""
    return sum(1 + (unicodedata.east_asian_width(char) in "WF") for char in text)


def truncate(text: str, width: int) -> str:
    """Return `text`, cut to `width` columns of a terminal; of `column=category` the column.

    A category that would take more than half of the width is cut, too.
    """
    if display_width(text) <= width:
        return text
    column, equals, category = text.rpartition("=")
    end = f"…{equals}{category}"
    if not equals or not category or display_width(end) > width // 2:
        column, end = text, "…"
    while display_width(column + end) > width:
        column = column[:-1]
    return column + end


if __name__ == "__main__":
    run(main)
