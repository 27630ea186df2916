import json
from pathlib import Path

import pytest
import torch
from sklearn.linear_model import LinearRegression, LogisticRegression

from stages.core.errors import UserError
from tools import baselines


def test_regression_is_fitted_to_one_part_and_scored_on_the_other():
    tensors = {
        "x_train": torch.tensor([0.0, 1]),
        "y_train": torch.tensor([0.0, 1]),
        "x_test": torch.tensor([2.0, 3]),
        "y_test": torch.tensor([2.0, 5]),
    }
    # The line y = x leaves 0 and 4 as squared errors; the test mean of 3.5 leaves 2.25 twice.
    score = baselines.score(LinearRegression(), tensors, "x")
    assert score == pytest.approx(1 - 4 / 4.5)


def test_classes_are_scored_by_accuracy():
    X, y = torch.tensor([[0.0, 1], [1, 0]]), torch.tensor([0, 1])
    tensors = {
        "X_train": X,
        "y_train": y,
        "X_test": X[[0, 0, 1, 1]],
        "y_test": torch.tensor([0, 1, 1, 1]),
    }
    assert baselines.score(LogisticRegression(), tensors, "X") == 0.75


def test_both_models_are_shown_next_to_scikit_learns(finished, capsys):
    baselines.main([])
    regression, classifier = capsys.readouterr().out.splitlines()
    metrics = json.loads(Path("metrics/evaluate.json").read_text())
    assert f"  {metrics['regression']['test']['r2']:.6g}  LinearRegression" in regression
    assert f"  {metrics['classifier']['test']['accuracy']:.6g}  LogisticRegression" in classifier


def test_r2_of_one_test_row_is_left_open(finished, capsys):
    metrics = json.loads(Path("metrics/evaluate.json").read_text())
    metrics["regression"]["test"]["r2"] = None
    Path("metrics/evaluate.json").write_text(json.dumps(metrics))
    baselines.main([])
    assert "test R^2       -  LinearRegression" in capsys.readouterr().out


def test_missing_results_are_reported(small):
    with pytest.raises(UserError, match="^metrics/evaluate.json is missing; run `dvc repro`.$"):
        baselines.main([])
