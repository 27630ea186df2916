"""The regression's loop against closed forms and NumPy, and what the stage writes."""

import csv
import json
import re
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
from stages.shared.batches import Rows
from stages.shared.linear import predict_linear
from stages.shared.models import load_regression
from stages.shared.run import Run
from stages.shared.tensors import load_tensors
from stages.shared.training import DivergenceError, select_device
from stages.train_regression import fit, forward

MODEL = "data/models/regression.safetensors"
HISTORY = "metrics/train_regression.csv"
METRICS = "metrics/train_regression.json"

X = torch.from_numpy(np.random.default_rng(0).standard_normal((50, 3)))


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def history(dtype: torch.dtype = torch.float64, **changes: Any) -> np.ndarray:
    """Train on the article's points; return the rows (epoch, loss, valid_loss, weight)."""
    section = params_of("train_regression", changes)
    x, y = (torch.from_numpy(values).to(dtype) for values in regression_data())
    weight = torch.tensor(section.initial_weight, dtype=dtype, requires_grad=True)
    return np.array(fit_rows(x, y, x[:10], y[:10], weight, None, section))


def fit_rows(
    x: Tensor,
    y: Tensor,
    x_valid: Tensor,
    y_valid: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    section: Any,
) -> list[tuple[float, ...]]:
    """Train on tensors in memory, and return the history."""
    train, valid = (
        Rows(*pair, weight.dtype, section.chunk_rows) for pair in ((x, y), (x_valid, y_valid))
    )
    return fit(train, valid, weight, bias, Run("train_regression", section))


def sgd(lr: float, **arguments: Any) -> dict[str, Any]:
    return {"name": "SGD", "lr": lr} | arguments


def read_rows() -> list[list[str]]:
    with open(HISTORY, newline="") as file:
        return list(csv.reader(file))


# The loop


def test_history_is_the_loop_in_numpy() -> None:
    expected = article_in_numpy.train_regression(*regression_data(), 0.1, 100, 1e-4)
    np.testing.assert_allclose(history()[:, [0, 1, 3]], expected, rtol=1e-12)


@pytest.mark.parametrize(("loss_reduction", "scale"), [("sum", 1000), ("mean", 1)])
def test_validation_loss_compares_with_the_training_loss(loss_reduction: str, scale: int) -> None:
    x, y = (values[:10] for values in regression_data())
    lr = 1e-4 * 1000 / scale
    rows = history(epochs=3, loss_reduction=loss_reduction, optimizer=sgd(lr))
    expected = [scale * ((y - weight * x) ** 2).mean() for weight in rows[:, 3]]
    np.testing.assert_allclose(rows[:, 2], expected, rtol=1e-12)
    assert len(set(rows[:, 2])) == 4


def test_validation_rows_do_not_change_the_training() -> None:
    section = params_of("train_regression", {"epochs": 5})
    x, y = map(torch.from_numpy, regression_data())
    first, second = (fit_rows(x, y, x[:n], -y[:n], number(0.1), None, section) for n in (1, 7))
    assert [(row[1], row[3]) for row in first] == [(row[1], row[3]) for row in second]
    assert [row[2] for row in first] != [row[2] for row in second]


@pytest.mark.parametrize("lr", [1e-4, 1e-3, 2.9e-3])
def test_weight_follows_the_closed_recursion(lr: float) -> None:
    x, y = regression_data()
    best, factor = (x @ y) / (x @ x), 1 - 2 * lr * (x @ x)
    epochs = np.arange(101)
    expected = best + factor**epochs * (0.1 - best)
    np.testing.assert_allclose(history(optimizer=sgd(lr))[:, 3], expected, atol=1e-9)


def test_mean_reduction_is_the_sum_with_a_smaller_lr() -> None:
    by_mean = history(epochs=10, loss_reduction="mean", optimizer=sgd(0.1))
    by_sum = history(epochs=10, loss_reduction="sum", optimizer=sgd(0.1 / 1000))
    np.testing.assert_allclose(by_mean[:, 3], by_sum[:, 3], atol=1e-12)
    np.testing.assert_allclose(by_mean[:, 1] * 1000, by_sum[:, 1], rtol=1e-12)


def test_momentum_step_by_hand() -> None:
    x, y = regression_data()
    weight, velocity = 0.1, 0.0
    for trained in history(epochs=5, optimizer=sgd(1e-4, momentum=0.9))[:, 3]:
        assert trained == pytest.approx(weight, abs=1e-12)
        velocity = 0.9 * velocity - 2 * (x * (y - weight * x)).sum()
        weight -= 1e-4 * velocity


def test_float32_is_close_to_float64() -> None:
    rows = history(torch.float32, epochs=20)
    np.testing.assert_allclose(rows, history(epochs=20), rtol=1e-5)
    trained = rows[:, [1, 3]]
    assert np.array_equal(trained, trained.astype(np.float32))


def test_bound_on_the_lr_is_where_sgd_begins_to_diverge() -> None:
    bound = 1 / (regression_data()[0] ** 2).sum()
    rows = history(epochs=50, optimizer=sgd(0.999 * bound))
    assert rows[-1, 1] < rows[0, 1]
    with pytest.raises(DivergenceError, match="the loss must not end above its start"):
        history(epochs=50, optimizer=sgd(1.001 * bound))


