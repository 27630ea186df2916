"""Files are replaced as a whole or not at all."""

from pathlib import Path

import pytest

from conftest import PROJECT
from stages.core.errors import UserError
from stages.core.files import atomic_write, corrupted, require_file


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    Path("out/file").write_text("old")


def write(path: str, error: BaseException | None = None) -> None:
    with atomic_write(path) as temporary:
        Path(temporary).write_text("new")
        if error is not None:
            raise error


def test_file_is_replaced_at_the_end_and_not_before() -> None:
    with atomic_write("out/file") as temporary:
        Path(temporary).write_text("new")
        assert Path("out/file").read_text() == "old"
    assert Path("out/file").read_text() == "new"
    assert [path.name for path in Path("out").iterdir()] == ["file"]


def test_who_reads_the_old_file_can_read_on() -> None:
    with open("out/file") as file:
        write("out/file")
        assert file.read() == "old"


@pytest.mark.parametrize("error", [RuntimeError(), KeyboardInterrupt()])
def test_failure_keeps_the_old_file_and_leaves_no_other(error: BaseException) -> None:
    with pytest.raises(type(error)):
        write("out/file", error)
    assert Path("out/file").read_text() == "old"
    assert [path.name for path in Path("out").iterdir()] == ["file"]


@pytest.mark.parametrize("path", ["new", "a/b/new"])
def test_missing_folders_are_made(path: str) -> None:
    write(path)
    assert Path(path).read_text() == "new"


@pytest.mark.parametrize("ignore", [".dvcignore", ".gitignore"])
def test_temporary_file_is_one_that_dvc_and_git_ignore(ignore: str) -> None:
    with atomic_write("out/file") as temporary:
        Path(temporary).write_text("")
        assert Path(temporary).match("out/.*.tmp")
    assert ".*.tmp" in (PROJECT / ignore).read_text().splitlines()


def test_full_disk_is_one_sentence() -> None:
    with pytest.raises(UserError) as error:
        write("out/file", OSError(28, "No space left on device"))
    assert str(error.value) == "out/file cannot be written: No space left on device."
    assert Path("out/file").read_text() == "old"


def test_file_in_place_of_a_folder_is_one_sentence() -> None:
    with pytest.raises(UserError, match="out/file/deeper cannot be written: "):
        write("out/file/deeper")


@pytest.mark.parametrize("path", ["nothing", "out"])
def test_what_is_not_a_file_is_missing(path: str) -> None:
    with pytest.raises(UserError) as error:
        require_file(path)
    assert str(error.value) == f"{path} is missing; run `dvc repro`."


def test_file_is_not_missing() -> None:
    require_file("out/file")


def test_corrupted_file_is_to_be_made_again() -> None:
    assert str(corrupted("a.csv")) == "a.csv is corrupted; delete it and run `dvc repro`."
