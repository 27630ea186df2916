"""Metrics and histories as files: rounded, in one format, and read back or rejected."""

import json
from pathlib import Path

import pytest

from stages.core.errors import UserError
from stages.shared.metrics import (
    flatten,
    read_history,
    read_json,
    read_rows,
    round_numbers,
    write_csv,
    write_json,
    write_text,
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_float_is_rounded_to_six_digits_however_deep() -> None:
    content = {"a": [0.123456789, {"b": 1e-10 / 3}], "c": 12345678, "d": None, "e": "0.123456789"}
    assert round_numbers(content) == content | {"a": [0.123457, {"b": 3.33333e-11}]}


def test_nested_keys_are_joined_by_dots() -> None:
    section = {"a": {"b": {"c": 1}, "d": [2]}, "e": None}
    assert dict(flatten(section)) == {"a.b.c": 1, "a.d": [2], "e": None}


def test_json_is_rounded_sorted_and_ends_with_a_line() -> None:
    write_json("m/a.json", {"b": {"y": 0.123456789}, "a": 2, "c": None})
    assert Path("m/a.json").read_bytes() == (
        b'{\n  "a": 2,\n  "b": {\n    "y": 0.123457\n  },\n  "c": null\n}\n'
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_rejects_what_is_not_finite(value: float) -> None:
    with pytest.raises(UserError) as error:
        write_json("m/a.json", {"a": value})
    assert str(error.value) == (
        "m/a.json must hold finite numbers, and some are not: the data or the weights are too "
        "large. Scale the data or lower the learning rate."
    )
    assert not Path("m/a.json").exists()


def test_csv_has_a_header_six_digits_and_plain_line_ends() -> None:
    write_csv("m/a.csv", ["epoch", "loss"], [(0, 0.123456789), (1, 1e-10 / 3)])
    assert Path("m/a.csv").read_bytes() == b"epoch,loss\n0,0.123457\n1,3.33333e-11\n"


def test_csv_quotes_what_separates_values() -> None:
    write_csv("a.csv", ["a,b", "c"], [('say "u"', "é")])
    assert Path("a.csv").read_text(encoding="utf-8") == '"a,b",c\n"say ""u""",é\n'


def test_text_is_utf8_with_plain_line_ends() -> None:
    write_text("a.txt", "é\n")
    assert Path("a.txt").read_bytes() == b"\xc3\xa9\n"


def test_json_comes_back() -> None:
    write_json("a.json", {"a": {"b": 0.5}})
    assert read_json("a.json") == {"a": {"b": 0.5}}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"a": 1}\n<<<<<<< ours\n'])
def test_corrupted_json_is_rejected(content: bytes) -> None:
    Path("a.json").write_bytes(content)
    with pytest.raises(UserError, match=r"^a\.json is corrupted; delete it and run `dvc repro`\.$"):
        read_json("a.json")


def test_history_comes_back_column_by_column() -> None:
    write_csv("a.csv", ["epoch", "loss"], [(0, 2.5), (1, 1e-10)])
    history = read_history("a.csv", ["epoch", "loss"])
    assert {name: values.tolist() for name, values in history.items()} == {
        "epoch": [0, 1],
        "loss": [2.5, 1e-10],
    }


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"epoch,loss\n",
        b"junk\n",
        b"epoch,loss\n<<<<<<< ours\n",
        b"epoch,loss\n0,1\n1\n",
        b"epoch,loss\n0,x\n",
        b"epoch,loss\n0,\xff\n",
        b"epoch\n0\n",
        b"loss,epoch\n0,1\n",
        b"epoch,loss,weight\n0,1,2\n",
    ],
)
def test_corrupted_history_is_rejected(content: bytes) -> None:
    Path("a.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"^a\.csv is corrupted; delete it and run `dvc repro`\.$"):
        read_history("a.csv", ["epoch", "loss"])


def test_rows_are_read_as_texts_by_column() -> None:
    write_csv("a.csv", ["name", "score"], [("a,\nb", 1 / 3), ("c", None)])
    rows = [{"name": "a,\nb", "score": "0.333333"}, {"name": "c", "score": ""}]
    assert read_rows("a.csv") == rows


@pytest.mark.parametrize("content", [b"", b"a,b\n", b"a,b\n1\n", b"a\n1,2\n", b"\xff\n1\n"])
def test_corrupted_rows_are_rejected(content: bytes) -> None:
    Path("a.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"^a\.csv is corrupted; delete it and run `dvc repro`\.$"):
        read_rows("a.csv")


@pytest.mark.parametrize("read", [read_json, read_rows, lambda path: read_history(path, ["epoch"])])
def test_missing_file_is_rejected(read) -> None:
    with pytest.raises(UserError, match=r"^a is missing; run `dvc repro`\.$"):
        read("a")


def test_numbers_of_a_history_are_those_of_the_metrics() -> None:
    loss = 2 / 3
    write_csv("a.csv", ["loss"], [(loss,)])
    write_json("a.json", {"loss": loss})
    written = json.loads(Path("a.json").read_text())["loss"]
    assert read_history("a.csv", ["loss"])["loss"].tolist() == [written]
