"""The declared optimizers against the classes of torch.optim."""

import inspect
from contextlib import suppress
from typing import Any

import pytest
import torch

from conftest import params_of
from stages.core.optimizers import OPTIMIZERS
from stages.shared.models import build_network
from stages.shared.training import make_optimizer

ALL = {
    name: member
    for name, member in vars(torch.optim).items()
    if inspect.isclass(member)
    and issubclass(member, torch.optim.Optimizer)
    and member is not torch.optim.Optimizer
}
LEFT_OUT = {"LBFGS", "SparseAdam", "Muon"}
NO_EFFECT_ON_RESULTS = {"foreach", "fused", "capturable", "differentiable"}
CLIMBS = {"maximize"}


def test_every_optimizer_is_declared_but_those_left_out() -> None:
    assert set(OPTIMIZERS) == set(ALL) - LEFT_OUT


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_arguments_are_those_of_the_signature(name: str) -> None:
    signature = set(inspect.signature(ALL[name]).parameters) - {"params"}
    expected = signature - NO_EFFECT_ON_RESULTS - CLIMBS
    assert set(OPTIMIZERS[name].model_fields) - {"name"} == expected


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_defaults_of_torch_are_valid(name: str) -> None:
    defaults = {
        parameter.name: parameter.default
        for parameter in inspect.signature(ALL[name]).parameters.values()
        if parameter.name in OPTIMIZERS[name].model_fields
    }
    section = OPTIMIZERS[name].model_validate({"name": name} | defaults)
    assert section.arguments == defaults


# Values on both sides of where torch draws the line, too.
EDGES: dict[str, list[Any]] = {
    "lr": [0, -1e-9],
    "weight_decay": [0, -1e-9],
    "eps": [1e-30, -1e-9],
    "momentum": [0, -1e-9],
    "rho": [0, 1, -1e-9, 1.1],
    "betas": [(0.0, 0.5), (0.5, 1.0), (-0.1, 0.5)],
    "etas": [(0.1, 1.1), (0.0, 1.1), (0.5, 1.0)],
    "lr_decay": [0, -1e-9],
    "initial_accumulator_value": [0, -1e-9],
    "beta2_decay": [0, 0.1],
    "d": [1, 0.9],
    "momentum_decay": [0, -1e-9],
    "t0": [-1e6, 0, 1e6],
}
EDGE_CASES = [
    (name, argument, value)
    for name, section in OPTIMIZERS.items()
    for argument, edge_values in EDGES.items()
    for value in edge_values
    if argument in section.model_fields and (name, argument) != ("Adafactor", "eps")
]


def is_valid_to_torch(name: str, arguments: dict[str, Any]) -> bool:
    try:
        ALL[name]([torch.zeros(1, requires_grad=True)], **arguments)
    except ValueError:
        return False
    return True


