"""What a new user meets before the pipeline: the packages, make, and the README."""

import csv
import json
import os
import re
import shutil
import sys
import tomllib
from importlib.metadata import distributions

import pytest
import yaml
from packaging.requirements import Requirement

from conftest import PROJECT, run

TEXT = re.sub(r"^#.*$", "", (PROJECT / "requirements.lock").read_text(), flags=re.M)
LOCK = [line.partition(";")[0].strip() for line in filter(None, TEXT.splitlines())]
CUDA = re.compile(r"(nvidia|cuda|triton)")


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_lock_pins_every_package_exactly():
    for line in LOCK:
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*==[0-9a-z.]+", line), line
    assert "torch==2.13.0" in LOCK
    assert not [line for line in LOCK if CUDA.match(line)]


def test_lock_holds_what_is_installed():
    requirements = map(Requirement, filter(None, TEXT.splitlines()))
    locked = {
        normal(each.name): str(each.specifier)[2:]
        for each in requirements
        if each.marker is None or each.marker.evaluate()
    }
    installed = {normal(each.name): each.version.partition("+")[0] for each in distributions()}
    for name, version in installed.items():
        if name not in {"pip", "setuptools", "wheel"} and not CUDA.match(name):
            assert locked.get(name) == version, name


def test_lock_holds_every_dependency():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    locked = {line.partition("==")[0] for line in LOCK}
    assert {normal(re.split(r"[<>=]", requirement)[0]) for requirement in wanted} <= locked


@pytest.fixture
def folder(tmp_path):
    for name in ("Makefile", "requirements.lock"):
        shutil.copy(PROJECT / name, tmp_path)
    return tmp_path


needs_make = pytest.mark.skipif(not shutil.which("make"), reason="make is missing")


@needs_make
def test_old_python_gets_one_sentence(folder):
    old = folder / "python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    ended = run("make", "repro", f"PYTHON={old}", cwd=folder)
    assert ended.returncode != 0
    said = [line for line in ended.stderr.splitlines() if not line.startswith("make")]
    assert said == [
        f"Python 3.11 or newer is needed, and {old} is not: "
        "name another one, as in `make repro PYTHON=python3.12`."
    ]
    assert not (folder / ".venv").exists()


@needs_make
def test_no_network_gets_one_sentence(folder):
    (folder / "requirements.lock").write_text("no-such-package==1.0\n")
    offline = {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_FIND_LINKS": "",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_RETRIES": "0",
    }
    ended = run("make", "repro", f"PYTHON={sys.executable}", cwd=folder, **offline)
    assert ended.returncode != 0
    said = [line for line in ended.stderr.splitlines() if not line.startswith("make")]
    assert said == [
        "The packages could not be installed, which needs the network on the first run: "
        "connect and run make again, or read .venv/install.log."
    ]
    assert not (folder / ".venv/installed").exists()


@needs_make
def test_installed_packages_are_not_installed_again(folder):
    (folder / ".venv").mkdir()
    (folder / ".venv/installed").touch()
    for target, commands in {
        "repro": ["dvc repro", "dvc metrics show"],
        "test": ["python -m pytest"],
        "lint": ["ruff check", "ruff format --check"],
    }.items():
        (folder / target).mkdir()  # which make must not take for what it is to make
        assert run("make", "--dry-run", target, cwd=folder).stdout.splitlines() == commands


@needs_make
def test_packages_are_installed_again_when_the_lock_file_changes(folder):
    (folder / ".venv").mkdir()
    (folder / ".venv/installed").touch()
    os.utime(folder / ".venv/installed", (0, 0))
    said = run("make", "--dry-run", "repro", cwd=folder).stdout
    assert "-m venv --clear .venv" in said
    assert "--requirement requirements.lock" in said
    assert "touch .venv/installed" in said


def test_settings_of_dvc_and_git():
    config = (PROJECT / ".dvc/config").read_text()
    for line in ("analytics = false", "check_update = false", "autostage = true"):
        assert line in config
    ignored = run("git", "check-ignore", ".venv/x", "dvc_plots/x", cwd=PROJECT).stdout.split()
    assert ignored == [".venv/x", "dvc_plots/x"]
    tracked = run("git", "check-ignore", "metrics/a.csv", "dvc.lock", "params.yaml", cwd=PROJECT)
    assert tracked.stdout == ""


README = (PROJECT / "README.md").read_text()


def test_readme_shows_every_parameter_with_its_default():
    content = yaml.safe_load((PROJECT / "params.yaml").read_text())
    table = README.partition("## Parameters")[2].partition("\n## ")[0]
    for section in ("train_regression", "train_classifier"):
        for key, value in content[section].items():
            if key != "optimizer":
                plain = isinstance(value, int | float) and not isinstance(value, bool)
                shown = value if plain else f"`{json.dumps(value)}`".replace('"', "")
                assert f"| `{section}.{key}` | {shown} |" in table
    for part in ("regression", "classification"):
        for key in content["generate_data"][part]:
            assert re.search(rf"`(generate_data\.{part})?\.{key}`", table), key


def test_readme_lists_every_module():
    listed = set(re.findall(r"^(stages/\w+\.py) ", README, flags=re.M))
    assert listed == {f"stages/{path.name}" for path in (PROJECT / "stages").glob("*.py")}
    listed = set(re.findall(r"^(tools/\w+\.py) ", README, flags=re.M))
    assert listed == {f"tools/{path.name}" for path in (PROJECT / "tools").glob("*.py")}


def test_readme_shows_the_committed_numbers():
    metrics = json.loads((PROJECT / "metrics/evaluate.json").read_text())
    table = README.partition("## What the article says")[2].partition("\n## ")[0]
    regression, classifier = metrics["regression"], metrics["classifier"]
    for number in (
        regression["weight"],
        regression["least_squares_weight"],
        regression["test"]["mse"],
        regression["test"]["r2"],
        classifier["bayes_accuracy"],
        classifier["test"]["accuracy"],
        classifier["train"]["accuracy"],
        classifier["test"]["cross_entropy"],
        classifier["bayes_cross_entropy"],
        regression["noise_r2"],
    ):
        assert str(number) in table


def test_readme_shows_the_committed_table_of_optimizers():
    with open(PROJECT / "metrics/optimizers.csv", newline="") as file:
        for row in csv.reader(file):
            cells = [cell.removesuffix(".0") or "-" for cell in row]
            assert f"| {' | '.join(cells)} |\n" in README


def test_readme_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(targets) > 5
    for target in targets:
        assert (PROJECT / target).is_file(), target
