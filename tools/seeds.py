"""Repeat the workspace's experiment with other seeds, and show how much each metric varies.

    python -m tools.seeds [SEED ...] [--only PATTERN]
    python -m tools.seeds --remove

By default with five seeds, 1 to 5; every seed in params.yaml is set to the same one. Each repeat is
a DVC experiment, seeds-<id of the configuration>-<seed>, run in a folder of its own
(`dvc exp run --temp`): the workspace stays as it is. Repeats that exist already, under whatever
name, are not run again. --remove removes the experiments of these names, of all configurations.
"""

import hashlib
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence

from stages.core.errors import UserError
from tools.cli import add_only, make_parser, run
from tools.results import (
    Flat,
    Result,
    by_seeds,
    check_experiments,
    git,
    is_number,
    is_seed,
    is_stale,
    open_repo,
    read_experiments,
    read_workspace,
    remove_experiments,
    repeats,
    run_experiment,
)
from tools.text_tables import format_table, format_value

SEEDS = (1, 2, 3, 4, 5)
HEAD = ("metric", "workspace", "mean", "standard deviation", "seeds")
NAMES = r"seeds-[0-9a-f]{7}-\d+"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool."""
    parser = make_parser("seeds", __doc__)
    parser.add_argument("seeds", nargs="*", type=int, default=SEEDS, metavar="SEED")
    add_only(parser)
    parser.add_argument("--remove", action="store_true", help="remove what this tool has run")
    options = parser.parse_args(arguments)
    seeds = dict.fromkeys(options.seeds)
    if min(seeds) < 0:
        raise UserError(f"SEED must be an integer >= 0; got {min(seeds)}.")
    with open_repo() as repo:
        if options.remove:
            print(f"Experiments removed: {remove_experiments(NAMES)}")
            return
        if is_stale(repo):
            raise UserError(
                "The results in the workspace must be up to date before they are repeated; its "
                "parameters, code or data are newer. Run `dvc repro` first."
            )
        workspace = read_workspace(repo)
        found = repeats(workspace, read_experiments(repo, {workspace.code}))
        keys = list(filter(is_seed, workspace.parameters))
        missing = [seed for seed in seeds if tuple([seed] * len(keys)) not in found]
        if missing:
            check_experiments(repo, workspace)
    for seed in missing:
        print(f"seeds: {seed}", file=sys.stderr)
        run_experiment(experiment_name(workspace, seed), [f"{key}={seed}" for key in keys])
    if missing:
        with open_repo() as repo:
            found = repeats(workspace, read_experiments(repo, {workspace.code}))
    if any(tuple([seed] * len(keys)) not in found for seed in seeds):
        raise UserError("The workspace has changed while its repeats were run; run this again.")
    if len(found) < 2:
        raise UserError("Give at least one SEED other than the workspace's own.")
    rows = [row for row in variation_rows(workspace, found) if options.only.search(row[0])]
    print(format_table(HEAD, rows))


def experiment_name(workspace: Result, seed: int) -> str:
    """Return the name of a repeat, which no other configuration or project uses."""
    configuration = repr((git("rev-parse", "--show-prefix"), workspace.config_key()))
    return f"seeds-{hashlib.sha256(configuration.encode()).hexdigest()[:7]}-{seed}"


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
