"""Training in one, two and four processes under torchrun."""

import os
from collections.abc import Sequence
from pathlib import Path

from tools.bench.copies import make_data, set_params, sized_copy
from tools.bench.growth import SETTINGS
from tools.bench.measuring import Timed, format_rate, format_ratio, format_seconds, measure, output
from tools.text_tables import format_table

HEAD = (
    "model",
    "rows",
    "batch",
    "ranks",
    "cores",
    "an epoch",
    "rows per second",
    "one rank's rate",
)
PASSES = {"train_regression": 100, "train_classifier": 10}
AIM = 1.8  # of two ranks


def ranks_section(root: Path, rounds: int, rows: tuple[int, int], ranks: Sequence[int]) -> str:
    """Return the table; `rows` are those of the regression and of the classifier."""
    folder = root / "ranks"
    sized_copy(folder, *rows, 0)
    make_data(folder)
    set_params(folder, SETTINGS)
    body: list[list[str]] = []
    for stage, n_rows, batch in (
        ("train_regression", rows[0], None),
        ("train_classifier", rows[1], None),
        ("train_classifier", rows[1], 16384),
    ):
        set_params(folder, {f"{stage}.batch_size": batch})
        ways = {str(n): epochs_under(folder, stage, n) for n in ranks}
        total = measure(rounds, ways, warm_up=False)
        seconds = {int(n): taken / PASSES[stage] for n, taken in total.items()}
        body += table_rows(stage, n_rows, batch, seconds)
    return format_table(HEAD, body, markdown=True)


def epochs_under(folder: Path, stage: str, n_ranks: int) -> Timed:
    """Return a function that returns the seconds of PASSES epochs in so many ranks."""
    words = (*launcher(n_ranks), "-m", "tools.bench.epochs", stage, str(PASSES[stage]))
    return lambda: float(output(*words, cwd=folder))


def launcher(n_ranks: int) -> list[str]:
    """Return the words of `launcher` in params.yaml for so many ranks on this machine."""
    if n_ranks == 1:
        return ["python"]
    return ["torchrun", "--standalone", f"--nproc-per-node={n_ranks}"]


def table_rows(
    stage: str, n_rows: int, batch: int | None, seconds: dict[int, float]
) -> list[list[str]]:
    """Return a row for each number of ranks: its time and rate, and the rate beside one rank's."""
    return [
        [
            stage.removeprefix("train_"),
            f"{n_rows:,}",
            "full" if batch is None else f"{batch:,}",
            str(n),
            str(os.cpu_count()),
            format_seconds(taken),
            format_rate(n_rows / taken),
            format_ratio(seconds[1] / taken, least=AIM if n == 2 else None),
        ]
        for n, taken in seconds.items()
    ]
