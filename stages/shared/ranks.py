"""One training in several processes, the ranks that torchrun starts, on one machine or several.

Every rank has the same parameters and reads a share of each batch. Sums over the ranks make their
gradients, and so their updates, those of the whole batch. Without torchrun there is one rank, and
all of this does nothing.
"""

import ctypes
import signal
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from stages.core.errors import UserError

PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>


@contextmanager
def process_group(device: str, timeout: int) -> Generator[None, None, None]:
    """Connect the ranks for the block: gloo sums what is on CPUs, NCCL what is on GPUs.

    A rank waits at most `timeout` seconds for the others. Within such a block, another one does
    nothing. Raises UserError if a rank is lost.
    """
    if not dist.is_torchelastic_launched() or dist.is_initialized():
        yield
        return
    end_with_torchrun()
    wait = timedelta(seconds=timeout)
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if device == "cuda" else "gloo", timeout=wait)
        yield
    except RuntimeError as error:
        if not is_lost(error):
            raise
        raise UserError(
            f"Rank {rank()} lost another rank: it ended, or did not answer within {timeout} s "
            "(timeout in params.yaml). Run the stage again, or go on with launcher: python."
        ) from error
    finally:
        if dist.is_initialized() and sys.exc_info()[0] is None:
            dist.destroy_process_group()


def end_with_torchrun() -> None:
    """Let this rank end if torchrun is killed, which could then not end it; only on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def is_lost(error: RuntimeError) -> bool:
    """Return whether an error says that another rank is gone or does not answer."""
    words = ("gloo", "nccl", "connection", "timed out", "tcpstore")
    return isinstance(error, dist.DistError) or any(word in str(error).lower() for word in words)


def n_ranks() -> int:
    """Return the number of ranks."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this rank; rank 0 writes the files."""
    return dist.get_rank() if dist.is_initialized() else 0


def share(start: int, stop: int) -> tuple[int, int]:
    """Return this rank's part of the rows from `start` to `stop`, perhaps none."""
    n_rows, ranks = stop - start, n_ranks()
    if ranks == 1:
        return start, stop
    return start + n_rows * rank() // ranks, start + n_rows * (rank() + 1) // ranks


def sum_over_ranks(parameters: Sequence[Tensor], values: Sequence[float]) -> list[float]:
    """Return the sums of `values` over the ranks, and make the gradients of `parameters` sums, too.

    A gradient that this rank lacks counts as zero.
    """
    if n_ranks() == 1:
        return list(values)
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
    numbers = torch.tensor(values, dtype=torch.float64)
    flat = torch.cat([*(part.reshape(-1).cpu().double() for part in gradients), numbers])
    dist.all_reduce(flat)
    *sums, numbers = flat.split([*(part.numel() for part in gradients), len(values)])
    for parameter, total in zip(trained, sums, strict=True):
        parameter.grad = total.reshape(parameter.shape).to(parameter)
    return numbers.tolist()


class SumOverRanks(torch.autograd.Function):
    """The sum of a tensor over the ranks; so is its gradient."""

    @staticmethod
    def forward(*args: Any, **_: Any) -> Tensor:
        """Return the sum of args[1]; args[0] is the context."""
        total = args[1].detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(*args: Any, **_: Any) -> Tensor:
        """Return the gradient: every rank's part of the loss depends on the sum."""
        total = args[1].clone()
        dist.all_reduce(total)
        return total


def gather(tensor: Tensor) -> Tensor:
    """Return the tensor, (n,), of every rank as one row, (n_ranks, n), with gradients."""
    if n_ranks() == 1:
        return tensor[None]
    before, after = rank(), n_ranks() - rank() - 1
    padded = torch.nn.functional.pad(tensor[None], (0, 0, before, after))
    return SumOverRanks.apply(padded)


def broadcast(content: bytes) -> bytes:
    """Return the bytes that rank 0 has."""
    if n_ranks() == 1:
        return content
    size = torch.tensor([len(content)])
    dist.broadcast(size, 0)
    data = torch.empty(int(size.item()), dtype=torch.uint8)
    if rank() == 0 and content:
        data.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    dist.broadcast(data, 0)
    return data.numpy().tobytes()
