import csv
import math
import re

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import log_loss

from conftest import call_stage
from stages.core.errors import UserError
from stages.core.params import read_params
from stages.core.schema import TrainClassifier
from stages.shared.metrics import read_history
from stages.shared.models import load_classifier
from stages.shared.tensors import load_tensors
from tools import optimizers
from tools.optimizers import (
    Trained,
    best_accuracy,
    epochs_to_target,
    format_range,
    main,
    make_section,
    measures,
    train_one,
)

INFINITY, NAN = math.inf, math.nan


def section_of(**changes):
    params = read_params(TrainClassifier).train_classifier
    values = {"name": "RMSprop", "loss_on": "logits", "seed": 3, "lr": 0.01, "epochs": 5} | changes
    return make_section(params, **values)


def test_run_is_that_of_the_stage(finished):
    finished(
        {
            "train_classifier.seed": 3,
            "train_classifier.loss_on": "logits",
            "train_classifier.optimizer": {"name": "RMSprop", "lr": 0.01},
        }
    )
    call_stage("train_classifier")
    columns = ["epoch", "loss", "accuracy", "valid_loss", "valid_accuracy"]
    history = read_history("metrics/train_classifier.csv", columns)
    found = train_one(section_of())
    np.testing.assert_array_equal(found.accuracies, history["valid_accuracy"])
    assert found.cross_entropy == pytest.approx(history["valid_loss"][-1], rel=1e-5)


def test_cross_entropy_is_that_of_the_probabilities_whatever_was_trained(finished):
    """As scikit-learn computes it from the network that the stage wrote."""
    found = train_one(section_of(seed=0, loss_on="probabilities", lr=1e-3))
    tensors, _ = load_tensors("data/tensors/classification.safetensors")
    network, _ = load_classifier("data/models/classifier.safetensors")
    probabilities = network(tensors["X_valid"].double()).detach().numpy()
    expected = log_loss(tensors["y_valid"].numpy(), probabilities)
    assert found.cross_entropy == pytest.approx(expected, rel=1e-5)


def test_training_that_diverges_has_no_last_accuracy(finished):
    found = train_one(section_of(name="SGD", lr=1e30).model_copy(update={"dtype": "float32"}))
    assert 0 <= found.accuracies[0] <= 1
    assert math.isnan(found.accuracies[-1])
    assert math.isnan(found.cross_entropy)


def test_target_is_reached_at_the_first_epoch_not_below_it():
    assert epochs_to_target(np.array([0.1, 0.6, 0.5, 0.7]), 0.6) == 1
    assert epochs_to_target(np.array([0.1, 0.6]), 0.61) == INFINITY
    assert epochs_to_target(np.array([0.1, NAN]), 0.2) == INFINITY


def test_measures_are_median_and_range_over_seeds():
    runs = [
        Trained(np.array([0.1, 0.8, 0.9]), 0.5),
        Trained(np.array([0.7, 0.8, 0.6]), 0.2),
        Trained(np.array([0.1, NAN, NAN]), NAN),
    ]
    assert measures(runs, 0.8) == [
        (1, 1, INFINITY),
        (0.6, -INFINITY, 0.9),
        (0.5, 0.2, INFINITY),
    ]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((57.0, 9.0, 95.0), "57 [9, 95]"),
        ((57.0, 9.0, INFINITY), "57 [9, -]"),
        ((INFINITY, 9.0, INFINITY), "- [9, -]"),
        ((INFINITY, INFINITY, INFINITY), "-"),
        ((0.6, -INFINITY, 0.9), "0.6 [-, 0.9]"),
    ],
)
def test_range_shows_what_was_not_reached(values, text):
    assert format_range(values) == text


def test_target_of_a_simulation_is_of_the_bayes_accuracy(finished):
    """Phi(|d| / 2 std) for the two clusters at a distance of 0.6 sqrt(2), with std 0.25."""
    expected = 0.5 * (1 + math.erf(0.6 * math.sqrt(2) / 0.5 / math.sqrt(2)))
    assert best_accuracy({}) == pytest.approx(expected, abs=1e-6)


def test_target_of_a_custom_table_is_of_the_best_median(finished, monkeypatch):
    tensors, metadata = load_tensors("data/tensors/classification.safetensors")
    custom = tensors, metadata.model_copy(update={"truth": None})
    monkeypatch.setattr("stages.shared.tensors.load_tensors", lambda _: custom)
    curves = {
        "logits": {
            "SGD": np.array([[0.1, 0.5], [0.2, 0.9], [0.3, 0.7]]),
            "Adam": np.array([[0.4, NAN], [0.6, NAN], [0.5, NAN]]),
        }
    }
    assert best_accuracy(curves) == 0.7


def test_grid_is_trained_and_shown(finished, capsys):
    main(["--only", "SGD,Adam,SGD", "--epochs", "2", "--seeds", "2"])
    printed = capsys.readouterr().out.splitlines()
    with open(optimizers.TABLE, newline="") as file:
        head, *rows = csv.reader(file)
    assert head[:5] == [
        "optimizer",
        "loss_on",
        "epochs_to_target_median",
        "epochs_to_target_lowest",
        "epochs_to_target_highest",
    ]
    names = [("SGD", "probabilities"), ("Adam", "probabilities"), ("SGD", "logits")]
    assert [tuple(row[:2]) for row in rows] == [*names, ("Adam", "logits")]
    first, second = sorted(
        train_one(section_of(name="Adam", seed=seed, lr=1e-3, epochs=2)).cross_entropy
        for seed in range(2)
    )
    assert rows[3][8:] == [f"{value:.6g}" for value in ((first + second) / 2, first, second)]
    assert len(printed) == 6
    assert printed[5].startswith("| Adam | logits | ")
    with Image.open(optimizers.FIGURE) as image:
        assert np.asarray(image.convert("L")).min() < 80


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--only", "sgd"], "--only must list some of .*; got 'sgd'. Did you mean 'SGD'?"),
        (["--epochs", "0"], "--epochs must be an integer >= 1; got 0."),
        (["--seeds", "0"], "--seeds must be an integer >= 1; got 0."),
        (["--lr", "-1"], "--lr must be a number from 0 to 1e30; got -1.0."),
        (["--lr", "1e31"], "--lr must be a number from 0 to 1e30; got 1e+31."),
        (["--lr", "nan"], "--lr must be a number from 0 to 1e30; got nan."),
    ],
)
def test_invalid_argument_is_rejected_in_one_sentence(article, arguments, sentence):
    with pytest.raises(UserError, match=re.escape(sentence).replace(r"\.\*", ".*")):
        main(arguments)


def test_missing_tensors_are_reported(article):
    with pytest.raises(
        UserError, match=r"classification.safetensors is missing; run `dvc repro`\."
    ):
        main(["--epochs", "1"])
