"""The network, its initial weights, and models as files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from conftest import feature_columns
from stages.core.errors import UserError
from stages.shared.batch_norm import batch_statistics
from stages.shared.batches import Rows
from stages.shared.metadata import Metadata
from stages.shared.models import (
    build_network,
    initialize,
    load_classifier,
    load_regression,
    load_snapshots,
    publish,
    round_bias,
    round_state,
    round_tensor,
)
from stages.shared.tensors import save_tensors

LINE = Metadata(task="regression", columns=feature_columns("x"), target="y")
PLANE = Metadata(task="regression", columns=feature_columns("a", "b"), target="y")
CLASSES = Metadata(
    task="classification", columns=feature_columns("a", "b"), target="c", labels=("u", "v")
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def make_network(seed: int = 0, n_classes: int = 2, hidden: Sequence[int] = (10,)) -> nn.Sequential:
    network = build_network(n_features=2, hidden=hidden, n_classes=n_classes).double()
    initialize(network, torch.Generator().manual_seed(seed))
    return network


# The network


def test_network_is_the_one_of_the_article() -> None:
    assert [type(layer).__name__ for layer in make_network()] == [
        "Linear",
        "BatchNorm1d",
        "ReLU",
        "Linear",
        "Softmax",
    ]
    assert sum(parameter.numel() for parameter in make_network().parameters()) == 72
    assert list(make_network().state_dict()) == [
        "0.weight",
        "0.bias",
        "1.weight",
        "1.bias",
        "1.running_mean",
        "1.running_var",
        "1.num_batches_tracked",
        "3.weight",
        "3.bias",
    ]


def test_every_width_is_a_layer_of_the_network() -> None:
    network = make_network(hidden=[7, 5, 3], n_classes=4)
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    shapes = [(layer.in_features, layer.out_features) for layer in linear]
    assert shapes == [(2, 7), (7, 5), (5, 3), (3, 4)]
    assert [layer.num_features for layer in network if isinstance(layer, nn.BatchNorm1d)] == [
        7,
        5,
        3,
    ]
    assert [type(layer).__name__ for layer in network[3:6]] == ["Linear", "BatchNorm1d", "ReLU"]


def test_only_biases_before_batchnorm_are_not_trained() -> None:
    network = make_network(hidden=[4, 3])
    fixed = [name for name, item in network.named_parameters() if not item.requires_grad]
    assert fixed == ["0.bias", "3.bias"]


def test_network_gives_probabilities_and_without_its_last_layer_logits() -> None:
    network = make_network(n_classes=3).eval()
    X = torch.rand(7, 2, dtype=torch.float64)
    torch.testing.assert_close(network(X).sum(dim=1), torch.ones(7, dtype=torch.float64))
    torch.testing.assert_close(network[:-1](X).softmax(dim=1), network(X))


def test_initial_weights_have_the_distribution_of_nn_linear() -> None:
    network = make_network(hidden=[20_000])
    for layer, parameter in [
        (network[0], network[0].weight),
        (network[0], network[0].bias),
        (network[3], network[3].weight),
    ]:
        bound = layer.in_features**-0.5
        values = parameter.detach().flatten()
        assert values.abs().max() <= bound
        assert values.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
        assert values.mean().item() == pytest.approx(0, abs=bound * 0.02)


def test_initial_weights_by_hand() -> None:
    uniform = torch.rand(10, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    expected = (2 * uniform - 1) / 2**0.5
    torch.testing.assert_close(make_network(seed=4)[0].weight.data, expected, rtol=1e-15, atol=0)


def test_initial_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = make_network(seed=5).state_dict()
    torch.manual_seed(2)
    second, other = make_network(seed=5).state_dict(), make_network(seed=6).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])


def test_float32_starts_from_the_same_weights() -> None:
    network = build_network(n_features=2, hidden=[10], n_classes=2)
    initialize(network, torch.Generator().manual_seed(0))
    assert torch.equal(network[0].weight, make_network()[0].weight.float())


# Rounding


def test_stored_tensor_is_float32_of_six_digits() -> None:
    tensor = torch.tensor([1.23456789, -0.000123456789], dtype=torch.float64, requires_grad=True)
    expected = torch.tensor([1.23457, -0.000123457], dtype=torch.float32)
    assert torch.equal(round_tensor(tensor), expected)


def test_stored_integer_is_a_copy() -> None:
    counter = torch.tensor(7)
    copy = round_tensor(counter)
    counter += 1
    assert copy.item() == 7
    assert copy.dtype == torch.int64


def test_difference_in_the_last_bit_is_not_stored() -> None:
    weight = torch.tensor(1 / 3, dtype=torch.float64)
    neighbor = torch.nextafter(weight, torch.tensor(1.0).double())
    assert torch.equal(round_tensor(weight), round_tensor(neighbor))


@pytest.mark.parametrize("value", [1e39, -1e39, float("inf"), float("nan")])
def test_weight_that_float32_cannot_hold_is_rejected(value: float) -> None:
    with pytest.raises(UserError) as error:
        round_state({"weight": torch.tensor(value, dtype=torch.float64)})
    assert str(error.value) == (
        "The trained values must fit float32, in which models are stored; some do not. Set "
        "standardize: true for the table, or lower the optimizer's lr in params.yaml."
    )


def test_rounded_bias_keeps_six_digits_of_the_spread_of_the_target() -> None:
    for bias, rounded in [(2459003.123456789, 2459003.12346), (1e-9, 0.0), (-0.1234567, -0.12346)]:
        tensor = torch.tensor(bias, dtype=torch.float64, requires_grad=True)
        assert round_bias(tensor, target_std=1.7).item() == pytest.approx(rounded, abs=1e-9)
        assert round_bias(tensor, target_std=1.7).dtype == torch.float64


def test_noise_of_either_sign_is_rounded_to_the_same_zero() -> None:
    for bias in (1e-17, -1e-17):
        assert str(round_bias(torch.tensor(bias).double(), target_std=1.0).item()) == "0.0"


# The statistics of BatchNorm


def clusters(n: int = 40, offset: float = 0.0, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return offset + scale * torch.randn(n, 2, generator=generator, dtype=torch.float64)


def rows_of(X: Tensor) -> Rows:
    return Rows(X, torch.zeros(len(X)), torch.float64, 1000)


@pytest.mark.parametrize(("offset", "scale"), [(0, 1), (0.5, 1e-3), (1.7e9, 1e6), (1e9, 1)])
@pytest.mark.parametrize("hidden", [[10], [7, 5]])
def test_published_network_gives_for_its_rows_what_it_gives_in_training_mode(
    offset: float, scale: float, hidden: list[int]
) -> None:
    network, X = make_network(hidden=hidden), clusters(offset=offset, scale=scale)
    save_tensors("m", publish(network, network.state_dict(), rows_of(X), 3), CLASSES)
    loaded, _ = load_classifier("m")
    predicted = loaded(X)
    torch.testing.assert_close(predicted, loaded.train()(X), rtol=0, atol=2e-5)


def test_published_parameters_are_rounded_and_the_statistics_are_theirs() -> None:
    network, X = make_network(), clusters()
    published = publish(network, network.state_dict(), rows_of(X), 3)
    expected = round_state(network.state_dict())
    for name in expected:
        if name.startswith(("0", "3")) or name in ("1.weight", "1.bias"):
            assert torch.equal(published[name], expected[name])
    assert published["1.num_batches_tracked"] == 3
    hidden = X @ published["0.weight"].double().T + published["0.bias"].double()
    variance = hidden.var(dim=0, correction=0)
    error = (published["1.running_mean"] - hidden.mean(dim=0)) / (variance + 1e-5).sqrt()
    assert error.abs().max() < 5.1e-6
    assert not torch.equal(published["1.running_mean"], hidden.mean(dim=0))
    torch.testing.assert_close(published["1.running_var"].double(), variance, rtol=6e-6, atol=0)
    assert published["1.running_mean"].dtype == torch.float64
    assert published["1.running_var"].dtype == torch.float32


def test_variance_of_a_constant_feature_is_stored_as_zero_and_not_as_noise() -> None:
    X = torch.full((40, 2), 1 / 3, dtype=torch.float64)
    X[::2] = torch.nextafter(X[::2], torch.tensor(1.0).double())
    network = make_network()
    _, variance = batch_statistics(network, rows_of(X).whole)[0]
    assert 0 < variance.max() < 1e-20
    assert not publish(network, network.state_dict(), rows_of(X), 3)["1.running_var"].any()


# The regression as a file


@pytest.mark.parametrize(
    ("metadata", "weight", "bias"),
    [
        (LINE, torch.tensor(1.5), None),
        (LINE, torch.tensor(1.5), torch.tensor(-2.0).double()),
        (PLANE, torch.tensor([1.5, 2.5]), None),
        (PLANE, torch.tensor([1.5, 2.5]), torch.tensor(-2.0).double()),
    ],
)
def test_regression_is_loaded_in_float64(
    metadata: Metadata, weight: Tensor, bias: Tensor | None
) -> None:
    save_tensors("m", {"weight": weight} | ({} if bias is None else {"bias": bias}), metadata)
    loaded_weight, loaded_bias, loaded_metadata = load_regression("m")
    assert torch.equal(loaded_weight, weight.double())
    assert loaded_weight.dtype == torch.float64
    assert (None if loaded_bias is None else loaded_bias.item()) == (None if bias is None else -2)
    assert loaded_metadata == metadata


FOREIGN_REGRESSIONS: list[tuple[Metadata, dict[str, Tensor]]] = [
    (LINE, {}),
    (LINE, {"bias": torch.tensor(1.0).double()}),
    (LINE, {"weight": torch.tensor([1.0])}),
    (LINE, {"weight": torch.tensor(1.0), "bias": torch.tensor([1.0]).double()}),
    (LINE, {"weight": torch.tensor(1.0), "bias": torch.tensor(1.0)}),
    (LINE, {"weight": torch.tensor(1.0), "more": torch.tensor(1.0)}),
    (LINE, {"weight": torch.tensor(1.0).double()}),
    (LINE, {"weight": torch.tensor(1)}),
    (LINE, {"weight": torch.tensor(float("nan"))}),
    (PLANE, {"weight": torch.tensor(1.0)}),
    (CLASSES, {"weight": torch.tensor([1.0, 2.0])}),
]


@pytest.mark.parametrize(("metadata", "state"), FOREIGN_REGRESSIONS)
def test_other_than_a_regression_is_rejected(metadata: Metadata, state: dict[str, Tensor]) -> None:
    save_tensors("m", state, metadata)
    with pytest.raises(UserError, match=r"^m is corrupted; delete it and run `dvc repro`\.$"):
        load_regression("m")


# The classifier as a file


def state_of(prefix: str = "", hidden: Sequence[int] = (10,)) -> dict[str, Tensor]:
    network = make_network(hidden=hidden)
    state = publish(network, network.state_dict(), rows_of(clusters()), 3)
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


@pytest.mark.parametrize("hidden", [[1], [7, 5], [5, 5, 5, 5]])
def test_network_of_any_hidden_layers_is_loaded_as_it_was(hidden: list[int]) -> None:
    save_tensors("m", state_of(hidden=hidden), CLASSES)
    loaded, _ = load_classifier("m")
    assert str(loaded) == str(make_network(hidden=hidden))
    assert torch.equal(loaded[-2].weight, state_of(hidden=hidden)[f"{3 * len(hidden)}.weight"])


def test_classifier_is_loaded_in_float64_to_predict() -> None:
    save_tensors("m", state_of(), CLASSES)
    network, metadata = load_classifier("m")
    assert metadata == CLASSES
    assert not network.training
    assert torch.equal(network[0].weight, state_of()["0.weight"].double())


def test_snapshots_are_loaded_by_epoch() -> None:
    save_tensors("m", state_of("12/") | state_of("0/"), CLASSES)
    assert list(load_snapshots("m")) == [0, 12]


@pytest.mark.parametrize("prefixes", [("",), ("1/",), ("a/",), ("", "0/"), ("-1/", "0/")])
def test_other_than_snapshots_is_rejected(prefixes: tuple[str, ...]) -> None:
    state = {name: tensor for prefix in prefixes for name, tensor in state_of(prefix).items()}
    save_tensors("m", state, CLASSES)
    with pytest.raises(UserError, match="^m is corrupted"):
        load_snapshots("m")


FOREIGN_STATES: list[Callable[[dict[str, Tensor]], dict[str, Any]]] = [
    lambda _: {},
    lambda _: {"weight": torch.tensor(1.0)},
    lambda state: state | {"more": torch.zeros(1)},
    lambda state: {name: tensor for name, tensor in state.items() if name != "3.bias"},
    lambda state: state | {"3.weight": state["3.bias"].clone()},
    lambda state: state | {"0.bias": torch.tensor(1.0)},
    lambda state: state | {"0.bias": torch.zeros(0)},
    lambda state: state | {"0.weight": state["0.weight"] * float("nan")},
    lambda state: state | {"1.running_var": -state["1.running_var"]},
    lambda state: state | {"1.running_mean": state["1.running_mean"].float()},
    lambda state: state | {"x.running_var": state["1.running_var"].clone()},
    lambda state: {k: v for k, v in state.items() if not k.startswith("1.")},
    lambda _: {"0.weight": torch.zeros(2, 2), "0.bias": torch.zeros(2)},
    lambda state: state | {"3.bias": state["3.bias"].double()},
]


@pytest.mark.parametrize("change", FOREIGN_STATES)
def test_other_than_a_classifier_is_rejected(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]],
) -> None:
    save_tensors("m", change(state_of()), CLASSES)
    with pytest.raises(UserError, match=r"^m is corrupted; delete it and run `dvc repro`\.$"):
        load_classifier("m")


@pytest.mark.parametrize(
    "metadata",
    [
        LINE,
        CLASSES.model_copy(update={"labels": ("u", "v", "w")}),
        CLASSES.model_copy(update={"columns": feature_columns("a")}),
    ],
)
def test_classifier_with_metadata_of_another_is_rejected(metadata: Metadata) -> None:
    save_tensors("m", state_of(), metadata)
    with pytest.raises(UserError, match="^m is corrupted"):
        load_classifier("m")


def test_snapshots_are_in_the_order_of_their_epochs() -> None:
    save_tensors("m", state_of("12/") | state_of("2/") | state_of("0/"), CLASSES)
    assert list(load_snapshots("m")) == [0, 2, 12]
