"""Columns become numbers, texts, labels and parts, or are rejected with row and column."""

# ruff: noqa: E501  (sentences in one piece)

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import params_of
from stages.core.errors import UserError
from stages.core.params import shorten
from stages.shared.hashes import text_bits
from stages.shared.splits import TEST, TRAIN, VALID
from stages.shared.tables import (
    MAX_CATEGORIES,
    Table,
    read_table,
    to_integers,
    to_labels,
    to_texts,
)

NUMBER = "must be a number from -1e30 to 1e30; got"
CORRECT = "Correct the table, or the target or features in params.yaml."
SPLIT = "Correct the table, or rename the column to have the table split at random."
NO_FEATURE = "must have a feature besides t: a column of numbers, or of text with at most 20 categories; it has none"

# content of the file, the sentence behind its name
INVALID_CSV = [
    ("a,t\n1,2\nx,3\n", f": line 3, column a {NUMBER} 'x'. {CORRECT}"),
    ("a,t\n1,2\n,3\n", ": line 3, column a has a missing value, the first of 1 in this column; set missing: drop or impute in params.yaml, or correct the table."),
    ("a,t\n1,2\n2,NA\n2,?\n", ": line 3, column t has a missing value, the first of 2 in this column; set missing: drop in params.yaml, or correct the table."),
    ("a,t\n1,2\n-inf,3\n", f": line 3, column a {NUMBER} '-inf'. {CORRECT}"),
    ("a,t\n1,2\n1e31,3\n", f": line 3, column a {NUMBER} '1e31'. {CORRECT}"),
    ("a,t\n1,2\n-1e31,3\n", f": line 3, column a {NUMBER} '-1e31'. {CORRECT}"),
    ("a,t\n+1,2\n++2,3\n", f": line 3, column a {NUMBER} '++2'. {CORRECT}"),
    ("a,t\n1,2\n1e400,3\n", f": line 3, column a {NUMBER} '1e400'. {CORRECT}"),
    ("a,t\n1,u\n2,v\n", f": line 2, column t {NUMBER} 'u'. {CORRECT}"),
    ("a,t,a\n1,2,3\n", ": column names must be distinct; a appears 2 times. Rename one, or list the features in params.yaml."),
    ("a,u\n1,2\n", ": column 't' does not exist; the columns are a, u. Correct target, features or split in params.yaml."),
    ("ta,a\n1,2\n", ": column 't' does not exist; the columns are ta, a. Correct target, features or split in params.yaml. Did you mean 'ta'?"),
    ("t\n1\n", f" {NO_FEATURE}."),
    ("a,t\nNA,1\n?,2\n", f" {NO_FEATURE}: a (no values)."),
    ("a,split,t\n1,train,2\n2,tset,3\n", f": line 3, column split must be train, valid or test; got 'tset'. {SPLIT}"),
    ("a,split,t\n1,train,2\n2,Test,3\n", f": line 3, column split must be train, valid or test; got 'Test'. {SPLIT}"),
    ("a,split,t\n1,train,2\n2,,3\n", f": line 3, column split must be train, valid or test; got ''. {SPLIT}"),
    ("a,split,t\n1,train,2\n2,valid,3\n", f": column split must have rows with train and with test; none has test. {SPLIT}"),
    ("a,split,t\n1,test,2\n2,valid,3\n", f": column split must have rows with train and with test; none has train. {SPLIT}"),
]  # fmt: skip

