import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.errors import UserError
from stages.metrics import write_csv, write_json
from stages.models import published_tensor
from stages.rounding import round_significant

ordinary = st.floats(1e-9, 1e9) | st.floats(-1e9, -1e-9) | st.just(0.0)


@given(ordinary, st.sampled_from([6, 9]))
def test_rounding_is_that_of_decimal_text(value, digits):
    rounded = round_significant(np.array([value]), digits).item()
    assert rounded == pytest.approx(float(f"{value:.{digits - 1}e}"), rel=1.01 * 10 ** (1 - digits))
    assert float(f"{rounded:.{digits - 1}e}") == pytest.approx(rounded, rel=1e-15)


@given(st.floats(allow_nan=False, allow_infinity=False).filter(lambda v: v == 0 or abs(v) > 1e-290))
def test_rounding_stays_within_half_a_unit_of_the_last_digit(value):
    rounded = round_significant(np.array([value]), 6).item()
    assert abs(rounded - value) <= abs(value) * 5.001e-6


@given(ordinary)
def test_rounding_twice_is_rounding_once(value):
    once = round_significant(np.array([value]), 6)
    np.testing.assert_array_equal(round_significant(once, 6), once)


@given(st.floats(0.1, 10))
def test_a_difference_in_the_last_bit_is_hidden(value):
    shown = {round_significant(np.array([v]), 6).item() for v in (value, np.nextafter(value, 11))}
    middle = abs(value * 1e6 % 1 - 0.5) < 1e-6 or abs(value * 1e5 % 1 - 0.5) < 1e-6
    assert len(shown) == 1 or middle


@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3)])
def test_shape_and_dtype_are_kept(shape):
    rounded = round_significant(np.zeros(shape), 6)
    assert isinstance(rounded, np.ndarray)
    assert rounded.shape == shape
    assert rounded.dtype == np.float64


def test_published_tensor_is_float32_of_six_digits():
    tensor = torch.tensor([1.23456789, -0.000123456789], dtype=torch.float64)
    expected = torch.tensor([1.23457, -0.000123457], dtype=torch.float32)
    assert torch.equal(published_tensor(tensor), expected)


def test_published_integers_stay_and_are_copies():
    counter = torch.tensor(7)
    copy = published_tensor(counter)
    counter += 1
    assert copy.item() == 7
    assert copy.dtype == torch.int64


def test_json_has_sorted_keys_and_six_digits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_json("m/a.json", {"b": {"y": 0.123456789}, "a": [1e-10 / 3, 2], "c": None})
    assert json.loads(Path("m/a.json").read_text()) == {
        "a": [3.33333e-11, 2], "b": {"y": 0.123457}, "c": None
    }  # fmt: skip
    assert Path("m/a.json").read_bytes().startswith(b'{\n  "a": [\n')
    assert Path("m/a.json").read_bytes().endswith(b"}\n")


def test_json_refuses_what_is_no_number(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="m/a.json must hold finite numbers, and would not"):
        write_json("m/a.json", {"a": float("nan")})
    assert not Path("m/a.json").exists()


def test_csv_has_a_header_six_digits_and_plain_line_ends(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_csv("m/a.csv", ("epoch", "loss"), [(0, 0.123456789), (1, 1e-10 / 3)])
    assert Path("m/a.csv").read_bytes() == b"epoch,loss\n0,0.123457\n1,3.33333e-11\n"
