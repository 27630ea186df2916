"""Files of tables are read as they are, or rejected in one sentence, and written whole."""

# ruff: noqa: E501  (sentences in one piece)

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.core.errors import UserError
from stages.shared import table_files
from stages.shared.table_files import column_names, read_chunks, write_table

# content of the file, the sentence behind its name
INVALID_CSV = [
    ("", " must start with a line of column names; it is empty."),
    ("a,t,a\n1,2,3\n", ": column names must be distinct; a appears 2 times. Rename one."),
    ("a, ,t\n1,2,3\n", ": every column must have a name; column 2 has none. Name it."),
    ("a,,t\n1,2,3\n", ": every column must have a name; column 2 has none. Name it."),
    ("a;t\n1;2\n", " must separate values by commas; line 1 has semicolons. Save it with commas."),
    ("a\tt\n1\t2\n", " must separate values by commas; line 1 has tabs. Save it with commas."),
    ("a|t\n1|2\n", " must separate values by commas; line 1 has bars. Save it with commas."),
    ("a,t\n1,2\n1,2,3\n", ": row 2 must have 2 values, as line 1 has; it has 3."),
    ("a,t\n1,2\n5\n", ": row 2 must have 2 values, as line 1 has; it has 1."),
    ('a,n,t\n1,u,2\n2,"v,3\n3,w,4\n', ": the quotation mark that opens in row 2 is never closed. Close it."),
    ("a,t\n1,2\né,3\n".encode("latin1"), " must be UTF-8 text; line 3 is not. Save it as UTF-8."),
    ("é,t\n1,2\n".encode("latin1"), " must be UTF-8 text; line 1 is not. Save it as UTF-8."),
    ("a,t\n1,2\n".encode("utf-16"), " must be UTF-8 text; line 1 is not. Save it as UTF-8."),
]  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(content: str | bytes | Mapping[str, Any]) -> str:
    """Write a table, as CSV if it is given as text, and return its path."""
    if isinstance(content, str | bytes):
        Path("my.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        return "my.csv"
    pd.DataFrame(content).to_parquet("my.parquet")
    return "my.parquet"


def read(path: str) -> dict[str, list[Any]]:
    """Return the values of all columns of a table."""
    return pa.Table.from_batches(read_chunks(path, column_names(path))).to_pydict()


def error_of(path: str) -> str:
    with pytest.raises(UserError) as error:
        read(path)
    return str(error.value)


# What is rejected


@pytest.mark.parametrize(("content", "sentence"), INVALID_CSV)
def test_invalid_csv_is_rejected_in_one_sentence(content: str | bytes, sentence: str) -> None:
    assert error_of(write(content)) == f"my.csv{sentence}"


@pytest.mark.parametrize("path", ["my.csv", "my.parquet"])
def test_missing_table_is_rejected(path: str) -> None:
    assert error_of(path) == (
        f"{path} is missing; correct the path, or run `dvc repro` if a stage writes the file."
    )


def test_folder_is_rejected() -> None:
    Path("my.csv").mkdir()
    assert error_of("my.csv") == "my.csv is a folder; give the path of one .csv or .parquet file."


def test_file_of_another_type_is_rejected() -> None:
    assert error_of("my.xlsx") == "my.xlsx must be a .csv or .parquet file; convert it to one."


@pytest.mark.parametrize("size", [0, 4, 100, -1, -30])
def test_truncated_parquet_is_rejected(size: int) -> None:
    path = Path(write({"a": [1, 2], "t": [1, 2]}))
    path.write_bytes(path.read_bytes()[:size])
    assert error_of(str(path)) == (
        "my.parquet must be a complete Parquet file; it is corrupted or truncated. Copy it again."
    )


def test_corrupted_page_of_a_parquet_is_rejected() -> None:
    path = Path(write({"a": np.random.default_rng(0).random(1000)}))
    content = bytearray(path.read_bytes())
    content[4:40] = b"\xff" * 36
    path.write_bytes(content)
    with pytest.raises(UserError, match="must be a complete Parquet file"):
        list(read_chunks(str(path), ["a"]))


def test_value_longer_than_a_block_is_rejected() -> None:
    path = write("a,t\n1,2\n" + "1" * (3 * table_files.BLOCK) + ",3\n")
    assert error_of(path) == (
        f"my.csv must have rows of fewer than {table_files.BLOCK} bytes; it has longer ones."
    )


# What is read


def test_byte_order_mark_is_not_part_of_the_first_name() -> None:
    assert column_names(write("\ufeffa,t\n1,2\n")) == ["a", "t"]


def test_name_may_hold_what_separates_values_elsewhere() -> None:
    assert column_names(write("a;b,c|d,t\n1,2,3\n")) == ["a;b", "c|d", "t"]


def test_quotes_may_be_part_of_a_value() -> None:
    values = read(write('n,a\n5" pipe,1\n"a ""b"", c",3\n"two\nlines",5\n'))
    assert values == {"n": ['5" pipe', 'a "b", c', "two\nlines"], "a": ["1", "3", "5"]}


def test_chunks_give_the_whole_table(monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("a,t\n" + "".join(f"{number},0\n" for number in range(5000)))
    monkeypatch.setattr(table_files, "BLOCK", 4096)
    assert len(list(read_chunks(path, ["a"]))) > 3
    assert read(path)["a"] == [str(number) for number in range(5000)]


# Writing


def write_two_chunks() -> int:
    chunks = [("train", {"a": np.array([1.0, 2.0])}), ("test", {"a": np.array([3.0])})]
    return write_table("my.parquet", {"a": pa.float64()}, chunks, truth="{}")


def test_written_table_has_the_split_as_its_last_column() -> None:
    assert write_two_chunks() == 3
    frame = pd.read_parquet("my.parquet")
    assert frame.to_dict("list") == {"a": [1, 2, 3], "split": ["train", "train", "test"]}


def test_written_table_describes_its_simulation() -> None:
    write_two_chunks()
    assert (
        table_files.read_truth("my.parquet", pq.read_table("my.parquet").combine_chunks()) == "{}"
    )


def test_truth_does_not_outlive_a_changed_value() -> None:
    write_two_chunks()
    table = pq.read_table("my.parquet").combine_chunks()
    for name, column in zip(table.column_names, table.columns, strict=True):
        values = column.to_pylist()
        values[0], values[-1] = values[-1], values[0]
        index = table.column_names.index(name)
        changed = table.set_column(index, name, pa.array(values, column.type)).combine_chunks()
        assert changed != table
        assert table_files.read_truth("my.parquet", changed) is None
    assert table_files.read_truth("my.parquet", table.slice(1).combine_chunks()) is None


def test_columns_are_not_compressed_and_chunks_are_row_groups() -> None:
    write_two_chunks()
    metadata = pq.ParquetFile("my.parquet").metadata
    assert metadata.num_row_groups == 2
    assert metadata.row_group(0).column(0).compression == "UNCOMPRESSED"


def test_failure_while_writing_leaves_no_file() -> None:
    def chunks():
        yield "train", {"a": np.array([1.0])}
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_table("my.parquet", {"a": pa.float64()}, chunks(), truth="{}")
    assert os.listdir() == []


def test_written_table_is_not_compressed_and_its_numbers_have_no_dictionary(tmp_path: Path) -> None:
    path = str(tmp_path / "t.parquet")
    write_table(path, {"x": pa.float64()}, [("train", {"x": np.arange(3.0)})], "{}")
    group = pq.read_metadata(path).row_group(0)
    columns = [group.column(number) for number in range(2)]
    assert [column.compression for column in columns] == ["UNCOMPRESSED"] * 2
    assert [column.has_dictionary_page for column in columns] == [False, True]
