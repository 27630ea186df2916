"""The classifier's loop against the same network in NumPy, and what the stage writes."""

import copy
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from sklearn.datasets import load_wine
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn

import article_in_numpy
from conftest import Change, call_stage, params_of
from stages import train_classifier
from stages.core.errors import UserError
from stages.shared.batches import Rows
from stages.shared.models import build_network, initialize, load_classifier
from stages.shared.run import Run
from stages.shared.tensors import load_tensors
from stages.shared.theory import softmax_loss_floor
from stages.shared.training import DivergenceError, select_device
from stages.train_classifier import class_weights, copy_state, fit, n_correct

MODEL = "data/models/classifier.safetensors"
SNAPSHOTS = "data/models/classifier_snapshots.safetensors"
HISTORY = "metrics/train_classifier.csv"
METRICS = "metrics/train_classifier.json"


def make_network(seed: int = 0, hidden: Sequence[int] = (10,)) -> nn.Sequential:
    network = build_network(n_features=2, hidden=hidden, n_classes=2).double()
    initialize(network, torch.Generator().manual_seed(seed))
    return network


def fit_rows(
    X: Tensor, y: Tensor, X_valid: Tensor, y_valid: Tensor, network: nn.Sequential, section: Any
) -> tuple[list[tuple[float, ...]], dict[int, dict[str, Tensor]]]:
    """Train on tensors in memory; return the history and the snapshots."""
    train, valid = (
        Rows(*pair, X.dtype, section.chunk_rows) for pair in ((X, y), (X_valid, y_valid))
    )
    run = Run("train_classifier", section)
    return fit(train, valid, network, run), run.snapshots


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
    tensors = torch.tensor(X), torch.tensor(y)
    rows, _ = fit_rows(*tensors, *tensors, network, section)
    np.testing.assert_allclose([row[:3] for row in rows], history, rtol=1e-9)
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


def train_on_four_points(**changes: Any) -> list[tuple[float, ...]]:
    return fit_four_points(make_network(), **changes)[0]


@pytest.mark.parametrize(("loss_on", "floor"), [("probabilities", 0.31326), ("logits", 0.0)])
def test_loss_reaches_its_floor_and_does_not_fall_below(loss_on: str, floor: float) -> None:
    adam = {"name": "Adam", "lr": 0.1}
    losses = [row[1] for row in train_on_four_points(loss_on=loss_on, epochs=300, optimizer=adam)]
    assert losses[-1] == pytest.approx(floor, abs=5e-4)
    assert min(losses) >= (softmax_loss_floor(2) if floor else 0)


def test_measuring_the_last_loss_leaves_the_running_statistics_as_they_are() -> None:
    network, by_hand = make_network(), make_network()
    fit_four_points(network, epochs=1)
    by_hand(FOUR_POINTS)
    assert network[1].num_batches_tracked.item() == 1
    assert torch.equal(network[1].running_mean, by_hand[1].running_mean)


def test_correct_predictions_by_hand() -> None:
    output = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    assert n_correct(output, torch.tensor([0, 1, 1])) == 2


def fit_four_points(
    network: nn.Sequential, **changes: Any
) -> tuple[list[tuple[float, ...]], dict[int, dict[str, Tensor]]]:
    section = params_of("train_classifier", {"snapshots": [0]} | changes)
    return fit_rows(FOUR_POINTS, FOUR_LABELS, FOUR_POINTS + 0.1, FOUR_LABELS, network, section)


def test_snapshots_are_copied_before_the_updates_of_their_epoch() -> None:
    network = make_network()
    before = copy_state(network)
    history, snapshots = fit_four_points(network, epochs=5, snapshots=[0, 2, 5])
    assert [row[0] for row in history] == [0, 1, 2, 3, 4, 5]
    assert list(snapshots) == [0, 2, 5]
    assert torch.equal(snapshots[0]["0.weight"], before["0.weight"])
    assert torch.equal(snapshots[5]["0.weight"], network[0].weight)


@pytest.mark.parametrize("hidden", [[10], [5, 4]])
def test_biases_before_batchnorm_are_not_trained(hidden: list[int]) -> None:
    network = make_network(hidden=hidden)
    before = copy_state(network)
    rprop = {"name": "Rprop", "lr": 0.01}  # which makes full steps of rounding noise
    fit_four_points(network, epochs=3, optimizer=rprop)
    for k in range(0, 3 * len(hidden), 3):
        assert torch.equal(network[k].bias, before[f"{k}.bias"])
        assert not torch.equal(network[k].weight, before[f"{k}.weight"])
    assert not torch.equal(network[-2].bias, before[f"{3 * len(hidden)}.bias"])


