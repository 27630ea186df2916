"""Compare two results, and tell changes from the noise between seeds.

    python -m tools.compare [A] [B] [--md] [--fail-on 'METRIC<BOUND' ...]

A and B are Git revisions, DVC experiments or `workspace`; by default HEAD and workspace. Their
repeats are the experiments that differ from them only in the seeds: same code in stages/, same
custom tables (`make seeds` runs some). Each change of a metric gets a verdict:

- If both sides have repeats with the same seeds, let m and s be mean and standard deviation of the
  differences B - A, seed by seed, over n seeds. The change is `significant` if |m| > t s / sqrt(n)
  and it has the sign of m.
- If one side has n repeats, with standard deviation s: two single runs that differ only by chance
  have a difference of standard deviation s sqrt(2). The change is `significant` if
  |B - A| > t s sqrt(2).

t is Student's, two-sided 95 %, with n - 1 degrees of freedom. Any other change is `within noise`;
with fewer than three seeds there is no verdict.
"""

import re
from collections.abc import Iterator, Sequence

from stages.core.errors import UserError
from stages.core.params import did_you_mean
from tools.cli import make_parser, run
from tools.results import (
    WORKSPACE,
    Result,
    by_seeds,
    is_number,
    is_stale,
    list_experiments,
    open_repo,
    read_experiments,
    read_result,
    repeats,
    resolve,
)
from tools.seed_noise import MIN_SEEDS, mean_std, verdict
from tools.text_tables import format_change, format_table, format_value

STALE = "The results in the workspace are older than its parameters, code or data: run `dvc repro`."
Threshold = tuple[str, str, float]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool."""
    parser = make_parser("compare", __doc__)
    parser.add_argument("a", nargs="?", default="HEAD", metavar="A")
    parser.add_argument("b", nargs="?", default=WORKSPACE, metavar="B")
    parser.add_argument("--md", action="store_true", help="Markdown, for a pull request")
    parser.add_argument("--fail-on", action="append", default=[], metavar="'METRIC<BOUND'")
    options = parser.parse_args(arguments)
    thresholds = [parse_threshold(expression) for expression in options.fail_on]
    with open_repo() as repo:
        experiments = list_experiments()
        commits = {name: resolve(name, experiments) for name in (options.a, options.b)}
        a, b = (read_result(repo, name, commits[name]) for name in (options.a, options.b))
        failures = [text for item in thresholds if (text := crossed(a, b, *item))]
        differ = a.metrics != b.metrics
        others = list(read_experiments(repo, {a.code, b.code})) if differ else []
        print(format_comparison(a, b, others, options.md))
        stale = WORKSPACE in commits and is_stale(repo)
    if stale and thresholds:
        raise UserError(STALE)
    if stale:
        print(f"\n{STALE}")
    if failures:
        raise UserError("\n".join(failures))


def format_comparison(a: Result, b: Result, others: Sequence[Result], markdown: bool) -> str:
    """Return the whole comparison; `others` are where repeats are looked for."""
    parts = []
    if rows := list(parameter_rows(a, b)):
        parts.append(format_table(("parameter", a.name, b.name), rows, markdown))
    if rows := list(metric_rows(a, b, others)):
        over_seeds = (f"{a.name}, seeds", f"{b.name}, seeds")
        head = ("metric", a.name, b.name, "change", *over_seeds, "verdict")
        parts.append(format_table(head, rows, markdown))
        if not any(row[-1] for row in rows):
            parts.append(
                f"There is no verdict: neither side has been run with {MIN_SEEDS} or more seeds. "
                "`make seeds` repeats the workspace."
            )
    if a.code != b.code:
        parts.append("The code in stages/ differs, too.")
    if a.custom_tables != b.custom_tables:
        parts.append("The custom tables differ, too.")
    return "\n\n".join(parts) or f"{a.name} and {b.name} have the same parameters and metrics."


def parameter_rows(a: Result, b: Result) -> Iterator[tuple[str, ...]]:
    """Yield (parameter, A, B) of each that differs."""
    for key in sorted(a.parameters | b.parameters):
        old, new = a.parameters.get(key), b.parameters.get(key)
        if old != new:
            yield key, format_value(old), format_value(new)


def metric_rows(a: Result, b: Result, others: Sequence[Result]) -> Iterator[tuple[str, ...]]:
    """Yield (metric, A, B, change, A over seeds, B over seeds, verdict) of each that differs."""
    a_repeats, b_repeats = repeats(a, others), repeats(b, others)
    for key in sorted(a.metrics | b.metrics):
        old, new = a.metrics.get(key), b.metrics.get(key)
        if old == new:
            continue
        cells = key, format_value(old), format_value(new)
        if not (is_number(old) and is_number(new)):
            yield *cells, "", "", "", ""
            continue
        a_values, b_values = by_seeds(a_repeats, key), by_seeds(b_repeats, key)
        over_seeds = (mean_std(list(values.values())) for values in (a_values, b_values))
        yield *cells, format_change(old, new), *over_seeds, verdict(old, new, a_values, b_values)


def parse_threshold(expression: str) -> Threshold:
    """Return metric, sign and bound of an expression such as classifier.test.accuracy<-0.01."""
    parts = re.fullmatch(r"\s*([^<>]+?)\s*([<>])\s*([-+.0-9eE]+)\s*", expression)
    try:
        if parts:
            return parts[1], parts[2], float(parts[3])
    except ValueError:
        pass
    raise UserError(
        "--fail-on must be a metric, < or >, and a number, such as "
        f"'classifier.test.accuracy<-0.01'; got '{expression}'."
    )


def crossed(a: Result, b: Result, metric: str, sign: str, bound: float) -> str:
    """Return the sentence that a change has crossed its bound, or nothing."""
    old, new = a.metrics.get(metric), b.metrics.get(metric)
    if not (is_number(old) and is_number(new)):
        lacking = [side.name for side in (a, b) if not is_number(side.metrics.get(metric))]
        raise UserError(
            f"--fail-on must name a metric that both sides have; got '{metric}', which "
            f"{' and '.join(lacking)} {'lacks' if len(lacking) == 1 else 'lack'}."
            + did_you_mean(metric, sorted(a.metrics.keys() & b.metrics))
        )
    change = format_change(old, new)
    is_crossed = float(change) < bound if sign == "<" else float(change) > bound
    return f"{metric} changed by {change}, which is {sign} {bound:g}." if is_crossed else ""


if __name__ == "__main__":
    run(main)
