"""The environment of the peers, .venv/bench, and a process in it."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

from stages.core.errors import UserError
from tools.bench.copies import PROJECT
from tools.bench.measuring import Timed, program_environment

ENVIRONMENT = PROJECT / ".venv/bench"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
SCRIPT = Path(__file__).with_name("peers.py")


def find_peers(folder: Path = ENVIRONMENT) -> Path | None:
    """Return the Python of the peers' environment, made if it is missing or older than its list.

    None, after one sentence on standard error, if it cannot be made.
    """
    python, done = folder / "bin/python", folder / "installed"
    if done.is_file() and done.stat().st_mtime >= REQUIREMENTS.stat().st_mtime:
        return python
    print(f"bench: installing the packages of {REQUIREMENTS.name} into {folder}", file=sys.stderr)
    try:
        install = (str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
        for command in (
            (sys.executable, "-m", "venv", "--clear", str(folder)),
            (*install, "--requirement", str(REQUIREMENTS)),
        ):
            subprocess.run(command, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        reason = error.stderr.strip().rpartition("\n")[2]
        print(
            "bench: Lightning, skorch and scikit-learn are left out, since their packages could "
            f"not be installed: {reason}",
            file=sys.stderr,
        )
        return None
    done.touch()
    return python


class Peers:
    """A process in the peers' environment that trains when it is told to."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        """Wait until its imports are done."""
        self.process = process
        self.read()

    def read(self) -> str:
        """Return the next line that it prints. Raises UserError if it has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise UserError(
                "The process of Lightning, skorch and scikit-learn must not end early; its error "
                "is above. `rm -r .venv/bench` makes the next run install them anew."
            )
        return line

    def way(self, **order: Any) -> Timed:
        """Return a function that trains as ordered and returns the seconds it took."""

        def call() -> float:
            assert self.process.stdin is not None
            print(json.dumps(order), file=self.process.stdin, flush=True)
            return float(self.read())

        return call


@contextlib.contextmanager
def start_peers(python: Path) -> Generator[Peers, None, None]:
    """Run the peers' script for the block."""
    with subprocess.Popen(
        (python, SCRIPT),
        env=program_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Peers(process)
        finally:
            process.kill()
