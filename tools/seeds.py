"""Repeat the workspace's experiment with other seeds, and show how much luck moves each metric.

    python -m tools.seeds [SEED ...]

By default with five seeds, 1 to 5; every seed in params.yaml takes the same one. Each repeat is a
DVC experiment, run in a folder of its own (`dvc exp run --temp`), so the workspace stays as it is.
One that is there already is not run again.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence

from stages.errors import UserError
from tools.compare import (
    dvc,
    experiments,
    is_number,
    is_seed,
    is_stale,
    read_all,
    read_result,
    repeats,
    table,
)

SEEDS = (1, 2, 3, 4, 5)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.seeds",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("seeds", nargs="*", type=int, default=SEEDS, metavar="SEED")
    seeds = dict.fromkeys(parser.parse_args(arguments).seeds)
    if min(seeds) < 0:
        raise UserError(f"SEED must be a whole number from 0; got {min(seeds)}.")

    def found():
        own = read_result("workspace", None)
        return own, repeats(own, list(read_all(experiments())))

    if is_stale():
        raise UserError(
            "The workspace must hold results of its parameters, code and data, to be repeated; they"
            " are older. Run `dvc repro` first."
        )
    own, there = found()
    keys = sorted(filter(is_seed, own.parameters))
    for seed in seeds:
        if tuple([seed] * len(keys)) not in there:
            print(f"seeds: {seed}", file=sys.stderr)
            settings = [part for key in keys for part in ("-S", f"{key}={seed}")]
            dvc("exp", "run", "--temp", *settings)
    _, there = found()
    rows = []
    for key, value in sorted(own.metrics.items()):
        values = [each[key] for each in there.values() if is_number(each.get(key))]
        if is_number(value) and len(values) > 1:
            numbers = (value, statistics.mean(values), statistics.stdev(values))
            rows.append((key, *(f"{number:.6g}" for number in numbers), str(len(values))))
    if not rows:
        raise UserError("SEED must be another one than the workspace's own; it is all there is.")
    head = ("metric", "workspace", "mean", "standard deviation", "seeds")
    print(table(head, rows, markdown=False))


if __name__ == "__main__":
    main()