# Validation


@pytest.mark.parametrize("loss_on", ["probabilities", "logits"])
@pytest.mark.parametrize("hidden", [[10], [5, 4]])
def test_validation_is_evaluation_mode_with_statistics_of_the_training_rows(
    loss_on: str, hidden: list[int]
) -> None:
    """Against torch's own update_bn, whose variance has n - 1 in the denominator, not n."""
    network = make_network(hidden=hidden)
    history, snapshots = fit_four_points(
        network,
        epochs=4,
        loss_on=loss_on,
        snapshots=[0, 1, 2, 3, 4],
        optimizer={"name": "Adam", "lr": 0.1},
    )
    for epoch, _, _, valid_loss, valid_accuracy in history:
        state = snapshots[epoch]
        evaluated = make_network(hidden=hidden)
        evaluated.load_state_dict(state)
        torch.optim.swa_utils.update_bn([FOUR_POINTS], evaluated)
        for k in range(1, 3 * len(hidden), 3):
            evaluated[k].running_var *= 3 / 4
        output = evaluated.eval()(FOUR_POINTS + 0.1)
        loss = nn.CrossEntropyLoss()(
            output if loss_on == "probabilities" else output.log(), FOUR_LABELS
        )
        assert valid_loss == pytest.approx(loss.item(), rel=1e-9)
        assert valid_accuracy == (output.argmax(dim=1) == FOUR_LABELS).double().mean().item()


def test_validation_on_the_training_rows_gives_the_training_numbers() -> None:
    X, y = map(torch.tensor, article_in_numpy.classification_data())
    section = params_of("train_classifier", {"epochs": 10})
    history, _ = fit_rows(X, y, X, y, make_network(), section)
    for _, loss, share, valid_loss, valid_accuracy in history:
        assert valid_loss == pytest.approx(loss, rel=1e-12)
        assert valid_accuracy == share


def test_validation_does_not_change_the_training() -> None:
    section = params_of("train_classifier", {"epochs": 5, "snapshots": [0]})
    first, second = make_network(), make_network()
    points = FOUR_POINTS, FOUR_LABELS
    rows, _ = fit_rows(*points, FOUR_POINTS[:1] + 5, FOUR_LABELS[:1], first, section)
    others, _ = fit_rows(*points, FOUR_POINTS - 1, 1 - FOUR_LABELS, second, section)
    assert [row[:3] for row in rows] == [row[:3] for row in others]
    assert [row[3:] for row in rows] != [row[3:] for row in others]
    for name, tensor in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor), name


def test_validation_part_may_lack_a_class() -> None:
    section = params_of("train_classifier", {"epochs": 2, "class_weight": "balanced"})
    rows, _ = fit_rows(
        FOUR_POINTS, FOUR_LABELS, FOUR_POINTS[:1], FOUR_LABELS[:1], make_network(), section
    )
    assert np.isfinite(rows).all()


def test_first_row_in_batches_is_that_of_the_untrained_network() -> None:
    X, y = map(torch.tensor, article_in_numpy.classification_data())
    changes = {"epochs": 2, "optimizer": {"name": "Adam", "lr": 0.05}}
    full, _ = fit_rows(X, y, X, y, make_network(), params_of("train_classifier", changes))
    section = params_of("train_classifier", changes | {"batch_size": 100})
    batches, _ = fit_rows(X, y, X, y, make_network(), section)
    assert batches[0] == pytest.approx(full[0], rel=1e-9)
    assert batches[1][1] < full[1][1]


# Weights of the classes


def test_class_weights_are_those_of_scikit_learn() -> None:
    y = np.array([0] * 7 + [1] * 2 + [2])
    weights = class_weights(torch.from_numpy(y), "balanced", torch.float64)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=y)
    assert weights is not None
    assert weights.tolist() == pytest.approx(expected.tolist(), rel=1e-15)
    assert class_weights(torch.from_numpy(y), "none", torch.float64) is None


def test_balanced_loss_is_the_mean_of_the_mean_losses_of_the_classes() -> None:
    y = torch.tensor([0, 1, 1, 1])
    network = make_network()
    section = params_of("train_classifier", {"class_weight": "balanced", "loss_on": "logits"})
    before = copy.deepcopy(network)
    rows, _ = fit_rows(FOUR_POINTS, y, FOUR_POINTS, y, network, section)
    loss = rows[0][1]
    losses = -before(FOUR_POINTS).log()[torch.arange(4), y]
    assert loss == pytest.approx((losses[0] + losses[1:].mean()).item() / 2, rel=1e-12)


