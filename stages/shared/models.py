"""The classifier's network, its initial weights, and both models as files."""

import math

import torch
from torch import Tensor, nn

from stages.core.errors import UserError
from stages.core.files import corrupted
from stages.shared.metadata import Metadata
from stages.shared.metrics import DIGITS
from stages.shared.rounding import round_significant
from stages.shared.tensors import load_tensors

State = dict[str, Tensor]


def build_network(n_features: int, hidden: int, n_classes: int) -> nn.Sequential:
    """Return the article's network: X, (n, n_features), to probabilities, (n, n_classes).

    Without the last layer, `network[:-1]`, it returns the logits: the scores before softmax.
    """
    return nn.Sequential(
        nn.Linear(n_features, hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, n_classes),
        nn.Softmax(dim=1),
    )


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
        hidden = len(state["0.bias"])
        if not hidden or not is_valid(state) or (state["1.running_var"] < 0).any():
            raise corrupted(path)
        network = build_network(len(metadata.features), hidden, len(metadata.labels))
        network.double().eval().load_state_dict(state)
    except (KeyError, RuntimeError, TypeError):
        raise corrupted(path) from None
    return network


def is_valid(state: State) -> bool:
    """Return whether all tensors are as stored: finite float32, or the counter of BatchNorm."""
    return all(
        name.endswith("num_batches_tracked")
        or bool(tensor.dtype == torch.float32 and tensor.isfinite().all())
        for name, tensor in state.items()
    )


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
