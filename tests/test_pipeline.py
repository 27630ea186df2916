"""The contract of dvc.yaml: it lists what each stage imports, reads and writes, and no more."""

import ast
import json
import re
import sys
from pathlib import Path

import pytest
import yaml
from ruamel.yaml import YAML

from conftest import (
    ARTICLE,
    PROJECT,
    SMALL,
    call_stage,
    change_params,
    run,
    run_stage,
    set_key,
    write_params,
)
from stages.core.errors import UserError
from stages.core.schema import STAGES

PIPELINE = yaml.safe_load((PROJECT / "dvc.yaml").read_text())
TABLES = {
    f"${{convert_to_tensors.{task}.table}}": ARTICLE["convert_to_tensors"][task]["table"]
    for task in ("regression", "classification")
}
# A folder as a dependency stands for all files in it.
FOLDERS = ("stages/core", "stages/figures")


def paths(entries):
    return {path for entry in entries for path in ([entry] if isinstance(entry, str) else entry)}


def dependencies(stage):
    return {TABLES.get(path, path) for path in PIPELINE["stages"][stage]["deps"]}


def inputs(stage):
    return {path for path in dependencies(stage) if not path.startswith("stages/")}


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


def code(stage):
    """Return all files of code that a stage runs."""
    return imported("stages/__main__.py") | imported(f"stages/{stage}.py")


def files_of(folder):
    """Return the modules in a folder of code but for __init__.py, which holds a docstring only."""
    found = (PROJECT / folder).glob("*.py")
    return {f"{folder}/{path.name}" for path in found if path.name != "__init__.py"}


@pytest.fixture
def linked(finished, tmp_path):
    """Work in a folder where all stages have run, and where they can be run as processes."""
    (tmp_path / "stages").symlink_to(PROJECT / "stages")
    return finished


def test_stages_are_listed_in_order():
    assert list(PIPELINE["stages"]) == list(STAGES)
    assert list(STAGES) == [
        "generate_data",
        "convert_to_tensors",
        "train_regression",
        "train_classifier",
        "evaluate",
        "report",
    ]


@pytest.mark.parametrize("stage", STAGES)
def test_one_name_for_stage_file_and_test(stage):
    entry = PIPELINE["stages"][stage]
    launcher = "${launcher}" if stage.startswith("train") else "python"
    assert entry["cmd"] == f"{launcher} -m stages {stage}"
    assert entry["desc"]
    assert (PROJECT / f"stages/{stage}.py").is_file()
    assert (PROJECT / f"tests/test_{stage}.py").is_file()


@pytest.mark.parametrize("stage", STAGES)
def test_code_dependencies_are_the_imports(stage):
    listed = {path for path in dependencies(stage) if path.startswith("stages/")}
    for folder in listed & set(FOLDERS):
        listed = listed - {folder} | files_of(folder)
    template = {"stages/report.html.jinja"} if stage == "report" else set()
    assert listed == code(stage) | template


@pytest.mark.parametrize("stage", STAGES)
def test_core_is_imported_by_every_stage(stage):
    assert files_of("stages/core") <= code(stage)


def test_figures_are_imported_by_evaluate_alone():
    users = [stage for stage in STAGES if files_of("stages/figures") & code(stage)]
    assert users == ["evaluate"]
    assert files_of("stages/figures") <= code("evaluate")


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_imports_another(stage):
    others = {f"stages/{other}.py" for other in STAGES if other != stage}
    assert not code(stage) & others


def test_only_stages_are_at_the_top_of_stages():
    top = {path.stem for path in (PROJECT / "stages").glob("*.py")}
    assert top == {"__init__", "__main__", *STAGES}


@pytest.mark.parametrize("path", sorted((PROJECT / "stages").rglob("__init__.py")), ids=str)
def test_packages_hold_a_docstring_only(path):
    (docstring,) = ast.parse(path.read_text()).body
    assert isinstance(docstring, ast.Expr)


