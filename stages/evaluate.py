"""Evaluate both models: metrics next to what theory allows or to baselines, and the figures.

data/tensors/*.safetensors, data/models/*.safetensors, metrics/train_*.csv -> metrics/evaluate.json,
metrics/regression_weights.csv (feature, weight, least_squares), metrics/classes.csv (rows and
scores of each class), metrics/confusion.csv (actual, predicted: one row per test point),
metrics/figures/*

Theory is known only for simulated data, which says in its metadata what it was drawn from. For
other tables baselines take its place: least squares and the mean, the majority class and the class
frequencies. What looks wrong is printed as a warning, with its remedy.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stages.core.errors import UserError
from stages.core.schema import Evaluate
from stages.figures import classifier as classifier_figures
from stages.figures import regression as regression_figures
from stages.shared.checks import check_classifier, check_regression
from stages.shared.linear import coefficient_names, predict_linear
from stages.shared.metadata import ClassificationTruth, Metadata, RegressionTruth
from stages.shared.metrics import DIGITS, read_history, write_csv, write_json
from stages.shared.models import load_classifier, load_regression, load_snapshots
from stages.shared.rounding import round_significant
from stages.shared.scores import (
    accuracy_scores,
    class_scores,
    confusion_matrix,
    regression_scores,
    roc_auc,
)
from stages.shared.splits import SPLITS
from stages.shared.tensors import load_tensors
from stages.shared.theory import (
    bayes_accuracy,
    bayes_cross_entropy,
    least_squares,
    softmax_loss_floor,
)

FIGURES = "metrics/figures"
MAX_ITEMS = 10  # weights, or classes with their recall, that evaluate.json lists
# Dependent features are standardized with nine digits, so that their smallest singular value is not
# quite 0. Others that are standardized stay far above; without it, they may be ill-conditioned.
STANDARDIZED_RCOND = 1e-7
SCORE_DIGITS = 9  # with them, the scores of equal rows are equal on every machine

Metrics = dict[str, Any]
Tensors = dict[str, Tensor]
Warnings = list[tuple[str, str]]


@torch.no_grad()
def main(_params: Evaluate) -> None:
    """Run the stage."""
    torch.set_num_threads(1)
    regression, regression_warnings = evaluate_regression()
    classifier, classifier_warnings = evaluate_classifier()
    warnings = regression_warnings + classifier_warnings
    content = {
        "regression": regression,
        "classifier": classifier,
        "warnings": {name: 1 for name, _ in warnings},
        # Texts in a list: DVC shows those in a mapping as metrics.
        "warning_texts": [text for _, text in warnings],
    }
    write_json("metrics/evaluate.json", content)
    for _, text in warnings:
        print(f"warning: {text}")
    print(f"evaluate: {describe_regression(regression)}")
    print(f"evaluate: {describe_classifier(classifier)}")


def evaluate_regression() -> tuple[Metrics, Warnings]:
    """Return metrics and warnings of the regression, draw its figures and list its weights."""
    tensors, data = load_tensors("data/tensors/regression.safetensors")
    weight, bias, metadata = load_regression("data/models/regression.safetensors")
    check_same_run(data == metadata.without_loss())
    names = coefficient_names(metadata.features, bias is not None)
    columns = ["epoch", "loss", "valid_loss", *names]
    history = read_history("metrics/train_regression.csv", columns)
    metrics = regression_metrics(tensors, weight, bias, metadata)
    regression_figures.draw(
        FIGURES, regression_data(tensors, weight, bias, history, metrics, metadata)
    )
    write_weights(metrics, metadata)
    if len(metadata.features) > MAX_ITEMS:
        del metrics["weights"], metrics["least_squares_weights"]
    X = tensors["x_train"].reshape(-1, len(metadata.features)).numpy()
    warnings = check_regression(metrics, mean_scores(tensors), X, history["loss"][-1], metadata)
    return metrics, list(warnings)


def evaluate_classifier() -> tuple[Metrics, Warnings]:
    """Return metrics and warnings of the classifier, draw its figures and list its classes."""
    tensors, data = load_tensors("data/tensors/classification.safetensors")
    network, metadata = load_classifier("data/models/classifier.safetensors")
    check_same_run(data == metadata.without_loss())
    snapshots = load_snapshots("data/models/classifier_snapshots.safetensors")
    columns = ["epoch", "loss", "accuracy", "valid_loss", "valid_accuracy"]
    history = read_history("metrics/train_classifier.csv", columns)
    check_same_run(max(snapshots) < len(history["epoch"]))
    logits = {split: network[:-1](tensors[f"X_{split}"].double()) for split in SPLITS}
    metrics = classifier_metrics(tensors, logits, metadata)
    figures = classifier_data(tensors, network, logits, snapshots, history, metrics, metadata)
    classifier_figures.draw(FIGURES, figures)
    counts = count_predictions(tensors, logits)
    write_classes(counts, metadata)
    write_confusion(tensors["y_test"], logits["test"], metadata)
    warnings = check_classifier(
        counts,
        metrics,
        class_frequencies(tensors),
        tensors["X_train"].double().numpy(),
        history["accuracy"][-1],
        metadata,
    )
    return metrics, list(warnings)


def check_same_run(is_same: bool) -> None:
    """Raise UserError if tensors, models and histories do not belong together."""
    if not is_same:
        raise UserError(
            "The tensors, models and histories in data/ and metrics/ are from different runs; run "
            "`dvc repro`."
        )


# The regression -----------------------------------------------------------------------------------


def regression_metrics(
    tensors: Tensors, weight: Tensor, bias: Tensor | None, metadata: Metadata
) -> Metrics:
    """Return the coefficients and scores of the model next to the best possible ones.

    Least squares is fitted to the training part. With simulated data no model has an expected test
    MSE below the variance of the noise, and noise_r2 is the R^2 of that MSE; true_line has the
    scores of the line that the data was drawn from, on the very rows of each part.
    """
    x, y = tensors["x_train"], tensors["y_train"]
    rcond = STANDARDIZED_RCOND if metadata.scaling else None
    best_weight, best_bias, gap = nearest_least_squares(x, y, weight, bias, rcond)
    loss = nn.MSELoss(reduction=metadata.loss_reduction or "sum")
    metrics: Metrics = {
        "gap_to_least_squares": gap,
        "least_squares_loss": loss(predict_linear(x, best_weight, best_bias), y).item(),
    }
    if weight.dim() == 0:
        metrics |= {"weight": weight.item(), "least_squares_weight": best_weight.item()}
    else:
        names = metadata.features
        metrics["weights"] = dict(zip(names, weight.tolist(), strict=True))
        metrics["least_squares_weights"] = dict(zip(names, best_weight.tolist(), strict=True))
    if bias is not None and best_bias is not None:
        mean = metadata.target_mean or 0.0
        metrics |= {"bias": bias.item() + mean, "least_squares_bias": best_bias.item() + mean}
    metrics |= linear_scores(tensors, weight, bias)
    if isinstance(metadata.truth, RegressionTruth):
        noise, variance = metadata.truth.noise_std**2, tensors["y_test"].var(correction=0).item()
        return metrics | {
            "noise_variance": noise,
            "noise_r2": 1 - noise / variance if variance else None,
            "true_line": true_line_scores(tensors, metadata.truth, metadata),
        }
    return metrics | {
        "least_squares": linear_scores(tensors, best_weight, best_bias),
        "mean": mean_scores(tensors),
    }


def nearest_least_squares(
    x: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None, rcond: float | None = None
) -> tuple[Tensor, Tensor | None, float]:
    """Return weight and bias of the least-squares solution nearest to the model, and its distance.

    Features that depend on each other, such as those of the categories of a column, have many
    solutions c + d, where c are the model's coefficients and A d = y - A c in least squares; the
    smallest d is the nearest. The distance is its Euclidean norm.
    """
    residuals = y - predict_linear(x, weight, bias)
    solution = least_squares(x.numpy(), residuals.numpy(), bias is not None, rcond)
    step = torch.from_numpy(solution)
    best_weight = weight + step[: weight.numel()].reshape(weight.shape)
    return best_weight, None if bias is None else bias + step[-1], step.norm().item()


def linear_scores(tensors: Tensors, weight: Tensor, bias: Tensor | None) -> Metrics:
    """Return the scores of a linear model by split."""
    return {
        split: regression_scores(
            tensors[f"y_{split}"].numpy(),
            predict_linear(tensors[f"x_{split}"], weight, bias).numpy(),
        )
        for split in SPLITS
    }


def mean_scores(tensors: Tensors) -> Metrics:
    """Return the scores by split of always predicting the mean of the training targets."""
    mean = tensors["y_train"].numpy().mean()
    scores = {}
    for split in SPLITS:
        y = tensors[f"y_{split}"].numpy()
        scores[split] = regression_scores(y, np.full_like(y, mean))
        del scores[split]["r2"]  # 0, or in other parts slightly less
    return scores


def true_line_scores(tensors: Tensors, truth: RegressionTruth, metadata: Metadata) -> Metrics:
    """Return the scores by split of the line that simulated data was drawn from."""
    return {
        split: regression_scores(
            tensors[f"y_{split}"].numpy() + (metadata.target_mean or 0.0),
            truth.weight * table_values(tensors[f"x_{split}"], metadata)[:, 0],
        )
        for split in SPLITS
    }


def write_weights(metrics: Metrics, metadata: Metadata) -> None:
    """Write the weight of each feature beside that of least squares."""
    if "weight" in metrics:
        rows = [(metadata.features[0], metrics["weight"], metrics["least_squares_weight"])]
    else:
        pairs = metrics["weights"], metrics["least_squares_weights"]
        rows = [(name, *(weights[name] for weights in pairs)) for name in metadata.features]
    write_csv("metrics/regression_weights.csv", ["feature", "weight", "least_squares"], rows)


# The classifier -----------------------------------------------------------------------------------


def classifier_metrics(
    tensors: Tensors, logits: Mapping[str, Tensor], metadata: Metadata
) -> Metrics:
    """Return the scores of the classifier next to those of the best possible one.

    `logits` are the network's, (n, n_classes), by split. With simulated data bayes has the scores
    of Bayes' rule on the very rows of each part, and bayes_accuracy and bayes_cross_entropy are to
    be expected of it. Baselines: see class_frequencies.
    """
    on_probabilities = metadata.loss_on == "probabilities"
    metrics: Metrics = {
        "loss_floor": softmax_loss_floor(len(metadata.labels)) if on_probabilities else 0.0
    }
    for split in SPLITS:
        metrics[split] = classifier_scores(logits[split], tensors[f"y_{split}"], metadata)
    accuracy = metrics["test"]["accuracy"]
    if isinstance(metadata.truth, ClassificationTruth):
        centers, std = metadata.truth.centers, metadata.truth.std
        bayes = bayes_accuracy(centers, std)
        return metrics | {
            "bayes": bayes_scores(tensors, metadata.truth, metadata),
            "bayes_accuracy": bayes,
            "bayes_cross_entropy": bayes_cross_entropy(centers, std),
            "gap_to_bayes": bayes - accuracy,
        }
    baselines = class_frequencies(tensors)
    gain = accuracy - baselines["majority"]["test"]["accuracy"]
    return metrics | baselines | {"gain_over_majority": gain}


def classifier_scores(logits: Tensor, y: Tensor, metadata: Metadata) -> Metrics:
    """Return the scores of logits, (n, n_classes), for classes y, (n,).

    The cross entropy is -mean(log p(y)) of the predicted probabilities, whatever the network was
    trained on, computed from the logits, where it cannot overflow. AUC is defined for two classes.
    """
    counts = count_classes(logits, y)
    scores: Metrics = {**accuracy_scores(counts), "cross_entropy": cross_entropy(logits, y)}
    if len(metadata.labels) == 2:
        scores["auc"] = roc_auc(y.numpy(), rounded(logits[:, 1] - logits[:, 0]))
    if len(metadata.labels) <= MAX_ITEMS:
        recalls = to_optional(class_scores(counts)[0])
        scores["recall"] = dict(zip(map(str, metadata.labels), recalls, strict=True))
    return scores


def cross_entropy(logits: Tensor, y: Tensor) -> float:
    """Return -mean(log p(y)), where p is the softmax of logits, (n, n_classes)."""
    return nn.functional.cross_entropy(logits, y).item()


def class_frequencies(tensors: Tensors) -> Metrics:
    """Return the baselines by split.

    majority has the accuracy of always predicting the class that is most frequent in training, and
    prior the cross entropy of always predicting the class frequencies there.
    """
    counts = tensors["y_train"].bincount()
    losses = -(counts.double() / counts.sum()).log()
    baselines: Metrics = {"majority": {}, "prior": {}}
    for split in SPLITS:
        y = tensors[f"y_{split}"]
        share = (y == counts.argmax()).double().mean().item()
        baselines["majority"][split] = {"accuracy": share}
        baselines["prior"][split] = {"cross_entropy": losses[y].mean().item()}
    return baselines


def bayes_scores(tensors: Tensors, truth: ClassificationTruth, metadata: Metadata) -> Metrics:
    """Return accuracy and cross entropy by split of Bayes' rule for the simulated clusters.

    log p(k | x) = -|x - c_k|^2 / (2 std^2) + constant, where c_k are the centers.
    """
    scores = {}
    for split in SPLITS:
        X, y = table_values(tensors[f"X_{split}"], metadata), tensors[f"y_{split}"]
        squares = np.square(X[:, np.newaxis] - np.array(truth.centers)).sum(axis=2)
        logits = torch.from_numpy(squares / (-2 * truth.std**2))  # (n, n_classes)
        accuracy = (logits.argmax(dim=1) == y).double().mean().item()
        scores[split] = {"accuracy": accuracy, "cross_entropy": cross_entropy(logits, y)}
    return scores


def count_classes(logits: Tensor, y: Tensor) -> np.ndarray:
    """Return the confusion matrix, int64 (n_classes, n_classes), of logits and classes y."""
    return confusion_matrix(y.numpy(), logits.argmax(dim=1).numpy(), logits.shape[1])


def count_predictions(tensors: Tensors, logits: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Return the confusion matrix of each split."""
    return {split: count_classes(logits[split], tensors[f"y_{split}"]) for split in SPLITS}


