"""Random generators by key, and the drawing of test rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.shared.splits import draw_test_rows, make_generator


@pytest.mark.parametrize(
    ("n_rows", "fraction", "n_test"),
    [(2, 0.01, 1), (2, 0.99, 1), (10, 0.25, 2), (10, 0.16, 2), (50, 0.5, 25), (1000, 0.2, 200)],
)
def test_number_of_test_rows_is_rounded_and_leaves_both_parts_a_row(
    n_rows: int, fraction: float, n_test: int
) -> None:
    assert len(draw_test_rows(n_rows, fraction, make_generator(0))) == n_test


@given(st.integers(2, 60), st.floats(0.01, 0.99))
@settings(max_examples=40)
def test_test_rows_are_distinct_ascending_and_in_range(n_rows: int, fraction: float) -> None:
    rows = draw_test_rows(n_rows, fraction, make_generator(0))
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert 0 <= rows[0] <= rows[-1] < n_rows


def test_test_rows_are_the_first_of_a_permutation() -> None:
    seeds = np.random.SeedSequence(3, spawn_key=(0, 2))
    expected = np.random.default_rng(seeds).permutation(50)[:10]
    assert draw_test_rows(50, 0.2, make_generator(3, 0, 2)).tolist() == sorted(expected)


def test_every_row_is_drawn_equally_often() -> None:
    generator = make_generator(0)
    counts = np.zeros(10)
    for _ in range(2000):
        counts[draw_test_rows(10, 0.3, generator)] += 1
    np.testing.assert_allclose(counts, 600, atol=4 * (2000 * 0.3 * 0.7) ** 0.5)


def test_same_seed_and_key_give_the_same_generator() -> None:
    first, second = (make_generator(7, 1, 0).random(5).tolist() for _ in range(2))
    assert first == second


def test_other_seed_or_key_gives_another_generator() -> None:
    keys = [(7, 1, 0), (7, 1, 1), (7, 0, 1), (7, 1), (7, 1, 0, 0), (8, 1, 0)]
    assert len({make_generator(*key).random() for key in keys}) == len(keys)


def test_share_of_test_rows_is_rounded_to_the_nearest() -> None:
    assert len(draw_test_rows(9, 0.2, make_generator(0))) == 2
