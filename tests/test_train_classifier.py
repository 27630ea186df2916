"""The classifier's loop against the same network in NumPy, and what the stage writes."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import article_in_numpy
from conftest import Change, call_stage, params_of
from stages import train_classifier
from stages.core.errors import UserError
from stages.shared.models import build_network, initialize
from stages.shared.tensors import load_tensors
from stages.shared.theory import softmax_loss_floor
from stages.shared.training import select_device
from stages.train_classifier import accuracy, copy_state, fit, train

MODEL = "data/models/classifier.safetensors"
SNAPSHOTS = "data/models/classifier_snapshots.safetensors"
HISTORY = "metrics/train_classifier.csv"
METRICS = "metrics/train_classifier.json"


def make_network(seed: int = 0, hidden: int = 10) -> nn.Sequential:
    network = build_network(n_features=2, hidden=hidden, n_classes=2).double()
    initialize(network, torch.Generator().manual_seed(seed))
    return network


def to_numpy(network: nn.Sequential) -> list[np.ndarray]:
    return [parameter.detach().numpy().copy() for parameter in network.parameters()]


def read_rows() -> list[list[str]]:
    with open(HISTORY, newline="") as file:
        return list(csv.reader(file))


# The loop


@pytest.mark.parametrize(
    ("loss_on", "seed", "epochs"), [("probabilities", 0, 51), ("logits", 3, 20)]
)
def test_training_is_the_loop_in_numpy(loss_on: str, seed: int, epochs: int) -> None:
    torch.set_num_threads(1)
    X, y = article_in_numpy.classification_data()
    network = make_network(seed)
    history, parameters, running = article_in_numpy.train_classifier(
        X, y, to_numpy(network), epochs, loss_on
    )
    section = params_of(
        "train_classifier", {"loss_on": loss_on, "epochs": epochs, "snapshots": [0]}
    )
    rows = list(train(torch.tensor(X), torch.tensor(y), network, section))
    np.testing.assert_allclose(rows, history, rtol=1e-9)
    for trained, by_hand in zip(to_numpy(network), parameters, strict=True):
        np.testing.assert_allclose(trained, by_hand, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(network[1].running_mean, running[0], rtol=1e-9)
    np.testing.assert_allclose(network[1].running_var, running[1], rtol=1e-9)


def test_rmsprop_step_by_hand() -> None:
    weight = torch.tensor([0.5], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.RMSprop([weight], lr=1e-3)
    weight.grad = torch.tensor([0.2], dtype=torch.float64)
    optimizer.step()
    square = 0.01 * 0.2**2
    assert weight.item() == pytest.approx(0.5 - 1e-3 * 0.2 / (square**0.5 + 1e-8), abs=1e-15)


FOUR_POINTS = torch.tensor([[-1.0, -1], [-1.1, -1], [1, 1], [1, 1.1]], dtype=torch.float64)
FOUR_LABELS = torch.tensor([0, 0, 1, 1])


def train_on_four_points(**changes: Any) -> list[tuple[int, float, float]]:
    section = params_of("train_classifier", {"snapshots": [0]} | changes)
    return list(train(FOUR_POINTS, FOUR_LABELS, make_network(), section))


@pytest.mark.parametrize(("loss_on", "floor"), [("probabilities", 0.31326), ("logits", 0.0)])
def test_loss_reaches_its_floor_and_does_not_fall_below(loss_on: str, floor: float) -> None:
    adam = {"name": "Adam", "lr": 0.1}
    losses = [row[1] for row in train_on_four_points(loss_on=loss_on, epochs=300, optimizer=adam)]
    assert losses[-1] == pytest.approx(floor, abs=5e-4)
    assert min(losses) >= (softmax_loss_floor(2) if floor else 0)


def test_measuring_the_last_loss_leaves_the_running_statistics_as_they_are() -> None:
    network = make_network()
    section = params_of("train_classifier", {"epochs": 3, "snapshots": [0]})
    rows = train(FOUR_POINTS, FOUR_LABELS, network, section)
    states = [copy_state(network) for _ in rows]
    assert network[1].num_batches_tracked.item() == 3
    assert torch.equal(network[1].running_mean, states[-1]["1.running_mean"])


def test_accuracy_by_hand() -> None:
    output = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    assert accuracy(output, torch.tensor([0, 1, 1])) == pytest.approx(2 / 3)


def test_snapshots_are_copied_after_the_forward_pass_of_their_epoch() -> None:
    network = make_network()
    before = copy_state(network)
    section = params_of("train_classifier", {"epochs": 5, "snapshots": [0, 2, 5]})
    history, snapshots = fit(FOUR_POINTS, FOUR_LABELS, network, section)
    assert [row[0] for row in history] == [0, 1, 2, 3, 4, 5]
    assert sorted({name.partition("/")[0] for name in snapshots}) == ["0", "2", "5"]
    # The forward pass of an epoch comes before its snapshot; the last one is on a copy.
    assert [snapshots[f"{k}/1.num_batches_tracked"].item() for k in (0, 2, 5)] == [1, 3, 5]
    assert torch.equal(snapshots["0/0.weight"], before["0.weight"])
    assert torch.equal(snapshots["5/0.weight"], network[0].weight)


def test_bias_before_batchnorm_is_not_trained() -> None:
    network = make_network()
    before = copy_state(network)
    rprop = {"name": "Rprop", "lr": 0.01}  # which makes full steps of rounding noise
    section = params_of("train_classifier", {"epochs": 3, "snapshots": [0], "optimizer": rprop})
    fit(FOUR_POINTS, FOUR_LABELS, network, section)
    assert torch.equal(network[0].bias, before["0.bias"])
    assert not torch.equal(network[0].weight, before["0.weight"])


def test_divergence_is_reported_with_epoch_optimizer_and_lr() -> None:
    optimizer = {"name": "SGD", "lr": 1e30, "weight_decay": 1e30}
    section = params_of("train_classifier", {"optimizer": optimizer})
    with pytest.raises(
        UserError,
        match=r"^train_classifier: the loss must stay finite; it is nan at epoch \d+ with SGD and "
        r"lr 1e\+30\. In params\.yaml, lower train_classifier\.optimizer\.lr, or set standardize: ",
    ):
        fit(FOUR_POINTS, FOUR_LABELS, make_network(), section)


# The stage


def test_last_snapshot_is_the_model(finished: Change) -> None:
    model, snapshots = load_file(MODEL), load_file(SNAPSHOTS)
    assert set(model) == set(make_network().state_dict())
    for name, tensor in model.items():
        assert torch.equal(tensor, snapshots[f"5/{name}"])


def test_model_is_stored_in_float32(finished: Change) -> None:
    dtypes = {name: tensor.dtype for name, tensor in load_file(MODEL).items()}
    assert dtypes.pop("1.num_batches_tracked") == torch.int64
    assert set(dtypes.values()) == {torch.float32}


def test_model_and_snapshots_know_their_data_and_their_loss(finished: Change) -> None:
    finished({"train_classifier.loss_on": "logits"})
    call_stage("train_classifier")
    _, of_tensors = load_tensors("data/tensors/classification.safetensors")
    expected = of_tensors.model_copy(update={"loss_on": "logits"})
    assert load_tensors(MODEL)[1] == load_tensors(SNAPSHOTS)[1] == expected


def test_seed_and_width_are_those_of_the_params(finished: Change) -> None:
    finished({"train_classifier.seed": 1, "train_classifier.hidden": 7})
    call_stage("train_classifier")
    expected = make_network(seed=1, hidden=7)[0].weight.detach()
    actual = load_file(SNAPSHOTS)["0/0.weight"].double()
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=0)


def test_device_and_dtype_are_those_of_the_params(
    finished: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    selected = []
    monkeypatch.setattr(
        train_classifier, "select_device", lambda *a: selected.append(a) or select_device(*a)
    )
    finished({"device": "auto", "train_classifier.dtype": "float32"})
    call_stage("train_classifier")
    assert selected == [("auto", "float32")]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_everything_is_trained_in_the_dtype_of_the_params(
    finished: Change, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    seen = []

    def spy(X: Tensor, y: Tensor, network: nn.Sequential, section: Any) -> Any:
        seen.extend([X.dtype, network[0].weight.dtype, network[1].running_mean.dtype])
        return fit(X, y, network, section)

    monkeypatch.setattr(train_classifier, "fit", spy)
    finished({"train_classifier.dtype": dtype})
    call_stage("train_classifier")
    assert seen == [getattr(torch, dtype)] * 3


def test_every_class_has_an_output(small: Change) -> None:
    small({"generate_data.classification.centers": [[0, 0], [1, 0], [0, 1]]})
    for stage in ("generate_data", "convert_to_tensors", "train_classifier"):
        call_stage(stage)
    assert load_file(MODEL)["3.weight"].shape == (3, 10)


def test_history_runs_from_no_update_to_the_last(finished: Change) -> None:
    header, *rows = read_rows()
    assert header == ["epoch", "loss", "accuracy"]
    assert [row[0] for row in rows] == ["0", "1", "2", "3", "4", "5"]


def test_loss_of_the_metrics_is_the_last_of_the_history(finished: Change) -> None:
    loss = json.loads(Path(METRICS).read_text())
    assert loss == {"train_classifier": {"loss": float(read_rows()[-1][1])}}


def test_missing_tensors_are_reported(small: Change) -> None:
    with pytest.raises(UserError) as error:
        call_stage("train_classifier")
    assert str(error.value) == (
        "data/tensors/classification.safetensors is missing; run `dvc repro`."
    )


def test_summary_is_one_line(finished: Change, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    call_stage("train_classifier")
    output = capsys.readouterr()
    assert output.err == ""
    assert output.out == (
        "train_classifier: loss 0.596342 after 5 epochs of RMSprop on probabilities\n"
    )
