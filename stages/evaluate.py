"""Evaluate both models: metrics next to what theory allows or to baselines, and the figures.

data/tensors/*.safetensors, data/models/*.safetensors, metrics/train_*.csv -> metrics/evaluate.json,
metrics/regression_weights.csv (feature, weight, least_squares), metrics/classes.csv (rows and
scores of each class), metrics/confusion.csv (actual, predicted: one row per test point, or 10,000
in the same proportions), metrics/figures/*

The tensors stay in their files, which are mapped and walked in chunks of rows, so that memory does
not grow with them. Scores are those of all rows; figures show a sample of 10,000 at most.

Theory is known only for simulated data, which says in its metadata what it was drawn from. For
other tables baselines take its place: least squares and the mean, the majority class and the class
frequencies. What looks wrong is printed as a warning, with its remedy.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from stages.core.errors import UserError
from stages.core.schema import Evaluate
from stages.figures import classifier as classifier_figures
from stages.figures import regression as regression_figures
from stages.shared.checks import check_classifier, check_regression
from stages.shared.chunks import chunk_bounds, progress_bar
from stages.shared.linear import coefficient_names, predict_linear
from stages.shared.metadata import ClassificationTruth, Metadata, RegressionTruth
from stages.shared.metrics import DIGITS, read_history, write_csv, write_json
from stages.shared.models import load_classifier, load_regression, load_snapshots
from stages.shared.moments import chunk_rows, column_moments, to_numpy
from stages.shared.rounding import round_significant
from stages.shared.scores import (
    accuracy_scores,
    class_scores,
    confusion_matrix,
    regression_scores,
    roc_auc,
    scratch_files,
    sorted_values,
)
from stages.shared.splits import SPLITS
from stages.shared.tensors import load_tensors
from stages.shared.theory import (
    bayes_accuracy,
    bayes_cross_entropy,
    design_matrix,
    design_rows,
    softmax_loss_floor,
    solve_least_squares,
)
from stages.shared.thinning import sample_rows, thin_counts

FIGURES = "metrics/figures"
MAX_ITEMS = 10  # weights, or classes with their recall, that evaluate.json lists
# Dependent features are standardized with nine digits, so that their smallest singular value is not
# quite 0. Others that are standardized stay far above; without it, they may be ill-conditioned.
STANDARDIZED_RCOND = 1e-7
SCORE_DIGITS = 9  # with them, the scores of equal rows are equal on every machine

Metrics = dict[str, Any]
Tensors = dict[str, Tensor]
Warnings = list[tuple[str, str]]


@dataclass(frozen=True)
class Part:
    """The rows of one split, which stay in their file until a chunk of them is asked for.

    Attributes:
        x: the features, (n,) or (n, n_features)
        y: the target, float64 (n,), or the class, int64 (n,)
        size: the rows of a chunk
        count: called with the rows of each chunk that is done
    """

    x: Tensor
    y: Tensor
    size: int
    count: Callable[[int], object]

    def chunks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the chunks of x and y."""
        for start, stop in chunk_bounds(len(self.y), self.size):
            yield self.x[start:stop], self.y[start:stop]
            self.count(stop - start)

    def features(self) -> Iterator[np.ndarray]:
        """Yield the chunks of the features, float64 (chunk, n_features)."""
        return (to_numpy(x) for x, _ in self.chunks())

    def sample(self) -> tuple[Tensor, Tensor]:
        """Return x and y of the rows that figures show."""
        rows = torch.from_numpy(sample_rows(len(self.y)))
        return self.x[rows], self.y[rows]


Parts = Mapping[str, Part]


def make_parts(tensors: Tensors, size: int, count: Callable[[int], object]) -> dict[str, Part]:
    """Return the parts of a task by split, to be walked in chunks of `size` rows."""
    name = "X" if "X_train" in tensors else "x"
    return {
        split: Part(tensors[f"{name}_{split}"], tensors[f"y_{split}"], size, count)
        for split in SPLITS
    }


