"""Metrics by hand, next to theory or baselines, and what the figures are given to show."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.metrics import confusion_matrix as confusion_matrix_of_scikit_learn
from torch import Tensor, nn

from conftest import Change, call_stage, feature_columns
from stages.core.errors import UserError
from stages.evaluate import (
    classifier_metrics,
    confusion_matrix,
    regression_metrics,
    regression_scores,
    summarize,
)
from stages.shared.metadata import ClassificationTruth, Metadata, RegressionTruth
from stages.shared.metrics import read_json
from stages.shared.models import build_network, load_classifier, load_snapshots
from stages.shared.theory import bayes_cross_entropy, softmax_loss_floor

METRICS = "metrics/evaluate.json"
CLASSIFIER = "data/models/classifier.safetensors"
SNAPSHOTS = "data/models/classifier_snapshots.safetensors"
FIGURES = [
    "classification_data.png",
    "classifier_after.png",
    "classifier_before.png",
    "classifier_confusion.png",
    "classifier_curves.png",
    "classifier_epochs.png",
    "regression_after.png",
    "regression_animation.gif",
    "regression_before.png",
    "regression_curves.png",
    "regression_data.png",
]

LINE = Metadata(
    task="regression",
    columns=feature_columns("x"),
    target="y",
    truth=RegressionTruth(seed=0, n_samples=3, n_valid=3, n_test=3, weight=2.0, noise_std=0.5),
    loss_reduction="sum",
)
CLASSES = Metadata(
    task="classification",
    columns=feature_columns("x1", "x2"),
    target="label",
    labels=(0, 1),
    truth=ClassificationTruth(
        seed=0,
        n_samples_per_class=1,
        n_valid_per_class=1,
        n_test_per_class=1,
        centers=((0.0, 0.0), (1.0, 0.0)),
        std=0.5,
    ),
    loss_on="probabilities",
)


def without_truth(metadata: Metadata, **changes: Any) -> Metadata:
    return metadata.model_copy(update={"truth": None} | changes)


def double(*values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def line(y_train: list[float], y_test: list[float]) -> dict[str, Tensor]:
    return {
        "x_train": double(1, 2, 3),
        "y_train": double(*y_train),
        "x_test": double(1, 2, 4),
        "y_test": double(*y_test),
    }


# The metrics of the regression


def test_regression_scores_by_hand() -> None:
    scores = regression_scores(double(2, 4, 9), double(2, 4, 6))
    assert scores == {"mse": pytest.approx(3), "r2": pytest.approx(1 - 9 / (9 + 1 + 16))}


def test_r2_of_a_constant_target_is_left_open() -> None:
    assert regression_scores(double(1, 1), double(1, 3)) == {"mse": 2, "r2": None}


def test_regression_metrics_by_hand() -> None:
    metrics = regression_metrics(line([2, 4, 9], [1, 2, 3]), number(2.0), None, LINE)
    assert metrics == {
        "weight": 2.0,
        "least_squares_weight": pytest.approx(37 / 14),
        "gap_to_least_squares": pytest.approx(37 / 14 - 2),
        "least_squares_loss": pytest.approx(101 - 37**2 / 14),
        "noise_variance": 0.25,
        "noise_r2": pytest.approx(1 - 0.25 / (2 / 3)),
        "train": {"mse": pytest.approx(3), "r2": pytest.approx(1 - 9 / 26)},
        "test": {"mse": pytest.approx(30 / 3), "r2": pytest.approx(1 - 30 / 2)},
    }


def test_loss_of_least_squares_is_reduced_as_in_training() -> None:
    metadata = LINE.model_copy(update={"loss_reduction": "mean"})
    metrics = regression_metrics(line([2, 4, 9], [1, 2, 3]), number(2.0), None, metadata)
    assert metrics["least_squares_loss"] == pytest.approx((101 - 37**2 / 14) / 3)


def test_r2_of_the_noise_is_left_open_for_a_constant_target() -> None:
    metrics = regression_metrics(line([1, 2, 3], [1, 1, 1]), number(0.0), None, LINE)
    assert metrics["noise_r2"] is None


def test_bias_is_compared_with_least_squares_that_has_one() -> None:
    data = line([2, 4, 9], [1, 2, 3])
    slope, intercept = np.polyfit(data["x_train"], data["y_train"], 1)
    metrics = regression_metrics(data, number(1.0), number(0.5), LINE)
    assert (metrics["weight"], metrics["bias"]) == (1, 0.5)
    assert metrics["least_squares_weight"] == pytest.approx(slope)
    assert metrics["least_squares_bias"] == pytest.approx(intercept)
    assert metrics["gap_to_least_squares"] == pytest.approx(math.hypot(slope - 1, intercept - 0.5))
    assert metrics["train"]["mse"] == pytest.approx((0.5**2 + 1.5**2 + 5.5**2) / 3)


def test_weights_of_several_features_have_their_names() -> None:
    X = double([0, 0], [1, 0], [0, 1], [1, 1])
    y = X @ double(1, -2) + 0.5
    data = {"x_train": X, "y_train": y, "x_test": X, "y_test": y}
    metadata = without_truth(LINE, columns=feature_columns("a", "b"))
    metrics = regression_metrics(data, double(0, 0), number(0.0), metadata)
    assert metrics["weights"] == {"a": 0, "b": 0}
    assert metrics["least_squares_weights"] == pytest.approx({"a": 1, "b": -2})
    assert (metrics["bias"], metrics["least_squares_bias"]) == (0, pytest.approx(0.5))
    assert metrics["gap_to_least_squares"] == pytest.approx(5.25**0.5)


def test_baselines_of_the_regression_take_the_place_of_theory() -> None:
    data = line([2, 4, 9], [1, 2, 3])
    metrics = regression_metrics(data, number(2.0), None, without_truth(LINE))
    assert not {"noise_variance", "noise_r2"} & set(metrics)
    assert metrics["mean"] == {
        "train": {"mse": pytest.approx(26 / 3)},
        "test": {"mse": pytest.approx((16 + 9 + 4) / 3)},
    }
    best = 37 / 14
    squares = [(best * x - y) ** 2 for x, y in ((1, 1), (2, 2), (4, 3))]
    assert metrics["least_squares"]["test"]["mse"] == pytest.approx(sum(squares) / 3)


# The metrics of the classifier


def small_network() -> nn.Sequential:
    """Return a network with the logits 0 and x1."""
    network = nn.Sequential(nn.Linear(2, 2), nn.Softmax(dim=1)).double()
    network[0].weight.data = double([0, 0], [1, 0])
    network[0].bias.data.zero_()
    return network


CLASS_DATA = {
    "X_train": torch.tensor([[1.0, 0.0], [2.0, 0.0]]),
    "y_train": torch.tensor([1, 1]),
    "X_test": torch.tensor([[-1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]),
    "y_test": torch.tensor([0, 1, 0]),
}


def test_classifier_metrics_by_hand() -> None:
    metrics = classifier_metrics(CLASS_DATA, small_network(), CLASSES)
    losses = [math.log1p(math.exp(-1)), math.log1p(math.exp(-2)), math.log1p(math.exp(3))]
    assert metrics["train"]["accuracy"] == 1.0
    assert metrics["test"]["accuracy"] == pytest.approx(2 / 3)
    assert metrics["test"]["cross_entropy"] == pytest.approx(sum(losses) / 3, rel=1e-9)
    assert metrics["train"]["cross_entropy"] == pytest.approx(sum(losses[:2]) / 2, rel=1e-9)


def test_classifier_is_compared_with_theory_where_the_truth_is_known() -> None:
    metrics = classifier_metrics(CLASS_DATA, small_network(), CLASSES)
    assert metrics["bayes_accuracy"] == pytest.approx(0.8413447, abs=1e-7)
    assert metrics["gap_to_bayes"] == pytest.approx(0.8413447 - 2 / 3, abs=1e-7)
    assert metrics["bayes_cross_entropy"] == bayes_cross_entropy([(0, 0), (1, 0)], 0.5)
    assert not {"majority", "prior", "gain_over_majority"} & set(metrics)


def test_baselines_of_the_classifier_take_the_place_of_theory() -> None:
    data = {
        "X_train": torch.zeros(5, 1),
        "y_train": torch.tensor([0, 1, 1, 1, 2]),
        "X_test": torch.zeros(3, 1),
        "y_test": torch.tensor([1, 2, 2]),
    }
    metadata = without_truth(CLASSES, labels=(0, 1, 2), columns=feature_columns("a"))
    metrics = classifier_metrics(data, build_network(1, 2, 3).double().eval(), metadata)
    assert metrics["majority"] == {
        "train": {"accuracy": pytest.approx(0.6)},
        "test": {"accuracy": pytest.approx(1 / 3)},
    }
    prior = metrics["prior"]["test"]["cross_entropy"]
    assert prior == pytest.approx(-math.log(0.6 * 0.2 * 0.2) / 3)
    assert metrics["gain_over_majority"] == pytest.approx(metrics["test"]["accuracy"] - 1 / 3)
    assert not {"bayes_accuracy", "gap_to_bayes", "bayes_cross_entropy"} & set(metrics)


@pytest.mark.parametrize("labels", [(0, 1), ("u", "v", "w")])
def test_floor_of_the_loss_is_that_of_as_many_classes_as_there_are(labels: tuple) -> None:
    metadata = without_truth(CLASSES, labels=labels)
    metrics = classifier_metrics(CLASS_DATA, small_network(), metadata)
    assert metrics["loss_floor"] == softmax_loss_floor(len(labels))


def test_floor_of_a_loss_on_logits_is_zero() -> None:
    metadata = CLASSES.model_copy(update={"loss_on": "logits"})
    assert classifier_metrics(CLASS_DATA, small_network(), metadata)["loss_floor"] == 0


def test_cross_entropy_does_not_overflow() -> None:
    data = CLASS_DATA | {"X_test": torch.tensor([[1000.0, 0.0]]), "y_test": torch.tensor([0])}
    metrics = classifier_metrics(data, small_network(), CLASSES)
    assert metrics["test"]["cross_entropy"] == 1000


def test_confusion_matrix_is_that_of_scikit_learn() -> None:
    actual, predicted = np.array([0, 0, 0, 2, 1]), np.array([0, 1, 1, 2, 0])
    expected = confusion_matrix_of_scikit_learn(actual, predicted, labels=range(4))
    np.testing.assert_array_equal(confusion_matrix(actual, predicted, 4), expected)


# The summary


THEORY = {"test": {"accuracy": 0.75}, "bayes_accuracy": 0.9}
BASELINE = {"test": {"accuracy": 0.75}, "majority": {"test": {"accuracy": 0.5}}}
ONE_WEIGHT = {"weight": 1.5, "least_squares_weight": 1.25}
WEIGHTS = {"test": {"mse": 1.5}, "least_squares": {"test": {"mse": 1.25}}}


@pytest.mark.parametrize(
    ("regression", "classifier", "sentence"),
    [
        (ONE_WEIGHT, THEORY, "weight 1.5 (least squares: 1.25), test accuracy 0.75 (Bayes: 0.9)"),
        (
            WEIGHTS,
            BASELINE,
            "test MSE 1.5 (least squares: 1.25), test accuracy 0.75 (majority class: 0.5)",
        ),
    ],
)
def test_summary_sets_each_metric_next_to_its_reference(
    regression: dict, classifier: dict, sentence: str
) -> None:
    assert summarize(regression, classifier) == sentence


# The stage


def test_every_figure_is_drawn_and_opens(finished: Change) -> None:
    assert sorted(path.name for path in Path("metrics/figures").iterdir()) == FIGURES
    for name in FIGURES:
        with Image.open(f"metrics/figures/{name}") as image:
            pixels = np.asarray(image.convert("RGB"))
        assert pixels.min() < 60, name
        assert pixels[0, 0].tolist() == [255, 255, 255], name


def test_confusion_pairs_have_a_row_for_each_test_point(finished: Change) -> None:
    header, *rows = Path("metrics/confusion.csv").read_text().splitlines()
    assert header == "actual,predicted"
    assert [row.split(",")[0] for row in rows] == ["0"] * 4 + ["1"] * 4


def test_accuracy_is_that_of_the_confusion_pairs(finished: Change) -> None:
    _, *rows = Path("metrics/confusion.csv").read_text().splitlines()
    correct = sum(actual == predicted for actual, predicted in (row.split(",") for row in rows))
    assert read_json(METRICS)["classifier"]["test"]["accuracy"] == correct / len(rows)


def test_stage_never_trains_and_uses_one_thread(
    finished: Change, drawn: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(torch.Tensor, "backward")
    torch.set_num_threads(2)
    call_stage("evaluate")
    assert torch.get_num_threads() == 1


def test_same_inputs_give_the_same_metrics(finished: Change, drawn: dict) -> None:
    before = Path(METRICS).read_bytes()
    call_stage("evaluate")
    assert Path(METRICS).read_bytes() == before


def test_summary_is_one_line(
    finished: Change, drawn: dict, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    call_stage("evaluate")
    metrics = read_json(METRICS)
    assert capsys.readouterr().out == (
        f"evaluate: {summarize(metrics['regression'], metrics['classifier'])}\n"
    )


def test_three_classes_are_evaluated(small: Change, drawn: dict) -> None:
    small({"generate_data.classification.centers": [[0, 0], [1, 0], [0, 1]]})
    for stage in ("generate_data", "convert_to_tensors", "train_regression", "train_classifier"):
        call_stage(stage)
    call_stage("evaluate")
    assert read_json(METRICS)["classifier"]["loss_floor"] == pytest.approx(0.551445, abs=1e-6)
    assert drawn["classifier"].confusion.shape == (3, 3)
    assert drawn["classifier"].confusion.sum() == 12


def test_standardized_regression_is_evaluated_on_standardized_features(
    finished: Change, drawn: dict
) -> None:
    finished({"convert_to_tensors.regression.standardize": True})
    for stage in ("convert_to_tensors", "train_regression", "evaluate"):
        call_stage(stage)
    tensors = load_file("data/tensors/regression.safetensors")
    best = (tensors["x_train"] @ tensors["y_train"] / tensors["x_train"].square().sum()).item()
    metrics = read_json(METRICS)["regression"]
    assert metrics["least_squares_weight"] == pytest.approx(best, rel=1e-5)


# What the figures are given


def test_figures_show_the_training_points_of_the_table(finished: Change, drawn: dict) -> None:
    call_stage("evaluate")
    tensors = load_file("data/tensors/regression.safetensors")
    np.testing.assert_array_equal(drawn["regression"].X[:, 0], tensors["x_train"])
    np.testing.assert_array_equal(drawn["regression"].y, tensors["y_train"])
    tensors = load_file("data/tensors/classification.safetensors")
    np.testing.assert_array_equal(drawn["classifier"].X, tensors["X_train"].double())
    np.testing.assert_array_equal(drawn["classifier"].y, tensors["y_train"])


def test_figures_show_the_history(finished: Change, drawn: dict) -> None:
    call_stage("evaluate")
    rows = np.loadtxt("metrics/train_regression.csv", delimiter=",", skiprows=1)
    np.testing.assert_array_equal(drawn["regression"].losses, rows[:, 1])
    np.testing.assert_allclose(drawn["regression"].weights[:, 0], rows[:, 2], rtol=1e-15)
    np.testing.assert_array_equal(drawn["regression"].trained_weight, rows[:, 2])
    rows = np.loadtxt("metrics/train_classifier.csv", delimiter=",", skiprows=1)
    np.testing.assert_array_equal(drawn["classifier"].losses, rows[:, 1])
    np.testing.assert_array_equal(drawn["classifier"].accuracies, rows[:, 2])


def test_figures_show_theory_for_simulated_data(finished: Change, drawn: dict) -> None:
    call_stage("evaluate")
    metrics = read_json(METRICS)["regression"]
    assert drawn["regression"].true_weight == 2.0
    assert drawn["regression"].least_squares_loss == pytest.approx(
        metrics["least_squares_loss"], rel=1e-5
    )
    assert drawn["classifier"].centers.tolist() == [[0.2, 0.2], [0.8, 0.8]]
    assert drawn["classifier"].reference == ("Bayes accuracy", pytest.approx(0.955157, abs=1e-6))
    assert drawn["classifier"].loss_floor == pytest.approx(0.313262, abs=1e-6)


def test_snapshots_predict_as_their_loss_was_measured(finished: Change, drawn: dict) -> None:
    call_stage("evaluate")
    X = load_file("data/tensors/classification.safetensors")["X_train"].double()
    networks = load_snapshots(SNAPSHOTS)
    snapshots = drawn["classifier"].snapshots
    assert list(snapshots) == [0, 2, 5]
    for epoch, predicted in snapshots.items():
        expected = networks[epoch].train()(X).argmax(dim=1)
        assert predicted.tolist() == expected.tolist()


def test_snapshots_and_history_have_the_same_accuracies(finished: Change, drawn: dict) -> None:
    finished({"train_classifier.snapshots": [0, 1, 2, 3, 4, 5], "train_classifier.seed": 3})
    call_stage("train_classifier")
    call_stage("evaluate")
    data = drawn["classifier"]
    accuracies = [(predicted == data.y).mean() for predicted in data.snapshots.values()]
    np.testing.assert_allclose(accuracies, data.accuracies)


def test_trained_network_predicts_in_evaluation_mode(finished: Change, drawn: dict) -> None:
    call_stage("evaluate")
    X = load_file("data/tensors/classification.safetensors")["X_train"].double()
    network = load_classifier(CLASSIFIER)[0]
    assert drawn["classifier"].predicted.tolist() == network(X).argmax(dim=1).tolist()
    scores = drawn["classifier"].scores(X.numpy())
    np.testing.assert_allclose(scores, network(X).detach().numpy(), rtol=1e-5)


# Corrupted and missing inputs; the files' own tests: shared/test_models.py, test_metrics.py


@pytest.mark.parametrize("name", ["train_regression.csv", "train_classifier.csv"])
@pytest.mark.parametrize("content", ["epoch,loss\n0,1\n", None])
def test_corrupted_or_missing_history_is_rejected(
    finished: Change, drawn: dict, name: str, content: str | None
) -> None:
    Path("metrics", name).unlink() if content is None else Path("metrics", name).write_text(content)
    problem = "missing; run" if content is None else "corrupted; delete it and run"
    with pytest.raises(UserError, match=rf"^metrics/{name} is {problem} `dvc repro`\.$"):
        call_stage("evaluate")


FOREIGN = [
    ("regression", "classifier"),
    ("classifier", "regression"),
    ("regression", "classifier_snapshots"),
    ("classifier_snapshots", "classifier"),
    ("classifier", "classifier_snapshots"),
]


@pytest.mark.parametrize(("source", "name"), FOREIGN)
def test_model_of_another_type_is_rejected(
    finished: Change, drawn: dict, source: str, name: str
) -> None:
    shutil.copy(f"data/models/{source}.safetensors", f"data/models/{name}.safetensors")
    with pytest.raises(UserError, match=f"^data/models/{name}.safetensors is corrupted"):
        call_stage("evaluate")


def test_rejected_model_leaves_the_metrics_as_they_are(finished: Change, drawn: dict) -> None:
    before = Path(METRICS).read_bytes()
    Path(CLASSIFIER).write_bytes(b"")
    with pytest.raises(UserError, match="is corrupted"):
        call_stage("evaluate")
    assert Path(METRICS).read_bytes() == before


def test_metrics_are_sorted_and_rounded(finished: Change) -> None:
    text = Path(METRICS).read_text()
    content = json.loads(text)
    assert text == json.dumps(content, indent=2, sort_keys=True) + "\n"
    mse = content["regression"]["test"]["mse"]
    assert mse == float(f"{mse:.6g}")


@pytest.mark.parametrize(
    ("changes", "stage"),
    [
        ({"convert_to_tensors.classification.standardize": True}, "convert_to_tensors"),
        ({"convert_to_tensors.regression.standardize": True}, "convert_to_tensors"),
    ],
)
def test_tensors_and_models_of_different_runs_are_rejected(
    finished: Change, changes: dict[str, Any], stage: str
) -> None:
    finished(changes)
    call_stage(stage)
    with pytest.raises(UserError, match="are from different runs; run `dvc repro`"):
        call_stage("evaluate")


def test_history_that_ends_before_the_last_snapshot_is_rejected(finished: Change) -> None:
    path = Path("metrics/train_classifier.csv")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:4]))
    with pytest.raises(UserError, match="are from different runs"):
        call_stage("evaluate")
