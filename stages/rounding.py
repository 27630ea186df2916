"""Rounding to significant digits: what keeps the last bits of one machine from the next stage."""

import numpy as np

LARGEST = 300
# Parsed from text, and so correctly rounded everywhere; pow() is not.
POWERS = np.array([float(f"1e{exponent}") for exponent in range(LARGEST + 1)])
LEADING = np.array([float(f"1e{exponent}") for exponent in range(-LARGEST, LARGEST + 1)])


def round_significant(values: np.ndarray, digits: int) -> np.ndarray:
    """Return float64 `values` of any shape, each rounded to `digits` significant decimal digits.

    Comparison, multiplication, division and rint alone: IEEE 754 fixes every bit of these, on any
    CPU. Values beyond 1e-300 and 1e300 are left with the digits that a float64 has there.
    """
    leading = np.searchsorted(LEADING, np.abs(values), side="right") - 1 - LARGEST
    shift = np.clip(digits - 1 - leading, -LARGEST, LARGEST)
    up, down = POWERS[np.maximum(shift, 0)], POWERS[np.maximum(-shift, 0)]
    return np.asarray(np.rint(values * up / down) / up * down)
