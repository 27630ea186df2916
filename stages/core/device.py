"""Rejecting a device that this machine lacks, before torch is imported."""

import ctypes
import os
import sys
from contextlib import suppress

from stages.core.errors import UserError


def check_device(device: str, dtype: str) -> None:
    """Raise UserError if `device` cannot work here, as far as one can tell without torch.

    CUDA needs the driver's library (for AMD, the driver's device file), and MPS is part of macOS.
    Only torch can ask the driver which GPUs it has: `select_device` does.
    """
    if device == "cuda" and not has_gpu_driver():
        raise UserError(
            "params.yaml: device 'cuda' needs an NVIDIA or AMD driver, and this machine has none. "
            "Set device: cpu or auto."
        )
    if device == "mps" and sys.platform != "darwin":
        raise UserError(
            "params.yaml: device 'mps' needs macOS, and this is another system. Set device: cpu or "
            "auto."
        )
    if device == "mps" and dtype == "float64":
        raise UserError(
            "params.yaml: device 'mps' needs dtype float32, since Apple's GPUs have no float64. "
            "Set device: cpu, or dtype: float32 for this stage."
        )


def has_gpu_driver() -> bool:
    """Return whether a driver that torch's `cuda` device can use is installed."""
    for library in ("libcuda.so.1", "nvcuda.dll"):
        with suppress(OSError):
            ctypes.CDLL(library)
            return True
    return os.path.exists("/dev/kfd")
