"""What both training loops need around them: the device, the optimizer, progress and its end."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from math import isfinite
from typing import Any, TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from stages.core.errors import UserError
from stages.core.optimizers import OptimizerParams

AVAILABLE = {
    "cpu": lambda: True,
    "cuda": torch.cuda.is_available,
    "mps": torch.backends.mps.is_available,
}

Row = TypeVar("Row", bound=tuple[Any, ...])


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
    if device == "auto":
        device = found[-1]
        print(f"device: auto selected {device}")
    if device not in found:
        raise UserError(
            f"params.yaml: device must be one of {{{', '.join([*found, 'auto'])}}} on this "
            f"machine; got '{device}', which PyTorch does not find. Set device: cpu."
        )
    return torch.device(device), getattr(torch, dtype)


def make_optimizer(
    parameters: Iterable[Tensor], settings: OptimizerParams
) -> torch.optim.Optimizer:
    """Return torch.optim.<name> for `parameters`, with the arguments that params.yaml gives."""
    return getattr(torch.optim, settings.name)(parameters, **settings.arguments)


def track(
    rows: Iterable[Row],
    stage: str,
    epochs: int,
    optimizer: OptimizerParams,
    hint: Callable[[], str] = lambda: "",
) -> Iterator[Row]:
    """Yield the rows (epoch, loss, ...) of a training loop behind a progress bar with the loss.

    The bar is silent unless standard error is a terminal. Raises UserError at the first loss that
    is not finite, with what theory says about the learning rate as `hint`, and stops the loop.
    """
    is_visible = sys.stderr.isatty()  # a hidden bar would cost a percent of a short training
    with tqdm(total=epochs + 1, desc=stage, unit="epoch") if is_visible else nullcontext() as bar:
        for row in rows:
            if not isfinite(row[1]):
                raise diverged(stage, row[0], row[1], optimizer, hint() if row[0] else "")
            if bar is not None:
                bar.set_postfix(loss=f"{row[1]:.6g}", refresh=False)
                bar.update()
            yield row


def diverged(
    stage: str, epoch: int, loss: float, optimizer: OptimizerParams, hint: str
) -> UserError:
    """Return the error for a loss that is not finite."""
    remedy = (
        f"{hint}In params.yaml, lower {stage}.optimizer.lr, or set standardize: true for the table."
    )
    if epoch == 0:
        remedy = "No update has been made yet: rescale the data (standardize: true)."
    return UserError(
        f"{stage}: the loss must stay finite; it is {loss} at epoch {epoch} with {optimizer.name} "
        f"and lr {optimizer.lr}. {remedy}"
    )
