"""A training under way: its history, its checks, and what it writes meanwhile."""

import math
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from conftest import params_of
from stages.core.errors import UserError
from stages.core.optimizers import OPTIMIZERS
from stages.shared import run as run_module
from stages.shared.batches import Rows
from stages.shared.checkpoints import (
    checkpoint_path,
    load_checkpoint,
    read_checkpoint,
    save_checkpoint,
)
from stages.shared.run import Run, every
from stages.shared.training import DivergenceError, make_optimizer

POINTS = Rows(torch.arange(7.0), torch.arange(7.0), torch.float64, 4)


def make_run(**changes: Any) -> Run:
    return Run("train_regression", params_of("train_regression", changes))


def play(run: Run, losses: list[float]) -> list[tuple[float, ...]]:
    """Run epochs of one batch each, whose losses are given, the last one at the end."""
    *first, last = losses
    for epoch in run.epochs(POINTS):
        if run.is_new_epoch:
            run.measured = (10.0 * epoch,)
        for _ in run.batches(POINTS, epoch):
            run.add(first[epoch])
            run.sum_over_ranks([])
    return run.finish(last)


def test_rows_of_the_history_are_the_sums_and_what_was_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = make_run(epochs=2, batch_size=3)
    for epoch in run.epochs(POINTS):
        if run.is_new_epoch:
            run.measured = (10.0 * epoch,)
        for batch in run.batches(POINTS, epoch):
            run.add(batch.n_rows, 1)
            run.add(0.5, 0)
            run.sum_over_ranks([])
    assert run.finish(4.0, 2.0) == [(0, 8.5, 3, 0.0), (1, 8.5, 3, 10.0), (2, 4.0, 2.0, 20.0)]
    assert capsys.readouterr() == ("", "")


def test_terminal_shows_rows_and_loss_of_a_long_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("stages.shared.chunks.DELAY", 0)
    play(make_run(epochs=3), [3.0, 2.0, 1.5, 1.0])
    shown = capsys.readouterr().err
    assert "train_regression: 100%" in shown
    assert "21.0/21.0" in shown
    assert "loss=1.5" in shown
    monkeypatch.setenv("RANK", "1")
    play(make_run(epochs=3), [3.0, 2.0, 1.5, 1.0])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("loss", [math.inf, math.nan])
def test_loss_that_is_not_finite_stops_the_loop(loss: float) -> None:
    run = make_run(epochs=3)
    with pytest.raises(DivergenceError) as error:
        play(run, [3.0, loss, 2.0, 1.0])
    assert str(error.value) == (
        f"train_regression: the loss must stay finite; it is {loss} at epoch 1 with SGD and lr "
        "0.0001."
    )
    assert error.value.n_updates == 1
    assert len(run.history) == 1


def test_loss_that_is_not_finite_in_the_second_batch_came_after_an_update() -> None:
    run = make_run(epochs=3, batch_size=3)
    epochs, batches = run.epochs(POINTS), run.batches(POINTS, 0)
    next(epochs)
    next(batches)
    run.add(1.0)
    run.sum_over_ranks([])
    next(batches)
    run.add(math.nan)
    with pytest.raises(DivergenceError) as error:
        run.sum_over_ranks([])
    assert error.value.n_updates == 1


def test_loss_that_is_not_finite_in_the_first_batch_came_before_any_update() -> None:
    with pytest.raises(DivergenceError) as error:
        play(make_run(epochs=1), [math.inf, 1.0])
    assert error.value.n_updates == 0


def test_loss_that_ends_above_its_start_is_a_divergence() -> None:
    with pytest.raises(DivergenceError) as error:
        play(make_run(epochs=2), [3.0, 2.0, 3.1])
    assert str(error.value) == (
        "train_regression: the loss must not end above its start; it went from 3 to 3.1 in 2 "
        "epochs with SGD and lr 0.0001."
    )


@pytest.mark.parametrize("losses", [[3.0, 9.0, 2.9], [3.0, 3.0], [0.0, 0.0], [3.0, 3.0 + 1e-9]])
def test_loss_that_rises_on_its_way_or_by_rounding_is_none(losses: list[float]) -> None:
    rows = play(make_run(epochs=len(losses) - 1), losses)
    assert [row[1] for row in rows] == losses


