"""Evaluate both models: metrics next to what theory allows or to baselines, and the figures.

data/tensors/*.safetensors, data/models/*.safetensors, metrics/train_*.csv -> metrics/evaluate.json,
metrics/confusion.csv (actual, predicted: one row per test point), metrics/figures/*

Theory is known only for simulated data, which says in its metadata what it was drawn from. For
other tables baselines take its place: least squares and the mean, the majority class and the class
frequencies.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stages.core.errors import UserError
from stages.core.schema import Evaluate
from stages.figures import classifier as classifier_figures
from stages.figures import regression as regression_figures
from stages.shared.linear import coefficient_names, predict_linear
from stages.shared.metadata import ClassificationTruth, Metadata, RegressionTruth
from stages.shared.metrics import DIGITS, read_history, write_csv, write_json
from stages.shared.models import load_classifier, load_regression, load_snapshots
from stages.shared.rounding import round_significant
from stages.shared.splits import SPLITS
from stages.shared.tensors import load_tensors
from stages.shared.theory import (
    bayes_accuracy,
    bayes_cross_entropy,
    least_squares,
    softmax_loss_floor,
)

FIGURES = "metrics/figures"

Metrics = dict[str, Any]
Tensors = dict[str, Tensor]


@torch.no_grad()
def main(_params: Evaluate) -> None:
    """Run the stage."""
    torch.set_num_threads(1)
    regression = evaluate_regression()
    classifier = evaluate_classifier()
    write_json("metrics/evaluate.json", {"regression": regression, "classifier": classifier})
    print(f"evaluate: {summarize(regression, classifier)}")


def evaluate_regression() -> Metrics:
    """Return the metrics of the regression and draw its figures."""
    tensors, data = load_tensors("data/tensors/regression.safetensors")
    weight, bias, metadata = load_regression("data/models/regression.safetensors")
    check_same_run(data == metadata.without_loss())
    names = coefficient_names(metadata.features, bias is not None)
    columns = ["epoch", "loss", "valid_loss", *names]
    history = read_history("metrics/train_regression.csv", columns)
    metrics = regression_metrics(tensors, weight, bias, metadata)
    regression_figures.draw(FIGURES, regression_data(tensors, history, metrics, metadata))
    return metrics


def evaluate_classifier() -> Metrics:
    """Return the metrics of the classifier, draw its figures and write its confusion pairs."""
    tensors, data = load_tensors("data/tensors/classification.safetensors")
    network, metadata = load_classifier("data/models/classifier.safetensors")
    check_same_run(data == metadata.without_loss())
    snapshots = load_snapshots("data/models/classifier_snapshots.safetensors")
    columns = ["epoch", "loss", "accuracy", "valid_loss", "valid_accuracy"]
    history = read_history("metrics/train_classifier.csv", columns)
    check_same_run(max(snapshots) < len(history["epoch"]))
    metrics = classifier_metrics(tensors, network, metadata)
    figures = classifier_data(tensors, network, snapshots, history, metrics, metadata)
    classifier_figures.draw(FIGURES, figures)
    labels = np.array([str(label) for label in metadata.labels], dtype=object)
    actual, predicted = tensors["y_test"], predict(network, tensors["X_test"])
    pairs = list(zip(labels[actual], labels[predicted], strict=True))
    write_csv("metrics/confusion.csv", ["actual", "predicted"], pairs)
    return metrics


def check_same_run(is_same: bool) -> None:
    """Raise UserError if tensors, models and histories do not belong together."""
    if not is_same:
        raise UserError(
            "The tensors, models and histories in data/ and metrics/ are from different runs; run "
            "`dvc repro`."
        )


def regression_scores(y: Tensor, y_hat: Tensor) -> dict[str, float | None]:
    """Return the mean squared error of y_hat, (n,), and R^2, which is None for a constant y."""
    mse = nn.functional.mse_loss(y_hat, y).item()
    variance = y.var(correction=0).item()
    return {"mse": mse, "r2": 1 - mse / variance if variance else None}


def regression_metrics(
    tensors: Tensors, weight: Tensor, bias: Tensor | None, metadata: Metadata
) -> Metrics:
    """Return the coefficients and scores of the model next to the best possible ones.

    Least squares is fitted to the training part. With simulated data no model has an expected test
    MSE below the variance of the noise, and noise_r2 is the R^2 of that MSE.
    """
    x, y = tensors["x_train"], tensors["y_train"]
    best = torch.from_numpy(least_squares(x.numpy(), y.numpy(), bias is not None))
    best_weight = best[: weight.numel()].reshape(weight.shape)
    best_bias = None if bias is None else best[-1]
    trained = torch.cat([part.reshape(-1) for part in (weight, bias) if part is not None])
    best_loss = nn.MSELoss(reduction=metadata.loss_reduction or "sum")
    metrics: Metrics = {
        "gap_to_least_squares": (trained - best).norm().item(),
        "least_squares_loss": best_loss(predict_linear(x, best_weight, best_bias), y).item(),
    }
    if weight.dim() == 0:
        metrics |= {"weight": weight.item(), "least_squares_weight": best_weight.item()}
    else:
        names = metadata.features
        metrics["weights"] = dict(zip(names, weight.tolist(), strict=True))
        metrics["least_squares_weights"] = dict(zip(names, best_weight.tolist(), strict=True))
    if bias is not None and best_bias is not None:
        metrics |= {"bias": bias.item(), "least_squares_bias": best_bias.item()}
    for split in SPLITS:
        x, y = tensors[f"x_{split}"], tensors[f"y_{split}"]
        metrics[split] = regression_scores(y, predict_linear(x, weight, bias))
    if isinstance(metadata.truth, RegressionTruth):
        noise, variance = metadata.truth.noise_std**2, tensors["y_test"].var(correction=0).item()
        noise_r2 = 1 - noise / variance if variance else None
        return metrics | {"noise_variance": noise, "noise_r2": noise_r2}
    metrics |= {"least_squares": {}, "mean": {}}
    for split in SPLITS:
        x, y = tensors[f"x_{split}"], tensors[f"y_{split}"]
        metrics["least_squares"][split] = regression_scores(
            y, predict_linear(x, best_weight, best_bias)
        )
        mean = tensors["y_train"].mean().expand(len(y))
        metrics["mean"][split] = {"mse": regression_scores(y, mean)["mse"]}  # its R^2 is 0
    return metrics


def classifier_metrics(tensors: Tensors, network: nn.Sequential, metadata: Metadata) -> Metrics:
    """Return accuracy and cross entropy next to those of the best possible classifier.

    The cross entropy is -mean(log p(y)) of the predicted probabilities, whatever the network was
    trained on, computed from the logits, where it cannot overflow. Baselines: the accuracy of
    always predicting the class that is most frequent in training (majority), and the cross entropy
    of always predicting the class frequencies there (prior).
    """
    on_probabilities = metadata.loss_on == "probabilities"
    metrics: Metrics = {
        "loss_floor": softmax_loss_floor(len(metadata.labels)) if on_probabilities else 0.0
    }
    for split in SPLITS:
        X, y = tensors[f"X_{split}"].double(), tensors[f"y_{split}"]
        metrics[split] = {
            "accuracy": (predict(network, X) == y).double().mean().item(),
            "cross_entropy": nn.functional.cross_entropy(network[:-1](X), y).item(),
        }
    accuracy = metrics["test"]["accuracy"]
    if isinstance(metadata.truth, ClassificationTruth):
        centers, std = metadata.truth.centers, metadata.truth.std
        bayes = bayes_accuracy(centers, std)
        return metrics | {
            "bayes_accuracy": bayes,
            "gap_to_bayes": bayes - accuracy,
            "bayes_cross_entropy": bayes_cross_entropy(centers, std),
        }
    counts = tensors["y_train"].bincount()
    losses = -(counts.double() / counts.sum()).log()
    metrics |= {"majority": {}, "prior": {}}
    for split in SPLITS:
        y = tensors[f"y_{split}"]
        share = (y == counts.argmax()).double().mean().item()
        metrics["majority"][split] = {"accuracy": share}
        metrics["prior"][split] = {"cross_entropy": losses[y].mean().item()}
    gain = accuracy - metrics["majority"]["test"]["accuracy"]
    return metrics | {"gain_over_majority": gain}


def predict(network: nn.Sequential, X: Tensor) -> Tensor:
    """Return the most probable class, int64 (n,), of X, (n, n_features)."""
    return network[:-1](X.double()).argmax(dim=1)


def confusion_matrix(actual: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Return how often each class, a row, was predicted as which: int64 (n_classes, n_classes)."""
    counts = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(counts, (actual, predicted), 1)
    return counts