@pytest.mark.parametrize("stage", STAGES)
def test_stage_files_are_ordinary_modules(stage):
    text = (PROJECT / f"stages/{stage}.py").read_text()
    assert not re.search(r"__name__|__main__|without_gc|skip_dynamo|read_params", text)
    tree = ast.parse(text)
    allowed = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
    allowed += (ast.FunctionDef, ast.ClassDef)
    assert all(isinstance(node, allowed) for node in tree.body)
    (main,) = (node for node in tree.body if getattr(node, "name", "") == "main")
    (argument,) = main.args.args
    assert ast.unparse(argument.annotation) == STAGES[stage].__name__


STEPS = {
    "train_regression": ["forward(x, weight", "nn.MSELoss"],
    "train_classifier": ["model(X)", "nn.CrossEntropyLoss"],
}


@pytest.mark.parametrize("stage", STEPS)
def test_first_screen_of_a_training_shows_the_steps_of_the_article(stage):
    screen = "\n".join((PROJECT / f"stages/{stage}.py").read_text().splitlines()[:60])
    common = ["load_tensors", "make_optimizer", "for epoch in", "zero_grad", "backward", "step()"]
    for step in [*common, *STEPS[stage]]:
        assert step in screen, step


# Parameters of how a training runs: no result depends on them, so they are no dependencies.
# (Another launcher is another command, for which DVC runs the stage again.)
HOW = ("launcher", "timeout", "checkpoint_every")


@pytest.mark.parametrize("stage", STAGES)
def test_parameters_are_those_of_the_schema(stage):
    listed = PIPELINE["stages"][stage].get("params", [])
    assert set(listed) == set(STAGES[stage].model_fields) - set(HOW)


def test_no_stage_reads_the_section_of_another():
    for stage, schema in STAGES.items():
        if stage != "report":  # which shows the parameters and uses none
            assert set(schema.model_fields) <= {"device", stage, *HOW}


@pytest.mark.parametrize("stage", STAGES)
def test_stage_needs_every_input_that_is_listed(finished, stage):
    for path in sorted(inputs(stage)):
        files = [Path(path)] if Path(path).is_file() else sorted(Path(path).iterdir())
        assert files
        for file in files:
            content = file.read_bytes()
            file.unlink()
            with pytest.raises(UserError, match=f"{file} is missing; .*`dvc repro`"):
                call_stage(stage)
            file.write_bytes(content)


@pytest.mark.parametrize("stage", STAGES)
def test_stage_needs_no_more_and_writes_what_is_listed(finished, stage):
    def present():
        return {str(path) for top in ("data", "metrics") for path in Path(top).rglob("*.*")}

    def expand(listed):
        return {path for path in before for entry in listed if f"{path}/".startswith(f"{entry}/")}

    before = present()
    assert before == set().union(*map(outputs, STAGES))
    for path in before - expand(inputs(stage)):
        Path(path).unlink()
    call_stage(stage)
    assert present() == expand(inputs(stage)) | outputs(stage)


def test_metrics_and_figures_are_in_git_and_everything_else_in_dvc():
    for stage, entry in PIPELINE["stages"].items():
        for kind in ("metrics", "plots"):
            for item in entry.get(kind, []):
                ((path, options),) = item.items()
                assert path.startswith("metrics/"), stage
                assert options["cache"] is False, path
        for path in entry.get("outs", []):
            assert path.startswith("data/") or path == "metrics/report.html"


