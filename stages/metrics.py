"""Metrics and histories as files in Git: six significant digits, one fixed format."""

import csv
import json
from collections.abc import Iterator
from typing import Any

from stages.errors import UserError
from stages.files import replacing

DIGITS = 6


def published(value: Any) -> Any:
    """Return `value` with every float in it, however deep, rounded to DIGITS."""
    if isinstance(value, dict):
        return {key: published(item) for key, item in value.items()}
    if isinstance(value, list):
        return [published(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    return value


def leaves(section: dict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (key, value) for all values in nested sections, keys joined by dots."""
    for key, value in section.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def write_json(path: str, content: dict[str, Any]) -> None:
    """Write `content`, rounded, as JSON with sorted keys.

    Raises UserError for a number that is not finite.
    """
    try:
        text = json.dumps(published(content), indent=2, sort_keys=True, allow_nan=False)
    except ValueError:
        raise UserError(
            f"{path} must hold finite numbers, and would not: the data or weights are too large."
        ) from None
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.write(text + "\n")


def write_csv(path: str, columns: tuple[str, ...], rows: list[tuple]) -> None:
    """Write `rows`, rounded, as CSV below a line of column names."""
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([columns, *([published(cell) for cell in row] for row in rows)])
