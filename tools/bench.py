"""Time the pipeline against a floor without its work, and print a Markdown table.

    python -m tools.bench [--rounds N]

Every figure is a ratio of medians, with both sides measured in turn in the same run, so that a busy
machine slows both. The floor of the pipeline is DVC with six stages that do nothing but import what
the stages import; that of a training loop is the same loop written without functions, recording the
same numbers.
"""

import gc
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
from torch import Tensor, nn, optim

from stages import train_classifier, train_regression
from stages.core.optimizers import SGD, RMSprop
from stages.core.schema import TrainClassifierSection, TrainRegressionSection
from stages.shared.batches import Rows
from stages.shared.models import build_network, initialize
from stages.shared.run import Run
from tools import cli

PROJECT = Path(__file__).parents[1]
# What each stage needs from other packages.
PARAMS = "pydantic.main, ruamel.yaml"
TRAINING = f"{PARAMS}, numpy, safetensors.torch, torch, tqdm"
IMPORTS = {
    # pyarrow imports pandas when it converts arrays.
    "generate_data": f"{PARAMS}, pandas, pyarrow.compute, pyarrow.csv, pyarrow.parquet",
    "convert_to_tensors": f"{PARAMS}, pandas, pyarrow.compute, pyarrow.csv, pyarrow.parquet, "
    "safetensors.torch, torch",
    "train_regression": TRAINING,
    "train_classifier": TRAINING,
    "evaluate": f"{PARAMS}, matplotlib.backends.backend_agg, numpy, PIL.Image, "
    "safetensors.torch, torch",
    "report": f"{PARAMS}, jinja2, numpy, PIL.Image",
}

Times = list[float]
Loop = Callable[[], object]


def main() -> None:
    """Measure and print."""
    parser = cli.make_parser("bench", __doc__)
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (default: 5)")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # as a stage starts
    with tempfile.TemporaryDirectory() as folder:
        project, floor = Path(folder, "project"), Path(folder, "floor")
        project.mkdir()
        floor.mkdir()
        copy_project(project)
        make_floor(floor)

        def in_both(*command: str) -> list[Times]:
            return measure(
                rounds, lambda: execute(*command, cwd=project), lambda: execute(*command, cwd=floor)
            )

        rows = [
            row("`dvc repro -f`, all stages", in_both("dvc", "repro", "-f"), "1.25"),
            row("`dvc repro`, nothing changed", in_both("dvc", "repro"), "1.2"),
        ]
        for name, loops in (("regression", regression_loops), ("classifier", classifier_loops)):
            rows.append(row(f"training loop, {name}", measure(20 * rounds, *loops()), "1.02"))
    print("| what | here | floor | ratio | target |", "|---|---|---|---|---|", sep="\n")
    print(*rows, sep="\n")


def execute(*command: str, cwd: Path) -> None:
    """Run a command to its end, without its output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path}
    subprocess.run(command, cwd=cwd, env=environment, check=True, capture_output=True)


def measure(rounds: int, *functions: Loop) -> list[Times]:
    """Return the seconds of each function, called in turn, after one round of warm-up."""
    seconds: list[Times] = [[] for _ in functions]
    for number in range(rounds + 1):
        for function, times in zip(functions, seconds, strict=True):
            start = time.perf_counter()
            function()
            if number:
                times.append(time.perf_counter() - start)
    return seconds


def row(name: str, times: list[Times], target: str) -> str:
    """Return a row of the table: medians in milliseconds, and their ratio."""
    a, b = map(statistics.median, times)  # ours, the floor
    return f"| {name} | {a * 1000:.1f} ms | {b * 1000:.1f} ms | {a / b:.2f} | {target} |"


def copy_project(folder: Path) -> None:
    """Put a clean copy of the project's tracked files into `folder`, with a finished pipeline."""
    listed = subprocess.run(
        ("git", "ls-files"), cwd=PROJECT, check=True, capture_output=True, text=True
    )
    for name in listed.stdout.splitlines():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, folder / name)
    execute("git", "init", "-q", cwd=folder)
    execute("dvc", "repro", cwd=folder)


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
    execute("git", "init", "-q", cwd=folder)
    execute("dvc", "repro", cwd=folder)