def test_several_weights_and_a_bias_reach_least_squares() -> None:
    y = X @ torch.tensor([1.0, -2.0, 3.0]).double() + 0.5
    weight, bias = torch.zeros(3).double().requires_grad_(), number(0.0)
    section = params_of("train_regression", {"bias": True, "epochs": 200, "optimizer": sgd(5e-3)})
    *_, last = fit_rows(X, y, X[:5], y[:5], weight, bias, section)
    assert last[0] == 200
    assert last[3] == pytest.approx(14**0.5)  # the norm of the weights
    assert last[4:] == pytest.approx((1, -2, 3, 0.5), abs=1e-9)


@pytest.mark.parametrize(("loss_reduction", "lr"), [("sum", 1e-3), ("mean", 0.1)])
def test_first_row_in_batches_is_that_of_the_untrained_weight(
    loss_reduction: str, lr: float
) -> None:
    changes = {"epochs": 2, "loss_reduction": loss_reduction, "optimizer": sgd(lr)}
    full, batches = history(**changes), history(**changes, batch_size=100)
    assert batches[0] == pytest.approx(full[0], rel=1e-12)
    assert batches[1, 1] != full[1, 1]


def test_training_changes_its_tensors_in_place() -> None:
    x, y, weight = torch.tensor([1.0]).double(), torch.tensor([3.0]).double(), number(0.0)
    section = params_of("train_regression", {"epochs": 1, "optimizer": sgd(0.5)})
    rows = fit_rows(x, y, x, y, weight, None, section)
    assert [row[:2] for row in rows] == [(0, 9.0), (1, 0.0)]  # 0 - 0.5 * 2 * (0 - 3) = 3
    assert weight.item() == 3


def test_line_is_the_weight_times_x() -> None:
    x = torch.tensor([1.0, 2.0])
    assert forward(x, torch.tensor(3.0), None).tolist() == [3.0, 6.0]
    assert forward(x, torch.tensor(3.0), torch.tensor(0.5)).tolist() == [3.5, 6.5]


def test_several_features_add_up() -> None:
    x, weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([10.0, 1.0])
    assert forward(x, weight, None).tolist() == [12.0, 34.0]
    assert forward(x, weight, torch.tensor(0.5)).tolist() == [12.5, 34.5]


# The stage


def test_model_is_one_number_with_six_digits(finished: Change) -> None:
    model = load_file(MODEL)
    assert {name: (t.dtype, tuple(t.shape)) for name, t in model.items()} == {
        "weight": (torch.float32, ())
    }
    assert f"{model['weight'].item():.6g}" == read_rows()[-1][3]


def test_model_knows_its_data_and_its_loss(finished: Change) -> None:
    finished({"train_regression.loss_reduction": "mean"})
    call_stage("train_regression")
    _, of_tensors = load_tensors("data/tensors/regression.safetensors")
    assert load_tensors(MODEL)[1] == of_tensors.model_copy(update={"loss_reduction": "mean"})


def test_history_runs_from_no_update_to_the_last(finished: Change) -> None:
    header, *rows = read_rows()
    assert header == ["epoch", "loss", "valid_loss", "weight"]
    assert [row[0] for row in rows] == ["0", "1", "2", "3", "4", "5"]
    assert rows[0][3] == "0.1"


def test_validation_loss_is_that_of_the_validation_part(finished: Change) -> None:
    tensors = load_file("data/tensors/regression.safetensors")
    expected = 8 * ((0.1 * tensors["x_valid"] - tensors["y_valid"]) ** 2).mean().item()
    assert float(read_rows()[1][2]) == pytest.approx(expected, rel=1e-5)


def test_losses_of_the_metrics_are_the_last_of_the_history(finished: Change) -> None:
    _, loss, valid_loss, _ = map(float, read_rows()[-1])
    assert json.loads(Path(METRICS).read_text()) == {
        "train_regression": {"loss": loss, "valid_loss": valid_loss}
    }


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
    assert model["bias"].dtype == torch.float64
    assert read_rows()[0] == ["epoch", "loss", "valid_loss", "weight", "bias"]
    assert read_rows()[1][3:] == ["0.1", "0.0"]
    assert float(read_rows()[-1][4]) == pytest.approx(model["bias"].item(), rel=5.1e-6)


