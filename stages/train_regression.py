"""Train the regression: one weight, fitted to the points by gradient descent.

params.yaml, data/tensors/regression.safetensors -> data/models/regression.safetensors (weight),
metrics/train_regression.csv (epoch, loss, valid_loss, weight), metrics/train_regression.json

    y_hat = x * weight,  loss = sum((y_hat - y)^2), or their mean
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from stages.core.schema import TrainRegression, TrainRegressionSection
from stages.shared.advice import check_dtype, regression_remedy
from stages.shared.linear import coefficient_names
from stages.shared.metadata import Metadata
from stages.shared.metrics import write_csv, write_json
from stages.shared.models import round_bias, round_state
from stages.shared.tensors import load_tensors, save_tensors
from stages.shared.training import explain_divergence, make_optimizer, select_device, track


def main(params: TrainRegression) -> None:
    """Run the stage."""
    section = params.train_regression
    device, dtype = select_device(params.device, section.dtype)
    tensors, metadata = load_tensors("data/tensors/regression.safetensors")
    check_dtype(tensors["x_train"], tensors["y_train"], metadata, dtype)
    x = tensors["x_train"].to(device, dtype)  # (n_samples,), or (n_samples, n_features)
    y = tensors["y_train"].to(device, dtype)  # (n_samples,)
    x_valid, y_valid = (tensors[f"{name}_valid"].to(device, dtype) for name in "xy")
    weight = torch.full(x.shape[1:], section.initial_weight, device=device, dtype=dtype)
    weight.requires_grad_()  # (), or (n_features,)
    bias = torch.zeros((), device=device, dtype=dtype, requires_grad=True) if section.bias else None
    with explain_divergence("train_regression", regression_remedy, x, metadata.features, section):
        history = fit(x, y, x_valid, y_valid, weight, bias, section)
    save(weight, bias, y, history, metadata, section)


def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return y_hat = x * weight, (n_samples,), plus the bias; several features add up."""
    y_hat = x * weight if weight.dim() == 0 else x @ weight
    return y_hat if bias is None else y_hat + bias


def train(
    x: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None, section: TrainRegressionSection
) -> Iterator[tuple[int, float]]:
    """Train in place; yield (epoch, loss), where epoch counts the updates so far."""
    loss_function = nn.MSELoss(reduction=section.loss_reduction)
    optimizer = make_optimizer([weight] if bias is None else [weight, bias], section.optimizer)
    for epoch in range(section.epochs):
        y_hat = forward(x, weight, bias)  # (n_samples,)
        loss = loss_function(y_hat, y)  # ()
        yield epoch, loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        yield section.epochs, loss_function(forward(x, weight, bias), y).item()


def fit(
    x: Tensor,
    y: Tensor,
    x_valid: Tensor,
    y_valid: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    section: TrainRegressionSection,
) -> list[tuple[int | float, ...]]:
    """Train to the end and return the history: rows (epoch, loss, valid_loss, weight, ...).

    For the reduction by sum, valid_loss is the mean squared error of the validation rows times the
    number of training rows, so that both losses compare. Raises DivergenceError.
    """
    scale = len(y) if section.loss_reduction == "sum" else 1
    history: list[tuple[int | float, ...]] = []
    for row in track(
        train(x, y, weight, bias, section), "train_regression", section.epochs, section.optimizer
    ):
        with torch.no_grad():
            error = nn.functional.mse_loss(forward(x_valid, weight, bias), y_valid).item()
        history.append((*row, scale * error, *coefficients(weight, bias, y)))
    return history


def coefficients(weight: Tensor, bias: Tensor | None, y: Tensor) -> list[float]:
    """Return the numbers that `coefficient_names` names, the bias rounded as it is stored."""
    values = [weight.item()] if weight.dim() == 0 else [weight.norm().item(), *weight.tolist()]
    return values if bias is None else [*values, round_bias(bias, y).item()]


def save(
    weight: Tensor,
    bias: Tensor | None,
    y: Tensor,
    history: list[tuple[int | float, ...]],
    metadata: Metadata,
    section: TrainRegressionSection,
) -> None:
    """Write the model, the history and the metrics."""
    state = round_state({"weight": weight}) | (
        {} if bias is None else {"bias": round_bias(bias, y)}
    )
    metadata = metadata.model_copy(update={"loss_reduction": section.loss_reduction})
    names = coefficient_names(metadata.features, section.bias)
    _, loss, valid_loss, *_ = history[-1]
    save_tensors("data/models/regression.safetensors", state, metadata)
    write_csv("metrics/train_regression.csv", ["epoch", "loss", "valid_loss", *names], history)
    metrics = {"train_regression": {"loss": loss, "valid_loss": valid_loss}}
    write_json("metrics/train_regression.json", metrics)
    trained = f"weight {weight.item():.6g}" if weight.dim() == 0 else f"{len(weight)} weights"
    print(
        f"train_regression: {trained} after {section.epochs} epochs of {section.optimizer.name}, "
        f"loss {loss:.6g}"
    )
