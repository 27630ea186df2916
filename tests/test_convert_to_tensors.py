"""From tables to tensors: types, split, labels, scaling, and what the data says of itself."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from sklearn.preprocessing import StandardScaler

from conftest import Change, call_stage, feature_columns, params_of
from stages.convert_to_tensors import (
    CLASSIFICATION,
    METRICS,
    REGRESSION,
    convert_classification,
    convert_regression,
    describe,
)
from stages.core.errors import UserError
from stages.core.schema import TableParams
from stages.generate_data import CLASSIFICATION as RAW_CLASSIFICATION
from stages.generate_data import REGRESSION as RAW_REGRESSION
from stages.shared.metadata import ClassificationTruth, Metadata, RegressionTruth
from stages.shared.splits import make_generator
from stages.shared.tensors import load_tensors


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def generated(small: Change) -> Change:
    call_stage("generate_data")
    return small


def table_params(task: str, path: str, **changes: Any) -> TableParams:
    """Return the parameters of a task for a table with the target t."""
    changes = {"table": path, "target": "t"} | changes
    section = params_of("convert_to_tensors", {f"{task}.{key}": changes[key] for key in changes})
    return getattr(section, task)


def convert(
    task: str, content: str | dict[str, Any], **changes: Any
) -> tuple[dict[str, list], Metadata]:
    """Write a table with the target t; return the values of its tensors and their metadata."""
    if isinstance(content, dict):
        pd.DataFrame(content).to_csv("my.csv", index=False)
    else:
        Path("my.csv").write_text(content)
    function = {"regression": convert_regression, "classification": convert_classification}[task]
    tensors, metadata = function(table_params(task, "my.csv", **changes))
    return {name: tensor.tolist() for name, tensor in tensors.items()}, metadata


def error_of(task: str, content: str | dict[str, Any], **changes: Any) -> str:
    with pytest.raises(UserError) as error:
        convert(task, content, **changes)
    return str(error.value)


# The tensors


def test_tensors_of_the_regression_have_the_promised_dtypes_and_shapes(generated: Change) -> None:
    call_stage("convert_to_tensors")
    tensors = load_file(REGRESSION)
    assert set(tensors) == {"x_train", "y_train", "x_test", "y_test"}
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float64}
    assert {tuple(tensor.shape) for tensor in tensors.values()} == {(8,)}


def test_tensors_of_the_classes_have_the_promised_dtypes_and_shapes(generated: Change) -> None:
    call_stage("convert_to_tensors")
    tensors = load_file(CLASSIFICATION)
    assert {name: (t.dtype, tuple(t.shape)) for name, t in tensors.items()} == {
        "X_train": (torch.float32, (8, 2)),
        "y_train": (torch.int64, (8,)),
        "X_test": (torch.float32, (8, 2)),
        "y_test": (torch.int64, (8,)),
    }


def test_tensors_of_the_regression_hold_every_bit_of_the_table(generated: Change) -> None:
    call_stage("convert_to_tensors")
    table, tensors = pd.read_parquet(RAW_REGRESSION), load_file(REGRESSION)
    for split in ("train", "test"):
        rows = table[table["split"] == split]
        np.testing.assert_array_equal(tensors[f"x_{split}"].numpy(), rows["x"])
        np.testing.assert_array_equal(tensors[f"y_{split}"].numpy(), rows["y"])


def test_tensors_of_the_classes_hold_the_table(generated: Change) -> None:
    call_stage("convert_to_tensors")
    table = pd.read_parquet(RAW_CLASSIFICATION).query("split == 'test'")
    tensors = load_file(CLASSIFICATION)
    expected = table[["x1", "x2"]].to_numpy().astype("float32")
    np.testing.assert_array_equal(tensors["X_test"].numpy(), expected)
    np.testing.assert_array_equal(tensors["y_test"].numpy(), table["label"])


def test_several_features_of_the_regression_are_a_matrix(folder: None) -> None:
    tensors, metadata = convert("regression", "a,b,split,t\n1,2,train,3\n4,5,test,6\n")
    assert tensors == {"x_train": [[1, 2]], "y_train": [3], "x_test": [[4, 5]], "y_test": [6]}
    assert metadata == Metadata(task="regression", columns=feature_columns("a", "b"), target="t")


def test_classes_are_numbered_in_the_order_of_their_labels(folder: None) -> None:
    content = "a,t,split\n1,v,train\n2,u,train\n3,w,train\n4,v,test\n"
    tensors, metadata = convert("classification", content)
    assert metadata.labels == ("u", "v", "w")
    assert (tensors["y_train"], tensors["y_test"]) == ([1, 0, 2], [1])


def test_labels_that_are_integers_are_ordered_as_such(folder: None) -> None:
    content = "a,t,split\n1,10,train\n2,9,train\n3,-1,train\n4,9,test\n"
    tensors, metadata = convert("classification", content)
    assert metadata.labels == (-1, 9, 10)
    assert (tensors["y_train"], tensors["y_test"]) == ([2, 1, 0], [1])


def test_columns_come_in_the_order_of_the_features(folder: None) -> None:
    content = "a,b,c,split,t\n1,2,9,train,u\n3,4,9,train,v\n5,6,9,test,u\n"
    tensors, metadata = convert("classification", content, features=["b", "a"])
    assert metadata.features == ("b", "a")
    assert tensors["X_train"] == [[2, 1], [4, 3]]


# The split


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_column_split_is_kept_and_rows_may_be_mixed(folder: None, task: str) -> None:
    content = "a,t,split\n1,0,train\n2,1,test\n3,1,train\n4,0,test\n"
    for changes in ({}, {"test_fraction": 0.9, "seed": 5}):
        tensors, _ = convert(task, content, **changes)
        assert np.ravel(next(iter(tensors.values()))).tolist() == [1, 3]
        assert (tensors["y_train"], tensors["y_test"]) == ([0, 1], [1, 0])


@pytest.mark.parametrize(("seed", "rows"), [(0, [1, 4, 12, 14]), (7, [1, 3, 5, 11])])
def test_table_without_a_split_is_split_from_the_seed(
    folder: None, seed: int, rows: list[int]
) -> None:
    content = {"a": range(20), "t": np.arange(20) % 7}
    tensors, _ = convert("regression", content, seed=seed)
    assert tensors["x_test"] == rows
    assert tensors["x_train"] == sorted(set(range(20)) - set(rows))


def test_classes_without_a_split_are_split_one_by_one_from_the_seed(folder: None) -> None:
    y = np.arange(20) % 3
    tensors, _ = convert("classification", {"a": range(20), "t": y}, test_fraction=0.3, seed=4)
    expected: list[int] = []
    for number in range(3):
        rows = np.flatnonzero(y == number)
        expected += rows[make_generator(4, 1, 2, number).permutation(len(rows))[:2]].tolist()
    assert np.ravel(tensors["X_test"]).tolist() == sorted(expected)
    assert sorted(np.ravel(tensors["X_train"] + tensors["X_test"])) == list(range(20))


def test_split_of_classes_is_that_of_the_first_version(folder: None) -> None:
    content = {"a": range(20), "t": np.arange(20) % 3}
    tensors, _ = convert("classification", content, test_fraction=0.3)
    assert np.ravel(tensors["X_test"]).tolist() == [6, 7, 8, 10, 11, 15]


def test_split_is_stratified(folder: None) -> None:
    content = {"a": range(40), "t": ["u"] * 10 + ["v"] * 30}
    tensors, _ = convert("classification", content, test_fraction=0.3)
    assert np.bincount(tensors["y_test"]).tolist() == [3, 9]
    assert np.bincount(tensors["y_train"]).tolist() == [7, 21]


# The scaling


def test_scaling_is_of_the_training_part_as_in_scikit_learn(folder: None) -> None:
    X = np.random.default_rng(0).standard_normal((40, 2)) * [3, 100] + [7, 0]
    split = np.where(np.arange(40) % 4 == 0, "test", "train")
    content = {"a": X[:, 0], "b": X[:, 1], "t": X[:, 0], "split": split}
    tensors, metadata = convert("regression", content, standardize=True)
    theirs = StandardScaler().fit(X[split == "train"])
    np.testing.assert_allclose(tensors["x_train"], theirs.transform(X[split == "train"]), atol=1e-6)
    np.testing.assert_allclose(tensors["x_test"], theirs.transform(X[split == "test"]), atol=1e-6)
    assert metadata.scaling is not None
    assert metadata.scaling.mean == pytest.approx(theirs.mean_, rel=1e-8)
    assert metadata.scaling.scale == pytest.approx(theirs.scale_, rel=1e-8)


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_each_task_has_its_own_switch(generated: Change, task: str) -> None:
    generated({f"convert_to_tensors.{task}.standardize": True})
    call_stage("convert_to_tensors")
    scaled = [p for p in (REGRESSION, CLASSIFICATION) if load_tensors(p)[1].scaling is not None]
    assert scaled == [f"data/tensors/{task}.safetensors"]


# What the data says of itself


def test_simulated_tables_bring_their_truth(generated: Change) -> None:
    call_stage("convert_to_tensors")
    line, clusters = (load_tensors(path)[1].truth for path in (REGRESSION, CLASSIFICATION))
    assert line == RegressionTruth(
        seed=0, n_samples=8, n_valid=8, n_test=8, weight=2.0, noise_std=0.3
    )
    assert clusters == ClassificationTruth(
        seed=0,
        n_samples_per_class=4,
        n_valid_per_class=4,
        n_test_per_class=4,
        centers=((0.2, 0.2), (0.8, 0.8)),
        std=0.25,
    )


def copy_table(path: str, extra_rows: int = 0, drop: tuple[str, ...] = ()) -> str:
    """Copy a table with its metadata, with more or fewer rows and without some columns."""
    table = pq.read_table(path)
    rows = [row % table.num_rows for row in range(table.num_rows + extra_rows)]
    pq.write_table(table.take(rows).drop_columns(list(drop)), "copy.parquet")
    return "copy.parquet"


def test_truth_survives_a_copy_of_the_file(generated: Change) -> None:
    shutil.copy(RAW_REGRESSION, "copy.parquet")
    params = table_params("regression", "copy.parquet", target="y")
    assert convert_regression(params)[1].truth is not None


def test_table_that_was_written_anew_has_no_truth(generated: Change) -> None:
    path = copy_table(RAW_CLASSIFICATION, drop=("split",))
    tensors, metadata = convert_classification(table_params("classification", path, target="label"))
    assert len(tensors["y_test"]) == 4  # 20 % of the 8 of each class
    assert metadata.truth is None


@pytest.mark.parametrize("extra_rows", [-1, 1])
def test_table_with_rows_removed_or_appended_has_no_truth(
    generated: Change, extra_rows: int
) -> None:
    path = copy_table(RAW_REGRESSION, extra_rows)
    assert convert_regression(table_params("regression", path, target="y"))[1].truth is None
    path = copy_table(RAW_CLASSIFICATION, extra_rows)
    params = table_params("classification", path, target="label")
    assert convert_classification(params)[1].truth is None


def test_other_target_has_no_truth(generated: Change) -> None:
    params = table_params("regression", RAW_REGRESSION, target="x")
    assert convert_regression(params)[1].truth is None


@pytest.mark.parametrize("features", [["x1"], ["x2", "x1"]])
def test_other_features_have_no_truth(generated: Change, features: list[str]) -> None:
    params = table_params("classification", RAW_CLASSIFICATION, target="label", features=features)
    assert convert_classification(params)[1].truth is None


def test_truth_of_the_other_task_is_not_taken(generated: Change) -> None:
    params = table_params("regression", RAW_CLASSIFICATION, target="x1", features=["x2"])
    assert convert_regression(params)[1].truth is None


def test_table_that_pandas_wrote_again_has_no_truth(generated: Change) -> None:
    pd.read_parquet(RAW_REGRESSION).assign(y=0.5).to_parquet("my.parquet", index=False)
    params = table_params("regression", "my.parquet", target="x", features=["y"])
    assert convert_regression(params)[1].truth is None


@pytest.mark.parametrize("truth", ["", "{", "{}", '{"seed": 0}'])
def test_description_that_is_none_of_ours_is_ignored(generated: Change, truth: str) -> None:
    checksum = pq.read_metadata(RAW_REGRESSION).metadata[b"checksum"]
    described = {"truth": truth, "checksum": checksum}
    table = pq.read_table(RAW_REGRESSION).replace_schema_metadata(described)
    pq.write_table(table, "my.parquet")
    params = table_params("regression", "my.parquet", target="y")
    assert convert_regression(params)[1].truth is None


# What is rejected; the sentences on values of a table: test_tables.py


def test_constant_target_is_rejected(folder: None) -> None:
    assert error_of("regression", "a,t\n1,2\n2,2\n") == (
        "my.csv: the target t must vary; it is 2 in every row. Choose another target."
    )


def test_single_class_is_rejected(folder: None) -> None:
    assert error_of("classification", "a,t\n1,r\n2,r\n") == (
        "my.csv: the target t must have two or more classes; it is r in every row. Choose another "
        "target."
    )


def test_class_of_a_single_row_is_rejected(folder: None) -> None:
    assert error_of("classification", "a,t\n1,r\n2,r\n3,s\n") == (
        "my.csv: every class must have two or more rows, one to train on and one to test; in "
        "column t, s has only row 3."
    )


def test_class_without_a_training_row_is_rejected(folder: None) -> None:
    content = "a,t,split\n1,r,train\n2,r,test\n3,s,test\n"
    assert error_of("classification", content) == (
        "my.csv: every class must have a row with split train; in column t, s has none."
    )


def test_class_without_a_test_row_is_accepted(folder: None) -> None:
    tensors, _ = convert("classification", "a,t,split\n1,r,train\n2,r,test\n3,s,train\n")
    assert tensors["y_test"] == [0]


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("word", ["tset", ""])
def test_wrong_word_in_the_split_is_rejected(folder: None, task: str, word: str) -> None:
    content = f"a,t,split\n1,0,train\n2,1,{word}\n3,1,train\n4,0,test\n"
    assert error_of(task, content) == (
        f"my.csv: row 2, column split must be train or test; got '{word}'. Correct the table, or "
        "rename the column to have the table split at random."
    )


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_rejected_table_leaves_the_tensors_as_they_are(finished: Change, task: str) -> None:
    before = [Path(path).read_bytes() for path in (REGRESSION, CLASSIFICATION, METRICS)]
    finished({f"convert_to_tensors.{task}.target": "nothing"})
    with pytest.raises(UserError, match="column 'nothing' does not exist"):
        call_stage("convert_to_tensors")
    assert [Path(path).read_bytes() for path in (REGRESSION, CLASSIFICATION, METRICS)] == before


# What is reported


def test_metrics_describe_each_tensor_as_the_article_does(generated: Change) -> None:
    call_stage("convert_to_tensors")
    descriptions = json.loads(Path(METRICS).read_text())["tensors"][REGRESSION]
    x = load_file(REGRESSION)["x_train"]
    first = {"tensor": "x_train", "class": "torch.Tensor", "dtype": "torch.float64", "shape": [8]}
    assert descriptions[0] == first | {"first_ten": pytest.approx(x.tolist(), rel=1e-5)}
    assert [item["tensor"] for item in descriptions] == ["x_train", "y_train", "x_test", "y_test"]


def test_metrics_count_rows_features_and_classes(generated: Change) -> None:
    generated({"convert_to_tensors.classification.features": ["x1"]})
    call_stage("convert_to_tensors")
    assert json.loads(Path(METRICS).read_text())["convert_to_tensors"] == {
        "regression": {"train_rows": 8, "test_rows": 8, "features": 1},
        "classification": {"train_rows": 8, "test_rows": 8, "features": 1, "classes": 2},
    }


def test_no_more_than_ten_values_are_described() -> None:
    assert describe("x", torch.arange(12.0))["first_ten"] == list(range(10))
    assert np.shape(describe("X", torch.zeros(11, 12))["first_ten"]) == (10, 10)


def test_tables_and_tensors_are_printed(
    generated: Change, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    call_stage("convert_to_tensors")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "data/raw/regression.parquet: 16 rows, 8 of them for testing, 1 feature",
        "data/raw/classification.parquet: 16 rows, 8 of them for testing, 2 features",
    ]
    assert lines[2].startswith("x_train: torch.Tensor torch.float64 [8] [0.0, 0.142857")
    assert lines[-1] == "convert_to_tensors: 8 tensors from 2 tables"
    assert len(lines) == 11


def test_columns_that_are_left_out_are_printed(
    folder: None, capsys: pytest.CaptureFixture[str]
) -> None:
    convert("regression", "a,day,t,n\n1,2026-01-01,2,u\n4,2026-01-02,5,v\n7,x,8,w\n")
    assert capsys.readouterr().out == (
        "my.csv: 3 rows, 1 of them for testing, 1 feature; left out: day, n (not numeric, or "
        "a pandas index)\n"
    )