INVALID_PARQUET = [
    ({"a": [1.0, np.nan], "t": [1, 2]}, ": row 2, column a has a missing value, the first of 1 in this column; set missing: drop or impute in params.yaml, or correct the table."),
    ({"a": [1.0, np.inf], "t": [1, 2]}, f": row 2, column a {NUMBER} inf. {CORRECT}"),
    ({"a": [1.0, 2.0], "t": [True, False]}, f": row 1, column t {NUMBER} True. {CORRECT}"),
    ({"a": pd.to_datetime(["2026-01-01", "2026-01-02"]), "t": [1, 2]}, f" {NO_FEATURE}: a (type timestamp[us])."),
    ({"a": [1, 2], "t": [1, 2], "split": ["train", None]}, f": row 2, column split must be train, valid or test; got None. {SPLIT}"),
    ({"a": [1, 2], "t": [1, 2], "split": [0, 1]}, f": row 1, column split must be train, valid or test; got 0. {SPLIT}"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(content: str | Mapping[str, Any] | pa.Table) -> str:
    """Write a table, as CSV if it is given as text, and return its path."""
    if isinstance(content, str):
        Path("my.csv").write_text(content)
        return "my.csv"
    if isinstance(content, Mapping):
        pd.DataFrame(content).to_parquet("my.parquet")
    else:
        pq.write_table(content, "my.parquet")
    return "my.parquet"


def read(path: str, task: str = "regression", **changes: Any) -> Table:
    """Return a table whose target is t; `changes` are parameters of the task."""
    changes = {"table": path, "target": "t"} | changes
    section = params_of("convert_to_tensors", {f"{task}.{key}": changes[key] for key in changes})
    return read_table(getattr(section, task), is_regression=task == "regression")


def feature_of(table: Table, name: str) -> list:
    """Return the values of a feature as they are in the table, "" for a missing text."""
    values = table.features[name].tolist()
    if name not in table.texts:
        return values
    return ["" if np.isnan(value) else table.texts[name][int(value)] for value in values]


def labels_of(table: Table) -> list:
    assert table.labels is not None
    return table.labels[table.target].tolist()


def values_of(path: str, **changes: Any) -> dict[str, list]:
    table = read(path, **changes)
    features = {name: feature_of(table, name) for name in table.features}
    return features | {"t": table.target.tolist()}


def error_of(path: str, **changes: Any) -> str:
    with pytest.raises(UserError) as error:
        read(path, **changes)
    return str(error.value)


def error_of_labels(column: pa.Array) -> str:
    with pytest.raises(UserError) as error:
        to_labels(column, "my.csv", "t")
    return str(error.value)


# What is rejected


@pytest.mark.parametrize(("content", "sentence"), INVALID_CSV)
def test_invalid_csv_is_rejected_in_one_sentence(content: str, sentence: str) -> None:
    assert error_of(write(content)) == f"my.csv{sentence}"


@pytest.mark.parametrize(("content", "sentence"), INVALID_PARQUET)
def test_invalid_parquet_is_rejected_in_one_sentence(
    content: dict[str, list], sentence: str
) -> None:
    assert error_of(write(content)) == f"my.parquet{sentence}"


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (pa.array([0.5, 1.5]), "holds decimals, such as 0.5"),
        (pa.array(["1", "1.5"]), "holds decimals, such as 1.5"),
        (pa.array([0], pa.timestamp("s")), "has the type timestamp[s]"),
    ],
)
def test_labels_that_are_none_are_rejected(labels: pa.Array, found: str) -> None:
    assert error_of_labels(labels) == (
        f"my.csv: column t must hold labels, which are text or integers; it {found}. Convert it, "
        "or choose another target."
    )


def test_listed_feature_that_does_not_exist_is_rejected() -> None:
    path = write("ab,t\n1,2\n")
    assert error_of(path, features=["a"]).endswith("in params.yaml. Did you mean 'ab'?")


@pytest.mark.parametrize(("target", "features"), [("t", ["split"]), ("split", ["a"])])
def test_split_is_neither_a_feature_nor_the_target(target: str, features: list[str]) -> None:
    path = write("a,split,t\n1,train,2\n2,test,3\n")
    assert error_of(path, target=target, features=features) == (
        "my.csv: column split divides the rows into parts, so it cannot be a feature, the target "
        "or the group; rename it."
    )


@pytest.mark.parametrize("split", ["last", "group:a"])
def test_split_column_and_another_split_contradict_each_other(split: str) -> None:
    path = write("a,b,split,t\n1,1,train,2\n2,1,test,3\n")
    assert error_of(path, split=split) == (
        "my.csv has a column split, which decides how the table is split; set split: random in "
        "params.yaml, or rename the column."
    )


def test_group_is_not_a_feature() -> None:
    path = write("g,a,t\n1,5,2\n2,6,3\n")
    assert list(read(path, split="group:g").features) == ["a"]
    assert error_of(path, split="group:g", features=["g"]) == (
        "my.csv: column g groups the rows, so it cannot be a feature or the target; correct "
        "features or split in params.yaml."
    )


