"""Measure the trained models beside the limits that theory sets, and draw them.

For an own table, of which there is no theory, baselines take the place of the limits.

params.yaml, data/tensors/*.safetensors, data/models/*.safetensors, metrics/train_*.csv ->
metrics/evaluate.json, metrics/confusion.csv (actual, predicted: one row a test point),
metrics/figures/*
"""

from collections.abc import Iterator, Sequence

from stages.parameters import (
    SIMULATE,
    ClassificationTheory,
    Evaluate,
    RegressionTheory,
    read_parameters,
)
from stages.startup import quick_imports

if __name__ == "__main__":  # a wrong value is answered before the slow imports
    read_parameters(Evaluate)

with quick_imports():
    import csv

    import numpy as np
    import torch
    from torch import Tensor, nn

    from stages import figures
    from stages.files import damaged, require
    from stages.limits import bayes_accuracy, bayes_cross_entropy, least_squares
    from stages.metrics import DIGITS, write_csv, write_json
    from stages.models import build_network, coefficient_names, linear, load_model
    from stages.rounding import round_significant
    from stages.standardization import Standardization
    from stages.tensors import load_tensors

REGRESSION_TENSORS = "data/tensors/regression.safetensors"
CLASSIFICATION_TENSORS = "data/tensors/classification.safetensors"
REGRESSION_MODEL = "data/models/regression.safetensors"
CLASSIFIER_MODEL = "data/models/classifier.safetensors"
SNAPSHOTS = "data/models/classifier_snapshots.safetensors"
REGRESSION_HISTORY = "metrics/train_regression.csv"
CLASSIFIER_HISTORY = "metrics/train_classifier.csv"
METRICS = "metrics/evaluate.json"
CONFUSION = "metrics/confusion.csv"
FIGURES = "metrics/figures"

State = dict[str, Tensor]


def errors(y: Tensor, y_hat: Tensor) -> dict[str, float | None]:
    """Return the mean squared error of y_hat, (n,), and R^2, which needs a y that varies."""
    mse = nn.functional.mse_loss(y_hat, y).item()
    variance = y.var(correction=0).item()
    return {"mse": mse, "r2": 1 - mse / variance if variance else None}


def regression_metrics(
    data: State, model: State, features: Sequence[str], law: RegressionTheory
) -> dict:
    """Return the weights and the errors of the line, beside what is the best possible.

    The least-squares weight is that of the training part; no model can expect a test MSE below the
    variance of the noise, which is known of simulated data, and noise_r2 is the R^2 of that MSE.
    For an own table the errors of least squares and of the mean of y_train stand beside.
    """
    weight, bias = model["weight"], model.get("bias")
    x, y = data["x_train"], data["y_train"]
    best = torch.from_numpy(least_squares(x.numpy(), y.numpy(), bias is not None))
    trained = torch.cat([part.reshape(-1) for part in (weight, bias) if part is not None])
    best_weight = best[: weight.numel()].reshape(weight.shape)
    best_bias = None if bias is None else best[-1]
    metrics = {"gap_to_least_squares": (trained - best).norm().item()}
    if weight.dim() == 0:
        metrics |= {"weight": weight.item(), "least_squares_weight": best_weight.item()}
    else:
        named = (dict(zip(features, each.tolist(), strict=True)) for each in (weight, best_weight))
        metrics |= zip(("weights", "least_squares_weights"), named, strict=True)
    if bias is not None:
        metrics |= {"bias": bias.item(), "least_squares_bias": best_bias.item()}
    if law.source == SIMULATE:
        noise, variance = law.noise_std**2, data["y_test"].var(correction=0).item()
        metrics["noise_variance"] = noise
        metrics["noise_r2"] = 1 - noise / variance if variance else None
    else:
        metrics |= {"least_squares": {}, "mean": {}}
    for split in ("train", "test"):
        x, y = data[f"x_{split}"], data[f"y_{split}"]
        metrics[split] = errors(y, linear(x, weight, bias))
        if law.source != SIMULATE:
            metrics["least_squares"][split] = errors(y, linear(x, best_weight, best_bias))
            mean = data["y_train"].mean().expand(len(y))
            metrics["mean"][split] = {"mse": errors(y, mean)["mse"]}  # R^2 would be 0 and noise
    return metrics


