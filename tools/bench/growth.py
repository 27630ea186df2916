"""Time and memory of every stage against the number of rows, and settings for many rows."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.schema import STAGES
from tools.bench.copies import make_data, set_params, sized_copy
from tools.bench.measuring import (
    NOISE,
    Usage,
    exponent,
    format_memory,
    format_rate,
    format_ratio,
    format_rows,
    format_seconds,
    median,
    output,
    run,
)
from tools.text_tables import format_table

SHARE = 0.1  # of the training rows, in the validation and in the test part
LARGE = 10**8
FEW, MANY = 10**3, 10**6
GIB = 1024  # MiB
EPOCHS = {"train_regression": 100, "train_classifier": 1}
# The same at every size, so that times compare.
SETTINGS: dict[str, Any] = {
    "train_regression.epochs": EPOCHS["train_regression"],
    "train_regression.batch_size": None,
    "train_regression.loss_reduction": "mean",
    "train_regression.optimizer": {"name": "SGD", "lr": 1.5},
    "train_classifier.epochs": EPOCHS["train_classifier"],
    "train_classifier.batch_size": 16384,
    "train_classifier.loss_on": "probabilities",
    "train_classifier.optimizer": {"name": "RMSprop", "lr": 0.01},
}
# Prints the memory, in KiB, of a process that only imports a stage's packages.
IMPORT = """
import importlib, re, sys
from stages.core.startup import without_gc
with without_gc():
    importlib.import_module("stages." + sys.argv[1])
