import json
import math
from pathlib import Path

import pytest
import torch
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression

from stages.core.errors import UserError
from tools import baselines


def test_regression_is_fitted_to_one_part_and_scored_on_the_others():
    tensors = {
        "x_train": torch.tensor([0.0, 1]),
        "y_train": torch.tensor([0.0, 1]),
        "x_valid": torch.tensor([4.0]),
        "y_valid": torch.tensor([6.0]),
        "x_test": torch.tensor([2.0, 3]),
        "y_test": torch.tensor([2.0, 5]),
    }
    scores = baselines.score(LinearRegression(), tensors, "x")
    # The line y = x leaves 0 and 4 as squared errors; the test mean of 3.5 leaves 2.25 twice.
    assert scores["test"] == {
        "r2": pytest.approx(1 - 4 / 4.5),
        "rmse": pytest.approx(2**0.5),
        "mae": pytest.approx(1),
    }
    assert scores["valid"] == {"r2": None, "rmse": pytest.approx(2), "mae": pytest.approx(2)}


def classes(y_valid, y_test):
    X = torch.tensor([[0.0, 1], [1, 0]])
    return {
        "X_train": X[[0, 1, 1, 1]],
        "y_train": torch.tensor([0, 1, 1, 1]),
        "X_valid": X[[0] * len(y_valid)],
        "y_valid": torch.tensor(y_valid),
        "X_test": X[[0, 0, 1, 1]],
        "y_test": torch.tensor(y_test),
    }


def test_classes_are_scored():
    scores = baselines.score(LogisticRegression(C=1e3), classes([0, 1], [0, 1, 1, 1]), "X")
    assert scores["test"]["accuracy"] == 0.75
    assert scores["test"]["balanced_accuracy"] == pytest.approx((1 + 2 / 3) / 2)
    assert scores["valid"]["accuracy"] == 0.5


def test_cross_entropy_of_a_part_without_a_class_counts_the_probabilities_of_all():
    scores = baselines.score(DummyClassifier(), classes([1, 1], [0, 0, 0, 1]), "X")
    assert scores["valid"]["cross_entropy"] == pytest.approx(-math.log(0.75))
    assert scores["valid"]["balanced_accuracy"] == 1
    expected = -(3 * math.log(0.25) + math.log(0.75)) / 4
    assert scores["test"]["cross_entropy"] == pytest.approx(expected)


def test_all_models_stand_in_one_table(finished, capsys):
    metrics = json.loads(Path("metrics/evaluate.json").read_text())
    baselines.main([])
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["part", "ours", "linear", "boosting"]
    assert len(rows) == 12
    keys = {"R^2": "r2", "RMSE": "rmse", "MAE": "mae"}
    keys |= {"accuracy": "accuracy", "balanced accuracy": "balanced_accuracy"}
    keys |= {"cross entropy": "cross_entropy"}
    for row, (name, part) in zip(
        rows, [(name, part) for name in keys for part in ("valid", "test")], strict=True
    ):
        task = "regression" if name in ("R^2", "RMSE", "MAE") else "classifier"
        ours = f"{metrics[task][part][keys[name]]:.4g}"
        words = row.removeprefix(name).split()
        assert words[:2] == ["validation" if part == "valid" else "test", ours]
        assert len(words) == 4
    assert len({row.index(row.split()[-1]) for row in rows if "R^2" in row}) == 1  # aligned


def test_r2_of_one_test_row_is_left_open(finished, capsys):
    metrics = json.loads(Path("metrics/evaluate.json").read_text())
    metrics["regression"]["test"]["r2"] = None
    Path("metrics/evaluate.json").write_text(json.dumps(metrics))
    baselines.main([])
    assert capsys.readouterr().out.splitlines()[2].split()[:3] == ["R^2", "test", "-"]


def test_missing_results_are_reported(small):
    with pytest.raises(UserError, match="^metrics/evaluate.json is missing; run `dvc repro`.$"):
        baselines.main([])
