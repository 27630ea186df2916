"""Standardization: each feature minus its mean, over its standard deviation."""

from dataclasses import dataclass

import numpy as np

from stages.rounding import round_significant

DIGITS = 9  # what may differ between machines, the last bits of a sum, ends here


@dataclass(frozen=True)
class Standardization:
    """z = (x - mean) / scale for each feature; `mean` and `scale` have shape (n_features,)."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fitted(cls, X: np.ndarray) -> "Standardization":
        """Return that of X, float64 (n, n_features); a feature that never varies has scale 1."""
        mean = round_significant(X.mean(axis=0), DIGITS)
        scale = round_significant(X.std(axis=0), DIGITS)
        return cls(mean, np.where((np.ptp(X, axis=0) == 0) | (scale == 0), 1.0, scale))

    @classmethod
    def of(cls, facts: dict) -> "Standardization":
        """Return that of a model's or tensors' facts, which changes nothing if they name none."""
        n_features = len(facts["features"])
        return cls(
            np.array(facts.get("mean", [0.0] * n_features)),
            np.array(facts.get("scale", [1.0] * n_features)),
        )

    def facts(self) -> dict[str, list[float]]:
        """Return what `of` reads."""
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist()}

    def apply(self, X: np.ndarray) -> np.ndarray:
        """Return X, float64 (n, n_features), standardized."""
        return (X - self.mean) / self.scale

    def undo(self, Z: np.ndarray) -> np.ndarray:
        """Return the X that `apply` turns into Z."""
        return Z * self.scale + self.mean
