"""Training beside the loops and libraries that people would use instead, in rows per second."""

import gc
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.shared.tensors import load_tensors
from tools.bench import loops
from tools.bench.copies import make_data, set_params, sized_copy
from tools.bench.environment import Peers, start_peers
from tools.bench.growth import SETTINGS
from tools.bench.measuring import Timed, format_rate, format_ratio, measure, timed
from tools.text_tables import format_table

OURS, SLICES, LOADER = "this project", "slices", "DataLoader"
SHUFFLED, CHUNKS = "slices, shuffled", "chunks of 65,536"
PEERS = ("Lightning", "skorch", "scikit-learn")
PASSES = 2
REPEATS = 5  # of the fast ways in one round
HEAD = ("model", "batch", "dtype", "way", "rows per second", "this project in proportion")
# How much faster than each way training is meant to be.
AIMS = {
    "regression": {CHUNKS: 0.95},
    "classifier": {SLICES: 0.95, LOADER: 7.0} | dict.fromkeys(PEERS, 1.0),
}


@dataclass(frozen=True)
class Sizes:
    """How many rows the trainings have: of a full batch, in batches, and in each batch."""

    full: int
    batches: int
    batch: tuple[int, ...]


def training_section(root: Path, rounds: int, sizes: Sizes, python: Path | None) -> str:
    """Return the table. Without the `python` of the peers, their rows are left out."""
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # as a stage starts
    full, batches, article = (root / name for name in ("full", "batches", "article"))
    sized_copy(full, sizes.full, 1000, 0)
    sized_copy(batches, sizes.batches, sizes.batches, 0)
    sized_copy(article, 1000, 2000, 1)
    for folder in (full, batches, article):
        make_data(folder)
        set_params(folder, SETTINGS)
        export(folder)
    with ExitStack() as stack:
        peers = stack.enter_context(start_peers(python)) if python else None
        rows = [
            *article_rows(article, rounds),
            *full_rows(full, rounds, peers),
            *(
                row
                for size in sizes.batch
                for row in regression_rows(batches, rounds, size, sizes.batches, peers)
            ),
            *(
                row
                for size in sizes.batch
                for dtype in ("float32", "float64")
                for row in classifier_rows(batches, rounds, size, sizes.batches, dtype, peers)
            ),
        ]
    return format_table(HEAD, rows, markdown=True)


def export(folder: Path) -> None:
    """Write the training tensors of a copy as .npy files, which the peers read."""
    x, y, X, labels = training_tensors(folder, "float64")
    for name, tensor in (("x", x), ("y", y), ("X", X), ("labels", labels)):
        np.save(folder / f"{name}.npy", tensor.numpy())


