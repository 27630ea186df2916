"""Rounding to significant digits, so that last-bit differences between machines end here."""

import numpy as np

MAX_EXPONENT = 300
# Parsed from text and so correctly rounded on every machine; pow() is not.
POWERS = np.array([float(f"1e{exponent}") for exponent in range(MAX_EXPONENT + 1)])
DECADES = np.array([float(f"1e{exponent}") for exponent in range(-MAX_EXPONENT, MAX_EXPONENT + 1)])


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
