"""A training under way: where it is, what it has measured, and what it writes meanwhile."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from stages.core.schema import TrainClassifierSection, TrainRegressionSection
from stages.shared.batches import Batch, Rows
from stages.shared.checkpoints import (
    delete_checkpoint,
    load_checkpoint,
    problem_key,
    read_checkpoint,
    save_checkpoint,
    settings_key,
)
from stages.shared.chunks import progress_bar
from stages.shared.metrics import write_csv
from stages.shared.ranks import broadcast, rank, sum_over_ranks
from stages.shared.training import TOLERANCE, DivergenceError

WRITE_EVERY = 5.0  # seconds between two versions of the history, at least
MAX_SHARE = 0.02  # of the time, that writing them may take

# What changes as a training goes on, beside the tensors
POSITION = ("epoch", "n_batches", "sums", "untrained", "measured", "history", "snapshots")

Section = TypeVar("Section", TrainRegressionSection, TrainClassifierSection)
Row = tuple[int | float, ...]
State = dict[str, Tensor]


class Run(Generic[Section]):
    """A training: its position, its history, and the snapshots it keeps.

    The rows of the history are (epoch, loss, ..., measured ...), and row k is about the parameters
    after k epochs. The loss, and for a classifier the accuracy, are sums over the batches of the
    epoch, each taken before its update; those of the last row are taken after the last update, and
    those of the first row are `untrained`, if they are set: its batches soon are trained.
    `measured` is what is measured before the epoch's updates.
    """

    def __init__(self, stage: str, section: Section) -> None:
        """Start at the beginning, and write nothing."""
        self.stage, self.section = stage, section
        self.epoch = 0
        self.n_batches = 0  # of this epoch, that are done
        self.sums: list[float] = []  # of its batches
        self.batch_sums: list[float] = []  # of this rank's chunks
        self.untrained: Row = ()
        self.measured: Row = ()
        self.history: list[Row] = []
        self.snapshots: dict[int, State] = {}
        self.columns: Sequence[str] = ()
        self.checkpoint_every = 0.0
        self.find_key: Callable[[], str] | None = None
        self.key = ""
        self.writers: list[Callable[[], None]] = []

    # What a training calls ------------------------------------------------------------------------

    def epochs(self, rows: Rows) -> Iterator[int]:
        """Yield the number of epochs done so far, up to the last, after which no batches follow."""
        n_done = self.epoch * rows.n_rows
        with progress_bar(self.stage, self.section.epochs * rows.n_rows, done=n_done) as bar:
            self.bar = bar
            while self.epoch < self.section.epochs:
                yield self.epoch
                self.record()
                self.epoch, self.n_batches = self.epoch + 1, 0
            yield self.epoch

    @property
    def is_new_epoch(self) -> bool:
        """Whether no batch of this epoch is done."""
        return self.n_batches == 0

    @property
    def needs_untrained(self) -> bool:
        """Whether loss and accuracy of the untrained model are not those of the first batch."""
        return self.epoch == 0 and self.section.batch_size is not None

    def batches(self, rows: Rows, epoch: int) -> Iterator[Batch]:
        """Yield the batches that are left of an epoch; the last number of epochs has none."""
        if epoch == self.section.epochs:
            return
        size, seed = self.section.batch_size, self.section.seed
        for batch in rows.batches(size, seed, epoch, self.n_batches):
            yield batch
            self.n_batches += 1
            for write in self.writers:
                write()
            self.bar.update(batch.n_rows)

    def add(self, *values: float) -> None:
        """Add what a chunk contributes to the loss, and for a classifier to the accuracy."""
        self.batch_sums = add(self.batch_sums, values)

    def sum_over_ranks(self, parameters: Sequence[Tensor]) -> None:
        """Make this rank's gradients and sums those of the whole batch. Raises DivergenceError."""
        self.batch_sums = sum_over_ranks(parameters, self.batch_sums)
        self.sums = add(self.sums, self.batch_sums)
        self.batch_sums = []
        self.check_finite(self.sums[0])

    def record(self) -> None:
        """Append the row of this epoch to the history."""
        values = (self.epoch == 0 and self.untrained) or self.sums
        self.history.append((self.epoch, *values, *self.measured))
        if not self.bar.disable:
            self.bar.set_postfix(loss=f"{self.sums[0]:.6g}", refresh=False)
        self.sums = []

    def finish(self, *values: float) -> list[Row]:
        """Record the last row, with the loss ... of all rows, and return the history.

        Raises DivergenceError if that loss is above the one at the start. In batches, the first
        row's loss comes from many updates and may be as low as it gets: then the validation loss,
        the first that is measured, is that of the start if it is higher.
        """
        self.check_finite(values[0])
        self.sums = list(values)
        self.record()
        first, last = self.history[0][1], self.history[-1][1]
        if self.section.batch_size is not None:
            first = max(first, self.history[0][1 + len(values)])
        if last > first * (1 + TOLERANCE):
            optimizer = self.section.optimizer
            raise DivergenceError(
                f"{self.stage}: the loss must not end above its start; it went from {first:.6g} to "
                f"{last:.6g} in {self.section.epochs} epochs with {optimizer.name} and lr "
                f"{optimizer.lr}.",
                self.section.epochs,
            )
        return self.history

    def check_finite(self, loss: float) -> None:
        """Raise DivergenceError if the loss is not finite."""
        if not isfinite(loss):
            optimizer = self.section.optimizer
            raise DivergenceError(
                f"{self.stage}: the loss must stay finite; it is {loss} at epoch {self.epoch} with "
                f"{optimizer.name} and lr {optimizer.lr}.",
                self.epoch + self.n_batches,
            )

    # What is written meanwhile --------------------------------------------------------------------

    def keep(
        self, columns: Sequence[str], checkpoint_every: float, tensors: str, device: str
    ) -> None:
        """Write the history every few seconds, and a checkpoint every `checkpoint_every` seconds.

        The history, below `columns`, is for those who follow the training. A checkpoint is one of
        this problem if `tensors`, the file that is trained on, and the device are the same, too.
        """
        self.columns, self.checkpoint_every = columns, checkpoint_every
        settings = settings_key(self.section, device)
        self.find_key = lambda: problem_key(settings, tensors)

    def start(self, state: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> None:
        """Go on from a checkpoint of this problem if there is one, and write what is to be kept.

        A checkpoint has `state`, the tensors that are trained, and that of the optimizer.
        """
        if self.find_key is None:
            return
        content = read_checkpoint(self.stage) if rank() == 0 else b""
        key = self.find_key() if content else ""
        content = broadcast(content if load_checkpoint(content).get("key") == key else b"")
        if content:
            self.resume(load_checkpoint(content), state, optimizer)
        if rank() == 0:
            self.writers = [
                every(WRITE_EVERY, self.write_history),
                every(self.checkpoint_every, lambda: self.write_checkpoint(state, optimizer)),
            ]

    def resume(
        self, saved: dict[str, Any], state: Mapping[str, Tensor], optimizer: torch.optim.Optimizer
    ) -> None:
        """Go on from a checkpoint."""
        for name in POSITION:
            setattr(self, name, saved[name])
        with torch.no_grad():
            for name, tensor in state.items():
                tensor.copy_(saved["state"][name])
        restore_optimizer(optimizer, saved["optimizer"])
        if rank() == 0:
            print(f"{self.stage}: a checkpoint was found; going on in epoch {self.epoch}")

    def delete_checkpoint(self) -> None:
        """Delete the checkpoint of a training that is over."""
        delete_checkpoint(self.stage)

    def write_history(self) -> None:
        """Write the history so far."""
        write_csv(f"metrics/{self.stage}.csv", self.columns, self.history)

    def write_checkpoint(
        self, state: Mapping[str, Tensor], optimizer: torch.optim.Optimizer
    ) -> None:
        """Write a checkpoint."""
        assert self.find_key is not None
        self.key = self.key or self.find_key()  # reads all tensors: only if the training is long
        position = {name: getattr(self, name) for name in POSITION}
        content = {
            "key": self.key,
            "state": dict(state),
            "optimizer": optimizer.state_dict()["state"],
        }
        save_checkpoint(self.stage, content | position)


def restore_optimizer(
    optimizer: torch.optim.Optimizer, state: Mapping[int, Mapping[str, Any]]
) -> None:
    """Give each parameter the state that it had, by its number.

    load_state_dict would convert all of it to the parameter's dtype, and NAdam, which has a factor
    in float32, would go on with other numbers.
    """
    parameters = [item for group in optimizer.param_groups for item in group["params"]]
    for number, values in state.items():
        parameter = parameters[number]
        optimizer.state[parameter] = {
            name: value.to(parameter.device)
            if isinstance(value, Tensor) and value.device.type != "cpu"
            else value
            for name, value in values.items()
        }


def add(sums: Sequence[float], values: Sequence[float]) -> list[float]:
    """Return the sums with `values` added; no sums yet count as zeros."""
    return [a + b for a, b in zip(sums, values, strict=True)] if sums else list(values)


def every(seconds: float, write: Callable[[], None]) -> Callable[[], None]:
    """Return a function that calls `write` at most once in so many seconds.

    More seldom if it takes long: MAX_SHARE of the time.
    """
    due = time.monotonic() + seconds

    def write_if_due() -> None:
        nonlocal due
        start = time.monotonic()
        if start >= due:
            write()
            end = time.monotonic()
            due = end + max(seconds, (end - start) / MAX_SHARE)

    return write_if_due
