"""Train one weight by gradient descent: the slope of the line through the points.

params.yaml, data/tensors/regression.safetensors -> data/models/regression.safetensors (weight),
metrics/train_regression.csv (epoch, loss, weight), metrics/train_regression.json

    y_hat = x * weight,  loss = sum((y_hat - y)^2), or the mean of the squares
"""

from collections.abc import Iterator

from stages.parameters import RegressionTraining, TrainRegression, read_parameters
from stages.startup import quick_imports

if __name__ == "__main__":  # a wrong value is answered before the slow imports
    read_parameters(TrainRegression)

with quick_imports():
    import torch
    from torch import Tensor, nn

    from stages.limits import largest_stable_lr, least_squares_weight
    from stages.metrics import write_csv, write_json
    from stages.models import published_tensor, save_model
    from stages.progress import follow
    from stages.runtime import no_compiler, set_up
    from stages.tensors import load_tensors

TENSORS = "data/tensors/regression.safetensors"
MODEL = "data/models/regression.safetensors"
HISTORY = "metrics/train_regression.csv"
METRICS = "metrics/train_regression.json"


def forward(x: Tensor, weight: Tensor) -> Tensor:
    """Return y_hat = x * weight, of the shape of x; `weight` has shape ()."""
    return x * weight


def train(
    x: Tensor,
    y: Tensor,
    weight: Tensor,
    loss_function: nn.Module,
    optimizer: torch.optim.Optimizer,
    epochs: int,
) -> Iterator[tuple[int, float, float]]:
    """Train `weight`, of shape (), in place on all of x and y, both of shape (n_samples,).

    Yields rows (epoch, loss, weight): row k is the state after k updates, with the loss there.
    """
    for epoch in range(epochs):
        y_hat = forward(x, weight)  # (n_samples,)
        loss = loss_function(y_hat, y)  # ()
        yield epoch, loss.item(), weight.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        loss = loss_function(forward(x, weight), y)
    yield epochs, loss.item(), weight.item()


def lr_bound(x: Tensor, training: RegressionTraining) -> str:
    """Return the sentence, for an error, on the learning rates at which SGD diverges."""
    if training.optimizer.name != "SGD":
        return ""
    numerator = "n" if training.loss_reduction == "mean" else "1"
    bound = largest_stable_lr(x, training.loss_reduction)
    return f"Plain SGD diverges here from lr {numerator} / sum(x^2) = {bound:.6g} on. "


def main() -> None:
    """Run the stage."""
    parameters = read_parameters(TrainRegression)
    training = parameters.train_regression
    device = set_up(parameters.device, training.dtype)
    dtype = getattr(torch, training.dtype)

    tensors, _ = load_tensors(TENSORS, maker="convert_to_tensors")
    x = tensors["x_train"].to(device, dtype)  # (n_samples,)
    y = tensors["y_train"].to(device, dtype)  # (n_samples,)
    weight = torch.tensor(training.initial_weight, device=device, dtype=dtype, requires_grad=True)
    loss_function = nn.MSELoss(reduction=training.loss_reduction)
    with no_compiler():
        optimizer = getattr(torch.optim, training.optimizer.name)(
            [weight], **training.optimizer.arguments
        )
        rows = train(x, y, weight, loss_function, optimizer, training.epochs)
        history = follow("train_regression", rows, training, lr_bound(x, training))

    best = torch.tensor(least_squares_weight(x, y), device=device, dtype=dtype)
    final_loss, best_loss = history[-1][1], loss_function(forward(x, best), y).item()
    save_model(MODEL, {"weight": published_tensor(weight)}, kind="regression")
    write_csv(HISTORY, ("epoch", "loss", "weight"), history)
    write_json(METRICS, {"train_regression": {"loss": final_loss, "least_squares_loss": best_loss}})
    print(
        f"train_regression: weight {weight.item():.6g} after {training.epochs} epochs of "
        f"{training.optimizer.name}, loss {final_loss:.6g} (least squares: {best_loss:.6g})"
    )


if __name__ == "__main__":
    main()
