import re

import pytest

from conftest import PROJECT, run
from stages.core.errors import UserError
from tools import compare
from tools.compare import crossed, format_comparison, parse_threshold
from tools.results import Result


def printed(capsys, *arguments):
    compare.main(arguments)
    return capsys.readouterr().out


def lines(text):
    return [re.split(r"\s{2,}", line) for line in text.splitlines() if line]


def test_differences_are_shown_with_six_digits(project, capsys):
    project.commit_result(None, 3.3e-9)
    project.commit_result(None, 1.23456789, lr=2.0)
    shown = printed(capsys, "HEAD~1", "HEAD")
    assert lines(shown)[:4] == [
        ["parameter", "HEAD~1", "HEAD"],
        ["lr", "1", "2"],
        ["metric", "HEAD~1", "HEAD", "change"],
        ["a.loss", "3.3e-09", "1.23457", "+1.23457"],
    ]
    assert "There is no verdict: neither side has been run with 3 or more seeds." in shown


def test_head_and_workspace_are_compared_by_default(finished_copy, capsys):
    assert printed(capsys) == "HEAD and workspace have the same parameters and metrics.\n"
    path = finished_copy / "metrics/evaluate.json"
    path.write_text(path.read_text().replace("0.75", "0.5"))
    assert "\nclassifier.bayes_accuracy  0.75  0.5        -0.25   " in printed(capsys)


def test_repeats_of_both_sides_are_found(project, capsys):
    for seed, loss in ((1, 1.1), (2, 1.3), (3, 1.2)):
        project.commit_result(f"old-{seed}", loss, seed=seed)
        project.commit_result(f"new-{seed}", loss - 0.5, seed=seed, lr=2.0)
    project.write("stages/train.py", "other code")
    project.commit_result("other-code", 9.0, seed=4)
    shown = printed(capsys, "old-1", "new-1")
    assert lines(shown)[2:] == [
        ["metric", "old-1", "new-1", "change", "old-1, seeds", "new-1, seeds", "verdict"],
        ["a.loss", "1.1", "0.6", "-0.5", "1.2 ± 0.1 (3)", "0.7 ± 0.1 (3)", "significant"],
    ]


def test_other_code_is_reported(project, capsys):
    project.commit_result(None, 1.0)
    project.write("stages/train.py", "new")
    project.commit()
    assert printed(capsys, "HEAD~1", "HEAD") == "The code in stages/ differs, too.\n"


def test_other_tables_are_reported_and_their_runs_are_no_repeats(project, capsys):
    for seed, loss, md5 in ((0, 1.0, "aaa"), (1, 2.0, "aaa"), (2, 9.0, "bbb")):
        project.lock(md5)
        project.commit_result(f"{md5}-{seed}", loss, seed=seed)
    shown = printed(capsys, "aaa-0", "bbb-2")
    assert "1.5 ± 0.71 (2)" in shown
    assert shown.endswith("The custom tables differ, too.\n")
    assert "tables" not in printed(capsys, "aaa-0", "aaa-1")


def test_markdown_has_tables(project, capsys):
    project.commit_result(None, 1.0)
    project.commit_result(None, 2.0, lr=2.0)
    head = "| metric | HEAD~1 | HEAD | change |\n| --- | --- | --- | --- |\n"
    assert f"{head}| a.loss | 1 | 2 | +1 |\n" in printed(capsys, "HEAD~1", "HEAD", "--md")


def test_metric_of_one_side_alone_is_shown():
    a, b = Result("A", {}, {"old": 1.0}, "", ()), Result("B", {}, {"new": 2.0}, "", ())
    assert lines(format_comparison(a, b, [], False))[1:3] == [["new", "-", "2"], ["old", "1", "-"]]


def test_lack_of_repeats_is_reported_only_if_no_change_has_a_verdict():
    a = Result("A", {"seed": 0}, {"loss": 1.0, "old": 1.0}, "", ())
    b = Result("B", {"seed": 0, "lr": 1}, {"loss": 2.0}, "", ())
    repeats = [
        Result("", {"seed": seed}, {"loss": 1 + seed / 10, "old": 1.0}, "", ()) for seed in (1, 2)
    ]
    assert "neither side" in format_comparison(a, b, repeats[:1], False)
    assert "neither side" not in format_comparison(a, b, repeats, False)