def predict(network: nn.Sequential, X: Tensor) -> Tensor:
    """Return the most probable class, int64 (n_samples,), of X, (n_samples, n_features)."""
    return network[:-1](X.double()).argmax(dim=1)


def classifier_metrics(data: State, network: nn.Sequential, law: ClassificationTheory) -> dict:
    """Return accuracy and cross entropy, beside those of the best possible classifier.

    The cross entropy is -mean(log p(y)) of the predicted probabilities, whatever the network was
    trained on; from the logits, where it cannot overflow. For an own table the accuracy of always
    naming the class that is most frequent in training (majority), and the cross entropy of always
    giving each class its frequency there (prior), stand beside.
    """
    metrics = {}
    for split in ("train", "test"):
        X, y = data[f"X_{split}"].double(), data[f"y_{split}"]
        metrics[split] = {
            "accuracy": (predict(network, X) == y).double().mean().item(),
            "cross_entropy": nn.functional.cross_entropy(network[:-1](X), y).item(),
        }
    accuracy = metrics["test"]["accuracy"]
    if law.source == SIMULATE:
        bayes = bayes_accuracy(law.centers, law.std)
        return metrics | {
            "bayes_accuracy": bayes,
            "gap_to_bayes": bayes - accuracy,
            "bayes_cross_entropy": bayes_cross_entropy(law.centers, law.std),
        }
    counts = data["y_train"].bincount()
    losses = -(counts.double() / counts.sum()).log()
    majority, prior = {}, {}
    for split in ("train", "test"):
        y = data[f"y_{split}"]
        majority[split] = {"accuracy": (y == counts.argmax()).double().mean().item()}
        prior[split] = {"cross_entropy": losses[y].mean().item()}
    gain = accuracy - majority["test"]["accuracy"]
    return metrics | {"majority": majority, "prior": prior, "gain_over_majority": gain}


def load_networks(path: str, kind: str) -> dict[str, nn.Sequential]:
    """Return the networks of a model file by the part of their tensors' names before the slash."""
    tensors, facts = load_model(path, kind, maker="train_classifier")
    sizes = {name: facts[name] for name in ("n_features", "hidden", "n_classes")}
    states = {}
    for name, tensor in tensors.items():
        prefix, _, short = name.rpartition("/")
        states.setdefault(prefix, {})[short] = tensor
    networks = {}
    for prefix, state in states.items():
        networks[prefix] = build_network(**sizes).double().eval()
        networks[prefix].load_state_dict(state)
    return networks


