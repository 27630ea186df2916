"""The metrics as rows that a person reads, each next to its reference: theory or a baseline.

The report and `python -m tools.summary` show the same rows.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from stages.core.errors import UserError

# Together they hold train_regression, train_classifier, regression and classifier.
METRICS = (
    "metrics/train_regression.json",
    "metrics/train_classifier.json",
    "metrics/evaluate.json",
)
MAX_WEIGHTS = 10

Metrics = Mapping[str, Any]


class Row(NamedTuple):
    """A metric next to its reference; a row without a reference is a remark.

    R² is None where the target is constant.
    """

    metric: str
    value: float | None
    reference: str
    reference_value: float | None

    def cells(self) -> tuple[str, str, str, str]:
        """Return the row as text."""
        if not self.reference:
            return self.metric, "", "", ""
        value, reference_value = map(format_number, (self.value, self.reference_value))
        return self.metric, value, self.reference, reference_value


def format_number(value: float | None) -> str:
    """Return a metric as text; metrics are stored with six significant digits."""
    return "undefined" if value is None else f"{value:.6g}"


def summarize(metrics: Metrics) -> dict[str, list[Row]]:
    """Return the rows of both tasks from the content of all METRICS together.

    Raises UserError for metrics that another version of the project wrote.
    """
    try:
        return {
            "regression": list(regression_rows(metrics)),
            "classifier": list(classifier_rows(metrics)),
        }
    except (LookupError, TypeError, ValueError, AttributeError):
        raise UserError(
            "The files in metrics/ do not match this version of the project; run `dvc repro`."
        ) from None


def regression_rows(metrics: Metrics) -> Iterator[Row]:
    """Yield the rows of the regression."""
    regression, loss = metrics["regression"], metrics["train_regression"]["loss"]
    yield Row("training loss", loss, "least squares", regression["least_squares_loss"])
    for name in ("weight", "bias"):
        if name in regression:
            best = regression[f"least_squares_{name}"]
            yield Row(name, regression[name], "least squares", best)
    yield from weight_rows(regression)
    mse, r2 = regression["test"]["mse"], regression["test"]["r2"]
    if "noise_variance" in regression:
        yield Row("test MSE", mse, "noise variance", regression["noise_variance"])
        yield Row("test R²", r2, "expected for true line", regression["noise_r2"])
        return
    best = regression["least_squares"]["test"]
    yield Row("test MSE", mse, "least squares", best["mse"])
    yield Row("test MSE", mse, "mean of the target", regression["mean"]["test"]["mse"])
    yield Row("test R²", r2, "least squares", best["r2"])


def weight_rows(regression: Metrics) -> Iterator[Row]:
    """Yield a row per feature if there are several, MAX_WEIGHTS at most, then how many more."""
    weights = regression.get("weights", {})
    for name, value in islice(weights.items(), MAX_WEIGHTS):
        best = regression["least_squares_weights"][name]
        yield Row(f"weight of {name}", value, "least squares", best)
    n_left_out = len(weights) - MAX_WEIGHTS
    if n_left_out > 0:
        yield Row(f"… and {n_left_out} more weight{'s' * (n_left_out > 1)}", None, "", None)


def classifier_rows(metrics: Metrics) -> Iterator[Row]:
    """Yield the rows of the classifier."""
    classifier, loss = metrics["classifier"], metrics["train_classifier"]["loss"]
    yield Row("training loss", loss, "loss floor", classifier["loss_floor"])
    is_simulated = "bayes_accuracy" in classifier
    for split, name in (("train", "training"), ("test", "test")):
        scores = classifier[split]
        if is_simulated:
            accuracy = ("Bayes accuracy", classifier["bayes_accuracy"])
            cross_entropy = ("Bayes cross entropy", classifier["bayes_cross_entropy"])
        else:
            accuracy = ("majority class", classifier["majority"][split]["accuracy"])
            cross_entropy = ("class frequencies", classifier["prior"][split]["cross_entropy"])
        yield Row(f"{name} accuracy", scores["accuracy"], *accuracy)
        yield Row(f"{name} cross entropy", scores["cross_entropy"], *cross_entropy)
