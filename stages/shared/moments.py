"""Columns walked in chunks of rows: mean and spread of any number of rows, in little memory.

Chunks are merged as T. F. Chan, G. H. Golub and R. J. LeVeque (1983) do it, by their distances from
the first row, so that columns far from zero, such as times in seconds, lose no digits.
"""

from collections.abc import Iterable, Iterator
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from stages.shared.chunks import chunk_bounds

if TYPE_CHECKING:
    from torch import Tensor  # not imported for those who have arrays

# Of a chunk. Twice as many leave the cache of most CPUs, eight times as many take four times as
# long in a network, since the allocator returns each of its arrays to the system.
CHUNK_VALUES = 2**18
FLOAT32_TOLERANCE = 1e-3  # part of the standard deviation that float32 may lose
FEW = 32  # columns, below which one after the other in memory is faster, up to ten times


def chunk_rows(n_columns: int) -> int:
    """Return how many rows of `n_columns` values a chunk has."""
    return max(1, CHUNK_VALUES // n_columns)


def to_numpy(x: "Tensor | np.ndarray") -> np.ndarray:
    """Return columns on the CPU, (n,) or (n, n_columns), as float64 (n, n_columns)."""
    return np.asarray(x, dtype=np.float64).reshape(len(x), -1)


def iter_chunks(x: "Tensor | np.ndarray", size: int | None = None) -> Iterator[np.ndarray]:
    """Yield chunks of columns, (n,) or (n, n_columns), as float64 (chunk, n_columns).

    `size` is the number of their rows; by default it is that of chunk_rows.
    """
    for start, stop in chunk_bounds(len(x), size or chunk_rows(prod(x.shape[1:]))):
        yield to_numpy(x[start:stop])


class Moments(NamedTuple):
    """What is known of columns after n rows: one number a column, (n_columns,).

    squares are the sums of the squared distances from the mean, which is origin + shift.
    """

    n: int
    origin: np.ndarray  # the first row
    shift: np.ndarray
    squares: np.ndarray
    low: np.ndarray
    high: np.ndarray
    is_binary: np.ndarray  # zeros and ones alone

    @property
    def mean(self) -> np.ndarray:
        """The mean of each column, (n_columns,)."""
        return self.origin + self.shift

    @property
    def std(self) -> np.ndarray:
        """The standard deviation of each column, (n_columns,)."""
        return np.sqrt(self.squares / self.n)


def moments(X: np.ndarray, origin: np.ndarray | None = None) -> Moments:
    """Return the moments of X, float64 (n, n_columns), around its first row or another origin."""
    columns = X.T  # (n_columns, n)
    if len(columns) < FEW:
        columns = np.ascontiguousarray(columns)
    origin = X[0].copy() if origin is None else origin
    distances = columns - origin[:, np.newaxis]
    shift = distances.mean(axis=1)
    return Moments(
        n=len(X),
        origin=origin,
        shift=shift,
        squares=np.square(distances - shift[:, np.newaxis]).sum(axis=1),
        low=columns.min(axis=1),
        high=columns.max(axis=1),
        is_binary=((columns == 0) | (columns == 1)).all(axis=1),
    )


def extend(total: Moments | None, X: np.ndarray) -> Moments:
    """Return the moments of the rows so far, None before the first, and of X."""
    if total is None:
        return moments(X)
    more = moments(X, total.origin)
    n, delta = total.n + more.n, more.shift - total.shift
    return Moments(
        n=n,
        origin=total.origin,
        shift=total.shift + delta * (more.n / n),
        squares=total.squares + more.squares + np.square(delta) * (total.n * more.n / n),
        low=np.minimum(total.low, more.low),
        high=np.maximum(total.high, more.high),
        is_binary=total.is_binary & more.is_binary,
    )


def column_moments(chunks: Iterable[np.ndarray]) -> Moments:
    """Return the moments of all rows of chunks, each float64 (chunk, n_columns); one at least."""
    total = None
    for chunk in chunks:
        total = extend(total, chunk)
    assert total is not None
    return total


def merged_by_float32(chunks: Iterable[np.ndarray]) -> np.ndarray:
    """Return which columns of chunks, each float64 (chunk, n_columns), float32 cannot hold.

    bool (n_columns,): those far from zero, such as times in seconds, of which it would merge
    different values.
    """
    total, errors = None, np.zeros(1)
    for X in chunks:
        total = extend(total, X)
        errors = np.maximum(errors, np.abs(X.astype(np.float32) - X).max(axis=0))
    assert total is not None
    return np.asarray((errors > FLOAT32_TOLERANCE * total.std) & (total.std > 0))
