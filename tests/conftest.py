"""What the tests share: the project's files, a small pipeline to run, and stages as processes."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import settings

# The same examples in every run, however slow the machine.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")

PROJECT = Path(__file__).parents[1]
STAGES = list(yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"])


# What a shell or a `make` around the tests may set, and a user's does not.
STRAY = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "OPENBLAS_CORETYPE", "PYTHONPATH"}


def environment(**variables):
    """Return this process's environment with `variables` and without STRAY."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in STRAY and not name.startswith("GIT_")
    }
    kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return kept | variables


def run(*command, cwd, stdin="", **variables):
    """Run a command and return it finished, with its output as text."""
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment(**variables),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def run_stage(name, cwd, **variables):
    """Run a stage as dvc.yaml does, as a process of its own."""
    return run(sys.executable, "-m", f"stages.{name}", cwd=cwd, **variables)


def call_main(name):
    """Run a stage inside this process."""
    importlib.import_module(f"stages.{name}").main()


@pytest.fixture
def edit(monkeypatch, tmp_path):
    """Work in a temporary folder with the project's params.yaml; return how to edit it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((PROJECT / "params.yaml").read_text())

    def replace(*changes):
        text = Path("params.yaml").read_text()
        for old, new in changes:
            assert text.count(old) >= 1, old
            text = text.replace(old, new)
        Path("params.yaml").write_text(text)

    return replace


@pytest.fixture
def small(edit):
    """Work in a temporary folder with parameters for eight rows of each data set."""
    edit(
        ("n_samples: 1000", "n_samples: 8"),
        ("n_test: 1000", "n_test: 8"),
        ("n_samples_per_class: 1000", "n_samples_per_class: 4"),
        ("n_test_per_class: 1000", "n_test_per_class: 4"),
        ("epochs: 100", "epochs: 5"),
        ("epochs: 51", "epochs: 5"),
        ("[0, 1, 2, 3, 4, 10, 50]", "[0, 2, 5]"),
    )
    return edit


@pytest.fixture
def finished(small):
    """Work in a temporary folder where all stages have run on eight rows."""
    for stage in STAGES:
        call_main(stage)
    return small


@pytest.fixture
def drawn(monkeypatch):
    """Collect the figures by path instead of writing them."""
    from stages import figures  # slow, and seldom needed

    collected = {}
    monkeypatch.setattr(figures, "save", lambda figure, path: collected.update({path: figure}))
    return collected


@pytest.fixture
def clone(tmp_path):
    """Return a fresh clone of the project as it stands, with one commit and an empty cache."""
    folder = tmp_path / "clone"
    listed = run("git", "ls-files", "-z", "-co", "--exclude-standard", cwd=PROJECT).stdout
    for name in filter(None, listed.split("\0")):
        if (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, folder / name)
    git = ("git", "-c", "user.name=test", "-c", "user.email=test@example.org")
    git += ("-c", "commit.gpgsign=false")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "As it stands"]):
        done = run(*git, *command, cwd=folder)
        assert done.returncode == 0, done.stderr
    run("git", "config", "user.name", "test", cwd=folder)
    run("git", "config", "user.email", "test@example.org", cwd=folder)
    return folder


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
def browser():
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
def open_page(browser):
    """Return how to open an HTML file; the network is cut off, and what asks for it is noted.

    It returns playwright's Page and a list of troubles: every request that left the disk, and every
    error of a script. What a screen reader is told: `page.locator("body").aria_snapshot()`.
    """
    contexts = []

    def open_file(path, width=1280, height=800):
        contexts.append(browser.new_context(viewport={"width": width, "height": height}))
        page, troubles = contexts[-1].new_page(), []
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.on("websocket", lambda socket: troubles.append(f"request: {socket.url}"))

        def refuse(route):
            troubles.append(f"request: {route.request.url}")
            route.abort()

        contexts[-1].route(re.compile("^(?!file:|data:|blob:)"), refuse)
        page.goto(path.as_uri())
        return page, troubles

    yield open_file
    for context in contexts:
        context.close()
