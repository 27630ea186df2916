"""BatchNorm over a batch that is in chunks, or in the shares of ranks.

nn.BatchNorm1d normalizes what it gets by its mean and variance, so it must get the whole batch. Of
chunks, the mean and variance are merged first, as for the ranks in nn.SyncBatchNorm, which refuses
CPUs; then each chunk is normalized by those of the whole batch. They depend on the parameters, too,
so their gradients count.
"""

import copy
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from stages.shared.batch_moments import merge_over_ranks, moments
from stages.shared.batches import Batch, Rows
from stages.shared.ranks import n_ranks

FEW = 100  # features, up to which a covariance is cheap

Statistics = tuple[Tensor, Tensor]  # mean and biased variance, both (width,)


class SharedBatchNorm(nn.BatchNorm1d):
    """nn.BatchNorm1d that in training takes the statistics of the whole batch.

    They are `given`, or merged over the ranks, each of which then has one chunk.
    """

    given: Statistics | None = None

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, the name that torch gives it
        """Return the input, (n, width), normalized."""
        if not self.training:
            return super().forward(input)
        return normalize(self, input, self.given or merge_over_ranks(moments(input)[None]))


def share_batch_norm(network: nn.Sequential, n_chunks: int) -> nn.Sequential:
    """Return a network with the same parameters, not copies, whose BatchNorm is shared.

    The network itself is enough for batches that one rank has in one chunk.
    """
    if n_chunks == 1 and n_ranks() == 1:
        return network
    shared = twin(network)
    for layer in shared:
        if isinstance(layer, nn.BatchNorm1d):
            layer.__class__ = SharedBatchNorm
    return shared


def twin(network: nn.Sequential) -> nn.Sequential:
    """Return a network with the same parameters, not copies, and statistics of its own."""
    return copy.deepcopy(network, {id(item): item for item in network.parameters()})


def normalize(layer: nn.BatchNorm1d, X: Tensor, statistics: Statistics) -> Tensor:
    """Return X, (n, width), as the layer normalizes it with these statistics."""
    mean, variance = statistics
    scale = layer.weight / (variance + layer.eps).sqrt()
    return torch.addcmul(layer.bias, X - mean, scale)


def run(network: Iterable[nn.Module], X: Tensor, statistics: Sequence[Statistics]) -> Tensor:
    """Return what the first BatchNorm1d without statistics gets, or the output."""
    remaining = list(statistics)
    for layer in network:
        if not isinstance(layer, nn.BatchNorm1d):
            X = layer(X)
        elif remaining:
            X = normalize(layer, X, remaining.pop(0))
        else:
            break
    return X


def batch_statistics(
    network: nn.Sequential, batch: Batch, first: Sequence[Statistics] = ()
) -> list[Statistics]:
    """Return the mean and variance of what each BatchNorm1d gets from a batch in training mode.

    They are those of all its chunks, on all ranks. The variance is the biased one, sum of squares /
    n, by which training mode divides. `first` are those of the first layers, if they are known.
    """
    statistics = list(first)
    layers = [layer for layer in network if isinstance(layer, nn.BatchNorm1d)]
    for layer in layers[len(first) :]:
        parts = chunk_moments(network, batch, layer.num_features, statistics)
        statistics.append(merge_over_ranks(parts))
    return statistics


@torch.no_grad()
def chunk_moments(
    network: nn.Sequential, batch: Batch, width: int, statistics: Sequence[Statistics]
) -> Tensor:
    """Return the moments of what the first BatchNorm1d without statistics gets from each chunk.

    (n_chunks, 1 + 2 * width), in one tensor: many small ones would lie between the large ones of
    the chunks, and keep their memory from being used again.
    """
    bounds = list(batch.bounds())
    rows = batch.source
    parts = torch.empty(len(bounds), 1 + 2 * width, dtype=rows.dtype, device=rows.X.device)
    for part, (start, stop) in zip(parts, bounds, strict=True):
        X, _ = batch.rows(start, stop)
        part.copy_(moments(run(network, X, statistics)))
    return parts


@contextmanager
def whole_batch(network: nn.Sequential, batch: Batch) -> Generator[None, None, None]:
    """Let each chunk be normalized, in the block, by the statistics of the whole batch.

    What the chunks' backward passes find for the statistics goes on to the parameters at the end,
    from the last layer to the first: each chunk's moments are computed once more, with gradients,
    so that memory holds one chunk at a time.
    """
    layers = [layer for layer in network if isinstance(layer, SharedBatchNorm)]
    if not layers or batch.n_chunks == 1:
        yield
        return
    given: list[Statistics] = []
    merged: list[tuple[Tensor, Statistics]] = []
    for layer in layers:
        parts = chunk_moments(network, batch, layer.num_features, given).requires_grad_()
        mean, variance = merge_over_ranks(parts)
        merged.append((parts, (mean, variance)))
        layer.given = mean.detach().requires_grad_(), variance.detach().requires_grad_()
        given.append(layer.given)
    yield
    for k in reversed(range(len(layers))):
        parts, statistics = merged[k]
        torch.autograd.backward(statistics, [item.grad for item in given[k]])
        assert parts.grad is not None
        for (start, stop), gradient in zip(batch.bounds(), parts.grad, strict=True):
            X, _ = batch.rows(start, stop)
            moments(run(network, X, given[:k])).backward(gradient)
        layers[k].given = None


def linear_statistics(linear: nn.Linear, rows: Rows) -> Statistics:
    """Return mean and variance of a linear layer's output for all rows, from those of its input.

    W m + b and the diagonal of W C W^T, where m and C are the mean and the covariance of X, which
    do not change as the network trains: after the first epoch this takes no pass over the rows.
    """
    mean, covariance = rows.covariance
    weight, bias = linear.weight.cpu().double(), linear.bias.cpu().double()
    variance = ((weight @ covariance) * weight).sum(dim=1).clamp(min=0)
    return (weight @ mean + bias).to(linear.weight), variance.to(linear.weight)


@torch.no_grad()
def set_statistics(network: nn.Sequential, rows: Rows) -> None:
    """Set the running statistics to those of all `rows`, in place.

    In evaluation mode the network then gives what it gives for these rows in training mode;
    torch.optim.swa_utils.update_bn would set the unbiased variance, / (n - 1). BatchNorm's own
    running statistics lag behind the parameters: after 51 updates, 0.9^51 = 0.46 % of their initial
    values, and much of early means, is left in them.
    """
    layers = [layer for layer in network if isinstance(layer, nn.BatchNorm1d)]
    linear = network[0]
    assert isinstance(linear, nn.Linear)
    first = [linear_statistics(linear, rows)] if linear.in_features <= FEW else []
    statistics = batch_statistics(network, rows.whole, first)
    for layer, (mean, variance) in zip(layers, statistics, strict=True):
        layer.get_buffer("running_mean").copy_(mean)
        layer.get_buffer("running_var").copy_(variance)
