"""Train the classifier with every optimizer, on probabilities and on logits, side by side.

    python -m tools.optimizers [--epochs N] [--lr LR] [--only NAME,...]

Each run is a DVC experiment, optimizers-<name>-<loss_on>, in a folder of its own; one that is there
already, with the same parameters, code and tables, is not run again. All take one learning rate,
that of params.yaml if not said otherwise, and torch's own values for the rest. Writes
metrics/optimizers.csv and metrics/optimizers.png over what they hold, and prints the table.

An optimizer has arrived at the first epoch with 99 % of the Bayes accuracy, on the training points;
for an own table, which has none, of the best accuracy that any run came to.
"""

import argparse
import csv
import io
import itertools
import sys
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from stages import figures
from stages.errors import UserError
from stages.metrics import write_csv
from stages.optimizers import OPTIMIZERS
from tools.compare import Result, dvc, experiments, git, is_number, read_result, table, text

TABLE = "metrics/optimizers.csv"
FIGURE = "metrics/optimizers.png"
EPOCHS = 1000
LOSSES = ("probabilities", "logits")
SECTION = "train_classifier.optimizer"
SHARE = 0.99
HEAD = ("optimizer", "loss_on", "epochs to arrive", "final loss", "loss floor", "test accuracy")


def grid(names: Sequence[str], lr: float, epochs: int) -> Iterator[Result]:
    """Yield the results of all runs, which are made where they are not there."""
    own = read_result("workspace", None)
    kept = {f"{SECTION}.name", f"{SECTION}.lr"}
    extra = [key for key in own.parameters if key.startswith(SECTION) and key not in kept]
    pairs = list(itertools.product(LOSSES, names))
    for number, (loss_on, optimizer) in enumerate(pairs, start=1):
        name = f"optimizers-{optimizer}-{loss_on}"
        settings = {
            "train_classifier.epochs": epochs,
            "train_classifier.loss_on": loss_on,
            "train_classifier.snapshots": (0,),  # no more than there are epochs
            f"{SECTION}.name": optimizer,
            f"{SECTION}.lr": lr,
        }
        wanted = {key: value for key, value in own.parameters.items() if key not in extra}
        wanted |= settings
        there = experiments().get(name)
        found = there and read_result(name, there)
        result = found and (found.parameters, found.code, found.tables)
        if result != (wanted, own.code, own.tables):
            print(f"optimizers: {number} of {len(pairs)}, {name}", file=sys.stderr)
            if found:
                dvc("exp", "remove", name)
            changes = [
                f"{key}={list(value) if isinstance(value, tuple) else value}"
                for key, value in settings.items()
            ]
            changes += [f"~{key}" for key in extra]
            options = itertools.chain(*(("-S", each) for each in changes))
            dvc("exp", "run", "--temp", "--name", name, *options)
        yield read_result(name, experiments()[name])


def history(name: str) -> np.ndarray:
    """Return loss and accuracy by epoch, float64 (epochs + 1, 2), of an experiment."""
    content = git("show", f"{experiments()[name]}:metrics/train_classifier.csv")
    rows = csv.DictReader(io.StringIO(content))
    return np.array([(row["loss"], row["accuracy"]) for row in rows], dtype=np.float64)


def arrival(accuracy: np.ndarray, goal: float) -> int | None:
    """Return the first epoch whose accuracy is at least `goal`, or None."""
    reached = np.flatnonzero(accuracy >= goal)
    return int(reached[0]) if len(reached) else None


def rows(
    results: Sequence[Result], histories: Sequence[np.ndarray], goal: float
) -> Iterator[tuple]:
    """Yield the rows of the table, as HEAD names them."""
    for result, losses in zip(results, histories, strict=True):
        _, optimizer, loss_on = result.name.split("-")
        epochs = arrival(losses[:, 1], goal)
        floor = result.metrics["train_classifier.loss_floor"]
        accuracy = result.metrics["classifier.test.accuracy"]
        yield optimizer, loss_on, epochs, float(losses[-1, 0]), floor, accuracy


def draw(results: Sequence[Result], histories: Sequence[np.ndarray], goal: float) -> None:
    """Draw accuracy against epoch, a curve for each optimizer, a panel for each loss."""
    n_optimizers = len(results) // len(LOSSES)
    with figures.style():
        figure = Figure(figsize=(11, 5.6))
        figure.subplots_adjust(left=0.07, right=0.98, top=0.9, wspace=0.06)
        panels = figure.subplots(1, len(LOSSES), sharey=True)
        for number, (result, losses) in enumerate(zip(results, histories, strict=True)):
            panel, place = divmod(number, n_optimizers)
            epochs = np.arange(1, len(losses) + 1)
            panels[panel].plot(
                epochs,
                losses[:, 1],
                color=figures.COLORS[place % len(figures.COLORS)],
                linestyle="-" if place < len(figures.COLORS) else "--",
                marker=figures.MARKERS[place % len(figures.MARKERS)],
                markevery=(place / 20 + 0.02, 0.25),
                markersize=5,
                linewidth=1.6,
                label=result.name.split("-")[1],
            )
        for axes, loss_on in zip(panels, LOSSES, strict=True):
            axes.axhline(goal, color="#555555", linestyle=":", label=f"goal: {goal:.4g}")
            title = f"Loss on {loss_on}, lr {results[0].parameters[f'{SECTION}.lr']:g}"
            axes.set(title=title, xlabel="epoch + 1", xscale="log")
            axes.xaxis.set_major_formatter(ScalarFormatter())
        panels[0].set_ylabel("accuracy on the training points")
        figures.add_legend(figure, panels)
        figures.save(figure, FIGURE)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.optimizers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"default: {EPOCHS}")
    parser.add_argument("--lr", type=float, help="default: that of params.yaml")
    parser.add_argument(
        "--only", metavar="NAME,...", default=",".join(OPTIMIZERS), help="default: all"
    )
    options = parser.parse_args(arguments)
    names = list(dict.fromkeys(options.only.split(",")))
    for name in names:
        if name not in OPTIMIZERS:
            raise UserError(f"--only must list some of {{{', '.join(OPTIMIZERS)}}}; got '{name}'.")
    if options.epochs < 1:
        raise UserError(f"--epochs must be a whole number of at least 1; got {options.epochs}.")
    own = read_result("workspace", None)
    lr = own.parameters.get(f"{SECTION}.lr") if options.lr is None else options.lr
    if not (is_number(lr) and lr >= 0):
        raise UserError(f"--lr, or {SECTION}.lr in params.yaml, must be a number from 0; got {lr}.")
    results = list(grid(names, lr, options.epochs))
    histories = [history(result.name) for result in results]
    best = max(losses[:, 1].max() for losses in histories)
    goal = SHARE * float(results[0].metrics.get("classifier.bayes_accuracy", best))
    found = list(rows(results, histories, goal))
    write_csv(TABLE, HEAD, found)
    draw(results, histories, goal)
    print(table(HEAD, [tuple(map(text, row)) for row in found], markdown=True))


if __name__ == "__main__":
    main()
