"""Measure the trained models beside the limits that theory sets, and draw them.

params.yaml, data/tensors/*.safetensors, data/models/*.safetensors, metrics/train_*.csv ->
metrics/evaluate.json, metrics/confusion.csv (actual, predicted: one row a test point),
metrics/figures/*
"""

from collections.abc import Sequence

from stages.parameters import ClassificationLaw, Evaluate, RegressionLaw, read_parameters
from stages.startup import quick_imports

if __name__ == "__main__":  # a wrong value is answered before the slow imports
    read_parameters(Evaluate)

with quick_imports():
    import numpy as np
    import torch
    from torch import Tensor, nn

    from stages import figures
    from stages.files import damaged, require
    from stages.limits import bayes_accuracy, least_squares_weight
    from stages.metrics import DIGITS, write_csv, write_json
    from stages.models import build_network, load_model
    from stages.rounding import round_significant
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


def regression_metrics(data: dict[str, Tensor], weight: Tensor, law: RegressionLaw) -> dict:
    """Return the weight and the errors of y_hat = x * weight, beside what is the best possible.

    The least-squares weight is that of the training part; no model can expect a test MSE below the
    variance of the noise.
    """
    best = least_squares_weight(data["x_train"], data["y_train"])
    metrics = {
        "weight": weight.item(),
        "least_squares_weight": best,
        "gap_to_least_squares": abs(weight.item() - best),
        "noise_variance": law.noise_std**2,
    }
    for split in ("train", "test"):
        x, y = data[f"x_{split}"], data[f"y_{split}"]
        mse = nn.functional.mse_loss(x * weight, y).item()
        variance = y.var(correction=0).item()
        metrics[split] = {"mse": mse, "r2": 1 - mse / variance if variance else None}
    return metrics


def predict(network: nn.Sequential, X: Tensor) -> Tensor:
    """Return the most probable class, int64 (n_samples,), of X, (n_samples, n_features)."""
    return network[:-1](X.double()).argmax(dim=1)


def classifier_metrics(
    data: dict[str, Tensor], network: nn.Sequential, law: ClassificationLaw
) -> dict:
    """Return accuracy and cross entropy, beside the accuracy of the best possible classifier.

    The cross entropy is -mean(log p(y)) of the predicted probabilities, whatever the network was
    trained on; from the logits, where it cannot overflow.
    """
    bayes = bayes_accuracy(law.centers, law.std)
    metrics = {"bayes_accuracy": bayes}
    for split in ("train", "test"):
        X, y = data[f"X_{split}"].double(), data[f"y_{split}"]
        metrics[split] = {
            "accuracy": (predict(network, X) == y).double().mean().item(),
            "cross_entropy": nn.functional.cross_entropy(network[:-1](X), y).item(),
        }
    metrics["gap_to_bayes"] = bayes - metrics["test"]["accuracy"]
    return metrics


def load_networks(path: str, kind: str) -> dict[str, nn.Sequential]:
    """Return the networks of a model file by the part of their tensors' names before the slash."""
    tensors, sizes = load_model(path, kind, maker="train_classifier")
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
        with open(path, encoding="utf-8") as file:
            header, *rows = [line.rstrip("\n").split(",") for line in file]
        if header != list(columns) or not rows:
            raise ValueError
        return np.array(rows, dtype=np.float64)
    except ValueError:
        raise damaged(path, maker) from None


def draw_regression(data: dict[str, Tensor], weight: float, true_weight: float) -> None:
    """Draw the data, the fit before and after training, and the film between."""
    history = read_history(
        REGRESSION_HISTORY, ("epoch", "loss", "weight"), maker="train_regression"
    )
    x, y = data["x_train"].numpy(), data["y_train"].numpy()
    initial_weight = history[0, 2]
    figures.draw_regression_data(f"{FIGURES}/regression_data.png", x, y)
    for when, fitted in (("before", initial_weight), ("after", weight)):
        title = f"Regression: the fit {when} training"
        figures.draw_fit(f"{FIGURES}/regression_{when}.png", x, y, fitted, true_weight, title)
    figures.draw_film(f"{FIGURES}/regression_film.gif", x, y, history)


def draw_classifier(
    data: dict[str, Tensor],
    network: nn.Sequential,
    snapshots: dict[str, nn.Sequential],
    law: ClassificationLaw,
) -> None:
    """Draw the clusters, the predictions before, during and after training, and the boundaries.

    Before and during training the network is seen as its loss was measured, with BatchNorm taking
    the mean and variance of all training points; after training as it predicts, with the running
    ones.
    """
    history = read_history(CLASSIFIER_HISTORY, ("epoch", "loss"), maker="train_classifier")
    losses = history[:, 1]
    X, y = data["X_train"], data["y_train"].numpy()
    points = X.numpy()

    figures.draw_classes(
        f"{FIGURES}/classification_data.png", points, y, "class", "Classification: the data"
    )
    epochs = sorted(snapshots, key=int)
    predictions = [predict(snapshots[epoch].train(), X).numpy() for epoch in epochs]
    figures.draw_classes(
        f"{FIGURES}/classifier_before.png",
        points,
        predictions[0],
        "predicted class",
        f"Classifier before training: loss {losses[0]:.4f}",
    )
    figures.draw_epochs(
        f"{FIGURES}/classifier_epochs.png",
        points,
        predictions,
        [f"Epoch {epoch}: loss {losses[int(epoch)]:.4f}" for epoch in epochs],
    )
    grid = torch.from_numpy(figures.plane(points)[2]).double()  # (n_grid, 2)
    distances = torch.cdist(grid, torch.tensor(law.centers, dtype=torch.float64))
    figures.draw_boundary(
        f"{FIGURES}/classifier_after.png",
        points,
        predict(network, X).numpy(),
        round_significant(network(grid).numpy(), DIGITS),
        round_significant(-distances.numpy(), DIGITS),
        f"Classifier after training: loss {losses[-1]:.4f}",
    )


@torch.no_grad()
def main() -> None:
    """Run the stage."""
    law = read_parameters(Evaluate).generate_data
    torch.set_num_threads(1)

    line, _ = load_tensors(REGRESSION_TENSORS, maker="convert_to_tensors")
    clusters, _ = load_tensors(CLASSIFICATION_TENSORS, maker="convert_to_tensors")
    weight = load_model(REGRESSION_MODEL, "regression", maker="train_regression")[0]["weight"]
    network = load_networks(CLASSIFIER_MODEL, "classifier")[""]
    snapshots = load_networks(SNAPSHOTS, "classifier snapshots")

    metrics = {
        "regression": regression_metrics(line, weight.double(), law.regression),
        "classifier": classifier_metrics(clusters, network, law.classification),
    }
    actual, predicted = clusters["y_test"], predict(network, clusters["X_test"])
    draw_regression(line, weight.item(), law.regression.weight)
    draw_classifier(clusters, network, snapshots, law.classification)
    pairs = list(zip(actual.tolist(), predicted.tolist(), strict=True))
    write_csv(CONFUSION, ("actual", "predicted"), pairs)
    write_json(METRICS, metrics)
    print(
        f"evaluate: weight {metrics['regression']['weight']:.6g} (least squares: "
        f"{metrics['regression']['least_squares_weight']:.6g}), test accuracy "
        f"{metrics['classifier']['test']['accuracy']:.6g} (Bayes: "
        f"{metrics['classifier']['bayes_accuracy']:.6g})"
    )


if __name__ == "__main__":
    main()
