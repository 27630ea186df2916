"""Scores held to scikit-learn's and SciPy's."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics

from stages.core.errors import UserError
from stages.shared import scores


def labels(n_classes: int, n_rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.integers(n_classes, size=n_rows), generator.integers(n_classes, size=n_rows)


@pytest.mark.parametrize("n_rows", [2, 3, 100])
def test_regression_scores_are_those_of_scikit_learn(n_rows: int) -> None:
    generator = np.random.default_rng(n_rows)
    y, y_hat = generator.standard_normal((2, n_rows)) + 1e3
    assert scores.regression_scores([(y, y_hat)]) == {
        "mse": pytest.approx(metrics.mean_squared_error(y, y_hat)),
        "rmse": pytest.approx(metrics.root_mean_squared_error(y, y_hat)),
        "mae": pytest.approx(metrics.mean_absolute_error(y, y_hat)),
        "r2": pytest.approx(metrics.r2_score(y, y_hat)),
    }


def test_regression_scores_by_hand() -> None:
    found = scores.regression_scores([(np.array([2.0, 4, 9]), np.array([2.0, 4, 6]))])
    assert found == {"mse": 3, "rmse": 3**0.5, "mae": 1, "r2": pytest.approx(1 - 9 / 26)}


def test_r2_of_a_constant_target_is_left_open() -> None:
    assert np.var(np.full(30, 0.1)) > 0  # rounding noise
    assert scores.regression_scores([(np.full(30, 0.1), np.zeros(30))])["r2"] is None
    found = scores.regression_scores([(np.ones(2), np.array([1.0, 3]))])
    assert found == {"mse": 2, "rmse": 2**0.5, "mae": 1, "r2": None}


@pytest.mark.parametrize("size", [1, 2, 7, 50, 99])
@pytest.mark.parametrize("offset", [0.0, 2459003.5])
def test_chunks_of_any_size_have_the_same_scores(size: int, offset: float) -> None:
    generator = np.random.default_rng(0)
    y = offset + generator.standard_normal(99) / 1000
    y_hat = y + generator.standard_normal(99) / 5000
    found = scores.regression_scores(
        (y[start : start + size], y_hat[start : start + size]) for start in range(0, 99, size)
    )
    assert found == {
        "mse": pytest.approx(metrics.mean_squared_error(y, y_hat), rel=1e-12),
        "rmse": pytest.approx(metrics.root_mean_squared_error(y, y_hat), rel=1e-12),
        "mae": pytest.approx(metrics.mean_absolute_error(y, y_hat), rel=1e-12),
        "r2": pytest.approx(metrics.r2_score(y - offset, y_hat - offset), rel=1e-6),
    }


def test_r2_of_a_target_that_is_constant_in_each_chunk_is_known() -> None:
    chunks = [(np.zeros(2), np.zeros(2)), (np.ones(2), np.zeros(2))]
    assert scores.regression_scores(chunks)["r2"] == -1
    assert scores.regression_scores(chunks[:1] * 2)["r2"] is None


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("n_classes", "n_rows"), [(2, 9), (4, 200), (30, 40)])
def test_scores_of_a_classifier_are_those_of_scikit_learn(
    n_classes: int, n_rows: int, seed: int
) -> None:
    actual, predicted = labels(n_classes, n_rows, seed)
    counts = scores.confusion_matrix(actual, predicted, n_classes)
    found = scores.accuracy_scores(counts)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(actual, predicted))
    # Recall of the classes that have rows, as balanced_accuracy_score has it, but for its warning.
    recall = metrics.recall_score(actual, predicted, labels=np.unique(actual), average="macro")
    assert found["balanced_accuracy"] == pytest.approx(recall)
    f1 = metrics.f1_score(actual, predicted, average="macro", zero_division=0)
    assert found["macro_f1"] == pytest.approx(f1)


def test_balanced_accuracy_is_that_of_scikit_learn() -> None:
    actual, predicted = labels(3, 100, seed=0)
    found = scores.accuracy_scores(scores.confusion_matrix(actual, predicted, 3))
    expected = metrics.balanced_accuracy_score(actual, predicted)
    assert found["balanced_accuracy"] == pytest.approx(expected)


def test_scores_of_each_class_are_those_of_scikit_learn() -> None:
    actual, predicted = labels(5, 300, seed=1)
    found = scores.class_scores(scores.confusion_matrix(actual, predicted, 5))
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(actual, predicted)
    np.testing.assert_allclose(found, [recall, precision, f1])


def test_score_of_a_class_without_rows_is_left_open() -> None:
    # Class 1 has no rows, class 2 is never predicted, class 3 has neither.
    counts = np.array([[3, 1, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]])
    recall, precision, f1 = scores.class_scores(counts)
    nan = np.nan
    np.testing.assert_allclose(recall, [0.75, nan, 0, nan])
    np.testing.assert_allclose(precision, [0.75, 0, nan, nan])
    np.testing.assert_allclose(f1, [0.75, 0, 0, nan])
    found = scores.accuracy_scores(counts)
    assert found["balanced_accuracy"] == 0.375
    assert found["macro_f1"] == 0.25


def test_confusion_matrix_is_that_of_scikit_learn() -> None:
    actual, predicted = np.array([0, 0, 0, 2, 1]), np.array([0, 1, 1, 2, 0])
    expected = metrics.confusion_matrix(actual, predicted, labels=range(4))
    np.testing.assert_array_equal(scores.confusion_matrix(actual, predicted, 4), expected)


@pytest.mark.parametrize(
    ("n_correct", "n"), [(0, 1), (1, 1), (0, 30), (30, 30), (17, 40), (1893, 2000)]
)
def test_interval_is_that_of_scipy(n_correct: int, n: int) -> None:
    expected = binomtest(n_correct, n).proportion_ci(0.95, method="wilson")
    assert scores.wilson_interval(n_correct, n) == pytest.approx(tuple(expected))
    low, high = scores.wilson_interval(n_correct, n)
    assert 0 <= low <= n_correct / n <= high <= 1


def test_interval_is_part_of_the_scores() -> None:
    found = scores.accuracy_scores(np.array([[17, 3], [5, 15]]))
    low, high = scores.wilson_interval(32, 40)
    assert (found["accuracy_low"], found["accuracy_high"]) == (low, high)


def auc_of(y: np.ndarray, values: np.ndarray) -> float | None:
    return scores.roc_auc(np.sort(values[y == 0]), np.sort(values[y == 1]))


@pytest.mark.parametrize("digits", [0, 1, 6])
@pytest.mark.parametrize("seed", range(4))
def test_auc_is_that_of_scikit_learn_ties_included(digits: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    y = generator.integers(2, size=60)
    values = (generator.standard_normal(60) + y).round(digits)
    assert (len(np.unique(values)) < 60) == (digits < 6)
    assert auc_of(y, values) == pytest.approx(metrics.roc_auc_score(y, values))


@pytest.mark.parametrize(
    ("values", "auc"), [([1, 2, 3], 1.0), ([3, 2, 1], 0.0), ([5, 5, 5], 0.5), ([2, 2, 3], 0.75)]
)
def test_auc_by_hand(values: list[float], auc: float) -> None:
    assert auc_of(np.array([0, 1, 1]), np.array(values)) == auc


@pytest.mark.parametrize("value", [0, 1])
def test_auc_of_one_class_is_left_open(value: int) -> None:
    assert auc_of(np.full(3, value), np.arange(3.0)) is None


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_auc_of_chunks_is_that_of_scikit_learn(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "CHUNK_VALUES", size)
    generator = np.random.default_rng(0)
    y = generator.integers(2, size=500)
    values = (generator.standard_normal(500) + y).round(1)
    assert auc_of(y, values) == pytest.approx(metrics.roc_auc_score(y, values), rel=1e-14)


def test_scores_are_sorted_in_files_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with scores.scratch_files(2) as (first, second):
        for chunk in ([3.0, 1.0], [2.0, -1.0], [1.0]):
            first.write(np.array(chunk).tobytes())
        assert scores.sorted_values(first).tolist() == [-1, 1, 1, 2, 3]
        assert scores.sorted_values(second).tolist() == []
        assert list(Path(scores.SCRATCH).iterdir()) == []


def test_full_disk_is_reported() -> None:
    problem = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    expected = f"^{scores.SCRATCH}/ cannot be written: No space left on device"
    with pytest.raises(UserError, match=expected), scores.scratch_files(1):
        raise problem
