"""python -m stages: one way in, fast to answer a mistake."""

import gc
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from conftest import PROJECT, Change, run_stage
from stages import __main__ as runner
from stages.core.errors import UserError
from stages.core.schema import STAGES

NAMES = ", ".join(STAGES)


def error_of(*arguments: str) -> str:
    with pytest.raises(UserError) as error:
        runner.main(arguments)
    return str(error.value)


@pytest.mark.parametrize("argument", ["-h", "--help"])
def test_help_names_every_stage(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    runner.main([argument])
    output = capsys.readouterr().out
    assert output.startswith("Run one stage of the pipeline: python -m stages STAGE\n")
    assert set(STAGES) <= set(output.split())


def test_unknown_stage_is_answered_by_the_closest_name() -> None:
    assert error_of("train_clasifier") == (
        f"STAGE must be one of {{{NAMES}}}; got 'train_clasifier'. Did you mean 'train_classifier'?"
    )


@pytest.mark.parametrize(
    ("arguments", "given"), [([], "nothing"), (["evaluate", "report"], "evaluate report")]
)
def test_other_than_one_stage_is_rejected(arguments: list[str], given: str) -> None:
    assert error_of(*arguments) == f"STAGE must be one of {{{NAMES}}}; got {given}."


@pytest.mark.parametrize("stage", STAGES)
def test_stage_gets_its_checked_params(
    stage: str, article: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list[object] = []
    module = ModuleType(f"stages.{stage}")
    vars(module)["main"] = received.append
    monkeypatch.setitem(sys.modules, f"stages.{stage}", module)
    runner.main([stage])
    assert [type(params) for params in received] == [STAGES[stage]]


@pytest.mark.parametrize("stage", ["train_regression", "train_classifier"])
def test_device_is_checked_with_the_dtype_of_the_stage(
    stage: str, article: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    article({f"{stage}.dtype": "float32"})
    checked: list[object] = []
    monkeypatch.setattr(runner, "check_device", lambda *arguments: checked.append(arguments))
    monkeypatch.setitem(sys.modules, f"stages.{stage}", None)
    with pytest.raises(ImportError):
        runner.run(stage)
    assert checked == [("cpu", "float32")]


def test_stage_is_imported_without_garbage_collection_and_runs_without_dynamo(
    article: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    stand_in = ModuleType("stand_in")
    vars(stand_in)["main"] = lambda _: seen.append(sys.modules["torch._dynamo"].__name__)
    monkeypatch.delitem(sys.modules, "torch._dynamo", raising=False)
    monkeypatch.setattr(
        "importlib.import_module", lambda name: seen.append((name, gc.isenabled())) or stand_in
    )
    runner.run("evaluate")
    assert seen == [("stages.evaluate", False), "torch._dynamo"]
    assert "torch._dynamo" not in sys.modules


# As processes: a mistake is one sentence on standard error, before the slow imports.


INVALID = [
    ("generate_data", "generate_data.seed", "none"),
    ("convert_to_tensors", "convert_to_tensors.regression.table", "data.txt"),
    ("train_regression", "train_regression.epochs", 0),
    ("train_classifier", "device", "gpu"),
    ("report", "device", "gpu"),
]


def errors_and_imports(stage: str, folder: Path) -> tuple[list[str], set[str]]:
    """Run a stage that must fail; return the lines of standard error and the imported modules."""
    (folder / "stages").symlink_to(PROJECT / "stages")
    done = run_stage(stage, folder, PYTHONPROFILEIMPORTTIME="1")
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    imported = set(re.findall(r"\| +(\S+)$", done.stderr, re.MULTILINE))
    return [line for line in lines if not line.startswith("import time:")], imported


@pytest.mark.parametrize(("stage", "key", "value"), INVALID)
def test_invalid_value_is_one_sentence_before_the_slow_imports(
    article: Change, tmp_path: Path, stage: str, key: str, value: object
) -> None:
    article({key: value})
    errors, imported = errors_and_imports(stage, tmp_path)
    assert len(errors) == 1
    assert errors[0].startswith(f"params.yaml: {key} must be ")
    assert not imported & {"torch", "numpy", "pyarrow", "matplotlib", "pandas", "jinja2"}


def test_device_that_is_not_there_is_one_sentence_before_the_slow_imports(
    article: Change, tmp_path: Path
) -> None:
    article({"device": "mps" if sys.platform != "darwin" else "cuda"})
    errors, imported = errors_and_imports("train_classifier", tmp_path)
    assert len(errors) == 1
    assert errors[0].startswith("params.yaml: device '")
    assert "torch" not in imported


def test_unknown_stage_is_one_sentence_without_a_traceback(tmp_path: Path) -> None:
    errors, _ = errors_and_imports("train", tmp_path)
    assert len(errors) == 1
    assert errors[0].startswith("STAGE must be one of {")
