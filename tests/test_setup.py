"""What a new user meets before the pipeline: the packages and make."""

import os
import re
import shutil
import sys
import tomllib
from importlib.metadata import distributions

import pytest
from packaging.requirements import Requirement

from conftest import PROJECT, run

TEXT = re.sub(r"^#.*$", "", (PROJECT / "requirements.lock").read_text(), flags=re.MULTILINE)
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
        normal(requirement.name): str(requirement.specifier)[2:]
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate()
    }
    installed = {
        normal(package.name): package.version.partition("+")[0] for package in distributions()
    }
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
    printed = [line for line in ended.stderr.splitlines() if not line.startswith("make")]
    assert printed == [
        f"Python 3.11 or newer is required, and {old} is older: "
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
    printed = [line for line in ended.stderr.splitlines() if not line.startswith("make")]
    assert printed == [
        "The packages could not be installed, which needs the network on the first run: "
        "connect and run make again, or read .venv/install.log."
    ]
    assert not (folder / ".venv/installed").exists()


@needs_make
def test_help_lists_every_target_a_user_runs(folder):
    printed = run("make", "help", cwd=folder).stdout.splitlines()
    targets = [line.split()[1] for line in printed]
    makefile = (PROJECT / "Makefile").read_text()
    assert targets == re.findall(r"^([a-z-]+):(?!=)", makefile, flags=re.MULTILINE)
    assert all(len(line.split()) > 3 for line in printed)


@needs_make
def test_installed_packages_are_not_installed_again(folder):
    (folder / ".venv").mkdir()
    (folder / ".venv/installed").touch()
    for target, commands in {
        "repro": ["dvc repro", "echo", "python -m tools.summary"],
        "test": ["python -m pytest --numprocesses=2 --dist=worksteal"],
        "lint": [
            "ruff check",
            "ruff format --check",
            "pyrefly check",
            "codespell",
            "python -m tools.parameters --check",
        ],
    }.items():
        (folder / target).mkdir()  # which make must not take for what it is to make
        assert run("make", "--dry-run", target, cwd=folder).stdout.splitlines() == commands


@needs_make
def test_packages_are_installed_again_when_the_lock_file_changes(folder):
    (folder / ".venv").mkdir()
    (folder / ".venv/installed").touch()
    os.utime(folder / ".venv/installed", (0, 0))
    printed = run("make", "--dry-run", "repro", cwd=folder).stdout
    assert "-m venv --clear .venv" in printed
    assert "--requirement requirements.lock" in printed
    assert "touch .venv/installed" in printed


def test_settings_of_dvc_and_git():
    config = (PROJECT / ".dvc/config").read_text()
    for line in ("analytics = false", "check_update = false", "autostage = true"):
        assert line in config
    ignored = run("git", "check-ignore", ".venv/x", "dvc_plots/x", cwd=PROJECT).stdout.split()
    assert ignored == [".venv/x", "dvc_plots/x"]
    tracked = run("git", "check-ignore", "metrics/a.csv", "dvc.lock", "params.yaml", cwd=PROJECT)
    assert tracked.stdout == ""
