"""The line, the classifier's network, its first weights, and models as published files."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stages.errors import UserError
from stages.files import damaged
from stages.metrics import DIGITS
from stages.rounding import round_significant
from stages.tensors import load_tensors, save_tensors


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return y_hat = x * weight, (n,), of one feature x (n,) and a weight of shape ().

    Of several features, x (n, n_features) and weight (n_features,), it is their product x @ weight.
    A `bias`, of shape (), is added.
    """
    y_hat = x * weight if weight.dim() == 0 else x @ weight
    return y_hat if bias is None else y_hat + bias


def coefficient_names(features: Sequence[str], bias: bool) -> tuple[str, ...]:
    """Return what the history calls weight and bias; of several weights, `weight` is their length.

    That is the Euclidean length of the vector, whose parts follow as weight_<feature>.
    """
    several = [f"weight_{name}" for name in features] if len(features) > 1 else []
    return ("weight", *several, *(["bias"] if bias else []))


def coefficients(weight: Tensor, bias: Tensor | None) -> list[float]:
    """Return the numbers that `coefficient_names` names."""
    several = [] if weight.dim() == 0 else [weight.norm().item(), *weight.tolist()]
    return (several or [weight.item()]) + ([] if bias is None else [bias.item()])


def build_network(n_features: int, hidden: int, n_classes: int) -> nn.Sequential:
    """Return the article's network: X of shape (n, n_features) to probabilities (n, n_classes).

    Without its last layer, `network[:-1]`, it gives the logits.
    """
    return nn.Sequential(
        nn.Linear(n_features, hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, n_classes),
        nn.Softmax(dim=1),
    )


def initialise(network: nn.Sequential, generator: torch.Generator) -> None:
    """Draw the first weights and biases of all linear layers from `generator`, on the CPU.

    The law is nn.Linear's own, uniform within 1 / sqrt(in_features) on both sides of 0. Its code
    is not: `uniform_` fuses multiplication and addition on CPUs that can. In float64 whatever the
    network's dtype, so that float32 starts from the same weights.
    """
    for layer in network:
        if isinstance(layer, nn.Linear):
            bound = 1 / math.sqrt(layer.in_features)
            for parameter in (layer.weight, layer.bias):
                uniform = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.data.copy_((uniform * 2 - 1) * bound)


def published_tensor(tensor: Tensor) -> Tensor:
    """Return a copy of a model's tensor as it is stored: six significant digits, float32, CPU.

    Rounding is the firebreak between machines: a difference in the last bits ends here. Integers
    (BatchNorm's num_batches_tracked) stay what they are. Raises UserError for a number that float32
    cannot hold.
    """
    tensor = tensor.detach().cpu()
    if not tensor.is_floating_point():
        return tensor.clone()
    rounded = torch.from_numpy(round_significant(tensor.double().numpy(), DIGITS)).float()
    if not rounded.isfinite().all():
        raise UserError(
            "The trained weights must fit float32, in which models are stored, and do not: training"
            " diverged. Lower the optimizer's lr in params.yaml."
        )
    return rounded


def save_model(path: str, state: dict[str, Tensor], kind: str, **facts: Any) -> None:
    """Write a published `state`, with its `kind` and what else a loader must know."""
    save_tensors(path, state, {"kind": kind, **facts})


def load_model(path: str, kind: str, maker: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the state and the facts of a model file of some `kind`, made by the stage `maker`."""
    state, facts = load_tensors(path, maker)
    if facts.pop("kind", None) != kind:
        raise damaged(path, maker)
    return state, facts
