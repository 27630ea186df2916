import subprocess
import sys
from pathlib import Path


def test_pages_do_not_see_that_make_runs_the_tool(tmp_path):
    """GNU make prints `Entering directory` if another make runs it."""
    Path(tmp_path, "Makefile").write_text("target:\n\t@echo made\n")
    program = f"from tools.docs import shell; print(shell('make target', {str(tmp_path)!r}))"
    environment = {"PATH": "/usr/bin:/bin", "MAKELEVEL": "1", "MAKEFLAGS": "w"}
    printed = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    assert printed.strip() == "made"
