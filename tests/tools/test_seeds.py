import re

import pytest

from conftest import run
from stages.core.errors import UserError
from tools import seeds
from tools.results import Result, list_experiments, run_dvc


@pytest.fixture
def asked(monkeypatch):
    """Collect the commands of DVC instead of running them."""
    commands = []
    monkeypatch.setattr(seeds, "run_dvc", lambda *arguments: commands.append(arguments))
    return commands


def test_missing_seeds_are_run_for_every_stage(monkeypatch, asked, finished_copy):
    workspace = Result("workspace", {"a.seed": 0, "b.seed": 0}, {"loss": 1.0}, "", ())
    repeated = {(0, 0): {"loss": 1.0}, (1, 1): {"loss": 3.0}, (1, 2): {"loss": 9.0}}
    monkeypatch.setattr(seeds, "read_repeats", lambda: (workspace, repeated))
    seeds.main(["1", "2", "2"])
    assert asked == [("exp", "run", "--temp", "-S", "a.seed=2", "-S", "b.seed=2")]


def test_seed_that_was_run_is_reused(asked, finished_copy, capsys):
    seeds.main(["2"])
    assert asked == []
    rows = [re.split(r"\s{2,}", line) for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == list(seeds.HEAD)
    # The toy's test accuracy is 0.5 + seed / 8, with seeds 0 and 2.
    assert ["classifier.test.accuracy", "0.5", "0.625", "0.176777", "2"] in rows


def test_repeats_are_experiments_and_leave_the_workspace(finished_copy, capsys):
    seeds.main(["2", "4"])
    assert len(list_experiments()) == 2
    assert run("git", "status", "--porcelain", cwd=finished_copy).stdout == ""
    captured = capsys.readouterr()
    assert captured.err == "seeds: 4\n"
    assert re.search(r"^classifier.test.accuracy +0.5 +0.75 +0.25 +3$", captured.out, re.MULTILINE)


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
