from pathlib import Path

import pytest

from stages import files
from stages.errors import UserError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    Path("out/file").write_text("old")


def test_file_is_replaced_at_the_end_and_not_before():
    with files.replacing("out/file") as temporary:
        Path(temporary).write_text("new")
        assert Path("out/file").read_text() == "old"
    assert Path("out/file").read_text() == "new"
    assert [path.name for path in Path("out").iterdir()] == ["file"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_keeps_the_old_file_and_leaves_nothing(error):
    def write():
        with files.replacing("out/file") as temporary:
            Path(temporary).write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert Path("out/file").read_text() == "old"
    assert [path.name for path in Path("out").iterdir()] == ["file"]


def test_temporary_file_is_one_that_dvc_and_git_ignore():
    with files.replacing("out/file") as temporary:
        Path(temporary).write_text("")
        assert Path(temporary).match("out/.*.tmp")
    project = Path(__file__).parents[1]
    assert ".*.tmp" in (project / ".dvcignore").read_text().splitlines()
    assert ".*.tmp" in (project / ".gitignore").read_text().splitlines()


def test_full_disk_is_one_sentence():
    def write():
        with files.replacing("out/file"):
            raise OSError(28, "No space left on device")

    with pytest.raises(UserError) as error:
        write()
    assert str(error.value) == "out/file cannot be written: No space left on device."
    assert Path("out/file").read_text() == "old"


def test_file_in_the_way_of_a_folder_is_one_sentence():
    def write():
        with files.replacing("out/file/deeper"):
            pass

    with pytest.raises(UserError, match="out/file/deeper cannot be written: "):
        write()
