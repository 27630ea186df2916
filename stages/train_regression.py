"""Train one weight by gradient descent: the slope of the line through the points.

params.yaml, data/tensors/regression.safetensors -> data/models/regression.safetensors (weight),
metrics/train_regression.csv (epoch, loss, weight), metrics/train_regression.json

    y_hat = x * weight,  loss = sum((y_hat - y)^2), or the mean of the squares

Several features have a weight each, and with `bias: true` the line has an intercept, too.
"""

from collections.abc import Iterator

from stages.parameters import RegressionTraining, TrainRegression, read_parameters
from stages.startup import quick_imports

if __name__ == "__main__":  # a wrong value is answered before the slow imports
    read_parameters(TrainRegression)

with quick_imports():
    import torch
    from torch import Tensor, nn

    from stages.limits import largest_stable_lr, least_squares
    from stages.metrics import write_csv, write_json
    from stages.models import (
        coefficient_names,
        coefficients,
        linear,
        published_tensor,
        save_model,
    )
    from stages.progress import follow
    from stages.runtime import no_compiler, set_up
    from stages.tensors import load_tensors

TENSORS = "data/tensors/regression.safetensors"
MODEL = "data/models/regression.safetensors"
HISTORY = "metrics/train_regression.csv"
METRICS = "metrics/train_regression.json"


def train(
    x: Tensor,
    y: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    loss_function: nn.Module,
    optimizer: torch.optim.Optimizer,
    epochs: int,
) -> Iterator[tuple[int | float, ...]]:
    """Train `weight`, and `bias` if there is one, in place on all of x and y.

    x and weight have the shapes (n_samples,) and (), or (n_samples, n_features) and (n_features,);
    y has shape (n_samples,) and bias (). Yields rows (epoch, loss, weight), with more columns for
    several weights or a bias (coefficient_names): row k is the state after k updates, with the
    loss there.
    """
    for epoch in range(epochs):
        y_hat = linear(x, weight, bias)  # (n_samples,)
        loss = loss_function(y_hat, y)  # ()
        yield epoch, loss.item(), *coefficients(weight, bias)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        loss = loss_function(linear(x, weight, bias), y)
    yield epochs, loss.item(), *coefficients(weight, bias)


def lr_bound(x: Tensor, training: RegressionTraining) -> str:
    """Return the sentence, for an error, on the learning rates at which SGD diverges."""
    if training.optimizer.name != "SGD":
        return ""
    numerator = "n" if training.loss_reduction == "mean" else "1"
    curvature = "sum(x^2)" if x.dim() == 1 and not training.bias else "largest eigenvalue of X^T X"
    bound = largest_stable_lr(x.cpu().numpy(), training.loss_reduction, training.bias)
    return f"Plain SGD diverges here from lr {numerator} / {curvature} = {bound:.6g} on. "


def main() -> None:
    """Run the stage."""
    parameters = read_parameters(TrainRegression)
    training = parameters.train_regression
    device = set_up(parameters.device, training.dtype)
    dtype = getattr(torch, training.dtype)

    tensors, facts = load_tensors(TENSORS, maker="convert_to_tensors")
    x = tensors["x_train"].to(device, dtype)  # (n_samples,) or (n_samples, n_features)
    y = tensors["y_train"].to(device, dtype)  # (n_samples,)
    weight = torch.full(  # () or (n_features,)
        x.shape[1:], training.initial_weight, device=device, dtype=dtype, requires_grad=True
    )
    bias = torch.zeros((), device=device, dtype=dtype, requires_grad=True)
    bias = bias if training.bias else None
    loss_function = nn.MSELoss(reduction=training.loss_reduction)
    with no_compiler():
        optimizer = getattr(torch.optim, training.optimizer.name)(
            [weight] if bias is None else [weight, bias], **training.optimizer.arguments
        )
        rows = train(x, y, weight, bias, loss_function, optimizer, training.epochs)
        history = follow("train_regression", rows, training, lr_bound(x, training))

    best = least_squares(tensors["x_train"].numpy(), tensors["y_train"].numpy(), training.bias)
    best_weight = torch.from_numpy(best[: weight.numel()]).to(device, dtype).reshape(weight.shape)
    best_bias = torch.tensor(best[-1], device=device, dtype=dtype) if training.bias else None
    final_loss = history[-1][1]
    best_loss = loss_function(linear(x, best_weight, best_bias), y).item()
    state = {"weight": weight} if bias is None else {"bias": bias, "weight": weight}
    published = {name: published_tensor(tensor) for name, tensor in state.items()}
    save_model(MODEL, published, kind="regression", **facts)
    write_csv(
        HISTORY, ("epoch", "loss", *coefficient_names(facts["features"], training.bias)), history
    )
    write_json(METRICS, {"train_regression": {"loss": final_loss, "least_squares_loss": best_loss}})
    fitted = f"weight {weight.item():.6g}" if weight.dim() == 0 else f"{len(weight)} weights"
    print(
        f"train_regression: {fitted} after {training.epochs} epochs of "
        f"{training.optimizer.name}, loss {final_loss:.6g} (least squares: {best_loss:.6g})"
    )


if __name__ == "__main__":
    main()
