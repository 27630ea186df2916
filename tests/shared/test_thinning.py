"""Samples of many rows: the same each time, in the same proportions."""

import numpy as np
import pytest

from stages.shared.thinning import MAX_POINTS, sample_rows, thin_counts


@pytest.mark.parametrize("n_rows", [1, 1000, MAX_POINTS])
def test_all_of_a_few_rows_are_shown(n_rows: int) -> None:
    assert sample_rows(n_rows).tolist() == list(range(n_rows))


@pytest.mark.parametrize("n_rows", [MAX_POINTS + 1, 3 * MAX_POINTS, 10**8])
def test_sample_has_distinct_rows_in_their_order(n_rows: int) -> None:
    rows = sample_rows(n_rows)
    assert len(rows) == MAX_POINTS
    assert (np.diff(rows) > 0).all()
    assert 0 <= rows[0] <= rows[-1] < n_rows


def test_sample_is_the_same_each_time() -> None:
    np.testing.assert_array_equal(sample_rows(10**6), sample_rows(10**6))


def test_sample_comes_from_everywhere() -> None:
    # Of 10,000 rows a tenth has 1,000, with a standard deviation of 30.
    tenths = np.bincount(sample_rows(10**6) // 10**5)
    assert len(tenths) == 10
    assert abs(tenths - 1000).max() < 150


def test_few_counts_stay() -> None:
    counts = np.array([[MAX_POINTS - 3, 1], [2, 0]])
    np.testing.assert_array_equal(thin_counts(counts), counts)


def test_thinned_counts_by_hand() -> None:
    # 16,666 of 100,000 are 1,666.6 of 10,000; the two largest remainders take what is left.
    counts = np.array([[16_666, 33_336], [0, 49_998]])
    assert thin_counts(counts).tolist() == [[1667, 3333], [0, 5000]]


@pytest.mark.parametrize("seed", range(5))
def test_thinned_counts_are_within_one_of_their_share(seed: int) -> None:
    generator = np.random.default_rng(seed)
    counts = generator.integers(10 ** generator.integers(1, 8, size=(6, 6)))
    thinned = thin_counts(counts)
    assert thinned.sum() == MAX_POINTS
    assert abs(thinned - counts * (MAX_POINTS / counts.sum())).max() < 1
    assert (thinned[counts == 0] == 0).all()


def test_counts_of_many_rows_do_not_overflow() -> None:
    assert thin_counts(np.array([[3 * 10**11, 0], [0, 10**11]])).tolist() == [[7500, 0], [0, 2500]]
