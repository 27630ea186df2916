"""The parts of a table: which rows train, validate and test a model."""

import hashlib
from collections.abc import Sequence

import numpy as np

SPLITS = ("train", "valid", "test")
TRAIN, VALID, TEST = range(3)  # positions in SPLITS
SPLIT = "split"  # the column of a table that says which part a row belongs to

# The constants of splitmix64 (G. L. Steele, D. Lea and C. H. Flood, 2014).
INCREMENT = np.uint64(0x9E3779B97F4A7C15)
FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))


def hash_rows(columns: Sequence[np.ndarray], seed: int) -> np.ndarray:
    """Return one pseudo-random number per row, uint64 (n,), from the seed and the row's values.

    `columns` are float64, where all nan are equal, or text as object, each (n,). Rows with the same
    values have the same number, on every machine.
    """
    state = np.full(len(columns[0]), seed, dtype=np.uint64)
    for column in columns:
        state = mix(state ^ (to_bits(column) + INCREMENT))
    return state


def occurrences(hashes: np.ndarray) -> np.ndarray:
    """Return how many rows before each have the same hash, float64 (n,)."""
    order = np.argsort(hashes, kind="stable")
    _, counts = np.unique(hashes, return_counts=True)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    numbers = np.empty(len(hashes))
    numbers[order] = np.arange(len(hashes)) - first
    return numbers


def to_bits(column: np.ndarray) -> np.ndarray:
    """Return a column as uint64 (n,), equal for equal values."""
    if column.dtype == object:
        texts, inverse = np.unique(column, return_inverse=True)
        hashes = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
        return np.array([int.from_bytes(item, "little") for item in hashes], np.uint64)[inverse]
    values = np.where(np.isnan(column), np.nan, column + 0.0)  # -0 becomes 0
    return values.view(np.uint64)


def mix(values: np.ndarray) -> np.ndarray:
    """Return uint64 `values` with all bits scrambled, as splitmix64 does it."""
    values = (values ^ (values >> SHIFTS[0])) * FACTORS[0]
    values = (values ^ (values >> SHIFTS[1])) * FACTORS[1]
    return values ^ (values >> SHIFTS[2])


def split_by_hash(hashes: np.ndarray, valid_fraction: float, test_fraction: float) -> np.ndarray:
    """Return the part of each row, (n,), a position in SPLITS.

    Rows with the same hash stay together. In the order of their hashes, the first round(n *
    test_fraction) rows are for testing and the next round(n * valid_fraction) for validation, or as
    near to that as whole hashes allow, at least one each, and the others for training. Hashes with
    more rows than a part should have come last, and so train. So a row keeps its part when rows are
    added, unless its hash is close to a boundary. There must be three or more distinct hashes.
    """
    _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    n_test, n_valid = round(len(hashes) * test_fraction), round(len(hashes) * valid_fraction)
    is_large = counts > max(1, min(n_test, n_valid))
    order = np.lexsort((np.arange(len(counts)), is_large))
    ends = np.cumsum(counts[order])  # rows up to each hash
    first_valid = np.clip(1 + np.abs(ends - n_test).argmin(), 1, len(counts) - 2)
    first_train = 1 + np.abs(ends - n_test - n_valid).argmin()
    first_train = np.clip(first_train, first_valid + 1, len(counts) - 1)
    parts = np.full(len(counts), TRAIN)
    parts[order[:first_valid]] = TEST
    parts[order[first_valid:first_train]] = VALID
    return parts[inverse]


def split_by_order(n_rows: int, valid_fraction: float, test_fraction: float) -> np.ndarray:
    """Return the part of each row, (n_rows,): the last rows for testing, those before to validate.

    There must be three or more rows.
    """
    return split_by_hash(np.arange(n_rows, 0, -1), valid_fraction, test_fraction)
