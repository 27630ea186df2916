import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, safe_open
from torch import nn, optim

from conftest import PROJECT, call_main
from stages import generate_data, train_classifier
from stages.errors import UserError
from stages.limits import softmax_loss_floor
from stages.models import build_network, initialise
from stages.parameters import GenerateData, read_parameters
from stages.runtime import set_up
from stages.train_classifier import HISTORY, METRICS, MODEL, SNAPSHOTS, train


def article_data():
    """Return X (2000, 2), as float32 holds it, and y (2000,) of the committed parameters."""
    data = read_parameters(GenerateData).generate_data
    parts = list(generate_data.classification_data(data.seed, data.classification))
    columns = [part for split, part in parts if split == "train"]
    X = np.concatenate([np.stack([part["x1"], part["x2"]], axis=1) for part in columns])
    return X.astype("float32").astype("float64"), np.concatenate([p["label"] for p in columns])


def fresh_network(seed=0, n_classes=2, hidden=10):
    network = build_network(n_features=2, hidden=hidden, n_classes=n_classes).double()
    initialise(network, torch.Generator().manual_seed(seed))
    network[0].bias.requires_grad_(False)
    return network


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def numpy_article(X, y, parameters, epochs, loss_on="probabilities", lr=1e-3):
    """Train the article's network without torch: forward, backward, BatchNorm, RMSprop by hand.

    `parameters` are W1 (10, 2), b1, gamma, beta (10,), W2 (2, 10), b2 (2,). Returns the losses
    and accuracies after 0 to `epochs` updates, the parameters, and BatchNorm's running mean and
    variance.
    """
    W1, b1, gamma, beta, W2, b2 = (p.copy() for p in parameters)
    n, targets = len(y), np.eye(len(b2))[y]
    squares = [np.zeros_like(p) for p in (W1, gamma, beta, W2, b2)]
    running_mean, running_var = np.zeros(len(b1)), np.ones(len(b1))
    losses, accuracies = [], []
    for epoch in range(epochs + 1):
        a = X @ W1.T + b1
        mean, var = a.mean(axis=0), a.var(axis=0)
        normal = (a - mean) / np.sqrt(var + 1e-5)
        h = np.maximum(gamma * normal + beta, 0)
        z = h @ W2.T + b2
        p = softmax(z)
        q = softmax(p) if loss_on == "probabilities" else p
        losses.append(-np.log(q[np.arange(n), y]).mean())
        accuracies.append((z.argmax(axis=1) == y).mean())
        if epoch == epochs:
            break
        running_mean = 0.9 * running_mean + 0.1 * mean
        running_var = 0.9 * running_var + 0.1 * var * n / (n - 1)
        d = (q - targets) / n
        if loss_on == "probabilities":
            d = p * (d - (d * p).sum(axis=1, keepdims=True))
        dW2, db2 = d.T @ h, d.sum(axis=0)
        dh = (d @ W2) * (h > 0)
        dgamma, dbeta = (dh * normal).sum(axis=0), dh.sum(axis=0)
        dn = dh * gamma
        da = (dn - dn.mean(axis=0) - normal * (dn * normal).mean(axis=0)) / np.sqrt(var + 1e-5)
        for p_, g, v in zip(
            (W1, gamma, beta, W2, b2), (da.T @ X, dgamma, dbeta, dW2, db2), squares, strict=True
        ):
            v *= 0.99
            v += 0.01 * g * g
            p_ -= lr * g / (np.sqrt(v) + 1e-8)
    return (
        np.array([losses, accuracies]),
        (W1, b1, gamma, beta, W2, b2),
        (running_mean, running_var),
    )


def numpy_parameters(network):
    return [p.detach().numpy().copy() for p in network.parameters()]