def test_invalid_value_in_a_later_chunk_is_reported_with_its_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stages.shared.csv_files.BLOCK", 4096)
    rows = ["1,2\n"] * 5000
    rows[4321] = "x,2\n"
    assert error_of(write("a,t\n" + "".join(rows))).startswith("my.csv: line 4323, column a must")


def test_long_lists_are_shortened() -> None:
    assert shorten(["a", "b"]) == "a, b"
    assert shorten([f"c{number}" for number in range(8000)]) == (
        "c0, c1, c2, c3, c4, c5, c6, c7, c8, c9 and 7990 more"
    )
    assert shorten(["x" * 100]) == "x" * 57 + "..."
    path = write(",".join(f"c{number}" for number in range(8000)) + "\n" + "1," * 7999 + "1\n")
    assert len(error_of(path)) < 300


# Which columns are features


def test_all_takes_numbers_and_texts_and_says_what_it_leaves_out() -> None:
    names = [f"n{number}" for number in range(30)]
    table = pa.table(
        {
            "name": names,
            "a": [1.5] * 30,
            "sex": ["f", "m"] * 15,
            "day": pa.array([0] * 30, pa.timestamp("s")),
            "none": pa.array([None] * 30, pa.int64()),
            "member": [True, False] * 15,
            "t": [1, 2] * 15,
        }
    )
    found = read(write(table))
    assert list(found.features) == ["a", "sex", "member"]
    assert feature_of(found, "sex")[:2] == ["f", "m"]
    assert feature_of(found, "member")[:2] == ["True", "False"]
    assert found.left_out == {
        "name": "text with 30 different values; the limit is 20",
        "day": "type timestamp[ms]",
        "none": "no values",
    }


@pytest.mark.parametrize("n_categories", [MAX_CATEGORIES, MAX_CATEGORIES + 1])
def test_text_is_taken_up_to_a_number_of_categories(n_categories: int) -> None:
    rows = "".join(f"c{number},1,{number}\n" for number in range(n_categories))
    found = read(write(f"text,a,t\n{rows}"))
    assert ("text" in found.features) == (n_categories <= MAX_CATEGORIES)


def test_listed_text_has_no_limit() -> None:
    rows = "".join(f"c{number},1,{number}\n" for number in range(50))
    found = read(write(f"text,a,t\n{rows}"), features=["text"])
    assert len(set(feature_of(found, "text"))) == 50


def test_text_with_a_stray_number_is_text() -> None:
    rows = "".join(f"{model},1,2\n" for model in ["fiesta", "626", "civic", "civic"])
    assert feature_of(read(write(f"model,a,t\n{rows}")), "model")[1] == "626"


def test_numbers_with_many_texts_are_left_out() -> None:
    values = ["1", "2", "3", "4", "5", "6", "7", "a", "b", "c", "d"]
    found = read(write("c,a,t\n" + "".join(f"{value},1,2\n" for value in values)))
    assert found.left_out == {"c": "4 of 11 values are text, such as a"}


@pytest.mark.parametrize("number", ["1,5", "1.234,5", "1 234", "12%", "5 %", "$3", "-€ 4.50"])
def test_numbers_that_are_written_otherwise_are_left_out_with_an_example(number: str) -> None:
    found = read(write(f'c,a,t\n"{number}",1,2\n"{number}",2,3\nNA,3,4\n'))
    assert found.left_out == {"c": f"numbers such as {number}, which must be written as 1234.5"}


@pytest.mark.parametrize("header", [",a,t", "Unnamed: 0,a,t", "id,a,t"])
@pytest.mark.parametrize("start", [0, 1])
def test_first_column_that_counts_the_rows_is_left_out(header: str, start: int) -> None:
    rows = "".join(f"{number},{number % 3},{number % 2}\n" for number in range(start, start + 5))
    found = read(write(f"{header}\n{rows}"))
    assert list(found.features) == ["a"]
    assert list(found.left_out.values()) == ["no name" if header[0] == "," else "an index"]


def test_only_feature_is_kept_even_if_it_counts_the_rows() -> None:
    assert values_of(write("a,t\n0,0\n1,2\n2,4\n"))["a"] == [0, 1, 2]


