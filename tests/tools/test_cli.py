import pytest

from conftest import PROJECT, run

TOOLS = (
    "baselines",
    "compare",
    "optimizers",
    "parameters",
    "plots_template",
    "predict",
    "seeds",
)


@pytest.mark.parametrize("name", TOOLS)
def test_help_shows_the_docstring(name):
    done = run("python", "-m", f"tools.{name}", "--help", cwd=PROJECT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: python -m tools.{name} ")
    assert f"    python -m tools.{name}" in done.stdout
