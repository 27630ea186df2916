import re

import pytest

from conftest import PROJECT, run
from stages.core.errors import UserError
from tools import compare
from tools.compare import Side, Threshold, crossed, format_comparison, parse_threshold
from tools.results import Result, repeats


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
    no_verdict = "There is no verdict without 3 seeds in common or 4 on each side; "
    assert f"{no_verdict}HEAD~1 has 1, HEAD has 1. `make seeds` repeats the " in shown


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
    head, row = lines(shown)[2:]
    names = ["old-1", "new-1", "change", "old-1, seeds", "new-1, seeds", "mean change [95 %]"]
    assert head == ["metric", *names, "verdict"]
    assert row[:4] == ["a.loss", "1.1", "0.6", "-0.5"]
    assert row[4:] == ["1.2 ± 0.1 (3)", "0.7 ± 0.1 (3)", "-0.5 [-0.5, -0.5]", "changed"]


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


def side(name, metrics, others=(), **parameters):
    """Return a side with its repeats among others."""
    result = Result(name, {"seed": 0, **parameters}, metrics, "", ())
    return Side(result, repeats(result, others))


def seeds_of(side, *losses):
    """Return results that differ from a side in the seed, and in the loss."""
    parameters = side.result.parameters
    return [
        Result("", parameters | {"seed": seed}, side.result.metrics | {"loss": loss}, "", ())
        for seed, loss in enumerate(losses, start=1)
    ]


def test_metric_of_one_side_alone_is_shown():
    text = format_comparison(side("A", {"old": 1.0}), side("B", {"new": 2.0}), False)
    assert lines(text)[1:3] == [["new", "-", "2"], ["old", "1", "-"]]


def test_change_over_seeds_has_its_interval_and_verdict():
    a, b = side("A", {"loss": 1.0}), side("B", {"loss": 2.0}, lr=1)
    others = [*seeds_of(a, 1.0, 1.0, 1.0), *seeds_of(b, 2.0, 3.0, 3.0)]
    text = format_comparison(
        side("A", {"loss": 1.0}, others), side("B", {"loss": 2.0}, others, lr=1), False
    )
    # Differences 1, 1, 2, 2: mean 1.5, deviation sqrt(1/3), 3.18245 sqrt(1/12) = 0.918694.
    assert lines(text)[3][-2:] == ["+1.5 [+0.58, +2.42]", "changed"]
    assert "one in twenty" not in text  # a single metric


def test_metrics_may_be_selected_by_name():
    a, b = side("A", {"loss": 1.0, "x.y": 1.0, "xzy": 5.0}), side("B", {"loss": 2.0, "x.y": 1.5})
    text = format_comparison(a, b, False, re.compile(r"x\.|s$"))
    assert [line[0] for line in lines(text)[1:3]] == ["loss", "x.y"]
    assert "xzy" not in text
    assert format_comparison(a, b, False, re.compile("nothing")) == (
        "No metric that differs matches 'nothing'."
    )


def test_several_verdicts_come_with_a_word_of_caution():
    a, b = side("A", {"loss": 1.0, "x": 1.0}), side("B", {"loss": 2.0, "x": 1.5}, lr=1)
    others = [*seeds_of(a, 1.0, 1.0, 1.0), *seeds_of(b, 2.0, 3.0, 3.0)]
    a, b = (Side(item.result, repeats(item.result, others)) for item in (a, b))
    text = format_comparison(a, b, False)
    assert text.endswith("one in twenty unchanged metrics looks changed by chance; 2 are shown.")


def test_seeds_of_one_side_alone_give_no_verdict():
    a, b = side("A", {"loss": 1.0}), side("B", {"loss": 9.0}, lr=1)
    a = Side(a.result, repeats(a.result, seeds_of(a, 1.1, 0.9, 1.0)))
    text = format_comparison(a, b, False)
    assert lines(text)[2:4] == [
        ["metric", "A", "B", "change", "A, seeds"],
        ["loss", "1", "9", "+8", "1 ± 0.082 (4)"],
    ]
    assert "no verdict without 3 seeds in common or 4 on each side; A has 4, B has 1. " in text


# --fail-on


def test_expression_is_metric_sign_and_bound():
    assert parse_threshold(" a.b < -1e-2 ") == Threshold("", "a.b", "<", -0.01)
    assert parse_threshold("a>+.5") == Threshold("", "a", ">", 0.5)


def test_expression_may_name_an_end_of_the_interval():
    assert parse_threshold(" high(a.b) < 0 ") == Threshold("high", "a.b", "<", 0.0)
    assert parse_threshold("low(weights.x (cm))>1") == Threshold("low", "weights.x (cm)", ">", 1.0)
    assert parse_threshold("weights.low(x)>1") == Threshold("", "weights.low(x)", ">", 1.0)


@pytest.mark.parametrize(
    "expression",
    ["a", "a=1", "<1", "a<x", "a<nan", "a<inf", "a<1_0", "a<=1", "a<-"],
)
def test_odd_expression_is_rejected(expression):
    with pytest.raises(UserError, match=r"--fail-on must be a metric, low\(metric\) or high"):
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
    assert 0.94 - 0.95 < -0.01
    threshold = Threshold("", "x", "<", -0.01)
    assert crossed(side("A", {"x": 0.95}), side("B", {"x": 0.94}), threshold) == ""


# Differences 0, 1, 1: mean 0.67, 4.30265 / 3 = 1.43422.
@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("low(a.loss)<-0.5", "low end is < -0.5."),
        ("high(a.loss)>2", "high end is > 2."),
        ("low(a.loss)<-0.8", ""),
        ("high(a.loss)<2", ""),
    ],
)
def test_end_of_the_interval_is_held_to_its_bound(project, capsys, expression, sentence):
    for seed, loss in ((1, 1.0), (2, 2.0), (3, 2.0)):
        project.commit_result(f"old-{seed}", 1.0, seed=seed)
        project.commit_result(f"new-{seed}", loss, seed=seed, lr=2.0)
    if not sentence:  # the metric of these seeds is the same, that of the others is not
        assert "lr" in printed(capsys, "old-1", "new-1", "--fail-on", expression)
        return
    match = rf"^The change of a.loss is \+0.7 \[-0.8, \+2.1\], whose {re.escape(sentence)}$"
    with pytest.raises(UserError, match=match):
        printed(capsys, "old-1", "new-1", "--fail-on", expression)


def test_end_of_an_interval_that_is_missing_is_reported(project, capsys):
    project.commit_result(None, 1.0)
    project.commit_result("new", 2.0, lr=2.0)
    sentence = "--fail-on high(a.loss): there is no interval without 3 seeds in common or 4 on "
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}each side; HEAD~1 has 1, new has"):
        printed(capsys, "HEAD~1", "new", "--fail-on", "high(a.loss)<0")


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
    text = format_comparison(side("a", {}), side("b", {}, lr=1.0), False)
    assert lines(text) == [["parameter", "a", "b"], ["lr", "-", "1"]]


def test_repeats_of_b_are_found_where_its_code_is_new(project, capsys):
    project.commit_result("old", 1.0)
    project.write("stages/train.py", "new code")
    for seed in (1, 2, 3):
        project.commit_result(f"new-{seed}", 2.0 + seed / 100, seed=seed)
    assert "2.02 ± 0.01 (3)" in printed(capsys, "old", "new-1")