def table_values(x: Tensor, metadata: Metadata) -> np.ndarray:
    """Return features as they are in the table, float64 (n, n_features)."""
    X = x.double().reshape(len(x), -1).numpy()
    return X if metadata.scaling is None else metadata.scaling.inverse_transform(X)


def regression_data(
    tensors: Tensors, history: dict[str, np.ndarray], metrics: Metrics, metadata: Metadata
) -> regression_figures.RegressionData:
    """Return what the figures show, with the coefficients converted to the table's units."""
    names = [f"weight_{name}" for name in metadata.features]
    columns = names if len(names) > 1 else ["weight"]
    weights = np.stack([history[name] for name in columns], axis=1)
    has_intercept = "bias" in history or metadata.scaling is not None
    intercepts = history.get("bias", np.zeros(len(weights)))
    if metadata.scaling is not None:
        weights = weights / np.array(metadata.scaling.scale)
        intercepts = intercepts - weights @ np.array(metadata.scaling.mean)
    best = metrics.get("least_squares_weight")
    if best is None:
        best = math.hypot(*metrics["least_squares_weights"].values())
    truth = metadata.truth
    return regression_figures.RegressionData(
        X=table_values(tensors["x_train"], metadata),
        y=tensors["y_train"].numpy(),
        features=metadata.features,
        target=metadata.target,
        losses=history["loss"],
        weights=round_significant(weights, DIGITS),
        intercepts=round_significant(intercepts, DIGITS) if has_intercept else None,
        trained_weight=history["weight"],
        least_squares_loss=metrics["least_squares_loss"],
        least_squares_weight=best,
        true_weight=truth.weight if isinstance(truth, RegressionTruth) else None,
    )


