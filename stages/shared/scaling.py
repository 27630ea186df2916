"""Standardization: each feature minus its mean, divided by its standard deviation."""

from collections.abc import Iterable
from typing import Self

import numpy as np
from pydantic import model_validator

from stages.core.fields import Number, ParamsModel, Positive
from stages.shared.moments import column_moments
from stages.shared.rounding import round_significant

DIGITS = 9  # differences between machines in the last bits of a sum end here


class Scaling(ParamsModel):
    """z = (x - mean) / scale for each feature; both have one number per feature."""

    mean: tuple[Number, ...]
    scale: tuple[Positive, ...]

    @model_validator(mode="after")
    def check_lengths(self) -> Self:
        """Reject a mean without a scale, or the reverse."""
        if len(self.mean) != len(self.scale):
            raise ValueError("mean and scale must have the same length")
        return self

    @classmethod
    def fit(cls, X: np.ndarray) -> "Scaling":
        """Return the scaling of X, float64 (n, n_features); a constant feature has scale 1.

        Computed from the distances to the first row, so that features far from zero, such as years
        or times in seconds, lose no digits.
        """
        return cls.fit_chunks([X])

    @classmethod
    def fit_chunks(cls, chunks: Iterable[np.ndarray]) -> "Scaling":
        """Return what `fit` does of the rows of all chunks, each (n, n_features)."""
        moments = column_moments(X for X in chunks if len(X))
        mean = moments.origin + round_significant(moments.shift, DIGITS)
        scale = round_significant(moments.std, DIGITS)
        scale = np.where(scale > 0, scale, 1.0)
        return cls(mean=tuple(mean.tolist()), scale=tuple(scale.tolist()))

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return X, float64 (n, n_features), standardized."""
        return (X - np.array(self.mean)) / np.array(self.scale)

    def inverse_transform(self, Z: np.ndarray) -> np.ndarray:
        """Return the X that `transform` turns into Z."""
        return Z * np.array(self.scale) + np.array(self.mean)
