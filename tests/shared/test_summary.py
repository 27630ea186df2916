import sys
from typing import Any

import pytest

from conftest import PROJECT, run
from stages.core.errors import UserError
from stages.shared.summary import MAX_WEIGHTS, Row, summarize

SIMULATED: dict[str, Any] = {
    "train_regression": {"loss": 2.0},
    "train_classifier": {"loss": 12.0},
    "regression": {
        "least_squares_loss": 1.0,
        "weight": 3.0,
        "least_squares_weight": 4.0,
        "test": {"mse": 5.0, "r2": 6.0},
        "noise_variance": 7.0,
        "noise_r2": 8.0,
    },
    "classifier": {
        "loss_floor": 11.0,
        "train": {"accuracy": 13.0, "cross_entropy": 14.0},
        "test": {"accuracy": 15.0, "cross_entropy": 16.0},
        "bayes_accuracy": 17.0,
        "bayes_cross_entropy": 18.0,
    },
}
CUSTOM: dict[str, Any] = {
    "train_regression": {"loss": 2.0},
    "train_classifier": {"loss": 12.0},
    "regression": {
        "least_squares_loss": 1.0,
        "weights": {"a": 21.0, "b": 22.0},
        "least_squares_weights": {"b": 24.0, "a": 23.0},
        "bias": 25.0,
        "least_squares_bias": 26.0,
        "test": {"mse": 5.0, "r2": 6.0},
        "least_squares": {"train": {}, "test": {"mse": 27.0, "r2": 28.0}},
        "mean": {"train": {"mse": 0.0}, "test": {"mse": 29.0}},
    },
    "classifier": {
        "loss_floor": 0.0,
        "train": {"accuracy": 13.0, "cross_entropy": 14.0},
        "test": {"accuracy": 15.0, "cross_entropy": 16.0},
        "majority": {"train": {"accuracy": 31.0}, "test": {"accuracy": 32.0}},
        "prior": {"train": {"cross_entropy": 33.0}, "test": {"cross_entropy": 34.0}},
    },
}


def test_metrics_of_simulated_data_stand_next_to_theory() -> None:
    assert summarize(SIMULATED) == {
        "regression": [
            ("training loss", 2, "least squares", 1),
            ("weight", 3, "least squares", 4),
            ("test MSE", 5, "noise variance", 7),
            ("test R²", 6, "expected for true line", 8),
        ],
        "classifier": [
            ("training loss", 12, "loss floor", 11),
            ("training accuracy", 13, "Bayes accuracy", 17),
            ("training cross entropy", 14, "Bayes cross entropy", 18),
            ("test accuracy", 15, "Bayes accuracy", 17),
            ("test cross entropy", 16, "Bayes cross entropy", 18),
        ],
    }


def test_metrics_of_a_custom_table_stand_next_to_baselines_of_the_same_part() -> None:
    assert summarize(CUSTOM) == {
        "regression": [
            ("training loss", 2, "least squares", 1),
            ("bias", 25, "least squares", 26),
            ("weight of a", 21, "least squares", 23),
            ("weight of b", 22, "least squares", 24),
            ("test MSE", 5, "least squares", 27),
            ("test MSE", 5, "mean of the target", 29),
            ("test R²", 6, "least squares", 28),
        ],
        "classifier": [
            ("training loss", 12, "loss floor", 0),
            ("training accuracy", 13, "majority class", 31),
            ("training cross entropy", 14, "class frequencies", 33),
            ("test accuracy", 15, "majority class", 32),
            ("test cross entropy", 16, "class frequencies", 34),
        ],
    }


@pytest.mark.parametrize(
    ("n_features", "remark"),
    [
        (MAX_WEIGHTS, []),
        (MAX_WEIGHTS + 1, ["… and 1 more weight"]),
        (300, ["… and 290 more weights"]),
    ],
)
def test_ten_weights_are_shown_and_the_others_counted(n_features: int, remark: list[str]) -> None:
    weights = {f"x{number:03}": 1.0 for number in range(n_features)}
    regression = CUSTOM["regression"] | {"weights": weights, "least_squares_weights": weights}
    rows = summarize(CUSTOM | {"regression": regression})["regression"]
    names = [row.metric for row in rows if "weight" in row.metric]
    assert names == [f"weight of x{number:03}" for number in range(MAX_WEIGHTS)] + remark


@pytest.mark.parametrize(
    ("row", "cells"),
    [
        (Row("a", 0.12345678, "b", 1e-7), ("a", "0.123457", "b", "1e-07")),
        (Row("test R²", None, "b", None), ("test R²", "undefined", "b", "undefined")),
        (Row("… and 2 more", None, "", None), ("… and 2 more", "", "", "")),
    ],
)
def test_cells_have_six_digits_and_a_remark_has_only_its_text(
    row: Row, cells: tuple[str, ...]
) -> None:
    assert row.cells() == cells


@pytest.mark.parametrize("task", ["regression", "classifier"])
@pytest.mark.parametrize("content", [{}, [], {"test": 1}])
def test_metrics_of_another_version_are_rejected(task: str, content: object) -> None:
    with pytest.raises(UserError, match="files in metrics/ do not match .* run `dvc repro`."):
        summarize(SIMULATED | {task: content})


def test_import_is_light() -> None:
    code = "import stages.shared.summary, sys; print([*{'numpy', 'torch'} & sys.modules.keys()])"
    done = run(sys.executable, "-c", code, cwd=PROJECT)
    assert (done.stdout, done.stderr) == ("[]\n", "")
