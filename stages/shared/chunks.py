"""Walking many rows in chunks, with a bar that shows how far it is."""

import os
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

DELAY = 2.0  # seconds, after which a bar appears


def chunk_bounds(n_rows: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the first row, and the row after the last, of each chunk of `n_rows` rows."""
    for start in range(0, n_rows, size):
        yield start, min(start + size, n_rows)


def progress_bar(stage: str, total: int | None, unit: str = "rows", done: int = 0) -> "tqdm[Any]":
    """Return a progress bar, a context manager, on which update(n) counts n more of `total`.

    It starts at `done` and shows the rate and the time left. It appears after DELAY seconds, and
    only in a terminal; of the ranks of a training, only the first shows one.
    """
    return tqdm(
        desc=stage,
        total=total,
        initial=done,
        unit=f" {unit}",
        unit_scale=True,
        delay=DELAY,
        disable=None if os.environ.get("RANK", "0") == "0" else True,
        dynamic_ncols=True,
    )
