"""The regression's loop against closed forms and NumPy, and what the stage writes."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import article_in_numpy
from article_in_numpy import regression_data
from conftest import Change, call_stage, params_of
from stages import train_regression
from stages.core.errors import UserError
from stages.core.schema import TrainRegressionSection
from stages.shared.tensors import load_tensors
from stages.shared.theory import largest_stable_lr
from stages.shared.training import select_device
from stages.train_regression import fit, forward, lr_hint, train

MODEL = "data/models/regression.safetensors"
HISTORY = "metrics/train_regression.csv"
METRICS = "metrics/train_regression.json"

X = torch.from_numpy(np.random.default_rng(0).standard_normal((50, 3)))


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def history(dtype: torch.dtype = torch.float64, **changes: Any) -> np.ndarray:
    """Train on the article's points; return the rows (epoch, loss, weight)."""
    section = params_of("train_regression", changes)
    x, y = (torch.from_numpy(values).to(dtype) for values in regression_data())
    weight = torch.tensor(section.initial_weight, dtype=dtype, requires_grad=True)
    return np.array(fit(x, y, weight, None, section))


def sgd(lr: float, **arguments: Any) -> dict[str, Any]:
    return {"name": "SGD", "lr": lr} | arguments


def read_rows() -> list[list[str]]:
    with open(HISTORY, newline="") as file:
        return list(csv.reader(file))


# The loop


def test_history_is_the_loop_in_numpy() -> None:
    expected = article_in_numpy.train_regression(*regression_data(), 0.1, 100, 1e-4)
    np.testing.assert_allclose(history(), expected, rtol=1e-12)


@pytest.mark.parametrize("lr", [1e-4, 1e-3, 2.9e-3])
def test_weight_follows_the_closed_recursion(lr: float) -> None:
    x, y = regression_data()
    best, factor = (x @ y) / (x @ x), 1 - 2 * lr * (x @ x)
    epochs = np.arange(101)
    expected = best + factor**epochs * (0.1 - best)
    np.testing.assert_allclose(history(optimizer=sgd(lr))[:, 2], expected, atol=1e-9)


def test_mean_reduction_is_the_sum_with_a_smaller_lr() -> None:
    by_mean = history(epochs=10, loss_reduction="mean", optimizer=sgd(0.1))
    by_sum = history(epochs=10, loss_reduction="sum", optimizer=sgd(0.1 / 1000))
    np.testing.assert_allclose(by_mean[:, 2], by_sum[:, 2], atol=1e-12)
    np.testing.assert_allclose(by_mean[:, 1] * 1000, by_sum[:, 1], rtol=1e-12)


def test_momentum_step_by_hand() -> None:
    x, y = regression_data()
    weight, velocity = 0.1, 0.0
    for trained in history(epochs=5, optimizer=sgd(1e-4, momentum=0.9))[:, 2]:
        assert trained == pytest.approx(weight, abs=1e-12)
        velocity = 0.9 * velocity - 2 * (x * (y - weight * x)).sum()
        weight -= 1e-4 * velocity


def test_float32_is_close_to_float64() -> None:
    rows = history(torch.float32, epochs=20)
    np.testing.assert_allclose(rows, history(epochs=20), rtol=1e-5)
    assert np.array_equal(rows, rows.astype(np.float32))


@pytest.mark.parametrize(("lr", "converges"), [(0.00299, True), (0.00301, False)])
def test_bound_on_the_lr_is_where_sgd_begins_to_diverge(lr: float, converges: bool) -> None:
    rows = history(epochs=50, optimizer=sgd(lr))
    assert bool(rows[-1, 1] < rows[0, 1]) is converges


def test_several_weights_and_a_bias_reach_least_squares() -> None:
    y = X @ torch.tensor([1.0, -2.0, 3.0]).double() + 0.5
    weight, bias = torch.zeros(3).double().requires_grad_(), number(0.0)
    section = params_of("train_regression", {"bias": True, "epochs": 200, "optimizer": sgd(5e-3)})
    *_, last = fit(X, y, weight, bias, section)
    assert last[0] == 200
    assert last[2] == pytest.approx(14**0.5)  # the norm of the weights
    assert last[3:] == pytest.approx((1, -2, 3, 0.5), abs=1e-9)


