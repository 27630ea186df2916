"""A fresh clone in a temporary folder, with DVC's and Git's own commands."""

import json

import yaml

from conftest import STAGES, run


def dvc(folder, *arguments):
    ended = run("dvc", *arguments, cwd=folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def status(folder):
    return run("git", "status", "--porcelain", cwd=folder).stdout


def test_clone_is_rebuilt_compared_and_restored(clone):
    first = dvc(clone, "repro")  # all that evaluate makes is in Git already
    assert [stage for stage in STAGES if f"Running stage '{stage}'" not in first] == ["evaluate"]
    assert status(clone) == ""
    forced = dvc(clone, "repro", "--force")
    assert [stage for stage in STAGES if f"Running stage '{stage}'" in forced] == STAGES
    assert status(clone) == ""

    again = dvc(clone, "repro")
    assert "Running stage" not in again
    assert "Data and pipelines are up to date." in again

    dvc(clone, "exp", "run", "--name", "sgd", "-S", "train_classifier.optimizer.name=SGD")
    changed = json.loads(dvc(clone, "metrics", "diff", "--json"))
    assert set(changed) == {"metrics/evaluate.json", "metrics/train_classifier.json"}
    accuracy = changed["metrics/evaluate.json"]["classifier.test.accuracy"]
    assert accuracy["new"] < accuracy["old"]
    parameters = json.loads(dvc(clone, "params", "diff", "--json"))
    assert parameters == {
        "params.yaml": {"train_classifier.optimizer.name": {"old": "RMSprop", "new": "SGD"}}
    }
    assert "sgd" in dvc(clone, "exp", "show", "--csv")

    back = dvc(clone, "exp", "run", "-S", "train_classifier.optimizer.name=RMSprop")
    assert "Running stage" not in back
    assert json.loads(dvc(clone, "metrics", "diff", "--json")) == {}


def test_data_of_an_experiment_moves_through_a_folder(clone, tmp_path):
    dvc(clone, "repro")
    dvc(clone, "remote", "add", "--local", "-d", "here", str(tmp_path / "remote"))
    dvc(clone, "push")
    model = clone / "data/models/classifier.safetensors"
    before = model.read_bytes()
    run("rm", "-rf", ".dvc/cache", "data", cwd=clone)
    run("git", "checkout", "data", cwd=clone)
    dvc(clone, "pull")
    assert model.read_bytes() == before
    assert "up to date" in dvc(clone, "status")


def test_failed_stage_says_one_sentence_and_keeps_the_rest(clone):
    dvc(clone, "repro")
    path = clone / "params.yaml"
    good = path.read_text()
    path.write_text(good.replace("name: RMSprop", "name: RMSprp"))
    ended = run("dvc", "repro", cwd=clone)
    assert ended.returncode != 0
    assert "Did you mean 'RMSprop'?" in ended.stderr
    assert "Traceback" not in ended.stderr
    path.write_text(good)
    assert "Running stage" not in dvc(clone, "repro")
    assert status(clone) == ""


def test_lock_file_knows_every_parameter(clone):
    locked = yaml.safe_load((clone / "dvc.lock").read_text())["stages"]
    assert locked["train_classifier"]["params"]["params.yaml"]["device"] == "cpu"
    assert set(locked) == set(STAGES)
