"""Train the classifier with every optimizer, on probabilities and on logits, over several seeds.

    python -m tools.optimizers [--epochs N] [--lr LR] [--seeds N] [--only NAME,...]

Trains on data/tensors/ with the parameters of params.yaml, but with one learning rate for all, by
default that of params.yaml, and torch's defaults for the rest. The seeds, 0, 1, …, are those of the
initial weights. Overwrites metrics/optimizers.csv and metrics/optimizers.png, and prints the table.

All numbers are of the validation rows, by which an optimizer is chosen: the first epoch at which
the accuracy reaches the target, the last accuracy, and the last cross entropy of the predicted
probabilities, each as median [lowest, highest] over the seeds. The target is 99 % of the Bayes
accuracy or, for a custom table, of the best median accuracy of any optimizer.
"""

import itertools
import math
import multiprocessing
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from stages.core.errors import UserError
from stages.core.files import require_file
from stages.core.optimizers import OPTIMIZERS
from stages.core.params import did_you_mean, read_params
from stages.core.schema import TrainClassifier, TrainClassifierSection
from stages.core.startup import skip_dynamo, without_gc
from stages.shared.metrics import write_csv
from tools.cli import make_parser, run
from tools.text_tables import format_table, format_value

TENSORS = "data/tensors/classification.safetensors"
TABLE = "metrics/optimizers.csv"
FIGURE = "metrics/optimizers.png"
EPOCHS = 500
SEEDS = 5
LOSSES = ("probabilities", "logits")
TARGET = 0.99  # of the best possible accuracy
RANGE = ("median", "lowest", "highest")
MEASURES = ("epochs_to_target", "valid_accuracy", "valid_cross_entropy")


