import pytest

from stages.core.errors import UserError
from tools.results import (
    Result,
    is_number,
    is_stale,
    list_experiments,
    open_repo,
    read_experiments,
    read_result,
    read_workspace,
    repeats,
    resolve,
    run_dvc,
)


def read(revision=None):
    with open_repo() as repo:
        return read_result(repo, str(revision), revision)


def test_values_keep_all_digits(project):
    project.result(loss=0.12345678901234567, lr=1e-5)
    commit = project.commit()
    for result in (read(), read(commit)):
        assert result.parameters == {"table": "data/external/mine.csv", "seed": 0, "lr": 1e-5}
        assert result.metrics == {"a.loss": 0.12345678901234567, "a.n": 3}


def test_parameters_are_read_as_dvc_reads_them(project):
    project.write("params.yaml", "table: a.csv\nlr: 1e-4\nlist: [0, 1]\n")
    assert read().parameters == {"table": "a.csv", "lr": 1e-4, "list": [0, 1]}


def test_revision_is_read_and_not_the_workspace(project):
    commit = project.commit_result(None, 1.0)
    project.result(2.0)
    assert (read(commit).metrics["a.loss"], read().metrics["a.loss"]) == (1.0, 2.0)


def test_results_in_a_subfolder_of_a_larger_repository(subfolder):
    first = subfolder.commit_result("fast", 1.0, lr=2.0)
    subfolder.write("../params.yaml", "lr: 9\n")
    subfolder.result(3.0)
    second = subfolder.commit()
    assert [read(at).metrics["a.loss"] for at in (first, second, None)] == [1.0, 3.0, 3.0]
    assert [read(at).parameters["lr"] for at in (first, second, None)] == [2.0, 1.0, 1.0]
    assert list_experiments() == {"fast": first}


def test_code_in_a_subfolder_is_that_of_the_project(subfolder):
    subfolder.write("../stages/other.py", "1")
    first = subfolder.commit()
    subfolder.write("../stages/other.py", "2")
    second = subfolder.commit()
    subfolder.write("stages/train.py", "3")
    assert read(first).code == read(second).code != ""
    assert read().code == read(subfolder.commit()).code != read(first).code


def test_changed_code_in_the_workspace_is_that_of_its_experiment(project):
    old = project.commit()
    project.write("stages/train.py", "new")
    assert read().code == read(project.commit()).code != read(old).code


def test_code_of_the_workspace_needs_no_name_of_the_user(project, here):
    project.commit()
    here.setenv("HOME", str(project.folder))
    project.git("config", "user.useConfigOnly", "true")
    project.git("config", "--unset", "user.name")
    project.git("config", "--unset", "user.email")
    before = read().code
    project.write("stages/train.py", "new")
    assert read().code != before


def test_reading_leaves_the_workspace_as_it_is(project):
    commit = project.commit_result(None, 1.0)
    project.result(2.0)
    before = project.git("status", "--porcelain")
    read(commit)
    read()
    assert project.git("status", "--porcelain") == before != ""
    assert project.git("stash", "list") == ""


def test_missing_metrics_are_no_values(project):
    assert read(project.commit()).metrics == {}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("params.yaml", "a: [\n"),
        ("metrics/evaluate.json", '{"a": '),
        ("dvc.yaml", "stages: 3\n"),
        ("dvc.lock", "stages: [\n"),
    ],
)
def test_file_that_cannot_be_read_is_reported(project, name, text):
    project.result(1.0)
    project.lock("aaa")
    project.write(name, text)
    with pytest.raises(UserError, match=f"must hold dvc.yaml, .* can be read; DVC .*{name}"):
        read()


def test_experiment_that_cannot_be_read_is_left_out(project):
    project.commit_result("good", 1.0)
    project.write("metrics/evaluate.json", "{")
    project.commit("bad")
    code = read("HEAD~1").code
    with open_repo() as repo:
        assert [result.name for result in read_experiments(repo, {code})] == ["good"]


def test_experiments_with_other_code_are_left_out(project):
    project.commit_result("old", 1.0)
    project.write("stages/train.py", "new")
    project.commit("new")
    with open_repo() as repo:
        code = read_workspace(repo).code
        assert [result.name for result in read_experiments(repo, {code})] == ["new"]


def test_newest_of_the_experiments_of_one_name_counts(project):
    commits = [
        project.commit("run", GIT_COMMITTER_DATE=f"{year}-01-01T00:00:00Z")
        for year in (2021, 2023, 2022)
    ]
    assert list_experiments() == {"run": commits[1]}


