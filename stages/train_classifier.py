"""Train the classifier: a small network that tells the classes apart.

params.yaml, data/tensors/classification.safetensors -> data/models/classifier.safetensors (the
network's state), data/models/classifier_snapshots.safetensors (its state at some epochs, as
<epoch>/<name>), metrics/train_classifier.csv (epoch, loss, accuracy, valid_loss, valid_accuracy),
metrics/train_classifier.json

    loss = cross entropy of the softmax's output, as if that were logits (loss_on: probabilities,
    the article's), or of the logits themselves, the scores before the softmax (loss_on: logits)
"""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call

from stages.core.schema import TrainClassifier, TrainClassifierSection
from stages.shared.advice import classifier_remedy
from stages.shared.metadata import Metadata
from stages.shared.metrics import write_csv, write_json
from stages.shared.models import State, build_network, initialize, publish, set_statistics
from stages.shared.tensors import load_tensors, save_tensors
from stages.shared.training import explain_divergence, make_optimizer, select_device, track

Row = tuple[int, float, float, float, float]


def main(params: TrainClassifier) -> None:
    """Run the stage."""
    section = params.train_classifier
    device, dtype = select_device(params.device, section.dtype)
    tensors, metadata = load_tensors("data/tensors/classification.safetensors")
    X = tensors["X_train"].to(device, dtype)  # (n_samples, n_features)
    y = tensors["y_train"].to(device)  # (n_samples,)
    X_valid, y_valid = tensors["X_valid"].to(device, dtype), tensors["y_valid"].to(device)
    network = build_network(X.shape[1], section.hidden, len(metadata.labels))
    initialize(network, torch.Generator().manual_seed(section.seed))
    network.to(device, dtype)
    with explain_divergence("train_classifier", classifier_remedy, X, metadata.features, section):
        history, snapshots = fit(X, y, X_valid, y_valid, network, section)
    save(network, X, snapshots, history, metadata, section)


def train(
    X: Tensor, y: Tensor, network: nn.Sequential, section: TrainClassifierSection
) -> Iterator[tuple[int, float, float]]:
    """Train in place; yield (epoch, loss, accuracy), where epoch counts the updates so far."""
    model = network if section.loss_on == "probabilities" else network[:-1]
    loss_function = nn.CrossEntropyLoss(weight=class_weights(y, section.class_weight, X.dtype))
    optimizer = make_optimizer(network.parameters(), section.optimizer)
    for epoch in range(section.epochs):
        output = model(X)  # (n_samples, n_classes)
        loss = loss_function(output, y)  # ()
        yield epoch, loss.item(), accuracy(output, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        # On a copy of the state: BatchNorm adds every batch that it sees to its running statistics.
        output = functional_call(model, copy_state(model), (X,))
        yield section.epochs, loss_function(output, y).item(), accuracy(output, y)


def accuracy(output: Tensor, y: Tensor) -> float:
    """Return the share of rows of `output`, (n, n_classes), whose maximum is at y, int64 (n,)."""
    return (output.argmax(dim=1) == y).double().mean().item()


def class_weights(y: Tensor, class_weight: str, dtype: torch.dtype) -> Tensor | None:
    """Return the weight of each class in the loss, (n_classes,), or None for equal weights.

    Balanced, it is n / (n_classes * count), as in scikit-learn. Every class has training rows.
    """
    if class_weight == "none":
        return None
    counts = y.bincount().to(dtype)
    return len(y) / (len(counts) * counts)


def copy_state(network: nn.Module) -> State:
    """Return a copy of the network's parameters and running statistics."""
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def fit(
    X: Tensor,
    y: Tensor,
    X_valid: Tensor,
    y_valid: Tensor,
    network: nn.Sequential,
    section: TrainClassifierSection,
) -> tuple[list[Row], dict[int, State]]:
    """Train to the end; return the history and the states at the epochs in section.snapshots.

    A row of the history is (epoch, loss, accuracy, valid_loss, valid_accuracy). The last two are
    those of the network in evaluation mode, with the statistics of all training rows at that epoch,
    as it would be stored. Raises DivergenceError.
    """
    loss_function = nn.CrossEntropyLoss(weight=class_weights(y, section.class_weight, X.dtype))
    # A twin with the same parameters, not copies, and running statistics of its own.
    twin = copy.deepcopy(network, {id(item): item for item in network.parameters()}).eval()
    model = twin if section.loss_on == "probabilities" else twin[:-1]
    history: list[Row] = []
    snapshots: dict[int, State] = {}
    for epoch, loss, share in track(
        train(X, y, network, section), "train_classifier", section.epochs, section.optimizer
    ):
        with torch.no_grad():
            set_statistics(twin, X)
            output = model(X_valid)
            valid_loss = loss_function(output, y_valid).item()
        history.append((epoch, loss, share, valid_loss, accuracy(output, y_valid)))
        if epoch in section.snapshots:
            snapshots[epoch] = copy_state(network)
    return history, snapshots


def save(
    network: nn.Sequential,
    X: Tensor,
    snapshots: dict[int, State],
    history: list[Row],
    metadata: Metadata,
    section: TrainClassifierSection,
) -> None:
    """Write the models, the history and the metrics."""
    loss_settings = {"loss_on": section.loss_on, "class_weight": section.class_weight}
    metadata = metadata.model_copy(update=loss_settings)
    _, loss, _, valid_loss, valid_accuracy = history[-1]
    state = publish(network, network.state_dict(), X)
    states = {
        f"{epoch}/{name}": tensor
        for epoch, snapshot in snapshots.items()
        for name, tensor in publish(network, snapshot, X).items()
    }
    save_tensors("data/models/classifier.safetensors", state, metadata)
    save_tensors("data/models/classifier_snapshots.safetensors", states, metadata)
    columns = ["epoch", "loss", "accuracy", "valid_loss", "valid_accuracy"]
    write_csv("metrics/train_classifier.csv", columns, history)
    metrics = {"loss": loss, "valid_loss": valid_loss, "valid_accuracy": valid_accuracy}
    write_json("metrics/train_classifier.json", {"train_classifier": metrics})
    if late := [str(epoch) for epoch in section.snapshots if epoch > section.epochs]:
        print(
            f"train_classifier: no snapshots at {', '.join(late)}: training ends at epoch "
            f"{section.epochs}"
        )
    print(
        f"train_classifier: loss {loss:.6g} after {section.epochs} epochs of "
        f"{section.optimizer.name} on {section.loss_on}, validation accuracy {valid_accuracy:.6g}"
    )