def write_classes(counts: Mapping[str, np.ndarray], metadata: Metadata) -> None:
    """Write how many rows of each class the parts have, and its scores on the test rows."""
    rows = [counts[split].sum(axis=1).tolist() for split in SPLITS]
    scores = [to_optional(values) for values in class_scores(counts["test"])]
    columns = [*(f"{split}_rows" for split in SPLITS), "recall", "precision", "f1"]
    write_csv(
        "metrics/classes.csv",
        ["class", *columns],
        list(zip(map(str, metadata.labels), *rows, *scores, strict=True)),
    )


def write_confusion(y: Tensor, logits: Tensor, metadata: Metadata) -> None:
    """Write the actual and the predicted class of each test row."""
    labels = np.array([str(label) for label in metadata.labels], dtype=object)
    pairs = list(zip(labels[y], labels[logits.argmax(dim=1)], strict=True))
    write_csv("metrics/confusion.csv", ["actual", "predicted"], pairs)


def to_optional(values: np.ndarray) -> list[float | None]:
    """Return values as a list, None for nan."""
    return [None if math.isnan(value) else value for value in values.tolist()]


# What the figures show ----------------------------------------------------------------------------


def table_values(x: Tensor, metadata: Metadata) -> np.ndarray:
    """Return features as they are in the table, float64 (n, n_features)."""
    X = x.double().reshape(len(x), -1).numpy()
    return X if metadata.scaling is None else metadata.scaling.inverse_transform(X)


