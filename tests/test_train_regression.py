import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, safe_open
from torch import nn, optim

from conftest import PROJECT, call_main
from stages import generate_data, train_regression
from stages.errors import UserError
from stages.limits import largest_stable_lr, least_squares
from stages.models import linear
from stages.parameters import GenerateData, read_parameters
from stages.runtime import set_up
from stages.train_regression import HISTORY, METRICS, MODEL, train


def article_data():
    """Return x and y of the committed parameters, float64 (1000,)."""
    data = read_parameters(GenerateData).generate_data
    parts = generate_data.regression_data(data.seed, data.regression)
    columns = next(columns for split, columns in parts if split == "train")
    return columns["x"], columns["y"]


def history(epochs, lr=1e-4, reduction="sum", dtype=torch.float64, initial=0.1, **arguments):
    x, y = (torch.from_numpy(values).to(dtype) for values in article_data())
    weight = torch.tensor(initial, dtype=dtype, requires_grad=True)
    optimizer = optim.SGD([weight], lr=lr, **arguments)
    return list(train(x, y, weight, None, nn.MSELoss(reduction=reduction), optimizer, epochs))


@pytest.mark.parametrize("lr", [1e-4, 1e-3, 2.9e-3])
def test_weight_follows_the_closed_recursion(edit, lr):
    x, y = article_data()
    best, factor = (x @ y) / (x @ x), 1 - 2 * lr * (x @ x)
    for epoch, _, weight in history(epochs=100, lr=lr):
        assert weight == pytest.approx(best + factor**epoch * (0.1 - best), abs=1e-9)


def test_mean_reduction_is_the_sum_with_a_smaller_lr(edit):
    by_mean = history(epochs=10, lr=0.1, reduction="mean")
    by_sum = history(epochs=10, lr=0.1 / 1000, reduction="sum")
    assert [w for _, _, w in by_mean] == pytest.approx([w for _, _, w in by_sum], abs=1e-12)


def test_loss_of_a_row_belongs_to_its_weight(edit):
    x, y = article_data()
    for _, loss, weight in history(epochs=5):
        assert loss == pytest.approx(((y - weight * x) ** 2).sum(), rel=1e-12)


def test_rows_run_from_no_update_to_the_last(edit):
    rows = history(epochs=3)
    assert [epoch for epoch, _, _ in rows] == [0, 1, 2, 3]
    assert rows[0][2] == 0.1


def test_momentum_step_by_hand(edit):
    x, y = article_data()
    weight, velocity = 0.1, 0.0
    for _, _, trained in history(epochs=5, momentum=0.9):
        assert trained == pytest.approx(weight, abs=1e-12)
        velocity = 0.9 * velocity - 2 * (x * (y - weight * x)).sum()
        weight -= 1e-4 * velocity