def read_history(path: str, columns: Sequence[str], maker: str) -> np.ndarray:
    """Return a training history, float64 (epochs + 1, number of `columns`)."""
    require(path, maker)
    try:
        with open(path, encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        if header != list(columns) or not rows:
            raise ValueError
        return np.array(rows, dtype=np.float64)
    except ValueError:
        raise damaged(path, maker) from None


def draw_regression(data: State, model: State, facts: dict, law: RegressionTheory) -> None:
    """Draw the data, the fit before and after training, and the film between.

    One feature is drawn as it is in the table, with the line; of several, predicted against true
    values show the fit.
    """
    weight, bias = model["weight"], model.get("bias")
    names = coefficient_names(facts["features"], bias is not None)
    history = read_history(REGRESSION_HISTORY, ("epoch", "loss", *names), maker="train_regression")
    frames = history[figures.chosen_frames(len(history))]
    what = "length of the weights" if weight.dim() else "weight"
    titles = [
        f"Epoch {epoch:.0f}: {what} {shown:.4f}, loss {loss:.6g}"
        for epoch, loss, shown in frames[:, :3]
    ]
    # Of each row, the weights and the bias; the row before training and the one after it first.
    rows = np.concatenate([history[[0, -1]], frames])
    biases = rows[:, -1] if bias is not None else np.zeros(len(rows))
    first = 2 + weight.dim()
    weights = rows[:, first : first + weight.numel()]

    x, y = data["x_train"].numpy(), data["y_train"].numpy()
    scaled = Standardization.of(facts)
    X = scaled.undo(x.reshape(len(x), -1))
    columns = (*facts["features"], facts["target"])
    when = ("before", "after")
    figures.draw_regression_data(f"{FIGURES}/regression_data.png", X, y, columns)
    film = f"{FIGURES}/regression_film.gif"
    if weight.dim():
        predictions = round_significant(weights @ x.T + biases[:, None], DIGITS)
        for each, y_hat in zip(when, predictions, strict=False):
            title = f"Regression: predictions for the training points {each} training"
            figures.draw_predictions(f"{FIGURES}/regression_{each}.png", y, y_hat, title)
        figures.draw_prediction_film(film, y, predictions[2:], titles)
        return
    slopes = weights[:, 0] / scaled.scale[0]
    intercepts = biases - slopes * scaled.mean[0]
    lines = round_significant(np.stack([slopes, intercepts], axis=1), DIGITS)
    through_zero = bias is None and "mean" not in facts
    true_weight = law.weight if law.source == SIMULATE else None
    for each, (slope, intercept) in zip(when, lines.tolist(), strict=False):
        figures.draw_fit(
            f"{FIGURES}/regression_{each}.png",
            X[:, 0],
            y,
            columns,
            (slope, None if through_zero else intercept),
            true_weight,
            f"Regression: the fit {each} training",
        )
    figures.draw_line_film(film, X[:, 0], y, columns, lines[2:], titles)


def seen_flat(X: np.ndarray, y: np.ndarray, facts: dict, simulated: bool) -> figures.View:
    """Return how points X, float64 (n, n_features) as the network sees them, are seen in a plane.

    Two features as they are in the table; more by their first two principal components; one by
    itself, with the class, y (n,), beside it.
    """
    features, labels = facts["features"], facts["labels"]
    if len(features) == 2:
        points = Standardization.of(facts).undo(X)
        return figures.View(points, tuple(figures.short(features)), labels, equal=simulated)
    if len(features) == 1:
        points = np.column_stack([Standardization.of(facts).undo(X), y])
        return figures.View(
            points, (*figures.short(features), "number of the class"), labels, equal=False
        )
    centered = X - X.mean(axis=0)
    _, sizes, directions = np.linalg.svd(centered, full_matrices=False)
    sizes, directions = sizes[:2], directions[:2]  # (2,), (2, n_features)
    largest = np.abs(directions).argmax(axis=1)
    directions = directions * np.sign(directions[[0, 1], largest])[:, None]
    points = round_significant(centered @ directions.T, DIGITS)
    points[:, sizes <= 1e-9 * sizes[0]] = 0.0  # points on one line leave rounding noise beside it
    axes = ("first principal component", "second principal component")
    return figures.View(points, axes, labels, equal=True)


def draw_classifier(
    data: State,
    network: nn.Sequential,
    snapshots: dict[str, nn.Sequential],
    facts: dict,
    law: ClassificationTheory,
) -> None:
    """Draw the classes, the predictions before, during and after training, and the boundaries.

    Before and during training the network is seen as its loss was measured, with BatchNorm taking
    the mean and variance of all training points; after training as it predicts, with the running
    ones. The boundaries are drawn of two features, the best possible one of simulated data.
    """
    columns = ("epoch", "loss", "accuracy")
    losses = read_history(CLASSIFIER_HISTORY, columns, maker="train_classifier")[:, 1]
    X, y = data["X_train"], data["y_train"].numpy()
    simulated = law.source == SIMULATE
    view = seen_flat(X.double().numpy(), y, facts, simulated)

    title = "Classification: the data"
    figures.draw_classes(f"{FIGURES}/classification_data.png", view, y, "class", title)
    epochs = sorted(snapshots, key=int)
    predictions = [predict(snapshots[epoch].train(), X).numpy() for epoch in epochs]
    figures.draw_classes(
        f"{FIGURES}/classifier_before.png",
        view,
        predictions[0],
        "predicted class",
        f"Classifier before training: loss {losses[0]:.4f}",
    )
    figures.draw_epochs(
        f"{FIGURES}/classifier_epochs.png",
        view,
        predictions,
        [f"Epoch {epoch}: loss {losses[int(epoch)]:.4f}" for epoch in epochs],
    )
    scores = bayes_scores = None
    if X.shape[1] == 2:
        grid = figures.plane(view.points)[2]  # (n_grid, 2)
        seen = torch.from_numpy(Standardization.of(facts).apply(grid))
        scores = round_significant(network(seen).numpy(), DIGITS)
    if simulated:
        distances = np.linalg.norm(grid[:, None] - np.array(law.centers), axis=2)
        bayes_scores = round_significant(-distances, DIGITS)
    figures.draw_boundary(
        f"{FIGURES}/classifier_after.png",
        view,
        predict(network, X).numpy(),
        scores,
        bayes_scores,
        f"Classifier after training: loss {losses[-1]:.4f}",
    )


def confuse(
    actual: np.ndarray, predicted: np.ndarray, labels: Sequence[object]
) -> Iterator[tuple[object, object]]:
    """Draw the confusion matrix, and yield the names of each point's actual and predicted class."""
    counts = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(counts, (actual, predicted), 1)
    figures.draw_confusion(f"{FIGURES}/classifier_confusion.png", counts, labels)
    for pair in zip(actual, predicted, strict=True):
        yield tuple(labels[number] for number in pair)


def summary(regression: dict, classifier: dict) -> str:
    """Return the sentence of what was measured, each number beside its limit or baseline."""
    if "weight" in regression:
        line = f"weight {regression['weight']:.6g}"
        line += f" (least squares: {regression['least_squares_weight']:.6g})"
    else:
        line = f"test MSE {regression['test']['mse']:.6g}"
        line += f" (least squares: {regression['least_squares']['test']['mse']:.6g})"
    clusters = f"test accuracy {classifier['test']['accuracy']:.6g}"
    if "bayes_accuracy" in classifier:
        return f"{line}, {clusters} (Bayes: {classifier['bayes_accuracy']:.6g})"
    return f"{line}, {clusters} (majority class: {classifier['majority']['test']['accuracy']:.6g})"


@torch.no_grad()
def main() -> None:
    """Run the stage."""
    law = read_parameters(Evaluate).generate_data
    torch.set_num_threads(1)

    line, line_facts = load_tensors(REGRESSION_TENSORS, maker="convert_to_tensors")
    clusters, facts = load_tensors(CLASSIFICATION_TENSORS, maker="convert_to_tensors")
    model, _ = load_model(REGRESSION_MODEL, "regression", maker="train_regression")
    model = {name: tensor.double() for name, tensor in model.items()}
    network = load_networks(CLASSIFIER_MODEL, "classifier")[""]
    snapshots = load_networks(SNAPSHOTS, "classifier snapshots")

    regression = regression_metrics(line, model, line_facts["features"], law.regression)
    classifier = classifier_metrics(clusters, network, law.classification)
    draw_regression(line, model, line_facts, law.regression)
    draw_classifier(clusters, network, snapshots, facts, law.classification)
    predicted = predict(network, clusters["X_test"]).numpy()
    pairs = list(confuse(clusters["y_test"].numpy(), predicted, facts["labels"]))
    write_csv(CONFUSION, ("actual", "predicted"), pairs)
    write_json(METRICS, {"regression": regression, "classifier": classifier})
    print(f"evaluate: {summary(regression, classifier)}")


if __name__ == "__main__":
    main()
