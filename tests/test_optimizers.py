import inspect

import pytest
import torch

from conftest import call_main
from stages.models import build_network
from stages.optimizers import OPTIMIZERS, SECTIONS

ALL = {
    name: member
    for name, member in vars(torch.optim).items()
    if inspect.isclass(member)
    and issubclass(member, torch.optim.Optimizer)
    and member is not torch.optim.Optimizer
}
LEFT_OUT = {"LBFGS", "SparseAdam", "Muon"}
HOW_NOT_WHAT = {"foreach", "fused", "capturable", "differentiable"}


def test_table_holds_every_optimizer_but_those_left_out():
    assert set(OPTIMIZERS) == set(ALL) - LEFT_OUT


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_arguments_are_those_of_the_signature(name):
    signature = set(inspect.signature(ALL[name]).parameters) - {"params"} - HOW_NOT_WHAT
    assert set(SECTIONS[name].model_fields) - {"name"} == signature


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_torchs_own_defaults_are_allowed(name):
    defaults = {
        parameter.name: parameter.default
        for parameter in inspect.signature(ALL[name]).parameters.values()
        if parameter.name in SECTIONS[name].model_fields
    }
    section = SECTIONS[name].model_validate({"name": name} | defaults)
    assert section.arguments == defaults


EDGES = {
    "lr": [0, -1e-9],
    "weight_decay": [0, -1e-9],
    "eps": [0, -1e-9],
    "momentum": [0, -1e-9],
    "alpha": [0, -1e-9],
    "rho": [0, 1, -1e-9, 1.1],
    "betas": [(0.0, 0.5), (0.5, 1.0), (-0.1, 0.5)],
    "etas": [(0.1, 1.1), (0.0, 1.1), (0.5, 1.0)],
    "lr_decay": [0, -1e-9],
    "initial_accumulator_value": [0, -1e-9],
    "beta2_decay": [0, 0.1],
    "d": [1, 0.9],
    "momentum_decay": [0, -1e-9],
    "lambd": [-1, 1],
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_ranges_are_those_that_torch_checks(name):
    weight = torch.zeros(1, requires_grad=True)
    for argument in SECTIONS[name].model_fields.keys() & EDGES.keys():
        if (name, argument) == ("Adafactor", "eps"):
            continue
        for value in EDGES[argument]:
            arguments = {"lr": 0.1, argument: value}
            try:
                ALL[name]([weight], **arguments)
                allowed = True
            except ValueError:
                allowed = False
            if allowed:
                SECTIONS[name].model_validate({"name": name} | arguments)
            else:
                with pytest.raises(ValueError, match=argument):
                    SECTIONS[name].model_validate({"name": name} | arguments)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Adafactor", {"eps": (-1.0, 0.1)}),
        ("Adafactor", {"eps": (None, -0.1)}),
        ("Rprop", {"step_sizes": (0.0, 1.0)}),
        ("Rprop", {"step_sizes": (0.1, -1.0)}),
        ("SGD", {"nesterov": True}),
        ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}),
    ],
)
def test_values_that_only_together_are_wrong_are_refused(name, arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        SECTIONS[name].model_validate({"name": name, "lr": 0.1} | arguments)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_trains_a_number_and_a_network(name):
    weight = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    network = build_network(n_features=2, hidden=3, n_classes=2).double()
    network[0].bias.requires_grad_(False)
    frozen, moving = network[0].bias.clone(), network[0].weight.detach().clone()
    optimizer = ALL[name]([weight, *network.parameters()], lr=0.1)
    for _ in range(3):
        loss = weight**2 + network(torch.eye(4, dtype=torch.float64)[:, :2])[:, 0].sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert abs(weight.item()) < 1
    assert torch.equal(network[0].bias, frozen)
    assert not torch.equal(network[0].weight, moving)


@pytest.mark.parametrize("stage", ["train_regression", "train_classifier"])
@pytest.mark.parametrize("arguments", ["", "\n    momentum: 0.9\n    nesterov: true"])
def test_arguments_reach_the_optimizer(finished, monkeypatch, stage, arguments):
    seen = {}
    stock = torch.optim.SGD

    def spy(parameters, **given):
        seen.update(given)
        return stock(parameters, **given)

    monkeypatch.setattr(torch.optim, "SGD", spy)
    finished(("name: RMSprop", "name: SGD"), ("1.0e-3", "1.0e-4"), ("SGD", f"SGD{arguments}"))
    call_main(stage)
    expected = {"lr": 1e-4} | ({"momentum": 0.9, "nesterov": True} if arguments else {})
    assert seen == expected
