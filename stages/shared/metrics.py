"""Metrics and histories as files in Git: six significant digits, one fixed format."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.errors import UserError
from stages.core.files import atomic_write, corrupted, require_file

DIGITS = 6


def round_numbers(value: Any) -> Any:
    """Return `value` with every float in it, however deep, rounded to DIGITS."""
    if isinstance(value, dict):
        return {key: round_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [round_numbers(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    return value


def flatten(section: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (key, value) for all values in nested sections, keys joined by dots."""
    for key, value in section.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def write_json(path: str, content: dict[str, Any]) -> None:
    """Write `content`, rounded, as JSON with sorted keys.

    Raises UserError for a number that is not finite.
    """
    try:
        text = json.dumps(round_numbers(content), indent=2, sort_keys=True, allow_nan=False)
    except ValueError:
        raise UserError(
            f"{path} must hold finite numbers, and some are not: the data or the weights are too "
            "large. Scale the data or lower the learning rate."
        ) from None
    write_text(path, text + "\n")


def write_csv(path: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write `rows`, rounded, as CSV below a line of column names."""
    with (
        atomic_write(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([columns, *([round_numbers(cell) for cell in row] for row in rows)])


def write_text(path: str, text: str) -> None:
    """Write `text` as UTF-8 with "\\n" at the ends of lines, on every system."""
    with atomic_write(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8", newline="\n")


def read_json(path: str) -> dict[str, Any]:
    """Return the content of a metrics file."""
    require_file(path)
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError:
        raise corrupted(path) from None
    if not isinstance(content, dict):
        raise corrupted(path)
    return content


def read_history(path: str, columns: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the columns of a training history, each float64 (epochs + 1,).

    Raises UserError if the file is missing or does not have exactly these columns.
    """
    require_file(path)
    try:
        with open(path, encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        if header != list(columns) or not rows:
            raise ValueError
        return dict(zip(columns, np.array(rows, dtype=np.float64).T, strict=True))
    except ValueError:
        raise corrupted(path) from None


def read_rows(path: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file, at least one, as texts by column."""
    require_file(path)
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (ValueError, csv.Error):
        raise corrupted(path) from None
    if not rows or any(None in row or None in row.values() for row in rows):
        raise corrupted(path)
    return rows
