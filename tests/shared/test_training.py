"""What surrounds both training loops: device, optimizer, divergence."""

import pytest
import torch

from conftest import params_of
from stages.core.errors import UserError
from stages.shared.training import (
    AVAILABLE,
    DivergenceError,
    explain_divergence,
    make_optimizer,
    select_device,
)


def set_available(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    for name in AVAILABLE:
        monkeypatch.setitem(AVAILABLE, name, lambda name=name: name in names)


def test_cpu_is_selected_without_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert select_device("cpu", "float64") == (torch.device("cpu"), torch.float64)
    assert select_device("cpu", "float32") == (torch.device("cpu"), torch.float32)
    assert capsys.readouterr().out == ""


def test_torch_uses_one_thread() -> None:
    torch.set_num_threads(2)
    select_device("cpu", "float64")
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("available", "dtype", "selected"),
    [
        (["cpu"], "float64", "cpu"),
        (["cpu", "cuda"], "float64", "cuda"),
        (["cpu", "mps"], "float32", "mps"),
        (["cpu", "mps"], "float64", "cpu"),
    ],
)
def test_auto_selects_the_gpu_that_supports_the_dtype_and_reports_it(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    available: list[str],
    dtype: str,
    selected: str,
) -> None:
    set_available(monkeypatch, *available)
    assert select_device("auto", dtype)[0] == torch.device(selected)
    assert capsys.readouterr().out == f"device: auto selected {selected}\n"


def test_rank_of_torchrun_has_a_gpu_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    current: list[int] = []
    set_available(monkeypatch, "cpu", "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert select_device("auto", "float64")[0] == torch.device("cuda", 1)
    assert current == [1]
    assert capsys.readouterr().out == ""  # rank 0 says it
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UserError) as error:
        select_device("cuda", "float64")
    assert str(error.value) == (
        "params.yaml: launcher must start at most one process for each GPU of a machine; this one "
        "has 2. Set --nproc-per-node=2."
    )


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_device_that_torch_does_not_find_is_rejected(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    set_available(monkeypatch, "cpu")
    with pytest.raises(UserError) as error:
        select_device(device, "float32")
    assert str(error.value) == (
        "params.yaml: device must be one of {cpu, auto} on this machine; "
        f"got '{device}', which PyTorch does not find. Set device: cpu."
    )


def test_optimizer_has_the_name_and_the_arguments_of_the_settings() -> None:
    settings = params_of(
        "train_regression", {"optimizer": {"name": "Adam", "lr": 0.5, "betas": [0.8, 0.9]}}
    ).optimizer
    optimizer = make_optimizer([torch.zeros(1, requires_grad=True)], settings)
    assert type(optimizer) is torch.optim.Adam
    assert (optimizer.defaults["lr"], optimizer.defaults["betas"]) == (0.5, (0.8, 0.9))


def test_remedy_is_added_to_a_divergence_and_computed_only_then() -> None:
    with (
        pytest.raises(UserError, match=r"^It broke\. Change 3\.$"),
        explain_divergence("a_stage", lambda n: f"Change {n}.", 3),
    ):
        raise DivergenceError("It broke.", 1)
    with explain_divergence("a_stage", pytest.fail, "the remedy was computed"):
        pass
    with pytest.raises(ZeroDivisionError), explain_divergence("a_stage", pytest.fail, ""):
        raise ZeroDivisionError


def test_loss_that_is_not_finite_before_any_update_is_not_blamed_on_the_lr() -> None:
    with (
        pytest.raises(UserError) as error,
        explain_divergence("a_stage", pytest.fail, "the remedy was computed"),
    ):
        raise DivergenceError("It broke.", 0)
    assert str(error.value) == (
        "It broke. No update has been made yet, so the numbers are too large for float32. In "
        "params.yaml, set a_stage.dtype: float64."
    )
