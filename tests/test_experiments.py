"""The README's tour of experiments, with DVC's and Git's own commands, on small data."""

import json
import time

import pytest

from conftest import run

GRID = "train_classifier.optimizer.lr=1e-3,1e-2"


def ok(folder, *command):
    ended = run(*command, cwd=folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture
def committed(clone):
    """Return a clone with small data, run and committed."""
    path = clone / "params.yaml"
    text = path.read_text().replace("1000", "20").replace("epochs: 51", "epochs: 3")
    path.write_text(text.replace("[0, 1, 2, 3, 4, 10, 50]", "[0, 3]"))
    ok(clone, "dvc", "repro")
    ok(clone, "git", "commit", "-qam", "Small")
    return clone


def names(folder):
    return set(ok(folder, "dvc", "exp", "list", "--name-only").split())


def learning_rates(folder):
    shown = json.loads(ok(folder, "dvc", "exp", "show", "--json"))
    found = set()
    for experiment in shown[-1]["experiments"] or []:
        data = experiment["revs"][0]["data"]
        found.add(data["params"]["params.yaml"]["data"]["train_classifier"]["optimizer"]["lr"])
    return found


def test_grid_goes_through_the_queue_and_an_experiment_moves_between_clones(committed, tmp_path):
    ok(tmp_path, "git", "init", "-q", "--bare", "remote.git")
    ok(committed, "git", "remote", "add", "team", str(tmp_path / "remote.git"))
    ok(committed, "dvc", "remote", "add", "-d", "store", str(tmp_path / "store"))
    ok(committed, "git", "commit", "-qam", "Where the data is shared")
    ok(committed, "dvc", "exp", "run", "--queue", "-S", GRID)
    ok(committed, "dvc", "queue", "start", "-j", "2")
    for _ in range(600):
        if len(names(committed)) == 2 and "Running" not in ok(committed, "dvc", "queue", "status"):
            break
        time.sleep(0.5)
    assert learning_rates(committed) == {0.001, 0.01}
    assert ok(committed, "git", "status", "--porcelain") == ""

    ok(committed, "dvc", "exp", "run", "--name", "logits", "-S", "train_classifier.loss_on=logits")
    changed = json.loads(ok(committed, "dvc", "exp", "diff", "HEAD", "logits", "--json"))
    assert "metrics/train_classifier.json" in changed["metrics"]
    ok(committed, "git", "checkout", "HEAD", "--", "params.yaml", "dvc.lock", "metrics")
    ok(committed, "dvc", "checkout")
    ok(committed, "dvc", "exp", "apply", "logits")
    assert "loss_on: logits" in (committed / "params.yaml").read_text()
    ok(committed, "git", "checkout", "HEAD", "--", "params.yaml", "dvc.lock", "metrics")
    ok(committed, "dvc", "exp", "branch", "logits", "try-logits")
    assert "try-logits" in ok(committed, "git", "branch", "--list")

    branch = ok(committed, "git", "branch", "--show-current").strip()
    ok(committed, "git", "push", "-q", "team", branch)
    ok(committed, "dvc", "exp", "push", "team", "logits")

    ok(tmp_path, "git", "clone", "-q", str(tmp_path / "remote.git"), "other", "-b", branch)
    other = tmp_path / "other"
    assert "logits" in ok(other, "dvc", "exp", "list", "--all-commits", "origin")
    ok(other, "dvc", "exp", "pull", "origin", "logits")
    ok(other, "dvc", "exp", "apply", "logits")
    model = "data/models/classifier.safetensors"
    ok(committed, "dvc", "exp", "apply", "logits")
    assert (other / model).read_bytes() == (committed / model).read_bytes()
