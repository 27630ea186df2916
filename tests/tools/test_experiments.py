"""What docs/experiments.md does with DVC's and Git's own commands, on small pipelines."""

import copy
import json
import time

import pytest
import yaml

from conftest import ARTICLE, SMALL, run, set_key

GRID = "train_classifier.optimizer.lr=0.25,1e-2"
LOGITS = "train_classifier.loss_on=logits"
MODEL = "data/models/classifier.safetensors"


def ok(folder, *command):
    done = run(*command, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def committed(clone):
    """Return a clone of the whole pipeline with small data, run and committed."""
    params = copy.deepcopy(ARTICLE)
    for key, value in SMALL.items():
        set_key(params, key, value)
    (clone / "params.yaml").write_text(yaml.safe_dump(params))
    ok(clone, "dvc", "repro")
    ok(clone, "git", "commit", "-qam", "Small")
    return clone


def names(folder):
    return set(ok(folder, "dvc", "exp", "list", "--name-only").split())


def learning_rates(folder):
    shown = json.loads(ok(folder, "dvc", "exp", "show", "--json"))
    data = [item["revs"][0]["data"] for item in shown[-1]["experiments"] or []]
    params = [item["params"]["params.yaml"]["data"] for item in data]
    return {item["train_classifier"]["optimizer"]["lr"] for item in params}


def test_grid_goes_through_the_queue(finished_copy):
    before = names(finished_copy)
    ok(finished_copy, "dvc", "exp", "run", "--queue", "-S", GRID)
    ok(finished_copy, "dvc", "queue", "start", "-j", "2")
    for _ in range(600):
        running = "Running" in ok(finished_copy, "dvc", "queue", "status")
        if len(names(finished_copy) - before) == 2 and not running:
            break
        time.sleep(0.5)
    assert learning_rates(finished_copy) == {0.125, 0.25, 0.01}
    assert ok(finished_copy, "git", "status", "--porcelain") == ""


def test_experiment_is_compared_applied_and_made_a_branch(finished_copy):
    ok(finished_copy, "dvc", "exp", "run", "--name", "logits", "-S", LOGITS)
    changed = json.loads(ok(finished_copy, "dvc", "exp", "diff", "HEAD", "logits", "--json"))
    assert "metrics/evaluate.json" in changed["metrics"]
    ok(finished_copy, "git", "checkout", "HEAD", "--", "params.yaml", "dvc.lock", "metrics")
    ok(finished_copy, "dvc", "checkout")
    assert ok(finished_copy, "git", "status", "--porcelain") == ""
    ok(finished_copy, "dvc", "exp", "apply", "logits")
    assert "loss_on: logits" in (finished_copy / "params.yaml").read_text()
    ok(finished_copy, "dvc", "exp", "branch", "logits", "try-logits")
    assert "try-logits" in ok(finished_copy, "git", "branch", "--list")


def test_experiment_moves_between_clones(committed, tmp_path):
    ok(tmp_path, "git", "init", "-q", "--bare", "remote.git")
    ok(committed, "git", "remote", "add", "team", str(tmp_path / "remote.git"))
    ok(committed, "dvc", "remote", "add", "-d", "store", str(tmp_path / "store"))
    ok(committed, "git", "commit", "-qam", "Where the data is shared")
    ok(committed, "dvc", "exp", "run", "--name", "logits", "-S", LOGITS)
    branch = ok(committed, "git", "branch", "--show-current").strip()
    ok(committed, "git", "push", "-q", "team", branch)
    ok(committed, "dvc", "exp", "push", "team", "logits")

    ok(tmp_path, "git", "clone", "-q", str(tmp_path / "remote.git"), "other", "-b", branch)
    other = tmp_path / "other"
    assert "logits" in ok(other, "dvc", "exp", "list", "--all-commits", "origin")
    ok(other, "dvc", "exp", "pull", "origin", "logits")
    ok(other, "dvc", "exp", "apply", "logits")
    assert (other / MODEL).read_bytes() == (committed / MODEL).read_bytes()
