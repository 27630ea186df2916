"""Number, mean and variance of rows that are in parts (Chan, Golub and LeVeque, 1979).

Moments are a tensor (1 + 2 * width,): the number of rows, their means and their biased variances.
"""

import torch
from torch import Tensor

from stages.shared.ranks import gather


def moments(X: Tensor) -> Tensor:
    """Return the moments of X, (n, width); those of no rows are zeros."""
    if not len(X):
        return torch.cat([X.new_zeros(1), X.sum(dim=0), X.sum(dim=0)])
    mean = X.mean(dim=0)
    variance = (X - mean).square().mean(dim=0)  # torch.var_mean takes five times as long
    return torch.cat([X.new_full((1,), len(X)), mean, variance])


def merge(parts: Tensor) -> Tensor:
    """Return the moments of all rows from those of their parts, (k, 1 + 2 * width)."""
    if len(parts) == 1:
        return parts[0]
    width = parts.shape[1] // 2
    counts, means, variances = parts.split([1, width, width], dim=1)
    count = counts.sum(dim=0)
    mean = (counts * means).sum(dim=0) / count
    variance = (counts * (variances + (means - mean) ** 2)).sum(dim=0) / count
    return torch.cat([count, mean, variance])


def merge_over_ranks(parts: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance, (width,), of the rows of all ranks; `parts` are this one's."""
    mean, variance = merge(gather(merge(parts)))[1:].chunk(2)
    return mean, variance
