import json
import math
import re
import statistics
import subprocess

import pytest
import scipy.stats

from conftest import run
from stages.errors import UserError
from tools import compare, seeds
from tools.compare import (
    Result,
    condition,
    difference,
    failure,
    own_tables,
    quantile,
    report,
    spread,
    table,
    verdict,
)

PARAMETERS = "seed: {seed}\nlr: {lr}\n"
LOCK = "stages:\n  generate_data:\n    deps:\n    - path: data/external/a.csv\n      md5: {table}\n"
PIPELINE = "stages:\n  a:\n    metrics:\n      - m.json:\n          cache: false\n"


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Work in a Git repository; return how to commit a result, and how to make it an experiment."""
    monkeypatch.chdir(tmp_path)
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)

    def git(*arguments):
        identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        done = subprocess.run(
            ["git", *identity, *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def commit(loss, seed=0, lr=1.0, name=None, code="1", table="1f"):
        (tmp_path / "stages").mkdir(exist_ok=True)
        (tmp_path / "stages/a.py").write_text(code)
        (tmp_path / "dvc.yaml").write_text(PIPELINE)
        (tmp_path / "dvc.lock").write_text(LOCK.format(table=table))
        (tmp_path / "params.yaml").write_text(PARAMETERS.format(seed=seed, lr=lr))
        (tmp_path / "m.json").write_text(json.dumps({"a": {"loss": loss, "n": 3, "many": [loss]}}))
        git("add", "-A")
        git("commit", "-q", "--allow-empty", "-m", "result")
        at = git("rev-parse", "HEAD")
        if name:
            git("update-ref", f"refs/exps/{at[:2]}/{at[2:]}/{name}", at)
        return at

    git("init", "-q")
    return commit


def said(capsys, *arguments):
    compare.main(arguments)
    return capsys.readouterr().out


def test_quantiles_are_students():
    for degrees in range(1, 21):
        assert quantile(degrees) == pytest.approx(scipy.stats.t.ppf(0.975, degrees), abs=6e-5)
    assert scipy.stats.t.ppf(0.975, 1000) < quantile(1000) == quantile(20)


def test_paired_changes_are_judged_by_students_test():
    a, b = {1: 1.0, 2: 2.0, 3: 4.0}, {1: 1.5, 2: 2.4, 3: 4.6}
    assert scipy.stats.ttest_rel(list(b.values()), list(a.values())).pvalue < 0.05
    assert verdict(1.0, 1.5, a, b) == "clear"
    b = {1: 1.5, 2: 2.4, 3: 3.6}
    assert scipy.stats.ttest_rel(list(b.values()), list(a.values())).pvalue > 0.05
    assert verdict(1.0, 1.5, a, b) == "luck?"


def test_changes_are_paired_by_their_seeds():
    a, b = {1: 1.0, 2: 5.0, 3: 9.0}, {3: 9.11, 1: 1.1, 2: 5.12}
    assert verdict(1.0, 1.1, a, b) == "clear"


def test_three_pairs_have_two_degrees_of_freedom():
    a, b = dict.fromkeys((1, 2, 3), 0.0), {1: 1.2, 2: 2.2, 3: 3.2}  # mean 2.2, deviation 1
    assert scipy.stats.ttest_rel(list(b.values()), list(a.values())).pvalue > 0.05
    assert verdict(0.0, 2.2, a, b) == "luck?"


def test_single_run_is_judged_by_the_repeats_of_the_other():
    values = {seed: float(seed) for seed in range(5)}
    bound = scipy.stats.t.ppf(0.975, 4) * statistics.stdev(values.values()) * math.sqrt(2)
    assert verdict(0.0, bound * 1.001, values, {0: bound * 1.001}) == "clear"
    assert verdict(0.0, bound * 0.999, values, {0: bound * 0.999}) == "luck?"
    assert verdict(bound * 1.001, 0.0, {0: bound * 1.001}, values) == "clear"


def test_without_repeats_there_is_no_verdict():
    assert verdict(0.0, 1.0, {0: 0.0}, {0: 1.0}) == ""


def test_change_of_what_never_varies_is_clear():
    assert verdict(1.0, 2.0, dict.fromkeys(range(3), 1.0), dict.fromkeys(range(3), 2.0)) == "clear"


def test_two_seeds_are_too_few_for_a_verdict():
    assert verdict(1.0, 2.0, {0: 1.0, 1: 1.0}, {0: 2.0, 1: 2.0}) == ""
    assert verdict(1.0, 2.0, {0: 1.0, 1: 1.0}, {0: 2.0}) == ""


def test_change_against_the_mean_of_all_seeds_is_not_clear():
    a = {0: 0.90, 1: 0.95, 2: 0.95, 3: 0.95, 4: 0.95, 5: 0.95}
    b = {0: 0.905, 1: 0.92, 2: 0.921, 3: 0.92, 4: 0.919, 5: 0.92}
    assert verdict(0.90, 0.905, a, b) == "luck?"
    assert verdict(0.95, 0.92, a, b) == "clear"


def test_spread_is_mean_and_sample_deviation():
    assert spread([1.0, 2.0, 3.0]) == "2 ± 1 (3)"
    assert spread([1.0]) == ""


def test_mean_has_the_decimal_places_of_its_deviation():
    assert spread([0.4, 0.45, 0.512345]) == "0.454 ± 0.056 (3)"
    assert spread([123456.0, 123460.0]) == "123458 ± 2.8 (2)"
    assert spread([1 / 3, 1 / 3]) == "0.333333 ± 0 (2)"


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        (0.00865699, 0.00265699, "-0.006"),  # 0.006000000000000001 in binary
        (0.951, 0.945, "-0.006"),
        (123.456, 0.000123456, "-123.456"),
        (3.3e-9, 3.4e-9, "+1e-10"),
        (0, 0.5, "+0.5"),
    ],
)
def test_difference_has_no_digits_that_its_numbers_lack(old, new, shown):
    assert difference(old, new) == shown


def test_bound_that_is_just_reached_is_not_crossed():
    a, b = (Result(name, {}, {"x": x}, "", "") for name, x in (("A", 0.95), ("B", 0.94)))
    assert 0.94 - 0.95 < -0.01
    assert failure(a, b, "x", "<", -0.01) == ""


def test_differences_are_shown_with_six_digits(repository, capsys):
    repository(3.3e-9)
    repository(1.23456789, lr=2.0)
    lines = said(capsys, "HEAD~1", "HEAD").splitlines()
    assert [line.split() for line in lines if line][:2] == [
        ["parameter", "HEAD~1", "HEAD"],
        ["lr", "1", "2"],
    ]
    assert ["a.loss", "3.3e-09", "1.23457", "+1.23457"] in [line.split() for line in lines]
    assert "a.n" not in "".join(lines)
    assert "many" not in "".join(lines)
    assert "neither side has been run with 3 seeds" in lines[-2] + lines[-1]


def test_workspace_is_read_from_its_files(repository, capsys, tmp_path):
    repository(1.0)
    assert said(capsys) == "HEAD and workspace have the same parameters and metrics.\n"
    (tmp_path / "m.json").write_text('{"a": {"loss": 2.5, "n": 3, "many": []}}')
    assert ["a.loss", "1", "2.5", "+1.5"] in [line.split() for line in said(capsys).splitlines()]


def test_experiments_are_found_by_name_and_repeats_by_their_parameters(repository, capsys):
    for seed, loss in ((1, 1.1), (2, 1.3), (3, 1.2)):
        repository(loss, seed=seed, name=f"old-{seed}")
        repository(loss - 0.5, seed=seed, lr=2.0, name=f"new-{seed}")
    repository(9.0, seed=4, name="other-code", code="2")
    (row,) = (line for line in said(capsys, "old-1", "new-1").splitlines() if "a.loss" in line)
    assert re.split(r"\s{2,}", row) == [
        "a.loss",
        "1.1",
        "0.6",
        "-0.5",
        "1.2 ± 0.1 (3)",
        "0.7 ± 0.1 (3)",
        "clear",
    ]


def test_newest_of_the_experiments_of_one_name_is_read(repository, monkeypatch):
    commits = {}
    for year in (2021, 2023, 2022):
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"{year}-01-01T00:00:00Z")
        commits[year] = repository(float(year), name="run")
    assert compare.experiments() == {"run": commits[2023]}


def test_lack_of_repeats_is_said_only_where_no_change_has_a_verdict():
    a = Result("A", {"seed": 0}, {"loss": 1.0, "old": 1.0}, "", "")
    b = Result("B", {"seed": 0, "lr": 1}, {"loss": 2.0}, "", "")
    again = [
        Result("again", {"seed": seed}, {"loss": 1 + seed / 10, "old": 1.0}, "", "")
        for seed in (1, 2)
    ]
    assert "neither side" in report(a, b, again[:1], markdown=False)
    assert "neither side" not in report(a, b, again, markdown=False)


def test_other_code_is_said(repository, capsys):
    repository(1.0)
    repository(1.0, code="2")
    assert said(capsys, "HEAD~1", "HEAD") == "The code in stages/ differs, too.\n"


def test_other_tables_are_said_and_their_runs_are_no_repeats(repository, capsys):
    for seed, loss, read in ((0, 1.0, "1f"), (1, 2.0, "1f"), (2, 9.0, "2e")):
        repository(loss, seed=seed, table=read, name=f"{read}-{seed}")
    shown = said(capsys, "1f-0", "2e-2")
    assert "1.5 ± 0.71 (2)" in shown
    assert shown.endswith("The own tables in data/external/ differ, too.\n")
    assert "tables" not in said(capsys, "1f-0", "1f-1")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_of_both_kinds_are_told_apart(kind):
    first, second = (own_tables(LOCK.format(table=md5).replace("csv", kind)) for md5 in ("1", "2"))
    assert (first, second) == (f"data/external/a.{kind} 1", f"data/external/a.{kind} 2")


def test_changed_code_in_the_workspace_is_an_experiments(repository, capsys, tmp_path):
    repository(1.0, code="new", name="first")
    repository(1.2, seed=1, code="new", name="second")
    repository(1.4, seed=2, code="old")
    (tmp_path / "stages/a.py").write_text("new")
    assert "The code" not in said(capsys, "first", "workspace")
    assert "1.2 ± 0.2 (3)" in said(capsys, "first", "workspace")


def test_markdown_is_a_table(repository, capsys):
    repository(1.0)
    repository(2.0, lr=2.0)
    assert (
        "| metric | HEAD~1 | HEAD | change |\n| --- | --- | --- | --- |\n| a.loss | 1 | 2 | +1 |\n"
        in said(capsys, "HEAD~1", "HEAD", "--md")
    )


def test_cell_cannot_end_itself():
    assert table(("a|b",), [("c",)], markdown=True).splitlines()[0] == "| a\\|b |"


def test_metric_of_one_side_alone_is_shown():
    a = Result("A", {}, {"old": 1.0}, "", "")
    b = Result("B", {}, {"new": 2.0}, "", "")
    lines = [line.split() for line in report(a, b, [], markdown=False).splitlines()]
    assert lines[1:3] == [["new", "-", "2"], ["old", "1", "-"]]


@pytest.mark.parametrize(
    ("expression", "fails"),
    [("a.loss>0.5", True), ("a.loss>1", False), ("a.loss < 2", True), ("a.loss<1", False)],
)
def test_bound_on_a_change_fails_if_crossed(repository, capsys, expression, fails):
    repository(1.0)
    repository(2.0)
    if not fails:
        assert "a.loss" in said(capsys, "HEAD~1", "HEAD", "--fail-on", expression)
        return
    with pytest.raises(UserError, match=r"^a.loss changed by \+1, which is [<>] [0-9.]+\.$"):
        said(capsys, "HEAD~1", "HEAD", "--fail-on", expression)
    assert "a.loss" in capsys.readouterr().out


@pytest.mark.parametrize(
    "expression", ["a.loss", "a.loss=1", "<1", "a.loss<x", "a<nan", "a<inf", "a<1_0", "a<=1"]
)
def test_odd_bound_is_refused(expression):
    with pytest.raises(UserError, match="--fail-on must be a metric, < or >, and a number"):
        condition(expression)


def test_bound_on_an_unknown_metric_is_refused(repository, capsys):
    repository(1.0)
    with pytest.raises(
        UserError, match=r"'a.los', which HEAD and workspace lacks. Did you mean 'a.loss'\?"
    ):
        said(capsys, "HEAD", "workspace", "--fail-on", "a.los<0")


def test_damaged_experiment_is_left_out(repository, capsys, tmp_path):
    repository(1.0)
    (tmp_path / "m.json").write_text("[1]")
    with pytest.raises(UserError, match="workspace must hold params.yaml, dvc.lock and metrics"):
        said(capsys)
    subprocess.run(["git", "add", "-A"], check=True)
    tree = subprocess.run(["git", "write-tree"], capture_output=True, text=True, check=True)
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    command = ["git", *identity, "commit-tree", "-m", "odd", tree.stdout.strip()]
    at = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(["git", "update-ref", f"refs/exps/{at[:2]}/{at[2:]}/odd", at], check=True)
    assert said(capsys, "HEAD", "HEAD").endswith("have the same parameters and metrics.\n")


def test_unknown_revision_is_refused(repository, capsys):
    repository(1.0, name="fast")
    with pytest.raises(UserError, match=r"got 'fats'. Did you mean 'fast'\?"):
        said(capsys, "HEAD", "fats")


def test_seeds_that_are_missing_are_run_and_all_are_summed_up(monkeypatch, capsys):
    results = {
        name: Result(name, {"a.seed": seed, "b.seed": seed}, {"loss": loss}, "", "")
        for name, seed, loss in (("workspace", 0, 1.0), ("one", 1, 3.0), ("two", 2, 8.0))
    }
    results["no result"] = Result("no result", {"a.seed": 3, "b.seed": 3}, {}, "", "")
    asked = []
    monkeypatch.setattr(seeds, "is_stale", lambda: False)
    monkeypatch.setattr(seeds, "experiments", dict)
    monkeypatch.setattr(seeds, "read_all", lambda _: list(results.values())[1:])
    monkeypatch.setattr(seeds, "read_result", lambda name, _: results[name])
    monkeypatch.setattr(seeds, "dvc", lambda *arguments: asked.append(arguments))
    seeds.main(["1", "3", "3"])
    assert asked == [("exp", "run", "--temp", "-S", "a.seed=3", "-S", "b.seed=3")]
    assert capsys.readouterr().out.split()[-5:] == ["loss", "1", "4", "3.60555", "3"]


def test_seeds_are_repeated_once_and_the_workspace_stays(clone):
    path = clone / "params.yaml"
    text = path.read_text().replace("1000", "20").replace("epochs: 51", "epochs: 3")
    path.write_text(text.replace("[0, 1, 2, 3, 4, 10, 50]", "[0, 3]"))
    assert run("dvc", "repro", cwd=clone).returncode == 0
    run("git", "commit", "-qam", "Small", cwd=clone)
    first = run("python", "-m", "tools.seeds", "5", "7", cwd=clone)
    assert first.returncode == 0, first.stderr
    assert re.search(
        r"^train_classifier.loss +[0-9.]+ +[0-9.]+ +[0-9.e-]+ +3$", first.stdout, flags=re.M
    )
    assert run("git", "status", "--porcelain", cwd=clone).stdout == ""
    path.write_text(path.read_text().replace("lr: 1.0e-3", "lr: 1.0e-2"))
    early = run("python", "-m", "tools.seeds", cwd=clone)
    assert (early.returncode, early.stdout) == (1, "")
    assert early.stderr == (
        "The workspace must hold results of its parameters, code and data, to be repeated; they are"
        " older. Run `dvc repro` first.\n"
    )
    compared = run("python", "-m", "tools.compare", cwd=clone)
    assert compared.stdout.splitlines()[-1] == (
        "The results in the workspace are older than its parameters, code or data: run `dvc repro`."
    )
    gate = run("python", "-m", "tools.compare", "--fail-on", "train_classifier.loss>1", cwd=clone)
    assert (gate.returncode, "are older than" in gate.stderr) == (1, True)
    run("git", "checkout", "params.yaml", cwd=clone)
    assert "older" not in run("python", "-m", "tools.compare", cwd=clone).stdout
    again = run("python", "-m", "tools.seeds", "5", "7", cwd=clone)
    assert (first.stderr.count("seeds: "), again.stderr.count("seeds: ")) == (2, 0)
    assert again.stdout.splitlines()[-1] == first.stdout.splitlines()[-1]