def test_balanced_weights_find_a_rare_class() -> None:
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(400, 2, generator=generator, dtype=torch.float64)
    y = (torch.arange(400) < 20).long()
    X[y == 1] += 1.5
    recall = {}
    for class_weight in ("none", "balanced"):
        changes = {"class_weight": class_weight, "loss_on": "logits", "snapshots": [0]}
        network = make_network()
        fit_rows(X, y, X, y, network, params_of("train_classifier", changes | {"epochs": 200}))
        recall[class_weight] = (network(X).argmax(dim=1) == 1)[y == 1].double().mean().item()
    assert recall["none"] < 0.6
    assert recall["balanced"] > 0.8


def test_divergence_is_reported_with_epoch_optimizer_and_lr() -> None:
    optimizer = {"name": "SGD", "lr": 1e30, "weight_decay": 1e30}
    with pytest.raises(
        DivergenceError,
        match=r"^train_classifier: the loss must stay finite; it is nan at epoch \d+ with SGD and "
        r"lr 1e\+30\.$",
    ):
        fit_four_points(make_network(), optimizer=optimizer)


# The stage


def test_last_snapshot_is_the_model(finished: Change) -> None:
    model, snapshots = load_file(MODEL), load_file(SNAPSHOTS)
    assert set(model) == set(make_network().state_dict())
    for name, tensor in model.items():
        assert torch.equal(tensor, snapshots[f"5/{name}"])


def test_model_is_stored_in_float32(finished: Change) -> None:
    dtypes = {name: tensor.dtype for name, tensor in load_file(MODEL).items()}
    assert dtypes.pop("1.num_batches_tracked") == torch.int64
    assert dtypes.pop("1.running_mean") == torch.float64
    assert set(dtypes.values()) == {torch.float32}


def test_model_and_snapshots_know_their_data_and_their_loss(finished: Change) -> None:
    finished({"train_classifier.loss_on": "logits"})
    call_stage("train_classifier")
    _, of_tensors = load_tensors("data/tensors/classification.safetensors")
    settings = {"loss_on": "logits", "class_weight": "none"}
    expected = of_tensors.model_copy(update=settings)
    assert load_tensors(MODEL)[1] == load_tensors(SNAPSHOTS)[1] == expected


def test_seed_and_width_are_those_of_the_params(finished: Change) -> None:
    finished({"train_classifier.seed": 1, "train_classifier.hidden": [7, 3]})
    call_stage("train_classifier")
    expected = make_network(seed=1, hidden=[7, 3])[0].weight.detach()
    actual = load_file(SNAPSHOTS)["0/0.weight"].double()
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=0)
    assert load_file(MODEL)["3.weight"].shape == (3, 7)


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

    def spy(train: Rows, valid: Rows, network: nn.Sequential, run: Any) -> Any:
        seen.extend(next(iter(rows.whole))[0].dtype for rows in (train, valid))
        seen.extend([network[0].weight.dtype, network[1].bias.dtype])
        return fit(train, valid, network, run)

    monkeypatch.setattr(train_classifier, "fit", spy)
    finished({"train_classifier.dtype": dtype})
    call_stage("train_classifier")
    assert seen == [getattr(torch, dtype)] * 4


def test_every_class_has_an_output(small: Change) -> None:
    small({"generate_data.classification.centers": [[0, 0], [1, 0], [0, 1]]})
    for stage in ("generate_data", "convert_to_tensors", "train_classifier"):
        call_stage(stage)
    assert load_file(MODEL)["3.weight"].shape == (3, 10)


def test_history_runs_from_no_update_to_the_last(finished: Change) -> None:
    header, *rows = read_rows()
    assert header == ["epoch", "loss", "accuracy", "valid_loss", "valid_accuracy"]
    assert [row[0] for row in rows] == ["0", "1", "2", "3", "4", "5"]


def test_metrics_are_the_last_of_the_history(finished: Change) -> None:
    _, loss, _, valid_loss, valid_accuracy = map(float, read_rows()[-1])
    assert json.loads(Path(METRICS).read_text()) == {
        "train_classifier": {
            "loss": loss,
            "valid_loss": valid_loss,
            "valid_accuracy": valid_accuracy,
        }
    }


