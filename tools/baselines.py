"""Compare the pipeline's models with scikit-learn's, fitted and scored on the same tensors.

    python -m tools.baselines

LinearRegression, and LogisticRegression on standardized features, are fitted to the training part
of data/tensors/ and scored on the test part.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stages.core.startup import without_gc
from stages.shared.metrics import read_json
from stages.shared.splits import SPLITS
from tools.cli import make_parser, run
from tools.text_tables import format_value

if TYPE_CHECKING:
    from torch import Tensor


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool."""
    make_parser("baselines", __doc__).parse_args(arguments)
    metrics = read_json("metrics/evaluate.json")
    with without_gc():
        from sklearn.linear_model import LinearRegression, LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        from stages.shared.tensors import load_tensors
    regression, _ = load_tensors("data/tensors/regression.safetensors")
    classification, _ = load_tensors("data/tensors/classification.safetensors")
    r2 = score(LinearRegression(), regression, "x")
    accuracy = score(make_pipeline(StandardScaler(), LogisticRegression()), classification, "X")
    ours = metrics["regression"]["test"]["r2"], metrics["classifier"]["test"]["accuracy"]
    print(f"test R^2       {format_value(ours[0])}  LinearRegression {r2:.6g}")
    print(f"test accuracy  {format_value(ours[1])}  LogisticRegression {accuracy:.6g}")


def score(model: Any, tensors: "Mapping[str, Tensor]", features: str) -> float:
    """Return R^2 or accuracy, on the test part, of a model fitted to the training part.

    `model` is an estimator of scikit-learn's; `features` is x or X, (n,) or (n, n_features).
    """
    X = {split: tensors[f"{features}_{split}"].double().numpy() for split in SPLITS}
    X = {split: values.reshape(len(values), -1) for split, values in X.items()}
    y = {split: tensors[f"y_{split}"].numpy() for split in SPLITS}
    return float(model.fit(X["train"], y["train"]).score(X["test"], y["test"]))


if __name__ == "__main__":
    run(main)
