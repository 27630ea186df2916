"""The contract of dvc.yaml: it lists what each stage imports, reads and writes, and no more."""

import ast
import json
import sys
from pathlib import Path

import pytest
import yaml

from conftest import PROJECT, STAGES, call_main, run, run_stage
from stages import parameters
from stages.errors import UserError
from stages.values import Section

# The table that params.yaml names, or a file that stands for none.
EXTERNAL = {
    "data/external/${generate_data.regression.source}",
    "data/external/${generate_data.classification.source}",
}
PIPELINE = yaml.safe_load((PROJECT / "dvc.yaml").read_text())


def paths(entries):
    return {path for entry in entries for path in ([entry] if isinstance(entry, str) else entry)}


def inputs(stage):
    listed = {path for path in PIPELINE["stages"][stage]["deps"] if not path.endswith(".py")}
    return listed - EXTERNAL


def outputs(stage):
    entry = PIPELINE["stages"][stage]
    return {path for kind in ("outs", "metrics", "plots") for path in paths(entry.get(kind, []))}


def imported(file):
    """Return the project's modules that `file` and what it imports import, as paths."""
    found = {file}
    for node in ast.walk(ast.parse((PROJECT / file).read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module]
        else:
            continue
        for name in names:
            path = name.replace(".", "/") + ".py"
            if (PROJECT / path).is_file() and path not in found:
                found |= imported(path)
    return found


def keys(section, prefix):
    """Return the keys that a section reads, as dvc.yaml names them: all of it, or one by one."""
    fields = {name: field.annotation for name, field in section.model_fields.items()}
    if section.model_config.get("extra") != "ignore":
        return {prefix}
    found = set()
    for name, kind in fields.items():
        path = f"{prefix}.{name}".lstrip(".")
        is_section = isinstance(kind, type) and issubclass(kind, Section)
        found |= keys(kind, path) if is_section else {path}
    return found


def parameters_read(stage):
    """Return the keys of the record that the stage's file passes to read_parameters."""
    tree = ast.parse((PROJECT / f"stages/{stage}.py").read_text())
    records = {
        node.args[0].id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "read_parameters"
    }
    return {key for record in records for key in keys(getattr(parameters, record), "")}


def test_stages_are_the_five_of_the_article_and_a_report():
    assert STAGES == [
        "generate_data",
        "convert_to_tensors",
        "train_regression",
        "train_classifier",
        "evaluate",
        "report",
    ]


@pytest.mark.parametrize("stage", STAGES)
def test_one_name_for_stage_file_section_and_test(stage):
    entry = PIPELINE["stages"][stage]
    assert entry["cmd"] == f"python -m stages.{stage}"
    assert entry["desc"]
    assert (PROJECT / f"tests/test_{stage}.py").is_file()


@pytest.mark.parametrize("stage", STAGES)
def test_code_dependencies_are_the_imports(stage):
    listed = {path for path in PIPELINE["stages"][stage]["deps"] if path.endswith(".py")}
    assert listed == imported(f"stages/{stage}.py")


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_imports_another(stage):
    others = {f"stages/{other}.py" for other in STAGES if other != stage}
    assert not imported(f"stages/{stage}.py") & others


@pytest.mark.parametrize("stage", STAGES)
def test_parameters_are_those_of_the_record(stage):
    assert set(PIPELINE["stages"][stage].get("params", [])) == parameters_read(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_stage_needs_every_input_that_is_listed(finished, stage):
    for path in sorted(inputs(stage)):
        content = Path(path).read_bytes()
        Path(path).unlink()
        with pytest.raises(UserError, match=f"{path} is missing; `dvc repro "):
            call_main(stage)
        Path(path).write_bytes(content)


@pytest.mark.parametrize("stage", STAGES)
def test_stage_needs_no_more_and_writes_what_is_listed(finished, stage):
    found = {str(path) for folder in ("data", "metrics") for path in Path(folder).rglob("*.*")}
    assert found == set().union(*map(outputs, STAGES))
    for path in found - inputs(stage):
        Path(path).unlink()
    call_main(stage)
    left = {str(path) for folder in ("data", "metrics") for path in Path(folder).rglob("*.*")}
    assert left == inputs(stage) | outputs(stage)


def test_tables_of_both_tasks_are_dependencies():
    assert set(PIPELINE["stages"]["generate_data"]["deps"]) >= EXTERNAL


def test_metrics_and_figures_are_in_git_and_all_else_in_dvc():
    for stage, entry in PIPELINE["stages"].items():
        for kind in ("metrics", "plots"):
            for each in entry.get(kind, []):
                ((path, options),) = each.items()
                assert path.startswith("metrics/"), stage
                assert options["cache"] is False, path
        for path in entry.get("outs", []):
            assert path.startswith("data/") or path == "metrics/report.html"


PLOTS = {
    "metrics/train_regression.csv": ("simple", "epoch", "loss"),
    "metrics/train_classifier.csv": ("simple", "epoch", "loss"),
    "metrics/confusion.csv": ("confusion", "predicted", "actual"),
}


COMBINED = {
    "weight": {"metrics/train_regression.csv": "weight"},
    "accuracy": {"metrics/train_classifier.csv": "accuracy"},
}


def test_curves_are_plotted_by_columns_that_are_there():
    drawn = {}
    for entry in PIPELINE["stages"].values():
        for each in entry.get("plots", []):
            ((path, options),) = each.items()
            if path.endswith(".csv"):
                drawn[path] = (options["template"], options["x"], options["y"])
                assert options["title"]
    assert drawn == PLOTS
    combined = {name: options for each in PIPELINE["plots"] for name, options in each.items()}
    assert {name: options["y"] for name, options in combined.items()} == COMBINED
    for options in combined.values():
        assert (options["template"], options["x"]) == ("simple", "epoch")
        assert options["title"]
    more = [
        (path, ("simple", "epoch", y)) for each in COMBINED.values() for path, y in each.items()
    ]
    for path, (_, x, y) in [*PLOTS.items(), *more]:
        header = (PROJECT / path).read_text().splitlines()[0].split(",")
        assert {x, y} <= set(header)


def test_git_ignores_every_output_of_dvc_and_no_result():
    cached = {
        path for entry in PIPELINE["stages"].values() for path in paths(entry.get("outs", []))
    }
    ignored = (PROJECT / ".gitignore").read_text().splitlines()
    assert {f"/{path}" for path in cached} == {
        line for line in ignored if line.startswith(("/data", "/metrics"))
    }


def test_models_are_declared():
    declared = {artifact["path"]: artifact["type"] for artifact in PIPELINE["artifacts"].values()}
    assert declared == {
        "data/models/regression.safetensors": "model",
        "data/models/classifier.safetensors": "model",
    }


# What a stage's start costs: all of the slow packages that it imports.
SLOW = {"matplotlib", "numpy", "pandas", "PIL", "pyarrow", "pydantic", "safetensors", "torch"}
IMPORTS = {
    "generate_data": {"numpy", "pyarrow", "pydantic"},
    "convert_to_tensors": {"numpy", "pandas", "pyarrow", "pydantic", "safetensors", "torch"},
    "train_regression": {"numpy", "pydantic", "safetensors", "torch"},
    "train_classifier": {"numpy", "pydantic", "safetensors", "torch"},
    "report": {"PIL", "pydantic"},
    "evaluate": {"matplotlib", "numpy", "PIL", "pydantic", "safetensors", "torch"},
}


@pytest.mark.parametrize("stage", STAGES)
def test_stage_imports_only_what_it_needs(stage):
    listed = run(
        sys.executable, "-c", f"import sys, stages.{stage}; print(*sys.modules)", cwd=PROJECT
    )
    assert listed.returncode == 0, listed.stderr
    assert {name.partition(".")[0] for name in listed.stdout.split()} & SLOW == IMPORTS[stage]


@pytest.mark.parametrize("stage", ["train_regression", "train_classifier"])
def test_training_never_loads_torchs_compiler(finished, tmp_path, stage):
    (tmp_path / "stages").symlink_to(PROJECT / "stages")
    ended = run_stage(stage, tmp_path, PYTHONPROFILEIMPORTTIME="1")
    assert ended.returncode == 0
    assert "torch._dynamo" not in ended.stderr
    assert "torch.nn" in ended.stderr


def leaves(section, prefix=""):
    for key, value in section.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


STATUS = """
import json, sys
from dvc.repo import Repo
from ruamel.yaml import YAML
changes, text = json.load(sys.stdin), open("params.yaml").read()
for key, value in changes.items():
    content = YAML(typ="safe").load(text)
    *sections, last = key.split(".")
    place = content
    for section in sections:
        place = place[section]
    place[last] = value
    YAML().dump(content, open("params.yaml", "w"))
    status = Repo(".").status()
    print(key, *sorted(s for s in status if "params.yaml" in json.dumps(status[s])))
"""


def test_each_parameter_changed_invalidates_just_the_stages_that_read_it(clone):
    content = yaml.safe_load((PROJECT / "params.yaml").read_text())
    changes = {key: "changed" for key, _ in leaves(content)}
    assert len(changes) >= 24
    said = run(sys.executable, "-c", STATUS, cwd=clone, stdin=json.dumps(changes))
    assert said.returncode == 0, said.stderr
    answers = dict(line.split(" ", 1) for line in said.stdout.splitlines())
    assert answers.keys() == changes.keys()
    for key, stages in answers.items():
        readers = {
            stage
            for stage in STAGES
            if any(key == read or key.startswith(f"{read}.") for read in parameters_read(stage))
        }
        assert set(stages.split()) == readers, key
        assert readers, key