def test_first_column_that_counts_from_two_is_kept() -> None:
    assert list(read(write("a,b,t\n2,5,0\n3,5,1\n4,6,2\n")).features) == ["a", "b"]


def test_second_column_that_counts_the_rows_is_kept() -> None:
    assert list(read(write("a,b,t\n5,0,0\n5,1,2\n")).features) == ["a", "b"]


def test_fault_of_a_column_that_is_not_used_is_no_error() -> None:
    path = write("a,b,t,u\n1,x,2,inf\n3,4,5,\n")
    assert values_of(path, features=["a"]) == {"a": [1, 3], "t": [2, 5]}


def test_listed_features_come_in_their_order() -> None:
    assert list(read(write("a,b,t\n1,2,3\n"), features=["b", "a"]).features) == ["b", "a"]


def test_index_that_pandas_writes_is_not_a_feature() -> None:
    pd.DataFrame({"a": [1, 2], "t": [3, 4]}, index=[7, 8]).to_parquet("my.parquet")
    found = read("my.parquet")
    assert (list(found.features), found.left_out) == (["a"], {"__index_level_0__": "an index"})
    assert values_of("my.parquet", features=["__index_level_0__"])["__index_level_0__"] == [7, 8]


# Missing values

GAPS = "a,c,t\n1,u,5\nNA,v,6\n3,,7\n4,u,?\n5, u ,9\n"


def test_rows_with_missing_values_are_dropped() -> None:
    found = read(write(GAPS), missing="drop")
    assert found.features["a"].tolist() == [1, 5]
    assert feature_of(found, "c") == ["u", "u"]
    assert found.target.tolist() == [5, 9]
    assert (found.n_dropped, found.n_missing) == (3, {"a": 0, "c": 0})


def test_rows_to_impute_stay_but_those_without_a_target() -> None:
    found = read(write(GAPS), missing="impute")
    np.testing.assert_array_equal(found.features["a"], [1, np.nan, 3, 5])
    assert feature_of(found, "c") == ["u", "v", "", "u"]
    assert found.target.tolist() == [5, 6, 7, 9]
    assert (found.n_dropped, found.n_missing) == (1, {"a": 1, "c": 1})


def test_split_and_groups_lose_the_dropped_rows_too() -> None:
    found = read(write("a,split,t\nNA,train,1\n2,train,2\n3,valid,3\n4,test,4\n"), missing="drop")
    assert found.parts is not None
    assert found.parts.tolist() == [TRAIN, VALID, TEST]
    found = read(write("a,g,t\nNA,u,1\n2,v,2\n3,w,3\n"), missing="drop", split="group:g")
    assert found.groups is not None
    assert found.groups.tolist() == text_bits(["v", "w"]).tolist()


def test_table_of_which_every_row_is_dropped_is_rejected() -> None:
    assert error_of(write("a,b,t\nNA,1,1\n2,?,2\n"), missing="drop") == (
        "my.csv must have rows without missing values; it has none, and most are missing in column "
        "a. Leave it out of the features, or set missing: impute in params.yaml."
    )


@pytest.mark.parametrize(
    "text", ["", " ", "NA", "na", "n/a", "N/A", "#N/A", "<NA>", "nan", "NaN", "null", "None", "?"]
)
def test_what_is_a_missing_value(text: str) -> None:
    path = write(f"a,t\n1,u\n{text},v\n3,{text}\n4,v\n")
    found = read(path, "classification", missing="drop")
    assert (feature_of(found, "a"), labels_of(found)) == ([1, 4], ["u", "v"])


def test_missing_values_of_parquet() -> None:
    table = pa.table(
        {"a": [1.0, np.nan, 3.0, None], "c": ["u", "v", None, "?"], "t": pa.array([1, 2, 3, 4])}
    )
    found = read(write(table), missing="impute")
    np.testing.assert_array_equal(found.features["a"], [1, np.nan, 3, np.nan])
    assert feature_of(found, "c") == ["u", "v", "", ""]


