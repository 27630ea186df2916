"""BatchNorm over chunks: against nn.BatchNorm1d on the whole batch."""

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from stages.shared.batch_norm import (
    batch_statistics,
    linear_statistics,
    set_statistics,
    share_batch_norm,
    whole_batch,
)
from stages.shared.batches import Rows
from stages.shared.models import build_network, initialize


def make_network(
    hidden: Sequence[int] = (10,), dtype: torch.dtype = torch.float64
) -> nn.Sequential:
    network = build_network(n_features=2, hidden=hidden, n_classes=3)
    initialize(network, torch.Generator().manual_seed(0))
    return network.to(dtype)


def clusters(n: int = 40, offset: float = 0.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    X = offset + torch.randn(n, 2, generator=generator, dtype=torch.float64)
    return X, torch.arange(n) % 3


def rows_of(X: Tensor, y: Tensor | None = None, chunk_rows: int = 1000) -> Rows:
    return Rows(X, torch.zeros(len(X)) if y is None else y, X.dtype, chunk_rows)


def gradients(network: nn.Sequential, rows: Rows) -> list[Tensor]:
    """Return the gradients of the mean cross entropy of all rows, chunk by chunk."""
    network = share_batch_norm(network, rows.n_chunks(None))
    loss_function = nn.CrossEntropyLoss(reduction="sum")
    batch = rows.whole
    with whole_batch(network, batch):
        for X, y in batch:
            (loss_function(network(X), y) / batch.n_rows).backward()
    return [item.grad for item in network.parameters() if item.grad is not None]


@pytest.mark.parametrize("chunk_rows", [1, 7, 13, 39, 40])
@pytest.mark.parametrize("hidden", [[10], [7, 5, 4]])
def test_gradients_of_chunks_are_those_of_the_whole_batch(
    hidden: list[int], chunk_rows: int
) -> None:
    X, y = clusters()
    stock = make_network(hidden)
    nn.CrossEntropyLoss()(stock(X), y).backward()
    expected = [item.grad for item in stock.parameters() if item.grad is not None]
    found = gradients(make_network(hidden), rows_of(X, y, chunk_rows))
    assert len(found) == len(expected) == 3 * len(hidden) + 2
    for gradient, other in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-9, atol=1e-14)


def test_gradients_without_those_of_the_statistics_would_be_others() -> None:
    """Or the test above proves nothing."""
    X, y = clusters()
    stock, frozen = make_network(), make_network()
    nn.CrossEntropyLoss()(stock(X), y).backward()
    set_statistics(frozen, rows_of(X))
    nn.CrossEntropyLoss()(frozen.eval()(X), y).backward()
    assert not torch.allclose(stock[0].weight.grad, frozen[0].weight.grad, rtol=0.01)


def test_one_chunk_of_one_rank_needs_no_other_network() -> None:
    network = make_network()
    assert share_batch_norm(network, 1) is network
    shared = share_batch_norm(network, 2)
    assert shared[0].weight is network[0].weight
    assert type(network[1]) is nn.BatchNorm1d
    assert list(shared.state_dict()) == list(network.state_dict())


@pytest.mark.parametrize("few", [1, 2])  # features, up to which the covariance is used
@pytest.mark.parametrize("chunk_rows", [7, 1000])
@pytest.mark.parametrize("hidden", [[10], [7, 5, 3]])
def test_evaluation_mode_with_the_statistics_of_rows_is_training_mode_on_them(
    monkeypatch: pytest.MonkeyPatch, hidden: list[int], chunk_rows: int, few: int
) -> None:
    monkeypatch.setattr("stages.shared.batch_norm.FEW", few)
    network, (X, _) = make_network(hidden), clusters()
    trained = copy.deepcopy(network).train()(X)
    set_statistics(network, rows_of(X, chunk_rows=chunk_rows))
    torch.testing.assert_close(network.eval()(X), trained, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("chunk_rows", [7, 1000])
def test_statistics_are_those_of_update_bn_but_for_the_biased_variance(chunk_rows: int) -> None:
    network, (X, _) = make_network([7, 5]), clusters()
    statistics = batch_statistics(network, rows_of(X, chunk_rows=chunk_rows).whole)
    torch.optim.swa_utils.update_bn([X], network)
    for k, (mean, variance) in zip((1, 4), statistics, strict=True):
        stock = network[k]
        torch.testing.assert_close(mean, stock.running_mean, rtol=1e-11, atol=1e-14)
        biased = stock.running_var * (len(X) - 1) / len(X)
        torch.testing.assert_close(variance, biased, rtol=1e-11, atol=0)


@pytest.mark.parametrize("offset", [1e6, 1e9])
def test_chunks_far_from_zero_lose_no_digits(offset: float) -> None:
    """The square of the mean would swamp the variance; see the remainders of chunks, too."""
    network, (X, _) = make_network(), clusters(offset=offset)
    ((_, whole),) = batch_statistics(network, rows_of(X).whole)
    ((_, merged),) = batch_statistics(network, rows_of(X, chunk_rows=7).whole)
    torch.testing.assert_close(merged, whole, rtol=1e-6, atol=0)


@pytest.mark.parametrize("offset", [0, 1e9])
@pytest.mark.parametrize("chunk_rows", [7, 1000])
def test_statistics_of_a_linear_layer_follow_from_those_of_its_input(
    offset: float, chunk_rows: int
) -> None:
    X, _ = clusters(offset=offset)
    linear = make_network()[0]
    output = (X - offset) @ linear.weight.T  # without the digits that the offset takes
    mean, variance = linear_statistics(linear, rows_of(X, chunk_rows=chunk_rows))
    torch.testing.assert_close(variance, output.var(dim=0, correction=0), rtol=1e-6, atol=0)
    expected = output.mean(dim=0) + offset * linear.weight.sum(dim=1) + linear.bias
    torch.testing.assert_close(mean, expected, rtol=1e-12, atol=1e-12)


def test_computing_statistics_changes_nothing() -> None:
    network, (X, _) = make_network(), clusters()
    before = copy.deepcopy(network.state_dict())
    batch_statistics(network, rows_of(X, chunk_rows=7).whole)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
