"""Columns of a table as features: missing values filled in, text as one feature per category."""

from collections.abc import Sequence

import numpy as np

from stages.shared.metadata import FeatureColumn
from stages.shared.tables import is_missing


def fit_numbers(name: str, known: np.ndarray, impute: bool) -> FeatureColumn:
    """Return how a column of numbers becomes a feature, from its known training values.

    With `impute`, the value filled in is the median. `known`, float64 (n,), is then put in another
    order.
    """
    fill = float(np.median(known, overwrite_input=True)) if impute else None
    return FeatureColumn(name=name, fill=fill)


def fit_texts(name: str, texts: np.ndarray, counts: np.ndarray, impute: bool) -> FeatureColumn:
    """Return how a column of text becomes features: one for each text of the training part.

    `texts`, object (n_texts,), are sorted, and `counts` says how often each is there in training.
    With `impute`, the text filled in is the most frequent, the first if there is more than one.
    """
    return FeatureColumn(
        name=name,
        categories=tuple(texts[counts > 0].tolist()),
        fill=str(texts[counts.argmax()]) if impute else None,
    )


def encode(column: FeatureColumn, values: np.ndarray) -> np.ndarray:
    """Return the features of a column, float64 (n, n_features), from values as for fit_column.

    Without `fill`, a missing value is nan in all of them. A category that is not among the
    column's is 0 in all of them.
    """
    missing = is_missing(values)
    if column.fill is not None:
        values = np.where(missing, column.fill, values)
        missing = np.zeros_like(missing)
    if not column.categories:
        return values.astype(np.float64)[:, np.newaxis]
    categories = np.array(column.categories, dtype=object)
    features = (values[:, np.newaxis] == categories).astype(np.float64)
    features[missing] = np.nan
    return features


def encode_all(columns: Sequence[FeatureColumn], values: Sequence[np.ndarray]) -> np.ndarray:
    """Return the features of all columns side by side, float64 (n, n_features)."""
    return np.concatenate(list(map(encode, columns, values)), axis=1)


def count_unknown(column: FeatureColumn, values: np.ndarray) -> int:
    """Return how many values are categories that the training part does not have."""
    if not column.categories:
        return 0
    return int((~np.isin(values, column.categories) & ~is_missing(values)).sum())
