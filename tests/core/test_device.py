"""A device that this machine lacks is rejected without torch."""

import ctypes
import os
import sys

import pytest

from stages.core import device
from stages.core.device import check_device, has_gpu_driver
from stages.core.errors import UserError


def error_of(name: str, dtype: str = "float32") -> str:
    with pytest.raises(UserError) as error:
        check_device(name, dtype)
    return str(error.value)


@pytest.mark.parametrize("name", ["cpu", "auto"])
def test_cpu_and_auto_are_always_possible(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "has_gpu_driver", lambda: False)
    check_device(name, "float64")


def test_cuda_without_a_driver_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "has_gpu_driver", lambda: False)
    assert error_of("cuda") == (
        "params.yaml: device 'cuda' needs an NVIDIA or AMD driver, and this machine has none. "
        "Set device: cpu or auto."
    )


def test_cuda_with_a_driver_is_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "has_gpu_driver", lambda: True)
    check_device("cuda", "float64")


def test_mps_outside_macos_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert error_of("mps") == (
        "params.yaml: device 'mps' needs macOS, and this is another system. Set device: cpu or "
        "auto."
    )


def test_mps_rejects_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    check_device("mps", "float32")
    assert error_of("mps", "float64") == (
        "params.yaml: device 'mps' needs dtype float32, since Apple's GPUs have no float64. Set "
        "device: cpu, or dtype: float32 for this stage."
    )


@pytest.mark.parametrize(
    ("libraries", "files", "found"),
    [
        ((), (), False),
        (("libcuda.so.1",), (), True),
        (("nvcuda.dll",), (), True),
        ((), ("/dev/kfd",), True),
    ],
)
def test_driver_is_a_library_of_nvidia_or_the_device_file_of_amd(
    monkeypatch: pytest.MonkeyPatch, libraries: tuple, files: tuple, found: bool
) -> None:
    def load(name: str) -> None:
        if name not in libraries:
            raise OSError

    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(os.path, "exists", lambda path: path in files)
    assert has_gpu_driver() is found
