"""The defaults and the committed results, held to the article.

A fork with parameters or data of its own deletes this file; no other test reads the project's
params.yaml or its committed results.
"""

import csv
import json
import math
import re
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import article_in_numpy
from conftest import ARTICLE, PROJECT, params_of, run
from stages.shared.batches import Rows
from stages.shared.models import build_network, initialize
from stages.shared.run import Run
from stages.shared.theory import least_squares
from stages.train_classifier import fit
from tools.optimizers import format_range


def committed(name: str) -> dict[str, Any]:
    return json.loads((PROJECT / "metrics" / name).read_text())


def committed_rows(name: str) -> tuple[list[str], np.ndarray]:
    with open(PROJECT / "metrics" / name, newline="") as file:
        header, *rows = csv.reader(file)
    return header, np.array(rows, dtype=float)


def trained_in_numpy() -> tuple[np.ndarray, list[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    network = build_network(n_features=2, hidden=[10], n_classes=2).double()
    initialize(network, torch.Generator().manual_seed(0))
    parameters = [parameter.detach().numpy() for parameter in network.parameters()]
    return article_in_numpy.train_classifier(
        *article_in_numpy.classification_data(), parameters, epochs=51
    )


# The defaults


def test_defaults_are_those_of_the_article() -> None:
    assert yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8")) == ARTICLE


def test_every_parameter_has_a_comment_that_begins_with_study_or_fixed() -> None:
    lines = (PROJECT / "params.yaml").read_text(encoding="utf-8").splitlines()
    values = [line for line in lines if re.match(r"\s*\w+: [^#\s]", line)]
    assert len(values) >= 24
    for line in values:
        assert re.search(r" # (study|fixed)\. .", line), line


# The committed results


def test_history_of_the_regression_is_the_loop_in_numpy() -> None:
    x, y = article_in_numpy.regression_data()
    header, rows = committed_rows("train_regression.csv")
    assert header == ["epoch", "loss", "valid_loss", "weight"]
    expected = article_in_numpy.train_regression(x, y, weight=0.1, epochs=100, lr=1e-4)
    np.testing.assert_allclose(rows[:, [0, 1, 3]], expected, rtol=5.01e-6)


def test_history_of_the_classifier_is_the_loop_in_numpy() -> None:
    header, rows = committed_rows("train_classifier.csv")
    assert header == ["epoch", "loss", "accuracy", "valid_loss", "valid_accuracy"]
    np.testing.assert_allclose(rows[:, :3], trained_in_numpy()[0], rtol=0, atol=5.01e-7)


def test_accuracy_of_the_classifier_is_that_of_the_network_in_numpy() -> None:
    _, parameters, _ = trained_in_numpy()
    X, y = article_in_numpy.classification_data()
    inputs = X @ parameters[0].T + parameters[1]
    statistics = inputs.mean(axis=0), inputs.var(axis=0)
    accuracy = (article_in_numpy.predict(X, parameters, statistics) == y).mean()
    assert committed("evaluate.json")["classifier"]["train"]["accuracy"] == pytest.approx(accuracy)
    _, rows = committed_rows("train_classifier.csv")
    assert rows[-1, 2] == accuracy


def test_weight_is_close_to_least_squares() -> None:
    regression = committed("evaluate.json")["regression"]
    (best,) = least_squares(*article_in_numpy.regression_data())
    assert regression["least_squares_weight"] == pytest.approx(best, rel=1e-5)
    assert regression["weight"] == pytest.approx(best, abs=0.01)
    assert regression["gap_to_least_squares"] < 0.01


def test_test_error_is_close_to_the_variance_of_the_noise() -> None:
    regression = committed("evaluate.json")["regression"]
    assert regression["noise_variance"] == 0.09
    assert regression["test"]["mse"] == pytest.approx(0.09, rel=0.1)


def test_accuracy_is_close_to_that_of_bayes() -> None:
    classifier = committed("evaluate.json")["classifier"]
    assert classifier["bayes_accuracy"] == 0.955157
    assert classifier["gap_to_bayes"] < 0.015


def test_loss_on_probabilities_stays_above_its_floor() -> None:
    assert committed("evaluate.json")["classifier"]["loss_floor"] == 0.313262
    assert committed("train_classifier.json")["train_classifier"]["loss"] > 0.313262


def test_tensors_are_described_as_in_the_article() -> None:
    tensors = committed("convert_to_tensors.json")["tensors"]
    shown = {item["tensor"]: item for items in tensors.values() for item in items}
    assert shown["x_train"]["dtype"] == "torch.float64"
    assert shown["x_train"]["shape"] == [1000]
    assert shown["X_train"]["dtype"] == "torch.float32"
    assert shown["X_train"]["shape"] == [2000, 2]


def test_committed_results_are_small() -> None:
    names = run("git", "ls-files", "-co", "--exclude-standard", "metrics", cwd=PROJECT).stdout
    sizes = [(PROJECT / name).stat().st_size for name in names.splitlines()]
    assert 100_000 < sum(sizes) < 600_000


# What the docs say of them


def test_results_page_shows_the_committed_numbers() -> None:
    page = (PROJECT / "docs/results.md").read_text(encoding="utf-8")
    metrics = committed("evaluate.json")
    regression, classifier = metrics["regression"], metrics["classifier"]
    for number in (
        regression["weight"],
        regression["least_squares_weight"],
        regression["least_squares_loss"],
        regression["test"]["mse"],
        regression["test"]["r2"],
        regression["noise_r2"],
        classifier["bayes_accuracy"],
        classifier["bayes_cross_entropy"],
        classifier["loss_floor"],
        classifier["test"]["accuracy"],
        classifier["test"]["cross_entropy"],
        classifier["train"]["accuracy"],
        committed("train_regression.json")["train_regression"]["loss"],
        committed("train_classifier.json")["train_classifier"]["loss"],
    ):
        assert str(number) in page


def test_comparing_page_shows_the_committed_table_of_optimizers() -> None:
    page = (PROJECT / "docs/comparing.md").read_text(encoding="utf-8")
    with open(PROJECT / "metrics/optimizers.csv", newline="") as file:
        _, *rows = csv.reader(file)
    assert len(rows) == 24
    for name, loss_on, *cells in rows:
        values = [float(cell) if cell else math.inf for cell in cells]
        ranges = [format_range((*values[k : k + 3],)) for k in (0, 3, 6)]
        assert f"| {' | '.join([name, loss_on, *ranges])} |\n" in page


@pytest.mark.parametrize(
    ("optimizer", "loss_on"), [("RMSprop", "probabilities"), ("SGD", "logits")]
)
def test_committed_table_of_optimizers_is_what_training_gives(optimizer: str, loss_on: str) -> None:
    changes = {"optimizer": {"name": optimizer, "lr": 1e-3}, "loss_on": loss_on}
    section = params_of("train_classifier", {**changes, "epochs": 500, "snapshots": [0]})
    X, y = map(torch.from_numpy, article_in_numpy.classification_data())
    X_valid, y_valid = map(torch.from_numpy, article_in_numpy.classification_data("valid"))
    target = 0.99 * committed("evaluate.json")["classifier"]["bayes_accuracy"]
    epochs, last = [], []
    for seed in range(5):
        network = build_network(n_features=2, hidden=[10], n_classes=2)
        initialize(network, torch.Generator().manual_seed(seed))
        train, valid = (
            Rows(*pair, torch.float64, section.chunk_rows) for pair in ((X, y), (X_valid, y_valid))
        )
        history = fit(train, valid, network.double(), Run("train_classifier", section))
        reached = (epoch for epoch, *_, accuracy in history if accuracy >= target)
        epochs.append(next(reached, math.inf))
        last.append(history[-1][-1])
    with open(PROJECT / "metrics/optimizers.csv", newline="") as file:
        (row,) = (row for row in csv.reader(file) if row[:2] == [optimizer, loss_on])
    expected = (sorted(epochs)[2], min(epochs), max(epochs))
    assert tuple(float(cell) if cell else math.inf for cell in row[2:5]) == expected
    assert [float(cell) for cell in row[5:8]] == [sorted(last)[2], min(last), max(last)]