@pytest.mark.parametrize(("loss_on", "hidden"), [("probabilities", [10]), ("logits", [6, 5])])
def test_published_network_has_the_accuracies_of_the_history(
    finished: Change, loss_on: str, hidden: list[int]
) -> None:
    finished(
        {
            "generate_data.classification.n_samples_per_class": 100,
            "generate_data.classification.n_valid_per_class": 100,
            "generate_data.classification.std": 0.6,
            "train_classifier.loss_on": loss_on,
            "train_classifier.hidden": hidden,
            "train_classifier.optimizer.lr": 0.05,
        }
    )
    for stage in ("generate_data", "convert_to_tensors", "train_classifier"):
        call_stage(stage)
    check_accuracies()


def check_accuracies() -> None:
    """Compare the last row of the history with the published network's predictions."""
    tensors, _ = load_tensors("data/tensors/classification.safetensors")
    network, _ = load_classifier(MODEL)
    _, _, share, _, valid_share = map(float, read_rows()[-1])
    for part, expected in (("train", share), ("valid", valid_share)):
        predicted = network(tensors[f"X_{part}"].double()).argmax(dim=1)
        assert accuracy_of(predicted, tensors[f"y_{part}"]) == pytest.approx(expected, abs=1e-6)
    assert share > 0.6


def accuracy_of(predicted: Tensor, y: Tensor) -> float:
    return (predicted == y).double().mean().item()


def tiny_spread() -> pd.DataFrame:
    """Two features of standard deviation 1e-3."""
    generator = np.random.default_rng(0)
    y = np.arange(400) % 2
    X = 0.5 + 1e-3 * (generator.standard_normal((400, 2)) + 0.9 * (2 * y - 1)[:, None])
    return pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "label": y})


def unix_seconds() -> pd.DataFrame:
    """A feature in Unix seconds, over months."""
    generator = np.random.default_rng(0)
    y = np.arange(400) % 2
    t = 1.7e9 + 1e7 * (generator.standard_normal(400) + 1.3 * (2 * y - 1))
    return pd.DataFrame({"t": t, "label": y})


@pytest.mark.parametrize(
    ("make_table", "standardize"),
    [
        (tiny_spread, False),
        (unix_seconds, False),
        (lambda: load_wine(as_frame=True).frame.rename(columns={"target": "label"}), True),
    ],
)
def test_published_network_has_the_accuracies_of_the_history_on_tables(
    small: Change, make_table: Any, standardize: bool
) -> None:
    make_table().to_csv("classes.csv", index=False)
    small(
        {
            "convert_to_tensors.classification.table": "classes.csv",
            "convert_to_tensors.classification.standardize": standardize,
            "train_classifier.epochs": 51,
        }
    )
    for stage in ("generate_data", "convert_to_tensors", "train_classifier"):
        call_stage(stage)
    check_accuracies()


def test_snapshots_beyond_the_last_epoch_are_dropped_with_a_word(
    finished: Change, capsys: pytest.CaptureFixture[str]
) -> None:
    finished({"train_classifier.snapshots": [0, 2, 5, 6, 50]})
    capsys.readouterr()
    call_stage("train_classifier")
    assert capsys.readouterr().out.splitlines()[0] == (
        "train_classifier: no snapshots at 6, 50: training ends at epoch 5"
    )
    snapshots = load_file(SNAPSHOTS)
    assert {name.partition("/")[0] for name in snapshots} == {"0", "2", "5"}
    # The first batch of an epoch counts, but the last snapshot has none.
    counts = [snapshots[f"{k}/1.num_batches_tracked"].item() for k in (0, 2, 5)]
    assert counts == [1, 3, 5]


def test_divergence_is_reported_with_the_remedy_and_leaves_the_results(finished: Change) -> None:
    before = [Path(path).read_bytes() for path in (MODEL, HISTORY, METRICS)]
    finished({"train_classifier.optimizer": {"name": "SGD", "lr": 1e4, "weight_decay": 1e-9}})
    with pytest.raises(
        UserError,
        match=r"In params\.yaml, lower train_classifier\.optimizer\.lr or weight_decay\.$",
    ):
        call_stage("train_classifier")
    assert [Path(path).read_bytes() for path in (MODEL, HISTORY, METRICS)] == before


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
        "train_classifier: loss 0.596342 after 5 epochs of RMSprop on probabilities, "
        "validation accuracy 0.875\n"
    )