class Trained(NamedTuple):
    """The validation accuracy by epoch, (epochs + 1,), and the last cross entropy of a training.

    One that diverged has the accuracies until then, and nan after it.
    """

    accuracies: np.ndarray
    cross_entropy: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool. The arguments are checked before the slow imports."""
    parser = make_parser("optimizers", __doc__)
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"default: {EPOCHS}")
    parser.add_argument("--lr", type=float, help="default: that of params.yaml")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"how many; default: {SEEDS}")
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
    for key in ("epochs", "seeds"):
        if getattr(options, key) < 1:
            raise UserError(f"--{key} must be an integer >= 1; got {getattr(options, key)}.")
    params = read_params(TrainClassifier).train_classifier
    lr = params.optimizer.lr if options.lr is None else options.lr
    if not 0 <= lr <= 1e30:
        raise UserError(f"--lr must be a number from 0 to 1e30; got {lr}.")
    require_file(TENSORS)
    sections = [
        make_section(params, name, loss_on, seed, lr, options.epochs)
        for loss_on, name, seed in itertools.product(LOSSES, names, range(options.seeds))
    ]
    runs: dict[tuple[str, str], list[Trained]] = {}
    for section, trained in zip(sections, train_all(sections), strict=True):
        runs.setdefault((section.optimizer.name, section.loss_on), []).append(trained)
    present(runs, lr)


def make_section(
    params: TrainClassifierSection, name: str, loss_on: str, seed: int, lr: float, epochs: int
) -> TrainClassifierSection:
    """Return the parameters of one training."""
    changes = {
        "seed": seed,
        "epochs": epochs,
        "loss_on": loss_on,
        "snapshots": (0,),
        "optimizer": OPTIMIZERS[name](name=name, lr=lr),
    }
    return params.model_copy(update=changes)


def train_all(sections: Sequence[TrainClassifierSection]) -> Iterator[Trained]:
    """Yield the run of each section, in their order, trained in one process per processor."""
    n_processes = min(os.cpu_count() or 1, len(sections))
    spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    with ProcessPoolExecutor(n_processes, spawn) as pool:
        trained = pool.map(train_one, sections)
        yield from tqdm(trained, "optimizers", len(sections), unit="run", disable=None)


def train_one(section: TrainClassifierSection) -> Trained:
    """Return what one section trains, from its own initial weights."""
    with without_gc():
        import torch

        from stages.shared.batch_norm import set_statistics
        from stages.shared.batches import Rows
        from stages.shared.models import build_network, initialize
        from stages.shared.run import Run
        from stages.shared.tensors import load_tensors
        from stages.shared.training import DivergenceError
        from stages.train_classifier import evaluate, fit
    torch.set_num_threads(1)
    tensors, metadata = load_tensors(TENSORS)
    dtype = getattr(torch, section.dtype)
    train, valid = (
        Rows(tensors[f"X_{part}"], tensors[f"y_{part}"], dtype, section.chunk_rows)
        for part in ("train", "valid")
    )
    network = build_network(train.X.shape[1], section.hidden, len(metadata.labels))
    initialize(network, torch.Generator().manual_seed(section.seed))
    network.to(dtype)
    training = Run("train_classifier", section)
    with skip_dynamo(), suppress(DivergenceError):
        fit(train, valid, network, training)
    accuracies = np.full(section.epochs + 1, np.nan)
    accuracies[: len(training.history)] = [row[-1] for row in training.history]
    if np.isnan(accuracies[-1]):
        return Trained(accuracies, math.nan)
    network.eval()  # as it would predict if it were published
    set_statistics(network, train)
    return Trained(accuracies, evaluate(network, valid, "logits", None)[0])


def present(runs: Mapping[tuple[str, str], Sequence[Trained]], lr: float) -> None:
    """Write the table and the figure, and print the table."""
    curves: dict[str, dict[str, np.ndarray]] = {}
    for (name, loss_on), group in runs.items():
        curves.setdefault(loss_on, {})[name] = np.array([item.accuracies for item in group])
    target = TARGET * best_accuracy(curves)
    measured = {key: measures(group, target) for key, group in runs.items()}
    head = [f"{measure}_{end}" for measure in MEASURES for end in RANGE]
    rows = [
        (*key, *(None if math.isinf(value) else value for values in item for value in values))
        for key, item in measured.items()
    ]
    write_csv(TABLE, ["optimizer", "loss_on", *head], rows)
    with without_gc():
        from stages.figures.curves import draw_optimizers  # imports Matplotlib
    draw_optimizers(FIGURE, curves, target, lr)
    titles = [measure.replace("_", " ").replace("valid", "validation") for measure in MEASURES]
    lines = [(*key, *map(format_range, item)) for key, item in measured.items()]
    print(format_table(("optimizer", "loss_on", *titles), lines, markdown=True))


def best_accuracy(curves: Mapping[str, Mapping[str, np.ndarray]]) -> float:
    """Return the Bayes accuracy or, for a custom table, the best median accuracy of any run."""
    from stages.shared.metadata import ClassificationTruth
    from stages.shared.tensors import load_tensors
    from stages.shared.theory import bayes_accuracy

    truth = load_tensors(TENSORS)[1].truth
    if isinstance(truth, ClassificationTruth):
        return bayes_accuracy(truth.centers, truth.std)
    accuracies = [values for by_name in curves.values() for values in by_name.values()]
    return max(float(np.max(np.median(np.nan_to_num(values), axis=0))) for values in accuracies)


def measures(runs: Sequence[Trained], target: float) -> list[tuple[float, float, float]]:
    """Return median, lowest and highest of each of MEASURES over the seeds.

    Infinite where the target is not reached, and where a training diverged.
    """
    epochs = [epochs_to_target(item.accuracies, target) for item in runs]
    accuracies = [float(item.accuracies[-1]) for item in runs]
    entropies = [item.cross_entropy for item in runs]
    return [
        (statistics.median(values), min(values), max(values))
        for values in (
            epochs,
            [-math.inf if math.isnan(value) else value for value in accuracies],
            [math.inf if math.isnan(value) else value for value in entropies],
        )
    ]


def epochs_to_target(accuracies: np.ndarray, target: float) -> float:
    """Return the first epoch whose accuracy is at least `target`, or infinity."""
    reached = np.flatnonzero(accuracies >= target)
    return float(reached[0]) if len(reached) else math.inf


def format_range(values: tuple[float, float, float]) -> str:
    """Return "median [lowest, highest]", with `-` for what is infinite."""
    median, *ends = (format_value(None if math.isinf(value) else value) for value in values)
    return "-" if median == "-" and ends == ["-", "-"] else f"{median} [{', '.join(ends)}]"


if __name__ == "__main__":
    run(main)
