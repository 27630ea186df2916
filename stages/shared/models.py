"""The classifier's network, its initial weights, and both models as files."""

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stages.core.errors import UserError
from stages.core.files import corrupted
from stages.shared.batch_norm import set_statistics
from stages.shared.batches import Rows
from stages.shared.metadata import Metadata
from stages.shared.metrics import DIGITS
from stages.shared.rounding import round_significant, round_to_scale
from stages.shared.tensors import load_tensors

State = dict[str, Tensor]


def build_network(n_features: int, hidden: Sequence[int], n_classes: int) -> nn.Sequential:
    """Return a network from X, (n, n_features), to probabilities, (n, n_classes).

    Linear, BatchNorm1d and ReLU for each width in `hidden`, then Linear and Softmax: with [10], the
    article's. Without the last layer, `network[:-1]`, it returns the logits: the scores before
    softmax.
    """
    layers: list[nn.Module] = []
    for width in hidden:
        linear = nn.Linear(n_features, width)
        # BatchNorm subtracts this bias with the mean, so its gradient is zero but for rounding
        # noise, which differs between machines and which some optimizers would scale up to full
        # steps: it is not trained.
        linear.bias.requires_grad_(False)
        layers += [linear, nn.BatchNorm1d(width), nn.ReLU()]
        n_features = width
    return nn.Sequential(*layers, nn.Linear(n_features, n_classes), nn.Softmax(dim=1))


def initialize(network: nn.Sequential, generator: torch.Generator) -> None:
    """Draw the initial weights and biases of all linear layers from `generator`, on the CPU.

    The distribution is nn.Linear's own, uniform in +-1 / sqrt(in_features). The code is not, since
    `uniform_` fuses multiplication and addition on CPUs that can. The numbers are drawn in float64
    whatever the dtype of the network, so that float32 starts from the same weights.
    """
    for layer in network:
        if isinstance(layer, nn.Linear):
            bound = 1 / math.sqrt(layer.in_features)
            for parameter in (layer.weight, layer.bias):
                uniform = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.data.copy_((uniform * 2 - 1) * bound)


def publish(network: nn.Sequential, state: State, rows: Rows, n_batches: int) -> State:
    """Return a state of the network as it is stored, with statistics of all `rows`, in float64.

    The parameters are rounded first, so that the statistics are those of the network as stored. A
    mean may be huge next to the spread, as for a feature in Unix seconds, and a variance may be
    rounding noise, for a constant one. BatchNorm divides by s = sqrt(variance + eps), so they are
    rounded to six digits of s and s^2, and the mean is stored in float64. `n_batches` is how many
    batches BatchNorm has seen.
    """
    stored = round_state(state)
    rounded = copy.deepcopy(network).cpu().double()
    rounded.load_state_dict(stored)
    set_statistics(rounded, rows)
    for name, layer in rounded.named_children():
        if isinstance(layer, nn.BatchNorm1d):
            mean, variance = layer.get_buffer("running_mean"), layer.get_buffer("running_var")
            square = variance + layer.eps
            stored[f"{name}.running_mean"] = round_to(mean, square.sqrt())
            stored[f"{name}.running_var"] = round_to(variance, square).float()
            stored[f"{name}.num_batches_tracked"] = torch.tensor(n_batches)
    return stored


def load_regression(path: str) -> tuple[Tensor, Tensor | None, Metadata]:
    """Return weight, () or (n_features,), bias, () or None, in float64, and metadata of a model.

    Raises UserError if the file is missing or not such a model.
    """
    state, metadata = load_tensors(path)
    n_features = len(metadata.features)
    shapes = {"weight": (n_features,) if n_features > 1 else ()}
    if "bias" in state:
        shapes["bias"] = ()
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if metadata.task != "regression" or found != shapes or not is_valid(state):
        raise corrupted(path)
    bias = state["bias"].double() if "bias" in state else None
    return state["weight"].double(), bias, metadata


