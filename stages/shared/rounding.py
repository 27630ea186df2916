"""Rounding to significant digits, so that last-bit differences between machines end here."""

from collections.abc import Iterable

import numpy as np

MAX_EXPONENT = 300
# Parsed from text and so correctly rounded on every machine; pow() is not.
POWERS = np.array([float(f"1e{exponent}") for exponent in range(MAX_EXPONENT + 1)])
DECADES = np.array([float(f"1e{exponent}") for exponent in range(-MAX_EXPONENT, MAX_EXPONENT + 1)])


FLOAT32_TOLERANCE = 1e-3  # part of the standard deviation that float32 may lose


class Moments:
    """The number, mean and standard deviation of rows that come in chunks, by column.

    Of the distances to the first row, so that columns far from zero lose no digits: `mean` and
    `std` of X are first + mean and std. One chunk gives NumPy's mean and std to the last bit; more
    are merged by the formulas of T. F. Chan, G. H. Golub and R. J. LeVeque (1979).
    """

    def __init__(self, first: np.ndarray) -> None:
        """Start with no rows; `first` is the first one, float64 (n_columns,)."""
        self.first = first
        self.n_rows = 0
        self.mean = self.squares = np.zeros(len(first))

    def add(self, X: np.ndarray) -> None:
        """Add the rows of X, float64 (n, n_columns)."""
        if not len(X):
            return
        distances = X - self.first
        mean = distances.mean(axis=0)
        squares = ((distances - mean) ** 2).sum(axis=0)
        if not self.n_rows:
            self.n_rows, self.mean, self.squares = len(X), mean, squares
            return
        n_rows = self.n_rows + len(X)
        shift = mean - self.mean
        self.mean = self.mean + shift * (len(X) / n_rows)
        self.squares = self.squares + squares + shift**2 * (self.n_rows * len(X) / n_rows)
        self.n_rows = n_rows

    @property
    def std(self) -> np.ndarray:
        """The standard deviation of each column, (n_columns,)."""
        return np.asarray(np.sqrt(self.squares / self.n_rows))


def merged_by_float32(X: np.ndarray) -> np.ndarray:
    """Return which columns of X, float64 (n, n_columns), float32 cannot hold: bool (n_columns,).

    Those far from zero, such as times in seconds, of which it would merge different values.
    """
    return merged_in_chunks([X])


def merged_in_chunks(chunks: Iterable[np.ndarray]) -> np.ndarray:
    """Return what merged_by_float32 does of the rows of all chunks, each (n, n_columns)."""
    moments, errors = None, np.zeros(1)
    for X in chunks:
        if moments is None:
            moments, errors = Moments(X[0]), np.zeros(X.shape[1])
        moments.add(X)
        errors = np.maximum(errors, np.abs(X.astype(np.float32) - X).max(axis=0))
    spreads = np.zeros(1) if moments is None else moments.std
    return np.asarray((errors > FLOAT32_TOLERANCE * spreads) & (spreads > 0))


def round_significant(values: np.ndarray, digits: int) -> np.ndarray:
    """Return float64 `values` of any shape, each rounded to `digits` significant decimal digits.

    Uses only comparison, multiplication, division and rint, whose every bit IEEE 754 fixes on any
    CPU. Values beyond 1e-300 and 1e300 keep the digits that float64 has there.
    """
    return round_to_scale(values, values, digits)


def round_to_scale(values: np.ndarray, scale: np.ndarray, digits: int) -> np.ndarray:
    """Return float64 `values`, each rounded to the last of `digits` significant digits of `scale`.

    With a scale of 1.7 and 6 digits, 123.4567891 becomes 123.45679 and 1e-9 becomes 0. For numbers
    whose own size says nothing about how exact they must be. A value with scale 0 keeps its own
    digits.
    """
    scale = np.abs(np.where(scale == 0, values, scale))
    exponents = np.searchsorted(DECADES, scale, side="right") - 1 - MAX_EXPONENT
    shift = np.clip(digits - 1 - exponents, -MAX_EXPONENT, MAX_EXPONENT)
    up, down = POWERS[np.maximum(shift, 0)], POWERS[np.maximum(-shift, 0)]
    # Adding 0 turns -0.0, which noise of either sign may round to, into 0.0.
    return np.asarray(np.rint(values * up / down) / up * down + 0.0)