def test_training_changes_its_tensors_in_place() -> None:
    x, y, weight = torch.tensor([1.0]).double(), torch.tensor([3.0]).double(), number(0.0)
    section = params_of("train_regression", {"epochs": 1, "optimizer": sgd(0.5)})
    rows = list(train(x, y, weight, None, section))
    assert rows == [(0, 9.0), (1, 0.0)]  # 0 - 0.5 * 2 * (0 - 3) = 3
    assert weight.item() == 3


def test_line_is_the_weight_times_x() -> None:
    x = torch.tensor([1.0, 2.0])
    assert forward(x, torch.tensor(3.0), None).tolist() == [3.0, 6.0]
    assert forward(x, torch.tensor(3.0), torch.tensor(0.5)).tolist() == [3.5, 6.5]


def test_several_features_add_up() -> None:
    x, weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([10.0, 1.0])
    assert forward(x, weight, None).tolist() == [12.0, 34.0]
    assert forward(x, weight, torch.tensor(0.5)).tolist() == [12.5, 34.5]


# Divergence


def test_divergence_is_reported_with_epoch_lr_and_bound() -> None:
    with pytest.raises(UserError) as error:
        history(optimizer=sgd(1.0))
    assert str(error.value) == (
        "train_regression: the loss must stay finite; it is inf at epoch 55 with SGD and lr 1.0. "
        "Plain SGD diverges here for lr >= 1 / sum(x^2) = 0.0029985. "
        "In params.yaml, lower train_regression.optimizer.lr, or set standardize: true for the "
        "table."
    )


def section_with(**changes: Any) -> TrainRegressionSection:
    return params_of("train_regression", changes)


@pytest.mark.parametrize(
    ("x", "section", "hint"),
    [
        (X[:, 0], section_with(), "1 / sum(x^2)"),
        (X[:, 0], section_with(loss_reduction="mean"), "n / sum(x^2)"),
        (X[:, 0], section_with(bias=True), "1 / largest eigenvalue of X^T X"),
        (X, section_with(loss_reduction="mean"), "n / largest eigenvalue of X^T X"),
    ],
)
def test_hint_on_the_lr_gives_its_own_bound(
    x: Tensor, section: TrainRegressionSection, hint: str
) -> None:
    bound = largest_stable_lr(x.numpy(), section.loss_reduction, section.bias)
    assert lr_hint(x, section) == f"Plain SGD diverges here for lr >= {hint} = {bound:.6g}. "


def test_no_bound_is_claimed_for_other_optimizers() -> None:
    assert lr_hint(X, section_with(optimizer={"name": "Adam", "lr": 1})) == ""


# The stage


def test_model_is_one_number_with_six_digits(finished: Change) -> None:
    model = load_file(MODEL)
    assert {name: (t.dtype, tuple(t.shape)) for name, t in model.items()} == {
        "weight": (torch.float32, ())
    }
    assert f"{model['weight'].item():.6g}" == read_rows()[-1][2]


def test_model_knows_its_data_and_its_loss(finished: Change) -> None:
    finished({"train_regression.loss_reduction": "mean"})
    call_stage("train_regression")
    _, of_tensors = load_tensors("data/tensors/regression.safetensors")
    assert load_tensors(MODEL)[1] == of_tensors.model_copy(update={"loss_reduction": "mean"})


def test_history_runs_from_no_update_to_the_last(finished: Change) -> None:
    header, *rows = read_rows()
    assert header == ["epoch", "loss", "weight"]
    assert [row[0] for row in rows] == ["0", "1", "2", "3", "4", "5"]
    assert rows[0][2] == "0.1"


def test_loss_of_the_metrics_is_the_last_of_the_history(finished: Change) -> None:
    loss = json.loads(Path(METRICS).read_text())
    assert loss == {"train_regression": {"loss": float(read_rows()[-1][1])}}


