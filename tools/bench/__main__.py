"""Time the pipeline, and write the tables and the figure of docs/performance.md.

    python -m tools.bench [--large] [--only SECTION] [--rounds N]
    python -m tools.bench --quick

The sections are: pipeline (beside DVC with stages that only import, and beside one flat script),
stages (time and memory against the number of rows), settings (that work for them), training (beside
other loops and libraries) and ranks (1, 2 and 4 processes). Every number is a median, and both
sides of a ratio are measured in turn in the same run, so that a busy machine slows both.

--large adds 100 million rows to stages and settings, once: about 8 GB of disk. --quick tries
everything with a few rows, and prints it instead.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stages.core.errors import UserError
from tools.bench import growth, page
from tools.bench.environment import find_peers
from tools.bench.pipeline import pipeline_section
from tools.bench.ranks import ranks_section
from tools.bench.training import Sizes, training_section
from tools.cli import make_parser, run

SECTIONS = ("pipeline", "stages", "settings", "training", "ranks")


@dataclass(frozen=True)
class Plan:
    """How often and with how many rows everything is measured."""

    rounds: int  # of everything, and two more of the pipeline, which is short
    sizes: tuple[int, ...]  # of stages and settings
    training: Sizes
    ranks: tuple[int, ...]
    rank_rows: tuple[int, int]  # of the regression and the classifier


FULL = Plan(
    rounds=3,
    sizes=(10**3, 10**5, 10**6, 10**7),
    training=Sizes(full=10**7, batches=2**17, batch=(1024, 16384)),
    ranks=(1, 2, 4),
    rank_rows=(10**7, 10**6),
)
QUICK = Plan(
    rounds=1,
    sizes=(10**3, 2000),
    training=Sizes(full=4000, batches=4000, batch=(1024,)),
    ranks=(1, 2),
    rank_rows=(4000, 4000),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool."""
    parser = make_parser("bench", __doc__)
    parser.add_argument("--large", action="store_true", help="add 100 million rows")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="measure these sections")
    parser.add_argument("--rounds", type=int, help="measurements of each (default: 3)")
    parser.add_argument("--quick", action="store_true", help="try everything, write nothing")
    options = parser.parse_args(arguments)
    if options.rounds is not None and options.rounds < 1:
        raise UserError(f"--rounds must be an integer >= 1; got {options.rounds}.")
    plan = QUICK if options.quick else FULL
    if options.large:
        plan = replace(plan, sizes=(*plan.sizes, growth.LARGE))
    if options.rounds:
        plan = replace(plan, rounds=options.rounds)
    names = [name for name in SECTIONS if name in (options.only or SECTIONS)]
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            start = time.perf_counter()
            for section, content in measure(name, Path(folder), plan, options.quick).items():
                print(f"{section}:\n\n{content}\n", flush=True)
                if not options.quick:
                    page.write_section(section, content)
            print(f"bench: {name} took {time.perf_counter() - start:.0f} s", file=sys.stderr)


def measure(name: str, root: Path, plan: Plan, quick: bool = False) -> dict[str, str]:
    """Measure one section; return the tables by the marks between which they belong."""
    match name:
        case "pipeline":
            return {name: pipeline_section(root, plan.rounds + 2)}
        case "stages":
            usages = growth.measure_growth(root, plan.sizes, plan.rounds)
            if not quick:
                page.write_figure(usages)
            imports = growth.import_memory(root / f"rows-{plan.sizes[0]}")
            return {
                "times": growth.times_table(usages, plan.sizes),
                "memory": growth.memory_table(usages, plan.sizes, imports),
            }
        case "settings":
            return {name: growth.settings_table(root, plan.sizes)}
        case "training":
            return {name: training_section(root, plan.rounds, plan.training, find_peers())}
        case _:
            return {name: ranks_section(root, plan.rounds, plan.rank_rows, plan.ranks)}


if __name__ == "__main__":
    run(main)
