"""What both training loops need around them: the device, the optimizer, progress and its end."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
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

TOLERANCE = 1e-6  # differences that six digits do not show are rounding

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


class DivergenceError(UserError):
    """A training whose loss is not finite, or ends above its start, after `epoch` updates.

    The message tells what happened; what to change is for the stage to say, which knows the data.
    """

    def __init__(self, message: str, epoch: int) -> None:
        """Keep the epoch: at 0 the optimizer is not to blame."""
        super().__init__(message)
        self.epoch = epoch


def track(
    rows: Iterable[Row], stage: str, epochs: int, optimizer: OptimizerParams
) -> Iterator[Row]:
    """Yield the rows (epoch, loss, ...) of a training loop behind a progress bar with the loss.

    The bar is silent unless standard error is a terminal. Raises DivergenceError at the first loss
    that is not finite, which stops the loop, and at the end for a last loss above the first.
    """
    is_visible = sys.stderr.isatty()  # a hidden bar would cost a percent of a short training
    losses: list[float] = []
    with tqdm(total=epochs + 1, desc=stage, unit="epoch") if is_visible else nullcontext() as bar:
        for row in rows:
            epoch, loss = row[0], row[1]
            if not isfinite(loss):
                raise DivergenceError(
                    f"{stage}: the loss must stay finite; it is {loss} at epoch {epoch} with "
                    f"{optimizer.name} and lr {optimizer.lr}.",
                    epoch,
                )
            losses.append(loss)
            if bar is not None:
                bar.set_postfix(loss=f"{loss:.6g}", refresh=False)
                bar.update()
            yield row
    if losses[-1] > losses[0] * (1 + TOLERANCE):
        raise DivergenceError(
            f"{stage}: the loss must not end above its start; it went from {losses[0]:.6g} to "
            f"{losses[-1]:.6g} in {epochs} epochs with {optimizer.name} and lr {optimizer.lr}.",
            epochs,
        )


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
        raise UserError(f"{error} {remedy(*arguments) if error.epoch else too_large}") from None
