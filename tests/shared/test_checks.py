"""Each warning comes where it should, with its remedy, and not where it should not."""

from typing import Any

import numpy as np
import pytest

from conftest import feature_columns
from stages.shared.checks import (
    check_classifier,
    check_regression,
    rows_for_interval,
    shorten,
)
from stages.shared.metadata import Metadata
from stages.shared.scaling import Scaling
from stages.shared.scores import accuracy_scores, wilson_interval
from stages.shared.splits import SPLITS

LINE = Metadata(task="regression", columns=feature_columns("x"), target="y", loss_reduction="sum")
CLASSES = Metadata(
    task="classification",
    columns=feature_columns("x"),
    target="label",
    labels=("u", "v"),
    loss_on="probabilities",
)
SCALING = Scaling(mean=(0.0,), scale=(1.0,))
X = np.linspace(0, 1, 1000)[:, np.newaxis]


def standardized(metadata: Metadata, **changes: Any) -> Metadata:
    return metadata.model_copy(update={"scaling": SCALING} | changes)


def by_split(train: Any, valid: Any, test: Any) -> dict[str, Any]:
    return dict(zip(SPLITS, (train, valid, test), strict=True))


# The regression


def regression_warnings(
    mses: tuple[float, ...] = (1.0, 1.0, 1.0),
    means: tuple[float, ...] = (2.0, 2.0, 2.0),
    X: np.ndarray = X,
    last_loss: float = 1000.0,
    metadata: Metadata = LINE,
) -> dict[str, str]:
    metrics = by_split(*({"mse": mse} for mse in mses))
    mean = by_split(*({"mse": mse} for mse in means))
    return dict(check_regression(metrics, mean, X, last_loss, metadata))


def test_good_regression_has_no_warning() -> None:
    assert regression_warnings() == {}


@pytest.mark.parametrize(
    ("mses", "sentence"),
    [
        ((1, 3, 1), "MSE 3 instead of 2 on the validation rows. "),
        ((1, 1, 2.5), "MSE 2.5 instead of 2 on the test rows. "),
        ((1, 3, 4), "3 instead of 2 on the validation rows, 4 instead of 2 on the test rows. "),
    ],
)
def test_regression_worse_than_the_mean(mses: tuple[float, ...], sentence: str) -> None:
    (text,) = regression_warnings(mses).values()
    assert sentence in text
    assert "Set standardize: true for the table, which also centers the target" in text


def test_remedy_for_a_standardized_regression_is_not_to_standardize() -> None:
    (text,) = regression_warnings((1, 3, 1), metadata=standardized(LINE)).values()
    assert "Train longer, or with another lr" in text
    assert "standardize" not in text


def test_regression_as_good_as_the_mean_has_no_warning() -> None:
    assert regression_warnings((1, 2, 2)) == {}


@pytest.mark.parametrize("metadata", [LINE, LINE.model_copy(update={"loss_reduction": "mean"})])
@pytest.mark.parametrize(
    ("mse", "is_same"), [(1.0, True), (1.009, True), (1.02, False), (0.9, False)]
)
def test_history_and_evaluation_of_a_regression(
    metadata: Metadata, mse: float, is_same: bool
) -> None:
    last_loss = 1000.0 if metadata.loss_reduction == "sum" else 1.0
    found = regression_warnings((mse, 1, 1), last_loss=last_loss, metadata=metadata)
    assert list(found) == ([] if is_same else ["regression_history_differs"])
    if not is_same:
        assert f"is {mse:g}, and 1 at the end of training" in found["regression_history_differs"]


def test_digits_that_rounding_takes_from_an_exact_fit_do_not_count() -> None:
    assert regression_warnings((1e-12, 0, 0), last_loss=1e-20) == {}


def test_unstandardized_regression() -> None:
    years = np.arange(1000.0)[:, np.newaxis] / 50 + 2000
    found = regression_warnings(X=years)
    assert list(found) == ["regression_not_standardized"]
    (text,) = found.values()
    assert "not standardized, but x is far from zero. Set convert_to_tensors." in text
    assert "regression.standardize: true, which also centers the target." in text
    assert regression_warnings(X=years, metadata=standardized(LINE)) == {}


# The classifier


def classifier_warnings(
    counts: tuple[Any, ...] = ([[480, 20], [20, 480]],) * 3,
    entropies: tuple[float, ...] = (0.3, 0.3, 0.3),
    majority: tuple[float, ...] = (0.5, 0.5, 0.5),
    last_accuracy: float = 0.96,
    X: np.ndarray = X,
    metadata: Metadata = CLASSES,
) -> dict[str, str]:
    matrices = by_split(*map(np.array, counts))
    metrics = {
        split: accuracy_scores(matrices[split]) | {"cross_entropy": entropy}
        for split, entropy in zip(SPLITS, entropies, strict=True)
    }
    baselines = {
        "majority": by_split(*({"accuracy": share} for share in majority)),
        "prior": by_split(*[{"cross_entropy": 0.7}] * 3),
    }
    return dict(check_classifier(matrices, metrics, baselines, X, last_accuracy, metadata))