def n_visits(tensors: Tensors, every: int, training: int) -> int:
    """Return how many rows are walked: `every` times all, `training` times those of training."""
    sizes = {split: len(tensors[f"y_{split}"]) for split in SPLITS}
    return every * sum(sizes.values()) + training * sizes["train"]


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
    with progress_bar("evaluate regression", n_visits(tensors, 3, 3)) as bar:
        size = design_rows(weight.numel() + (bias is not None))
        parts = make_parts(tensors, size, bar.update)
        metrics = regression_metrics(parts, weight, bias, metadata)
        mean = metrics.get("mean") or mean_scores(parts)
        features = column_moments(parts["train"].features())
    regression_figures.draw(
        FIGURES, regression_data(parts, weight, bias, history, metrics, metadata)
    )
    write_weights(metrics, metadata)
    if len(metadata.features) > MAX_ITEMS:
        del metrics["weights"], metrics["least_squares_weights"]
    warnings = check_regression(metrics, mean, features, history["loss"][-1], metadata)
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
    every = 2 if metadata.truth else 1
    with progress_bar("evaluate classifier", n_visits(tensors, every, 1)) as bar:
        parts = make_parts(tensors, chunk_rows(network_width(network)), bar.update)
        scores = {split: score_classes(part, network) for split, part in parts.items()}
        counts = {split: scores[split].counts for split in SPLITS}
        metrics = classifier_metrics(parts, scores, metadata)
        features = column_moments(parts["train"].features())
    figures = classifier_data(parts, network, counts, snapshots, history, metrics, metadata)
    classifier_figures.draw(FIGURES, figures)
    write_classes(counts, metadata)
    write_confusion(parts["test"], network, counts["test"], metadata)
    warnings = check_classifier(
        counts,
        metrics,
        class_frequencies(counts),
        features,
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
    parts: Parts, weight: Tensor, bias: Tensor | None, metadata: Metadata
) -> Metrics:
    """Return the coefficients and scores of the model next to the best possible ones.

    Least squares is fitted to the training part. With simulated data no model has an expected test
    MSE below the variance of the noise, and noise_r2 is the R^2 of that MSE; true_line has the
    scores of the line that the data was drawn from, on the very rows of each part.
    """
    rcond = STANDARDIZED_RCOND if metadata.scaling else None
    best_weight, best_bias, gap = nearest_least_squares(parts["train"], weight, bias, rcond)
    metrics: Metrics = {
        "gap_to_least_squares": gap,
        "least_squares_loss": training_loss(parts["train"], best_weight, best_bias, metadata),
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
    metrics |= linear_scores(parts, weight, bias)
    if isinstance(metadata.truth, RegressionTruth):
        noise, variance = metadata.truth.noise_std**2, parts["test"].y.var(correction=0).item()
        return metrics | {
            "noise_variance": noise,
            "noise_r2": 1 - noise / variance if variance else None,
            "true_line": true_line_scores(parts, metadata.truth, metadata),
        }
    return metrics | {
        "least_squares": linear_scores(parts, best_weight, best_bias),
        "mean": mean_scores(parts),
    }


def nearest_least_squares(
    part: Part, weight: Tensor, bias: Tensor | None, rcond: float | None = None
) -> tuple[Tensor, Tensor | None, float]:
    """Return weight and bias of the least-squares solution nearest to the model, and its distance.

    Features that depend on each other, such as those of the categories of a column, have many
    solutions c + d, where c are the model's coefficients and A d = y - A c in least squares; the
    smallest d is the nearest. The distance is its Euclidean norm.
    """
    residuals = (
        (design_matrix(x.numpy(), bias is not None), (y - predict_linear(x, weight, bias)).numpy())
        for x, y in part.chunks()
    )
    step = torch.from_numpy(solve_least_squares(residuals, rcond))
    best_weight = weight + step[: weight.numel()].reshape(weight.shape)
    return best_weight, None if bias is None else bias + step[-1], step.norm().item()


def training_loss(part: Part, weight: Tensor, bias: Tensor | None, metadata: Metadata) -> float:
    """Return the loss of a linear model, reduced as it was in training."""
    squares = sum(
        nn.functional.mse_loss(predict_linear(x, weight, bias), y, reduction="sum").item()
        for x, y in part.chunks()
    )
    return squares / (len(part.y) if metadata.loss_reduction == "mean" else 1)


def linear_scores(parts: Parts, weight: Tensor, bias: Tensor | None) -> Metrics:
    """Return the scores of a linear model by split."""
    return {
        split: regression_scores(
            (y.numpy(), predict_linear(x, weight, bias).numpy()) for x, y in part.chunks()
        )
        for split, part in parts.items()
    }


def mean_scores(parts: Parts) -> Metrics:
    """Return the scores by split of always predicting the mean of the training targets."""
    mean = parts["train"].y.numpy().mean()
    scores = {}
    for split, part in parts.items():
        chunks = (y.numpy() for _, y in part.chunks())
        scores[split] = regression_scores((y, np.full_like(y, mean)) for y in chunks)
        del scores[split]["r2"]  # 0, or in other parts slightly less
    return scores


def true_line_scores(parts: Parts, truth: RegressionTruth, metadata: Metadata) -> Metrics:
    """Return the scores by split of the line that simulated data was drawn from."""
    mean = metadata.target_mean or 0.0
    return {
        split: regression_scores(
            (y.numpy(), truth.weight * table_values(x, metadata)[:, 0] - mean)
            for x, y in part.chunks()
        )
        for split, part in parts.items()
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


class ClassScores(NamedTuple):
    """What a walk over the rows of a part finds out about a classifier.

    counts are its confusion matrix, int64 (n_classes, n_classes). The cross entropy is
    -mean(log p(y)) of the predicted probabilities, whatever the network was trained on, computed
    from the logits, where it cannot overflow. AUC is defined for two classes with rows.
    """

    counts: np.ndarray
    cross_entropy: float
    auc: float | None


def network_width(network: nn.Sequential) -> int:
    """Return the largest number of values that a row has anywhere in the network."""
    return max(max(parameter.shape) for parameter in network.parameters())


def score_classes(part: Part, network: nn.Sequential) -> ClassScores:
    """Return the scores of the logits, (chunk, n_classes), of all rows."""
    counts, losses = np.zeros((), dtype=np.int64), 0.0
    with scratch_files(2) as files:
        for X, y in part.chunks():
            logits = network[:-1](X.double())
            counts = counts + count_classes(logits, y)
            losses += cross_entropy(logits, y)
            if logits.shape[1] == 2:
                margins = rounded(logits[:, 1] - logits[:, 0])
                for label, file in enumerate(files):
                    file.write(margins[y.numpy() == label].tobytes())
        auc = roc_auc(*map(sorted_values, files))
    return ClassScores(counts, losses / len(part.y), auc)


def cross_entropy(logits: Tensor, y: Tensor) -> float:
    """Return -sum(log p(y)), where p is the softmax of logits, (n, n_classes)."""
    return nn.functional.cross_entropy(logits, y, reduction="sum").item()


def classifier_metrics(
    parts: Parts, scores: Mapping[str, ClassScores], metadata: Metadata
) -> Metrics:
    """Return the scores of the classifier next to those of the best possible one.

    With simulated data bayes has the scores of Bayes' rule on the very rows of each part, and
    bayes_accuracy and bayes_cross_entropy are to be expected of it. Baselines: see
    class_frequencies.
    """
    on_probabilities = metadata.loss_on == "probabilities"
    metrics: Metrics = {
        "loss_floor": softmax_loss_floor(len(metadata.labels)) if on_probabilities else 0.0
    }
    for split in SPLITS:
        metrics[split] = classifier_scores(scores[split], metadata)
    accuracy = metrics["test"]["accuracy"]
    if isinstance(metadata.truth, ClassificationTruth):
        centers, std = metadata.truth.centers, metadata.truth.std
        bayes = bayes_accuracy(centers, std)
        return metrics | {
            "bayes": bayes_scores(parts, metadata.truth, metadata),
            "bayes_accuracy": bayes,
            "bayes_cross_entropy": bayes_cross_entropy(centers, std),
            "gap_to_bayes": bayes - accuracy,
        }
    baselines = class_frequencies({split: scores[split].counts for split in SPLITS})
    gain = accuracy - baselines["majority"]["test"]["accuracy"]
    return metrics | baselines | {"gain_over_majority": gain}


def classifier_scores(found: ClassScores, metadata: Metadata) -> Metrics:
    """Return the scores of a part as metrics."""
    scores: Metrics = {**accuracy_scores(found.counts), "cross_entropy": found.cross_entropy}
    if len(metadata.labels) == 2:
        scores["auc"] = found.auc
    if len(metadata.labels) <= MAX_ITEMS:
        recalls = to_optional(class_scores(found.counts)[0])
        scores["recall"] = dict(zip(map(str, metadata.labels), recalls, strict=True))
    return scores


def class_frequencies(counts: Mapping[str, np.ndarray]) -> Metrics:
    """Return the baselines by split, from the confusion matrices.

    majority has the accuracy of always predicting the class that is most frequent in training, and
    prior the cross entropy of always predicting the class frequencies there.
    """
    rows = {split: counts[split].sum(axis=1) for split in SPLITS}  # of each class
    train = rows["train"]
    with np.errstate(divide="ignore"):
        losses = -np.log(train / train.sum())
    baselines: Metrics = {"majority": {}, "prior": {}}
    for split in SPLITS:
        n, present = int(rows[split].sum()), rows[split] > 0
        loss = float(rows[split][present] @ losses[present]) / n
        baselines["majority"][split] = {"accuracy": int(rows[split][train.argmax()]) / n}
        baselines["prior"][split] = {"cross_entropy": loss}
    return baselines


def bayes_scores(parts: Parts, truth: ClassificationTruth, metadata: Metadata) -> Metrics:
    """Return accuracy and cross entropy by split of Bayes' rule for the simulated clusters.

    log p(k | x) = -|x - c_k|^2 / (2 std^2) + constant, where c_k are the centers.
    """
    scores = {}
    for split, part in parts.items():
        n_correct, losses = 0, 0.0
        for x, y in part.chunks():
            X = table_values(x, metadata)
            squares = np.square(X[:, np.newaxis] - np.array(truth.centers)).sum(axis=2)
            logits = torch.from_numpy(squares / (-2 * truth.std**2))  # (chunk, n_classes)
            n_correct += int((logits.argmax(dim=1) == y).sum())
            losses += cross_entropy(logits, y)
        n = len(part.y)
        scores[split] = {"accuracy": n_correct / n, "cross_entropy": losses / n}
    return scores


def count_classes(logits: Tensor, y: Tensor) -> np.ndarray:
    """Return the confusion matrix, int64 (n_classes, n_classes), of logits and classes y."""
    return confusion_matrix(y.numpy(), logits.argmax(dim=1).numpy(), logits.shape[1])


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


def write_confusion(
    part: Part, network: nn.Sequential, counts: np.ndarray, metadata: Metadata
) -> None:
    """Write the actual and the predicted class of each test row, or of fewer, and then say so.

    Of many rows it has some in the same proportions, ordered by class.
    """
    labels = np.array([str(label) for label in metadata.labels], dtype=object)
    shares, n_rows = thin_counts(counts), len(part.y)
    if shares.sum() == n_rows:
        predicted = [network[:-1](X.double()).argmax(dim=1) for X, _ in part.chunks()]
        actual, guess = part.y.numpy(), torch.cat(predicted).numpy()
    else:
        classes = np.indices(shares.shape).reshape(2, -1)  # of each cell
        actual, guess = np.repeat(classes, shares.ravel(), axis=1)
        print(
            f"evaluate: metrics/confusion.csv has {shares.sum():,} rows in the proportions of all "
            f"{n_rows:,} test rows"
        )
    pairs = list(zip(labels[actual], labels[guess], strict=True))
    write_csv("metrics/confusion.csv", ["actual", "predicted"], pairs)


def to_optional(values: np.ndarray) -> list[float | None]:
    """Return values as a list, None for nan."""
    return [None if math.isnan(value) else value for value in values.tolist()]


# What the figures show ----------------------------------------------------------------------------


def table_values(x: Tensor, metadata: Metadata) -> np.ndarray:
    """Return features as they are in the table, float64 (n, n_features)."""
    X = to_numpy(x)
    return X if metadata.scaling is None else metadata.scaling.inverse_transform(X)


def rounded(values: Tensor) -> np.ndarray:
    """Return values of any shape, rounded to SCORE_DIGITS."""
    return round_significant(values.numpy(), SCORE_DIGITS)


def regression_data(
    parts: Parts,
    weight: Tensor,
    bias: Tensor | None,
    history: dict[str, np.ndarray],
    metrics: Metrics,
    metadata: Metadata,
) -> regression_figures.RegressionData:
    """Return what the figures show, in the table's units."""
    x, y = parts["train"].sample()
    x_test, y_test = parts["test"].sample()
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
    predicted = rounded(predict_linear(x_test, weight, bias))
    return regression_figures.RegressionData(
        X=table_values(x, metadata),
        y=y.numpy() + mean,
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
        residuals=y_test.numpy() - predicted,
        n_train=len(parts["train"].y),
        n_test=len(parts["test"].y),
    )


def table_lines(weights: np.ndarray, biases: np.ndarray, metadata: Metadata) -> np.ndarray:
    """Return slope and intercept, (epochs + 1, 2), for the first feature in the table's units."""
    slopes, intercepts = weights[:, 0], biases + (metadata.target_mean or 0.0)
    if metadata.scaling is not None:
        slopes = slopes / metadata.scaling.scale[0]
        intercepts = intercepts - slopes * metadata.scaling.mean[0]
    return np.stack([slopes, intercepts], axis=1)


def classifier_data(
    parts: Parts,
    network: nn.Sequential,
    counts: Mapping[str, np.ndarray],
    snapshots: dict[int, nn.Sequential],
    history: dict[str, np.ndarray],
    metrics: Metrics,
    metadata: Metadata,
) -> classifier_figures.ClassifierData:
    """Return what the figures show."""
    X, y = parts["train"].sample()
    name, key = ("Bayes rule", "bayes") if "bayes" in metrics else ("majority class", "majority")

    def scores(points: np.ndarray) -> np.ndarray:
        scaling = metadata.scaling
        values = points if scaling is None else scaling.transform(points)
        with torch.no_grad():
            return round_significant(network(torch.from_numpy(values)).numpy(), DIGITS)

    truth = metadata.truth
    return classifier_figures.ClassifierData(
        X=table_values(X, metadata),
        y=y.numpy(),
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
        predicted=network[:-1](X.double()).argmax(dim=1).numpy(),
        n_rows=len(parts["train"].y),
        n_wrong=int(counts["train"].sum() - np.trace(counts["train"])),
        loss_floor=metrics["loss_floor"],
        reference=(name, metrics[key]["train"]["accuracy"]),
        scores=scores if len(metadata.features) == 2 else None,
        centers=np.array(truth.centers) if isinstance(truth, ClassificationTruth) else None,
        confusion=counts["test"],
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