@pytest.mark.parametrize("missing", ["refuse", "drop", "impute"])
def test_target_without_values_is_rejected(missing: str) -> None:
    assert error_of(write("a,t\n1,NA\n2,?\n"), missing=missing) == (
        "my.csv: the target t must have values; it has none. Choose another target."
    )


def test_row_without_its_group_is_rejected_or_dropped() -> None:
    path = write("a,g,t\n1,u,1\n2,,2\n3,w,3\n")
    assert error_of(path, split="group:g") == (
        "my.csv: line 3, column g has a missing value, the first of 1 in this column; set missing: "
        "drop in params.yaml, or correct the table."
    )
    for missing in ("drop", "impute"):
        assert read(path, split="group:g", missing=missing).features["a"].tolist() == [1, 3]


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_part_of_which_every_row_is_dropped_is_rejected(part: str) -> None:
    rows = "".join(
        f"{'' if name == part else 1},{name},{k}\n"
        for k, name in enumerate(["train", "valid", "test"] * 2)
    )
    assert error_of(write(f"a,split,t\n{rows}"), missing="drop") == (
        f"my.csv: every row with split {part} has a missing value, so that none is left. Set "
        "missing: impute in params.yaml, or list fewer features."
    )


# Values, labels and parts


@pytest.mark.parametrize("column", ["split", "g"])
def test_nested_column_cannot_split_the_rows(column: str) -> None:
    table = pa.table({"a": [1, 2], "t": [1, 2], column: [["u"], ["v"]]})
    split = "group:g" if column == "g" else "random"
    assert f"column {column}, by which the rows are split, must hold text or numbers; its" in (
        error_of(write(table), split=split)
    )


LARGE = 2**53


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_integers_that_float64_merges_are_left_out_or_rejected(kind: str) -> None:
    content = {"id": [LARGE + 1, LARGE, LARGE], "a": [1.5, 2.5, 4.5], "t": [1, 2, 3]}
    if kind == "csv":
        pd.DataFrame(content).to_csv("my.csv", index=False)
        path = "my.csv"
    else:
        path = write(content)
    assert read(path).left_out == {"id": "integers beyond 2**53, which float64 merges"}
    assert error_of(path, features=["id"]) == (
        f"{path}: column id must hold numbers that float64 tells apart; it holds integers beyond "
        "2**53. Subtract an offset, or leave it out of the features."
    )
    exact = write({"a": [LARGE, LARGE - 1, 1], "b": [1e20, 2e20, 3e20], "t": [1, 2, 3]})
    assert list(read(exact).features) == ["a", "b"]


def test_pandas_frame_gives_the_same_columns_from_csv_and_parquet() -> None:
    frame = pd.DataFrame(
        {
            "flag": [True, False, True, False],
            "number": [0.1, 1e-7, 123456.789, -3.0],
            "text": ["u", "v ", "ü", None],
            "t": [True, False, True, True],
        }
    )
    frame.to_csv("my.csv", index=False)
    frame.to_parquet("my.parquet", index=False)
    tables = [read(path, "classification", missing="impute") for path in ("my.csv", "my.parquet")]
    for name in ("flag", "number", "text"):
        first, second = (feature_of(table, name) for table in tables)
        assert first == second
    assert labels_of(tables[0]) == labels_of(tables[1]) == ["True", "False", "True", "True"]


def test_decimals_become_the_nearest_float64() -> None:
    texts = [f"{number / 1000:.3f}" for number in range(1, 400)]
    column = pa.array(texts).cast(pa.decimal128(9, 3))
    found = values_of(write(pa.table({"a": column, "t": list(range(399))})))["a"]
    assert found == [float(text) for text in texts]


def test_labels_of_many_digits_stay_apart() -> None:
    labels = to_labels(pa.array(["9007199254740993.0", "9007199254740992.0"]), "my.csv", "t")
    assert labels.tolist() == ["9007199254740993", "9007199254740992"]


def test_every_value_is_read_to_the_last_bit() -> None:
    values = np.random.default_rng(0).standard_normal(500) * 10.0 ** np.arange(-250, 250) / 1e250
    rows = "".join(f"{value!r},{number}\n" for number, value in enumerate(values.tolist()))
    assert values_of(write(f"a,t\n{rows}"))["a"] == values.tolist()