def test_committed_history_is_the_loop_in_numpy(edit):
    x, y = article_data()
    weight, expected = 0.1, []
    for epoch in range(101):
        residual = weight * x - y
        expected.append((epoch, (residual**2).sum(), weight))
        weight -= 1e-4 * 2 * (residual * x).sum()
    with open(PROJECT / HISTORY, newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["epoch", "loss", "weight"]
    np.testing.assert_allclose(np.array(rows, dtype=float), expected, rtol=5.01e-6)


def test_committed_weight_is_close_to_least_squares(edit):
    weight = json.loads((PROJECT / "metrics/evaluate.json").read_text())["regression"]["weight"]
    assert weight == pytest.approx(least_squares(*article_data())[0], abs=0.01)


def test_forward_is_the_weight_times_x():
    x, weight, bias = torch.tensor([1.0, 2.0]), torch.tensor(3.0), torch.tensor(0.5)
    assert linear(x, weight).tolist() == [3.0, 6.0]
    assert linear(x, weight, bias).tolist() == [3.5, 6.5]


def test_forward_of_several_features_adds_their_parts():
    X, weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([10.0, 1.0])
    assert linear(X, weight).tolist() == [12.0, 34.0]
    assert linear(X, weight, torch.tensor(0.5)).tolist() == [12.5, 34.5]


def test_several_weights_and_a_bias_reach_least_squares(edit):
    X = torch.from_numpy(np.random.default_rng(0).standard_normal((50, 3)))
    y = X @ torch.tensor([1.0, -2.0, 3.0]).double() + 0.5
    weight = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = optim.SGD([weight, bias], lr=5e-3)
    *_, last = train(X, y, weight, bias, nn.MSELoss(reduction="sum"), optimizer, 200)
    assert last[3:] == pytest.approx([1, -2, 3, 0.5], abs=1e-9)
    assert last[2] == pytest.approx(14**0.5)


def test_line_with_an_intercept_is_trained_and_published(finished):
    finished(
        ("bias: false", "bias: true"), ("epochs: 5", "epochs: 500"), ("lr: 1.0e-4", "lr: 0.08")
    )
    call_main("train_regression")
    tensors = load_file("data/tensors/regression.safetensors")
    slope, intercept = np.polyfit(tensors["x_train"], tensors["y_train"], 1)
    model = load_file(MODEL)
    assert (model["weight"].shape, model["bias"].shape) == ((), ())
    assert model["weight"].item() == pytest.approx(slope, rel=1e-5)
    assert model["bias"].item() == pytest.approx(intercept, abs=1e-5)
    assert Path(HISTORY).read_text().splitlines()[0] == "epoch,loss,weight,bias"


def test_model_file_holds_one_rounded_weight(finished):
    assert load_file(MODEL)["weight"].shape == ()
    assert load_file(MODEL)["weight"].dtype == torch.float32
    with safe_open(MODEL, framework="pt") as file:
        assert file.metadata() == {
            "model": '{"features": ["x"], "kind": "regression", "target": "y"}'
        }


def test_published_weight_is_the_last_of_the_history(finished):
    last = Path(HISTORY).read_text().splitlines()[-1].split(",")[2]
    assert f"{load_file(MODEL)['weight'].item():.6g}" == last


def test_loss_stands_beside_that_of_least_squares(finished):
    metrics = json.loads(Path(METRICS).read_text())["train_regression"]
    assert 0 < metrics["least_squares_loss"] <= metrics["loss"]


def test_divergence_names_epoch_lr_and_bound(edit):
    edit(("lr: 1.0e-4", "lr: 1"))
    call_main("generate_data")
    call_main("convert_to_tensors")
    with pytest.raises(UserError) as error:
        call_main("train_regression")
    assert str(error.value) == (
        "train_regression: the loss must stay finite; it is inf at epoch 55 with SGD and lr 1.0. "
        "Plain SGD diverges here from lr 1 / sum(x^2) = 0.0029985 on. "
        "Lower train_regression.optimizer.lr in params.yaml."
    )
    assert not Path("metrics/train_regression.json").exists()


def test_weight_beyond_float32_is_refused(edit):
    edit(("lr: 1.0e-4", "lr: 0.02"))
    call_main("generate_data")
    call_main("convert_to_tensors")
    with pytest.raises(UserError, match="must fit float32, .* training diverged. Lower the opt"):
        call_main("train_regression")
    assert not Path(MODEL).exists()


@pytest.mark.parametrize(("lr", "converges"), [(0.00299, True), (0.00301, False)])
def test_bound_on_lr_is_where_sgd_turns(edit, lr, converges):
    rows = history(epochs=50, lr=lr)
    assert (rows[-1][1] < rows[0][1]) is converges


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_everything_is_trained_in_the_dtype_of_the_parameters(finished, monkeypatch, dtype):
    seen = []

    def spy(x, y, weight, bias, *others):
        seen.extend([x.dtype, y.dtype, weight.dtype, bias.dtype])
        return train(x, y, weight, bias, *others)

    monkeypatch.setattr(train_regression, "train", spy)
    finished(("dtype: float64", f"dtype: {dtype}"), ("bias: false", "bias: true"))
    call_main("train_regression")
    assert seen == [getattr(torch, dtype)] * 4


def test_initial_weight_reduction_and_device_are_those_of_the_parameters(finished, monkeypatch):
    finished(("initial_weight: 0.1", "initial_weight: 0.7"), ("reduction: sum", "reduction: mean"))
    asked = []
    monkeypatch.setattr(train_regression, "set_up", lambda *a: asked.append(a) or set_up(*a))
    call_main("train_regression")
    epoch, loss, weight = Path(HISTORY).read_text().splitlines()[1].split(",")
    tensors = load_file("data/tensors/regression.safetensors")
    x, y = tensors["x_train"].numpy(), tensors["y_train"].numpy()
    assert (epoch, weight) == ("0", "0.7")
    assert float(loss) == pytest.approx(((0.7 * x - y) ** 2).mean(), rel=1e-5)
    metrics = json.loads(Path(METRICS).read_text())["train_regression"]
    best = ((x @ y) / (x @ x) * x - y) ** 2
    assert metrics["least_squares_loss"] == pytest.approx(best.mean(), rel=1e-5)
    assert f"{metrics['loss']:.6g}" == Path(HISTORY).read_text().splitlines()[-1].split(",")[1]
    assert asked == [("cpu", "float64")]


def test_divergence_of_the_mean_names_its_own_bound(finished):
    finished(("loss_reduction: sum", "loss_reduction: mean"), ("lr: 1.0e-4", "lr: 1e29"))
    finished(("epochs: 5", "epochs: 50"))
    x = load_file("data/tensors/regression.safetensors")["x_train"].numpy()
    with pytest.raises(UserError) as error:
        call_main("train_regression")
    assert f"diverges here from lr n / sum(x^2) = {8 / (x @ x):.6g} on" in str(error.value)


def test_line_with_an_intercept_stands_beside_least_squares_with_one(finished):
    finished(("bias: false", "bias: true"))
    call_main("train_regression")
    assert Path(HISTORY).read_text().splitlines()[1].endswith(",0.1,0.0")
    tensors = load_file("data/tensors/regression.safetensors")
    best = np.polyfit(tensors["x_train"], tensors["y_train"], 1, full=True)[1].item()
    metrics = json.loads(Path(METRICS).read_text())["train_regression"]
    assert metrics["least_squares_loss"] == pytest.approx(best, rel=1e-5)


def test_divergence_with_an_intercept_names_its_own_bound(finished):
    finished(("bias: false", "bias: true"), ("lr: 1.0e-4", "lr: 1e29"), ("epochs: 5", "epochs: 50"))
    x = load_file("data/tensors/regression.safetensors")["x_train"].numpy()
    bound = largest_stable_lr(x, "sum", bias=True)
    with pytest.raises(UserError) as error:
        call_main("train_regression")
    assert f"from lr 1 / largest eigenvalue of X^T X = {bound:.6g} on" in str(error.value)


def test_loss_that_is_lost_before_any_update_is_not_blamed_on_lr(finished):
    finished(("dtype: float64", "dtype: float32"), ("initial_weight: 0.1", "initial_weight: 1e30"))
    with pytest.raises(UserError, match="at epoch 0 .* before any update: choose smaller data or"):
        call_main("train_regression")


def test_progress_is_silent_without_a_terminal(finished, capsys):
    call_main("train_regression")
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.startswith("train_regression: weight ")
    assert captured.out.count("\n") == 1
