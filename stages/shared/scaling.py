"""Standardization: each feature minus its mean, divided by its standard deviation."""

from typing import Self

import numpy as np
from pydantic import model_validator

from stages.core.fields import Number, ParamsModel, Positive
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
        distances = X - X[0]
        mean = X[0] + round_significant(distances.mean(axis=0), DIGITS)
        scale = round_significant(distances.std(axis=0), DIGITS)
        scale = np.where(distances.any(axis=0) & (scale > 0), scale, 1.0)
        return cls(mean=tuple(mean.tolist()), scale=tuple(scale.tolist()))

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return X, float64 (n, n_features), standardized."""
        return (X - np.array(self.mean)) / np.array(self.scale)

    def inverse_transform(self, Z: np.ndarray) -> np.ndarray:
        """Return the X that `transform` turns into Z."""
        return Z * np.array(self.scale) + np.array(self.mean)
