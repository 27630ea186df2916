"""Columns walked in chunks of rows: mean and spread of any number of rows, in little memory.

Chunks are merged as T. F. Chan, G. H. Golub and R. J. LeVeque (1983) do it, around means, so that
columns far from zero, such as times in seconds, lose no digits.
"""

from collections.abc import Iterable, Iterator
from math import prod
from typing import NamedTuple

import numpy as np
from torch import Tensor

from stages.shared.chunks import chunk_bounds

# Of a chunk. Twice as many leave the cache of most CPUs, eight times as many take four times as
# long in a network, since the allocator returns each of its arrays to the system.
CHUNK_VALUES = 2**18


def chunk_rows(n_columns: int) -> int:
    """Return how many rows of `n_columns` values a chunk has."""
    return max(1, CHUNK_VALUES // n_columns)


def to_numpy(x: Tensor | np.ndarray) -> np.ndarray:
    """Return columns, (n,) or (n, n_columns), as float64 (n, n_columns), on the CPU."""
    values = x.double().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x, np.float64)
    return values.reshape(len(x), -1)


def iter_chunks(x: Tensor | np.ndarray, size: int | None = None) -> Iterator[np.ndarray]:
    """Yield chunks of columns, (n,) or (n, n_columns), as float64 (chunk, n_columns).

    `size` is the number of their rows; by default it is that of chunk_rows.
    """
    for start, stop in chunk_bounds(len(x), size or chunk_rows(prod(x.shape[1:]))):
        yield to_numpy(x[start:stop])


class Moments(NamedTuple):
    """What is known of columns after n rows: one number a column, (n_columns,).

    squares are the sums of the squared distances from the mean.
    """

    n: int
    mean: np.ndarray
    squares: np.ndarray
    low: np.ndarray
    high: np.ndarray
    is_binary: np.ndarray  # zeros and ones alone

    @property
    def std(self) -> np.ndarray:
        """The standard deviation of each column, (n_columns,)."""
        return np.sqrt(self.squares / self.n)


def moments(X: np.ndarray) -> Moments:
    """Return the moments of X, float64 (n, n_columns)."""
    columns = np.ascontiguousarray(X.T)  # (n_columns, n): ten times as fast for few columns
    distances = columns - columns[:, :1]
    shift = distances.mean(axis=1, keepdims=True)
    return Moments(
        n=len(X),
        mean=columns[:, 0] + shift[:, 0],
        squares=np.square(distances - shift).sum(axis=1),
        low=columns.min(axis=1),
        high=columns.max(axis=1),
        is_binary=((columns == 0) | (columns == 1)).all(axis=1),
    )


def merge(a: Moments, b: Moments) -> Moments:
    """Return the moments of the rows of both."""
    n, delta = a.n + b.n, b.mean - a.mean
    return Moments(
        n=n,
        mean=a.mean + delta * (b.n / n),
        squares=a.squares + b.squares + np.square(delta) * (a.n * b.n / n),
        low=np.minimum(a.low, b.low),
        high=np.maximum(a.high, b.high),
        is_binary=a.is_binary & b.is_binary,
    )


def column_moments(chunks: Iterable[np.ndarray]) -> Moments:
    """Return the moments of all rows of chunks, each float64 (chunk, n_columns); one at least."""
    parts = iter(chunks)
    total = moments(next(parts))
    for chunk in parts:
        total = merge(total, moments(chunk))
    return total