def rows_of(X: Tensor, y: Tensor) -> Rows:
    """Return rows that are in one chunk."""
    return Rows(X, y, torch.float64, len(y))


def regression_loops() -> tuple[Loop, Loop]:
    """Return the stage's training of one weight, and the same loop without functions."""
    section = TrainRegressionSection(
        seed=0,
        initial_weight=0.1,
        bias=False,
        epochs=100,
        batch_size=None,
        chunk_rows=65536,
        loss_reduction="sum",
        dtype="float64",
        optimizer=SGD(name="SGD", lr=1e-4),
    )
    x = torch.linspace(0, 1, 1000, dtype=torch.float64)
    y, y_valid = 2 * x + 0.3 * torch.randn(2, 1000, dtype=torch.float64)

    def ours() -> object:
        weight = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
        run = Run("train_regression", section)
        return train_regression.fit(rows_of(x, y), rows_of(x, y_valid), weight, None, run)

    def flat() -> object:
        weight = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
        loss_function = nn.MSELoss(reduction="sum")
        optimizer = optim.SGD([weight], lr=1e-4)
        history = []
        for epoch in range(101):
            y_hat = x * weight
            loss = loss_function(y_hat, y)
            with torch.no_grad():
                valid_loss = loss_function(x * weight, y_valid)
            history.append((epoch, loss.item(), valid_loss.item(), weight.item()))
            if epoch == 100:
                return history
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        raise AssertionError

    return ours, flat


def classifier_loops() -> tuple[Loop, Loop]:
    """Return the stage's training of the network, and the same loop without functions."""
    section = TrainClassifierSection(
        seed=0,
        hidden=(10,),
        epochs=51,
        batch_size=None,
        chunk_rows=16384,
        loss_on="probabilities",
        class_weight="none",
        dtype="float64",
        snapshots=(0, 1, 2, 3, 4, 10, 50),
        optimizer=RMSprop(name="RMSprop", lr=1e-3),
    )
    y = torch.arange(2000) % 2
    X, X_valid = 0.2 + 0.6 * y[:, None] + 0.25 * torch.randn(2, 2000, 2, dtype=torch.float64)

    def new_network() -> nn.Sequential:
        network = build_network(n_features=2, hidden=[10], n_classes=2).double()
        initialize(network, torch.Generator().manual_seed(0))
        return network

    def ours() -> object:
        run = Run("train_classifier", section)
        return train_classifier.fit(rows_of(X, y), rows_of(X_valid, y), new_network(), run)

    def flat() -> object:
        network = new_network()
        first, norm, relu, last, softmax = network
        assert isinstance(norm, nn.BatchNorm1d)
        optimizer = optim.RMSprop(network.parameters(), lr=1e-3)
        loss_function = nn.CrossEntropyLoss()
        history = []
        for epoch in range(52):
            output = network(X)
            loss = loss_function(output, y)
            accuracy = (output.argmax(dim=1) == y).double().mean().item()
            with torch.no_grad():
                variance, mean = torch.var_mean(first(X), dim=0, correction=0)
                normal = nn.functional.batch_norm(
                    first(X_valid), mean, variance, norm.weight, norm.bias, eps=norm.eps
                )
                output = softmax(last(relu(normal)))
                valid_loss = loss_function(output, y).item()
                valid_accuracy = (output.argmax(dim=1) == y).double().mean().item()
            history.append((epoch, loss.item(), accuracy, valid_loss, valid_accuracy))
            if epoch == 51:
                return history
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        raise AssertionError

    return ours, flat


if __name__ == "__main__":
    cli.run(main)
