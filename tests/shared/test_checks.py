"""Each warning comes where it should, with its remedy, and not where it should not."""

from typing import Any

import numpy as np
import pytest

from conftest import feature_columns
from stages.core.params import shorten
from stages.shared.checks import (
    check_classifier,
    check_regression,
    history_remedy,
    rows_for_interval,
)
from stages.shared.metadata import Metadata
from stages.shared.moments import moments
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
    least_squares_loss: float = 1000.0,
    **bias: float,
) -> dict[str, str]:
    metrics = by_split(*({"mse": mse} for mse in mses))
    metrics |= {"least_squares_loss": least_squares_loss} | bias
    mean = by_split(*({"mse": mse} for mse in means))
    return dict(check_regression(metrics, mean, moments(X), last_loss, metadata))


def test_good_regression_has_no_warning() -> None:
    assert regression_warnings() == {}


@pytest.mark.parametrize(
    ("mses", "sentence"),
    [
        ((1, 3, 1), "MSE 3 against 2 for the mean on the validation rows. "),
        ((1, 1, 2.5), "MSE 2.5 against 2 for the mean on the test rows. "),
        (
            (1, 3, 4),
            "3 against 2 for the mean on the validation rows, 4 against 2 on the test rows. ",
        ),
    ],
)
def test_regression_worse_than_the_mean(mses: tuple[float, ...], sentence: str) -> None:
    (text,) = regression_warnings(mses).values()
    assert sentence in text


FEATURES = "hoose others in convert_to_tensors.regression.features."


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({}, f"rows. Set train_regression.bias: true, or c{FEATURES}"),
        ({"bias": 0.0}, f"rows. C{FEATURES}"),
        ({"metadata": standardized(LINE)}, f"rows. C{FEATURES}"),
        (
            {"metadata": standardized(LINE), "least_squares_loss": 900.0},
            f"rows. Raise train_regression.epochs or train_regression.optimizer.lr, or c{FEATURES}",
        ),
        ({"metadata": standardized(LINE), "least_squares_loss": 920.0}, f"rows. C{FEATURES}"),
        (
            {
                "metadata": LINE.model_copy(update={"loss_reduction": "mean"}),
                "last_loss": 1.0,
                "least_squares_loss": 0.9,
            },
            "rows. Raise train_regression.epochs or train_regression.optimizer.lr, or set "
            f"train_regression.bias: true, or c{FEATURES}",
        ),
    ],
)
def test_remedy_for_a_regression_worse_than_the_mean(changes: dict, remedy: str) -> None:
    (text,) = regression_warnings((1, 3, 1), **changes).values()
    assert text.endswith(remedy)


def test_remedy_standardizes_features_that_need_it_after_a_longer_training() -> None:
    found = regression_warnings((1, 3, 1), X=X + 50, least_squares_loss=10.0)
    assert found["regression_worse_than_mean"].endswith(
        "rows. Raise train_regression.epochs or train_regression.optimizer.lr, or set "
        "convert_to_tensors.regression.standardize: true, since x is far from zero; it also "
        f"centers the target, or c{FEATURES}"
    )


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


def test_remedy_is_not_what_is_set_already() -> None:
    metadata = Metadata(task="regression", columns=feature_columns("a"), target="y")
    set_already = metadata.model_copy(update={"scaling": Scaling(mean=(0.0,), scale=(1.0,))})
    assert "regression.standardize: true" in history_remedy("regression", metadata)
    assert "standardize" not in history_remedy("regression", set_already)


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
    return dict(check_classifier(matrices, metrics, baselines, moments(X), last_accuracy, metadata))


CLASSIFIER_REMEDY = (
    "Raise train_classifier.epochs, change train_classifier.optimizer.lr, or choose others in "
    "convert_to_tensors.classification.features."
)
GOOD, BAD = [[480, 20], [20, 480]], [[200, 300], [300, 200]]


def test_good_classifier_has_no_warning() -> None:
    assert classifier_warnings() == {}


