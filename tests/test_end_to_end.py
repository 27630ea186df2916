"""A fresh clone in a temporary folder, with DVC's and Git's own commands."""

import json
import shutil

import pytest
import yaml

from conftest import change_params, run
from stages.core.schema import STAGES


def dvc(folder, *arguments):
    ended = run("dvc", *arguments, cwd=folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def status(folder):
    return run("git", "status", "--porcelain", cwd=folder).stdout


def test_clone_is_rebuilt_compared_and_restored(clone, monkeypatch):
    monkeypatch.chdir(clone)
    first = dvc(clone, "repro")  # what evaluate writes is in Git already
    pipeline = yaml.safe_load((clone / "dvc.yaml").read_text())["stages"]
    skipped = [stage for stage in STAGES if f"Running stage '{stage}'" not in first]
    assert skipped == [stage for stage in STAGES if "outs" not in pipeline[stage]]
    assert status(clone) == ""
    assert dvc(clone, "repro", "--force").count("Running stage") == len(STAGES)
    assert status(clone) == ""
    again = dvc(clone, "repro")
    assert "Running stage" not in again
    assert "Data and pipelines are up to date." in again

    params = yaml.safe_load((clone / "params.yaml").read_text())
    hidden = params["train_classifier"]["hidden"]
    dvc(clone, "exp", "run", "--name", "wide", "-S", f"train_classifier.hidden={[hidden[0] + 3]}")
    changed = json.loads(dvc(clone, "metrics", "diff", "--json"))
    assert set(changed) == {"metrics/evaluate.json", "metrics/train_classifier.json"}
    loss = changed["metrics/train_classifier.json"]["train_classifier.loss"]
    assert loss["new"] != loss["old"]
    changes = json.loads(dvc(clone, "params", "diff", "--json"))["params.yaml"]
    assert list(changes) == ["train_classifier.hidden"]
    assert changes["train_classifier.hidden"]["new"] == f"[{hidden[0] + 3}]"
    assert "wide" in dvc(clone, "exp", "show", "--csv")

    back = dvc(clone, "exp", "run", "-S", f"train_classifier.hidden={hidden}")
    assert "Running stage" not in back
    assert json.loads(dvc(clone, "metrics", "diff", "--json")) == {}


def test_failed_stage_keeps_the_rest_and_data_travels_through_a_folder(
    clone, tmp_path, monkeypatch
):
    monkeypatch.chdir(clone)
    dvc(clone, "repro")
    good = (clone / "params.yaml").read_text()
    change_params({"train_classifier.optimizer": {"name": "RMSprp", "lr": 0.1}})
    ended = run("dvc", "repro", cwd=clone)
    assert ended.returncode != 0
    assert "Did you mean 'RMSprop'?" in ended.stderr
    assert "Traceback" not in ended.stderr
    (clone / "params.yaml").write_text(good)
    assert "Running stage" not in dvc(clone, "repro")
    assert status(clone) == ""

    dvc(clone, "remote", "add", "--local", "-d", "here", str(tmp_path / "remote"))
    dvc(clone, "push")
    model = clone / "data/models/classifier.safetensors"
    before = model.read_bytes()
    run("rm", "-rf", ".dvc/cache", "data", cwd=clone)
    run("git", "checkout", "data", cwd=clone)
    dvc(clone, "pull")
    assert model.read_bytes() == before
    assert "up to date" in dvc(clone, "status")


@pytest.mark.skipif(not shutil.which("make"), reason="make is missing")
def test_make_restore_takes_back_parameters_results_and_models(clone, monkeypatch):
    monkeypatch.chdir(clone)
    (clone / ".venv").mkdir()
    (clone / ".venv/installed").touch()
    dvc(clone, "repro")
    model = clone / "data/models/regression.safetensors"
    before = model.read_bytes()
    change_params({"train_regression.epochs": 3})
    dvc(clone, "repro")
    assert model.read_bytes() != before
    ended = run("make", "restore", cwd=clone)
    assert ended.returncode == 0, ended.stderr
    assert model.read_bytes() == before
    assert status(clone) == ""
