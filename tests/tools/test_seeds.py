import os
import re
from dataclasses import replace

import pytest

from conftest import run
from stages.core.errors import UserError
from tools import seeds
from tools.results import Result, list_experiments, run_dvc


@pytest.fixture
def asked(monkeypatch):
    """Collect the experiments instead of running them."""
    experiments = []
    monkeypatch.setattr(seeds, "run_experiment", lambda *item: experiments.append(item))
    return experiments


def test_missing_seeds_are_run_for_every_stage(monkeypatch, asked, finished_copy):
    workspace = Result("workspace", {"a.seed": 0, "b.seed": 0}, {"loss": 1.0}, "", ())
    others = [
        Result("", {"a.seed": a, "b.seed": b}, {"loss": 3.0}, "", ()) for a, b in ((1, 1), (1, 2))
    ]
    monkeypatch.setattr(seeds, "read_workspace", lambda _: workspace)
    monkeypatch.setattr(seeds, "read_experiments", lambda *_: others)
    with pytest.raises(UserError, match="^The workspace has changed while its repeats were run; "):
        seeds.main(["1", "2", "2"])
    assert asked == [(seeds.experiment_name(workspace, 2), ["a.seed=2", "b.seed=2"])]


def test_names_tell_configurations_and_projects_apart(subfolder):
    first = Result("workspace", {"seed": 0, "lr": 1.0}, {"loss": 1.0}, "code", ())
    name = seeds.experiment_name(first, 3)
    assert re.fullmatch(seeds.NAMES, name)
    assert name.endswith("-3")
    other_seed = Result("x", {"seed": 7, "lr": 1.0}, {"loss": 2.0}, "code", ())
    assert seeds.experiment_name(other_seed, 3) == name
    changes = [
        {"parameters": {"seed": 0, "lr": 2.0}},
        {"code": "new"},
        {"custom_tables": (("a",),)},
    ]
    others = [seeds.experiment_name(replace(first, **change), 3) for change in changes]
    os.chdir("..")
    others.append(seeds.experiment_name(first, 3))
    assert len({name, *others}) == 5


def test_seed_that_was_run_is_reused(asked, finished_copy, capsys):
    seeds.main(["2"])
    assert asked == []
    rows = [re.split(r"\s{2,}", line) for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == list(seeds.HEAD)
    # The toy's test accuracy is 0.5 + seed / 8, with seeds 0 and 2.
    assert ["classifier.test.accuracy", "0.5", "0.625", "0.176777", "2"] in rows


def test_repeats_are_experiments_and_leave_the_workspace(finished_copy, capsys):
    (other,) = list_experiments()  # with seed 2 and a name that DVC made up
    seeds.main(["2", "4"])
    (name,) = list_experiments().keys() - {other}
    assert re.fullmatch(r"seeds-[0-9a-f]{7}-4", name)
    assert run("git", "status", "--porcelain", cwd=finished_copy).stdout == ""
    captured = capsys.readouterr()
    assert captured.err == "seeds: 4\n"
    assert re.search(r"^classifier.test.accuracy +0.5 +0.75 +0.25 +3$", captured.out, re.MULTILINE)
    seeds.main(["--remove"])
    assert set(list_experiments()) == {other}
    assert capsys.readouterr().out == "Experiments removed: 1\n"


def test_mean_and_deviation_are_over_all_seeds():
    workspace = Result("workspace", {}, {"loss": 1.0, "text": "a", "once": 1.0}, "", ())
    repeated = {(0,): workspace.metrics, (1,): {"loss": 3.0}, (2,): {"loss": 8.0, "text": "b"}}
    rows = list(seeds.variation_rows(workspace, repeated))
    assert rows == [("loss", "1", "4", "3.60555", "3")]  # sqrt(((1-4)^2 + (3-4)^2 + (8-4)^2) / 2)


def test_stale_workspace_is_not_repeated(finished_copy, asked):
    path = finished_copy / "params.yaml"
    path.write_text(path.read_text().replace("lr: 0.125", "lr: 0.25"))
    with pytest.raises(UserError, match="must be up to date before they are repeated"):
        seeds.main([])
    assert asked == []


def test_project_that_dvc_cannot_run_is_rejected_before_the_first_run(
    monkeypatch, asked, finished_copy
):
    def reject(*_):
        raise UserError("shallow")

    monkeypatch.setattr(seeds, "check_experiments", reject)
    with pytest.raises(UserError, match="shallow"):
        seeds.main(["2", "4"])
    assert asked == []
    seeds.main(["2"])  # which exists


def test_negative_seed_is_rejected(asked):
    with pytest.raises(UserError, match="^SEED must be an integer >= 0; got -1.$"):
        seeds.main(["--", "3", "-1"])


def test_seed_of_the_workspace_alone_is_rejected(finished_copy, asked):
    run_dvc("exp", "remove", *list_experiments())
    with pytest.raises(UserError, match="Give at least one SEED other than"):
        seeds.main(["0"])


def test_metric_that_never_varies_is_left_out():
    workspace = Result("workspace", {}, {"loss": 1.0, "floor": 0.3}, "", ())
    repeated = {(0,): workspace.metrics, (1,): {"loss": 3.0, "floor": 0.3}}
    assert [row[0] for row in seeds.variation_rows(workspace, repeated)] == ["loss"]
