import pytest

from conftest import PROJECT, run
from stages.core.errors import UserError
from tools import compare, seeds

TOOLS = (
    "baselines",
    "bench",
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


@pytest.mark.parametrize("tool", [compare, seeds])
def test_pattern_that_is_none_is_rejected_before_any_work(tool):
    with pytest.raises(UserError, match=r"--only must be a regular expression; got 'a\(': missing"):
        tool.main(["--only", "a("])