def load_classifier(path: str) -> tuple[nn.Sequential, Metadata]:
    """Return the network, in float64 and evaluation mode, and the metadata of a model.

    Raises UserError if the file is missing or not such a model.
    """
    state, metadata = load_tensors(path)
    return make_network(path, state, metadata), metadata


def load_snapshots(path: str) -> dict[int, nn.Sequential]:
    """Return the networks in a file of snapshots by their epoch, in ascending order.

    Raises UserError if the file is missing or not such a file.
    """
    tensors, metadata = load_tensors(path)
    states: dict[int, State] = {}
    for name, tensor in tensors.items():
        epoch, _, suffix = name.partition("/")
        if not epoch.isdecimal():
            raise corrupted(path)
        states.setdefault(int(epoch), {})[suffix] = tensor
    if 0 not in states:  # the untrained network
        raise corrupted(path)
    return {epoch: make_network(path, states[epoch], metadata) for epoch in sorted(states)}


def make_network(path: str, state: State, metadata: Metadata) -> nn.Sequential:
    """Return the network with this state; raise UserError if it is not one."""
    if metadata.task != "classification":
        raise corrupted(path)
    try:
        hidden = widths(state)
        if not hidden or not all(hidden) or not is_valid(state):
            raise corrupted(path)
        network = build_network(len(metadata.features), hidden, len(metadata.labels))
        network.double().eval().load_state_dict(state)
    except (KeyError, RuntimeError, TypeError):
        raise corrupted(path) from None
    return network


def widths(state: State) -> list[int]:
    """Return the widths of the hidden layers of a network with this state."""
    n_layers = sum(name.endswith("running_var") for name in state)
    return [len(state[f"{3 * k + 1}.running_var"]) for k in range(n_layers)]


def is_valid(state: State) -> bool:
    """Return whether all tensors are as stored: finite, of their dtype, variances not negative."""
    return all(
        tensor.dtype == stored_dtype(name)
        and bool(tensor.isfinite().all())
        and not (name.endswith("running_var") and bool((tensor < 0).any()))
        for name, tensor in state.items()
    )


def stored_dtype(name: str) -> torch.dtype:
    """Return the dtype that a tensor of a model has in its file.

    float64 for the offsets, a regression's bias and BatchNorm's means: they may be huge next to the
    spread of what they are added to or subtracted from.
    """
    if name.endswith("num_batches_tracked"):
        return torch.int64
    is_offset = name == "bias" or name.endswith("running_mean")
    return torch.float64 if is_offset else torch.float32


def round_state(state: State) -> State:
    """Return a model's tensors as they are stored: six significant digits, float32, on the CPU.

    A difference in the last bits between two machines ends here. Raises UserError for a number
    that float32 cannot hold.
    """
    return {name: round_tensor(tensor) for name, tensor in state.items()}


def round_tensor(tensor: Tensor) -> Tensor:
    """Return one tensor as round_state does; integers (num_batches_tracked) are only copied."""
    tensor = tensor.detach().cpu()
    if not tensor.is_floating_point():
        return tensor.clone()
    rounded = torch.from_numpy(round_significant(tensor.double().numpy(), DIGITS)).float()
    if not rounded.isfinite().all():
        raise UserError(
            "The trained values must fit float32, in which models are stored; some do not. Set "
            "standardize: true for the table, or lower the optimizer's lr in params.yaml."
        )
    return rounded


def round_bias(bias: Tensor, target_std: float) -> Tensor:
    """Return a regression's bias as it is stored: six digits of the standard deviation of y.

    Its own size is that of the target's offset, which says nothing about the spread around it: of a
    Julian day, 2459003.5, six digits would lose a week. And where the target is centered, the bias
    is rounding noise, which this makes 0.
    """
    return round_to(bias, torch.tensor(target_std, dtype=torch.float64))


def round_to(tensor: Tensor, scale: Tensor) -> Tensor:
    """Return a tensor, in float64 and on the CPU, rounded to six significant digits of `scale`."""
    values, scales = (values.detach().cpu().double().numpy() for values in (tensor, scale))
    return torch.from_numpy(round_to_scale(values, scales, DIGITS))
