"""Columns become features: numbers, categories, and values filled in."""

import numpy as np
import pytest

from stages.shared.encoding import count_unknown, encode, encode_all, fit_numbers, fit_texts
from stages.shared.metadata import FeatureColumn

NUMBERS = np.array([1.0, np.nan, 3.0, 10.0])
KNOWN = np.array([10.0, 1.0, 3.0])
TEXTS = np.array(["v", "", "u", "v"], dtype=object)
UVW = np.array(["u", "v", "w"], dtype=object)
CATEGORIES = FeatureColumn(name="c", categories=("u", "v"))


def test_column_of_numbers_is_one_feature() -> None:
    column = fit_numbers("a", KNOWN.copy(), impute=False)
    assert column == FeatureColumn(name="a")
    np.testing.assert_array_equal(encode(column, NUMBERS), NUMBERS[:, np.newaxis])


def test_missing_number_becomes_the_median() -> None:
    column = fit_numbers("a", KNOWN.copy(), impute=True)
    assert column.fill == 3.0
    assert encode(column, np.array([np.nan, 7.0])).tolist() == [[3.0], [7.0]]
    zeros = fit_numbers("a", np.array([-1.0, 0.0, 1.0]), impute=True)
    assert encode(zeros, np.array([np.nan])).tolist() == [[0.0]]


def test_column_of_text_is_one_feature_per_category() -> None:
    assert fit_texts("c", UVW, np.array([1, 2, 0]), impute=False) == CATEGORIES
    assert CATEGORIES.features == ("c=u", "c=v")
    np.testing.assert_array_equal(
        encode(CATEGORIES, TEXTS), [[0, 1], [np.nan, np.nan], [1, 0], [0, 1]]
    )


def test_missing_text_becomes_the_most_frequent() -> None:
    column = fit_texts("c", UVW, np.array([1, 2, 0]), impute=True)
    assert column.fill == "v"
    assert encode(column, TEXTS).tolist() == [[0, 1], [0, 1], [1, 0], [0, 1]]


@pytest.mark.parametrize(("counts", "fill"), [([2, 2, 1], "u"), ([1, 2, 2], "v"), ([0, 1, 1], "v")])
def test_first_of_equally_frequent_texts_in_alphabetical_order_is_taken(
    counts: list[int], fill: str
) -> None:
    assert fit_texts("c", UVW, np.array(counts), impute=True).fill == fill


def test_unknown_category_is_zero_and_counted() -> None:
    values = np.array(["w", "u", "", "U"], dtype=object)
    assert encode(CATEGORIES, values)[[0, 3]].tolist() == [[0, 0], [0, 0]]
    assert count_unknown(CATEGORIES, values) == 2
    assert count_unknown(FeatureColumn(name="a"), NUMBERS) == 0


def test_features_of_all_columns_stand_side_by_side() -> None:
    columns = [FeatureColumn(name="a", fill=5.0), CATEGORIES]
    found = encode_all(columns, [NUMBERS[:1], TEXTS[:1]])
    assert found.tolist() == [[1, 0, 1]]
    assert encode_all(columns, [NUMBERS[:0], TEXTS[:0]]).shape == (0, 3)