def test_initial_weight_and_reduction_are_those_of_the_params(finished: Change) -> None:
    finished({"train_regression.initial_weight": 0.7, "train_regression.loss_reduction": "mean"})
    call_stage("train_regression")
    epoch, loss, valid_loss, weight = read_rows()[1]
    tensors = load_file("data/tensors/regression.safetensors")
    expected = ((0.7 * tensors["x_train"] - tensors["y_train"]) ** 2).mean().item()
    assert (epoch, weight) == ("0", "0.7")
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    expected = ((0.7 * tensors["x_valid"] - tensors["y_valid"]) ** 2).mean().item()
    assert float(valid_loss) == pytest.approx(expected, rel=1e-5)


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

    def spy(train: Rows, valid: Rows, weight: Tensor, bias: Tensor, run: Any) -> list:
        chunks = [tensor for rows in (train, valid) for tensor in next(iter(rows.whole))]
        seen.extend(tensor.dtype for tensor in (*chunks, weight, bias))
        return fit(train, valid, weight, bias, run)

    monkeypatch.setattr(train_regression, "fit", spy)
    finished({"train_regression.dtype": dtype, "train_regression.bias": True})
    call_stage("train_regression")
    assert seen == [getattr(torch, dtype)] * 6


def test_divergence_leaves_the_results_as_they_are(finished: Change) -> None:
    before = [Path(path).read_bytes() for path in (MODEL, HISTORY, METRICS)]
    finished({"train_regression.optimizer.lr": 1e29, "train_regression.epochs": 50})
    with pytest.raises(UserError, match="the loss must stay finite"):
        call_stage("train_regression")
    assert [Path(path).read_bytes() for path in (MODEL, HISTORY, METRICS)] == before


def test_loss_that_ends_above_its_start_is_reported_with_the_remedy(finished: Change) -> None:
    before = Path(MODEL).read_bytes()
    finished({"train_regression.optimizer.lr": 1.0, "train_regression.epochs": 10})
    squares = (load_file("data/tensors/regression.safetensors")["x_train"] ** 2).sum().item()
    loss = read_rows()[1][1]
    with pytest.raises(UserError) as error:
        call_stage("train_regression")
    message = re.sub(r"to \S+ in", "to L in", str(error.value))
    assert message == (
        f"train_regression: the loss must not end above its start; it went from {loss} to L in 10 "
        "epochs with SGD and lr 1.0. In params.yaml, set train_regression.optimizer.lr: "
        f"{0.5 / squares:.2g}, half of 1 / sum(x^2) = {1 / squares:.6g}, from which plain SGD "
        "diverges."
    )
    assert Path(MODEL).read_bytes() == before


def test_loss_that_is_infinite_before_any_update_is_not_blamed_on_the_lr(finished: Change) -> None:
    finished({"train_regression.dtype": "float32", "train_regression.initial_weight": 1e30})
    with pytest.raises(UserError, match="at epoch 0 .* set train_regression.dtype: float64"):
        call_stage("train_regression")


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("value", [0.0, 5.0])
def test_constant_features_train(small: Change, standardize: bool, value: float) -> None:
    small({"train_regression.optimizer.lr": 1e-3} | use_table(standardize, bias=False))
    y = np.random.default_rng(0).standard_normal(30)
    write_table(np.full(30, value), y)
    run_training()
    assert float(read_rows()[-1][1]) <= float(read_rows()[1][1])
    is_constant = standardize or value == 0
    assert (load_file(MODEL)["weight"].item() == pytest.approx(0.1)) is is_constant


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("offset", [0.0, 1e3, 1e7])
def test_published_model_predicts_what_it_learned_whatever_the_offset(
    small: Change, standardize: bool, offset: float
) -> None:
    x, noise = np.random.default_rng(0).standard_normal((2, 100))
    write_table(x, offset + 3 * x + 0.3 * noise)
    small(
        use_table(standardize, bias=True)
        | {"train_regression.epochs": 100, "train_regression.optimizer.lr": 0.006}
    )
    run_training()
    tensors, metadata = load_tensors("data/tensors/regression.safetensors")
    weight, bias, _ = load_regression(MODEL)
    mse = ((predict_linear(tensors["x_train"], weight, bias) - tensors["y_train"]) ** 2).mean()
    loss, n = float(read_rows()[-1][1]), len(tensors["y_train"])
    assert mse.item() == pytest.approx(loss / n, rel=1e-5)
    assert loss / n == pytest.approx(0.09, rel=0.3)  # the variance of the noise
    shift = (bias.item() if bias is not None else 0) + (metadata.target_mean or 0)
    assert shift == pytest.approx(offset, abs=0.6)


def test_bias_of_a_centered_target_is_zero_and_not_noise(small: Change) -> None:
    x, noise = np.random.default_rng(0).standard_normal((2, 100))
    write_table(x, 1000 + 3 * x + noise)
    small(use_table(standardize=True, bias=True))
    run_training()
    assert load_file(MODEL)["bias"].item() == 0
    assert {row[4] for row in read_rows()[1:]} == {"0.0"}


def write_table(x: np.ndarray, y: np.ndarray) -> None:
    rows = "".join(f"{a!r},{b!r}\n" for a, b in zip(x.tolist(), y.tolist(), strict=True))
    Path("line.csv").write_text(f"x,y\n{rows}")


def use_table(standardize: bool, bias: bool) -> dict[str, Any]:
    return {
        "convert_to_tensors.regression.table": "line.csv",
        "convert_to_tensors.regression.standardize": standardize,
        "train_regression.bias": bias,
    }


def run_training() -> None:
    for stage in ("generate_data", "convert_to_tensors", "train_regression"):
        call_stage(stage)


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
