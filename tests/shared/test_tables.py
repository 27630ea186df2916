"""Columns of tables are read as they are, or rejected in one sentence with row and column."""

# ruff: noqa: E501  (sentences in one piece)

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.core.errors import UserError
from stages.shared.tables import Table, read_table, to_float64, to_labels

NUMBER = "must be a number from -1e30 to 1e30; got"
SPLIT = "Correct the table, or rename the column to have the table split at random."
MISSING_LABEL = "must be a label, text or an integer; got a missing value. Correct the table."

# content of the file, the sentence behind its name
INVALID_CSV = [
    ("a,t", " must have rows below the column names; it has none."),
    ("a,t\n", " must have rows below the column names; it has none."),
    ("a,t\n1,2\nx,3\n", f": row 2, column a {NUMBER} 'x'. Correct the table."),
    ("a,t\n1,2\n,3\n", f": row 2, column a {NUMBER} '', a missing value. Correct the table."),
    ("a,t\n1,2\n2,NA\n", f": row 2, column t {NUMBER} 'NA', a missing value. Correct the table."),
    ("a,t\n1,2\n2,\n", f": row 2, column t {NUMBER} '', a missing value. Correct the table."),
    ("a,t\n1,2\n-inf,3\n", f": row 2, column a {NUMBER} '-inf'. Correct the table."),
    ("a,t\n1,2\n1e31,3\n", f": row 2, column a {NUMBER} '1e31'. Correct the table."),
    ("a,t\n1,2\n-1e31,3\n", f": row 2, column a {NUMBER} '-1e31'. Correct the table."),
    ("a,t\n+1,2\n++2,3\n", f": row 2, column a {NUMBER} '++2'. Correct the table."),
    ("a,t\n1,2\n1e400,3\n", f": row 2, column a {NUMBER} '1e400'. Correct the table."),
    ("a,u\n1,2\n", ": column 't' does not exist; the columns are 'a', 'u'. Correct target or features in params.yaml."),
    ("n,t\nu,1\nv,2\n", " must have a numeric column besides t; it has none."),
    ("a,split,t\n1,train,2\n2,tset,3\n", f": row 2, column split must be train or test; got 'tset'. {SPLIT}"),
    ("a,split,t\n1,train,2\n2,Test,3\n", f": row 2, column split must be train or test; got 'Test'. {SPLIT}"),
    ("a,split,t\n1,train,2\n2,,3\n", f": row 2, column split must be train or test; got ''. {SPLIT}"),
    ("a,split,t\n1,train,2\n2,train,3\n", f": column split must have rows with train and with test; none has test. {SPLIT}"),
    ("a,split,t\n1,test,2\n2,test,3\n", f": column split must have rows with train and with test; none has train. {SPLIT}"),
    ("split,t\ntrain,1\ntest,2\n", " must have a numeric column besides t; it has none."),
]  # fmt: skip

INVALID_PARQUET = [
    ({"a": [1.0, np.nan], "t": [1, 2]}, f": row 2, column a {NUMBER} None, a missing value. Correct the table."),
    ({"a": [1.0, np.inf], "t": [1, 2]}, f": row 2, column a {NUMBER} inf. Correct the table."),
    ({"a": [1.0, 2.0], "t": [True, False]}, f": row 1, column t {NUMBER} True. Correct the table."),
    ({"a": ["x", "y"], "t": [1, 2]}, " must have a numeric column besides t; it has none."),
    ({"a": [1, 2], "t": [1, 2], "split": ["train", None]}, f": row 2, column split must be train or test; got None. {SPLIT}"),
    ({"a": [1, 2], "t": [1, 2], "split": [0, 1]}, f": row 1, column split must be train or test; got '0'. {SPLIT}"),
]  # fmt: skip

