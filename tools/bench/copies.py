"""Copies of the project in temporary folders, of any size, that the benchmark may change."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tools.bench.measuring import run

PROJECT = Path(__file__).parents[2]
# The simulated tables, whatever table the project's own parameters name.
SIMULATED = {
    f"convert_to_tensors.{task}.{key}": value
    for task, target in (("regression", "y"), ("classification", "label"))
    for key, value in (
        ("table", f"data/raw/{task}.parquet"),
        ("target", target),
        ("features", "all"),
        ("standardize", False),
    )
} | {
    "device": "cpu",
    "train_regression.bias": False,
    "train_regression.initial_weight": 0.1,
    "train_classifier.hidden": [10],
    "train_classifier.class_weight": "none",
    "train_classifier.snapshots": [0],
}


def copy_project(folder: Path) -> None:
    """Put a clean copy of the project's files into `folder`, with a finished pipeline."""
    listed = subprocess.run(
        ("git", "ls-files", "-co", "--exclude-standard"),
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in listed.stdout.splitlines():
        if (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, folder / name)
    run("git", "init", "-q", cwd=folder)
    run("dvc", "repro", cwd=folder)


def make_floor(folder: Path, imports: Mapping[str, str]) -> None:
    """Put a finished pipeline into `folder`, whose stages import packages and do nothing."""
    stages = {
        stage: {"cmd": f"python -c 'import {names}'", "deps": ["input"]}
        for stage, names in imports.items()
    }
    (folder / ".dvc").mkdir(parents=True)
    (folder / "input").write_text("")
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    shutil.copy(PROJECT / ".dvc/config", folder / ".dvc/config")
    run("git", "init", "-q", cwd=folder)
    run("dvc", "repro", cwd=folder)


def sized_copy(folder: Path, regression: int, classification: int, share: float) -> None:
    """Put the stages and parameters for so many training rows into `folder`, without data.

    The validation and the test part have `share` of the training rows, the classes half each.
    """
    if folder.exists():
        return
    folder.mkdir(parents=True)
    for code in ("stages", "tools"):
        (folder / code).symlink_to(PROJECT / code)
    shutil.copy(PROJECT / "params.yaml", folder)
    sizes: dict[str, Any] = {
        "generate_data.classification.centers": [[0.2, 0.2], [0.8, 0.8]],
    }
    for task, suffix, rows in (
        ("regression", "", regression),
        ("classification", "_per_class", classification // 2),
    ):
        other = max(int(rows * share), 10)
        sizes |= {
            f"generate_data.{task}.n_samples{suffix}": rows,
            f"generate_data.{task}.n_valid{suffix}": other,
            f"generate_data.{task}.n_test{suffix}": other,
        }
    set_params(folder, SIMULATED | sizes)


def set_params(folder: Path, changes: Mapping[str, Any]) -> None:
    """Set values in params.yaml of a copy; the parts of a key are joined by dots."""
    path = folder / "params.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    for key, value in changes.items():
        *parents, last = key.split(".")
        section = content
        for parent in parents:
            section = section[parent]
        section[last] = value
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def make_data(folder: Path) -> None:
    """Simulate the tables of a copy and convert them to tensors, unless that is done."""
    if not (folder / "data/tensors/classification.safetensors").exists():
        for stage in ("generate_data", "convert_to_tensors"):
            run("python", "-m", "stages", stage, cwd=folder)