def test_line_with_a_bias_is_trained_and_stored(finished: Change) -> None:
    finished(
        {
            "train_regression.bias": True,
            "train_regression.epochs": 500,
            "train_regression.optimizer.lr": 0.08,
        }
    )
    call_stage("train_regression")
    tensors, model = load_file("data/tensors/regression.safetensors"), load_file(MODEL)
    slope, intercept = np.polyfit(tensors["x_train"], tensors["y_train"], 1)
    assert (model["weight"].shape, model["bias"].shape) == ((), ())
    assert model["weight"].item() == pytest.approx(slope, rel=1e-5)
    assert model["bias"].item() == pytest.approx(intercept, abs=1e-5)
    assert read_rows()[0] == ["epoch", "loss", "weight", "bias"]
    assert read_rows()[1][2:] == ["0.1", "0.0"]


def test_initial_weight_and_reduction_are_those_of_the_params(finished: Change) -> None:
    finished({"train_regression.initial_weight": 0.7, "train_regression.loss_reduction": "mean"})
    call_stage("train_regression")
    epoch, loss, weight = read_rows()[1]
    tensors = load_file("data/tensors/regression.safetensors")
    expected = ((0.7 * tensors["x_train"] - tensors["y_train"]) ** 2).mean().item()
    assert (epoch, weight) == ("0", "0.7")
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_device_and_dtype_are_those_of_the_params(
    finished: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    selected = []
    monkeypatch.setattr(
        train_regression, "select_device", lambda *a: selected.append(a) or select_device(*a)
    )
    finished({"device": "auto", "train_regression.dtype": "float32"})
    call_stage("train_regression")
    assert selected == [("auto", "float32")]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_everything_is_trained_in_the_dtype_of_the_params(
    finished: Change, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    seen = []

    def spy(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, section: Any) -> list:
        seen.extend([x.dtype, y.dtype, weight.dtype, bias.dtype])
        return fit(x, y, weight, bias, section)

    monkeypatch.setattr(train_regression, "fit", spy)
    finished({"train_regression.dtype": dtype, "train_regression.bias": True})
    call_stage("train_regression")
    assert seen == [getattr(torch, dtype)] * 4


def test_divergence_leaves_the_results_as_they_are(finished: Change) -> None:
    before = [Path(path).read_bytes() for path in (MODEL, HISTORY, METRICS)]
    finished({"train_regression.optimizer.lr": 1e29, "train_regression.epochs": 50})
    with pytest.raises(UserError, match="the loss must stay finite"):
        call_stage("train_regression")
    assert [Path(path).read_bytes() for path in (MODEL, HISTORY, METRICS)] == before


def test_weight_beyond_float32_is_rejected(finished: Change) -> None:
    before = Path(MODEL).read_bytes()
    finished({"train_regression.optimizer.lr": 1e4, "train_regression.epochs": 10})
    with pytest.raises(UserError, match=r"must fit float32, .* or lower the optimizer's lr"):
        call_stage("train_regression")
    assert Path(MODEL).read_bytes() == before


def test_loss_that_is_infinite_before_any_update_is_not_blamed_on_the_lr(finished: Change) -> None:
    finished({"train_regression.dtype": "float32", "train_regression.initial_weight": 1e30})
    with pytest.raises(UserError, match="at epoch 0 .* No update has been made yet: rescale"):
        call_stage("train_regression")


def test_missing_tensors_are_reported(small: Change) -> None:
    with pytest.raises(UserError) as error:
        call_stage("train_regression")
    assert str(error.value) == ("data/tensors/regression.safetensors is missing; run `dvc repro`.")


def test_summary_is_one_line_and_the_progress_silent_without_a_terminal(
    finished: Change, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    call_stage("train_regression")
    output = capsys.readouterr()
    assert output.err == ""
    assert output.out == ("train_regression: weight 0.105529 after 5 epochs of SGD, loss 11.1782\n")