def training_tensors(folder: Path, dtype: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return x and y of the regression, and X and y of the classification, in random order.

    The simulated rows are in the order of x, and of the classes.
    """
    regression, _ = load_tensors(str(folder / "data/tensors/regression.safetensors"))
    classification, _ = load_tensors(str(folder / "data/tensors/classification.safetensors"))
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(regression["y_train"]), generator=generator)
    x, y = (regression[name][order].double() for name in ("x_train", "y_train"))
    order = torch.randperm(len(classification["y_train"]), generator=generator)
    X, labels = (classification[name][order] for name in ("X_train", "y_train"))
    return x, y, X.to(getattr(torch, dtype)), labels


def article_rows(folder: Path, rounds: int) -> Iterable[list[str]]:
    """Yield the rows of both models at the article's size, with validation at every epoch."""
    regression, _ = load_tensors(str(folder / "data/tensors/regression.safetensors"))
    classification, _ = load_tensors(str(folder / "data/tensors/classification.safetensors"))
    for name, tensors, loop, n_rows, passes in (
        ("regression", regression, loops.article_regression, 1000, 100),
        ("classifier", classification, loops.article_classifier, 2000, 50),
    ):
        ours = loops.stage_passes(
            folder,
            f"train_{name}",
            passes,
            {f"train_{name}.batch_size": None, f"train_{name}.dtype": "float64"},
        )
        flat = timed(lambda loop=loop, tensors=tensors, passes=passes: loop(tensors, passes))
        seconds = measure(
            rounds, {OURS: ours, "flat loop with validation": flat}, repeats=2 * REPEATS
        )
        rates = {way: passes * n_rows / taken for way, taken in seconds.items()}
        yield from table_rows(name, f"full, {n_rows:,} rows", "float64", rates)


def full_rows(folder: Path, rounds: int, peers: Peers | None) -> list[list[str]]:
    """Return the rows of the regression with the full batch, and of the limit."""
    x, y, *_ = training_tensors(folder, "float64")
    settings = {"train_regression.batch_size": None, "train_regression.dtype": "float64"}
    ways: dict[str, Timed] = {
        OURS: loops.stage_passes(folder, "train_regression", PASSES, settings),
        CHUNKS: timed(lambda: loops.regression_in_chunks(x, y, PASSES, loops.CHUNK)),
        "one piece": timed(lambda: loops.regression_in_chunks(x, y, PASSES, len(x))),
    }
    ways |= peer_ways(peers, PEERS[2:], folder, "regression", 1, "float64")
    seconds = measure(rounds, ways, repeats=REPEATS)
    rates = {way: PASSES * len(x) / taken for way, taken in seconds.items()}
    # A row is read once: 8 bytes of x and 8 of y.
    rates["limit: memory bandwidth"] = loops.bandwidth(len(x), 5 * rounds) / 16
    return table_rows("regression", f"full, {len(x):,} rows", "float64", rates)


def regression_rows(
    folder: Path, rounds: int, size: int, n_rows: int, peers: Peers | None
) -> list[list[str]]:
    """Return the rows of the regression in batches."""
    x, y, *_ = training_tensors(folder, "float64")
    settings = {
        "train_regression.batch_size": size,
        "train_regression.dtype": "float64",
        "train_regression.optimizer.lr": loops.REGRESSION_LR,
    }
    fast: dict[str, Timed] = {
        OURS: loops.stage_passes(folder, "train_regression", PASSES, settings),
        SLICES: timed(lambda: loops.regression_in_slices(x, y, PASSES, size, False)),
        SHUFFLED: timed(lambda: loops.regression_in_slices(x, y, PASSES, size, True)),
    }
    slow = {LOADER: timed(lambda: loops.regression_in_loader(x, y, PASSES, size))}
    slow |= peer_ways(peers, PEERS[:2], folder, "regression", size, "float64")
    seconds = measure(rounds, fast | slow, rare=list(slow), repeats=REPEATS)
    rates = {way: PASSES * n_rows / taken for way, taken in seconds.items()}
    return table_rows("regression", f"{size:,}", "float64", rates)


def classifier_rows(
    folder: Path, rounds: int, size: int, n_rows: int, dtype: str, peers: Peers | None
) -> list[list[str]]:
    """Return the rows of the classifier in batches; in float64 without the slow ways."""
    *_, X, y = training_tensors(folder, dtype)
    settings = {
        "train_classifier.batch_size": size,
        "train_classifier.dtype": dtype,
        "train_classifier.loss_on": "logits",
        "train_classifier.optimizer.lr": loops.CLASSIFIER_LR,
    }
    fast: dict[str, Timed] = {
        OURS: loops.stage_passes(folder, "train_classifier", PASSES, settings),
        SLICES: timed(lambda: loops.classifier_in_slices(X, y, PASSES, size, False)),
        SHUFFLED: timed(lambda: loops.classifier_in_slices(X, y, PASSES, size, True)),
    }
    slow: dict[str, Timed] = {}
    if dtype == "float32":
        slow[LOADER] = timed(lambda: loops.classifier_in_loader(X, y, PASSES, size))
        slow |= peer_ways(peers, PEERS, folder, "classifier", size, dtype)
    seconds = measure(rounds, fast | slow, rare=list(slow), repeats=REPEATS)
    rates = {way: PASSES * n_rows / taken for way, taken in seconds.items()}
    return table_rows("classifier", f"{size:,}", dtype, rates)


def peer_ways(
    peers: Peers | None, names: Sequence[str], folder: Path, task: str, size: int, dtype: str
) -> dict[str, Timed]:
    """Return the ways of training of some peers; none without them."""
    order: dict[str, Any] = {
        "folder": str(folder),
        "task": task,
        "size": size,
        "passes": PASSES,
        "dtype": dtype,
    }
    return {name: peers.way(way=name, **order) for name in names} if peers else {}


def table_rows(model: str, batch: str, dtype: str, rates: Mapping[str, float]) -> list[list[str]]:
    """Return a row for each way: its rate, and that of this project in proportion to it."""
    ours = rates[OURS]
    return [
        [
            model,
            batch,
            dtype,
            way,
            format_rate(rate),
            "1" if way == OURS else format_ratio(ours / rate, least=AIMS[model].get(way)),
        ]
        for way, rate in rates.items()
    ]
