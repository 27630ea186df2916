"""Compare two results: parameters, metrics, and whether a change is more than luck.

    python -m tools.compare [A] [B] [--md] [--fail-on 'METRIC<BOUND' ...]

A and B are Git revisions, DVC experiments, or `workspace`; by default HEAD and workspace. Of both,
the experiments that differ in nothing but their seeds, with the same code in stages/ and the same
own tables, show how much luck moves a metric (`make seeds` runs them). Behind each change stands
the verdict:

- Both have repeats with the same seeds: their differences d = B - A, seed by seed, have a mean and
  a standard deviation s, of n seeds. `clear` if |mean| > t s / sqrt(n) and the change has its sign.
- One of them has n repeats, of standard deviation s: two single runs that differ by luck alone
  have a difference of standard deviation s sqrt(2). `clear` if |B - A| > t s sqrt(2).

t is Student's, two-sided 95 %, with n - 1 degrees of freedom; anything else is `luck?`, and with
fewer than three seeds there is no verdict.
"""

import argparse
import difflib
import json
import math
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from stages.errors import UserError
from stages.metrics import leaves
from stages.yaml_loader import Loader

# Quantiles 0.975 of Student's t for 1, 2, ... degrees of freedom; for more, the last is a bit wide.
T = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)
T += (2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860)

FEWEST = 3  # seeds; two agree too often by luck

Flat = dict[str, object]


@dataclass(frozen=True)
class Result:
    """What one revision, experiment or the workspace holds, with keys joined by dots."""

    name: str
    parameters: Flat
    metrics: Flat
    code: str  # Git's name for the content of stages/
    tables: str  # path and md5 of what was read from data/external/, by dvc.lock

    def seeds(self) -> tuple:
        """Return the values of all seeds."""
        return tuple(value for key, value in sorted(self.parameters.items()) if is_seed(key))

    def recipe(self) -> tuple:
        """Return what two repeats share: code, tables, and all parameters but the seeds."""
        rest = ((key, repr(value)) for key, value in sorted(self.parameters.items()))
        return self.code, self.tables, tuple(pair for pair in rest if not is_seed(pair[0]))


def is_seed(key: str) -> bool:
    """Say whether a parameter is a seed."""
    return key.rpartition(".")[2] == "seed"


def git(*arguments: str) -> str | None:
    """Return what a Git command prints, or None if it fails."""
    ended = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return ended.stdout if ended.returncode == 0 else None


def dvc(*arguments: str) -> None:
    """Run a command of DVC, which says itself what is wrong."""
    command = (sys.executable, "-m", "dvc", *arguments)
    if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
        raise UserError(
            f"`dvc {' '.join(arguments)}` failed, as DVC says above; mend it, and run again."
        )


def experiments() -> dict[str, str]:
    """Return the commit of each DVC experiment by its name, the oldest first."""
    listed = git(
        "for-each-ref", "--sort=creatordate", "--format=%(refname) %(objectname)", "refs/exps"
    )
    if listed is None:
        raise UserError("This must run in a Git repository; here is none.")
    pairs = (line.split() for line in listed.splitlines())
    found = (re.fullmatch(r"refs/exps/\w\w/\w{38}/(.+)", name) and (name, at) for name, at in pairs)
    return {name.rpartition("/")[2]: at for name, at in filter(None, found)}


def metric_files() -> list[str]:
    """Return the paths of all metrics in dvc.yaml."""
    try:
        stages = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"].values()
    except FileNotFoundError:
        raise UserError("dvc.yaml is missing; run this from the top of the project.") from None
    entries = [entry for stage in stages for entry in stage.get("metrics", [])]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def read_result(name: str, revision: str | None) -> Result:
    """Return the result at a Git revision, or of the workspace if that is None."""

    def read(path: str) -> str:
        if revision is not None:
            return git("show", f"{revision}:{path}") or ""
        return Path(path).read_text(encoding="utf-8") if Path(path).is_file() else ""

    try:
        parameters = dict(leaves(yaml.load(read("params.yaml"), Loader) or {}))
        contents = [json.loads(read(path) or "{}") for path in metric_files()]
        metrics = {key: value for content in contents for key, value in leaves(content)}
        tables = own_tables(read("dvc.lock"))
    except (yaml.YAMLError, ValueError, AttributeError, LookupError, TypeError):
        raise UserError(
            f"{name} must hold params.yaml, dvc.lock and metrics that can be read."
        ) from None
    numbers = {key: value for key, value in metrics.items() if not isinstance(value, list)}
    # Of the workspace, a commit on no branch: as an experiment, it has changes, no untracked files.
    at = revision or (git("stash", "create") or "").strip() or "HEAD"
    code = (git("rev-parse", f"{at}:stages") or "").strip()
    return Result(name, parameters, numbers, code, tables)


