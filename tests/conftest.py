"""What the tests share: the article's parameters, small pipelines, clones, and a browser.

No test depends on the values in the project's params.yaml, so that all pass in a fork with other
values; the one exception is test_article.py.
"""

import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import settings

# Threads that outnumber the cores slow the tests down; set before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from stages.core.params import read_params, to_tuples
from stages.core.schema import STAGES
from stages.shared.metadata import FeatureColumn

# The same examples in every run, however slow the machine.
settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")

PROJECT = Path(__file__).parents[1]

ARTICLE: dict[str, Any] = {
    "device": "cpu",
    "launcher": "python",
    "timeout": 600,
    "checkpoint_every": 60,
    "generate_data": {
        "seed": 0,
        "regression": {
            "n_samples": 1000,
            "n_valid": 1000,
            "n_test": 1000,
            "weight": 2.0,
            "noise_std": 0.3,
        },
        "classification": {
            "n_samples_per_class": 1000,
            "n_valid_per_class": 1000,
            "n_test_per_class": 1000,
            "centers": [[0.2, 0.2], [0.8, 0.8]],
            "std": 0.25,
        },
    },
    "convert_to_tensors": {
        "regression": {
            "table": "data/raw/regression.parquet",
            "target": "y",
            "features": "all",
            "missing": "refuse",
            "split": "random",
            "valid_fraction": 0.2,
            "test_fraction": 0.2,
            "seed": 0,
            "standardize": False,
        },
        "classification": {
            "table": "data/raw/classification.parquet",
            "target": "label",
            "features": "all",
            "missing": "refuse",
            "split": "random",
            "valid_fraction": 0.2,
            "test_fraction": 0.2,
            "seed": 0,
            "standardize": False,
        },
    },
    "train_regression": {
        "seed": 0,
        "initial_weight": 0.1,
        "bias": False,
        "epochs": 100,
        "batch_size": None,
        "chunk_rows": 65536,
        "loss_reduction": "sum",
        "dtype": "float64",
        "optimizer": {"name": "SGD", "lr": 1e-4},
    },
    "train_classifier": {
        "seed": 0,
        "hidden": [10],
        "epochs": 51,
        "batch_size": None,
        "chunk_rows": 16384,
        "loss_on": "probabilities",
        "class_weight": "none",
        "dtype": "float64",
        "snapshots": [0, 1, 2, 3, 4, 10, 50],
        "optimizer": {"name": "RMSprop", "lr": 1e-3},
    },
}
# Eight rows of each part, five epochs.
SMALL: dict[str, Any] = {
    "generate_data.regression.n_samples": 8,
    "generate_data.regression.n_valid": 8,
    "generate_data.regression.n_test": 8,
    "generate_data.classification.n_samples_per_class": 4,
    "generate_data.classification.n_valid_per_class": 4,
    "generate_data.classification.n_test_per_class": 4,
    "train_regression.epochs": 5,
    "train_classifier.epochs": 5,
    "train_classifier.snapshots": [0, 2, 5],
}

Change = Callable[[Mapping[str, Any]], None]


def write_params(content: Mapping[str, Any]) -> None:
    """Write params.yaml in the working folder."""
    Path("params.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def change_params(changes: Mapping[str, Any]) -> None:
    """Set values in the working folder's params.yaml; keys are joined by dots."""
    content = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    for key, value in changes.items():
        set_key(content, key, value)
    write_params(content)


def set_key(content: dict[str, Any], key: str, value: object) -> None:
    """Set a value in nested sections; the parts of the key are joined by dots."""
    *parents, last = key.split(".")
    for parent in parents:
        content = content[parent]
    content[last] = value


def params_of(stage: str, changes: Mapping[str, Any] | None = None) -> Any:
    """Return the validated section of a stage: the article's values with some changes."""
    content = to_tuples(ARTICLE)
    for key, value in (changes or {}).items():
        set_key(content, f"{stage}.{key}", to_tuples(value))
    return getattr(STAGES[stage].model_validate(content), stage)


def feature_columns(*names: str) -> tuple[FeatureColumn, ...]:
    """Return columns of numbers, as Metadata holds them."""
    return tuple(FeatureColumn(name=name) for name in names)


def call_stage(name: str) -> None:
    """Run a stage inside this process, in the working folder."""
    importlib.import_module(f"stages.{name}").main(read_params(STAGES[name]))


# What a shell or a `make` around the tests may set and a user's shell does not.
STRAY = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "OPENBLAS_CORETYPE", "PYTHONPATH"}


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment with `variables` and without STRAY."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in STRAY and not name.startswith(("GIT_", "COV_", "PYTEST_"))
    }
    kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return kept | variables