@pytest.mark.parametrize(("valid", "test"), [(GOOD, BAD), (BAD, GOOD)])
def test_classifier_worse_than_the_majority_class(valid: Any, test: Any) -> None:
    found = classifier_warnings((GOOD, valid, test))
    assert list(found) == ["classifier_worse_than_majority"]
    part = "validation" if valid is BAD else "test"
    (text,) = found.values()
    assert f"accuracy 0.4 against 0.5 for the majority class on the {part} rows. Raise" in text
    assert text.endswith(CLASSIFIER_REMEDY)
    assert "balanced" not in text


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({}, "Set train_classifier.loss_on: logits."),
        ({"loss_on": "logits"}, f"rows. {CLASSIFIER_REMEDY}"),
        ({"loss_on": "logits", "class_weight": "none"}, f"rows. {CLASSIFIER_REMEDY}"),
        ({"loss_on": "logits", "scaling": SCALING}, f"rows. {CLASSIFIER_REMEDY}"),
    ],
)
def test_probabilities_worse_than_class_frequencies(changes: dict, remedy: str) -> None:
    metadata = CLASSES.model_copy(update=changes)
    found = classifier_warnings(entropies=(0.3, 0.8, 0.7), metadata=metadata)
    assert list(found) == ["classifier_worse_than_class_frequencies"]
    (text,) = found.values()
    assert "cross entropy 0.8 against 0.7 for the class frequencies on the validation" in text
    assert text.endswith(remedy)


def test_remedy_standardizes_features_of_a_classifier_that_need_it() -> None:
    text = classifier_warnings((GOOD, BAD, GOOD), X=X + 50)["classifier_worse_than_majority"]
    assert text.endswith(
        "rows. Set convert_to_tensors.classification.standardize: true, since x is far from zero. "
        f"{CLASSIFIER_REMEDY}"
    )


BALANCED = CLASSES.model_copy(update={"class_weight": "balanced", "loss_on": "logits"})


def test_balanced_classes_cost_accuracy_without_a_warning() -> None:
    rare = [[700, 200], [20, 80]]  # balanced accuracy 0.789
    majority, entropies = (0.9, 0.9, 0.9), (0.8, 0.8, 0.8)
    arguments = ((rare,) * 3, entropies, majority, 0.78, X)
    assert classifier_warnings(*arguments, BALANCED) == {}
    assert list(classifier_warnings(*arguments, CLASSES)) == [
        "classifier_worse_than_majority",
        "classifier_worse_than_class_frequencies",
    ]
    assert classifier_warnings(majority=(0.95, 0.95, 0.95), metadata=BALANCED) == {}


@pytest.mark.parametrize(
    ("valid", "test", "sentence"),
    [
        (BAD, GOOD, "balanced accuracy 0.4 against 0.5 for guessing on the validation rows. "),
        (GOOD, [[0, 500], [0, 500]], "accuracy 0.5 against 0.5 for guessing on the test rows. "),
    ],
)
def test_balanced_classifier_is_compared_with_guessing(
    valid: Any, test: Any, sentence: str
) -> None:
    found = classifier_warnings((GOOD, valid, test), metadata=BALANCED)
    assert list(found) == ["classifier_worse_than_guessing"]
    assert found["classifier_worse_than_guessing"].endswith(sentence + CLASSIFIER_REMEDY)


def test_guessing_is_right_once_in_as_many_times_as_there_are_classes() -> None:
    metadata = BALANCED.model_copy(update={"labels": ("u", "v", "w")})
    for correct, names in ((340, []), (330, ["classifier_worse_than_guessing"])):
        counts = np.full((3, 3), (1000 - correct) // 2)
        np.fill_diagonal(counts, correct)
        found = classifier_warnings((counts,) * 3, last_accuracy=correct / 1000, metadata=metadata)
        assert list(found) == names


def test_accuracy_like_that_of_the_majority_class() -> None:
    # 960 of 1000 rows right: the 95 % interval is 0.946 to 0.970.
    found = classifier_warnings(majority=(0.95, 0.95, 0.95))
    assert list(found) == ["classifier_like_majority"]
    (text,) = found.values()
    assert (
        "whose test accuracy is 0.95: test accuracy is 0.96, with a 95 % interval of 0.946" in text
    )
    assert "The classifier is not distinguishable from the majority class" in text
    assert "which train_classifier.class_weight: balanced may raise, or add test rows." in text
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
    assert text.startswith("The test part is too small to resolve a few points of accuracy: ")
    needed = f"An interval 0.1 wide needs about {rows_for_interval(60 / 70)} test rows; "
    assert text.endswith(needed + "add test rows.")


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
    assert shorten([1, 2], 5) == "1, 2"
    assert shorten(list("abcdef"), 5) == "a, b, c, d, e and 1 more"
