"""One number per row, by which equal rows are found and a table is split, in bounded memory.

Equal numbers are counted in sorted arrays, which scratch files hold: sorting in place reads and
writes a mapped file from end to end a few times.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from stages.shared import scratch
from stages.shared.scratch import row_slices
from stages.shared.splits import TEST, TRAIN, VALID

# The constants of splitmix64 (G. L. Steele, D. Lea and C. H. Flood, 2014).
INCREMENT = np.uint64(0x9E3779B97F4A7C15)
FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))


def hash_rows(columns: Sequence[np.ndarray], seed: int) -> np.ndarray:
    """Return one pseudo-random number per row, uint64 (n,), from the seed and the row's values.

    `columns` are float64, where all nan are equal, text as object, or what `to_bits` returns, each
    (n,). Rows with the same values have the same number, on every machine.
    """
    state = np.full(len(columns[0]), seed, dtype=np.uint64)
    for column in columns:
        state = mix(state ^ (to_bits(column) + INCREMENT))
    return state


def to_bits(column: np.ndarray) -> np.ndarray:
    """Return a column as uint64 (n,), equal for equal values."""
    if column.dtype == np.uint64:
        return column
    if column.dtype == object:
        return text_bits(column.tolist())
    values = np.where(np.isnan(column), np.nan, column + 0.0)  # -0 becomes 0
    return values.view(np.uint64)


def text_bits(texts: Iterable[str]) -> np.ndarray:
    """Return one number per text, uint64 (n,)."""
    hashes = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.array([int.from_bytes(item, "little") for item in hashes], np.uint64)


def mix(values: np.ndarray) -> np.ndarray:
    """Return uint64 `values` with all bits scrambled, as splitmix64 does it."""
    values = (values ^ (values >> SHIFTS[0])) * FACTORS[0]
    values = (values ^ (values >> SHIFTS[1])) * FACTORS[1]
    return values ^ (values >> SHIFTS[2])


# Equal numbers ------------------------------------------------------------------------------------


def sorted_copy(values: np.ndarray) -> np.ndarray:
    """Return the values of an array (n,) in ascending order, in a scratch file."""
    copy = scratch.empty(len(values), values.dtype)
    copy[:] = values
    copy.sort()
    return copy


def count_distinct(ordered: np.ndarray) -> int:
    """Return how many different values a sorted array (n,) has."""
    return sum(len(starts) for starts in run_starts(ordered))


def run_starts(ordered: np.ndarray) -> Iterable[np.ndarray]:
    """Yield, chunk by chunk, the positions in a sorted array (n,) where another value starts."""
    for rows in row_slices(len(ordered), "compare rows"):
        values = ordered[rows]
        differs = np.empty(len(values), dtype=bool)
        differs[0] = rows.start == 0 or values[0] != ordered[rows.start - 1]
        np.not_equal(values[1:], values[:-1], out=differs[1:])
        yield rows.start + np.flatnonzero(differs)


def is_in(values: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Return which values (n,) are in a sorted array, bool (n,)."""
    if not len(ordered):
        return np.zeros(len(values), dtype=bool)
    found = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return np.asarray(ordered[found] == values)


def occurrences(hashes: np.ndarray) -> np.ndarray:
    """Return how many rows before each have the same hash, float64 (n,), in a scratch file."""
    ordered = sorted_copy(hashes)
    distinct = scratch.empty(count_distinct(ordered), np.uint64)
    done = 0
    for starts in run_starts(ordered):
        distinct[done : done + len(starts)] = ordered[starts]
        done += len(starts)
    counts = scratch.empty(len(distinct), np.int64)
    counts[:] = 0
    numbers = scratch.empty(len(hashes), np.float64)
    for rows in row_slices(len(hashes), "count equal rows"):
        chunk = hashes[rows]
        order = np.argsort(chunk, kind="stable")
        found, first, n_equal = np.unique(chunk[order], return_index=True, return_counts=True)
        places = np.searchsorted(distinct, found)
        starts = np.repeat(counts[places] - first, n_equal)
        numbers[rows][order] = np.arange(len(chunk)) + starts
        counts[places] += n_equal
    return numbers


