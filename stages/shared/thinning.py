"""What Git keeps is bounded: figures show, and confusion.csv lists, MAX_POINTS rows at most."""

import numpy as np

MAX_POINTS = 10_000
SEED = 0  # of the sample: every figure of a part shows the same rows


def sample_rows(n_rows: int) -> np.ndarray:
    """Return the rows that figures show, ascending, int64: all, or a random MAX_POINTS of them."""
    if n_rows <= MAX_POINTS:
        return np.arange(n_rows)
    generator = np.random.default_rng(SEED)
    return np.sort(generator.choice(n_rows, MAX_POINTS, replace=False, shuffle=False))


def thin_counts(counts: np.ndarray) -> np.ndarray:
    """Return counts, int64 of any shape, in the same proportions, with a sum of MAX_POINTS.

    Each is rounded down, and those with the largest remainders get one more, so that it is less
    than 1 from its exact share. Counts whose sum is smaller stay as they are.
    """
    total = int(counts.sum())
    if total <= MAX_POINTS:
        return counts
    shares, remainders = np.divmod(counts.ravel() * MAX_POINTS, total)
    largest = np.argsort(-remainders, kind="stable")[: MAX_POINTS - int(shares.sum())]
    shares[largest] += 1
    return shares.reshape(counts.shape)
