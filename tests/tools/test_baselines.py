import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression

from conftest import call_stage
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
        "R^2": pytest.approx(1 - 4 / 4.5),
        "RMSE": pytest.approx(2**0.5),
        "MAE": pytest.approx(1),
    }
    assert scores["valid"] == {"R^2": None, "RMSE": pytest.approx(2), "MAE": pytest.approx(2)}


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
    assert scores["test"]["balanced accuracy"] == pytest.approx((1 + 2 / 3) / 2)
    assert scores["valid"]["accuracy"] == 0.5
    # Row 0 of class 0 and row 1, alike, are predicted as 0; rows 2 and 3 as 1.
    assert scores["test"]["macro F1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert scores["test"]["AUC"] == pytest.approx((1 / 2 + 1 + 1) / 3)


def test_cross_entropy_of_a_part_without_a_class_counts_the_probabilities_of_all():
    scores = baselines.score(DummyClassifier(), classes([1, 1], [0, 0, 0, 1]), "X")
    assert scores["valid"]["cross entropy"] == pytest.approx(-math.log(0.75))
    assert scores["valid"]["balanced accuracy"] == 1
    assert scores["valid"]["AUC"] is None
    expected = -(3 * math.log(0.25) + math.log(0.75)) / 4
    assert scores["test"]["cross entropy"] == pytest.approx(expected)


def test_all_models_stand_in_one_table(finished, capsys):
    metrics = json.loads(Path("metrics/evaluate.json").read_text())
    baselines.main([])
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["part", "ours", "linear", "boosting"]
    assert len(rows) == 16
    keys = {"R^2": "r2", "RMSE": "rmse", "MAE": "mae"}
    keys |= {"accuracy": "accuracy", "balanced accuracy": "balanced_accuracy"}
    keys |= {"macro F1": "macro_f1", "cross entropy": "cross_entropy", "AUC": "auc"}
    for row, (name, part) in zip(
        rows, [(name, part) for name in keys for part in ("valid", "test")], strict=True
    ):
        task = "regression" if name in ("R^2", "RMSE", "MAE") else "classifier"
        ours = f"{metrics[task][part][keys[name]]:.4g}"
        words = row.removeprefix(name).split()
        assert words[:2] == ["validation" if part == "valid" else "test", ours]
        assert len(words) == 4
    assert len({row.index(row.split()[-1]) for row in rows if "R^2" in row}) == 1  # aligned


def test_three_classes_have_no_auc():
    class Thirds:
        classes_ = (0, 1, 2)

        def predict(self, X):
            return np.zeros(len(X), dtype=int)

        def predict_proba(self, X):
            return np.full((len(X), 3), 1 / 3)

    assert "AUC" not in baselines.score_classifier(Thirds(), np.zeros((3, 1)), np.arange(3))


def test_our_models_are_scored_whatever_the_metrics_of_an_earlier_run_say(finished, capsys):
    baselines.main([])
    expected = capsys.readouterr().out
    shutil.rmtree("metrics")
    baselines.main([])
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_model_of_other_tensors_is_not_scored(finished, task):
    finished({f"convert_to_tensors.{task}.standardize": True})
    call_stage("convert_to_tensors")
    model = "regression" if task == "regression" else "classifier"
    with pytest.raises(
        UserError,
        match=rf"^data/models/{model}.safetensors was not trained on the tensors in "
        r"data/tensors/; run `dvc repro`\.$",
    ):
        baselines.main([])


@pytest.mark.parametrize("model", ["regression", "classifier"])
def test_missing_model_is_reported(finished, model):
    Path(f"data/models/{model}.safetensors").unlink()
    with pytest.raises(UserError, match=f"^data/models/{model}.safetensors is missing; run `dvc"):
        baselines.main([])


def test_missing_tensors_are_reported(small):
    with pytest.raises(UserError, match="^data/tensors/regression.safetensors is missing; run"):
        baselines.main([])