def test_curves_are_plotted_by_columns_that_exist(finished):
    curves = []
    for entry in PIPELINE["stages"].values():
        for item in entry.get("plots", []):
            ((path, options),) = item.items()
            if path.endswith(".csv"):
                assert options["title"]
                curves.append((path, options["template"], options["x"], options["y"]))
    for item in PIPELINE["plots"]:
        ((_, options),) = item.items()
        assert options["title"]
        ((path, y),) = options["y"].items()
        assert options["y_label"]
        curves.append((path, options["template"], options["x"], *y))
    assert curves == [
        ("metrics/train_regression.csv", "simple", "epoch", "weight"),
        ("metrics/train_classifier.csv", "simple", "epoch", "valid_accuracy"),
        ("metrics/regression_weights.csv", "bars", "weight", "feature"),
        ("metrics/classes.csv", "bars", "recall", "class"),
        ("metrics/confusion.csv", "confusion", "predicted", "actual"),
        ("metrics/train_regression.csv", "simple", "epoch", "loss", "valid_loss"),
        ("metrics/train_classifier.csv", "simple", "epoch", "loss", "valid_loss"),
        ("metrics/train_classifier.csv", "simple", "epoch", "accuracy", "valid_accuracy"),
    ]
    for path, _, *columns in curves:
        assert set(columns) <= set(Path(path).read_text().splitlines()[0].split(","))


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
SLOW = {"jinja2", "matplotlib", "numpy", "pandas", "PIL", "pyarrow", "safetensors", "torch"}
IMPORTS = {
    # pyarrow imports pandas, if it is installed, when it converts arrays.
    "generate_data": {"numpy", "pandas", "pyarrow"},
    "convert_to_tensors": {"numpy", "pandas", "pyarrow", "safetensors", "torch"},
    "train_regression": {"numpy", "safetensors", "torch"},
    "train_classifier": {"numpy", "safetensors", "torch"},
    "evaluate": {"matplotlib", "numpy", "PIL", "safetensors", "torch"},
    "report": {"jinja2", "numpy", "PIL", "safetensors"},
}


@pytest.mark.parametrize("stage", STAGES)
def test_stage_imports_only_what_it_needs_and_no_compiler(linked, tmp_path, stage):
    ended = run_stage(stage, tmp_path, PYTHONPROFILEIMPORTTIME="1")
    assert ended.returncode == 0
    names = set(re.findall(r"\| +([\w.]+)$", ended.stderr, flags=re.MULTILINE))
    assert {name.partition(".")[0] for name in names} & SLOW == IMPORTS[stage]
    assert "torch._dynamo" not in names


STATUS = """
import json, sys
from dvc.repo import Repo
for content in json.load(sys.stdin):
    json.dump(content, open("params.yaml", "w"))
    status = Repo(".").status()
    print(json.dumps([stage for stage in status if "params.yaml" in json.dumps(status[stage])]))
"""


def leaf_keys(section, prefix=""):
    for key, value in section.items():
        if isinstance(value, dict):
            yield from leaf_keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def test_each_parameter_changed_invalidates_just_the_stages_that_read_it(clone):
    params = YAML(typ="safe").load((clone / "params.yaml").read_text())
    keys, contents = list(leaf_keys(params)), []
    for key in keys:
        contents.append(json.loads(json.dumps(params)))
        set_key(contents[-1], key, "changed")
    printed = run(sys.executable, "-c", STATUS, cwd=clone, stdin=json.dumps(contents))
    assert printed.returncode == 0, printed.stderr
    for key, line in zip(keys, printed.stdout.splitlines(), strict=True):
        readers = {stage for stage in STAGES if key.split(".")[0] in STAGES[stage].model_fields}
        assert readers, key
        assert set(json.loads(line)) == (set() if key in HOW else readers), key


CUSTOM = {
    "convert_to_tensors.regression.table": "data/external/line.csv",
    "convert_to_tensors.classification.table": "data/external/classes.csv",
}


def ran(folder):
    """Return the stages that `dvc repro` runs."""
    ended = run("dvc", "repro", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    return re.findall(r"Running stage '(\w+)'", ended.stdout)


def test_custom_tables_depend_on_their_bytes_and_not_on_the_simulation(clone, monkeypatch):
    monkeypatch.chdir(clone)
    write_params(ARTICLE)
    change_params({**SMALL, **CUSTOM})
    Path("data/external").mkdir(exist_ok=True)
    Path("data/external/line.csv").write_text("x,y\n" + "".join(f"{k},{k}\n" for k in range(9)))
    rows = "".join(f"{k},{-k},{'ab'[k % 2]}\n" for k in range(9))
    Path("data/external/classes.csv").write_text(f"x1,x2,label\n{rows}")
    assert ran(clone) == list(STAGES)

    change_params({"generate_data.regression.weight": 3.0, "generate_data.seed": 5})
    assert ran(clone) == ["generate_data"]

    Path("data/external/line.csv").write_text("x,y\n" + "".join(f"{k},{2 * k}\n" for k in range(9)))
    rerun = set(ran(clone))
    assert rerun >= {"convert_to_tensors", "train_regression", "evaluate", "report"}
    assert not rerun & {"generate_data", "train_classifier"}
