"""The rows of a part in batches and chunks.

An update of the parameters takes one batch: all rows, or `batch_size` of them. A batch is walked in
chunks of `chunk_rows` rows, whose gradients add up, so that memory does not grow with the batch.
Under torchrun each rank takes its share of every batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from stages.shared.batch_moments import merge_over_ranks, moments
from stages.shared.ranks import gather, n_ranks, share


@dataclass(frozen=True)
class Rows:
    """The rows of a part: X, (n, n_features) or (n,), and y, (n,), as `load_rows` returns them."""

    X: Tensor
    y: Tensor
    dtype: torch.dtype
    chunk_rows: int

    @cached_property
    def n_rows(self) -> int:
        """The number of rows, of all ranks."""
        return len(self.y)

    @cached_property
    def whole(self) -> "Batch":
        """All rows as one batch."""
        return self.batch(0, self.n_rows, None)

    @cached_property
    def covariance(self) -> tuple[Tensor, Tensor]:
        """Mean, (n_features,), and biased covariance of X, (n, n_features), in float64 on the CPU.

        The covariance is taken around the mean, in a second pass, so that features far from zero
        lose no digits.
        """
        total = sum_tensors(X.cpu().double().sum(dim=0) for X, _ in self.whole)
        mean = gather(total).sum(dim=0) / self.n_rows
        distances = (X.cpu().double() - mean for X, _ in self.whole)
        products = sum_tensors((X.T @ X).reshape(-1) for X in distances)
        return mean, gather(products).sum(dim=0).reshape(len(mean), -1) / self.n_rows

    @cached_property
    def target_std(self) -> float:
        """The standard deviation of y."""
        parts = [moments(y.cpu().double()[:, None]) for _, y in self.whole]
        _, variance = merge_over_ranks(torch.stack(parts))
        return variance.sqrt().item()

    def batch(self, start: int, stop: int, order: Tensor | None) -> "Batch":
        """Return the batch of the rows at positions `start` to `stop` of `order`."""
        n_rows = stop - start
        start, stop = share(start, stop)
        if order is not None:
            # A copy: a slice would keep the order of an epoch while that of the next is drawn.
            start, stop, order = 0, stop - start, order[start:stop].clone()
        return Batch(self, n_rows, start, stop, order)

    def n_batches(self, batch_size: int | None) -> int:
        """Return the number of batches of an epoch."""
        return 1 if batch_size is None else -(-self.n_rows // batch_size)

    def n_chunks(self, batch_size: int | None) -> int:
        """Return the number of chunks of an epoch's largest batch."""
        n_rows = -(-self.n_rows // self.n_batches(batch_size))
        return self.batch(0, n_rows, None).n_chunks

    def batches(
        self, batch_size: int | None, seed: int, epoch: int, first: int
    ) -> Iterator["Batch"]:
        """Yield the batches of an epoch from number `first` on.

        Each row is in one of them. Their sizes differ by one at most, so that none is tiny. The
        order of the rows depends on the seed and the epoch, not on the number of ranks.
        """
        if batch_size is None:
            yield from [self.whole][first:]
            return
        n_batches = self.n_batches(batch_size)
        order = shuffle(self.n_rows, seed, epoch).to(self.X.device)
        for number in range(first, n_batches):
            start, stop = (k * self.n_rows // n_batches for k in (number, number + 1))
            yield self.batch(start, stop, order)


@dataclass
class Batch:
    """This rank's share of a batch: an iterable of chunks (X, y), at least one, perhaps empty.

    X has shape (n, n_features), or (n,) for one feature of a regression, and y (n,). X, and y if it
    is not a class, have the dtype that is trained in. `n_rows` counts the rows of all ranks, and
    this rank's are those from `start` to `stop`. If they are shuffled, those are positions in
    `order`, which has the numbers of this rank's rows.
    """

    source: Rows
    n_rows: int
    start: int
    stop: int
    order: Tensor | None = None

    @property
    def share(self) -> float:
        """The share of the epoch's rows that the batch has."""
        return self.n_rows / self.source.n_rows

    @property
    def n_chunks(self) -> int:
        """The number of chunks of the rank that has most of them."""
        return -(-self.n_rows // (n_ranks() * self.source.chunk_rows))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the chunks."""
        for start, stop in self.bounds():
            yield self.rows(start, stop)

    def bounds(self) -> Iterator[tuple[int, int]]:
        """Yield the first row, and the row after the last, of each chunk."""
        for start in range(self.start, max(self.stop, self.start + 1), self.source.chunk_rows):
            yield start, min(start + self.source.chunk_rows, self.stop)

    def rows(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Return the rows at these positions."""
        X, y, dtype = self.source.X, self.source.y, self.source.dtype
        if self.order is not None:
            order = self.order[start:stop]
            X, y = X.index_select(0, order), y.index_select(0, order)
        elif stop - start < self.source.n_rows:
            X, y = X[start:stop], y[start:stop]
        return X.to(dtype), y.to(dtype) if y.is_floating_point() else y


def load_rows(
    X: Tensor, y: Tensor, device: torch.device, dtype: torch.dtype, chunk_rows: int
) -> Rows:
    """Return rows that are mapped from their file, or on a GPU are copied to its memory.

    There they have the dtype that is trained in, since not every GPU has float64.
    """
    if device.type != "cpu":
        X, y = X.to(device, dtype), y.to(device, dtype if y.is_floating_point() else y.dtype)
    return Rows(X, y, dtype, chunk_rows)


def sum_tensors(tensors: Iterator[Tensor]) -> Tensor:
    """Return the sum of one or more tensors of the same shape."""
    total = next(tensors).clone()
    for tensor in tensors:
        total += tensor
    return total


def shuffle(n_rows: int, seed: int, epoch: int) -> Tensor:
    """Return the numbers of the rows in the order of an epoch, (n_rows,).

    A generator for each epoch makes a resumed training go on with the same order. Four bytes a
    number halve the memory.
    """
    # Seeds and epochs that follow one another must not give the same orders.
    mixed = (seed * 0x9E3779B97F4A7C15 + epoch * 0xBF58476D1CE4E5B9) % 2**63
    generator = torch.Generator().manual_seed(mixed)
    dtype = torch.int32 if n_rows < 2**31 else torch.int64
    return torch.randperm(n_rows, generator=generator, dtype=dtype)
