"""Arrays and tables as large as the disk allows, in temporary files that are mapped.

What is mapped is no memory of the process: the system keeps in its cache what fits, and writes back
the rest. The files have no names, so that they end with the process, however it ends.
"""

import mmap
import os
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike

from stages.core.errors import UserError
from stages.shared.chunks import chunk_bounds, progress_bar

# Beside the tensors, which are as large; the system's folder for temporary files may be in memory.
FOLDER = "data/tensors"
ROWS, VALUES, BYTES = 2**17, 2**22, 2**26  # in memory at a time: one chunk
SMALL = 2**22  # bytes up to which an array stays in memory

Array = np.ndarray[Any, np.dtype[Any]]


def empty(shape: int | tuple[int, ...], dtype: DTypeLike) -> Array:
    """Return a new array, in a file unless it is small.

    Raises UserError if the disk is full.
    """
    shape = shape if isinstance(shape, tuple) else (shape,)
    size = prod(shape) * np.dtype(dtype).itemsize
    if size <= SMALL:
        return np.empty(shape, dtype)
    with temporary_file() as file:
        if hasattr(os, "posix_fallocate"):  # a full disk is an error here, and later a crash
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            os.truncate(file.fileno(), size)
        return np.memmap(file, dtype, "r+", shape=shape).view(np.ndarray)


def map_table(batches: Iterable[pa.RecordBatch], doing: str, total: int | None) -> pa.Table | None:
    """Return a table of all batches, in a file unless it is one chunk, or None if it has no rows.

    Each chunk of a column has ROWS rows or less, whatever the batches have. `doing` and `total`
    rows are for the progress bar.
    """
    with progress_bar(doing, total) as bar:
        chunks = join_batches(track_rows(batches, bar.update))
        first, second = next(chunks, None), next(chunks, None)
        if first is None or second is None:
            return first
        with temporary_file() as file:
            with pa.ipc.new_file(file, first.schema) as writer:
                for chunk in (first, second):
                    writer.write_table(chunk)
                del first, second, chunk
                for chunk in chunks:
                    writer.write_table(chunk)
            file.flush()
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return pa.ipc.open_file(pa.py_buffer(mapped)).read_all()


def track_rows(batches: Iterable[pa.RecordBatch], update: Any) -> Iterator[pa.RecordBatch]:
    """Yield the batches; count their rows."""
    for batch in batches:
        update(len(batch))
        yield batch


def join_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Yield tables of one chunk, each from batches that make ROWS rows, VALUES or BYTES."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        for start in range(0, len(batch), ROWS):
            held.append(batch.slice(start, ROWS))
            n_rows = sum(map(len, held))
            n_bytes = sum(part.nbytes for part in held)
            n_columns = max(1, batch.num_columns)
            if n_rows >= ROWS or n_rows * n_columns >= VALUES or n_bytes >= BYTES:
                yield pa.Table.from_batches(held).combine_chunks()
                held = []
    if held:
        yield pa.Table.from_batches(held).combine_chunks()


@contextmanager
def temporary_file() -> Generator[Any, None, None]:
    """Open a file without a name.

    Raises UserError if the disk is full or the folder is not writable.
    """
    try:
        os.makedirs(FOLDER, exist_ok=True)
        with tempfile.TemporaryFile(dir=FOLDER) as file:
            yield file
    except OSError as error:
        raise UserError(
            f"{FOLDER} cannot hold temporary files: {error.strerror or error}."
        ) from error


def row_slices(n_rows: int, doing: str, width: int = 1) -> Iterator[slice]:
    """Yield the rows of each chunk, for a loop that holds `width` values of each, with a bar."""
    size = max(1, min(ROWS, VALUES // max(1, width)))
    with progress_bar(doing, n_rows) as bar:
        for start, stop in chunk_bounds(n_rows, size):
            yield slice(start, stop)
            bar.update(stop - start)
