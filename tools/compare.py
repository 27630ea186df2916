"""Compare two results, and tell changes from the noise between seeds.

    python -m tools.compare [A] [B] [--only PATTERN] [--md] [--fail-on 'METRIC<BOUND' ...]

A and B are Git revisions, DVC experiments or `workspace`; by default HEAD and workspace. Their
repeats are the experiments that differ from them only in the seeds: same code in stages/, same
custom tables (`make seeds` runs some).

With three or more seeds in common, or four or more of its own on each side, each metric has its
mean change from A to B and the 95 % interval of that mean, and the verdict `changed` if the
interval excludes 0. With m and s the mean and standard deviation of the differences B - A, seed by
seed, over n seeds, the interval is m ± t s sqrt(1/n + overlap), where t is Student's with n - 1
degrees of freedom. The overlap is 0 where each seed simulates data of its own, or where none
changes the split. Where seeds split a custom table again, it corrects for the rows that the splits
share (Nadeau and Bengio 2003): n_test / n_train, n_valid / n_train or, for metrics of the training
part, n_train / (n_valid + n_test). Without seeds in common, Welch's test compares the means of both
sides, each with the variance s^2 (1/n + overlap).

--fail-on takes a metric, or an end of the interval as low(METRIC) or high(METRIC).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from stages.core.errors import UserError
from stages.core.params import did_you_mean
from tools.cli import add_only, make_parser, run
from tools.results import (
    WORKSPACE,
    Flat,
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
from tools.seed_noise import MIN_PAIRS, MIN_SEEDS, Change, change_over_seeds, mean_std, overlap
from tools.text_tables import format_change, format_table, format_value

ALL = re.compile("")
STALE = "The results in the workspace are older than its parameters, code or data: run `dvc repro`."
MANY = "At 95 %, about one in twenty unchanged metrics looks changed by chance; {} are shown."


class Side(NamedTuple):
    """A result, and the metrics of it and of its repeats by seeds."""

    result: Result
    repeats: Mapping[tuple[object, ...], Flat]


class Threshold(NamedTuple):
    """A bound on the change of a metric or, with `end` low or high, on an end of its interval."""

    end: str
    metric: str
    sign: str
    bound: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool."""
    parser = make_parser("compare", __doc__)
    parser.add_argument("a", nargs="?", default="HEAD", metavar="A")
    parser.add_argument("b", nargs="?", default=WORKSPACE, metavar="B")
    add_only(parser)
    parser.add_argument("--md", action="store_true", help="Markdown, for a pull request")
    parser.add_argument("--fail-on", action="append", default=[], metavar="'METRIC<BOUND'")
    options = parser.parse_args(arguments)
    thresholds = [parse_threshold(expression) for expression in options.fail_on]
    with open_repo() as repo:
        experiments = list_experiments()
        commits = {name: resolve(name, experiments) for name in (options.a, options.b)}
        results = [read_result(repo, name, commits[name]) for name in (options.a, options.b)]
        others: list[Result] = []
        if results[0].metrics != results[1].metrics or any(item.end for item in thresholds):
            others = list(read_experiments(repo, {result.code for result in results}))
        a, b = (Side(result, repeats(result, others)) for result in results)
        failures = [text for item in thresholds if (text := crossed(a, b, item))]
        print(format_comparison(a, b, options.md, options.only))
        stale = WORKSPACE in commits and is_stale(repo)
    if stale and thresholds:
        raise UserError(STALE)
    if stale:
        print(f"\n{STALE}")
    if failures:
        raise UserError("\n".join(failures))


def format_comparison(a: Side, b: Side, markdown: bool, only: re.Pattern[str] = ALL) -> str:
    """Return the whole comparison, of the metrics whose names match `only`."""
    a_name, b_name = a.result.name, b.result.name
    parts = []
    if rows := list(parameter_rows(a.result, b.result)):
        parts.append(format_table(("parameter", a_name, b_name), rows, markdown))
    differing = list(metric_rows(a, b))
    if rows := [row for row in differing if only.search(row[0])]:
        over_seeds = (f"{a_name}, seeds", f"{b_name}, seeds", "mean change [95 %]")
        head = ("metric", a_name, b_name, "change", *over_seeds, "verdict")
        parts.append(format_table(head, rows, markdown))
        n_verdicts = sum(bool(row[-1]) for row in rows)
        if n_verdicts > 1:
            parts.append(MANY.format(n_verdicts))
        elif not n_verdicts:
            parts.append(f"There is no verdict {without_seeds(a, b)}")
    elif differing:
        parts.append(f"No metric that differs matches '{only.pattern}'.")
    if a.result.code != b.result.code:
        parts.append("The code in stages/ differs, too.")
    if a.result.custom_tables != b.result.custom_tables:
        parts.append("The custom tables differ, too.")
    return "\n\n".join(parts) or f"{a_name} and {b_name} have the same parameters and metrics."