@pytest.mark.parametrize(("last", "diverges"), [(4.9, False), (5.1, True)])
def test_batches_that_begin_at_the_lowest_loss_may_end_above_it(
    last: float, diverges: bool
) -> None:
    """The first loss, 3, is that of three batches; 5, of the validation rows, is that before."""
    run = make_run(epochs=1, batch_size=3)
    for epoch in run.epochs(POINTS):
        run.measured = (5.0 - 2 * epoch,)
        for _ in run.batches(POINTS, epoch):
            run.add(1.0)
            run.sum_over_ranks([])
    if not diverges:
        assert run.finish(last) == [(0, 3.0, 5.0), (1, last, 3.0)]
        return
    with pytest.raises(DivergenceError, match=r"it went from 5 to 5\.1 in 1 epochs"):
        run.finish(last)


# What is written meanwhile


def test_writer_waits_for_its_time_and_longer_if_it_is_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, calls = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def write() -> None:
        calls.append(now[0])
        now[0] += 0.5  # a fiftieth of 25 seconds

    write_if_due = every(5, write)
    for second in range(60):
        now[0] = max(now[0], float(second))
        write_if_due()
    assert calls == [5, 31, 57]


@pytest.fixture
def tensors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Work in an empty folder; return the path of a file that stands for the tensors."""
    monkeypatch.chdir(tmp_path)
    Path("tensors").write_bytes(b"tensors")
    return "tensors"


def keep_all(monkeypatch: pytest.MonkeyPatch, run: Run, tensors: str) -> None:
    monkeypatch.setattr(run_module, "WRITE_EVERY", 0)
    monkeypatch.setattr(run_module, "MAX_SHARE", math.inf)
    run.keep(["epoch", "loss", "weight"], 0, tensors, "cpu")


def train(run: Run, weight: Tensor, name: str = "SGD", stop_after: int = 10**9) -> None:
    """Fit y = weight * x in batches, and stop in the middle after some of them."""
    optimizer = make_optimizer([weight], OPTIMIZERS[name](name=name, lr=1e-3))
    run.start({"weight": weight}, optimizer)
    n_done = 0
    for epoch in run.epochs(POINTS):
        if run.is_new_epoch:
            run.measured = (weight.item(),)
        for batch in run.batches(POINTS, epoch):
            optimizer.zero_grad()
            for x, y in batch:
                loss = ((x * weight - y) ** 2).sum()
                loss.backward()
                run.add(loss.item())
            run.sum_over_ranks([weight])
            optimizer.step()
            n_done += 1
            if n_done > stop_after:
                raise KeyboardInterrupt
    run.finish(0.0)


def number() -> Tensor:
    return torch.tensor(0.1, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_resumed_training_is_the_uninterrupted_one_whatever_the_optimizer(
    monkeypatch: pytest.MonkeyPatch, tensors: str, name: str
) -> None:
    whole, weight = make_run(epochs=4, batch_size=3), number()
    train(whole, weight, name)
    for stop_after in (1, 3, 6, 7):
        killed = make_run(epochs=4, batch_size=3)
        keep_all(monkeypatch, killed, tensors)
        with pytest.raises(KeyboardInterrupt):
            train(killed, number(), name, stop_after)
        resumed, resumed_weight = make_run(epochs=4, batch_size=3), number()
        keep_all(monkeypatch, resumed, tensors)
        train(resumed, resumed_weight, name)
        assert resumed.history == whole.history
        assert torch.equal(resumed_weight, weight)
        Path(checkpoint_path("train_regression")).unlink()


def test_resumed_training_says_so(
    monkeypatch: pytest.MonkeyPatch, tensors: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for stop_after in (5, 10**9):
        run = make_run(epochs=4, batch_size=3)
        keep_all(monkeypatch, run, tensors)
        try:
            train(run, number(), stop_after=stop_after)
        except KeyboardInterrupt:
            assert capsys.readouterr().out == ""
    assert capsys.readouterr().out == (
        "train_regression: a checkpoint was found; going on in epoch 1\n"
    )


def test_history_can_be_read_while_the_training_runs(
    monkeypatch: pytest.MonkeyPatch, tensors: str
) -> None:
    run = make_run(epochs=4, batch_size=3)
    keep_all(monkeypatch, run, tensors)
    with pytest.raises(KeyboardInterrupt):
        train(run, number(), stop_after=7)
    header, *rows = Path("metrics/train_regression.csv").read_text().splitlines()
    assert header == "epoch,loss,weight"
    assert [row.split(",")[0] for row in rows] == ["0", "1"]
    assert rows[0].split(",")[2] == "0.1"


def change_nothing(run: Run, tensors: str) -> None:
    pass


def change_lr(run: Run, tensors: str) -> None:
    optimizer = run.section.optimizer.model_copy(update={"lr": 2e-3})
    run.section = run.section.model_copy(update={"optimizer": optimizer})


def change_data(run: Run, tensors: str) -> None:
    Path(tensors).write_bytes(b"tensorS")


@pytest.mark.parametrize(
    ("change", "goes_on"), [(change_nothing, True), (change_lr, False), (change_data, False)]
)
def test_only_the_same_problem_goes_on_from_a_checkpoint(
    monkeypatch: pytest.MonkeyPatch, tensors: str, change: Any, goes_on: bool
) -> None:
    killed = make_run(epochs=4)
    keep_all(monkeypatch, killed, tensors)
    with pytest.raises(KeyboardInterrupt):
        train(killed, number(), stop_after=2)
    run = make_run(epochs=4)
    change(run, tensors)
    keep_all(monkeypatch, run, tensors)
    weight = number()
    run.start({"weight": weight}, torch.optim.SGD([weight], lr=1e-4))
    assert (run.epoch + run.n_batches > 0) is goes_on
    assert (weight.item() != 0.1) is goes_on


def test_checkpoint_of_other_code_is_not_gone_on_from(
    monkeypatch: pytest.MonkeyPatch, tensors: str, tmp_path: Path
) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "a.py").write_text("1")
    monkeypatch.setattr("stages.shared.checkpoints.STAGES", code)
    run, other = make_run(), make_run()
    keep_all(monkeypatch, run, tensors)
    before = run.find_key()
    (code / "a.py").write_text("2")
    assert run.find_key() == before  # edited while it runs: it goes on with what was imported
    keep_all(monkeypatch, other, tensors)
    assert other.find_key() != before


@pytest.mark.parametrize("content", [b"", b"no checkpoint", "cut"])
def test_file_that_is_no_checkpoint_is_not_gone_on_from(
    monkeypatch: pytest.MonkeyPatch, tensors: str, content: bytes | str
) -> None:
    killed = make_run(epochs=4)
    keep_all(monkeypatch, killed, tensors)
    with pytest.raises(KeyboardInterrupt):
        train(killed, number(), stop_after=2)
    whole = read_checkpoint("train_regression")
    assert load_checkpoint(whole)["epoch"] == 1
    cut = whole[: len(whole) // 2] if isinstance(content, str) else content
    Path(checkpoint_path("train_regression")).write_bytes(cut)
    run = make_run(epochs=4)
    keep_all(monkeypatch, run, tensors)
    train(run, number())
    assert len(run.history) == 5


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
def test_checkpoint_on_a_full_disk_is_a_mistake_in_one_sentence(tensors: str) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        with pytest.raises(UserError) as error:
            save_checkpoint("train_regression", {"weight": torch.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    path = checkpoint_path("train_regression")
    assert str(error.value) == f"{path} cannot be written: File too large."
    assert list(Path(path).parent.iterdir()) == []


def test_loading_a_checkpoint_runs_no_code(tensors: str) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (Path.touch, (Path("ran"),))

    torch.save({"key": Evil()}, "evil.pt")
    assert load_checkpoint(Path("evil.pt").read_bytes()) == {}
    assert not Path("ran").exists()


def test_short_training_writes_no_checkpoint_and_reads_no_tensors(
    monkeypatch: pytest.MonkeyPatch, tensors: str
) -> None:
    run = make_run(epochs=4)
    run.keep(["epoch", "loss", "weight"], 60, "missing", "cpu")
    train(run, number())
    assert not Path(".checkpoints").exists()
    assert not Path("metrics").exists()