def classifier_data(
    tensors: Tensors,
    network: nn.Sequential,
    snapshots: dict[int, nn.Sequential],
    history: dict[str, np.ndarray],
    metrics: Metrics,
    metadata: Metadata,
) -> classifier_figures.ClassifierData:
    """Return what the figures show.

    A snapshot predicts as its loss was measured, in training mode: BatchNorm takes the mean and
    variance of all training points. The trained network predicts in evaluation mode.
    """
    X = tensors["X_train"]
    actual, predicted = tensors["y_test"], predict(network, tensors["X_test"])
    if "bayes_accuracy" in metrics:
        reference = ("Bayes accuracy", metrics["bayes_accuracy"])
    else:
        reference = ("majority class", metrics["majority"]["train"]["accuracy"])

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
        accuracies=history["accuracy"],
        snapshots={
            epoch: predict(snapshot.train(), X).numpy() for epoch, snapshot in snapshots.items()
        },
        predicted=predict(network, X).numpy(),
        loss_floor=metrics["loss_floor"],
        reference=reference,
        scores=scores if len(metadata.features) == 2 else None,
        centers=np.array(truth.centers) if isinstance(truth, ClassificationTruth) else None,
        confusion=confusion_matrix(actual.numpy(), predicted.numpy(), len(metadata.labels)),
    )


def summarize(regression: Metrics, classifier: Metrics) -> str:
    """Return one sentence with the main metrics, each next to its reference."""
    if "weight" in regression:
        line = f"weight {regression['weight']:.6g}"
        line += f" (least squares: {regression['least_squares_weight']:.6g})"
    else:
        line = f"test MSE {regression['test']['mse']:.6g}"
        line += f" (least squares: {regression['least_squares']['test']['mse']:.6g})"
    classes = f"test accuracy {classifier['test']['accuracy']:.6g}"
    if "bayes_accuracy" in classifier:
        return f"{line}, {classes} (Bayes: {classifier['bayes_accuracy']:.6g})"
    return f"{line}, {classes} (majority class: {classifier['majority']['test']['accuracy']:.6g})"