# --fail-on


def test_expression_is_metric_sign_and_bound():
    assert parse_threshold(" a.b < -1e-2 ") == ("a.b", "<", -0.01)
    assert parse_threshold("a>+.5") == ("a", ">", 0.5)


@pytest.mark.parametrize(
    "expression", ["a.loss", "a.loss=1", "<1", "a.loss<x", "a<nan", "a<inf", "a<1_0", "a<=1", "a<-"]
)
def test_odd_expression_is_rejected(expression):
    with pytest.raises(UserError, match="--fail-on must be a metric, < or >, and a number"):
        parse_threshold(expression)


@pytest.mark.parametrize("expression", ["a.loss>1", "a.loss<1"])
def test_change_up_to_its_bound_passes(project, capsys, expression):
    project.commit_result(None, 1.0)
    project.commit_result(None, 2.0)
    assert "a.loss" in printed(capsys, "HEAD~1", "HEAD", "--fail-on", expression)


@pytest.mark.parametrize("expression", ["a.loss>0.5", "a.loss < 2"])
def test_change_beyond_its_bound_fails_after_the_table(project, capsys, expression):
    project.commit_result(None, 1.0)
    project.commit_result(None, 2.0)
    with pytest.raises(UserError, match=r"^a.loss changed by \+1, which is [<>] [0-9.]+\.$"):
        printed(capsys, "HEAD~1", "HEAD", "--fail-on", expression)
    assert "a.loss" in capsys.readouterr().out


def test_bound_is_not_crossed_by_binary_digits():
    a, b = (Result(name, {}, {"x": x}, "", ()) for name, x in (("A", 0.95), ("B", 0.94)))
    assert 0.94 - 0.95 < -0.01
    assert crossed(a, b, "x", "<", -0.01) == ""


def test_bound_on_an_unknown_metric_is_rejected(project, capsys):
    project.commit_result(None, 1.0)
    with pytest.raises(
        UserError, match=r"'a.los', which HEAD and workspace lack. Did you mean 'a.loss'\?"
    ):
        printed(capsys, "--fail-on", "a.los<0")


def test_stale_results_are_reported(finished_copy, capsys):
    make_stale(finished_copy)
    assert printed(capsys).endswith(f"\n\n{compare.STALE}\n")


def test_stale_results_fail_a_gate(finished_copy, capsys):
    make_stale(finished_copy)
    with pytest.raises(UserError, match=re.escape(compare.STALE)):
        printed(capsys, "--fail-on", "classifier.test.accuracy<-1")


def test_stale_workspace_does_not_matter_to_two_commits(finished_copy, capsys):
    make_stale(finished_copy)
    assert compare.STALE not in printed(capsys, "HEAD~1", "HEAD")


def make_stale(folder):
    path = folder / "params.yaml"
    path.write_text(path.read_text().replace("lr: 0.125", "lr: 0.25"))


def test_mistake_ends_with_a_sentence_and_exit_status_1():
    done = run("python", "-m", "tools.compare", "--fail-on", "nix", cwd=PROJECT)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("--fail-on must be a metric")


def test_parameter_that_only_b_has_is_shown():
    a, b = Result("a", {}, {}, "", ()), Result("b", {"lr": 1.0}, {}, "", ())
    assert lines(format_comparison(a, b, [], False)) == [["parameter", "a", "b"], ["lr", "-", "1"]]


def test_repeats_of_b_are_found_where_its_code_is_new(project, capsys):
    project.commit_result("old", 1.0)
    project.write("stages/train.py", "new code")
    for seed in (1, 2, 3):
        project.commit_result(f"new-{seed}", 2.0 + seed / 100, seed=seed)
    assert "2.02 ± 0.01 (3)" in printed(capsys, "old", "new-1")
