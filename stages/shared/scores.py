"""Scores of predictions: what scikit-learn's functions return, without its import of 0.7 s.

A classifier is scored by the counts of its confusion matrix.
"""

import math

import numpy as np

Z_95 = 1.959963984540054  # 95 % of a normal distribution lie within so many standard deviations

Score = float | None  # None where it is not defined


def regression_scores(y: np.ndarray, y_hat: np.ndarray) -> dict[str, Score]:
    """Return mse, rmse, mae and r2 of y_hat, (n,); r2 is None for a constant y, (n,)."""
    residuals = y - y_hat
    mse = float(np.mean(residuals**2))
    return {
        "mse": mse,
        "rmse": math.sqrt(mse),
        "mae": float(np.mean(np.abs(residuals))),
        "r2": 1 - mse / float(np.var(y)) if y.min() < y.max() else None,
    }


def confusion_matrix(actual: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Return how often each class, a row, was predicted as which: int64 (n_classes, n_classes)."""
    cells = np.bincount(actual * n_classes + predicted, minlength=n_classes**2)
    return cells.reshape(n_classes, n_classes).astype(np.int64)


def accuracy_scores(counts: np.ndarray) -> dict[str, Score]:
    """Return accuracy and its interval, balanced_accuracy and macro_f1 of a confusion matrix.

    balanced_accuracy is the mean recall of the classes that have rows, macro_f1 the mean F1 of
    those that have rows or are predicted.
    """
    n_correct, n = int(np.trace(counts)), int(counts.sum())
    recall, _, f1 = class_scores(counts)
    low, high = wilson_interval(n_correct, n)
    return {
        "accuracy": n_correct / n,
        "accuracy_low": low,
        "accuracy_high": high,
        "balanced_accuracy": float(np.nanmean(recall)),
        "macro_f1": float(np.nanmean(f1)),
    }


def class_scores(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return recall, precision and F1 of each class, (n_classes,), from a confusion matrix.

    Recall is nan for a class without rows, precision for one that is never predicted, and F1 for
    one that has neither.
    """
    correct, actual, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    f1 = divide(2 * correct, actual + predicted)
    return divide(correct, actual), divide(correct, predicted), f1


def divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Return the ratio, (n,), nan where the denominator is 0."""
    ratio = np.full(len(numerator), np.nan)
    return np.divide(numerator, denominator, out=ratio, where=denominator > 0)


def wilson_interval(n_correct: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share, n_correct of n (E. B. Wilson, 1927).

    (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n), where p = n_correct / n.
    """
    p, z2 = n_correct / n, Z_95**2 / n
    center, spread = p + z2 / 2, math.sqrt(z2 * (p * (1 - p) + z2 / 4))
    return max(0.0, (center - spread) / (1 + z2)), min(1.0, (center + spread) / (1 + z2))


def roc_auc(y: np.ndarray, scores: np.ndarray) -> Score:
    """Return the area under the ROC curve, or None if y, (n,), does not hold both 0 and 1.

    It is the probability that a random row of class 1 has a higher score, (n,), than a random row
    of class 0; equal scores count half.
    """
    n_ones = int(y.sum())
    n_zeros = len(y) - n_ones
    if not n_ones or not n_zeros:
        return None
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # from 1; equal scores share their mean
    return float((ranks[y == 1].sum() - n_ones * (n_ones + 1) / 2) / (n_ones * n_zeros))
