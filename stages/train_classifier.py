"""Train the classifier: a small network that tells the classes apart.

params.yaml, data/tensors/classification.safetensors -> data/models/classifier.safetensors (the
network's state), data/models/classifier_snapshots.safetensors (its state at some epochs, after the
loss of each was measured, as <epoch>/<name>), metrics/train_classifier.csv (epoch, loss, accuracy),
metrics/train_classifier.json

    loss = cross entropy of the softmax's output, as if that were logits (loss_on: probabilities,
    the article's), or of the logits themselves, the scores before the softmax (loss_on: logits)
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call

from stages.core.schema import TrainClassifier, TrainClassifierSection
from stages.shared.metadata import Metadata
from stages.shared.metrics import write_csv, write_json
from stages.shared.models import State, build_network, initialize, round_state
from stages.shared.tensors import load_tensors, save_tensors
from stages.shared.training import make_optimizer, select_device, track


def main(params: TrainClassifier) -> None:
    """Run the stage."""
    section = params.train_classifier
    device, dtype = select_device(params.device, section.dtype)
    tensors, metadata = load_tensors("data/tensors/classification.safetensors")
    X = tensors["X_train"].to(device, dtype)  # (n_samples, n_features)
    y = tensors["y_train"].to(device)  # (n_samples,)
    network = build_network(X.shape[1], section.hidden[0], len(metadata.labels))
    initialize(network, torch.Generator().manual_seed(section.seed))
    network.to(device, dtype)
    history, snapshots = fit(X, y, network, section)
    save(network, snapshots, history, metadata, section)


def train(
    X: Tensor, y: Tensor, network: nn.Sequential, section: TrainClassifierSection
) -> Iterator[tuple[int, float, float]]:
    """Train in place; yield (epoch, loss, accuracy), where epoch counts the updates so far."""
    # BatchNorm subtracts this bias with the mean, so its gradient is zero but for rounding noise,
    # which differs between machines and which some optimizers would scale up to full steps.
    network[0].bias.requires_grad_(False)
    model = network if section.loss_on == "probabilities" else network[:-1]
    loss_function = nn.CrossEntropyLoss()
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


def copy_state(network: nn.Module) -> State:
    """Return a copy of the network's parameters and running statistics."""
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def fit(
    X: Tensor, y: Tensor, network: nn.Sequential, section: TrainClassifierSection
) -> tuple[list[tuple[int, float, float]], State]:
    """Train to the end; return the history and the states at the epochs in section.snapshots."""
    rows = track(
        train(X, y, network, section), "train_classifier", section.epochs, section.optimizer
    )
    history: list[tuple[int, float, float]] = []
    snapshots: State = {}
    for row in rows:
        history.append(row)
        if row[0] in section.snapshots:
            state = copy_state(network)
            snapshots |= {f"{row[0]}/{name}": tensor for name, tensor in state.items()}
    return history, snapshots


def save(
    network: nn.Sequential,
    snapshots: State,
    history: list[tuple[int, float, float]],
    metadata: Metadata,
    section: TrainClassifierSection,
) -> None:
    """Write the models, the history and the metrics."""
    metadata = metadata.model_copy(update={"loss_on": section.loss_on})
    loss = history[-1][1]
    state = round_state(network.state_dict())
    save_tensors("data/models/classifier.safetensors", state, metadata)
    save_tensors("data/models/classifier_snapshots.safetensors", round_state(snapshots), metadata)
    write_csv("metrics/train_classifier.csv", ["epoch", "loss", "accuracy"], history)
    write_json("metrics/train_classifier.json", {"train_classifier": {"loss": loss}})
    print(
        f"train_classifier: loss {loss:.6g} after {section.epochs} epochs of "
        f"{section.optimizer.name} on {section.loss_on}"
    )
