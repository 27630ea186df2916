"""Compare the pipeline's models with scikit-learn's, fitted and scored on the same tensors.

    python -m tools.baselines

Linear models (LinearRegression, and LogisticRegression on standardized features) and boosted trees
(HistGradientBoostingRegressor and HistGradientBoostingClassifier) are fitted to the training part
of data/tensors/ with their defaults (but for more iterations), and scored on the validation and
the test part.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stages.core.startup import without_gc
from stages.shared.metrics import read_json
from stages.shared.splits import SPLITS
from tools.cli import make_parser, run
from tools.text_tables import format_table

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

HEAD = ("", "part", "ours", "linear", "boosting")
PARTS = {"valid": "validation", "test": "test"}
# How metrics/evaluate.json names them, and how the table does.
REGRESSION = {"r2": "R^2", "rmse": "RMSE", "mae": "MAE"}
CLASSIFICATION = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "cross_entropy": "cross entropy",
}

Scores = Mapping[str, Mapping[str, float | None]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool."""
    make_parser("baselines", __doc__).parse_args(arguments)
    metrics = read_json("metrics/evaluate.json")
    with without_gc():
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
        from sklearn.linear_model import LinearRegression, LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        from stages.shared.tensors import load_tensors
    regression, _ = load_tensors("data/tensors/regression.safetensors")
    classification, _ = load_tensors("data/tensors/classification.safetensors")
    regressors = (LinearRegression(), HistGradientBoostingRegressor(random_state=0))
    classifiers = (
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        HistGradientBoostingClassifier(random_state=0),
    )
    scores = [metrics["regression"], *(score(model, regression, "x") for model in regressors)]
    rows = table_rows(REGRESSION, scores)
    scores = [metrics["classifier"], *(score(model, classification, "X") for model in classifiers)]
    rows += table_rows(CLASSIFICATION, scores)
    print(format_table(HEAD, rows))


def score(model: Any, tensors: "Mapping[str, Tensor]", features: str) -> Scores:
    """Return the scores by split of a model of scikit-learn's, fitted to the training part.

    `features` is x for a regression, X for a classification; their shape is (n,) or
    (n, n_features).
    """
    X = {split: tensors[f"{features}_{split}"].double().numpy() for split in SPLITS}
    X = {split: values.reshape(len(values), -1) for split, values in X.items()}
    y = {split: tensors[f"y_{split}"].numpy() for split in SPLITS}
    model.fit(X["train"], y["train"])
    score_part = score_regressor if features == "x" else score_classifier
    return {split: score_part(model, X[split], y[split]) for split in PARTS}


def score_regressor(model: Any, X: "np.ndarray", y: "np.ndarray") -> dict[str, float | None]:
    """Return the scores of a fitted model on one part; R^2 of a constant target is None."""
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    y_hat = model.predict(X)
    return {
        "r2": r2_score(y, y_hat) if y.min() < y.max() else None,
        "rmse": root_mean_squared_error(y, y_hat),
        "mae": mean_absolute_error(y, y_hat),
    }


def score_classifier(model: Any, X: "np.ndarray", y: "np.ndarray") -> dict[str, float | None]:
    """Return the scores of a fitted model on one part; classes that it lacks have no recall."""
    from sklearn.metrics import accuracy_score, log_loss, recall_score

    predicted, present = model.predict(X), sorted(set(y.tolist()))
    return {
        "accuracy": accuracy_score(y, predicted),
        "balanced_accuracy": float(recall_score(y, predicted, labels=present, average="macro")),
        "cross_entropy": log_loss(y, model.predict_proba(X), labels=model.classes_),
    }


def table_rows(names: Mapping[str, str], models: Sequence[Scores]) -> list[tuple[str, ...]]:
    """Return a row per metric and part with the score of each model; `-` is undefined."""
    return [
        (name, part, *(format_score(model[split][key]) for model in models))
        for key, name in names.items()
        for split, part in PARTS.items()
    ]


def format_score(value: float | None) -> str:
    """Return a score with four digits."""
    return "-" if value is None else f"{value:.4g}"


if __name__ == "__main__":
    run(main)
