"""The tricks that shorten the start of a stage change no result, and how programs end."""

import gc
import sys
from contextlib import suppress

import pytest

from conftest import PROJECT, run
from stages.core.errors import UserError
from stages.core.startup import run_program, skip_dynamo, without_gc

# Prints the weight after five steps, whether torch._dynamo was imported, and a compiled result.
STEPS = """
import sys, torch
from stages.core.startup import skip_dynamo
weight = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
with skip_dynamo():
    optimizer = torch.optim.RMSprop([weight], lr=0.1, momentum=0.9)
    for _ in range(5):
        optimizer.zero_grad()
        (weight**2).backward()
        optimizer.step()
print(weight.item(), "torch._dynamo" in sys.modules)
import torch._dynamo
print(torch.compile(lambda x: x + 1, backend="eager")(torch.tensor(1.0)).item())
"""


def five_steps_of_rmsprop() -> float:
    weight, square, momentum = 1.0, 0.0, 0.0
    for _ in range(5):
        gradient = 2 * weight
        square = 0.99 * square + 0.01 * gradient**2
        momentum = 0.9 * momentum + gradient / (square**0.5 + 1e-8)
        weight -= 0.1 * momentum
    return weight


def test_optimizers_step_as_they_should_without_dynamo_and_it_works_later() -> None:
    done = run(sys.executable, "-c", STEPS, cwd=PROJECT)
    assert done.returncode == 0, done.stderr
    weight, imported, compiled = done.stdout.split()
    assert float(weight) == pytest.approx(five_steps_of_rmsprop(), rel=1e-12)
    assert imported == "False"
    assert compiled == "2.0"


def test_dynamo_that_is_already_imported_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = object()
    monkeypatch.setitem(sys.modules, "torch._dynamo", imported)
    with skip_dynamo():
        assert sys.modules["torch._dynamo"] is imported
    assert sys.modules["torch._dynamo"] is imported


def test_stand_in_for_dynamo_is_gone_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch._dynamo", raising=False)
    with suppress(RuntimeError), skip_dynamo():
        assert "torch._dynamo" in sys.modules
        raise RuntimeError
    assert "torch._dynamo" not in sys.modules


def test_imports_are_left_out_of_garbage_collection() -> None:
    gc.unfreeze()
    with without_gc():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 10_000


def test_garbage_is_collected_again_after_an_import_that_failed() -> None:
    with pytest.raises(ImportError), without_gc():
        raise ImportError
    assert gc.isenabled()


COMPILED_INSIDE = """
import torch
from stages.core.startup import skip_dynamo
with skip_dynamo():
    torch.optim.SGD([torch.tensor(1.0, requires_grad=True)], lr=0.1)
    print(torch.compile(lambda x: x + 1, backend="eager")(torch.tensor(1.0)).item())
"""


def test_code_that_compiles_gets_the_real_dynamo() -> None:
    done = run(sys.executable, "-c", COMPILED_INSIDE, cwd=PROJECT)
    assert (done.returncode, done.stdout) == (0, "2.0\n"), done.stderr


# How a program ends


def test_mistake_is_one_sentence_and_exit_status_1() -> None:
    def main() -> None:
        raise UserError("Name another one.")

    with pytest.raises(SystemExit) as caught:
        run_program(main)
    assert caught.value.code == "Name another one."


def test_bug_keeps_its_traceback() -> None:
    def main() -> None:
        raise KeyError("key")

    with pytest.raises(KeyError):
        run_program(main)


PROGRAM = "from stages.core.startup import run_program; run_program(lambda: print({}))"


def test_reader_that_has_enough_shows_no_traceback() -> None:
    program = PROGRAM.format("'x' * 10**6, flush=True")
    done = run(
        "bash", "-c", f'python -c "{program}" | head -c 1; echo ${{PIPESTATUS[0]}}', cwd=PROJECT
    )
    assert (done.stdout, done.stderr) == ("x141\n", "")


def test_letter_that_the_terminal_lacks_is_shown_as_its_number() -> None:
    program = PROGRAM.format("'R\u00b2 \u00fc'")
    done = run("python", "-c", program, cwd=PROJECT, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout) == (0, "R\\xb2 \\xfc\n")
