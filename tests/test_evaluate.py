"""Metrics by hand, next to theory or baselines, and what the figures are given to show."""

import csv
import json
import math
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.linear_model import LinearRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from conftest import PROJECT, SMALL, Change, call_stage, feature_columns, run
from stages.core.errors import UserError
from stages.core.schema import STAGES
from stages.evaluate import (
    MAX_ITEMS,
    Part,
    classifier_metrics,
    describe_classifier,
    describe_regression,
    make_parts,
    nearest_least_squares,
    network_width,
    regression_data,
    regression_metrics,
    score_classes,
    write_classes,
    write_weights,
)
from stages.shared.metadata import ClassificationTruth, Metadata, RegressionTruth
from stages.shared.metrics import flatten, read_json
from stages.shared.models import build_network, load_classifier, load_snapshots
from stages.shared.scaling import Scaling
from stages.shared.splits import SPLITS
from stages.shared.tensors import load_tensors, save_tensors
from stages.shared.theory import bayes_cross_entropy, softmax_loss_floor
from stages.shared.thinning import sample_rows, thin_counts

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
    "regression_residuals.png",
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


def parts_of(tensors: dict[str, Tensor], size: int = 2) -> dict[str, Part]:
    """Return parts that are walked in chunks of `size` rows, two unless a test asks for others."""
    return make_parts(tensors, size, lambda _: None)


def line(y_train: list[float], y_test: list[float]) -> dict[str, Part]:
    tensors = {
        "x_train": double(1, 2, 3),
        "y_train": double(*y_train),
        "x_valid": double(0, 1),
        "y_valid": double(1, 4),
        "x_test": double(1, 2, 4),
        "y_test": double(*y_test),
    }
    return parts_of(tensors)


def scores(mse: float, mae: float, r2: float | None) -> dict[str, Any]:
    return {
        "mse": pytest.approx(mse),
        "rmse": pytest.approx(mse**0.5),
        "mae": pytest.approx(mae),
        "r2": None if r2 is None else pytest.approx(r2),
    }


# The metrics of the regression