def is_valid_to_us(name: str, arguments: dict[str, Any]) -> bool:
    try:
        OPTIMIZERS[name].model_validate({"name": name} | arguments)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_ranges_are_those_that_torch_checks(name: str) -> None:
    for argument, value in [case[1:] for case in EDGE_CASES if case[0] == name]:
        arguments = {"lr": 0.1, argument: value}
        assert is_valid_to_us(name, arguments) == is_valid_to_torch(name, arguments), arguments


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Adafactor", {"eps": (-1.0, 0.1)}),
        ("Adafactor", {"eps": (None, -0.1)}),
        ("RMSprop", {"alpha": -1e-9}),
        ("Rprop", {"step_sizes": (0.0, 1.0)}),
        ("Rprop", {"step_sizes": (0.1, -1.0)}),
        ("SGD", {"nesterov": True}),
        ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}),
        ("SGD", {"maximize": False}),
    ],
)
def test_other_invalid_arguments_are_rejected(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        OPTIMIZERS[name].model_validate({"name": name, "lr": 0.1} | arguments)


def excess(name: str, lr: float, arguments: dict[str, Any]) -> float:
    """Return how far above least squares 2000 updates with torch's optimizer end, nan included.

    The last feature is zero, as a constant one is once it is standardized.
    """
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(50, 3, generator=generator, dtype=torch.float64) * torch.tensor([1, 1, 0])
    y = X @ torch.tensor([2.0, -1.0, 0.0]).double()
    y += 0.1 * torch.randn(50, generator=generator, dtype=torch.float64)
    weight = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = ALL[name]([weight], lr=lr, **arguments)
    losses = []
    for _ in range(2000):
        loss = ((X @ weight - y) ** 2).mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    residual = y - X @ torch.linalg.lstsq(X, y, driver="gelsd").solution
    return max(losses[-100:]) - (residual**2).mean().item()


# What torch takes and cannot work, each beside the nearest value that is allowed.
STRICTER: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("SGD", {"momentum": 1.0}, {"momentum": 0.99}),
    ("SGD", {"momentum": 1.1}, {"momentum": 0.0}),
    ("SGD", {"momentum": 0.9, "dampening": 1.0}, {"momentum": 0.9, "dampening": 0.9}),
    ("SGD", {"momentum": 0.9, "dampening": 1.5}, {"momentum": 0.9, "dampening": 0.0}),
    ("RMSprop", {"momentum": 1.0}, {"momentum": 0.9}),
    ("RMSprop", {"alpha": 1.0}, {"alpha": 0.9999}),
    ("RMSprop", {"alpha": 1.5}, {"alpha": 0.0}),
    ("RMSprop", {"alpha": 0.0, "centered": True}, {"alpha": 0.1, "centered": True}),
    ("ASGD", {"lambd": -1.0}, {"lambd": 0.0}),
    ("ASGD", {"lambd": 1e-2, "alpha": -10.0}, {"lambd": 1e-2, "alpha": 0.0}),
    ("ASGD", {"alpha": 1e30}, {"alpha": 1.0}),
    ("Rprop", {"step_sizes": (1.0, 1e-6)}, {"step_sizes": (1e-6, 1.0)}),
    ("Adafactor", {"eps": (0.0, 1e-3)}, {"eps": (1e-15, 1e-3)}),
    ("Adafactor", {"eps": (None, 0.0)}, {"eps": (None, 1e-3)}),
    *[
        (name, {"eps": 0.0}, {"eps": 1e-30})
        for name in ("Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop")
    ],
    ("Adadelta", {"eps": 0.0}, {"eps": 1e-6}),
]


@pytest.mark.parametrize(("name", "refused", "allowed"), STRICTER)
def test_values_that_torch_takes_and_that_cannot_work_are_rejected(
    name: str, refused: dict[str, Any], allowed: dict[str, Any]
) -> None:
    assert is_valid_to_torch(name, {"lr": 0.1} | refused)
    assert not is_valid_to_us(name, {"lr": 0.1} | refused)
    assert is_valid_to_us(name, {"lr": 0.1} | allowed)
    lr = {"SGD": 0.05, "ASGD": 0.05, "RMSprop": 1e-3, "Adadelta": 1.0, "Adagrad": 0.5}.get(
        name, 0.01
    )
    assert excess(name, lr, allowed) < 0.05
    with suppress(ArithmeticError):
        assert not excess(name, lr, refused) < 0.05


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_trains_a_number_and_a_network(name: str) -> None:
    weight = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    network = build_network(n_features=2, hidden=[3], n_classes=2).double()
    before = network[0].weight.detach().clone()
    section = OPTIMIZERS[name].model_validate({"name": name, "lr": 0.1})
    optimizer = make_optimizer([weight, *network.parameters()], section)
    for _ in range(3):
        loss = weight**2 + network(torch.eye(4, dtype=torch.float64)[:, :2])[:, 0].sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert abs(weight.item()) < 1
    assert not torch.equal(network[0].weight, before)


@pytest.mark.parametrize("stage", ["train_regression", "train_classifier"])
@pytest.mark.parametrize("arguments", [{}, {"momentum": 0.9, "nesterov": True}])
def test_arguments_reach_the_optimizer(stage: str, arguments: dict[str, Any]) -> None:
    given = {"name": "SGD", "lr": 0.25} | arguments
    section = params_of(stage, {"optimizer": given})
    optimizer = make_optimizer([torch.zeros(1, requires_grad=True)], section.optimizer)
    stock = torch.optim.SGD([torch.zeros(1)], lr=0.25, **arguments)
    assert type(optimizer) is torch.optim.SGD
    assert optimizer.defaults == stock.defaults