@pytest.mark.parametrize("text", ["0x10", "1_000", "1e", "infinity", "1d", "0b1", "1f", "\u0661"])
def test_what_only_some_readers_take_for_a_number_is_none(text: str) -> None:
    path = write("a,t\n" + "1,2\n" * 20 + f"{text},3\n")
    assert error_of(path) == f"my.csv: line 22, column a {NUMBER} {text!r}. {CORRECT}"


@pytest.mark.parametrize(
    ("text", "value"), [("+1.5", 1.5), ("5.", 5), (".5", 0.5), (" 2 ", 2), ("1E3", 1000), ("-0", 0)]
)
def test_every_way_to_write_a_number_is_read(text: str, value: float) -> None:
    assert values_of(write("a,t\n" + "1,2\n" * 20 + f"{text},3\n"))["a"][-1] == value


def test_csv_and_parquet_give_the_same_values() -> None:
    from_csv = values_of(write("a,c,t\n1.5,u,1\n2,v,-2e3\n"))
    from_parquet = values_of(write({"a": [1.5, 2], "c": ["u", "v"], "t": [1, -2000]}))
    assert from_csv == from_parquet == {"a": [1.5, 2], "c": ["u", "v"], "t": [1, -2000]}


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
    assert values_of(write(pa.table({"a": column, "t": [1, 2, 3]})))["a"] == [1.5, 2, 3]


@pytest.mark.parametrize(
    ("column", "labels"),
    [
        (pa.array(["2", "1"]), [2, 1]),
        (pa.array(["-3", " 0 "]), [-3, 0]),
        (pa.array(["01", "2"]), ["01", "2"]),
        (pa.array(["u", "1"]), ["u", "1"]),
        (pa.array(["yes", "yes "]), ["yes", "yes"]),
        (pa.array(["u", "v"], pa.large_string()), ["u", "v"]),
        (pa.array([True, False]), ["True", "False"]),
        (pa.array([7, 8], pa.uint8()), [7, 8]),
        (pa.array([1.0, 0.0]), [1, 0]),
        (pa.array(["1.0", "2.0"]), [1, 2]),
        (pa.array(["12345678901234567890", "1"]), ["12345678901234567890", "1"]),
        (pa.array([2**63 + 5, 1], pa.uint64()), [str(2**63 + 5), "1"]),
        (pa.array(["u", "v"]).dictionary_encode().cast(pa.string()), ["u", "v"]),
    ],
)
def test_labels_are_integers_where_all_are_written_as_such(
    column: pa.Array, labels: list[object]
) -> None:
    assert to_integers(to_labels(column, "my.csv", "t")).tolist() == labels


def test_label_that_is_missing_is_empty() -> None:
    assert to_labels(pa.array([1.0, None, 0.0]), "my.csv", "t").tolist() == ["1", "", "0"]
    assert to_labels(pa.array(["u", "NA"]), "my.csv", "t").tolist() == ["u", ""]


def test_texts_have_no_spaces_around_them() -> None:
    assert to_texts(pa.array([" u ", None, "null", "v w"])).tolist() == ["u", "", "", "v w"]


@pytest.mark.parametrize(
    "content",
    [
        "a,split,t\n1,train,2\n2,test,3\n3, valid ,4\n",
        pa.table({"a": [1, 2, 3], "split": ["train", "test", "valid"], "t": [2, 3, 4]}),
        pa.table(
            {
                "a": [1, 2, 3],
                "split": pa.array(["train", "test", "valid"]).dictionary_encode(),
                "t": [2, 3, 4],
            }
        ),
    ],
    ids=["csv", "text", "categories"],
)
def test_column_split_gives_the_parts(content: str | pa.Table) -> None:
    for features in ("all", ["a"]):
        found = read(write(content), features=features)
        assert found.parts is not None
        assert found.parts.tolist() == [TRAIN, TEST, VALID]
        assert (list(found.features), found.left_out) == (["a"], {})


def test_table_without_a_split_column_has_no_parts() -> None:
    assert read(write("a,t\n1,2\n")).parts is None


def test_table_that_was_not_simulated_has_no_truth() -> None:
    assert read(write("a,t\n1,2\n")).truth is None
    assert read(write({"a": [1], "t": [2]})).truth is None
