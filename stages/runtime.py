"""Where and how torch computes: the device, one thread, and a quick start."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import torch

from stages.errors import UserError

AVAILABLE = {
    "cpu": lambda: True,
    "cuda": torch.cuda.is_available,
    "mps": torch.backends.mps.is_available,
}


def set_up(device: str, dtype: str) -> torch.device:
    """Set torch up for a training stage and return the device to train on.

    `device` is cpu, cuda, mps or auto, which takes a GPU that can hold `dtype` if there is one.
    Raises UserError for a device that this machine lacks or that cannot hold `dtype`.
    """
    # One thread adds up in one order, and at these sizes it is the fastest, too.
    torch.set_num_threads(1)
    able = [name for name, available in AVAILABLE.items() if available()]
    if dtype == "float64" and device != "mps":
        able = [name for name in able if name != "mps"]  # Apple's GPU has no float64
    if device == "auto":
        device = able[-1]
        print(f"device: auto chose {device}")
    if device not in able:
        raise UserError(
            f"params.yaml: device must be one of {{{', '.join([*able, 'auto'])}}} on this machine; "
            f"got '{device}', which PyTorch does not find here. Set device: cpu."
        )
    if device == "mps" and dtype == "float64":
        raise UserError(
            "params.yaml: device must be cpu or cuda for dtype float64; got 'mps', which has no "
            "float64. Set device: cpu, or dtype: float32 for this stage."
        )
    return torch.device(device)


@contextmanager
def no_compiler() -> Iterator[None]:
    """Spare optimizers the import of torch's compiler, which takes a second and does nothing here.

    torch.optim imports torch._dynamo at an optimizer's first use, to mark its methods for the
    compiler. With nothing to compile the marks mean nothing; a stand-in takes them until the block
    ends. A program that has called torch.compile has the compiler already, and keeps it.
    """
    name = "torch._dynamo"
    if name in sys.modules:
        yield
        return
    stand_in = ModuleType(name)
    stand_in.disable = lambda function, *args, **kwargs: function
    stand_in.graph_break = lambda: None
    sys.modules[name] = stand_in
    try:
        yield
    finally:
        del sys.modules[name]
