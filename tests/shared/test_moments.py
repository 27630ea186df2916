"""Mean and spread of columns, the same for chunks of any size, held to NumPy's and to integers."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from stages.shared import moments as module
from stages.shared.moments import (
    Moments,
    chunk_rows,
    column_moments,
    iter_chunks,
    merged_by_float32,
    moments,
)

GENERATOR = np.random.default_rng(0)


def assert_equal(a: Moments, b: Moments, rel: float = 1e-9) -> None:
    assert a.n == b.n
    for name in ("mean", "squares", "low", "high"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=rel, err_msg=name)
    assert a.is_binary.tolist() == b.is_binary.tolist()


@pytest.mark.parametrize("n_columns", [1, 2, module.FEW - 1, module.FEW, 50])
def test_moments_are_those_of_numpy(n_columns: int) -> None:
    X = 3 + GENERATOR.standard_normal((40, n_columns))
    found = moments(X)
    assert found.n == 40
    np.testing.assert_allclose(found.mean, X.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.std, X.std(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(found.low, X.min(axis=0))
    np.testing.assert_array_equal(found.high, X.max(axis=0))


def test_columns_of_zeros_and_ones_are_binary_in_every_chunk() -> None:
    X = np.array([[0.0, 1, 2], [1, 1, 0], [0, 1, 0]])
    assert moments(X).is_binary.tolist() == [True, True, False]
    assert column_moments(iter_chunks(X, 1)).is_binary.tolist() == [True, True, False]
    assert column_moments(iter_chunks(X, 2)).is_binary.tolist() == [True, True, False]


@pytest.mark.parametrize("size", [1, 2, 7, 99, 100, 1000])
def test_chunks_of_any_size_have_the_same_moments(size: int) -> None:
    X = np.column_stack([GENERATOR.standard_normal(100), 1e6 + GENERATOR.random(100), np.ones(100)])
    assert_equal(column_moments(iter_chunks(X, size)), moments(X))


@pytest.mark.parametrize("size", [1, 10, 64, 1000])
def test_columns_far_from_zero_lose_no_digits(size: int) -> None:
    """Julian days: a quarter of a minute, in days, beside 2459003.5; computed with integers."""
    ticks = GENERATOR.integers(0, 1024, size=1000)
    days = (2459003.5 + ticks / 2**22)[:, np.newaxis]  # exact in float64
    mean = Fraction(int(ticks.sum()), len(ticks))
    squares = sum((int(tick) - mean) ** 2 for tick in ticks)
    found = column_moments(iter_chunks(days, size))
    assert found.squares[0] == pytest.approx(float(squares) / 2**44, rel=1e-6)
    assert found.mean[0] == pytest.approx(2459003.5 + float(mean) / 2**22, abs=2e-9)


def test_constant_column_has_no_spread_in_any_chunk() -> None:
    for size in (1, 3, 100):
        found = column_moments(iter_chunks(np.full(100, 0.1), size))
        assert found.std.tolist() == [0]


@pytest.mark.parametrize(
    ("x", "shape"),
    [
        (torch.arange(5, dtype=torch.float32), (2, 1)),
        (torch.arange(10).reshape(5, 2), (2, 2)),
        (np.arange(5), (2, 1)),
    ],
)
def test_chunks_are_columns_of_float64(x: Any, shape: tuple[int, int]) -> None:
    chunks = list(iter_chunks(x, 2))
    assert [len(chunk) for chunk in chunks] == [2, 2, 1]
    assert (chunks[0].shape, chunks[0].dtype) == (shape, np.float64)
    np.testing.assert_array_equal(np.concatenate(chunks).ravel(), np.asarray(x).ravel())


def test_chunks_hold_as_many_values_whatever_the_number_of_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CHUNK_VALUES", 12)
    assert [chunk_rows(n_columns) for n_columns in (1, 5, 12, 13, 99)] == [12, 2, 1, 1, 1]
    assert [len(chunk) for chunk in iter_chunks(np.zeros((5, 5)))] == [2, 2, 1]


def test_article_is_one_chunk() -> None:
    assert chunk_rows(10) > 1000


@pytest.mark.parametrize("size", [1, 7, 100])
def test_what_float32_merges_is_found_in_chunks(size: int) -> None:
    """float32 holds 24 bits: at 1.7e9, only multiples of 128."""
    X = np.column_stack([np.arange(100.0), 1.7e9 + np.arange(100.0), np.full(100, 0.1)])
    found = merged_by_float32(X[start : start + size] for start in range(0, 100, size))
    assert found.tolist() == [False, True, False]
