"""Time the pipeline against a floor without its work; print a Markdown table.

    python -m tools.bench [--rounds N]

Every figure is a ratio of medians, both sides measured in turn in this one run, so that a machine
that is busy slows both. The floor is DVC with six stages that do nothing but import what the
stages need.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import yaml
from torch import nn, optim

from stages.models import build_network, initialise
from stages.parameters import TrainClassifier, TrainRegression, read_parameters
from stages.progress import follow
from stages.tensors import load_tensors
from stages.train_classifier import train as train_classifier
from stages.train_regression import train as train_regression

PROJECT = Path(__file__).parents[1]
# What each stage needs; pyarrow brings pandas along where it converts arrays.
TRAINING = "numpy, pydantic.main, safetensors.torch, torch, tqdm, yaml"
IMPORTS = {
    "generate_data": "numpy, pandas, pyarrow.parquet, pydantic.main, yaml",
    "convert_to_tensors": "pandas, pyarrow.dataset, safetensors.torch, torch",
    "train_regression": TRAINING,
    "train_classifier": TRAINING,
    "evaluate": "matplotlib.backends.backend_agg, numpy, PIL.Image, pydantic.main, "
    "safetensors.torch, torch, yaml",
    "report": "PIL.Image, pydantic.main, yaml",
}


def run(*command: str, cwd: Path) -> None:
    """Run a command to its end without its output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path}
    subprocess.run(command, cwd=cwd, env=environment, check=True, capture_output=True)


def times(rounds: int, *functions: Callable[[], object]) -> list[list[float]]:
    """Return the seconds of each function, called in turn, after one round that does not count."""
    seconds = [[] for _ in functions]
    for number in range(rounds + 1):
        for function, measured in zip(functions, seconds, strict=True):
            start = time.perf_counter()
            function()
            if number:
                measured.append(time.perf_counter() - start)
    return seconds


def row(what: str, ours: list[float], floor: list[float], aim: str) -> str:
    """Return a row of the table: medians in milliseconds, and their ratio."""
    a, b = statistics.median(ours), statistics.median(floor)
    return f"| {what} | {a * 1000:.0f} ms | {b * 1000:.0f} ms | {a / b:.2f} | {aim} |"


def copy_project(folder: Path) -> None:
    """Put a clean copy of the project's tracked files into `folder`, with a finished pipeline."""
    listed = subprocess.run(
        ("git", "ls-files"), cwd=PROJECT, check=True, capture_output=True, text=True
    )
    for name in listed.stdout.splitlines():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, folder / name)
    run("git", "init", "-q", cwd=folder)
    run("dvc", "repro", cwd=folder)


def make_floor(folder: Path) -> None:
    """Put a finished pipeline of six stages into `folder` that import and do nothing."""
    stages = {
        stage: {"cmd": f"python -c 'import {names}'", "deps": ["input"]}
        for stage, names in IMPORTS.items()
    }
    (folder / "input").write_text("")
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    (folder / ".dvc").mkdir()
    shutil.copy(PROJECT / ".dvc/config", folder / ".dvc/config")
    run("git", "init", "-q", cwd=folder)
    run("dvc", "repro", cwd=folder)


def regression_loops() -> tuple[Callable[[], object], Callable[[], object]]:
    """Return the stage's training of the weight and the same loop written flat."""
    training = read_parameters(TrainRegression).train_regression
    tensors, _ = load_tensors("data/tensors/regression.safetensors", maker="convert_to_tensors")
    x, y = tensors["x_train"], tensors["y_train"]

    def ours() -> list:
        weight = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
        optimizer = optim.SGD([weight], lr=1e-4)
        rows = train_regression(x, y, weight, None, nn.MSELoss(reduction="sum"), optimizer, 100)
        return follow("train_regression", rows, training)

    def flat() -> list:
        weight = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
        loss_function = nn.MSELoss(reduction="sum")
        optimizer = optim.SGD([weight], lr=1e-4)
        history = []
        for _ in range(100):
            loss = loss_function(x * weight, y)
            history.append((loss.item(), weight.item()))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            history.append((loss_function(x * weight, y).item(), weight.item()))
        return history

    return ours, flat


def classifier_loops() -> tuple[Callable[[], object], Callable[[], object]]:
    """Return the stage's training of the network and the same loop written flat."""
    training = read_parameters(TrainClassifier).train_classifier
    tensors, _ = load_tensors("data/tensors/classification.safetensors", maker="convert_to_tensors")
    X, y = tensors["X_train"].double(), tensors["y_train"]

    def start() -> tuple[nn.Sequential, optim.Optimizer]:
        network = build_network(n_features=2, hidden=10, n_classes=2).double()
        initialise(network, torch.Generator().manual_seed(0))
        network[0].bias.requires_grad_(False)
        return network, optim.RMSprop(network.parameters(), lr=1e-3)

    def ours() -> list:
        network, optimizer = start()
        loss = nn.CrossEntropyLoss()
        rows = train_classifier(X, y, network, loss, optimizer, 51, training.snapshots)
        return follow("train_classifier", rows, training)

    def flat() -> list:
        network, optimizer = start()
        loss_function = nn.CrossEntropyLoss()
        history = []
        for _ in range(51):
            loss = loss_function(network(X), y)
            history.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            history.append(loss_function(network(X), y).item())
        return history

    return ours, flat


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (default: 5)")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        project, floor = Path(folder, "project"), Path(folder, "floor")
        project.mkdir()
        floor.mkdir()
        copy_project(project)
        make_floor(floor)

        def in_both(*command: str) -> list[list[float]]:
            return times(
                rounds, lambda: run(*command, cwd=project), lambda: run(*command, cwd=floor)
            )

        rows = [
            row("`dvc repro -f`, all stages", *in_both("dvc", "repro", "-f"), "1.25"),
            row("`dvc repro`, nothing changed", *in_both("dvc", "repro"), "1.1"),
        ]
        os.chdir(project)
        for what, loops in (("regression", regression_loops), ("classifier", classifier_loops)):
            rows.append(row(f"training loop, {what}", *times(10 * rounds, *loops()), "1"))
    print("| what | here | floor | ratio | aim, at most |", "|---|---|---|---|---|", sep="\n")
    print(*rows, sep="\n")


if __name__ == "__main__":
    main()
