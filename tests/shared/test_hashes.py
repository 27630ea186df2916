"""Which rows train, validate and test a model."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.shared.hashes import HashSplit, count_distinct, hash_rows, occurrences, sorted_copy
from stages.shared.partition import split_by_order
from stages.shared.preparation import count_copies
from stages.shared.splits import TEST, TRAIN, VALID

VALUES = np.random.default_rng(0).standard_normal(1000)


def split(values: np.ndarray, seed: int = 0, valid: float = 0.2, test: float = 0.1) -> np.ndarray:
    hashes = hash_rows([values], seed)
    return HashSplit.fit(sorted_copy(hashes), valid, test).parts(hashes)


# Hashes


def test_hash_is_that_of_the_published_splitmix64() -> None:
    """Computed with Python's integers, which do not overflow."""

    def mix(value: int) -> int:
        value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) % 2**64
        value = ((value ^ value >> 27) * 0x94D049BB133111EB) % 2**64
        return value ^ value >> 31

    state = 7
    for number in (1.5, -2.0):
        bits = int(np.float64(number).view(np.uint64))
        state = mix(state ^ (bits + 0x9E3779B97F4A7C15) % 2**64)
    assert hash_rows([np.array([1.5]), np.array([-2.0])], 7).tolist() == [state]


def test_hash_depends_on_values_columns_and_seed_alone() -> None:
    a, b = np.array([1.0, 1.0, 2.0, 0.0]), np.array(["u", "u", "u", "v"], dtype=object)
    hashes = hash_rows([a, b], 3)
    assert hashes[0] == hashes[1]
    assert len(set(hashes.tolist())) == 3
    assert hash_rows([a[::-1], b[::-1]], 3).tolist() == hashes[::-1].tolist()
    assert not np.isin(hash_rows([a, b], 4), hashes).any()
    assert not np.isin(hash_rows([b, a], 3), hashes).any()


def test_equal_values_have_equal_hashes() -> None:
    hashes = hash_rows([np.array([0.0, -0.0, np.nan, -np.nan, float("nan")])], 0)
    assert len(set(hashes[:2].tolist())) == len(set(hashes[2:].tolist())) == 1


def test_hashes_of_similar_values_are_spread_evenly() -> None:
    hashes = hash_rows([np.arange(100_000.0)], 0)
    counts = np.bincount((hashes >> np.uint64(60)).astype(int), minlength=16)
    np.testing.assert_allclose(counts, 100_000 / 16, rtol=0.05)
    assert len(np.unique(hashes)) == 100_000


# Parts by hash


def test_shares_are_those_asked_for() -> None:
    assert np.bincount(split(VALUES)).tolist() == [700, 200, 100]


@given(st.integers(3, 60), st.floats(0.01, 0.98), st.floats(0.01, 0.98), st.integers(0, 9))
@settings(max_examples=60)
def test_every_part_has_rows(n_rows: int, valid: float, test: float, seed: int) -> None:
    if valid + test < 1:
        counts = np.bincount(split(VALUES[:n_rows], seed, valid, test), minlength=3)
        assert counts.min() >= 1
        assert counts[TEST] == min(max(round(n_rows * test), 1), n_rows - 2)