GOOD, BAD = [[480, 20], [20, 480]], [[200, 300], [300, 200]]


def test_good_classifier_has_no_warning() -> None:
    assert classifier_warnings() == {}


@pytest.mark.parametrize(("valid", "test"), [(GOOD, BAD), (BAD, GOOD)])
def test_classifier_worse_than_the_majority_class(valid: Any, test: Any) -> None:
    found = classifier_warnings((GOOD, valid, test))
    assert list(found) == ["classifier_worse_than_majority"]
    part = "validation" if valid is BAD else "test"
    (text,) = found.values()
    assert f"accuracy 0.4 instead of 0.5 on the {part} rows. Set standardize: true" in text


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({}, "Set train_classifier.loss_on: logits."),
        ({"loss_on": "logits"}, "Set standardize: true for the table. Train longer"),
        ({"loss_on": "logits", "scaling": SCALING}, "rows. Train longer, with another lr"),
    ],
)
def test_probabilities_worse_than_class_frequencies(changes: dict, remedy: str) -> None:
    metadata = CLASSES.model_copy(update=changes)
    found = classifier_warnings(entropies=(0.3, 0.8, 0.7), metadata=metadata)
    assert list(found) == ["classifier_worse_than_class_frequencies"]
    (text,) = found.values()
    assert "cross entropy 0.8 instead of 0.7 on the validation rows. " in text
    assert remedy in text


def test_accuracy_like_that_of_the_majority_class() -> None:
    # 960 of 1000 rows right: the 95 % interval is 0.946 to 0.970.
    found = classifier_warnings(majority=(0.95, 0.95, 0.95))
    assert list(found) == ["classifier_like_majority"]
    (text,) = found.values()
    assert (
        "whose test accuracy is 0.95: test accuracy is 0.96, with a 95 % interval of 0.946" in text
    )
    assert classifier_warnings(majority=(0.94, 0.94, 0.94)) == {}


def test_classifier_worse_than_the_majority_class_has_one_warning_of_it() -> None:
    found = classifier_warnings(majority=(0.961, 0.961, 0.961))
    assert list(found) == ["classifier_worse_than_majority"]


def test_accuracy_from_few_rows() -> None:
    few = [[30, 5], [5, 30]]  # 60 of 70: 0.757 to 0.921
    found = classifier_warnings((GOOD, GOOD, few))
    assert list(found) == ["classifier_accuracy_uncertain"]
    (text,) = found.values()
    assert "is 0.857, with a 95 % interval of 0.757 to 0.921, from 70 rows" in text
    assert f"An interval of 0.1 takes {rows_for_interval(60 / 70)} test rows" in text


@pytest.mark.parametrize("accuracy", [0.5, 0.85, 1.0])
def test_rows_for_an_interval_are_as_many_as_needed(accuracy: float) -> None:
    n = rows_for_interval(accuracy)
    widths = [np.ptp(wilson_interval(accuracy * rows, rows)) for rows in (n - 1, n)]
    assert widths[0] > 0.1 >= widths[1]


@pytest.mark.parametrize(
    ("last", "n_rows", "is_same"),
    [(0.96, 1000, True), (0.951, 1000, True), (0.9, 1000, False), (0.9, 20, True)],
)
def test_history_and_evaluation_of_a_classifier(last: float, n_rows: int, is_same: bool) -> None:
    found = classifier_warnings(last_accuracy=last, X=X[:n_rows])
    assert list(found) == ([] if is_same else ["classifier_history_differs"])
    if not is_same:
        assert "is 0.96, and 0.9 at the end of training" in found["classifier_history_differs"]


def test_class_missing_from_a_part() -> None:
    found = classifier_warnings((GOOD, [[480, 20], [0, 0]], [[0, 0], [20, 480]]))
    assert list(found) == ["classifier_class_missing"]
    (text,) = found.values()
    assert "missing: v from the validation rows, u from the test rows. " in text


def test_unstandardized_classifier() -> None:
    found = classifier_warnings(X=X + 50)
    assert list(found) == ["classifier_not_standardized"]
    assert classifier_warnings(X=X + 50, metadata=standardized(CLASSES)) == {}


def test_names_are_shortened() -> None:
    assert shorten([1, 2]) == "1, 2"
    assert shorten(list("abcdef")) == "a, b, c, d, e and 1 more"