def test_committed_history_is_the_article_in_numpy(edit):
    expected, _, _ = numpy_article(*article_data(), numpy_parameters(fresh_network()), 51)
    with open(PROJECT / HISTORY, newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["epoch", "loss", "accuracy"]
    assert [int(row[0]) for row in rows] == list(range(52))
    published = np.array(rows, dtype=float)[:, 1:].T
    np.testing.assert_allclose(published, expected, rtol=0, atol=5.01e-7)


def test_committed_model_is_the_article_in_numpy(edit):
    _, parameters, running = numpy_article(*article_data(), numpy_parameters(fresh_network()), 51)
    data = read_parameters(GenerateData).generate_data.classification
    accuracy = json.loads((PROJECT / "metrics/evaluate.json").read_text())["classifier"]
    W1, b1, gamma, beta, W2, b2 = parameters
    X, y = article_data()
    normal = (X @ W1.T + b1 - running[0]) / np.sqrt(running[1] + 1e-5)
    predicted = (np.maximum(gamma * normal + beta, 0) @ W2.T + b2).argmax(axis=1)
    assert len(y) == 2 * data.n_samples_per_class
    assert (predicted == y).mean() == pytest.approx(accuracy["train"]["accuracy"], abs=1e-9)


@pytest.mark.parametrize("loss_on", ["probabilities", "logits"])
def test_training_matches_numpy_to_the_last_digits(edit, loss_on):
    X, y = article_data()
    network = fresh_network(seed=3)
    expected, parameters, running = numpy_article(X, y, numpy_parameters(network), 20, loss_on)
    output = network if loss_on == "probabilities" else network[:-1]
    optimizer = optim.RMSprop(network.parameters(), lr=1e-3)
    rows = list(
        train(torch.tensor(X), torch.tensor(y), output, nn.CrossEntropyLoss(), optimizer, 20, [])
    )
    np.testing.assert_allclose([row[1:3] for row in rows], expected.T, rtol=1e-9)
    for trained, by_hand in zip(numpy_parameters(network), parameters, strict=True):
        np.testing.assert_allclose(trained, by_hand, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(network[1].running_mean, running[0], rtol=1e-9)
    np.testing.assert_allclose(network[1].running_var, running[1], rtol=1e-9)


def test_rmsprop_step_by_hand():
    weight = torch.tensor([0.5], dtype=torch.float64, requires_grad=True)
    optimizer = optim.RMSprop([weight], lr=1e-3)
    weight.grad = torch.tensor([0.2], dtype=torch.float64)
    optimizer.step()
    square = 0.01 * 0.2**2
    assert weight.item() == pytest.approx(0.5 - 1e-3 * 0.2 / (square**0.5 + 1e-8), abs=1e-15)


def test_first_weights_have_the_law_of_nn_linear():
    network = fresh_network(hidden=20_000)
    for layer, values in [
        (network[0], network[0].weight),
        (network[0], network[0].bias),
        (network[3], network[3].weight),
    ]:
        bound = layer.in_features**-0.5
        values = values.detach().flatten()
        assert values.abs().max() <= bound
        assert values.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
        assert values.mean().item() == pytest.approx(0, abs=bound * 0.02)


def test_first_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = fresh_network(seed=5).state_dict()
    torch.manual_seed(2)
    second, other = fresh_network(seed=5).state_dict(), fresh_network(seed=6).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])


def test_float32_starts_from_the_same_weights():
    network = build_network(n_features=2, hidden=10, n_classes=2)
    initialise(network, torch.Generator().manual_seed(0))
    assert torch.equal(network[0].weight, fresh_network()[0].weight.float())


def test_network_gives_probabilities_and_without_its_last_layer_logits():
    network = fresh_network(n_classes=3).eval()
    X = torch.rand(7, 2, dtype=torch.float64)
    torch.testing.assert_close(network(X).sum(dim=1), torch.ones(7, dtype=torch.float64))
    torch.testing.assert_close(network[:-1](X).softmax(dim=1), network(X))


def test_loss_on_probabilities_cannot_fall_below_its_floor(edit):
    X = torch.tensor([[-1.0, -1], [-1.1, -1], [1, 1], [1, 1.1]], dtype=torch.float64)
    y = torch.tensor([0, 0, 1, 1])
    network = fresh_network()
    optimizer = optim.Adam(network.parameters(), lr=0.1)
    rows = list(train(X, y, network, nn.CrossEntropyLoss(), optimizer, 500, []))
    assert softmax_loss_floor(2) == pytest.approx(0.31326, abs=5e-6)
    assert rows[-1][1] == pytest.approx(softmax_loss_floor(2), abs=1e-4)
    assert min(row[1] for row in rows) >= softmax_loss_floor(2)


