"""Train the regression: one weight, fitted to the points by gradient descent.

params.yaml, data/tensors/regression.safetensors -> data/models/regression.safetensors (weight),
metrics/train_regression.csv (epoch, loss, weight), metrics/train_regression.json

    y_hat = x * weight,  loss = sum((y_hat - y)^2), or their mean
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from stages.core.schema import TrainRegression, TrainRegressionSection
from stages.shared.linear import coefficient_names
from stages.shared.metadata import Metadata
from stages.shared.metrics import write_csv, write_json
from stages.shared.models import round_state
from stages.shared.tensors import load_tensors, save_tensors
from stages.shared.theory import largest_stable_lr
from stages.shared.training import make_optimizer, select_device, track


def main(params: TrainRegression) -> None:
    """Run the stage."""
    section = params.train_regression
    device, dtype = select_device(params.device, section.dtype)
    tensors, metadata = load_tensors("data/tensors/regression.safetensors")
    x = tensors["x_train"].to(device, dtype)  # (n_samples,), or (n_samples, n_features)
    y = tensors["y_train"].to(device, dtype)  # (n_samples,)
    weight = torch.full(x.shape[1:], section.initial_weight, device=device, dtype=dtype)
    weight.requires_grad_()  # (), or (n_features,)
    bias = torch.zeros((), device=device, dtype=dtype, requires_grad=True) if section.bias else None
    history = fit(x, y, weight, bias, section)
    save(weight, bias, history, metadata, section)


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
    x: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None, section: TrainRegressionSection
) -> list[tuple[int | float, ...]]:
    """Train to the end and return the history: rows (epoch, loss, weight, ...)."""
    rows = track(
        train(x, y, weight, bias, section),
        "train_regression",
        section.epochs,
        section.optimizer,
        hint=lambda: lr_hint(x, section),
    )
    return [(epoch, loss, *coefficients(weight, bias)) for epoch, loss in rows]


def coefficients(weight: Tensor, bias: Tensor | None) -> list[float]:
    """Return the numbers that `coefficient_names` names."""
    values = [weight.item()] if weight.dim() == 0 else [weight.norm().item(), *weight.tolist()]
    return values if bias is None else [*values, bias.item()]


def lr_hint(x: Tensor, section: TrainRegressionSection) -> str:
    """Return the sentence, for an error, on the learning rates at which SGD diverges."""
    if section.optimizer.name != "SGD":
        return ""
    numerator = "n" if section.loss_reduction == "mean" else "1"
    curvature = "sum(x^2)" if x.dim() == 1 and not section.bias else "largest eigenvalue of X^T X"
    bound = largest_stable_lr(x.cpu().numpy(), section.loss_reduction, section.bias)
    return f"Plain SGD diverges here for lr >= {numerator} / {curvature} = {bound:.6g}. "


def save(
    weight: Tensor,
    bias: Tensor | None,
    history: list[tuple[int | float, ...]],
    metadata: Metadata,
    section: TrainRegressionSection,
) -> None:
    """Write the model, the history and the metrics."""
    state = {"weight": weight} if bias is None else {"bias": bias, "weight": weight}
    metadata = metadata.model_copy(update={"loss_reduction": section.loss_reduction})
    columns = ["epoch", "loss", *coefficient_names(metadata.features, section.bias)]
    loss = history[-1][1]
    save_tensors("data/models/regression.safetensors", round_state(state), metadata)
    write_csv("metrics/train_regression.csv", columns, history)
    write_json("metrics/train_regression.json", {"train_regression": {"loss": loss}})
    trained = f"weight {weight.item():.6g}" if weight.dim() == 0 else f"{len(weight)} weights"
    print(
        f"train_regression: {trained} after {section.epochs} epochs of {section.optimizer.name}, "
        f"loss {loss:.6g}"
    )
