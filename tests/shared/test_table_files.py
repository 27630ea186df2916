"""Files of tables are read as they are, or rejected in one sentence; written ones are whole."""

# ruff: noqa: E501  (sentences in one piece)

import csv
import gzip
import io
import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as encryption
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.core.errors import UserError
from stages.shared import csv_files, table_files
from stages.shared.table_files import (
    column_names,
    index_names,
    locate,
    read_chunks,
    write_table,
)

COMMAS = "Save it with commas."
LONG = "the row of line 2 must have fewer than 1048576 bytes; it has more. Look for a quotation mark that is not closed."
BEHIND = "text behind it. Close the value, or double the marks inside it."
MUST = ": line 1 must hold the column names; it"
ABOVE = "Remove the lines above the names, or name every column."
VALUES = "Put a line of names above it, or start each name with a letter."

# content of the file, the sentence behind its name
INVALID_CSV = [
    ("", " must start with a line of column names; it is empty."),
    ("a,t\n1,2\n1,2,3\n", ": line 3 must have 2 values, as line 1 has; it has 3."),
    ("a,t\n1,2\n\n5\n", ": line 4 must have 2 values, as line 1 has; it has 1."),
    ('a,t\n"1\n1",2\n5\n', ": line 4 must have 2 values, as line 1 has; it has 1."),
    ('a,n,t\n1,u,2\n2,"v,3\n3,w,4\n', ": the quotation mark that opens in line 3 is never closed. Close it."),
    ("a,t\n1,2\né,3\n".encode("latin1"), " must be UTF-8 text; line 3 is not. Save it as UTF-8."),
    ("é,t\n1,2\n".encode("latin1"), " must be UTF-8 text; line 1 is not. Save it as UTF-8."),
    ("a,t\n1,2\n".encode("utf-16"), " must be UTF-8 text; it is UTF-16. Save it as UTF-8."),
    ("a,t\n1,2\n".encode("utf-16-be"), " must be UTF-8 text; line 1 has a NUL byte, as UTF-16 and binary files have. Save it as UTF-8."),
    ("a,t\n1,2\n\0,3\n", " must be UTF-8 text; line 3 has a NUL byte, as UTF-16 and binary files have. Save it as UTF-8."),
    # Quotation marks that do not enclose whole values: Arrow makes fewer rows of them.
    ('n,a,t\nu,1,2\n"Weird Al,2,4\nv,3,6\n"Fatha" Hines,4,8\nw,5,9\n', f": the value that a quotation mark opens in line 3 must end with one; the one in line 5 has {BEHIND}"),
    ('n,t\n"a" b,1\n', f": the value that a quotation mark opens in line 2 must end with one; the one in line 2 has {BEHIND}"),
    ('n,t\nx,1\n"say \\"hi\\", she said",1\n', f": the value that a quotation mark opens in line 3 must end with one; the one in line 3 has {BEHIND}"),
    # A line 1 that is not the names of the columns
    ("\na,t\n1,2\n", f"{MUST} is blank. Remove the lines above the names."),
    (" \n\na,t\n1,2\n", f"{MUST} is blank. Remove the lines above the names."),
    (",,\na,b,t\n1,2,3\n", f"{MUST} is blank. Remove the lines above the names."),
    ("# made by R, 2020\na,t\n1,2\n", f"{MUST} is a comment, '# made by R, 2020'. Remove the line."),
    ("# made by R\na,t\n1,2\n", f"{MUST} is a comment, '# made by R'. Remove the line."),
    ("#made by R\na,t\n1,2\n", f"{MUST} has 1 value, '#made by R', and the rows below have 2. {ABOVE}"),
    ("# made by R\n# in 2020\na,t\n1,2\n3,4\n5,6\n", f"{MUST} has 1 value, '# made by R', and the rows below have 2. {ABOVE}"),
    ("Sales, in EUR\n\na,b,t\n1,2,3\n", f"{MUST} has 2 values, 'Sales, in EUR', and the rows below have 3. {ABOVE}"),
    (f"{'x' * 100}\na,t\n1,2\n", f"{MUST} has 1 value, '{'x' * 57}...', and the rows below have 2. {ABOVE}"),
    ("a,t\n1,2,3\n4,5,6\n", f"{MUST} has 2 values, 'a,t', and the rows below have 3. {ABOVE}"),
    ("sep=;\na;t\n1;2\n", f"{MUST} is a note to Excel, 'sep=;'. Remove the line."),
    ("sep=,\na,t\n1,2\n", f"{MUST} is a note to Excel, 'sep=,'. Remove the line."),
    ("<!DOCTYPE html>\n<html>\n", f"{MUST} is the start of a web page, '<!DOCTYPE html>'. Download the table itself."),
    ("5.1,3.5,1.4,0.2\n4.9,3.0,1.4,0.2\n", f"{MUST} seems to hold values, '5.1,3.5,1.4,0.2'. {VALUES}"),
    ("5,3,3\n4,3,1\n", f"{MUST} seems to hold values, '5,3,3'. {VALUES}"),
    ("3,,3\n4,3,1\n", f"{MUST} seems to hold values, '3,,3'. {VALUES}"),
    ("5.1,0.2,setosa\n4.9,0.2,virginica\n4.9,0.2,setosa\n", f"{MUST} seems to hold values, '5.1,0.2,setosa'. {VALUES}"),
    # Other delimiters
    ("a;t\n1;2\n", f" must separate values by commas; it has semicolons. {COMMAS[:-1]} and with points in numbers."),
    ("a;b, c;t\n1;2;3\n", f" must separate values by commas; it has semicolons. {COMMAS[:-1]} and with points in numbers."),
    ("a;b;t\n1,5;2,5;3,5\n4,5;5;6,5\n", f" must separate values by commas; it has semicolons. {COMMAS[:-1]} and with points in numbers."),
    ('"a";"t"\n"u, v";"2"\n', f" must separate values by commas; it has semicolons. {COMMAS[:-1]} and with points in numbers."),
    ("Sales 2020\na;t\n1;2\n3;4\n", f" must separate values by commas; it has semicolons. {COMMAS[:-1]} and with points in numbers."),
    ("a\tt\n1\t2\n", f" must separate values by commas; it has tabs. {COMMAS[:-1]}, or name it .tsv."),
    ("Name, first;t\nu;1\n", f" must separate values by commas; it has semicolons. {COMMAS[:-1]} and with points in numbers."),
    ("a|t\n1|2\n", f" must separate values by commas; it has bars. {COMMAS[:-1]} and with points in numbers."),
    ("a  b t\n1 2 3\n 4  5 6\n", f" must separate values by commas; it has spaces. {COMMAS}"),
    ("# a b t\n1 2 3\n4 5 6\n", f" must separate values by commas; it has spaces. {COMMAS}"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(content: str | bytes | Mapping[str, Any], path: str = "") -> str:
    """Write a table, as CSV if it is given as text, and return its path."""
    if isinstance(content, str | bytes):
        content = content if isinstance(content, bytes) else content.encode()
        path = path or "my.csv"
        Path(path).write_bytes(gzip.compress(content) if path.endswith(".gz") else content)
        return path
    table = content if isinstance(content, pa.Table) else pa.table(dict(content))
    pq.write_table(table, path or "my.parquet")
    return path or "my.parquet"


def write_parts(*tables: Mapping[str, Any]) -> str:
    """Write a folder of Parquet files and return its path."""
    Path("parts").mkdir()
    for number, table in enumerate(tables):
        write(table, f"parts/part.{number}.parquet")
    return "parts"


def read(path: str, names: Sequence[str] | None = None) -> dict[str, list[Any]]:
    """Return the values of columns of a table, or of all."""
    names = column_names(path) if names is None else names
    return pa.Table.from_batches(read_chunks(path, names)).to_pydict()


def error_of(path: str, names: Sequence[str] | None = None) -> str:
    with pytest.raises(UserError) as error:
        read(path, names)
    return str(error.value)


# What is rejected


@pytest.mark.parametrize(("content", "sentence"), INVALID_CSV)
def test_invalid_csv_is_rejected_in_one_sentence(content: str | bytes, sentence: str) -> None:
    assert error_of(write(content)) == f"my.csv{sentence}"
    assert error_of(write(content, "my.csv.gz")) == f"my.csv.gz{sentence}"


@pytest.mark.parametrize("path", ["my.csv", "my.parquet", "parts", "parts/", "my.csv/a.csv"])
def test_missing_table_is_rejected(path: str) -> None:
    if path == "my.csv/a.csv":
        write("a,t\n1,2\n", "my.csv")
    assert error_of(path) == (
        f"{path} is missing; correct the path, or run `dvc repro` if a stage writes the file."
    )


@pytest.mark.parametrize(
    ("path", "function"), [("my.csv", "builtins.open"), ("parts", "os.listdir")]
)
def test_table_without_permission_is_rejected(
    path: str, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parts({"a": [1]})
    write("a,t\n1,2\n")
    monkeypatch.setattr(function, raise_error(PermissionError(13, "Permission denied")))
    with pytest.raises(UserError) as error:
        column_names(path)
    assert str(error.value) == f"{path} cannot be read: Permission denied."


def test_file_of_another_type_is_rejected() -> None:
    assert error_of(write("a,t\n1,2\n", "my.xlsx")) == (
        "my.xlsx must be a .csv, .tsv, .csv.gz, .tsv.gz or .parquet file; convert it to one."
    )


@pytest.mark.parametrize("path", ["my.csv", "my.parquet", "parts/part.0.parquet"])
def test_pointer_of_git_lfs_is_rejected(path: str) -> None:
    Path("parts").mkdir()
    Path(path).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 1\n")
    assert error_of("parts" if path.startswith("parts") else path) == (
        f"{path} must be a table; it is a pointer of Git LFS. Run `git lfs pull`."
    )


def test_commas_in_a_tsv_are_reported() -> None:
    assert error_of(write("a,t\n1,2\n", "my.tsv")) == (
        "my.tsv must separate values by tabs; it has commas. Save it with tabs, or name it .csv."
    )


@pytest.mark.parametrize("change", ["short", "flipped", "plain"])
def test_corrupted_gzip_is_rejected(change: str) -> None:
    path = Path(write("a,t\n" + "".join(f"{k},{k * k}\n" for k in range(99999)), "my.csv.gz"))
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # of the checksum
    contents = {"short": content[:-9999], "flipped": content, "plain": b"a,t\n1,2\n"}
    path.write_bytes(contents[change])
    assert error_of("my.csv.gz") == (
        "my.csv.gz must be a complete gzip file; it is corrupted or truncated. Copy it again."
    )


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


class KeysInClear(encryption.KmsClient):
    """A key service that hides nothing."""

    def wrap_key(self, key_bytes: bytes, _: str) -> bytes:
        return b64encode(key_bytes)

    def unwrap_key(self, wrapped_key: bytes, _: str) -> bytes:
        return b64decode(wrapped_key)


@pytest.mark.parametrize(
    ("is_clear", "reason"),
    [
        (False, "Could not read encrypted metadata, no decryption found in reader's properties"),
        (True, "Cannot decrypt ColumnMetadata. FileDecryption is not setup correctly"),
    ],
    ids=["all", "one column"],
)
def test_encrypted_parquet_is_rejected_with_the_reason(is_clear: bool, reason: str) -> None:
    keys = encryption.EncryptionConfiguration(
        footer_key="f", column_keys={"c": ["a"]}, plaintext_footer=is_clear
    )
    properties = encryption.CryptoFactory(lambda _: KeysInClear()).file_encryption_properties(
        encryption.KmsConnectionConfig(), keys
    )
    table = pa.table({"a": [1, 2], "t": [3, 4]})
    with pq.ParquetWriter("my.parquet", table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    assert error_of("my.parquet") == (
        f"my.parquet cannot be read: {reason}. Write it without encryption, and with Snappy or "
        "Zstandard as compression."
    )


def test_codec_that_arrow_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence is Arrow's for a file whose footer was changed to name this codec."""
    path = write({"a": [1, 2]})
    reason = (
        "While LZO compression is supported by the Parquet format in general, it is currently not "
        "supported by the C++ implementation."
    )
    monkeypatch.setattr(pq, "read_schema", raise_error(OSError(f"{reason}\nMore.")))
    assert error_of(path).startswith(f"my.parquet cannot be read: {reason} Write it without")


def raise_error(error: Exception) -> Callable[..., None]:
    def function(*_: Any) -> None:
        raise error

    return function


@pytest.mark.parametrize("rows", ["1" * 3_000_000 + ",3", '"1,2\n' + "3,4\n" * 300_000])
def test_row_longer_than_a_block_is_rejected(rows: str) -> None:
    assert error_of(write(f"a,t\n{rows}\n5,6\n")) == f"my.csv: {LONG}"


def test_row_of_long_values_is_rejected_with_its_line() -> None:
    row = ",".join("1" * 900_000 for _ in range(4))
    assert error_of(write(f"a,b,c,t\n1,2,3,4\n\n{row}\n")) == f"my.csv: {LONG.replace('2', '4', 1)}"


@pytest.mark.parametrize("path", ["my.csv", "my.parquet"])
def test_name_that_is_used_must_be_distinct(path: str) -> None:
    table = pa.table([[1], [2], [3]], names=["a", "t", "a"])
    write("a,t,a\n1,2,3\n" if path == "my.csv" else table)
    assert error_of(path, ["t", "a"]) == (
        f"{path}: column names must be distinct; a appears 2 times. Rename one."
    )


# Folders of Parquet files


def test_parts_are_read_in_natural_order() -> None:
    path = write_parts(*({"a": [number], "t": [f"u{number}"]} for number in range(11)))
    assert column_names(path) == ["a", "t"]
    assert read(path) == {"a": list(range(11)), "t": [f"u{number}" for number in range(11)]}
    assert read("parts/", ["t"]) == {"t": [f"u{number}" for number in range(11)]}


def test_what_spark_and_dask_add_is_left_out() -> None:
    path = write_parts({"a": [1]}, {"a": pa.array([], pa.int64())}, {"a": [2]})
    for name in ("_SUCCESS", "_metadata", "_common_metadata", ".part.0.parquet.crc", ".DS_Store"):
        Path(path, name).write_bytes(b"x")
    assert read(path) == {"a": [1, 2]}


def test_categories_and_text_are_one_type_in_all_parts() -> None:
    texts = pa.array(["u", "v"])
    path = write_parts(
        {"n": texts}, {"n": texts.dictionary_encode()}, {"n": texts.cast(pa.string_view())}
    )
    assert read(path) == {"n": ["u", "v"] * 3}


@pytest.mark.parametrize(
    ("column", "type_"),
    [({"a": [1.5]}, "double"), ({"a": ["1"]}, "string"), ({"b": [1]}, "missing")],
)
def test_columns_of_another_part_must_have_the_same_type(column: dict, type_: str) -> None:
    path = write_parts({"t": [1], "a": [1]}, {"t": [1], **column})
    assert error_of(path) == (
        f"parts: column a must have one type; it is int64 in part.0.parquet and {type_} in "
        "part.1.parquet. Write the table as one file."
    )
    assert read(path, ["t"]) == {"t": [1, 1]}


@pytest.mark.parametrize("name", ["year=2020", "_delta_log", "_temporary", ".hoodie"])
def test_folder_in_a_folder_is_rejected(name: str) -> None:
    Path(write_parts({"a": [1]}), name).mkdir()
    assert error_of("parts") == (
        f"parts must have .parquet files only; it has the folder {name}. Write the table as one "
        "file, with the program that wrote the folder."
    )


def test_other_file_in_a_folder_is_rejected() -> None:
    Path(write_parts({"a": [1]}), "000001_0").touch()
    assert error_of("parts") == (
        "parts must have .parquet files only; it has 000001_0. Move it elsewhere."
    )


@pytest.mark.parametrize("path", ["my.csv", "parts"])
def test_folder_without_parquet_files_is_rejected(path: str) -> None:
    Path(path).mkdir()
    assert error_of(path) == (
        f"{path} must be one table file, or have .parquet files; it is a folder without any."
    )


def test_corrupted_part_is_named() -> None:
    Path(write_parts({"a": [1]}, {"a": [2]}), "part.1.parquet").write_bytes(b"PAR1")
    assert error_of("parts") == (
        "parts/part.1.parquet must be a complete Parquet file; it is corrupted or truncated. Copy "
        "it again."
    )


def test_index_of_parts_that_pandas_wrote_is_known() -> None:
    Path("parts").mkdir()
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.Index([7, 8], name="key"))
    frame.to_parquet("parts/part.0.parquet")
    assert index_names("parts") == index_names("parts/part.0.parquet") == ["key"]
    assert index_names(write("a,t\n1,2\n")) == []


# What is read


def test_marks_that_open_no_value_need_no_slow_check(monkeypatch: pytest.MonkeyPatch) -> None:
    path = write('n,t\n5" pipe,1\n6"",2\n')
    monkeypatch.setattr(csv_files, "read_rows", raise_error(AssertionError("slow")))
    csv_files.check_content(path)


def test_byte_order_mark_is_no_value_before_a_quotation_mark(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write('\ufeff"a","t"\n"1","2"\n')
    monkeypatch.setattr(csv_files, "read_rows", raise_error(AssertionError("slow")))
    csv_files.check_content(path)


def test_byte_order_mark_is_not_part_of_the_first_name() -> None:
    assert read(write('\ufeff"a, b",t\n1,2\n')) == {"a, b": ["1"], "t": ["2"]}


@pytest.mark.parametrize(
    "line",
    [
        "a;b,c|d,t",
        "x;y,z,t",
        "#id,# x,t",
        "# id,x,t",
        "2018,2019,2020",
        "0,1,2",
        ",0,1",
        "1000.5,1001,t",
        "2020,2019,t",
        "2020,2020.1,t",
        "2020,2019,2017",
        "u,x,t",
        "two words,and two,t",
        "a,,t",
        "a,t,",
        "a,t,a",
        "a, ,t",
        "<b>,t,u",
        '"two\nlines",a,t',
    ],
)
def test_names_are_read_as_they_are(line: str) -> None:
    names = next(csv.reader(io.StringIO(line, newline="")))
    path = write(f"{line}\nu,v v,1\nw,x x,2\n")
    assert column_names(path) == names
    distinct = [name for name in names if names.count(name) == 1]
    columns = dict(zip(names, (["u", "w"], ["v v", "x x"], ["1", "2"]), strict=True))
    assert read(path, distinct) == {name: columns[name] for name in distinct}


def test_one_column_of_text_may_have_spaces() -> None:
    assert read(write("full name\nAda King\nJohn 2 Doe\n")) == {
        "full name": ["Ada King", "John 2 Doe"]
    }


def test_columns_come_in_the_order_of_the_names() -> None:
    assert list(read(write("a,b,t\n1,2,3\n"), ["t", "a"])) == ["t", "a"]
    assert list(read(write({"a": [1], "b": [2], "t": [3]}), ["t", "a"])) == ["t", "a"]


def test_name_that_is_not_used_may_appear_twice_in_parquet() -> None:
    path = write(pa.table([[1], [2], [3], [4]], names=["a", "t", "a", ""]))
    assert column_names(path) == ["a", "t", "a", ""]
    assert read(path, ["", "t"]) == {"": [4], "t": [2]}


def test_name_with_a_dot_is_no_field_of_another_column() -> None:
    path = write({"s": pa.array([{"x": 1}]), "s.x": [2]})
    assert read(path, ["s.x"]) == {"s.x": [2]}


@pytest.mark.parametrize("end", ["", "\n", "\n\n\n", "\r\n\r\n"])
def test_blank_lines_are_no_rows(end: str) -> None:
    assert read(write(f"a,t\n1,2\n\n\n3,4{end}")) == {"a": ["1", "3"], "t": ["2", "4"]}


def test_blank_line_of_one_column_is_a_missing_value() -> None:
    assert read(write('a\n1\n\n3\n""\n')) == {"a": ["1", "", "3", ""]}


@pytest.mark.parametrize("content", ["a,t", "a,t\n", "a,t\n\n\n", "a", "a\n"])
def test_table_without_rows_has_no_chunks(content: str) -> None:
    path = write(content)
    assert list(read_chunks(path, column_names(path))) == []


def test_quotes_may_be_part_of_a_value() -> None:
    values = read(write('n,a\n5" pipe,1\n"a ""b"", c",3\n"two\nlines",5\nu "v" w,6\n"""x""",7\n'))
    texts = ['5" pipe', 'a "b", c', "two\nlines", 'u "v" w', '"x"']
    assert values == {"n": texts, "a": ["1", "3", "5", "6", "7"]}


@pytest.mark.parametrize("path", ["my.csv", "my.tsv", "my.csv.gz", "my.tsv.gz"])
def test_every_kind_of_csv_gives_the_same_columns(path: str) -> None:
    delimiter = "\t" if "tsv" in path else ","
    rows = [["a", "n", "t"], ["1", "u,v\tw", "2"], ["3", "x", "4"]]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows(rows)
    assert read(write(text.getvalue(), path)) == {
        "a": ["1", "3"],
        "n": ["u,v\tw", "x"],
        "t": ["2", "4"],
    }


def test_gzip_of_several_members_is_read_whole() -> None:
    path = Path("my.csv.gz")
    path.write_bytes(gzip.compress(b"a,t\n1,2\n") + gzip.compress(b"3,4\n"))
    assert read("my.csv.gz") == {"a": ["1", "3"], "t": ["2", "4"]}


@pytest.mark.parametrize("path", ["my.csv", "my.csv.gz"])
def test_chunks_give_the_whole_table(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write("a,t\n" + "".join(f"{number},0\n" for number in range(5000)), path)
    monkeypatch.setattr(csv_files, "BLOCK", 4096)
    assert len(list(read_chunks(path, ["a"]))) > 3
    assert read(path)["a"] == [str(number) for number in range(5000)]


def test_chunks_of_parquet_give_the_whole_table(monkeypatch: pytest.MonkeyPatch) -> None:
    path = write({"a": range(5000), "t": range(5000)})
    monkeypatch.setattr(table_files, "BATCH_VALUES", 2000)
    assert [len(batch) for batch in read_chunks(path, ["a", "t"])] == [1000] * 5
    assert read(path)["a"] == list(range(5000))


TEXTS = st.text(st.sampled_from('ab ,;"\n\té'), max_size=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(1, 4).flatmap(
        lambda n: st.lists(st.lists(TEXTS, min_size=n, max_size=n), min_size=1, max_size=40)
    ),
    writer=st.sampled_from(["csv", "quoted", "pandas", "arrow"]),
    suffix=st.sampled_from([".csv", ".tsv"]),
    block=st.sampled_from([1, 3, 2**20]),
)
def test_written_texts_are_read_back(
    rows: list[list[str]], writer: str, suffix: str, block: int
) -> None:
    """Marks that writers put are in order by the quick check, in blocks as small as a byte."""
    names = [f"name {number}" for number in range(len(rows[0]))]
    delimiter = "\t" if suffix == ".tsv" else ","
    path = f"my{suffix}"
    if writer == "pandas":
        pd.DataFrame(rows, columns=names).to_csv(path, sep=delimiter, index=False)
    elif writer == "arrow":
        options = pacsv.WriteOptions(delimiter=delimiter)
        columns = [list(column) for column in zip(*rows, strict=True)]
        pacsv.write_csv(pa.table(columns, names=names), path, options)
    else:
        with open(path, "w", encoding="utf-8", newline="") as file:
            quoting = csv.QUOTE_ALL if writer == "quoted" else csv.QUOTE_MINIMAL
            csv.writer(file, delimiter=delimiter, quoting=quoting).writerows([names, *rows])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_files, "BLOCK", block)
        patch.setattr(csv_files, "read_rows", raise_error(AssertionError("slow")))
        csv_files.check_content(path)
    assert read(path) == {
        name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=500)
@given(text=st.text(st.sampled_from('a,"\n\r '), max_size=12), block=st.sampled_from([1, 2, 5, 99]))
def test_any_text_is_read_as_the_csv_module_does_or_rejected(text: str, block: int) -> None:
    path = write(f"x,y\n{text}")
    rows = list[list[str]]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_files, "BLOCK", block)
        try:
            rows = list(csv.reader(io.StringIO(f"x,y\n{text}", newline=""), strict=True))[1:]
        except csv.Error:
            with pytest.raises(UserError, match="quotation mark"):
                csv_files.check_content(path)
            return
        csv_files.check_content(path)
    rows = [row for row in rows if row]
    if any(len(row) != 2 for row in rows):
        assert "line" in error_of(path)
    elif rows:
        x, y = (list(column) for column in zip(*rows, strict=True))
        assert read(path) == {"x": x, "y": y}


# Where a row is


def test_rows_of_csv_are_located_by_the_line_that_an_editor_shows() -> None:
    path = write('a,"t\nwo"\n1,2\n\n"two\nlines",4\r\n5,"6"\n\n7,8')
    assert read(path)["a"] == ["1", "two\nlines", "5", "7"]
    assert [locate(path, row) for row in (1, 2, 3, 4)] == ["line 3", "line 5", "line 7", "line 9"]


def test_blank_lines_of_one_column_are_located() -> None:
    path = write("a\n1\n\n3\n")
    assert [locate(path, row) for row in (1, 2, 3)] == ["line 2", "line 3", "line 4"]


def test_rows_of_parquet_are_located_by_their_number() -> None:
    assert locate(write({"a": [1, 2]}), 2) == "row 2"
    assert locate(write_parts({"a": [1]}, {"a": [2]}), 2) == "row 2"


def test_row_behind_a_byte_that_is_not_utf8_is_located() -> None:
    path = write("a,n\n1,é\n2,u\n".encode("latin1"))
    assert read(path, ["a"]) == {"a": ["1", "2"]}
    assert locate(path, 2) == "line 3"


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


def test_folder_has_no_truth() -> None:
    Path("parts").mkdir()
    write_two_chunks()
    os.rename("my.parquet", "parts/part.0.parquet")
    table = pq.read_table("parts/part.0.parquet").combine_chunks()
    assert table_files.read_truth("parts/part.0.parquet", table) == "{}"
    assert table_files.read_truth("parts", table) is None


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
