"""Scores of predictions: what scikit-learn's functions return, without its import of 0.7 s.

They are exact for any number of rows, which are walked in chunks. A classifier is scored by the
counts of its confusion matrix.
"""

import math
import os
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryFile
from typing import IO

import numpy as np

from stages.core.errors import UserError
from stages.shared.chunks import chunk_bounds
from stages.shared.moments import CHUNK_VALUES, Moments, extend

SCRATCH = "data"  # the folder of the largest files, whose disk has room for more
Z_95 = 1.959963984540054  # 95 % of a normal distribution lie within so many standard deviations

Score = float | None  # None where it is not defined


def regression_scores(chunks: Iterable[tuple[np.ndarray, np.ndarray]]) -> dict[str, Score]:
    """Return mse, rmse, mae and r2 of the predictions in chunks (y, y_hat), each (chunk,).

    r2 is None for a constant y.
    """
    squares, absolute = 0.0, 0.0
    target: Moments | None = None
    for y, y_hat in chunks:
        residuals = y - y_hat
        squares += float(np.square(residuals).sum())
        absolute += float(np.abs(residuals).sum())
        target = extend(target, y[:, np.newaxis])
    assert target is not None  # every part has rows
    mse = squares / target.n
    return {
        "mse": mse,
        "rmse": math.sqrt(mse),
        "mae": absolute / target.n,
        "r2": 1 - squares / float(target.squares[0]) if target.low < target.high else None,
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


def roc_auc(zeros: np.ndarray, ones: np.ndarray) -> Score:
    """Return the area under the ROC curve from the scores of class 0 and class 1, each sorted.

    It is the probability that a random row of class 1 has a higher score than a random row of
    class 0; equal scores count half. None if a class has no rows.
    """
    if not len(zeros) or not len(ones):
        return None
    twice = 0  # an integer, so that no row is lost in rounding
    for start, stop in chunk_bounds(len(ones), CHUNK_VALUES):
        scores = ones[start:stop]
        twice += int(np.searchsorted(zeros, scores, "left").sum())
        twice += int(np.searchsorted(zeros, scores, "right").sum())
    return twice / (2 * len(zeros) * len(ones))


@contextmanager
def scratch_files(n_files: int) -> Generator[list[IO[bytes]], None, None]:
    """Yield temporary files without a name, which end with the process, however it ends.

    Raises UserError if their disk is full.
    """
    with ExitStack() as stack:
        try:
            os.makedirs(SCRATCH, exist_ok=True)
            yield [stack.enter_context(TemporaryFile(dir=SCRATCH)) for _ in range(n_files)]
        except OSError as error:
            raise UserError(f"{SCRATCH}/ cannot be written: {error.strerror or error}.") from error


def sorted_values(file: IO[bytes]) -> np.ndarray:
    """Return the float64 values in a file, sorted in place, as a memory map of it."""
    file.flush()
    if not file.tell():
        return np.empty(0)
    values = np.memmap(file, np.float64, "r+")
    values.sort()
    return np.asarray(values)