print(re.search(r"RssAnon:\\s*(\\d+)", open("/proc/self/status").read())[1])
"""

Usages = dict[str, dict[int, Usage]]  # by stage and rows, medians


@dataclass(frozen=True)
class Setting:
    """Settings of both trainings for a number of rows."""

    rows: int
    lr: float
    epochs: int
    batch_size: int | None
    classifier_lr: float
    classifier_epochs: int
    classifier_batch: int | None


RECOMMENDED = (
    Setting(10**3, 1.5, 5, None, 1e-3, 51, None),
    Setting(10**5, 1.5, 5, None, 1e-2, 5, 1024),
    Setting(10**6, 1.5, 5, None, 1e-2, 2, 4096),
    Setting(10**7, 1.5, 5, None, 1e-2, 1, 16384),
    Setting(10**8, 1.5, 5, None, 1e-2, 1, 65536),
)


def growth_folder(root: Path, rows: int) -> Path:
    """Return the copy of the project with so many training rows in each table."""
    folder = root / f"rows-{rows}"
    sized_copy(folder, rows, rows, SHARE)
    return folder


def measure_growth(root: Path, sizes: Sequence[int], rounds: int) -> Usages:
    """Return the usage of each stage at each size, sizes in turn; LARGE once."""
    found: dict[tuple[str, int], list[Usage]] = {}
    for number in range(rounds):
        for rows in sizes:
            if rows >= LARGE and number:
                continue
            folder = growth_folder(root, rows)
            set_params(folder, SETTINGS)
            for stage in STAGES:
                usage = run("python", "-m", "stages", stage, cwd=folder)
                found.setdefault((stage, rows), []).append(usage)
                print(f"bench: {stage}, {rows:,} rows: {usage.seconds:.2f} s", file=sys.stderr)
    return {stage: {rows: median_usage(found[stage, rows]) for rows in sizes} for stage in STAGES}


def median_usage(usages: Sequence[Usage]) -> Usage:
    """Return the medians of repeated runs."""
    seconds = float(np.median([usage.seconds for usage in usages]))
    anonymous = median([usage.anonymous for usage in usages])
    return Usage(seconds, anonymous, median([usage.mapped for usage in usages]))


def import_memory(folder: Path) -> dict[str, float]:
    """Return the anonymous memory, in MiB, of a process that has only imported a stage, by stage.

    Empty where there is no /proc.
    """
    if not Path("/proc/self/status").exists():
        return {}
    return {
        stage: int(output("python", "-c", IMPORT, stage, cwd=folder)) / 1024 for stage in STAGES
    }


def times_table(usages: Usages, sizes: Sequence[int]) -> str:
    """Return the table of times, rates and exponents."""
    columns = [f"{format_rows(rows)} rows" for rows in sizes]
    body: list[list[str]] = []
    for stage, usage in usages.items():
        start, last = usage[sizes[0]].seconds, usage[sizes[-1]].seconds
        times = [format_seconds(usage[rows].seconds) for rows in sizes]
        taken = last - start
        rate = work(stage, sizes[-1]) / taken if taken > NOISE else 0
        growth = format_exponent(usage, sizes)
        body.append([stage, *times, format_rate(rate), growth, format_growth(stage, usage)])
    head = ("stage", *columns, "rows per second", "exponent", f"{MANY:,} / {FEW:,} rows")
    return format_table(head, body, markdown=True)


def work(stage: str, rows: int) -> float:
    """Return the rows that a stage handles: of all parts of both tables, or in its epochs."""
    return rows * EPOCHS.get(stage, 2 * (1 + 2 * SHARE))


def format_exponent(usage: Mapping[int, Usage], sizes: Sequence[int]) -> str:
    """Return the exponent of the growth from the last size but one to the last."""
    last = sizes[-2:]
    found = exponent(last, [usage[rows].seconds for rows in last], usage[sizes[0]].seconds)
    if found is None:
        return "within noise"
    shown = f"{found:.1f}"  # a few percent of noise are a few hundredths
    return f"{shown if float(shown) <= 1 else f'**{shown}**'} (aim: at most 1)"


def format_growth(stage: str, usage: Mapping[int, Usage]) -> str:
    """Return how much longer a stage takes for MANY rows than for FEW; evaluate has an aim."""
    if not {FEW, MANY} <= set(usage):
        return ""
    ratio = usage[MANY].seconds / usage[FEW].seconds
    return format_ratio(ratio, most=5 if stage == "evaluate" else None)


def memory_table(usages: Usages, sizes: Sequence[int], imports: Mapping[str, float]) -> str:
    """Return the table of peaks above the imports, and of mapped files."""
    head = ["stage", *(f"{format_rows(rows)} rows" for rows in sizes)]
    body: list[list[str]] = []
    for stage, usage in usages.items():
        cells = []
        for rows in sizes:
            own, mapped = usage[rows].anonymous, usage[rows].mapped
            above = None if own is None else own - imports[stage]
            shown = format_memory(above)
            if above is not None and above > GIB:
                shown = f"**{shown}** (aim: at most {GIB:,})"
            cells.append(f"{shown} + {format_memory(mapped)}")
        body.append([stage, *cells])
    return format_table(head, body, markdown=True)


def settings_table(root: Path, sizes: Sequence[int]) -> str:
    """Return the table of settings with the weight and the test accuracy that they reach."""
    head = (
        "rows",
        "regression: lr, epochs, batch",
        "weight",
        "classifier: lr, epochs, batch",
        "test accuracy",
    )
    body: list[list[str]] = []
    for setting in RECOMMENDED:
        if setting.rows in sizes:
            folder = growth_folder(root, setting.rows)
            set_params(folder, SETTINGS | parameters(setting))
            make_data(folder)
            for stage in ("train_regression", "train_classifier", "evaluate"):
                run("python", "-m", "stages", stage, cwd=folder)
            body.append(settings_row(setting, folder))
    return format_table(head, body, markdown=True)


def parameters(setting: Setting) -> dict[str, Any]:
    """Return settings as keys of params.yaml."""
    return {
        "train_regression.epochs": setting.epochs,
        "train_regression.batch_size": setting.batch_size,
        "train_regression.optimizer.lr": setting.lr,
        "train_classifier.epochs": setting.classifier_epochs,
        "train_classifier.batch_size": setting.classifier_batch,
        "train_classifier.optimizer.lr": setting.classifier_lr,
    }


def settings_row(setting: Setting, folder: Path) -> list[str]:
    """Return the row of settings and of what they reached in `folder`."""
    metrics = json.loads((folder / "metrics/evaluate.json").read_text(encoding="utf-8"))
    return [
        format_rows(setting.rows),
        join(setting.lr, setting.epochs, setting.batch_size),
        f"{metrics['regression']['weight']:.6g}",
        join(setting.classifier_lr, setting.classifier_epochs, setting.classifier_batch),
        f"{metrics['classifier']['test']['accuracy']:.5f}",
    ]


def join(lr: float, epochs: int, batch: int | None) -> str:
    """Return learning rate, epochs and batch size of a training."""
    return f"{lr:g}, {epochs}, {'full' if batch is None else f'{batch:,}'}"
