"""The metrics as rows that a person reads, each next to its references: theory or baselines.

The report and `python -m tools.summary` show the same rows.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from stages.core.errors import UserError
from stages.shared.metrics import read_json, read_rows
from stages.shared.splits import SPLITS

# Together they hold train_regression, train_classifier, regression, classifier, warnings.
METRICS = (
    "metrics/train_regression.json",
    "metrics/train_classifier.json",
    "metrics/evaluate.json",
)
WEIGHTS = "metrics/regression_weights.csv"
MAX_WEIGHTS = 10

Metrics = Mapping[str, Any]


class Row(NamedTuple):
    """A metric on the training, validation and test rows, as text, "" where it is not measured.

    A reference belongs to the metric above it. The terminal leaves out details.
    """

    name: str
    train: str
    valid: str
    test: str
    is_reference: bool = False
    is_detail: bool = False


class Weight(NamedTuple):
    """A coefficient next to that of least squares, as text; without numbers it is a remark."""

    name: str
    trained: str
    least_squares: str


class Summary(NamedTuple):
    """The rows of both tasks, the coefficients of the regression, and what looks wrong."""

    regression: list[Row]
    weights: list[Weight]
    classifier: list[Row]
    warnings: list[str]


def read_metrics() -> dict[str, Any]:
    """Return the content of all METRICS, with the rows of WEIGHTS as `weights`."""
    metrics = {key: value for path in METRICS for key, value in read_json(path).items()}
    return metrics | {"weights": read_rows(WEIGHTS)}


def summarize(metrics: Metrics) -> Summary:
    """Return the rows from what read_metrics returns.

    Raises UserError for metrics that another version of the project wrote.
    """
    try:
        return Summary(
            list(regression_rows(metrics)),
            list(weight_rows(metrics)),
            list(classifier_rows(metrics)),
            list(metrics["warning_texts"]),
        )
    except (LookupError, TypeError, ValueError, AttributeError):
        raise UserError(
            "The files in metrics/ do not match this version of the project; run `dvc repro`."
        ) from None


def format_number(value: float | None) -> str:
    """Return a metric as text; metrics are stored with six significant digits."""
    return "undefined" if value is None else f"{value:.6g}"


def score_row(name: str, scores: Metrics, key: str, is_detail: bool = False) -> Row:
    """Return the row of one score by split."""
    train, valid, test = (format_number(scores[split][key]) for split in SPLITS)
    return Row(name, train, valid, test, is_detail=is_detail)


def reference(row: Row, is_detail: bool = False) -> Row:
    """Return a row as a reference of the metric above."""
    return row._replace(is_reference=True, is_detail=is_detail)


def expected(name: str, value: float) -> Row:
    """Return what theory expects of every part, a reference."""
    return Row(name, *[format_number(value)] * 3, is_reference=True)


def loss_rows(metrics: Metrics, name: str, lowest: float) -> Iterator[Row]:
    """Yield the loss at the end of training and the lowest that it could be, which has a name."""
    yield Row("loss", format_number(metrics["loss"]), format_number(metrics["valid_loss"]), "")
    yield reference(Row(name, format_number(lowest), "", ""))


def regression_rows(metrics: Metrics) -> Iterator[Row]:
    """Yield the rows of the regression."""
    scores, loss = metrics["regression"], metrics["train_regression"]
    is_simulated = "true_line" in scores
    yield from loss_rows(loss, "least squares", scores["least_squares_loss"])
    for name, key in (("MSE", "mse"), ("RMSE", "rmse"), ("MAE", "mae"), ("R²", "r2")):
        is_detail = key == "rmse"
        yield score_row(name, scores, key, is_detail)
        if is_simulated:
            yield reference(score_row("true line", scores["true_line"], key), is_detail)
        else:
            yield reference(score_row("least squares", scores["least_squares"], key), is_detail)
        if is_simulated and key == "mse":
            yield expected("noise variance", scores["noise_variance"])
        elif is_simulated and key == "r2":
            value = format_number(scores["noise_r2"])
            yield reference(Row("expected for true line", "", "", value))
        elif not is_simulated and key != "r2":
            yield reference(score_row("mean of the target", scores["mean"], key), is_detail)


def weight_rows(metrics: Metrics) -> Iterator[Weight]:
    """Yield the weights, MAX_WEIGHTS at most and then how many more, and the bias."""
    regression, weights = metrics["regression"], metrics["weights"]
    for row in weights[:MAX_WEIGHTS]:
        name = "weight" if len(weights) == 1 else f"weight of {row['feature']}"
        yield Weight(name, row["weight"], row["least_squares"])
    n_left_out = len(weights) - MAX_WEIGHTS
    if n_left_out > 0:
        yield Weight(f"… and {n_left_out} more weight{'s' * (n_left_out > 1)} in {WEIGHTS}", "", "")
    if "bias" in regression:
        values = (regression["bias"], regression["least_squares_bias"])
        yield Weight("bias", *map(format_number, values))


def classifier_rows(metrics: Metrics) -> Iterator[Row]:
    """Yield the rows of the classifier."""
    scores, loss = metrics["classifier"], metrics["train_classifier"]
    is_simulated = "bayes" in scores
    yield from loss_rows(loss, "loss floor", scores["loss_floor"])
    yield score_row("accuracy", scores, "accuracy")
    train, valid, test = (format_interval(scores[split]) for split in SPLITS)
    yield reference(Row("95 % interval", train, valid, test))
    if is_simulated:
        yield reference(score_row("Bayes rule", scores["bayes"], "accuracy"))
        yield expected("Bayes accuracy", scores["bayes_accuracy"])
    else:
        yield reference(score_row("majority class", scores["majority"], "accuracy"))
    yield score_row("balanced accuracy", scores, "balanced_accuracy")
    yield score_row("macro F1", scores, "macro_f1", is_detail=True)
    if "auc" in scores["test"]:
        yield score_row("AUC", scores, "auc", is_detail=True)
    yield score_row("cross entropy", scores, "cross_entropy")
    if is_simulated:
        yield reference(score_row("Bayes rule", scores["bayes"], "cross_entropy"))
        yield expected("Bayes cross entropy", scores["bayes_cross_entropy"])
    else:
        yield reference(score_row("class frequencies", scores["prior"], "cross_entropy"))


def format_interval(scores: Metrics) -> str:
    """Return the interval of an accuracy as text."""
    return f"{scores['accuracy_low']:.3f} to {scores['accuracy_high']:.3f}"
