"""Train the regression: one weight, fitted to the points by gradient descent.

params.yaml, data/tensors/regression.safetensors -> data/models/regression.safetensors (weight),
metrics/train_regression.csv (epoch, loss, valid_loss, weight), metrics/train_regression.json

    y_hat = x * weight,  loss = sum((y_hat - y)^2), or their mean
"""

import torch
from torch import Tensor, nn

from stages.core.schema import TrainRegression, TrainRegressionSection
from stages.shared.advice import check_dtype, regression_remedy
from stages.shared.batches import Rows, load_rows
from stages.shared.linear import coefficient_names
from stages.shared.metadata import Metadata
from stages.shared.metrics import write_csv, write_json
from stages.shared.models import State, round_bias, round_state
from stages.shared.ranks import process_group, rank, sum_over_ranks
from stages.shared.run import Row, Run
from stages.shared.tensors import load_tensors, save_tensors
from stages.shared.training import explain_divergence, make_optimizer, select_device

TENSORS = "data/tensors/regression.safetensors"


def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return y_hat = x * weight, (n_samples,), plus the bias; several features add up."""
    y_hat = x * weight if weight.dim() == 0 else x @ weight
    return y_hat if bias is None else y_hat + bias


def fit(
    train: Rows, valid: Rows, weight: Tensor, bias: Tensor | None, run: Run[TrainRegressionSection]
) -> list[Row]:
    """Train in place; return the history, whose rows are (epoch, loss, valid_loss, weight, ...)."""
    is_mean = run.section.loss_reduction == "mean"
    n_all = train.n_rows if is_mean else 1
    loss_function = nn.MSELoss(reduction="sum")
    parameters = [weight] if bias is None else [weight, bias]
    optimizer = make_optimizer(parameters, run.section.optimizer)
    run.start({"weight": weight} | ({} if bias is None else {"bias": bias}), optimizer)
    for epoch in run.epochs(train):
        if run.is_new_epoch:
            run.measured = measure(train, valid, weight, bias, is_mean)
            if run.needs_untrained:
                run.untrained = (squared_error(train, weight, bias) / n_all,)
        for batch in run.batches(train, epoch):
            divisor, share = (batch.n_rows, batch.share) if is_mean else (1, 1)
            optimizer.zero_grad()
            for x, y in batch:  # chunk by chunk: the gradients add up
                y_hat = forward(x, weight, bias)  # (n_samples,)
                loss = loss_function(y_hat, y) / divisor  # ()
                loss.backward()
                run.add(loss.item() * share)
            run.sum_over_ranks(parameters)
            optimizer.step()
    return run.finish(squared_error(train, weight, bias) / n_all)


def measure(train: Rows, valid: Rows, weight: Tensor, bias: Tensor | None, is_mean: bool) -> Row:
    """Return (valid_loss, weight, ...) as they are now.

    For the reduction by sum, valid_loss is the mean squared error of the validation rows times the
    number of training rows, so that both losses compare.
    """
    scale = 1 if is_mean else train.n_rows
    valid_loss = scale * squared_error(valid, weight, bias) / valid.n_rows
    return valid_loss, *coefficients(weight, bias, train)


@torch.no_grad()
def squared_error(rows: Rows, weight: Tensor, bias: Tensor | None) -> float:
    """Return the sum of (y_hat - y)^2 over all rows."""
    squares = sum(
        nn.functional.mse_loss(forward(x, weight, bias), y, reduction="sum").item()
        for x, y in rows.whole
    )
    return sum_over_ranks([], [squares])[0]


def coefficients(weight: Tensor, bias: Tensor | None, train: Rows) -> list[float]:
    """Return the numbers that `coefficient_names` names, the bias rounded as it is stored."""
    values = [weight.item()] if weight.dim() == 0 else [weight.norm().item(), *weight.tolist()]
    return values if bias is None else [*values, round_bias(bias, train.target_std).item()]


def main(params: TrainRegression) -> None:
    """Run the stage."""
    section = params.train_regression
    device, dtype = select_device(params.device, section.dtype)
    with process_group(device.type, params.timeout):
        tensors, metadata = load_tensors(TENSORS)
        x = tensors["x_train"]  # (n_samples,), or (n_samples, n_features)
        check_dtype(x, tensors["y_train"], metadata, dtype)
        train, valid = (
            load_rows(tensors[f"x_{part}"], tensors[f"y_{part}"], device, dtype, section.chunk_rows)
            for part in ("train", "valid")
        )
        weight = torch.full(x.shape[1:], section.initial_weight, device=device, dtype=dtype)
        weight.requires_grad_()  # (), or (n_features,)
        bias = (
            torch.zeros((), device=device, dtype=dtype).requires_grad_() if section.bias else None
        )
        columns = [
            "epoch",
            "loss",
            "valid_loss",
            *coefficient_names(metadata.features, section.bias),
        ]
        run = Run("train_regression", section)
        run.keep(columns, params.checkpoint_every, TENSORS, device.type)
        with explain_divergence(
            "train_regression", regression_remedy, x, metadata.features, section
        ):
            history = fit(train, valid, weight, bias, run)
        state = round_state({"weight": weight}) | (
            {} if bias is None else {"bias": round_bias(bias, train.target_std)}
        )
        if rank() == 0:
            save(state, columns, history, metadata, section)
            run.delete_checkpoint()


def save(
    state: State,
    columns: list[str],
    history: list[Row],
    metadata: Metadata,
    section: TrainRegressionSection,
) -> None:
    """Write the model, the history and the metrics."""
    metadata = metadata.model_copy(update={"loss_reduction": section.loss_reduction})
    _, loss, valid_loss, *_ = history[-1]
    save_tensors("data/models/regression.safetensors", state, metadata)
    write_csv("metrics/train_regression.csv", columns, history)
    metrics = {"train_regression": {"loss": loss, "valid_loss": valid_loss}}
    write_json("metrics/train_regression.json", metrics)
    weight = state["weight"]
    trained = f"weight {weight.item():.6g}" if weight.dim() == 0 else f"{len(weight)} weights"
    print(
        f"train_regression: {trained} after {section.epochs} epochs of {section.optimizer.name}, "
        f"loss {loss:.6g}"
    )
