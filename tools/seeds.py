"""Repeat the workspace's experiment with other seeds, and show how much each metric varies.

    python -m tools.seeds [SEED ...]

By default with five seeds, 1 to 5; every seed in params.yaml is set to the same one. Each repeat is
a DVC experiment, run in a folder of its own (`dvc exp run --temp`): the workspace stays as it is.
Repeats that exist already are not run again.
"""

import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence

from stages.core.errors import UserError
from tools.cli import make_parser, run
from tools.results import (
    Flat,
    Result,
    by_seeds,
    is_number,
    is_seed,
    is_stale,
    open_repo,
    read_experiments,
    read_workspace,
    repeats,
    run_dvc,
)
from tools.text_tables import format_table, format_value

SEEDS = (1, 2, 3, 4, 5)
HEAD = ("metric", "workspace", "mean", "standard deviation", "seeds")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool."""
    parser = make_parser("seeds", __doc__)
    parser.add_argument("seeds", nargs="*", type=int, default=SEEDS, metavar="SEED")
    seeds = dict.fromkeys(parser.parse_args(arguments).seeds)
    if min(seeds) < 0:
        raise UserError(f"SEED must be an integer >= 0; got {min(seeds)}.")
    with open_repo() as repo:
        if is_stale(repo):
            raise UserError(
                "The results in the workspace must be up to date before they are repeated; its "
                "parameters, code or data are newer. Run `dvc repro` first."
            )
    workspace, found = read_repeats()
    keys = list(filter(is_seed, workspace.parameters))
    missing = [seed for seed in seeds if tuple([seed] * len(keys)) not in found]
    for seed in missing:
        print(f"seeds: {seed}", file=sys.stderr)
        settings = [part for key in keys for part in ("-S", f"{key}={seed}")]
        run_dvc("exp", "run", "--temp", *settings)
    if missing:
        workspace, found = read_repeats()
    if len(found) < 2:
        raise UserError("Give at least one SEED other than the workspace's own.")
    print(format_table(HEAD, list(variation_rows(workspace, found))))


def read_repeats() -> tuple[Result, dict[tuple[object, ...], Flat]]:
    """Return the workspace's result, and the metrics by seeds of it and of its repeats."""
    with open_repo() as repo:
        workspace = read_workspace(repo)
        return workspace, repeats(workspace, read_experiments(repo, {workspace.code}))


def variation_rows(
    workspace: Result, repeated: Mapping[tuple[object, ...], Flat]
) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table, as HEAD names them, of the metrics that vary."""
    for key, value in sorted(workspace.metrics.items()):
        values = by_seeds(repeated, key).values()
        if is_number(value) and len(set(values)) > 1:
            numbers = map(format_value, (value, statistics.mean(values), statistics.stdev(values)))
            yield key, *numbers, str(len(values))


if __name__ == "__main__":
    run(main)
