"""Rounding to significant digits, against decimal text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.shared.rounding import (
    round_significant,
    round_to_scale,
)

ordinary = st.floats(1e-9, 1e9) | st.floats(-1e9, -1e-9) | st.just(0.0)
finite = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("value", "digits", "rounded"),
    [
        (1.23456789, 6, 1.23457),
        (-0.000123456789, 6, -0.000123457),
        (123456789.0, 6, 123457000.0),
        (0.0, 6, 0.0),
        (999999.6, 6, 1000000.0),
    ],
)
def test_rounding_by_hand(value: float, digits: int, rounded: float) -> None:
    assert round_significant(np.array([value]), digits).item() == pytest.approx(rounded, rel=1e-15)


@pytest.mark.parametrize("value", [1.7976931e308, -1.7976931e308, 1e-320])
def test_extreme_value_stays_finite(value: float) -> None:
    assert round_significant(np.array([value]), 3).item() == pytest.approx(value, rel=1e-3)


@given(ordinary, st.sampled_from([6, 9]))
def test_rounding_is_that_of_decimal_text(value: float, digits: int) -> None:
    rounded = round_significant(np.array([value]), digits).item()
    assert rounded == pytest.approx(float(f"{value:.{digits - 1}e}"), rel=1.01 * 10 ** (1 - digits))
    assert float(f"{rounded:.{digits - 1}e}") == pytest.approx(rounded, rel=1e-15)


@given(finite.filter(lambda value: value == 0 or abs(value) > 1e-290))
def test_rounding_stays_within_half_a_unit_of_the_last_digit(value: float) -> None:
    rounded = round_significant(np.array([value]), 6).item()
    assert abs(rounded - value) <= abs(value) * 5.001e-6


@given(ordinary)
def test_rounding_twice_is_rounding_once(value: float) -> None:
    once = round_significant(np.array([value]), 6)
    np.testing.assert_array_equal(round_significant(once, 6), once)


@given(st.floats(0.1, 10))
def test_difference_in_the_last_bit_disappears(value: float) -> None:
    rounded = {round_significant(np.array([v]), 6).item() for v in (value, np.nextafter(value, 11))}
    halfway = abs(value * 1e6 % 1 - 0.5) < 1e-6 or abs(value * 1e5 % 1 - 0.5) < 1e-6
    assert len(rounded) == 1 or halfway


@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3)])
def test_shape_and_dtype_are_kept(shape: tuple[int, ...]) -> None:
    rounded = round_significant(np.zeros(shape), 6)
    assert isinstance(rounded, np.ndarray)
    assert rounded.shape == shape
    assert rounded.dtype == np.float64


# By a scale


@pytest.mark.parametrize(
    ("value", "scale", "rounded"),
    [
        (123.4567891, 1.7, 123.45679),
        (2459003.123456789, 0.3, 2459003.123457),
        (-0.000123456, 250.0, 0.0),
        (-0.6, 100000.0, -1.0),
        (123456789.0, 0.0, 123457000.0),
    ],
)
def test_rounding_to_a_scale_by_hand(value: float, scale: float, rounded: float) -> None:
    actual = round_to_scale(np.array([value]), np.array([scale]), 6).item()
    assert actual == pytest.approx(rounded, rel=1e-15)


def test_every_value_has_a_scale_of_its_own() -> None:
    rounded = round_to_scale(np.array([1.23456, 1.23456]), np.array([1000.0, -0.1]), 4)
    assert rounded.tolist() == [1.0, 1.2346]


@pytest.mark.parametrize("value", [-0.0, -1e-9])
def test_zero_has_no_sign(value: float) -> None:
    assert str(round_to_scale(np.array(value), np.array(1.0), 6).item()) == "0.0"