def read_all(known: dict[str, str]) -> Iterator[Result]:
    """Yield the results of all experiments, by name and commit, but of damaged ones."""
    for name, commit in known.items():
        with suppress(UserError):
            yield read_result(name, commit)


def own_tables(lock: str) -> str:
    """Return path and md5 of each table in data/external/ that a dvc.lock says was read."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the file is long
    stages = (yaml.load(lock, loader) or {}).get("stages", {})
    deps = stages.get("generate_data", {}).get("deps", [])
    return "\n".join(
        f"{each['path']} {each['md5']}"
        for each in deps
        if re.fullmatch(r"data/external/.+\.(csv|parquet)", each["path"])
    )


def is_stale() -> bool:
    """Say whether the workspace's results are older than its parameters, code or data."""
    command = (sys.executable, "-m", "dvc", "status", "--quiet")
    return subprocess.run(command, capture_output=True, check=False).returncode == 1


def find(name: str, known: dict[str, str]) -> Result:
    """Return the result that `name` means: the workspace, an experiment, or a Git revision."""
    if name == "workspace":
        return read_result(name, None)
    commit = known.get(name) or git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if not commit:
        near = difflib.get_close_matches(name, known, n=1)
        meant = f" Did you mean '{near[0]}'?" if near else ""
        raise UserError(
            f"A and B must be Git revisions, DVC experiments or workspace; got '{name}'.{meant}"
        )
    return read_result(name, commit.strip())


def repeats(result: Result, others: Sequence[Result]) -> dict[tuple, Flat]:
    """Return the metrics by seeds of the result itself and of its repeats among `others`."""
    found = {result.seeds(): result.metrics}
    for other in others:
        if other.metrics and other.recipe() == result.recipe():
            found.setdefault(other.seeds(), other.metrics)
    return found


def quantile(degrees: int) -> float:
    """Return Student's t, two-sided 95 %, for a number of degrees of freedom from 1."""
    return T[min(degrees, len(T)) - 1]


def is_number(value: object) -> bool:
    """Say whether a metric is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def decimals(value: float, digits: int) -> int:
    """Return how many decimal places `value` has when it is shown with significant `digits`."""
    return digits - 1 - math.floor(math.log10(abs(value))) if value else 0


def spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation over seeds, and their number, as the table shows them.

    The deviation has two digits, and the mean no more decimal places than it.
    """
    if len(values) < 2:
        return ""
    mean, deviation = statistics.mean(values), statistics.stdev(values)
    if deviation:
        mean = round(mean, decimals(deviation, 2))
    return f"{mean:.6g} ± {deviation:.2g} ({len(values)})"


def difference(old: float, new: float) -> str:
    """Return new - old, to the last decimal place that the six digits of both have."""
    places = decimals(max(abs(old), abs(new)), 6)
    return f"{round(new - old, places):+.6g}"


def verdict(a: float, b: float, a_values: dict, b_values: dict) -> str:
    """Return `clear`, `luck?` or, without repeats, nothing, for a change from `a` to `b`.

    `a_values` and `b_values` are the metric by seeds, over the repeats of each side.
    """
    common = sorted(a_values.keys() & b_values.keys(), key=repr)
    if len(common) >= FEWEST:
        differences = [b_values[seeds] - a_values[seeds] for seeds in common]
        size, n = statistics.mean(differences) * math.copysign(1, b - a), len(differences)
        bound = quantile(n - 1) * statistics.stdev(differences) / math.sqrt(n)
    else:
        values = max(a_values, b_values, key=len).values()
        if len(values) < FEWEST:
            return ""
        size = abs(b - a)
        bound = quantile(len(values) - 1) * statistics.stdev(values) * math.sqrt(2)
    return "clear" if size > bound else "luck?"


