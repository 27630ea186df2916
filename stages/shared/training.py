"""What both training loops need around them: the device, the optimizer, progress and its end."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from stages.core.errors import UserError
from stages.core.optimizers import OptimizerParams

AVAILABLE = {
    "cpu": lambda: True,
    "cuda": torch.cuda.is_available,
    "mps": torch.backends.mps.is_available,
}

TOLERANCE = 1e-6  # differences that six digits do not show are rounding


def select_device(device: str, dtype: str) -> tuple[torch.device, torch.dtype]:
    """Return the device and the dtype to train with, and let torch use one thread.

    `device` is cpu, cuda, mps or auto, which chooses a GPU that supports `dtype` if there is one.
    Raises UserError for a device that torch does not find.
    """
    # One thread adds in one order, and at these sizes it is the fastest, too.
    torch.set_num_threads(1)
    found = [name for name, is_available in AVAILABLE.items() if is_available()]
    if dtype == "float64" and "mps" in found:
        found.remove("mps")  # Apple's GPUs have no float64
    local_rank = os.environ.get("LOCAL_RANK")  # the number of this process on its machine
    if device == "auto":
        device = found[-1]
        if local_rank in (None, "0"):
            print(f"device: auto selected {device}")
    if device not in found:
        raise UserError(
            f"params.yaml: device must be one of {{{', '.join([*found, 'auto'])}}} on this "
            f"machine; got '{device}', which PyTorch does not find. Set device: cpu."
        )
    if device == "cuda" and local_rank is not None:
        device = gpu_of(int(local_rank))
    return torch.device(device), getattr(torch, dtype)


def gpu_of(local_rank: int) -> str:
    """Return the GPU of a rank of torchrun, and make it the current one.

    Raises UserError if there are more ranks than GPUs.
    """
    n_gpus = torch.cuda.device_count()
    if local_rank >= n_gpus:
        raise UserError(
            f"params.yaml: launcher must start at most one process for each GPU of a machine; this "
            f"one has {n_gpus}. Set --nproc-per-node={n_gpus}."
        )
    torch.cuda.set_device(local_rank)
    return f"cuda:{local_rank}"


def make_optimizer(
    parameters: Iterable[Tensor], settings: OptimizerParams
) -> torch.optim.Optimizer:
    """Return torch.optim.<name> for `parameters`, with the arguments that params.yaml gives."""
    return getattr(torch.optim, settings.name)(parameters, **settings.arguments)


class DivergenceError(UserError):
    """A training whose loss is not finite, or ends above its start, after `n_updates` updates.

    The message tells what happened; what to change is for the stage to say, which knows the data.
    """

    def __init__(self, message: str, n_updates: int) -> None:
        """Keep the number of updates: without any, the optimizer is not to blame."""
        super().__init__(message)
        self.n_updates = n_updates


@contextmanager
def explain_divergence(
    stage: str, remedy: Callable[..., str], *arguments: object
) -> Iterator[None]:
    """Add to the message of a DivergenceError what to change in params.yaml: remedy(*arguments).

    It is called only then. Raises UserError.
    """
    try:
        yield
    except DivergenceError as error:
        # In float64, parameters and features of up to 1e30 give finite losses.
        too_large = (
            "No update has been made yet, so the numbers are too large for float32. In "
            f"params.yaml, set {stage}.dtype: float64."
        )
        raise UserError(f"{error} {remedy(*arguments) if error.n_updates else too_large}") from None