# labels, the sentence behind the name of the file
INVALID_LABELS = [
    (pa.array(["r", " ", "s"]), f": row 2, column t {MISSING_LABEL}"),
    (pa.array(["r", None]), f": row 2, column t {MISSING_LABEL}"),
    (pa.array([True, None]), f": row 2, column t {MISSING_LABEL}"),
    (pa.array([1, 1, None, 2]), f": row 3, column t {MISSING_LABEL}"),
    (pa.array([0.5, 1.5]), ": column t must hold labels, which are text or integers; its type is double. Convert it, or choose another target."),
    (pa.array([2**63 + 5, 1], pa.uint64()), ": column t must hold integers of at most 64 bits; it holds larger ones. Convert them to text."),
]  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(content: str | bytes | Mapping[str, Any] | pa.Table) -> str:
    """Write a table, as CSV if it is given as text, and return its path."""
    if isinstance(content, str | bytes):
        Path("my.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        return "my.csv"
    if isinstance(content, Mapping):
        pd.DataFrame(content).to_parquet("my.parquet")
    else:
        pq.write_table(content, "my.parquet")
    return "my.parquet"


def read(path: str, features: str | Sequence[str] = "all") -> tuple[dict[str, list[float]], Table]:
    """Return the values of a table whose target, t, is a number, and the table."""
    table = read_table(path, "t", features)
    names = table.columns.column_names
    return {name: to_float64(table.column(name), path, name).tolist() for name in names}, table


def error_of(path: str, features: str | Sequence[str] = "all") -> str:
    with pytest.raises(UserError) as error:
        read(path, features)
    return str(error.value)


# What is rejected


@pytest.mark.parametrize(("content", "sentence"), INVALID_CSV)
def test_invalid_csv_is_rejected_in_one_sentence(content: str | bytes, sentence: str) -> None:
    assert error_of(write(content)) == f"my.csv{sentence}"


@pytest.mark.parametrize(("content", "sentence"), INVALID_PARQUET)
def test_invalid_parquet_is_rejected_in_one_sentence(
    content: dict[str, list], sentence: str
) -> None:
    assert error_of(write(content)) == f"my.parquet{sentence}"


@pytest.mark.parametrize(("labels", "sentence"), INVALID_LABELS)
def test_invalid_labels_are_rejected_in_one_sentence(labels: pa.Array, sentence: str) -> None:
    with pytest.raises(UserError) as error:
        to_labels(labels, "my.csv", "t")
    assert str(error.value) == f"my.csv{sentence}"


def test_listed_feature_that_holds_text_is_rejected() -> None:
    path = write("a,n,t\n1,u,3\n2,v,4\n")
    assert error_of(path, ["a", "n"]) == (
        f"my.csv: row 1, column n {NUMBER} 'u'. Correct the table."
    )


def test_listed_feature_that_does_not_exist_is_rejected() -> None:
    assert error_of(write("a,t\n1,2\n"), ["b"]) == (
        "my.csv: column 'b' does not exist; the columns are 'a', 't'. Correct target or features in "
        "params.yaml."
    )


@pytest.mark.parametrize(("target", "features"), [("t", ["split"]), ("split", ["a"])])
def test_split_is_neither_a_feature_nor_the_target(target: str, features: list[str]) -> None:
    path = write("a,split,t\n1,train,2\n2,test,3\n")
    with pytest.raises(UserError) as error:
        read_table(path, target, features)
    assert str(error.value) == (
        "my.csv: column split divides the rows into train and test, so it cannot be a feature or "
        "the target; rename it."
    )


def test_invalid_value_in_a_later_chunk_is_reported_with_its_row() -> None:
    with pytest.raises(UserError, match="my.csv: row 105, column t must be a number"):
        to_float64(pa.array(["1", "2", "x"]), "my.csv", "t", first_row=103)
    with pytest.raises(UserError, match="my.parquet: row 8, column a must be a number"):
        to_float64(pa.array([1.0, None]), "my.parquet", "a", first_row=7)


# Which columns are read


def test_all_features_are_the_numeric_columns_and_the_others_are_left_out() -> None:
    values, table = read(write("a,day,t,n\n1,2026-01-01,2,u\n4,2026-01-02,5,v\n7,x,8,w\n"))
    assert values == {"a": [1, 4, 7], "t": [2, 5, 8]}
    assert table.left_out == ["day", "n"]


def test_listed_features_come_in_their_order() -> None:
    values, table = read(write("a,b,c,t\n1,2,u,3\n4,5,v,6\n"), ["b", "a"])
    assert list(values) == ["b", "a", "t"]
    assert table.left_out == []


def test_index_that_pandas_writes_is_not_a_feature() -> None:
    frame = pd.DataFrame({"a": [1, 2, 3, 4], "t": [5, 6, 7, 8]}).iloc[[2, 0, 3, 1]]
    values, table = read(write(frame.to_dict("series")))
    assert values == {"a": [3, 1, 4, 2], "t": [7, 5, 8, 6]}
    assert table.left_out == ["__index_level_0__"]


def test_index_that_pandas_writes_is_read_where_it_is_listed() -> None:
    frame = pd.DataFrame({"t": [5, 6]}, index=pd.Index([7, 8], name="a"))
    frame.to_parquet("my.parquet")
    assert read("my.parquet", ["a"])[0] == {"a": [7, 8], "t": [5, 6]}


# The split


@pytest.mark.parametrize(
    "content",
    [
        "a,split,t\n1,train,2\n2,test,3\n3, train ,4\n",
        pa.table({"a": [1, 2, 3], "split": ["train", "test", "train"], "t": [2, 3, 4]}),
        pa.table(
            {
                "a": [1, 2, 3],
                "split": pa.array(["train", "test", "train"]).dictionary_encode(),
                "t": [2, 3, 4],
            }
        ),
    ],
    ids=["csv", "text", "categories"],
)
def test_column_split_marks_the_test_rows(content: str | pa.Table) -> None:
    values, table = read(write(content))
    assert values == {"a": [1, 2, 3], "t": [2, 3, 4]}
    assert table.test is not None
    assert table.test.tolist() == [False, True, False]
    assert table.left_out == []


def test_column_split_is_used_with_listed_features_too() -> None:
    _, table = read(write("a,split,t\n1,train,2\n2,test,3\n"), ["a"])
    assert table.test is not None
    assert table.test.tolist() == [False, True]


def test_table_without_a_split_column_has_no_split() -> None:
    assert read(write("a,t\n1,2\n"))[1].test is None


# The values


def test_every_value_is_read_to_the_last_bit() -> None:
    values = np.random.default_rng(0).standard_normal(500) * 10.0 ** np.arange(-250, 250) / 1e250
    rows = "".join(f"{value!r},{number}\n" for number, value in enumerate(values.tolist()))
    assert read(write(f"a,t\n{rows}"))[0]["a"] == values.tolist()


def test_csv_and_parquet_give_the_same_values() -> None:
    from_csv, _ = read(write("a,t\n1.5,1\n2,-2e3\n"))
    from_parquet, _ = read(write({"a": [1.5, 2], "t": [1, -2000]}))
    assert from_csv == from_parquet == {"a": [1.5, 2], "t": [1, -2000]}


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["1.5", " 2 ", "3"], pa.string_view()),
        pa.array(["1.5", "2", "3"], pa.large_string()),
        pa.array([1.5, 2, 3]).dictionary_encode(),
        pa.array([1.5, 2, 3], pa.float32()),
        pa.array(["1.5", "2.0", "3.0"]).cast(pa.decimal128(21, 1)),
    ],
    ids=lambda column: str(column.type),
)
def test_every_arrow_type_of_numbers_is_read(column: pa.Array) -> None:
    values, _ = read(write(pa.table({"a": column, "t": [1, 2, 3]})))
    assert values["a"] == [1.5, 2, 3]


@pytest.mark.parametrize(
    ("column", "labels"),
    [
        (pa.array(["2", "1"]), [2, 1]),
        (pa.array(["-3", "0"]), [-3, 0]),
        (pa.array(["01", "2"]), ["01", "2"]),
        (pa.array(["u", "1"]), ["u", "1"]),
        (pa.array(["u", "v"], pa.large_string()), ["u", "v"]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array([7, 8], pa.uint8()), [7, 8]),
    ],
)
def test_labels_are_integers_where_all_are_written_as_such(
    column: pa.Array, labels: list[object]
) -> None:
    assert to_labels(column, "my.csv", "t").tolist() == labels


def test_labels_that_are_categories_are_text() -> None:
    path = write({"a": [1, 2], "t": pd.Categorical(["u", "v"])})
    table = read_table(path, "t", "all")
    assert to_labels(table.column("t"), path, "t").tolist() == ["u", "v"]


def test_table_that_was_not_simulated_has_no_truth() -> None:
    assert read(write("a,t\n1,2\n"))[1].truth is None
    assert read(write({"a": [1], "t": [2]}))[1].truth is None