def text(value: object) -> str:
    """Return a value as the table shows it, `-` for none."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return value
    return "-" if value is None else json.dumps(value)


def metric_rows(a: Result, b: Result, others: Sequence[Result]) -> Iterator[tuple[str, ...]]:
    """Yield (metric, A, B, change, A over seeds, B over seeds, verdict) of what differs."""
    a_repeats, b_repeats = repeats(a, others), repeats(b, others)
    for key in sorted(a.metrics | b.metrics):
        old, new = a.metrics.get(key), b.metrics.get(key)
        if old == new:
            continue
        if not (is_number(old) and is_number(new)):
            yield key, text(old), text(new), "", "", "", ""
            continue
        a_values, b_values = (
            {seeds: each[key] for seeds, each in found.items() if is_number(each.get(key))}
            for found in (a_repeats, b_repeats)
        )
        spreads = (spread(list(values.values())) for values in (a_values, b_values))
        change = difference(old, new)
        yield key, text(old), text(new), change, *spreads, verdict(old, new, a_values, b_values)


def parameter_rows(a: Result, b: Result) -> Iterator[tuple[str, str, str]]:
    """Yield (parameter, A, B) of what differs."""
    for key in sorted(a.parameters | b.parameters):
        old, new = a.parameters.get(key), b.parameters.get(key)
        if old != new:
            yield key, text(old), text(new)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], markdown: bool) -> str:
    """Return a table as Markdown or in columns of plain text; empty columns are left out."""
    kept = [number for number in range(len(head)) if any(row[number] for row in rows)]
    lines = [[row[number] for number in kept] for row in (head, *rows)]
    if markdown:
        lines = [[cell.replace("|", "\\|") for cell in line] for line in lines]
        lines.insert(1, ["---"] * len(kept))
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def report(a: Result, b: Result, others: Sequence[Result], markdown: bool) -> str:
    """Return the whole comparison."""
    parts = []
    if rows := list(parameter_rows(a, b)):
        parts.append(table(("parameter", a.name, b.name), rows, markdown))
    if rows := list(metric_rows(a, b, others)):
        head = (
            "metric",
            a.name,
            b.name,
            "change",
            f"{a.name}, seeds",
            f"{b.name}, seeds",
            "verdict",
        )
        parts.append(table(head, rows, markdown))
        if not any(row[-1] for row in rows):
            parts.append(
                "Whether a change is more than luck cannot be said: neither side has been run with "
                f"{FEWEST} seeds or more. `make seeds` repeats the workspace."
            )
    if a.code != b.code:
        parts.append("The code in stages/ differs, too.")
    if a.tables != b.tables:
        parts.append("The own tables in data/external/ differ, too.")
    return "\n\n".join(parts) or f"{a.name} and {b.name} have the same parameters and metrics."


def condition(expression: str) -> tuple[str, str, float]:
    """Return metric, sign and bound of an expression such as classifier.test.accuracy<-0.01."""
    parts = re.fullmatch(r"\s*([^<>]+?)\s*([<>])\s*([-+.0-9eE]+)\s*", expression)
    try:
        name, sign, bound = parts.groups()
        return name, sign, float(bound)
    except (AttributeError, ValueError):
        raise UserError(
            "--fail-on must be a metric, < or >, and a number, such as "
            f"'classifier.test.accuracy<-0.01'; got '{expression}'."
        ) from None


def failure(a: Result, b: Result, name: str, sign: str, bound: float) -> str:
    """Return the sentence that a change has crossed its bound, or nothing."""
    old, new = a.metrics.get(name), b.metrics.get(name)
    if not (is_number(old) and is_number(new)):
        lacking = " and ".join(
            each.name for each in (a, b) if not is_number(each.metrics.get(name))
        )
        near = difflib.get_close_matches(name, a.metrics.keys() & b.metrics.keys(), n=1)
        meant = f" Did you mean '{near[0]}'?" if near else ""
        raise UserError(
            f"--fail-on must name a metric that both sides have; got '{name}', which {lacking} "
            f"lacks.{meant}"
        )
    change = difference(old, new)
    crossed = float(change) < bound if sign == "<" else float(change) > bound
    return f"{name} changed by {change}, which is {sign} {bound:g}." if crossed else ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("a", nargs="?", default="HEAD", metavar="A")
    parser.add_argument("b", nargs="?", default="workspace", metavar="B")
    parser.add_argument("--md", action="store_true", help="Markdown, for a pull request")
    parser.add_argument("--fail-on", action="append", default=[], metavar="'METRIC<BOUND'")
    options = parser.parse_args(arguments)
    conditions = [condition(each) for each in options.fail_on]
    known = experiments()
    a, b = find(options.a, known), find(options.b, known)
    failures = list(filter(None, (failure(a, b, *each) for each in conditions)))
    others = list(read_all(known))
    print(report(a, b, others, options.md))
    if "workspace" in (a.name, b.name) and is_stale():
        stale = (
            "The results in the workspace are older than its parameters, code or data: run "
            "`dvc repro`."
        )
        if conditions:
            raise UserError(stale)
        print(f"\n{stale}")
    if failures:
        raise UserError("\n".join(failures))


if __name__ == "__main__":
    main()
