"""Train a small network to tell the clusters apart.

params.yaml, data/tensors/classification.safetensors -> data/models/classifier.safetensors (the
network's state), data/models/classifier_snapshots.safetensors (its state at some epochs, as
<epoch>/<name in the state dict>), metrics/train_classifier.csv (epoch, loss, accuracy),
metrics/train_classifier.json

    loss = cross entropy of the network's output, which the article takes from a softmax
    (loss_on: probabilities), as if that gave logits; or of the logits themselves (loss_on: logits)
"""

from collections.abc import Collection, Iterator

from stages.parameters import TrainClassifier, read_parameters
from stages.startup import quick_imports

if __name__ == "__main__":  # a wrong value is answered before the slow imports
    read_parameters(TrainClassifier)

with quick_imports():
    import torch
    from torch import Tensor, nn
    from torch.func import functional_call

    from stages.limits import softmax_loss_floor
    from stages.metrics import write_csv, write_json
    from stages.models import build_network, initialise, published_tensor, save_model
    from stages.progress import follow
    from stages.runtime import no_compiler, set_up
    from stages.tensors import load_tensors

TENSORS = "data/tensors/classification.safetensors"
MODEL = "data/models/classifier.safetensors"
SNAPSHOTS = "data/models/classifier_snapshots.safetensors"
HISTORY = "metrics/train_classifier.csv"
METRICS = "metrics/train_classifier.json"

State = dict[str, Tensor]


def copied(state: State) -> State:
    """Return a copy of a network's parameters and running statistics as they are now."""
    return {name: tensor.clone() for name, tensor in state.items()}


def published_state(state: State) -> State:
    """Return a network's parameters and running statistics as they are stored."""
    return {name: published_tensor(tensor) for name, tensor in state.items()}


def accuracy(output: Tensor, y: Tensor) -> float:
    """Return the share of rows of `output`, (n, n_classes), that are largest at y, int64 (n,)."""
    return (output.argmax(dim=1) == y).double().mean().item()


def train(
    X: Tensor,
    y: Tensor,
    network: nn.Sequential,
    loss_function: nn.Module,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    snapshots: Collection[int],
) -> Iterator[tuple[int, float, float, State | None]]:
    """Train `network` in place on all of X, (n_samples, n_features), and y, (n_samples,).

    Yields rows (epoch, loss, accuracy, state): row k is the state after k updates, with loss and
    accuracy on X there; the state itself is copied for the epochs in `snapshots`, else None.
    """
    for epoch in range(epochs):
        state = copied(network.state_dict()) if epoch in snapshots else None
        output = network(X)  # (n_samples, n_classes)
        loss = loss_function(output, y)  # ()
        yield epoch, loss.item(), accuracy(output, y), state
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    state = copied(network.state_dict()) if epochs in snapshots else None
    # On a copy: BatchNorm takes every batch that it sees into its running statistics.
    with torch.no_grad():
        output = functional_call(network, copied(network.state_dict()), (X,))
        loss = loss_function(output, y)
    yield epochs, loss.item(), accuracy(output, y), state


def main() -> None:
    """Run the stage."""
    parameters = read_parameters(TrainClassifier)
    training = parameters.train_classifier
    device = set_up(parameters.device, training.dtype)
    dtype = getattr(torch, training.dtype)

    tensors, facts = load_tensors(TENSORS, maker="convert_to_tensors")
    X = tensors["X_train"].to(device, dtype)  # (n_samples, n_features)
    y = tensors["y_train"].to(device)  # (n_samples,)
    sizes = {
        "n_features": X.shape[1],
        "hidden": training.hidden,
        "n_classes": len(facts["labels"]),
    }

    network = build_network(**sizes)
    initialise(network, torch.Generator().manual_seed(training.seed))
    network.to(device, dtype)
    # BatchNorm subtracts the mean, and with it this bias: its gradient is 0 but for rounding noise,
    # other noise on every machine, which Rprop and Adafactor would scale up to full steps, and
    # RMSprop and Adam in float32.
    network[0].bias.requires_grad_(False)
    loss_function = nn.CrossEntropyLoss()
    on_probabilities = training.loss_on == "probabilities"
    model = network if on_probabilities else network[:-1]
    with no_compiler():
        optimizer = getattr(torch.optim, training.optimizer.name)(
            network.parameters(), **training.optimizer.arguments
        )
        rows = train(X, y, model, loss_function, optimizer, training.epochs, training.snapshots)
        history = follow("train_classifier", rows, training)

    floor = softmax_loss_floor(sizes["n_classes"]) if on_probabilities else 0.0
    loss = history[-1][1]
    save_model(MODEL, published_state(network.state_dict()), kind="classifier", **sizes, **facts)
    snapshots = {
        f"{epoch}/{name}": tensor
        for epoch, *_, state in history
        if state is not None
        for name, tensor in published_state(state).items()
    }
    save_model(SNAPSHOTS, snapshots, kind="classifier snapshots", **sizes)
    write_csv(HISTORY, ("epoch", "loss", "accuracy"), [row[:3] for row in history])
    write_json(METRICS, {"train_classifier": {"loss": loss, "loss_floor": floor}})
    print(
        f"train_classifier: loss {loss:.6g} after {training.epochs} epochs of "
        f"{training.optimizer.name} on {training.loss_on} (floor: {floor:.6g})"
    )


if __name__ == "__main__":
    main()
