"""Compare the pipeline's models with scikit-learn's, all scored on the same tensors.

    python -m tools.baselines

Linear models (LinearRegression, and LogisticRegression on standardized features) and boosted trees
(HistGradientBoostingRegressor and HistGradientBoostingClassifier) are fitted to the training part
of data/tensors/ with their defaults (but for more iterations). They and the models in data/models/
are scored on the validation and the test part.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.core.startup import without_gc
from stages.shared.splits import SPLITS
from tools.cli import make_parser, run
from tools.text_tables import format_table

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

HEAD = ("", "part", "ours", "linear", "boosting")
PARTS = {"valid": "validation", "test": "test"}

Scores = Mapping[str, Mapping[str, float | None]]
Tensors = Mapping[str, "Tensor"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool."""
    make_parser("baselines", __doc__).parse_args(arguments)
    with without_gc():
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
        from sklearn.linear_model import LinearRegression, LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        from stages.shared.tensors import load_tensors
    regression, metadata = load_tensors("data/tensors/regression.safetensors")
    regressors = (
        Regression("data/models/regression.safetensors", metadata),
        LinearRegression(),
        HistGradientBoostingRegressor(random_state=0),
    )
    classification, metadata = load_tensors("data/tensors/classification.safetensors")
    classifiers = (
        Classifier("data/models/classifier.safetensors", metadata),
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        HistGradientBoostingClassifier(random_state=0),
    )
    rows = table_rows([score(model, regression, "x") for model in regressors])
    rows += table_rows([score(model, classification, "X") for model in classifiers])
    print(format_table(HEAD, rows))


class Regression:
    """The trained regression, with scikit-learn's methods."""

    def __init__(self, path: str, data: Any) -> None:
        """Read the model; `data` is the metadata of the tensors, which must be those of its own."""
        from stages.shared.models import load_regression

        self.weight, self.bias, metadata = load_regression(path)
        check_same_run(path, metadata.without_loss() == data)

    def fit(self, X: "np.ndarray", y: "np.ndarray") -> None:
        """Do nothing: the model is trained."""

    def predict(self, X: "np.ndarray") -> "np.ndarray":
        """Return the predictions, (n,), in the units of the tensors, for X, (n, n_features)."""
        import torch

        from stages.shared.linear import predict_linear

        return predict_linear(torch.from_numpy(X), self.weight, self.bias).numpy()


class Classifier:
    """The trained classifier, with scikit-learn's methods."""

    def __init__(self, path: str, data: Any) -> None:
        """Read the model; `data` is the metadata of the tensors, which must be those of its own."""
        from stages.shared.models import load_classifier

        self.network, metadata = load_classifier(path)
        self.classes_ = list(range(len(metadata.labels)))
        check_same_run(path, metadata.without_loss() == data)

    def fit(self, X: "np.ndarray", y: "np.ndarray") -> None:
        """Do nothing: the model is trained."""

    def predict(self, X: "np.ndarray") -> "np.ndarray":
        """Return the classes, (n,), for X, (n, n_features)."""
        return self.predict_proba(X).argmax(axis=1)

    def predict_proba(self, X: "np.ndarray") -> "np.ndarray":
        """Return the probabilities, (n, n_classes), for X, (n, n_features)."""
        import torch

        with torch.no_grad():
            return self.network(torch.from_numpy(X)).numpy()


def check_same_run(path: str, is_same: bool) -> None:
    """Raise UserError if a model was trained on other tensors."""
    if not is_same:
        raise UserError(f"{path} was not trained on the tensors in data/tensors/; run `dvc repro`.")


def score(model: Any, tensors: Tensors, features: str) -> Scores:
    """Return the scores by split of a model, fitted to the training part.

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
        "R^2": r2_score(y, y_hat) if y.min() < y.max() else None,
        "RMSE": root_mean_squared_error(y, y_hat),
        "MAE": mean_absolute_error(y, y_hat),
    }


def score_classifier(model: Any, X: "np.ndarray", y: "np.ndarray") -> dict[str, float | None]:
    """Return the scores of a fitted model on one part; classes that it lacks have no recall.

    AUC is that of two classes, None where the part has one of them.
    """
    from sklearn.metrics import accuracy_score, f1_score, log_loss, recall_score, roc_auc_score

    predicted, probabilities = model.predict(X), model.predict_proba(X)
    present = sorted(set(y.tolist()))
    scores: dict[str, float | None] = {
        "accuracy": accuracy_score(y, predicted),
        "balanced accuracy": float(recall_score(y, predicted, labels=present, average="macro")),
        "macro F1": float(f1_score(y, predicted, average="macro", zero_division=0)),
        "cross entropy": log_loss(y, probabilities, labels=model.classes_),
    }
    if len(model.classes_) == 2:
        scores["AUC"] = float(roc_auc_score(y, probabilities[:, 1])) if len(present) == 2 else None
    return scores


def table_rows(models: Sequence[Scores]) -> list[tuple[str, ...]]:
    """Return a row per metric and part with the score of each model; `-` is undefined."""
    return [
        (name, part, *(format_score(model[split][name]) for model in models))
        for name in models[0]["test"]
        for split, part in PARTS.items()
    ]


def format_score(value: float | None) -> str:
    """Return a score with four digits."""
    return "-" if value is None else f"{value:.4g}"


if __name__ == "__main__":
    run(main)
