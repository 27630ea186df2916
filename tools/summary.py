"""Print the main metrics, each next to its reference: theory or a baseline.

    python -m tools.summary

The last step of `make repro`.
"""

import unicodedata
from collections.abc import Mapping, Sequence

from stages.shared.metrics import read_json
from stages.shared.summary import METRICS, Row, summarize
from tools.cli import make_parser, run

MAX_WIDTH = 80  # columns of a terminal
GAP = "   "


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool."""
    make_parser("summary", __doc__).parse_args(arguments)
    metrics = {key: value for path in METRICS for key, value in read_json(path).items()}
    print(format_tables(summarize(metrics)))


def format_tables(tasks: Mapping[str, Sequence[Row]]) -> str:
    """Return one table per task as text, aligned with each other, at most MAX_WIDTH columns."""
    tables = [
        [(task, "value", "reference", ""), *(indent(row.cells()) for row in rows)]
        for task, rows in tasks.items()
    ]
    columns = zip(*(line for table in tables for line in table), strict=True)
    longest, *widths = (max(map(display_width, column)) for column in columns)
    name_width = min(longest, MAX_WIDTH - sum(widths) - len(GAP) * len(widths))
    return "\n\n".join(
        "\n".join(format_line(line, (name_width, *widths)) for line in table) for table in tables
    )


def indent(cells: tuple[str, ...]) -> tuple[str, ...]:
    """Return the cells of a row, the first one below the name of its task."""
    name, *rest = cells
    return f"  {printable(name)}", *rest


def format_line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Return one line: texts cut or filled on the right, numbers filled on the left."""
    name, value, reference, reference_value = cells
    name = truncate(name, widths[0])
    columns = (
        name + " " * (widths[0] - display_width(name)),
        value.rjust(widths[1]),
        reference.ljust(widths[2]),
        reference_value.rjust(widths[3]),
    )
    return GAP.join(columns).rstrip()


def printable(name: str) -> str:
    """Return the name of a column as a terminal can show it in one line."""
    return "".join(char if char.isprintable() else "□" for char in name)


def display_width(text: str) -> int:
    """Return how many columns of a terminal `text` takes; East Asian characters take two."""
    return sum(1 + (unicodedata.east_asian_width(char) in "WF") for char in text)


def truncate(text: str, width: int) -> str:
    """Return `text`, cut to `width` columns of a terminal."""
    if display_width(text) <= width:
        return text
    while display_width(text) >= width:
        text = text[:-1]
    return f"{text}…"


if __name__ == "__main__":
    run(main)
