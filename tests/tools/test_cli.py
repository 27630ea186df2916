import pytest

from conftest import PROJECT, run
from stages.core.errors import UserError
from tools import cli

TOOLS = (
    "baselines",
    "compare",
    "optimizers",
    "parameters",
    "plots_template",
    "predict",
    "seeds",
)


def test_mistake_is_one_sentence_and_exit_status_1():
    def main():
        raise UserError("Name another one.")

    with pytest.raises(SystemExit) as caught:
        cli.run(main)
    assert caught.value.code == "Name another one."


def test_bug_keeps_its_traceback():
    def main():
        raise KeyError("key")

    with pytest.raises(KeyError):
        cli.run(main)


@pytest.mark.parametrize("name", TOOLS)
def test_help_shows_the_docstring(name):
    done = run("python", "-m", f"tools.{name}", "--help", cwd=PROJECT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: python -m tools.{name} ")
    assert f"    python -m tools.{name}" in done.stdout