def test_regression_metrics_by_hand() -> None:
    metrics = regression_metrics(line([2, 4, 9], [1, 2, 3]), number(1.5), None, LINE)
    assert metrics == {
        "weight": 1.5,
        "least_squares_weight": pytest.approx(37 / 14),
        "gap_to_least_squares": pytest.approx(37 / 14 - 1.5),
        "least_squares_loss": pytest.approx(101 - 37**2 / 14),
        "noise_variance": 0.25,
        "noise_r2": pytest.approx(1 - 0.25 / (2 / 3)),
        "train": scores((0.25 + 1 + 20.25) / 3, 2, 1 - 21.5 / 26),
        "valid": scores((1 + 6.25) / 2, 1.75, 1 - 7.25 / 4.5),
        "test": scores((0.25 + 1 + 9) / 3, 1.5, 1 - 10.25 / 2),
        # y = 2 x, from which the data is said to be drawn
        "true_line": {
            "train": scores(3, 1, 1 - 9 / 26),
            "valid": scores((1 + 4) / 2, 1.5, 1 - 5 / 4.5),
            "test": scores(30 / 3, 8 / 3, 1 - 30 / 2),
        },
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
    slope, intercept = np.polyfit(data["train"].x, data["train"].y, 1)
    metrics = regression_metrics(data, number(1.0), number(0.5), LINE)
    assert (metrics["weight"], metrics["bias"]) == (1, 0.5)
    assert metrics["least_squares_weight"] == pytest.approx(slope)
    assert metrics["least_squares_bias"] == pytest.approx(intercept)
    assert metrics["gap_to_least_squares"] == pytest.approx(math.hypot(slope - 1, intercept - 0.5))
    assert metrics["train"]["mse"] == pytest.approx((0.5**2 + 1.5**2 + 5.5**2) / 3)


def test_bias_of_a_centered_target_is_in_units_of_the_table() -> None:
    metadata = LINE.model_copy(update={"target_mean": 1000.0})
    centered = line([-1, 0, 1], [-1, 0, 1])
    metrics = regression_metrics(centered, number(1.0), number(-2.0), metadata)
    assert metrics["bias"] == 998
    assert metrics["least_squares_bias"] == pytest.approx(998)
    assert metrics["gap_to_least_squares"] == pytest.approx(0, abs=1e-12)


def test_true_line_is_measured_in_units_of_the_table() -> None:
    scaling = Scaling(mean=(10.0,), scale=(2.0,))
    metadata = LINE.model_copy(update={"target_mean": 24.0, "scaling": scaling})
    # x is 12, 14, 16, and y is 24, 28, 33 in the table: 2 x + 0, 0, 1
    metrics = regression_metrics(line([0, 4, 9], [0, 4, 9]), number(0.0), None, metadata)
    assert metrics["true_line"]["train"] == scores(1 / 3, 1 / 3, 1 - 3 / 122)


def test_weights_of_several_features_have_their_names() -> None:
    X = double([0, 0], [1, 0], [0, 1], [1, 1])
    y = X @ double(1, -2) + 0.5
    data = {f"x_{split}": X for split in SPLITS} | {f"y_{split}": y for split in SPLITS}
    metadata = without_truth(LINE, columns=feature_columns("a", "b"))
    metrics = regression_metrics(parts_of(data), double(0, 0), number(0.0), metadata)
    assert metrics["weights"] == {"a": 0, "b": 0}
    assert metrics["least_squares_weights"] == pytest.approx({"a": 1, "b": -2})
    assert (metrics["bias"], metrics["least_squares_bias"]) == (0, pytest.approx(0.5))
    assert metrics["gap_to_least_squares"] == pytest.approx(5.25**0.5)


def test_nearest_of_many_least_squares_solutions_is_compared_with() -> None:
    # Two columns that add up to the bias, as those of two categories do: (a, b, bias) fits as well
    # as (a + t, b + t, bias - t).
    X = double([1, 0], [1, 0], [0, 1], [0, 1])
    y = double(4, 6, 8, 10)
    part = Part(X, y, 10, lambda _: None)
    weight, bias, gap = nearest_least_squares(part, double(3, 7), number(2.0))
    assert (gap, bias) == (pytest.approx(0, abs=1e-12), pytest.approx(2))
    assert weight.tolist() == pytest.approx([3, 7])
    weight, bias, gap = nearest_least_squares(part, double(0, 0), number(0.0))
    smallest = np.linalg.pinv(np.column_stack([X, np.ones(4)])) @ y.numpy()
    assert [*weight.tolist(), bias] == pytest.approx(smallest.tolist())
    assert gap == pytest.approx(np.linalg.norm(smallest))


def test_least_squares_of_standardized_categories_is_the_nearest_solution() -> None:
    # Standardized with nine digits, the columns of three categories depend on each other only
    # nearly: shares of 499 rows do not add up to 1 exactly.
    generator = np.random.default_rng(0)
    category = generator.choice(3, size=499, p=[0.5, 0.3, 0.2])
    X = np.column_stack([np.eye(3)[category], generator.uniform(0, 1e5, size=499)])
    y = 1e4 * category + 0.1 * X[:, 3] + generator.normal(0, 1e4, size=499)
    scaling = Scaling.fit(X)
    mean = float(f"{y.mean():.9g}")
    Z, centered = scaling.transform(X), y - mean
    assert 1e-12 < np.linalg.svd(Z, compute_uv=False)[-1] < 1e-6
    trained = np.array([-3e3, 0, 4e3, 3e3])
    data = {f"x_{split}": torch.from_numpy(Z) for split in SPLITS}
    data |= {f"y_{split}": torch.from_numpy(centered) for split in SPLITS}
    metadata = without_truth(
        LINE, columns=feature_columns(*"abcd"), scaling=scaling, target_mean=mean
    )
    metrics = regression_metrics(parts_of(data), double(*trained), None, metadata)
    # Of gradient descent, which does not move along the direction in which nothing changes.
    weights = trained
    for _ in range(20_000):
        weights = weights + 1e-3 * Z.T @ (centered - Z @ weights)
    found = list(metrics["least_squares_weights"].values())
    assert found == pytest.approx(weights, rel=1e-4)
    assert metrics["gap_to_least_squares"] == pytest.approx(np.linalg.norm(weights - trained))


def test_ill_conditioned_features_that_are_not_standardized_have_one_solution() -> None:
    x = torch.linspace(1e6, 1e6 + 10, 11, dtype=torch.float64)
    y = 3 * (x - 1e6) + 7
    metadata = without_truth(LINE)
    data = {f"x_{split}": x for split in SPLITS} | {f"y_{split}": y for split in SPLITS}
    metrics = regression_metrics(parts_of(data), number(0.0), number(0.0), metadata)
    assert metrics["least_squares_weight"] == pytest.approx(3, rel=1e-4)


def test_baselines_of_the_regression_take_the_place_of_theory() -> None:
    data = line([2, 4, 9], [1, 2, 3])
    metrics = regression_metrics(data, number(2.0), None, without_truth(LINE))
    assert not {"noise_variance", "noise_r2", "true_line"} & set(metrics)
    mean = {split: values.pop("r2", "none") for split, values in metrics["mean"].items()}
    assert mean == dict.fromkeys(SPLITS, "none")
    assert metrics["mean"]["train"] == {
        "mse": pytest.approx(26 / 3),
        "rmse": pytest.approx((26 / 3) ** 0.5),
        "mae": pytest.approx((3 + 1 + 4) / 3),
    }
    assert metrics["mean"]["valid"]["mse"] == pytest.approx((16 + 1) / 2)
    assert metrics["mean"]["test"]["mse"] == pytest.approx((16 + 9 + 4) / 3)
    best = 37 / 14
    squares = [(best * x - y) ** 2 for x, y in ((1, 1), (2, 2), (4, 3))]
    assert metrics["least_squares"]["test"]["mse"] == pytest.approx(sum(squares) / 3)


@pytest.mark.parametrize("truth", [True, False])
@pytest.mark.parametrize("size", [1, 2, 7, 39])
def test_metrics_of_the_regression_are_the_same_from_chunks(size: int, truth: bool) -> None:
    generator = np.random.default_rng(0)
    tensors = {}
    for split, n_rows in zip(SPLITS, (40, 13, 8), strict=True):
        x = torch.from_numpy(generator.random(n_rows))
        noise = torch.from_numpy(generator.standard_normal(n_rows))
        tensors |= {f"x_{split}": x, f"y_{split}": 2459003.5 + 2 * x + noise / 1000}
    metadata = LINE if truth else without_truth(LINE)
    model = number(1.5), number(2459003.0)
    whole = regression_metrics(parts_of(tensors, 40), *model, metadata)
    found = regression_metrics(parts_of(tensors, size), *model, metadata)
    assert flat(found) == pytest.approx(flat(whole), rel=1e-6)
    x, y = tensors["x_train"].numpy(), tensors["y_train"].numpy() - 2459003
    slope, intercept = np.polyfit(x, y, 1)
    assert found["least_squares_weight"] == pytest.approx(slope, rel=1e-6)
    assert found["least_squares_bias"] == pytest.approx(2459003 + intercept, rel=1e-13)
    loss = ((y - slope * x - intercept) ** 2).sum()
    assert found["least_squares_loss"] == pytest.approx(loss, rel=1e-5)


def flat(metrics: dict[str, Any]) -> dict[str, Any]:
    return dict(flatten(metrics))


def test_weights_are_listed_in_the_order_of_the_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    metadata = without_truth(LINE, columns=feature_columns("b", "a,c"))
    weights = {"a,c": 1.0, "b": 0.1234567}
    write_weights({"weights": weights, "least_squares_weights": {"b": 3.0, "a,c": 4.0}}, metadata)
    content = Path("metrics/regression_weights.csv").read_text()
    assert content == 'feature,weight,least_squares\nb,0.123457,3.0\n"a,c",1.0,4.0\n'


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
    "X_valid": torch.tensor([[-1.0, 0.0]]),
    "y_valid": torch.tensor([0]),
    "X_test": torch.tensor([[-1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]),
    "y_test": torch.tensor([0, 1, 0]),
}


def metrics_of(
    data: dict[str, Tensor],
    metadata: Metadata,
    network: nn.Sequential | None = None,
    size: int = 2,
) -> dict[str, Any]:
    parts = parts_of(data, size)
    with torch.no_grad():
        scores = {
            split: score_classes(parts[split], network or small_network()) for split in SPLITS
        }
        return classifier_metrics(parts, scores, metadata)


def test_classifier_metrics_by_hand() -> None:
    metrics = metrics_of(CLASS_DATA, CLASSES)
    losses = [math.log1p(math.exp(-1)), math.log1p(math.exp(-2)), math.log1p(math.exp(3))]
    # Predicted are 0, 1, 1; actual 0, 1, 0. F1 is 2 / 3 for both classes.
    assert metrics["test"] == {
        "accuracy": pytest.approx(2 / 3),
        "accuracy_low": pytest.approx(0.20766, abs=1e-5),
        "accuracy_high": pytest.approx(0.93851, abs=1e-5),
        "balanced_accuracy": 0.75,
        "macro_f1": pytest.approx(2 / 3),
        "auc": 0.5,
        "cross_entropy": pytest.approx(sum(losses) / 3, rel=1e-9),
        "recall": {"0": 0.5, "1": 1.0},
    }
    assert metrics["train"]["accuracy"] == 1.0
    assert metrics["train"]["cross_entropy"] == pytest.approx(sum(losses[:2]) / 2, rel=1e-9)


def random_classes(n_classes: int, n_rows: int = 50) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    data = {}
    for split in SPLITS:
        data[f"X_{split}"] = torch.randn(n_rows, 2, generator=generator).round(decimals=1)
        data[f"y_{split}"] = torch.arange(n_rows) % n_classes
    return data


@pytest.mark.parametrize("metadata", [CLASSES, without_truth(CLASSES, labels=("u", "v", "w"))])
@pytest.mark.parametrize("size", [1, 3, 49])
def test_metrics_of_the_classifier_are_the_same_from_chunks(size: int, metadata: Metadata) -> None:
    n_classes = len(metadata.labels)
    data = random_classes(n_classes)
    network = small_network() if n_classes == 2 else build_network(2, [4], 3).double().eval()
    whole = metrics_of(data, metadata, network, 50)
    found = metrics_of(data, metadata, network, size)
    assert flat(found) == pytest.approx(flat(whole), rel=1e-12)
    with torch.no_grad():
        expected = network(data["X_test"].double())
    hits = (expected.argmax(dim=1) == data["y_test"]).double().mean().item()
    assert found["test"]["accuracy"] == pytest.approx(hits)
    losses = -expected.log()[torch.arange(50), data["y_test"]]
    assert found["test"]["cross_entropy"] == pytest.approx(losses.mean().item())
    if n_classes == 2:
        assert found["test"]["auc"] == pytest.approx(
            roc_auc_score(data["y_test"], expected[:, 1].numpy().round(9))
        )


def test_width_of_a_network_is_that_of_its_widest_layer() -> None:
    assert network_width(build_network(2, [10], 3)) == 10
    assert network_width(build_network(20, [10], 3)) == 20
    assert network_width(build_network(2, [4], 30)) == 30


def test_score_of_a_class_that_a_part_lacks_is_left_open() -> None:
    train = metrics_of(CLASS_DATA, CLASSES)["train"]
    assert (train["recall"], train["auc"]) == ({"0": None, "1": 1.0}, None)
    assert train["balanced_accuracy"] == 1


def test_auc_is_that_of_the_probabilities_for_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(200, 2, generator=generator)
    y = (X[:, 0] + torch.randn(200, generator=generator) > 0).long()
    data = {f"X_{split}": X for split in SPLITS} | {f"y_{split}": y for split in SPLITS}
    probabilities = small_network()(X.double()).detach()[:, 1]
    expected = roc_auc_score(y, probabilities)
    assert metrics_of(data, CLASSES)["valid"]["auc"] == pytest.approx(expected)


def test_auc_of_three_classes_is_left_out() -> None:
    metadata = without_truth(CLASSES, labels=("u", "v", "w"))
    network = build_network(2, [10], 3).double().eval()
    assert "auc" not in metrics_of(CLASS_DATA, metadata, network)["test"]


@pytest.mark.parametrize("n_classes", [MAX_ITEMS, MAX_ITEMS + 1])
def test_recall_of_many_classes_is_left_out(n_classes: int) -> None:
    metadata = without_truth(CLASSES, labels=tuple(range(n_classes)))
    network = build_network(2, [10], n_classes).double().eval()
    scores = metrics_of(CLASS_DATA, metadata, network)["test"]
    assert len(scores.get("recall", {})) == (n_classes if n_classes <= MAX_ITEMS else 0)


def test_classifier_is_compared_with_theory_where_the_truth_is_known() -> None:
    metrics = metrics_of(CLASS_DATA, CLASSES)
    assert metrics["bayes_accuracy"] == pytest.approx(0.8413447, abs=1e-7)
    assert metrics["gap_to_bayes"] == pytest.approx(0.8413447 - 2 / 3, abs=1e-7)
    assert metrics["bayes_cross_entropy"] == bayes_cross_entropy([(0, 0), (1, 0)], 0.5)
    assert not {"majority", "prior", "gain_over_majority"} & set(metrics)


def test_bayes_rule_is_measured_on_the_same_rows() -> None:
    # log p(1) / p(0) = (|x|^2 - |x - (1, 0)|^2) / (2 * 0.25) = (2 x1 - 1) * 2
    bayes = metrics_of(CLASS_DATA, CLASSES)["bayes"]
    losses = [math.log1p(math.exp(-6)), math.log1p(math.exp(-6)), math.log1p(math.exp(10))]
    assert bayes["test"] == {
        "accuracy": pytest.approx(2 / 3),
        "cross_entropy": pytest.approx(sum(losses) / 3),
    }
    assert bayes["train"]["accuracy"] == 1
    assert bayes["valid"]["cross_entropy"] == pytest.approx(losses[0])


def test_bayes_rule_is_measured_in_units_of_the_table() -> None:
    scaling = Scaling(mean=(3.0, 4.0), scale=(2.0, 5.0))
    rows = {
        name: torch.from_numpy(scaling.transform(values.double().numpy()))
        for name, values in CLASS_DATA.items()
        if name.startswith("X")
    }
    metadata = CLASSES.model_copy(update={"scaling": scaling})
    bayes = metrics_of(CLASS_DATA | rows, metadata)["bayes"]
    expected = metrics_of(CLASS_DATA, CLASSES)["bayes"]
    assert bayes["test"] == pytest.approx(expected["test"])


def test_baselines_of_the_classifier_take_the_place_of_theory() -> None:
    data = {
        "X_train": torch.zeros(5, 1),
        "y_train": torch.tensor([0, 1, 1, 1, 2]),
        "X_valid": torch.zeros(2, 1),
        "y_valid": torch.tensor([1, 1]),
        "X_test": torch.zeros(3, 1),
        "y_test": torch.tensor([1, 2, 2]),
    }
    metadata = without_truth(CLASSES, labels=(0, 1, 2), columns=feature_columns("a"))
    metrics = metrics_of(data, metadata, build_network(1, [2], 3).double().eval())
    assert metrics["majority"] == {
        "train": {"accuracy": pytest.approx(0.6)},
        "valid": {"accuracy": 1.0},
        "test": {"accuracy": pytest.approx(1 / 3)},
    }
    prior = {split: values["cross_entropy"] for split, values in metrics["prior"].items()}
    assert prior["valid"] == pytest.approx(-math.log(0.6))
    assert prior["test"] == pytest.approx(-math.log(0.6 * 0.2 * 0.2) / 3)
    assert metrics["gain_over_majority"] == pytest.approx(metrics["test"]["accuracy"] - 1 / 3)
    assert not {"bayes", "bayes_accuracy", "gap_to_bayes", "bayes_cross_entropy"} & set(metrics)


@pytest.mark.parametrize("labels", [(0, 1), ("u", "v", "w")])
def test_floor_of_the_loss_is_that_of_as_many_classes_as_there_are(labels: tuple) -> None:
    metadata = without_truth(CLASSES, labels=labels)
    network = build_network(2, [2], len(labels)).double().eval()
    metrics = metrics_of(CLASS_DATA, metadata, network)
    assert metrics["loss_floor"] == softmax_loss_floor(len(labels))


def test_floor_of_a_loss_on_logits_is_zero() -> None:
    metadata = CLASSES.model_copy(update={"loss_on": "logits"})
    assert metrics_of(CLASS_DATA, metadata)["loss_floor"] == 0


def test_cross_entropy_does_not_overflow() -> None:
    data = CLASS_DATA | {"X_test": torch.tensor([[1000.0, 0.0]]), "y_test": torch.tensor([0])}
    assert metrics_of(data, CLASSES)["test"]["cross_entropy"] == 1000


def test_classes_are_listed_with_their_rows_and_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    counts = {
        "train": np.array([[5, 1], [0, 4]]),
        "valid": np.array([[2, 0], [1, 0]]),
        "test": np.array([[2, 1], [0, 0]]),
    }
    write_classes(counts, CLASSES)
    assert Path("metrics/classes.csv").read_text() == (
        "class,train_rows,valid_rows,test_rows,recall,precision,f1\n"
        "0,6,2,3,0.666667,1.0,0.8\n"
        "1,4,1,0,,0.0,0.0\n"
    )


# Many rows


@pytest.fixture
def thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show five points at most, and walk the tables in chunks of three rows."""
    monkeypatch.setattr("stages.shared.thinning.MAX_POINTS", 5)
    monkeypatch.setattr("stages.shared.moments.CHUNK_VALUES", 30)  # of ten columns


def test_metrics_of_many_rows_are_those_of_all(
    finished: Change, drawn: dict, thinned: None
) -> None:
    before = Path(METRICS).read_bytes()
    call_stage("evaluate")
    assert Path(METRICS).read_bytes() == before


def test_figures_show_the_same_few_of_many_rows(
    finished: Change, drawn: dict, thinned: None
) -> None:
    call_stage("evaluate")
    rows = sample_rows(8)
    assert len(rows) == 5
    regression, classifier = drawn["regression"], drawn["classifier"]
    tensors = load_file("data/tensors/regression.safetensors")
    np.testing.assert_array_equal(regression.X[:, 0], tensors["x_train"][rows])
    np.testing.assert_array_equal(regression.y, tensors["y_train"][rows])
    np.testing.assert_array_equal(
        regression.predicted + regression.residuals, tensors["y_test"][rows]
    )
    assert (regression.n_train, regression.n_test) == (8, 8)
    tensors = load_file("data/tensors/classification.safetensors")
    X, y = tensors["X_train"].double(), tensors["y_train"]
    np.testing.assert_array_equal(classifier.X, X[rows])
    np.testing.assert_array_equal(classifier.y, y[rows])
    predicted = load_classifier(CLASSIFIER)[0](X).argmax(dim=1)
    np.testing.assert_array_equal(classifier.predicted, predicted[rows])
    assert {len(shown) for shown in classifier.snapshots.values()} == {5}
    assert (classifier.n_rows, classifier.n_wrong) == (8, int((predicted != y).sum()))
    assert classifier.confusion.sum() == 8


def test_confusion_pairs_of_many_rows_keep_the_proportions_and_say_so(
    finished: Change, drawn: dict, thinned: None, capsys: pytest.CaptureFixture[str]
) -> None:
    call_stage("evaluate")
    _, *rows = Path("metrics/confusion.csv").read_text().splitlines()
    counts = thin_counts(drawn["classifier"].confusion)
    assert len(rows) == counts.sum() == 5
    assert [[rows.count(f"{a},{b}") for b in (0, 1)] for a in (0, 1)] == counts.tolist()
    assert (
        "evaluate: metrics/confusion.csv has 5 rows in the proportions of all 8 test rows\n"
        in capsys.readouterr().out
    )


def forget_truth() -> None:
    """Make the tensors and models those of a custom table."""
    for path in [*Path("data/tensors").iterdir(), *Path("data/models").iterdir()]:
        tensors, metadata = load_tensors(str(path))
        save_tensors(str(path), tensors, without_truth(metadata))


@pytest.mark.parametrize("is_simulated", [True, False])
def test_bars_end_when_all_rows_are_counted(
    finished: Change, drawn: dict, monkeypatch: pytest.MonkeyPatch, is_simulated: bool
) -> None:
    if not is_simulated:
        forget_truth()
    counts: dict[str, list[int]] = {}

    @contextmanager
    def bar(stage: str, total: int) -> Iterator[SimpleNamespace]:
        counts[stage] = []
        yield SimpleNamespace(update=counts[stage].append)
        assert sum(counts[stage]) == total

    monkeypatch.setattr("stages.evaluate.progress_bar", bar)
    monkeypatch.setattr("stages.shared.moments.CHUNK_VALUES", 30)
    call_stage("evaluate")
    assert {stage: set(sizes) for stage, sizes in counts.items()} == {
        "evaluate regression": {8},
        "evaluate classifier": {3, 2},
    }


PEAK = """
import sys, threading, time
import stages.evaluate
from stages.core.schema import STAGES
from stages.core.params import read_params

def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

start, found, ended = anonymous(), [], threading.Event()

def watch():
    while not ended.wait(0.005):
        found.append(anonymous())

thread = threading.Thread(target=watch)
thread.start()
try:
    stages.evaluate.main(read_params(STAGES["evaluate"]))
finally:
    ended.set()
    thread.join()
print((max(found) - start) / 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc tells the memory")
def test_memory_does_not_grow_with_the_rows(finished: Change) -> None:
    for name, n_rows in (("regression", 3_000_000), ("classification", 1_500_000)):
        path = f"data/tensors/{name}.safetensors"
        tensors, metadata = load_tensors(path)
        repeated = {
            key: values.repeat(n_rows // len(values), *[1] * (values.dim() - 1))
            for key, values in tensors.items()
        }
        save_tensors(path, repeated, metadata)
    del tensors, repeated
    done = run(sys.executable, "-c", PEAK, cwd=Path.cwd(), PYTHONPATH=str(PROJECT))
    assert done.returncode == 0, done.stderr
    # MiB, most of it for the figures: 30 for few rows, too.
    assert float(done.stdout.splitlines()[-1]) < 60


# What is printed


def test_each_printed_metric_has_its_reference_and_the_test_rows_come_last() -> None:
    values = {"valid": {"mse": 1.5, "accuracy": 0.75}, "test": {"mse": 2.5, "accuracy": 0.5}}
    others = {"valid": {"mse": 1.25, "accuracy": 0.9}, "test": {"mse": 2.25, "accuracy": 0.8}}
    numbers = "1.5 on validation ({0}: 1.25), 2.5 on test ({0}: 2.25)"
    assert describe_regression(values | {"true_line": others}) == "MSE " + numbers.format(
        "true line"
    )
    assert describe_regression(values | {"least_squares": others}) == (
        "MSE " + numbers.format("least squares")
    )
    numbers = "0.75 on validation ({0}: 0.9), 0.5 on test ({0}: 0.8)"
    assert describe_classifier(values | {"bayes": others}) == "accuracy " + numbers.format("Bayes")
    assert describe_classifier(values | {"majority": others}) == (
        "accuracy " + numbers.format("majority class")
    )


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


def test_warnings_are_printed_counted_and_kept(
    finished: Change, drawn: dict, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    call_stage("evaluate")
    metrics = read_json(METRICS)
    texts = metrics["warning_texts"]
    assert capsys.readouterr().out.splitlines() == [
        *(f"warning: {text}" for text in texts),
        f"evaluate: {describe_regression(metrics['regression'])}",
        f"evaluate: {describe_classifier(metrics['classifier'])}",
    ]
    assert "classifier_accuracy_uncertain" in metrics["warnings"]  # eight rows
    assert set(metrics["warnings"].values()) == {1}
    assert len(metrics["warnings"]) == len(texts)


def test_article_has_no_warning(article: Change, drawn: dict) -> None:
    for stage in STAGES:
        if stage != "report":
            call_stage(stage)
    metrics = read_json(METRICS)
    assert (metrics["warnings"], metrics["warning_texts"]) == ({}, [])


@pytest.mark.parametrize(
    ("name", "column", "value"), [("regression", "loss", 1e6), ("classifier", "accuracy", 0.0)]
)
def test_history_with_another_end_is_noticed(
    finished: Change, drawn: dict, name: str, column: str, value: float
) -> None:
    warning = f"{name}_history_differs"
    assert warning not in read_json(METRICS)["warnings"]
    path = f"metrics/train_{name}.csv"
    history = pd.read_csv(path)
    history.loc[history.index[-1], column] = value
    history.to_csv(path, index=False)
    call_stage("evaluate")
    assert warning in read_json(METRICS)["warnings"]


def test_three_classes_are_evaluated(small: Change, drawn: dict) -> None:
    small({"generate_data.classification.centers": [[0, 0], [1, 0], [0, 1]]})
    for stage in ("generate_data", "convert_to_tensors", "train_regression", "train_classifier"):
        call_stage(stage)
    call_stage("evaluate")
    assert read_json(METRICS)["classifier"]["loss_floor"] == pytest.approx(0.551445, abs=1e-6)
    assert drawn["classifier"].confusion.shape == (3, 3)
    assert drawn["classifier"].confusion.sum() == 12


def test_standardized_regression_is_least_squares_with_an_intercept(
    finished: Change, drawn: dict
) -> None:
    finished({"convert_to_tensors.regression.standardize": True})
    for stage in ("convert_to_tensors", "train_regression", "evaluate"):
        call_stage(stage)
    table = pd.read_parquet("data/raw/regression.parquet")
    train = table[table["split"] == "train"]
    best = LinearRegression().fit(train[["x"]], train["y"])
    metrics = read_json(METRICS)["regression"]
    spread = train["x"].std(ddof=0)
    assert metrics["least_squares_weight"] == pytest.approx(best.coef_[0] * spread, rel=1e-5)
    loss = ((train["y"] - best.predict(train[["x"]])) ** 2).sum()
    assert metrics["least_squares_loss"] == pytest.approx(loss, rel=1e-5)


def test_weights_of_many_features_are_listed_in_a_table_alone(article: Change, drawn: dict) -> None:
    article(SMALL)
    n_features = MAX_ITEMS + 1
    X = np.random.default_rng(0).standard_normal((40, n_features))
    names = [f"f{number}" for number in range(n_features)]
    Path("data").mkdir()
    pd.DataFrame(X, columns=names).assign(y=X.sum(axis=1)).to_csv("data/wide.csv", index=False)
    article({"convert_to_tensors.regression.table": "data/wide.csv"})
    for stage in STAGES:
        if stage != "report":
            call_stage(stage)
    assert not {"weights", "least_squares_weights"} & set(read_json(METRICS)["regression"])
    with open("metrics/regression_weights.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["feature"] for row in rows] == names
    weights = load_file("data/models/regression.safetensors")["weight"].tolist()
    assert [float(row["weight"]) for row in rows] == pytest.approx(weights, rel=1e-5)
    assert [float(row["least_squares"]) for row in rows] == pytest.approx([1] * n_features)


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
    history = pd.read_csv("metrics/train_regression.csv")
    data = drawn["regression"]
    np.testing.assert_array_equal(data.losses, history["loss"])
    np.testing.assert_array_equal(data.valid_losses, history["valid_loss"])
    np.testing.assert_array_equal(data.trained_weight, history["weight"])
    np.testing.assert_array_equal(data.lines, [[slope, 0] for slope in history["weight"]])
    assert not data.has_intercept
    epochs = np.arange(len(history))
    np.testing.assert_allclose(data.predict(epochs, np.array([[2.0]])).T, [2 * history["weight"]])
    history = pd.read_csv("metrics/train_classifier.csv")
    for name in ("losses", "valid_losses", "accuracies", "valid_accuracies"):
        column = name.replace("losses", "loss").replace("accuracies", "accuracy")
        np.testing.assert_array_equal(getattr(drawn["classifier"], name), history[column])


def test_figures_show_theory_for_simulated_data(finished: Change, drawn: dict) -> None:
    call_stage("evaluate")
    metrics = read_json(METRICS)["regression"]
    assert drawn["regression"].true_weight == 2.0
    assert drawn["regression"].least_squares_loss == pytest.approx(
        metrics["least_squares_loss"], rel=1e-5
    )
    assert drawn["classifier"].centers.tolist() == [[0.2, 0.2], [0.8, 0.8]]
    bayes = read_json(METRICS)["classifier"]["bayes"]["train"]["accuracy"]
    assert drawn["classifier"].reference == ("Bayes rule", pytest.approx(bayes))
    assert drawn["classifier"].loss_floor == pytest.approx(0.313262, abs=1e-6)


STANDARDIZED = LINE.model_copy(
    update={"scaling": Scaling(mean=(2000.0,), scale=(5.0,)), "target_mean": 1e6}
)


def test_figures_are_in_units_of_the_table() -> None:
    tensors = line([-1, 0, 1], [-1, 0, 1])
    weight, bias = number(2.0), number(0.25)
    columns = {"loss": [1, 0.5], "valid_loss": [1, 0.5], "weight": [1, 2], "bias": [0, 0.25]}
    history = {name: np.array(values) for name, values in columns.items()}
    metrics = regression_metrics(tensors, weight, bias, STANDARDIZED)
    data = regression_data(tensors, weight, bias, history, metrics, STANDARDIZED)
    assert data.X.tolist() == [[2005], [2010], [2015]]
    assert data.y.tolist() == [999999, 1e6, 1000001]
    # Before training y = (x - 2000) / 5 + 1e6, then y = 2 (x - 2000) / 5 + 0.25 + 1e6
    assert data.lines.tolist() == [[0.2, 999600], [0.4, 999200.25]]
    assert data.has_intercept
    y_hat = data.predict(np.array([0, 1]), np.array([[2000.0], [2010.0]]))
    assert y_hat.tolist() == [[1e6, 1000002], [1000000.25, 1000004.25]]
    assert data.predicted.tolist() == [1000002.25, 1000004.25, 1000008.25]
    assert data.residuals.tolist() == [-3.25, -4.25, -7.25]


def test_last_digits_that_differ_between_machines_are_rounded_away() -> None:
    tensors, columns = line([2, 4, 9], [1, 2, 3]), ("loss", "valid_loss", "weight")
    shown = []
    for factor in (1.0, 1.0 + 1e-13):
        history = {name: np.array([1.1, 1.3]) * factor for name in columns}
        metrics = regression_metrics(tensors, number(1.3), None, LINE)
        data = regression_data(tensors, number(1.3 * factor), None, history, metrics, LINE)
        shown.append((data.predict(np.array([1]), data.X).tolist(), data.predicted.tolist()))
    assert shown[0] == shown[1]


def test_snapshots_predict_in_evaluation_mode(finished: Change, drawn: dict) -> None:
    call_stage("evaluate")
    X = load_file("data/tensors/classification.safetensors")["X_train"].double()
    networks = load_snapshots(SNAPSHOTS)
    snapshots = drawn["classifier"].snapshots
    assert list(snapshots) == [0, 2, 5]
    for epoch, predicted in snapshots.items():
        expected = networks[epoch](X).argmax(dim=1)
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