def test_snapshots_are_the_states_after_so_many_updates(finished):
    tensors = load_file(SNAPSHOTS)
    epochs = {name.partition("/")[0] for name in tensors}
    assert epochs == {"0", "2", "5"}
    for epoch in epochs:
        assert tensors[f"{epoch}/1.num_batches_tracked"].item() == int(epoch)
    assert torch.equal(tensors["0/1.running_mean"], torch.zeros(10))
    first = fresh_network().state_dict()["0.weight"]
    torch.testing.assert_close(tensors["0/0.weight"].double(), first, rtol=1e-5, atol=0)


def test_last_snapshot_is_the_model(finished):
    model, snapshots = load_file(MODEL), load_file(SNAPSHOTS)
    assert set(model) == set(fresh_network().state_dict())
    for name, tensor in model.items():
        assert torch.equal(tensor, snapshots[f"5/{name}"])


def test_bias_before_batchnorm_is_not_trained(finished):
    finished(("name: RMSprop", "name: Rprop"))  # which makes full steps of rounding noise
    call_main("train_classifier")
    snapshots = load_file(SNAPSHOTS)
    assert torch.equal(snapshots["0/0.bias"], snapshots["5/0.bias"])
    assert not torch.equal(snapshots["0/0.weight"], snapshots["5/0.weight"])


def test_model_file_says_what_a_loader_needs(finished):
    with safe_open(MODEL, framework="pt") as file:
        entry = json.loads(file.metadata()["model"])
    sizes = {"n_features": 2, "hidden": 10, "n_classes": 2}
    names = {"features": ["x1", "x2"], "target": "label", "labels": [0, 1]}
    assert entry == {"kind": "classifier", **sizes, **names}


def test_seed_width_and_device_are_those_of_the_parameters(finished, monkeypatch):
    asked = []
    monkeypatch.setattr(train_classifier, "set_up", lambda *a: asked.append(a) or set_up(*a))
    finished(("seed: 0 # study. Seed of the network", "seed: 1 # study. Seed of the network"))
    finished(("hidden: 10", "hidden: 7"))
    call_main("train_classifier")
    first = load_file(SNAPSHOTS)["0/0.weight"]
    expected = fresh_network(seed=1, hidden=7)[0].weight
    torch.testing.assert_close(first.double(), expected, rtol=1e-5, atol=0)
    assert asked == [("cpu", "float64")]


def test_published_loss_is_the_last_of_the_history(finished):
    loss = json.loads(Path(METRICS).read_text())["train_classifier"]["loss"]
    assert str(loss) == Path(HISTORY).read_text().splitlines()[-1].split(",")[1]


def test_loss_stands_beside_its_floor(finished):
    assert json.loads(Path(METRICS).read_text())["train_classifier"]["loss_floor"] == 0.313262
    finished(("loss_on: probabilities", "loss_on: logits"))
    call_main("train_classifier")
    assert json.loads(Path(METRICS).read_text())["train_classifier"]["loss_floor"] == 0.0


def test_floor_is_that_of_as_many_classes_as_there_are(small):
    small(("[[0.2, 0.2], [0.8, 0.8]]", "[[0, 0], [1, 0], [0, 1]]"))
    for stage in ("generate_data", "convert_to_tensors", "train_classifier"):
        call_main(stage)
    floor = json.loads(Path(METRICS).read_text())["train_classifier"]["loss_floor"]
    assert floor == pytest.approx(softmax_loss_floor(3), rel=1e-5)


def test_divergence_names_epoch_optimizer_and_lr(finished):
    finished(("name: RMSprop", "name: SGD\n    weight_decay: 1e30"), ("lr: 1.0e-3", "lr: 1e30"))
    with pytest.raises(
        UserError,
        match=r"train_classifier: the loss must stay finite; it is nan at epoch \d+ with SGD and "
        r"lr 1e\+30\. Lower train_classifier\.optimizer\.lr in params\.yaml\.$",
    ):
        call_main("train_classifier")


def test_missing_tensors_name_their_stage(small):
    with pytest.raises(UserError, match="missing; `dvc repro convert_to_tensors` makes it"):
        call_main("train_classifier")
