import gc
import sys
from types import SimpleNamespace

import pytest
import torch

from conftest import PROJECT, run
from stages.errors import UserError
from stages.progress import follow
from stages.runtime import AVAILABLE, no_compiler, set_up
from stages.startup import quick_imports


def machine(monkeypatch, *able):
    for name in AVAILABLE:
        monkeypatch.setitem(AVAILABLE, name, lambda name=name: name in able)


def test_cpu_is_taken_without_a_word(capsys):
    assert set_up("cpu", "float64") == torch.device("cpu")
    assert capsys.readouterr().out == ""


def test_training_uses_one_thread():
    torch.set_num_threads(2)
    set_up("cpu", "float64")
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("able", "dtype", "chosen"),
    [
        (["cpu"], "float64", "cpu"),
        (["cpu", "cuda"], "float64", "cuda"),
        (["cpu", "mps"], "float32", "mps"),
        (["cpu", "mps"], "float64", "cpu"),
    ],
)
def test_auto_takes_the_gpu_that_can_and_says_so(monkeypatch, capsys, able, dtype, chosen):
    machine(monkeypatch, *able)
    assert set_up("auto", dtype) == torch.device(chosen)
    assert capsys.readouterr().out == f"device: auto chose {chosen}\n"


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_device_that_is_not_there_is_refused(monkeypatch, device):
    machine(monkeypatch, "cpu")
    with pytest.raises(UserError) as error:
        set_up(device, "float32")
    assert str(error.value) == (
        "params.yaml: device must be one of {cpu, auto} on this machine; "
        f"got '{device}', which PyTorch does not find here. Set device: cpu."
    )


def test_mps_refuses_float64(monkeypatch):
    machine(monkeypatch, "cpu", "mps")
    with pytest.raises(UserError) as error:
        set_up("mps", "float64")
    assert str(error.value) == (
        "params.yaml: device must be cpu or cuda for dtype float64; got 'mps', which has no "
        "float64. Set device: cpu, or dtype: float32 for this stage."
    )


STEPS = """
import sys, torch
from contextlib import nullcontext
from stages.runtime import no_compiler
weight = torch.tensor(1.0, requires_grad=True)
with no_compiler() if sys.argv[1] == "without" else nullcontext():
    optimizer = torch.optim.RMSprop([weight], lr=0.1, momentum=0.9)
    for _ in range(5):
        optimizer.zero_grad()
        (weight**2).backward()
        optimizer.step()
print(weight.item(), "torch._dynamo" in sys.modules)
import torch._dynamo
print(torch.compile(lambda x: x + 1, backend="eager")(torch.tensor(1.0)).item())
"""


def test_without_the_compiler_optimizers_give_the_same_and_it_works_later():
    said = {
        mode: run(sys.executable, "-c", STEPS, mode, cwd=PROJECT) for mode in ("with", "without")
    }
    assert said["without"].returncode == 0, said["without"].stderr
    (stock, loaded), (ours, spared) = (said[mode].stdout.split()[:2] for mode in said)
    assert (loaded, spared) == ("True", "False")
    assert ours == stock
    assert said["without"].stdout.split()[2] == "2.0"


def test_a_compiler_that_is_loaded_is_kept(monkeypatch):
    loaded = object()
    monkeypatch.setitem(sys.modules, "torch._dynamo", loaded)
    with no_compiler():
        assert sys.modules["torch._dynamo"] is loaded
    assert sys.modules["torch._dynamo"] is loaded


def test_imports_are_left_out_of_the_search_for_garbage():
    gc.unfreeze()
    with quick_imports():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 10_000


def test_garbage_is_searched_again_after_an_import_that_failed():
    def fail():
        with quick_imports():
            raise ImportError

    with pytest.raises(ImportError):
        fail()
    assert gc.isenabled()


def test_bar_shows_the_loss_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    training = SimpleNamespace(epochs=2, optimizer=None)
    rows = [(0, 3.0), (1, 2.0), (2, 1.5)]
    assert follow("a_stage", iter(rows), training) == rows
    shown = capsys.readouterr().err
    assert "a_stage: 100%" in shown
    assert "3/3" in shown
    assert "loss=1.5" in shown
