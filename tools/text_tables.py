"""Tables as plain text or Markdown, and the numbers in them without digits that mean nothing."""

import json
import math
from collections.abc import Sequence

DIGITS = 6  # significant digits of every metric


def format_value(value: object) -> str:
    """Return a parameter or metric as a table shows it, `-` if there is none."""
    if isinstance(value, float):
        return f"{value:.{DIGITS}g}"
    if isinstance(value, str):
        return value
    return "-" if value is None else json.dumps(value)


def format_change(old: float, new: float) -> str:
    """Return new - old, to the last decimal place that the six digits of both have."""
    places = decimal_places(max(abs(old), abs(new)), DIGITS)
    return f"{round(new - old, places):+.{DIGITS}g}"


def decimal_places(value: float, digits: int) -> int:
    """Return how many decimal places `value` has when shown with `digits` significant digits."""
    return digits - 1 - math.floor(math.log10(abs(value))) if value else 0


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]], markdown: bool = False) -> str:
    """Return a table in aligned columns or as Markdown; columns without any text are left out."""
    kept = [column for column in range(len(head)) if any(row[column] for row in rows)]
    lines = [[row[column] for column in kept] for row in (head, *rows)]
    if markdown:
        lines = [[cell.replace("|", "\\|") for cell in line] for line in lines]
        lines.insert(1, ["---"] * len(kept))
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