@pytest.mark.parametrize(("n_rows", "seeds"), [(100, 20), (300, 20), (3000, 1), (100_000, 1)])
def test_appended_rows_move_few_of_the_old_ones(n_rows: int, seeds: int) -> None:
    stayed = []
    for seed in range(seeds):
        values = np.random.default_rng(seed).standard_normal(n_rows + n_rows // 10)
        before, after = (split(rows, seed, 0.2, 0.2) for rows in (values[:n_rows], values))
        stayed.append((after[:n_rows] == before).mean())
    assert np.mean(stayed) >= 0.95


def test_order_of_the_rows_does_not_matter() -> None:
    order = np.random.default_rng(1).permutation(len(VALUES))
    np.testing.assert_array_equal(split(VALUES[order]), split(VALUES)[order])


def test_duplicates_are_in_one_part() -> None:
    values = np.repeat(VALUES[:100], np.arange(100) % 7 + 1)
    parts = split(values)
    assert all(len(set(parts[values == value].tolist())) == 1 for value in VALUES[:100])
    np.testing.assert_allclose(np.bincount(parts) / len(parts), [0.7, 0.2, 0.1], atol=0.03)


def test_one_row_that_is_most_of_the_table_leaves_every_part_a_row() -> None:
    values = np.array([1.0] * 98 + [2.0, 3.0])
    for seed in range(10):
        assert set(split(values, seed).tolist()) == {TRAIN, VALID, TEST}


def test_seed_changes_the_parts_and_every_row_is_tested_equally_often() -> None:
    counts = sum((split(VALUES[:10], seed, 0.2, 0.3) == TEST).astype(int) for seed in range(2000))
    np.testing.assert_allclose(counts, 600, atol=4 * (2000 * 0.3 * 0.7) ** 0.5)


def test_parts_of_a_known_table() -> None:
    """These bytes are the split of everyone's table: they must never change."""
    assert split(np.arange(12.0), 0, 0.25, 0.25).tolist() == KNOWN


KNOWN = [TRAIN, TRAIN, TEST, VALID, VALID, TRAIN, TEST, TRAIN, TRAIN, TRAIN, VALID, TEST]


def test_large_group_trains_and_the_other_parts_have_their_shares() -> None:
    for seed in range(10):
        values = np.concatenate([np.zeros(300), np.arange(1, 101)])
        counts = np.bincount(split(values, seed, 0.1, 0.1))
        assert counts.tolist() == [320, 40, 40]


def test_boundary_is_the_nearest_that_keeps_hashes_whole() -> None:
    for seed in range(10):
        counts = np.bincount(split(np.repeat(np.arange(50.0), 9), seed, 0.2, 0.2))
        np.testing.assert_allclose(counts[[VALID, TEST]], 90, atol=4.5)


def test_occurrences_count_the_equal_rows_before() -> None:
    hashes = np.array([7, 3, 7, 7, 3, 9], dtype=np.uint64)
    assert occurrences(hashes).tolist() == [0, 0, 1, 2, 1, 0]


# Parts by order


@pytest.mark.parametrize(
    ("n_rows", "expected"),
    [(3, [TRAIN, VALID, TEST]), (10, [TRAIN] * 5 + [VALID] * 3 + [TEST] * 2)],
)
def test_last_rows_test_and_those_before_validate(n_rows: int, expected: list[int]) -> None:
    assert split_by_order(n_rows, 0.3, 0.2).tolist() == expected


# In chunks


@pytest.mark.parametrize("n_values", [3, 20, 1000])
def test_chunks_give_the_same_parts_and_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, n_values: int
) -> None:
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(0).integers(0, n_values, 500).astype(float)
    expected = split(values), occurrences(hash_rows([values], 0))
    before = [(values[:row] == value).sum() for row, value in enumerate(values)]
    np.testing.assert_array_equal(expected[1], before)
    monkeypatch.setattr("stages.shared.scratch.ROWS", 7)
    monkeypatch.setattr("stages.shared.scratch.SMALL", 0)
    np.testing.assert_array_equal(split(values), expected[0])
    np.testing.assert_array_equal(occurrences(hash_rows([values], 0)), expected[1])
    assert count_distinct(np.sort(values)) == len(set(values.tolist()))


@pytest.mark.parametrize("chunk", [3, 1000])
def test_copies_and_leaked_rows_are_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chunk: int
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("stages.shared.scratch.ROWS", chunk)
    generator = np.random.default_rng(0)
    hashes = generator.integers(0, 60, 100).astype(np.uint64)
    parts = generator.integers(0, 3, 100).astype(np.int8)
    train = set(hashes[parts == TRAIN].tolist())
    n_leaked = sum(number in train for number in hashes[parts != TRAIN].tolist())
    n_copies = 100 - len(set(hashes.tolist()))
    assert count_copies(hashes, parts) == (n_copies, n_leaked)