def rounded(values: Tensor) -> np.ndarray:
    """Return values of any shape, rounded to SCORE_DIGITS."""
    return round_significant(values.numpy(), SCORE_DIGITS)


def regression_data(
    tensors: Tensors,
    weight: Tensor,
    bias: Tensor | None,
    history: dict[str, np.ndarray],
    metrics: Metrics,
    metadata: Metadata,
) -> regression_figures.RegressionData:
    """Return what the figures show, in the table's units."""
    scaling, mean = metadata.scaling, metadata.target_mean or 0.0
    names = [f"weight_{name}" for name in metadata.features]
    columns = names if len(names) > 1 else ["weight"]
    weights = np.stack([history[name] for name in columns], axis=1)
    biases = history.get("bias", np.zeros(len(weights)))

    def predict(epochs: np.ndarray, X: np.ndarray) -> np.ndarray:
        Z = X if scaling is None else scaling.transform(X)
        return (
            round_significant(weights[epochs] @ Z.T + biases[epochs, np.newaxis], SCORE_DIGITS)
            + mean
        )

    best = metrics.get("least_squares_weight")
    if best is None:
        best = math.hypot(*metrics["least_squares_weights"].values())
    truth = metadata.truth
    predicted = rounded(predict_linear(tensors["x_test"], weight, bias))
    return regression_figures.RegressionData(
        X=table_values(tensors["x_train"], metadata),
        y=tensors["y_train"].numpy() + mean,
        features=metadata.features,
        target=metadata.target,
        losses=history["loss"],
        valid_losses=history["valid_loss"],
        predict=predict,
        lines=table_lines(weights, biases, metadata),
        has_intercept="bias" in history or scaling is not None,
        trained_weight=history["weight"],
        least_squares_loss=metrics["least_squares_loss"],
        least_squares_weight=best,
        true_weight=truth.weight if isinstance(truth, RegressionTruth) else None,
        predicted=predicted + mean,
        residuals=tensors["y_test"].numpy() - predicted,
    )