def test_names_are_experiments_or_revisions(project):
    commit = project.commit_result("fast", 1.0)
    project.git("tag", "v1")
    assert resolve("fast", {"fast": "1f"}) == "1f"
    assert resolve("v1", {}) == resolve("HEAD", {}) == commit
    assert resolve("workspace", {}) is None


def test_unknown_name_is_rejected_with_the_closest_one(project):
    project.commit()
    with pytest.raises(UserError, match="DVC experiments or workspace; got 'fats'. Did you mean "):
        resolve("fats", {"fast": "1f"})


@pytest.mark.parametrize(
    "path", ["data/external/mine.csv", "other.parquet", "a.tsv.gz", "data/parts"]
)
def test_custom_tables_are_told_apart_by_path_and_checksum(project, path):
    project.write("params.yaml", {"table": path})
    project.lock("aaa", path)
    first = project.commit()
    project.lock("bbb", path)
    assert read(first).custom_tables == ((path, "aaa"),)
    assert read().custom_tables == ((path, "bbb"),)


@pytest.mark.parametrize("path", ["data/external/mine.csv", "mine.csv"])
def test_table_under_dvc_is_a_custom_table(project, path):
    project.write("params.yaml", {"table": path})
    project.write(f"{path}.dvc", "outs:\n- {path: mine.csv, md5: aaa, hash: md5}\n")
    project.lock("aaa", path)
    assert read().custom_tables == ((path, "aaa"),)


def test_table_that_a_stage_makes_is_not_a_custom_table(project):
    text = (project.folder / "dvc.yaml").read_text()
    simulate = "  simulate:\n    cmd: make\n    outs: [data/external/mine.csv]\n"
    project.write("dvc.yaml", text + simulate)
    project.lock("aaa")
    assert read().custom_tables == ()


RESULT = Result("a", {"x.seed": 0, "lr": 1.0}, {"loss": 1.0}, "code", ())


@pytest.mark.parametrize(
    ("change", "is_repeat"),
    [
        ({"parameters": {"x.seed": 1, "lr": 1.0}}, True),
        ({"parameters": {"x.seed": 1, "lr": 2.0}}, False),
        ({"parameters": {"x.seed": 1, "lr": 1.0, "more": 1}}, False),
        ({"parameters": {"x.seed": 1, "lr": True}}, False),
        ({"parameters": {"x.seed": 1, "lr": 1.0}, "code": "other"}, False),
        ({"parameters": {"x.seed": 1, "lr": 1.0}, "custom_tables": (("a.csv", "1f"),)}, False),
        ({"parameters": {"x.seed": 1, "lr": 1.0}, "metrics": {}}, False),
    ],
)
def test_repeat_differs_in_seeds_alone(change, is_repeat):
    other = Result(**{**vars(RESULT), **change})
    assert set(repeats(RESULT, [other])) == ({(0,), (1,)} if is_repeat else {(0,)})


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, True), (0.5, True), (True, False), ("1", False), (None, False), (float("inf"), False)],
)
def test_numbers_are_finite(value, expected):
    assert is_number(value) is expected


def test_folder_without_git_is_reported(tmp_path, here):
    here.chdir(tmp_path)
    with pytest.raises(UserError, match="^Run this inside a Git repository; "):
        read()


def test_folder_without_dvc_is_reported(project):
    (project.folder / ".dvc/config").unlink()
    (project.folder / ".dvc/.gitignore").unlink()
    (project.folder / ".dvc").rmdir()
    with pytest.raises(UserError, match="^Run this inside a DVC repository; "):
        read()


def test_results_are_stale_once_parameters_have_changed(finished_copy):
    with open_repo() as repo:
        assert not is_stale(repo)
    path = finished_copy / "params.yaml"
    path.write_text(path.read_text().replace("lr: 0.125", "lr: 0.25"))
    with open_repo() as repo:
        assert is_stale(repo)


def test_failed_dvc_command_is_reported(project, capfd):
    project.commit()
    with pytest.raises(UserError, match="^`dvc exp remove nix` failed, for the reason that DVC"):
        run_dvc("exp", "remove", "nix")
    assert "'nix'" in capfd.readouterr().err


def test_result_itself_counts_rather_than_an_experiment_with_its_seeds():
    other = Result("b", RESULT.parameters, {"loss": 2.0}, "code", ())
    assert repeats(RESULT, [other]) == {(0,): {"loss": 1.0}}


def test_seeds_have_one_order_whatever_that_of_the_parameters():
    a, b = {"a.seed": 1, "b.seed": 2}, {"b.seed": 2, "a.seed": 1}
    assert Result("", a, {}, "", ()).seeds() == Result("", b, {}, "", ()).seeds() == (1, 2)
