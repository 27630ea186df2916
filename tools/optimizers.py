"""Train the classifier with every optimizer, on probabilities and on logits, side by side.

    python -m tools.optimizers [--epochs N] [--lr LR] [--only NAME,...]

Each run is a DVC experiment, optimizers-<name>-<loss_on>, in a folder of its own; runs that exist
already, with the same parameters, code and custom tables, are not repeated. All use one learning
rate, by default that of params.yaml, and torch's defaults for the rest. Overwrites
metrics/optimizers.csv and metrics/optimizers.png, and prints the table.

The target is 99 % of the Bayes accuracy, on the training points; for a custom table, which has no
Bayes accuracy, 99 % of the best accuracy of any run.
"""

import csv
import io
import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stages.core.errors import UserError
from stages.core.optimizers import OPTIMIZERS
from stages.core.params import did_you_mean
from stages.core.startup import without_gc
from stages.shared.metrics import write_csv
from tools.cli import make_parser, run
from tools.results import (
    Result,
    git,
    is_number,
    list_experiments,
    open_repo,
    read_experiments,
    read_result,
    read_workspace,
    run_dvc,
)
from tools.text_tables import format_table, format_value

TABLE = "metrics/optimizers.csv"
FIGURE = "metrics/optimizers.png"
EPOCHS = 1000
LOSSES = ("probabilities", "logits")
SECTION = "train_classifier.optimizer"
TARGET = 0.99  # of the best possible accuracy
HEAD = ("optimizer", "loss_on", "epochs to target", "final loss", "loss floor", "test accuracy")


@dataclass(frozen=True)
class Run:
    """One cell of the grid, and how it differs from the workspace."""

    optimizer: str
    loss_on: str
    lr: float
    epochs: int

    @property
    def name(self) -> str:
        """The experiment's name."""
        return f"optimizers-{self.optimizer}-{self.loss_on}"

    @property
    def settings(self) -> dict[str, object]:
        """The parameters that the run sets."""
        return {
            "train_classifier.epochs": self.epochs,
            "train_classifier.loss_on": self.loss_on,
            "train_classifier.snapshots": [0],  # the others may exceed the epochs
            f"{SECTION}.name": self.optimizer,
            f"{SECTION}.lr": self.lr,
        }

    def exists(self, workspace: Result, found: Result | None) -> bool:
        """Return whether the experiment `found` is this run of the workspace."""
        if found is None or (found.code, found.custom_tables) != (
            workspace.code,
            workspace.custom_tables,
        ):
            return False
        kept = {key: value for key, value in workspace.parameters.items() if not is_argument(key)}
        return found.parameters == kept | self.settings


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool."""
    parser = make_parser("optimizers", __doc__)
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"default: {EPOCHS}")
    parser.add_argument("--lr", type=float, help="default: that of params.yaml")
    parser.add_argument(
        "--only", metavar="NAME,...", default=",".join(OPTIMIZERS), help="default: all"
    )
    options = parser.parse_args(arguments)
    names = list(dict.fromkeys(options.only.split(",")))
    for name in names:
        if name not in OPTIMIZERS:
            raise UserError(
                f"--only must list some of {{{', '.join(OPTIMIZERS)}}}; got '{name}'."
                + did_you_mean(name, list(OPTIMIZERS))
            )
    if options.epochs < 1:
        raise UserError(f"--epochs must be an integer >= 1; got {options.epochs}.")
    with open_repo() as repo:
        workspace = read_workspace(repo)
        experiments = {result.name: result for result in read_experiments(repo, {workspace.code})}
    lr = workspace.parameters.get(f"{SECTION}.lr") if options.lr is None else options.lr
    if not (is_number(lr) and lr >= 0):
        raise UserError(f"--lr, or {SECTION}.lr in params.yaml, must be a number >= 0; got {lr}.")
    runs = [Run(name, loss, lr, options.epochs) for loss, name in itertools.product(LOSSES, names)]
    run_missing(runs, workspace, experiments)
    present(runs, lr)


def run_missing(runs: Sequence[Run], workspace: Result, experiments: Mapping[str, Result]) -> None:
    """Run the experiments that do not exist yet; replace those of other parameters or code."""
    removals = [f"~{key}" for key in workspace.parameters if is_argument(key)]
    for number, item in enumerate(runs, start=1):
        if item.exists(workspace, experiments.get(item.name)):
            continue
        print(f"optimizers: {number} of {len(runs)}, {item.name}", file=sys.stderr)
        if item.name in list_experiments():
            run_dvc("exp", "remove", item.name)
        changes = [*(f"{key}={value}" for key, value in item.settings.items()), *removals]
        options = [part for change in changes for part in ("-S", change)]
        run_dvc("exp", "run", "--temp", "--name", item.name, *options)


def is_argument(key: str) -> bool:
    """Return whether a parameter is an argument of the optimizer beside its learning rate."""
    return key.startswith(f"{SECTION}.") and key not in (f"{SECTION}.name", f"{SECTION}.lr")


def present(runs: Sequence[Run], lr: float) -> None:
    """Write the table and the figure, and print the table."""
    with open_repo() as repo:
        commits = list_experiments()
        metrics = [read_result(repo, item.name, commits[item.name]).metrics for item in runs]
    histories = [read_history(commits[item.name]) for item in runs]
    best = max(history["accuracy"].max() for history in histories)
    reference = metrics[0].get("classifier.bayes_accuracy", best)
    target = TARGET * (reference if is_number(reference) else best)
    rows = [
        table_row(item, history, values, target)
        for item, history, values in zip(runs, histories, metrics, strict=True)
    ]
    curves: dict[str, dict[str, np.ndarray]] = {}
    for item, history in zip(runs, histories, strict=True):
        curves.setdefault(item.loss_on, {})[item.optimizer] = history["accuracy"]
    write_csv(TABLE, HEAD, rows)
    with without_gc():
        from stages.figures.curves import draw_optimizers  # imports Matplotlib
    draw_optimizers(FIGURE, curves, target, lr)
    print(format_table(HEAD, [tuple(map(format_value, row)) for row in rows], markdown=True))


def read_history(commit: str) -> dict[str, np.ndarray]:
    """Return loss and accuracy by epoch, each float64 (epochs + 1,), of an experiment."""
    content = git("show", f"{commit}:./metrics/train_classifier.csv") or ""
    rows = list(csv.DictReader(io.StringIO(content)))
    return {
        column: np.array([row[column] for row in rows], dtype=np.float64)
        for column in ("loss", "accuracy")
    }


def epochs_to_target(accuracy: np.ndarray, target: float) -> int | None:
    """Return the first epoch whose accuracy is at least `target`, or None."""
    reached = np.flatnonzero(accuracy >= target)
    return int(reached[0]) if len(reached) else None


def table_row(
    item: Run, history: Mapping[str, np.ndarray], metrics: Mapping[str, object], target: float
) -> tuple[object, ...]:
    """Return a row of the table, as HEAD names its cells."""
    epochs = epochs_to_target(history["accuracy"], target)
    floor, accuracy = metrics["classifier.loss_floor"], metrics["classifier.test.accuracy"]
    return item.optimizer, item.loss_on, epochs, float(history["loss"][-1]), floor, accuracy


if __name__ == "__main__":
    run(main)