def table_lines(weights: np.ndarray, biases: np.ndarray, metadata: Metadata) -> np.ndarray:
    """Return slope and intercept, (epochs + 1, 2), for the first feature in the table's units."""
    slopes, intercepts = weights[:, 0], biases + (metadata.target_mean or 0.0)
    if metadata.scaling is not None:
        slopes = slopes / metadata.scaling.scale[0]
        intercepts = intercepts - slopes * metadata.scaling.mean[0]
    return np.stack([slopes, intercepts], axis=1)


def classifier_data(
    tensors: Tensors,
    network: nn.Sequential,
    logits: Mapping[str, Tensor],
    snapshots: dict[int, nn.Sequential],
    history: dict[str, np.ndarray],
    metrics: Metrics,
    metadata: Metadata,
) -> classifier_figures.ClassifierData:
    """Return what the figures show."""
    X = tensors["X_train"]
    name, key = ("Bayes rule", "bayes") if "bayes" in metrics else ("majority class", "majority")

    def scores(points: np.ndarray) -> np.ndarray:
        scaling = metadata.scaling
        values = points if scaling is None else scaling.transform(points)
        with torch.no_grad():
            return round_significant(network(torch.from_numpy(values)).numpy(), DIGITS)

    truth = metadata.truth
    return classifier_figures.ClassifierData(
        X=table_values(X, metadata),
        y=tensors["y_train"].numpy(),
        features=metadata.features,
        labels=metadata.labels,
        losses=history["loss"],
        valid_losses=history["valid_loss"],
        accuracies=history["accuracy"],
        valid_accuracies=history["valid_accuracy"],
        snapshots={
            epoch: snapshot[:-1](X.double()).argmax(dim=1).numpy()
            for epoch, snapshot in snapshots.items()
        },
        predicted=logits["train"].argmax(dim=1).numpy(),
        loss_floor=metrics["loss_floor"],
        reference=(name, metrics[key]["train"]["accuracy"]),
        scores=scores if len(metadata.features) == 2 else None,
        centers=np.array(truth.centers) if isinstance(truth, ClassificationTruth) else None,
        confusion=count_classes(logits["test"], tensors["y_test"]),
    )


# What is printed ----------------------------------------------------------------------------------


def describe_regression(metrics: Metrics) -> str:
    """Return the MSE on the validation and the test rows, each next to its reference."""
    if "true_line" in metrics:
        return describe("MSE", metrics, "mse", "true line", metrics["true_line"])
    return describe("MSE", metrics, "mse", "least squares", metrics["least_squares"])


def describe_classifier(metrics: Metrics) -> str:
    """Return the accuracy on the validation and the test rows, each next to its reference."""
    if "bayes" in metrics:
        return describe("accuracy", metrics, "accuracy", "Bayes", metrics["bayes"])
    return describe("accuracy", metrics, "accuracy", "majority class", metrics["majority"])


def describe(name: str, scores: Metrics, key: str, reference: str, references: Metrics) -> str:
    """Return a score on the validation and the test rows, each next to its reference."""
    parts = (
        f"{scores[split][key]:.6g} on {part} ({reference}: {references[split][key]:.6g})"
        for split, part in (("valid", "validation"), ("test", "test"))
    )
    return f"{name} {', '.join(parts)}"
