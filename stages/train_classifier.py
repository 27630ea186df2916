"""Train the classifier: a small network that tells the classes apart.

params.yaml, data/tensors/classification.safetensors -> data/models/classifier.safetensors (the
network's state), data/models/classifier_snapshots.safetensors (its state at some epochs, as
<epoch>/<name>), metrics/train_classifier.csv (epoch, loss, accuracy, valid_loss, valid_accuracy),
metrics/train_classifier.json

    loss = cross entropy of the softmax's output, as if that were logits (loss_on: probabilities,
    the article's), or of the logits themselves, the scores before the softmax (loss_on: logits)
"""

import torch
from torch import Tensor, nn

from stages.core.schema import TrainClassifier, TrainClassifierSection
from stages.shared.advice import classifier_remedy
from stages.shared.batch_norm import set_statistics, share_batch_norm, twin, whole_batch
from stages.shared.batches import Rows, load_rows
from stages.shared.metadata import Metadata
from stages.shared.metrics import write_csv, write_json
from stages.shared.models import State, build_network, initialize, publish
from stages.shared.ranks import process_group, rank, sum_over_ranks
from stages.shared.run import Row, Run
from stages.shared.tensors import load_tensors, save_tensors
from stages.shared.training import explain_divergence, make_optimizer, select_device

TENSORS = "data/tensors/classification.safetensors"
COLUMNS = ("epoch", "loss", "accuracy", "valid_loss", "valid_accuracy")


def fit(
    train: Rows, valid: Rows, network: nn.Sequential, run: Run[TrainClassifierSection]
) -> list[Row]:
    """Train in place; return the history, whose columns are COLUMNS. Snapshots stay in `run`."""
    section = run.section
    network = share_batch_norm(network, train.n_chunks(section.batch_size))
    model = network if section.loss_on == "probabilities" else network[:-1]
    class_weight = class_weights(train.y, section.class_weight, train.dtype)
    loss_function = nn.CrossEntropyLoss(class_weight, reduction="sum")
    optimizer = make_optimizer(network.parameters(), section.optimizer)
    run.start(network.state_dict(), optimizer)
    stored = twin(network).eval()  # the same parameters, with the statistics of all rows
    for epoch in run.epochs(train):
        if run.is_new_epoch:
            set_statistics(stored, train)
            run.measured = evaluate(stored, valid, section.loss_on, class_weight)
            if run.needs_untrained:
                run.untrained = evaluate(stored, train, section.loss_on, class_weight)
            if epoch in section.snapshots:
                run.snapshots[epoch] = copy_state(network)
        for batch in run.batches(train, epoch):
            optimizer.zero_grad()
            with whole_batch(network, batch):
                for X, y in batch:  # chunk by chunk: the gradients add up
                    output = model(X)  # (n_samples, n_classes)
                    loss = loss_function(output, y) / batch.n_rows  # ()
                    loss.backward()
                    run.add(loss.item() * batch.share, n_correct(output, y) / train.n_rows)
            run.sum_over_ranks(list(network.parameters()))
            optimizer.step()
    return run.finish(*evaluate(stored, train, section.loss_on, class_weight))


def n_correct(output: Tensor, y: Tensor) -> int:
    """Return how many rows of `output`, (n, n_classes), have their maximum at y, int64 (n,)."""
    return int((output.argmax(dim=1) == y).sum().item())


def class_weights(y: Tensor, class_weight: str, dtype: torch.dtype) -> Tensor | None:
    """Return the weight of each class in the loss, (n_classes,), or None for equal weights.

    Balanced, it is n / (n_classes * count), as in scikit-learn. Every class has training rows.
    """
    if class_weight == "none":
        return None
    counts = y.bincount().to(dtype)
    return len(y) / (len(counts) * counts)


@torch.no_grad()
def evaluate(
    network: nn.Sequential, rows: Rows, loss_on: str, class_weight: Tensor | None
) -> tuple[float, float]:
    """Return the loss and the accuracy of all rows; the loss of class weights is their mean's."""
    model = network if loss_on == "probabilities" else network[:-1]
    loss_function = nn.CrossEntropyLoss(class_weight, reduction="sum")
    loss, correct, divisor = 0.0, 0, 0.0
    for X, y in rows.whole:
        output = model(X)
        loss += loss_function(output, y).item()
        correct += n_correct(output, y)
        divisor += len(y) if class_weight is None else class_weight[y].sum().item()
    loss, divisor, share = sum_over_ranks([], [loss, divisor, correct / rows.n_rows])
    return loss / divisor, share


def copy_state(network: nn.Module) -> State:
    """Return a copy of the network's parameters and running statistics."""
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def main(params: TrainClassifier) -> None:
    """Run the stage."""
    section = params.train_classifier
    device, dtype = select_device(params.device, section.dtype)
    with process_group(device.type, params.timeout):
        tensors, metadata = load_tensors(TENSORS)
        X = tensors["X_train"]  # (n_samples, n_features)
        train, valid = (
            load_rows(tensors[f"X_{part}"], tensors[f"y_{part}"], device, dtype, section.chunk_rows)
            for part in ("train", "valid")
        )
        network = build_network(X.shape[1], section.hidden, len(metadata.labels))
        initialize(network, torch.Generator().manual_seed(section.seed))
        network.to(device, dtype)
        run = Run("train_classifier", section)
        run.keep(COLUMNS, params.checkpoint_every, TENSORS, device.type)
        with explain_divergence(
            "train_classifier", classifier_remedy, X, metadata.features, section
        ):
            history = fit(train, valid, network, run)
        rows = Rows(X, tensors["y_train"], torch.float64, section.chunk_rows)
        n_batches = train.n_batches(section.batch_size)
        state = publish(network, network.state_dict(), rows, section.epochs * n_batches)
        states = {
            f"{epoch}/{name}": tensor
            for epoch, snapshot in run.snapshots.items()
            # The first batch of the epoch counts, but for the last snapshot, which has none.
            for name, tensor in publish(
                network, snapshot, rows, min(epoch * n_batches + 1, section.epochs * n_batches)
            ).items()
        }
        if rank() == 0:
            save(state, states, history, metadata, section)
            run.delete_checkpoint()


def save(
    state: State,
    snapshots: State,
    history: list[Row],
    metadata: Metadata,
    section: TrainClassifierSection,
) -> None:
    """Write the models, the history and the metrics."""
    loss_settings = {"loss_on": section.loss_on, "class_weight": section.class_weight}
    metadata = metadata.model_copy(update=loss_settings)
    _, loss, _, valid_loss, valid_accuracy = history[-1]
    save_tensors("data/models/classifier.safetensors", state, metadata)
    save_tensors("data/models/classifier_snapshots.safetensors", snapshots, metadata)
    write_csv("metrics/train_classifier.csv", COLUMNS, history)
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