def run(
    *command: str | Path, cwd: Path, stdin: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return it with its output as text."""
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment(**variables),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def run_stage(name: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a stage as dvc.yaml does, as a process of its own; `cwd` needs a link to stages/."""
    return run(sys.executable, "-m", "stages", name, cwd=cwd, **variables)


@pytest.fixture
def article(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Change:
    """Work in an empty folder with the article's params.yaml; return how to change it."""
    monkeypatch.chdir(tmp_path)
    write_params(ARTICLE)
    return change_params


@pytest.fixture
def small(article: Change) -> Change:
    """Work in an empty folder with parameters for eight rows; return how to change them."""
    article(SMALL)
    return article


@pytest.fixture(scope="session")
def finished_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder where all stages have run on eight rows; not to be written to."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_params(ARTICLE)
        change_params(SMALL)
        for stage in STAGES:
            call_stage(stage)
    return folder


@pytest.fixture
def finished(small: Change, finished_folder: Path, tmp_path: Path) -> Change:
    """Work in a folder where all stages have run on eight rows; return how to change params."""
    for name in ("data", "metrics"):
        shutil.copytree(finished_folder / name, tmp_path / name)
    return small


def collect_figures(patch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Collect what is to be drawn, by the name of its module, instead of drawing it."""
    collected: dict[str, Any] = {}

    def collector(name: str) -> Callable[[str, object], None]:
        return lambda _, data: collected.update({name: data})

    for name in ("regression", "classifier"):
        patch.setattr(f"stages.figures.{name}.draw", collector(name))
    return collected


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Draw nothing; return what was to be drawn."""
    return collect_figures(monkeypatch)


@pytest.fixture(scope="session")
def clone_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clone of the project as it stands, with one commit; not to be written to."""
    folder = tmp_path_factory.mktemp("clone") / "clone"
    listed = run("git", "ls-files", "-z", "-co", "--exclude-standard", cwd=PROJECT).stdout
    for name in filter(None, listed.split("\0")):
        if (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, folder / name)
    for command in (
        ("init", "-q"),
        ("config", "user.name", "test"),
        ("config", "user.email", "test@example.org"),
        ("config", "commit.gpgsign", "false"),
        ("add", "-A"),
        ("commit", "-q", "-m", "As it stands"),
    ):
        done = run("git", *command, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def clone(clone_folder: Path, tmp_path: Path) -> Path:
    """Return a fresh clone of the project as it stands, with an empty DVC cache."""
    return Path(shutil.copytree(clone_folder, tmp_path / "clone", symlinks=True))


# As Debian, Ubuntu, Fedora and macOS name it; playwright's own download is not needed.
CHROMIUM = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Return the system's Chromium, as playwright's Browser, or skip the test."""
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        pytest.skip("Chromium is missing: apt-get install chromium")
    from playwright.sync_api import sync_playwright  # slow, and seldom needed

    flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Return how to open an HTML file with the network cut off.

    It returns playwright's Page and a list of problems: every request that would leave the disk,
    and every error of a script.
    """
    contexts = []

    def open_file(path: Path, width: int = 1280, height: int = 800) -> tuple[Any, list[str]]:
        contexts.append(browser.new_context(viewport={"width": width, "height": height}))
        page, problems = contexts[-1].new_page(), []
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("websocket", lambda socket: problems.append(f"request: {socket.url}"))

        def refuse(route: Any) -> None:
            problems.append(f"request: {route.request.url}")
            route.abort()

        contexts[-1].route(re.compile("^(?!file:|data:|blob:)"), refuse)
        page.goto(path.as_uri())
        return page, problems

    yield open_file
    for context in contexts:
        context.close()