# Parts by hash ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HashSplit:
    """Which hashes test, validate and train: those before two boundaries, and the others.

    A boundary is (whether it is a large hash, the hash), in the order that `fit` states; `large`
    are the large hashes, sorted.
    """

    first_valid: tuple[bool, int]
    first_train: tuple[bool, int]
    large: np.ndarray

    @classmethod
    def fit(cls, ordered: np.ndarray, valid_fraction: float, test_fraction: float) -> Self:
        """Return the split of sorted hashes, uint64 (n,), three or more of them distinct.

        In the order of the hashes, the first round(n * test_fraction) rows are for testing and the
        next round(n * valid_fraction) for validation, or as near to that as whole hashes allow, at
        least one each, and the others for training. Hashes with more rows than a part should have
        come last, and so train. So a row keeps its part when rows are added, unless its hash is
        close to a boundary.
        """
        n_rows, n_distinct = len(ordered), count_distinct(ordered)
        n_test, n_valid = round(n_rows * test_fraction), round(n_rows * valid_fraction)
        starts = scratch.empty(n_distinct + 1, np.int64)
        starts[-1], done = n_rows, 0
        for chunk in run_starts(ordered):
            starts[done : done + len(chunk)] = chunk
            done += len(chunk)
        limit, n_large = max(1, min(n_test, n_valid)), 0
        for rows in row_slices(n_distinct, "find copies"):
            n_large += int((run_lengths(starts, rows) > limit).sum())
        # The first row of each hash, and the rows up to each: small hashes first, then large ones.
        firsts, ends = (scratch.empty(n_distinct, np.int64) for _ in range(2))
        total = done = 0
        for is_large in (False, True):
            for rows in row_slices(n_distinct, "order rows"):
                counts = run_lengths(starts, rows)
                chosen = (counts > limit) == is_large
                place = slice(done, done + int(chosen.sum()))
                firsts[place] = starts[rows][chosen]
                ends[place] = total + np.cumsum(counts[chosen])
                total, done = total + int(counts[chosen].sum()), place.stop
        first_valid = min(max(1 + nearest(ends, n_test), 1), n_distinct - 2)
        first_train = 1 + nearest(ends, n_test + n_valid)
        first_train = min(max(first_train, first_valid + 1), n_distinct - 1)
        large = scratch.empty(n_large, np.uint64)
        for rows in row_slices(n_large, "find copies"):
            large[rows] = ordered[firsts[n_distinct - n_large :][rows]]
        return cls(
            (first_valid >= n_distinct - n_large, int(ordered[firsts[first_valid]])),
            (first_train >= n_distinct - n_large, int(ordered[firsts[first_train]])),
            large,
        )

    def parts(self, hashes: np.ndarray) -> np.ndarray:
        """Return the part of each row, int8 (n,), a position in SPLITS."""
        is_large = is_in(hashes, self.large)
        parts = np.full(len(hashes), TRAIN, dtype=np.int8)
        for part, (large, boundary) in ((VALID, self.first_train), (TEST, self.first_valid)):
            is_before = (is_large == large) & (hashes < np.uint64(boundary))
            parts[is_before | (~is_large & large)] = part
        return parts


def run_lengths(starts: np.ndarray, rows: slice) -> np.ndarray:
    """Return how many rows each of some hashes has, from where each one and the next start."""
    return np.asarray(starts[rows.start + 1 : rows.stop + 1] - starts[rows])


def nearest(ends: np.ndarray, target: int) -> int:
    """Return the position of the value nearest to `target`, the first of two, in a sorted array."""
    after = int(np.searchsorted(ends, target))
    if after == len(ends) or (after and target - ends[after - 1] <= ends[after] - target):
        return after - 1
    return after
