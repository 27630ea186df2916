"""The files around the code: workflow, pre-commit, editor, citation, changelog."""

import json
import re
import tomllib

import pytest
import yaml

from conftest import PROJECT, run

# YAML 1.1 reads the key `on` as true.
WORKFLOW = yaml.safe_load((PROJECT / ".github/workflows/ci.yml").read_text())
JOBS = WORKFLOW["jobs"]
STEPS = [step for job in JOBS.values() for step in job["steps"]]
MAKEFILE = (PROJECT / "Makefile").read_text()
VERSION = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
CITATION = yaml.safe_load((PROJECT / "CITATION.cff").read_text())


def commands(text):
    return re.findall(r"^(make [\w./-]+)", text, flags=re.MULTILINE)


def test_workflow_runs_what_a_developer_runs():
    ran = [step["run"] for step in JOBS["same-bytes"]["steps"] if "run" in step]
    checks = ["make lint", "make test", "make check-docs"]
    assert commands("\n".join(ran)) == [*checks, "make repro"]
    assert commands((PROJECT / ".ci/run").read_text()) == checks
    assert "git status --porcelain" in ran[-1]


def test_every_target_of_make_that_is_named_is_there():
    container = json.loads((PROJECT / ".devcontainer/devcontainer.json").read_text())
    named = [step.get("run", "") for step in STEPS] + [container["postCreateCommand"]]
    named += re.findall(r"`(make [\w-]+)`", (PROJECT / "CONTRIBUTING.md").read_text())
    targets = {command.removeprefix("make ") for command in commands("\n".join(named))}
    assert targets >= {"lint", "test", "repro", "bench", "lock", "plots-template"}
    for target in targets:
        assert re.search(rf"^{re.escape(target)}:", MAKEFILE, flags=re.MULTILINE), target


def test_workflow_runs_on_three_kinds_of_machine():
    machines = JOBS["same-bytes"]["strategy"]["matrix"]["os"]
    assert machines == ["ubuntu-latest", "ubuntu-24.04-arm", "macos-latest"]


def test_workflow_uses_only_actions_of_github():
    used = [step["uses"] for step in STEPS if "uses" in step]
    assert used
    for action in used:
        assert re.fullmatch(r"actions/[a-z-]+@v\d+", action), action


def test_only_the_job_without_code_of_the_pull_request_may_write():
    assert WORKFLOW["permissions"] == {"contents": "read"}
    writers = {name: job["permissions"] for name, job in JOBS.items() if "permissions" in job}
    assert writers == {"comment": {"pull-requests": "write"}}
    (step,) = JOBS["comment"]["steps"]
    assert step["uses"].startswith("actions/github-script@")
    assert "pull_request_target" not in WORKFLOW[True]


def test_no_text_of_others_is_pasted_into_a_command():
    for step in STEPS:
        code = step.get("run", "") + step.get("with", {}).get("script", "")
        assert "${{" not in code, code


def test_commands_of_the_workflow_are_bash():
    for step in STEPS:
        checked = run("bash", "-n", cwd=PROJECT, stdin=step.get("run", ""))
        assert (checked.returncode, checked.stderr) == (0, ""), step


def test_comparison_is_shown_and_passed_on_as_printed(tmp_path):
    tool = tmp_path / "tools/compare.py"
    tool.parent.mkdir()
    tool.write_text("import sys\nprint(*sys.argv[1:])\nprint('| a | b |')\n")
    (step,) = [step for step in STEPS if step.get("id") == "compare"]
    files = {name: str(tmp_path / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    variables = {"BASE": "main;  exit 1", "RUNNER_TEMP": str(tmp_path), **files}
    ended = run("bash", "-e", "-c", step["run"], cwd=tmp_path, **variables)
    assert ended.returncode == 0, ended.stderr
    table = "origin/main;  exit 1 HEAD --md\n| a | b |\n"
    assert (tmp_path / "GITHUB_STEP_SUMMARY").read_text() == table
    name, _, rest = (tmp_path / "GITHUB_OUTPUT").read_text().partition("<<")
    end, _, rest = rest.partition("\n")
    assert (name, rest) == ("table", f"{table}{end}\n")


def test_pre_commit_runs_the_checks_of_make_lint_without_a_network():
    config = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())
    (local,) = config["repos"]
    assert local["repo"] == "local"
    assert {hook["language"] for hook in local["hooks"]} == {"system"}
    entries = {hook["entry"].removesuffix(" --force-exclude") for hook in local["hooks"]}
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, flags=re.MULTILINE)[1]
    assert entries >= {line.strip() for line in lint.splitlines()}


@pytest.mark.parametrize(
    "path", [".devcontainer/devcontainer.json", ".vscode/extensions.json", ".vscode/settings.json"]
)
def test_files_of_editors_are_json(path):
    assert json.loads((PROJECT / path).read_text())


def test_one_version_everywhere():
    assert CITATION["version"] == VERSION
    assert f"\n## [{VERSION}] - " in (PROJECT / "CHANGELOG.md").read_text()


def test_citation_names_the_software_and_the_article():
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["authors"] == [{"name": "The maintainers"}]
    (article,) = CITATION["references"]
    assert article["title"] == "Getting started with PyTorch"
    assert article["authors"] == [{"given-names": "Andre", "family-names": "Ribeiro"}]
    assert article["year"] == 2021