def without_seeds(a: Side, b: Side) -> str:
    """Return the end of a sentence, how many seeds a verdict takes, and the remedy."""
    counts = ", ".join(f"{side.result.name} has {len(side.repeats)}" for side in (a, b))
    return (
        f"without {MIN_PAIRS} seeds in common or {MIN_SEEDS} on each side; {counts}. `make seeds` "
        "repeats the workspace."
    )


def parameter_rows(a: Result, b: Result) -> Iterator[tuple[str, ...]]:
    """Yield (parameter, A, B) of each that differs."""
    for key in sorted(a.parameters | b.parameters):
        old, new = a.parameters.get(key), b.parameters.get(key)
        if old != new:
            yield key, format_value(old), format_value(new)


def metric_rows(a: Side, b: Side) -> Iterator[tuple[str, ...]]:
    """Yield the row of each metric that differs: values, change, over seeds, verdict."""
    for key in sorted(a.result.metrics | b.result.metrics):
        old, new = a.result.metrics.get(key), b.result.metrics.get(key)
        if old == new:
            continue
        cells = key, format_value(old), format_value(new)
        if not (is_number(old) and is_number(new)):
            yield *cells, "", "", "", "", ""
            continue
        over_seeds = (mean_std(list(by_seeds(side.repeats, key).values())) for side in (a, b))
        change = mean_change(a, b, key)
        verdict = (str(change), change.verdict) if change else ("", "")
        yield *cells, format_change(old, new), *over_seeds, *verdict


def mean_change(a: Side, b: Side, key: str) -> Change | None:
    """Return the change of a metric over the seeds of both sides, or None with too few."""
    a_values, b_values = by_seeds(a.repeats, key), by_seeds(b.repeats, key)
    return change_over_seeds(a_values, b_values, overlap(a.result, key), overlap(b.result, key))


def parse_threshold(expression: str) -> Threshold:
    """Return the parts of an expression such as regression.weight<-0.01 or high(a.loss)<0."""
    pattern = r"\s*(?:(low|high)\(([^<>]+)\)|([^<>]+?))\s*([<>])\s*([-+.0-9eE]+)\s*"
    parts = re.fullmatch(pattern, expression)
    try:
        if parts:
            return Threshold(parts[1] or "", parts[2] or parts[3], parts[4], float(parts[5]))
    except ValueError:
        pass
    raise UserError(
        "--fail-on must be a metric, low(metric) or high(metric), < or >, and a number, such as "
        f"'classifier.test.accuracy<-0.01'; got '{expression}'."
    )


def crossed(a: Side, b: Side, threshold: Threshold) -> str:
    """Return the sentence that a change has crossed its bound, or nothing."""
    end, metric, sign, bound = threshold
    old, new = (side.result.metrics.get(metric) for side in (a, b))
    if not (is_number(old) and is_number(new)):
        results = a.result, b.result
        lacking = [side.name for side in results if not is_number(side.metrics.get(metric))]
        raise UserError(
            f"--fail-on must name a metric that both sides have; got '{metric}', which "
            f"{' and '.join(lacking)} {'lacks' if len(lacking) == 1 else 'lack'}."
            + did_you_mean(metric, sorted(a.result.metrics.keys() & b.result.metrics))
        )
    change = mean_change(a, b, metric) if end else None
    if end and change is None:
        raise UserError(f"--fail-on {end}({metric}): there is no interval {without_seeds(a, b)}")
    value = getattr(change, end) if end else float(format_change(old, new))
    if not (value < bound if sign == "<" else value > bound):
        return ""
    if end:
        return f"The change of {metric} is {change}, whose {end} end is {sign} {bound:g}."
    return f"{metric} changed by {format_change(old, new)}, which is {sign} {bound:g}."


if __name__ == "__main__":
    run(main)
