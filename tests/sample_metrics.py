"""Metrics as the stages write them, each with a number of its own."""

from typing import Any


def by_split(key: str, *values: float | None) -> dict[str, dict[str, float | None]]:
    return {
        split: {key: value} for split, value in zip(("train", "valid", "test"), values, strict=True)
    }


def merged(*parts: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return scores by split from those of each key."""
    return {split: {k: v for part in parts for k, v in part[split].items()} for split in parts[0]}


REGRESSION = merged(
    by_split("mse", 5, 6, 7),
    by_split("rmse", 8, 9, 10),
    by_split("mae", 11, 12, 13),
    by_split("r2", 0.5, 0.25, None),
)
CLASSIFIER = merged(
    by_split("accuracy", 0.5, 0.75, 0.25),
    by_split("accuracy_low", 0.4444, 0.7, 0),
    by_split("accuracy_high", 0.6, 0.8, 1),
    by_split("balanced_accuracy", 41, 42, 43),
    by_split("macro_f1", 44, 45, 46),
    by_split("cross_entropy", 47, 48, 49),
)
AUC = by_split("auc", 50, 51, 52)
LOSSES: dict[str, Any] = {
    "train_regression": {"loss": 2.0, "valid_loss": 3.0},
    "train_classifier": {"loss": 12.0, "valid_loss": 13.0, "valid_accuracy": 14.0},
    "warnings": {"a": 1},
    "warning_texts": ["Something is wrong. Mend it."],
}
SIMULATED: dict[str, Any] = LOSSES | {
    "regression": REGRESSION
    | {
        "least_squares_loss": 1.0,
        "noise_variance": 14.0,
        "noise_r2": 15.0,
        "true_line": merged(
            by_split("mse", 21, 22, 23),
            by_split("rmse", 24, 25, 26),
            by_split("mae", 27, 28, 29),
            by_split("r2", 30, 31, None),
        ),
    },
    "classifier": merged(CLASSIFIER, AUC)
    | {
        "loss_floor": 11.0,
        "bayes": merged(by_split("accuracy", 61, 62, 63), by_split("cross_entropy", 64, 65, 66)),
        "bayes_accuracy": 67.0,
        "bayes_cross_entropy": 68.0,
    },
    "weights": [{"feature": "x", "weight": "1.5", "least_squares": "1.25"}],
}
CUSTOM: dict[str, Any] = LOSSES | {
    "regression": REGRESSION
    | {
        "least_squares_loss": 1.0,
        "bias": 16.0,
        "least_squares_bias": 17.0,
        "least_squares": SIMULATED["regression"]["true_line"],
        "mean": merged(
            by_split("mse", 71, 72, 73), by_split("rmse", 74, 75, 76), by_split("mae", 77, 78, 79)
        ),
    },
    "classifier": CLASSIFIER
    | {
        "loss_floor": 0.0,
        "majority": by_split("accuracy", 81, 82, 83),
        "prior": by_split("cross_entropy", 84, 85, 86),
    },
    "weights": [
        {"feature": "b", "weight": "1", "least_squares": "2"},
        {"feature": "a", "weight": "3", "least_squares": "4"},
    ],
}
