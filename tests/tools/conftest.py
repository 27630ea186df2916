"""A tiny DVC project, for the tools that read and make results."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import environment, run
from tools import results

PIPELINE: dict[str, Any] = {
    "stages": {
        "train_classifier": {
            "cmd": "python stages/train.py",
            "deps": ["stages/train.py", "${table}"],
            "params": ["train_classifier"],
            "metrics": [{"metrics/evaluate.json": {"cache": False}}],
            "plots": [{"metrics/train_classifier.csv": {"cache": False}}],
        }
    }
}
PARAMETERS: dict[str, Any] = {
    "table": "data/external/mine.csv",
    "train_classifier": {
        "seed": 0,
        "epochs": 3,
        "loss_on": "probabilities",
        "snapshots": [0, 3],
        "optimizer": {"name": "SGD", "lr": 0.125, "momentum": 0.5},
    },
}
# Accuracy rises by lr with every epoch; the test accuracy and the loss depend on the seed.
STAGE = """
import json, os, yaml
with open("params.yaml") as file:
    section = yaml.safe_load(file)["train_classifier"]
os.makedirs("metrics", exist_ok=True)
with open("metrics/train_classifier.csv", "w") as file:
    print("epoch,loss,accuracy", file=file)
    for epoch in range(section["epochs"] + 1):
        print(epoch, 2 - epoch / 4, 0.5 + section["optimizer"]["lr"] * epoch, sep=",", file=file)
floor = 0.25 if section["loss_on"] == "probabilities" else 0.0
classifier = {"loss_floor": floor, "bayes_accuracy": 0.75}
classifier["test"] = {"accuracy": 0.5 + section["seed"] / 8, "cross_entropy": 1 / 3}
with open("metrics/evaluate.json", "w") as file:
    json.dump({"classifier": classifier}, file)
"""


def git(folder: Path, *arguments: str, **variables: str) -> str:
    """Run a Git command and return what it prints."""
    done = run("git", *arguments, cwd=folder, **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def write_project(folder: Path) -> None:
    """Write the tiny project, without results."""
    for name, text in {
        ".dvc/config": "[core]\n    analytics = false\n",
        ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
        "data/external/mine.csv": "x,t\n1,a\n",
        "dvc.yaml": yaml.safe_dump(PIPELINE),
        "params.yaml": yaml.safe_dump(PARAMETERS),
        "stages/train.py": STAGE,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def init(folder: Path) -> None:
    """Make a folder a Git repository."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q")
    git(folder, "config", "user.name", "test")
    git(folder, "config", "user.email", "test@example.org")


class Project:
    """A DVC project in a Git repository, whose results are written by hand."""

    def __init__(self, folder: Path) -> None:
        """Write the project."""
        self.folder = folder
        write_project(folder)

    def write(self, name: str, content: Any) -> None:
        """Write a file; anything but text as JSON, which is YAML, too."""
        text = content if isinstance(content, str) else json.dumps(content)
        (self.folder / name).parent.mkdir(exist_ok=True)
        (self.folder / name).write_text(text)

    def lock(self, md5: str, path: str = "data/external/mine.csv") -> None:
        """Write dvc.lock, which says that a table with this checksum, of 3 letters, was read."""
        stage = {"cmd": "python stages/train.py", "deps": [{"path": path, "md5": md5}]}
        self.write("dvc.lock", {"schema": "2.0", "stages": {"train_classifier": stage}})

    def result(self, loss: float, seed: float = 0, lr: float = 1.0) -> None:
        """Write parameters and metrics."""
        self.write("params.yaml", {"table": PARAMETERS["table"], "seed": seed, "lr": lr})
        self.write("metrics/evaluate.json", {"a": {"loss": loss, "n": 3, "many": [loss]}})

    def git(self, *arguments: str) -> str:
        """Run a Git command and return what it prints."""
        return git(self.folder, *arguments)

    def commit(self, experiment: str | None = None, **variables: str) -> str:
        """Commit everything and return the commit; it may be an experiment, too."""
        self.git("add", "-A")
        git(self.folder, "commit", "-q", "--allow-empty", "-m", "Result", **variables)
        commit = self.git("rev-parse", "HEAD")
        if experiment:  # DVC names experiments by the commit that they start from; here, by itself
            self.git("update-ref", f"refs/exps/{commit[:2]}/{commit[2:]}/{experiment}", commit)
        return commit

    def commit_result(self, experiment: str | None, loss: float, **parameters: float) -> str:
        """Write and commit a result."""
        self.result(loss, **parameters)
        return self.commit(experiment)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let Git and DVC in this process see the environment that `run` gives to others."""
    set_environment(monkeypatch)
    return monkeypatch


def set_environment(patch: pytest.MonkeyPatch) -> None:
    """Set PATH, and unset what a Git hook around the tests sets."""
    for name in os.environ.keys() - environment().keys():
        patch.delenv(name)
    patch.setenv("PATH", environment()["PATH"])
    patch.setenv("LC_ALL", "C.UTF-8")  # Git's words in English


@pytest.fixture
def new_project(here: pytest.MonkeyPatch) -> Callable[[Path], Project]:
    """Return how to work in a new project of its own Git repository, without commits."""

    def make(folder: Path) -> Project:
        init(folder)
        here.chdir(folder)
        return Project(folder)

    return make


@pytest.fixture
def project(tmp_path: Path, new_project: Callable[[Path], Project]) -> Project:
    """Work in a project of its own Git repository, without commits."""
    return new_project(tmp_path)


@pytest.fixture
def subfolder(tmp_path: Path, here: pytest.MonkeyPatch) -> Project:
    """Work in a project in a subfolder of a larger Git repository, without commits."""
    init(tmp_path)
    (tmp_path / "project").mkdir()
    here.chdir(tmp_path / "project")
    return Project(tmp_path / "project")


@pytest.fixture(scope="session")
def finished_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project that DVC has run, with one more seed, 2; not to be written to."""
    folder = tmp_path_factory.mktemp("finished_project")
    init(folder)
    write_project(folder)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "Project")
    with pytest.MonkeyPatch.context() as patch:
        set_environment(patch)
        patch.chdir(folder)
        results.run_dvc("repro")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", "Results")
        results.run_dvc("exp", "run", "--temp", "-S", "train_classifier.seed=2")
    return folder


@pytest.fixture
def finished_copy(finished_project: Path, tmp_path: Path, here: pytest.MonkeyPatch) -> Path:
    """Work in a copy of the project that DVC has run."""
    folder = tmp_path / "finished"
    shutil.copytree(finished_project, folder, symlinks=True)
    here.chdir(folder)
    return folder
