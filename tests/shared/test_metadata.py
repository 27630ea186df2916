"""The record that travels with tensors and models."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from conftest import feature_columns
from stages.shared.metadata import (
    ClassificationTruth,
    FeatureColumn,
    Metadata,
    RegressionTruth,
)
from stages.shared.scaling import Scaling

LINE = RegressionTruth(seed=0, n_samples=5, n_valid=3, n_test=3, weight=2.0, noise_std=0.3)
CLUSTERS = ClassificationTruth(
    seed=0,
    n_samples_per_class=4,
    n_valid_per_class=2,
    n_test_per_class=2,
    centers=((0.0, 1.0), (1.0, 0.0)),
    std=0.25,
)
REGRESSION = Metadata(task="regression", columns=feature_columns("x"), target="y", truth=LINE)
CLASSIFICATION = Metadata(
    task="classification",
    columns=feature_columns("a", "b"),
    target="c",
    labels=("u", "v"),
    scaling=Scaling(mean=(0.0, 1.0), scale=(1.0, 2.0)),
    truth=CLUSTERS,
    loss_on="logits",
)


@pytest.mark.parametrize(
    "metadata",
    [REGRESSION, CLASSIFICATION, CLASSIFICATION.model_copy(update={"labels": (3, 7)})],
)
def test_json_gives_the_same_record_again(metadata: Metadata) -> None:
    again = Metadata.model_validate_json(metadata.to_json())
    assert again == metadata
    assert type(again.truth) is type(metadata.truth)
    assert again.to_json() == metadata.to_json()


def test_json_holds_what_is_known_and_sorts_its_keys() -> None:
    metadata = Metadata(task="regression", columns=feature_columns("é"), target="y")
    content = {
        "columns": [{"categories": [], "name": "é"}],
        "labels": [],
        "missing": "refuse",
        "target": "y",
        "task": "regression",
    }
    assert json.loads(metadata.to_json()) == content
    assert list(json.loads(metadata.to_json())) == sorted(content)


CONTRADICTIONS: list[dict[str, Any]] = [
    {"columns": []},
    {"columns": [{"name": "a"}, {"name": "a"}]},
    {"columns": [{"name": "a=x"}, {"name": "a", "categories": ["x"]}]},
    {"columns": [{"name": "a"}]},  # with a scaling of two
    {"columns": "ab"},
    {"columns": [{"name": "a"}, {"name": "b", "categories": "xy"}]},
    {"columns": [{"name": "a"}, {"name": "b", "fill": [1]}]},
    {"missing": "ignore"},
    {"target_mean": "0"},
    {"target": 3},
    {"task": "regression"},
    {"task": "clustering"},
    {"labels": []},
    {"labels": ["u"]},
    {"labels": ["u", "u"]},
    {"labels": ["u", 1]},
    {"labels": [True, False]},
    {"labels": [0.5, 1.5]},
    {"labels": [0, 10**30]},
    {"scaling": {"mean": [0.0], "scale": [1.0]}},
    {"scaling": {"mean": [0.0, 0.0], "scale": [0.0, 1.0]}},
    {"scaling": {"mean": [0.0, 0.0]}},
    {"loss_on": "x"},
    {"truth": {"std": 0.25}},
    {"code": "import os"},
]


@pytest.mark.parametrize("change", CONTRADICTIONS, ids=str)
def test_record_that_contradicts_itself_is_rejected(change: dict[str, Any]) -> None:
    text = json.dumps(json.loads(CLASSIFICATION.to_json()) | change)
    with pytest.raises(ValidationError):
        Metadata.model_validate_json(text)


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "null", r'{"target": "\ud800"}'])
def test_other_than_a_record_is_rejected(text: str) -> None:
    with pytest.raises(ValidationError):
        Metadata.model_validate_json(text)


@pytest.mark.parametrize(
    ("features", "target", "expected"),
    [
        (("x",), "y", True),
        (("y",), "x", False),
        (("x", "z"), "y", False),
    ],
)
def test_truth_describes_the_simulated_regression_alone(
    features: tuple[str, ...], target: str, expected: bool
) -> None:
    assert LINE.describes(features, target) is expected


@pytest.mark.parametrize(
    ("features", "target", "expected"),
    [
        (("x1", "x2"), "label", True),
        (("x2", "x1"), "label", False),
        (("x1",), "label", False),
        (("x1", "label"), "x2", False),
    ],
)
def test_truth_describes_the_simulated_classes_alone(
    features: tuple[str, ...], target: str, expected: bool
) -> None:
    assert CLUSTERS.describes(features, target) is expected


def test_metadata_of_a_model_without_its_loss_is_that_of_its_tensors() -> None:
    data = Metadata(task="regression", columns=feature_columns("x"), target="y")
    model = data.model_copy(update={"loss_reduction": "sum"})
    assert model != data
    assert model.without_loss() == data


def test_features_are_the_columns_of_numbers_and_the_categories_of_text() -> None:
    columns = (FeatureColumn(name="a"), FeatureColumn(name="sex", categories=("f", "m"), fill="m"))
    metadata = Metadata(task="regression", columns=columns, target="y")
    assert metadata.features == ("a", "sex=f", "sex=m")
    assert Metadata.model_validate_json(metadata.to_json()) == metadata
