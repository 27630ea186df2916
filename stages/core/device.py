"""Rejecting a device that this machine lacks, before torch is imported."""

import ctypes
import os
import sys
from contextlib import suppress

from stages.core.errors import UserError


def check_device(device: str, dtype: str) -> None:
    """Raise UserError if `device` cannot work here, as far as one can tell without torch.

    CUDA needs the driver's library (for AMD, the driver's device file), and MPS is part of macOS.
    What a driver says of its GPUs only torch can ask: `select_device` does.
    """
    if device == "cuda" and not has_gpu_driver():
        raise UserError(
            "params.yaml: device must be cpu or auto on this machine; got 'cuda', and there is no "
            "NVIDIA or AMD driver. Set device: cpu."
        )
    if device == "mps" and sys.platform != "darwin":
        raise UserError(
            "params.yaml: device must be one of {cpu, cuda, auto} on this machine; got 'mps', "
            "which is part of macOS. Set device: cpu."
        )
    if device == "mps" and dtype == "float64":
        raise UserError(
            "params.yaml: device must be cpu or cuda with dtype float64; got 'mps', which has no "
            "float64. Set device: cpu, or dtype: float32 for this stage."
        )


def has_gpu_driver() -> bool:
    """Return whether a driver that torch's `cuda` device can use is installed."""
    for library in ("libcuda.so.1", "nvcuda.dll"):
        with suppress(OSError):
            ctypes.CDLL(library)
            return True
    return os.path.exists("/dev/kfd")
