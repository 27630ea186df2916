"""From tables to tensors: types, split, labels, scaling, and what the data says of itself."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from conftest import PROJECT, Change, call_stage, feature_columns, params_of, run
from stages.convert_to_tensors import (
    CLASSIFICATION,
    METRICS,
    REGRESSION,
    convert_classification,
    convert_regression,
    describe,
    write_classification,
    write_regression,
)
from stages.core.errors import UserError
from stages.core.schema import TableParams
from stages.generate_data import CLASSIFICATION as RAW_CLASSIFICATION
from stages.generate_data import REGRESSION as RAW_REGRESSION
from stages.shared.metadata import (
    ClassificationTruth,
    FeatureColumn,
    Metadata,
    RegressionTruth,
)
from stages.shared.splits import SPLITS
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
    task: str, content: str | dict[str, Any] | pd.DataFrame, **changes: Any
) -> tuple[dict[str, list], Metadata]:
    """Write a table with the target t; return the values of its tensors and their metadata."""
    if isinstance(content, str):
        Path("my.csv").write_text(content)
    else:
        pd.DataFrame(content).to_csv("my.csv", index=False)
    return convert_file(task, "my.csv", **changes)


def convert_file(task: str, path: str, **changes: Any) -> tuple[dict[str, list], Metadata]:
    """Return the values of the tensors that a table with the target t becomes; their metadata."""
    params = table_params(task, path, **changes)
    if task == "regression":
        write_regression(convert_regression(params), "my.safetensors")
    else:
        write_classification(convert_classification(params), "my.safetensors")
    tensors, metadata = load_tensors("my.safetensors")
    return {name: tensors[name].tolist() for name in sorted(tensors)}, metadata


def error_of(task: str, content: str | dict[str, Any] | pd.DataFrame, **changes: Any) -> str:
    with pytest.raises(UserError) as error:
        convert(task, content, **changes)
    return str(error.value)


# The tensors


def test_tensors_of_the_regression_have_the_promised_dtypes_and_shapes(generated: Change) -> None:
    call_stage("convert_to_tensors")
    tensors = load_file(REGRESSION)
    assert set(tensors) == {f"{name}_{part}" for name in "xy" for part in SPLITS}
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float64}
    assert {tuple(tensor.shape) for tensor in tensors.values()} == {(8,)}


def test_tensors_of_the_classes_have_the_promised_dtypes_and_shapes(generated: Change) -> None:
    call_stage("convert_to_tensors")
    tensors = load_file(CLASSIFICATION)
    assert {name: (t.dtype, tuple(t.shape)) for name, t in tensors.items()} == {
        "X_train": (torch.float32, (8, 2)),
        "y_train": (torch.int64, (8,)),
        "X_valid": (torch.float32, (8, 2)),
        "y_valid": (torch.int64, (8,)),
        "X_test": (torch.float32, (8, 2)),
        "y_test": (torch.int64, (8,)),
    }


def test_tensors_of_the_regression_hold_every_bit_of_the_table(generated: Change) -> None:
    call_stage("convert_to_tensors")
    table, tensors = pd.read_parquet(RAW_REGRESSION), load_file(REGRESSION)
    for split in SPLITS:
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
    tensors, metadata = convert("regression", "a,b,split,t\n1,2,train,3\n4,5,test,6\n7,8,valid,9\n")
    assert (tensors["x_train"], tensors["y_train"]) == ([[1, 2]], [3])
    assert (tensors["x_valid"], tensors["y_valid"]) == ([[7, 8]], [9])
    assert (tensors["x_test"], tensors["y_test"]) == ([[4, 5]], [6])
    assert metadata == Metadata(task="regression", columns=feature_columns("a", "b"), target="t")


def test_classes_are_numbered_in_the_order_of_their_labels(folder: None) -> None:
    content = "a,t,split\n1,v,train\n2,u,train\n3,w,train\n4,v,test\n5,v,valid\n"
    tensors, metadata = convert("classification", content)
    assert metadata.labels == ("u", "v", "w")
    assert (tensors["y_train"], tensors["y_test"]) == ([1, 0, 2], [1])


def test_labels_that_are_integers_are_ordered_as_such(folder: None) -> None:
    content = "a,t,split\n1,10,train\n2,9,train\n3,-1,train\n4,9,test\n5,9,valid\n"
    tensors, metadata = convert("classification", content)
    assert metadata.labels == (-1, 9, 10)
    assert (tensors["y_train"], tensors["y_test"]) == ([2, 1, 0], [1])


def test_columns_come_in_the_order_of_the_features(folder: None) -> None:
    content = "a,b,c,split,t\n1,2,9,train,u\n3,4,9,train,v\n5,6,9,test,u\n7,8,9,valid,u\n"
    tensors, metadata = convert("classification", content, features=["b", "a"])
    assert metadata.features == ("b", "a")
    assert tensors["X_train"] == [[2, 1], [4, 3]]


# The parts


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_column_split_is_kept_and_rows_may_be_mixed(folder: None, task: str) -> None:
    content = "a,t,split\n1,0,train\n2,1,test\n3,1,train\n4,0,test\n5,0,valid\n"
    for changes in ({}, {"test_fraction": 0.7, "seed": 5}):
        tensors, _ = convert(task, content, **changes)
        features = tensors["x_train" if task == "regression" else "X_train"]
        assert np.ravel(features).tolist() == [1, 3]
        assert [tensors[f"y_{part}"] for part in SPLITS] == [[0, 1], [0], [1, 0]]


def test_validation_rows_are_drawn_from_the_training_rows_where_a_split_has_none(
    folder: None,
) -> None:
    parts = np.where(np.arange(50) < 40, "train", "test")
    content = {"a": np.arange(50) / 7, "t": np.arange(50) % 7, "split": parts}
    tensors, _ = convert("regression", content, valid_fraction=0.25)
    assert [len(tensors[f"y_{part}"]) for part in SPLITS] == [30, 10, 10]
    rows = np.round(np.array(tensors["x_train"] + tensors["x_valid"]) * 7)
    assert sorted(rows) == list(range(40))
    assert np.round(np.array(tensors["x_test"]) * 7).tolist() == list(range(40, 50))


def test_random_parts_depend_on_the_seed_and_on_nothing_else(folder: None) -> None:
    content = pd.DataFrame({"a": np.arange(40) / 7, "b": 1.0, "t": np.arange(40) % 7})
    rows = [sorted(convert("regression", content, seed=seed)[0]["x_test"]) for seed in (0, 0, 1)]
    assert len(rows[0]) == 8
    assert rows[0] == rows[1] != rows[2]
    shuffled = content.sample(frac=1, random_state=0)
    tensors, _ = convert("regression", shuffled, features=["b", "a"])
    assert sorted([a, b] for b, a in tensors["x_test"]) == rows[0]


def test_random_parts_have_every_class_in_its_proportion(folder: None) -> None:
    content = {"a": np.arange(100) / 7, "t": ["u"] * 20 + ["v"] * 80}
    tensors, _ = convert("classification", content, test_fraction=0.3, valid_fraction=0.1)
    counts = {part: np.bincount(tensors[f"y_{part}"]).tolist() for part in SPLITS}
    assert counts == {"train": [12, 48], "valid": [2, 8], "test": [6, 24]}


def test_equal_rows_are_in_one_part(folder: None) -> None:
    content = pd.DataFrame({"a": np.arange(300) % 100 / 7, "t": np.arange(300) % 2})
    tensors, _ = convert("classification", content)
    parts = [set(np.ravel(tensors[f"X_{part}"]).tolist()) for part in SPLITS]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 100


def test_table_of_few_categories_is_split_like_any_other(folder: None) -> None:
    """Were equal rows kept together, the parts would hold different combinations."""
    generator = np.random.default_rng(0)
    sex, deck = generator.choice(["f", "m"], 2000), generator.choice(["a", "b", "c"], 2000)
    y = (generator.random(2000) < np.where(sex == "f", 0.7, 0.2)).astype(int)
    content = {"sex": sex, "deck": deck, "t": y}
    for seed in range(3):
        tensors, _ = convert("classification", content, seed=seed)
        assert [len(tensors[f"y_{part}"]) for part in SPLITS] == [1200, 400, 400]
        means = [np.mean(tensors["X_" + part], axis=0) for part in SPLITS]
        np.testing.assert_allclose(means[1:], means[:1] * 2, atol=0.1)
        X, labels = np.array(tensors["X_test"]), np.array(tensors["y_test"])
        assert labels[X[:, 0] == 1].mean() == pytest.approx(0.7, abs=0.12)  # sex=f


def test_rows_with_equal_features_are_in_one_part_whatever_their_target(folder: None) -> None:
    values = np.arange(300) % 100 / 7
    tensors, _ = convert("regression", {"a": values, "t": np.arange(300)})
    parts = [set(tensors[f"x_{part}"]) for part in SPLITS]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 100


def test_validation_rows_are_drawn_from_each_class(folder: None) -> None:
    parts = np.where(np.arange(60) % 3 == 0, "test", "train")
    content = {"a": np.arange(60) / 7, "t": np.where(np.arange(60) < 6, "u", "v"), "split": parts}
    for seed in range(5):
        tensors, _ = convert("classification", content, seed=seed, valid_fraction=0.5)
        assert np.bincount(tensors["y_train"]).tolist() == [2, 18]
        assert np.bincount(tensors["y_valid"]).tolist() == [2, 18]


def test_last_rows_are_for_testing(folder: None) -> None:
    content = {"a": np.arange(10) / 7, "t": np.arange(10) % 3}
    tensors, _ = convert("regression", content, split="last", valid_fraction=0.3)
    assert [tensors[f"y_{part}"] for part in SPLITS] == [[0, 1, 2, 0, 1], [2, 0, 1], [2, 0]]


def test_groups_are_in_one_part(folder: None) -> None:
    groups = [f"g{number % 30}" for number in range(300)]
    content = {"g": groups, "a": np.arange(300) / 7, "t": np.arange(300) % 30}
    tensors, metadata = convert("regression", content, split="group:g")
    assert metadata.features == ("a",)
    parts = [set(tensors[f"y_{part}"]) for part in SPLITS]
    assert sorted(map(len, parts)) == [6, 6, 18]
    assert len(set.union(*parts)) == 30


# Missing values and text

PEOPLE = pd.DataFrame(
    {
        "age": [20, np.nan, 40, 60, 90, 7],
        "sex": ["f", "m", None, "m", "x", "f"],
        "t": [1.0, 2, 3, 4, 5, 6],
        "split": ["train", "train", "train", "train", "valid", "test"],
    }
)


def test_missing_values_are_imputed_from_the_training_part(folder: None) -> None:
    tensors, metadata = convert("regression", PEOPLE, missing="impute")
    assert metadata.columns == (
        FeatureColumn(name="age", fill=40.0),
        FeatureColumn(name="sex", categories=("f", "m"), fill="m"),
    )
    assert metadata.features == ("age", "sex=f", "sex=m")
    assert tensors["x_train"] == [[20, 1, 0], [40, 0, 1], [40, 0, 1], [60, 0, 1]]
    assert tensors["x_valid"] == [[90, 0, 0]]  # a category that training does not know
    assert tensors["x_test"] == [[7, 1, 0]]


def test_rows_with_missing_values_are_dropped(folder: None) -> None:
    tensors, metadata = convert("regression", PEOPLE, missing="drop")
    assert tensors["x_train"] == [[20, 1, 0], [60, 0, 1]]
    assert (metadata.missing, metadata.columns[0].fill) == ("drop", None)


def test_imputation_is_that_of_scikit_learn(folder: None) -> None:
    generator = np.random.default_rng(0)
    values = np.where(generator.random(60) < 0.3, np.nan, generator.standard_normal(60))
    texts = np.where(generator.random(60) < 0.3, None, generator.choice(["u", "v", "w"], 60))
    split = np.array(["test", "valid", "train"] * 20)
    content = pd.DataFrame({"a": values, "c": texts, "t": np.arange(60), "split": split})
    tensors, _ = convert("regression", content, missing="impute")
    train = content[split == "train"]
    theirs = ColumnTransformer(
        [
            ("a", SimpleImputer(strategy="median"), ["a"]),
            (
                "c",
                make_pipeline(
                    SimpleImputer(strategy="most_frequent", missing_values=np.nan),
                    OneHotEncoder(handle_unknown="ignore", sparse_output=False),
                ),
                ["c"],
            ),
        ]
    ).fit(train)
    np.testing.assert_array_equal(tensors["x_train"], theirs.transform(train))
    np.testing.assert_array_equal(tensors["x_test"], theirs.transform(content[split == "test"]))


# The scaling


def test_scaling_is_of_the_training_part_as_in_scikit_learn(folder: None) -> None:
    X = np.random.default_rng(0).standard_normal((40, 2)) * [3, 100] + [7, 0]
    split = np.array(["test", "valid", "train", "train"] * 10)
    content = {"a": X[:, 0], "b": X[:, 1], "t": X[:, 0] + 1e7, "split": split}
    tensors, metadata = convert("regression", content, standardize=True)
    theirs = StandardScaler().fit(X[split == "train"])
    np.testing.assert_allclose(tensors["x_train"], theirs.transform(X[split == "train"]), atol=1e-6)
    np.testing.assert_allclose(tensors["x_test"], theirs.transform(X[split == "test"]), atol=1e-6)
    assert metadata.scaling is not None
    assert metadata.scaling.mean == pytest.approx(theirs.mean_, rel=1e-8)
    assert metadata.scaling.scale == pytest.approx(theirs.scale_, rel=1e-8)
    y = content["t"]
    assert metadata.target_mean == pytest.approx(y[split == "train"].mean(), rel=1e-15)
    np.testing.assert_allclose(tensors["y_test"], y[split == "test"] - metadata.target_mean)
    assert np.mean(tensors["y_train"]) == pytest.approx(0, abs=1e-8)


def test_target_is_centered_only_where_features_are_scaled(folder: None) -> None:
    content = {"a": np.arange(20) / 7, "t": np.arange(20) + 5}
    assert convert("regression", content)[1].target_mean is None
    assert convert("regression", content, standardize=True)[1].target_mean is not None


def test_features_that_float32_would_merge_are_rejected(folder: None) -> None:
    content = {"seconds": 1_700_000_000 + np.arange(40) * 100, "t": np.arange(40) % 2}
    assert error_of("classification", content, features=["seconds"]) == (
        "my.csv: features are stored as float32, which would merge different values of seconds. "
        "Set standardize: true for the table in params.yaml."
    )
    tensors, _ = convert("classification", content, features=["seconds"], standardize=True)
    values = np.sort(np.concatenate([np.ravel(tensors[f"X_{part}"]) for part in SPLITS]))
    np.testing.assert_allclose(np.diff(values), values[1] - values[0], rtol=1e-4)


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
    assert convert_regression(params).metadata.truth is not None


def test_table_of_several_chunks_brings_its_truth_and_all_rows(
    generated: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.shared.table_files.BATCH_ROWS", 5)
    tensors, metadata = convert_file("classification", RAW_CLASSIFICATION, target="label")
    assert metadata.truth is not None
    assert [len(tensors[f"y_{part}"]) for part in SPLITS] == [8, 8, 8]


def test_table_that_was_written_anew_has_no_truth(generated: Change) -> None:
    path = copy_table(RAW_CLASSIFICATION, drop=("split",))
    tensors, metadata = convert_file("classification", path, target="label")
    assert len(tensors["y_test"]) == 4  # 20 % of the 12 of each class
    assert metadata.truth is None


@pytest.mark.parametrize("extra_rows", [-1, 1])
def test_table_with_rows_removed_or_appended_has_no_truth(
    generated: Change, extra_rows: int
) -> None:
    path = copy_table(RAW_REGRESSION, extra_rows)
    params = table_params("regression", path, target="y")
    assert convert_regression(params).metadata.truth is None
    path = copy_table(RAW_CLASSIFICATION, extra_rows)
    params = table_params("classification", path, target="label")
    assert convert_classification(params).metadata.truth is None


def test_other_target_has_no_truth(generated: Change) -> None:
    params = table_params("regression", RAW_REGRESSION, target="x")
    assert convert_regression(params).metadata.truth is None


@pytest.mark.parametrize("features", [["x1"], ["x2", "x1"]])
def test_other_features_have_no_truth(generated: Change, features: list[str]) -> None:
    params = table_params("classification", RAW_CLASSIFICATION, target="label", features=features)
    assert convert_classification(params).metadata.truth is None


def test_truth_of_the_other_task_is_not_taken(generated: Change) -> None:
    params = table_params("regression", RAW_CLASSIFICATION, target="x1", features=["x2"])
    assert convert_regression(params).metadata.truth is None


def test_table_that_pandas_wrote_again_has_no_truth(generated: Change) -> None:
    pd.read_parquet(RAW_REGRESSION).assign(y=0.5).to_parquet("my.parquet", index=False)
    params = table_params("regression", "my.parquet", target="x", features=["y"])
    assert convert_regression(params).metadata.truth is None


@pytest.mark.parametrize("truth", ["", "{", "{}", '{"seed": 0}'])
def test_description_that_is_none_of_ours_is_ignored(generated: Change, truth: str) -> None:
    checksum = pq.read_metadata(RAW_REGRESSION).metadata[b"checksum"]
    described = {"truth": truth, "checksum": checksum}
    table = pq.read_table(RAW_REGRESSION).replace_schema_metadata(described)
    pq.write_table(table, "my.parquet")
    params = table_params("regression", "my.parquet", target="y")
    assert convert_regression(params).metadata.truth is None


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


FEW = "one to train on, one to validate and one to test; it has"


@pytest.mark.parametrize(
    ("task", "content", "changes", "sentence"),
    [
        ("regression", "a,t\n1,5\n2,6\n1,5\n", {}, f"distinct rows, {FEW} 2"),
        ("regression", "a,t\n1,5\n2,6\n", {"split": "last"}, f"rows, {FEW} 2"),
        (
            "regression",
            "a,g,t\n1,u,5\n2,v,6\n3,u,7\n",
            {"split": "group:g"},
            f"groups, {FEW} 2",
        ),
        (
            "regression",
            "a,t,split\n1,5,train\n2,6,test\n3,7,train\n",
            {},
            f"distinct rows with split train, {FEW} 2",
        ),
    ],
)
def test_table_that_cannot_be_split_is_rejected(
    folder: None, task: str, content: str, changes: dict[str, Any], sentence: str
) -> None:
    assert error_of(task, content, **changes) == (
        f"my.csv must have three or more {sentence}. Add rows, or a column split."
    )


def test_target_of_which_every_class_is_rare_is_rejected(folder: None) -> None:
    assert error_of("classification", {"a": np.arange(9) / 7, "t": np.arange(9) // 2}) == (
        "my.csv must have a class of three or more distinct rows; the target t has 5 classes in 9 "
        "rows. Choose another target."
    )


def test_rare_class_is_for_training_only_and_named(folder: None) -> None:
    content = "a,t\n" + "".join(f"{row / 7},r\n" for row in range(10)) + "9,s\n9,u\n8,u\n"
    tensors, _ = convert("classification", content)
    assert np.bincount(tensors["y_train"]).tolist() == [6, 1, 2]
    assert tensors["y_test"] == [0, 0]
    notes = convert_classification(table_params("classification", "my.csv")).notes
    assert dict(notes)["rare"] == "s, u: too few distinct rows, all of them for training"


def test_class_of_copies_of_two_rows_is_rare(folder: None) -> None:
    content = "a,t\n" + "".join(f"{row / 7},r\n" for row in range(10)) + "9,s\n8,s\n" * 2
    tensors, _ = convert("classification", content)
    assert [tensors[f"y_{part}"].count(1) for part in SPLITS] == [4, 0, 0]


def test_class_without_a_training_row_is_rejected(folder: None) -> None:
    content = "a,t,split\n1,r,train\n2,r,test\n3,s,test\n4,r,valid\n"
    assert error_of("classification", content) == (
        "my.csv: every class must have a training row; in column t, s has none. Change the split."
    )


def test_class_without_a_test_row_is_accepted(folder: None) -> None:
    content = "a,t,split\n1,r,train\n2,r,test\n3,s,train\n4,r,valid\n"
    assert convert("classification", content)[0]["y_test"] == [0]


def test_feature_without_values_to_train_on_is_rejected(folder: None) -> None:
    content = "a,b,t,split\n1,,1,train\n2,5,2,valid\n3,6,3,test\n"
    assert error_of("regression", content, missing="impute") == (
        "my.csv: every feature must have values in the training part; b has none. Leave it out of "
        "the features."
    )


def test_feature_named_as_a_category_is_rejected(folder: None) -> None:
    content = {"c": ["u", "v"] * 5, "c=u": np.arange(10) / 7, "t": np.arange(10)}
    assert error_of("regression", content) == (
        "my.csv: features must have distinct names; c=u is both a column and a category of "
        "another. Rename the column."
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
    assert [item["tensor"] for item in descriptions[::2]] == ["x_train", "x_valid", "x_test"]


def test_metrics_count_rows_features_and_classes(generated: Change) -> None:
    generated({"convert_to_tensors.classification.features": ["x1"]})
    call_stage("convert_to_tensors")
    content = json.loads(Path(METRICS).read_text())
    rows = {f"{part}_rows": 8 for part in SPLITS} | {"duplicate_rows": 0, "leaked_rows": 0}
    rows |= {"split_by": "column"}
    assert content["convert_to_tensors"] == {
        "regression": rows | {"features": 1},
        "classification": rows | {"features": 1, "classes": 2},
    }
    assert content["preparation"]["regression"] == []
    assert content["preparation"]["classification"] == [["classes", "0 12, 1 12"]]


def test_metrics_count_what_was_done_to_the_rows(folder: None) -> None:
    frame = pd.concat([PEOPLE, PEOPLE.iloc[:1].assign(split="test")])
    frame.to_csv("my.csv", index=False)
    counts = {
        missing: convert_regression(table_params("regression", "my.csv", missing=missing)).counts
        for missing in ("drop", "impute")
    }
    assert counts["drop"] == {
        "train_rows": 2,
        "valid_rows": 1,
        "test_rows": 2,
        "features": 3,
        "duplicate_rows": 1,
        "leaked_rows": 1,
        "dropped_rows": 2,
        "split_by": "column",
    }
    assert counts["impute"]["imputed_values"] == 2
    assert counts["impute"]["train_rows"] == 4


def test_no_more_than_ten_values_are_described() -> None:
    assert describe("x", torch.arange(12.0))["first_ten"] == list(range(10))
    assert np.shape(describe("X", torch.zeros(11, 12))["first_ten"]) == (10, 10)


def test_tables_and_tensors_are_printed(
    generated: Change, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    call_stage("convert_to_tensors")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == [
        "data/raw/regression.parquet: 8 train, 8 valid, 8 test rows; 1 feature",
        "  split by: column",
        "data/raw/classification.parquet: 8 train, 8 valid, 8 test rows; 2 features",
        "  split by: column",
        "  classes: 0 12, 1 12",
    ]
    assert lines[5].startswith("x_train: torch.Tensor torch.float64 [8] [0.0, 0.142857")
    assert lines[-1] == "convert_to_tensors: 12 tensors from 2 tables"
    assert len(lines) == 18


def test_what_was_done_to_a_table_is_printed(
    folder: None, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(
        f"{number},{number * 3},{'fm'[number % 2]},n{number},{'?' if number > 27 else 5.5},u\n"
        for number in range(30)
    )
    content = f"row,id,sex,name,size,t\n{rows}30,90,m,x,,v\n31,93,m,y,5.5,v\n32,96,f,z,5.5,v\n"
    convert("classification", content, missing="impute")
    assert capsys.readouterr().out == (
        "my.csv: 19 train, 7 valid, 7 test rows; 4 features\n"
        "  split by: random\n"
        "  classes: u 30, v 3\n"
        "  left out: row (an index), name (text with 33 different values; the limit is 20)\n"
        "  one hot: sex (f, m)\n"
        "  imputed: 3 size with 5.5\n"
        "  ids: id has a different integer in every row; list the features without it if it is an "
        "id\n"
    )


def test_unknown_categories_and_constant_columns_are_noted(folder: None) -> None:
    content = "c,d,t,split\nu,7,1,train\nv,7,2,train\nw,7,3,valid\nw,7,4,test\nu,7,5,test\n"
    Path("my.csv").write_text(content)
    notes = dict(convert_regression(table_params("regression", "my.csv")).notes)
    assert notes["unknown_categories"] == "not in the training rows: c in 2 rows"
    assert notes["constant"] == "d: the same value in every row"


def test_validation_rows_count_as_leaked_too(folder: None) -> None:
    content = "a,t,split\n1,1,train\n2,2,train\n1,1,valid\n3,3,test\n"
    Path("my.csv").write_text(content)
    assert convert_regression(table_params("regression", "my.csv")).counts["leaked_rows"] == 1


def test_split_without_validation_rows_says_where_they_come_from(folder: None) -> None:
    frame = pd.DataFrame(
        {"a": np.arange(9) / 7, "t": np.arange(9), "split": ["train"] * 8 + ["test"]}
    )
    frame.to_csv("my.csv", index=False)
    counts = convert_regression(table_params("regression", "my.csv")).counts
    assert counts["split_by"] == "column, validation at random"


# Large tables


def use_small_chunks(monkeypatch: pytest.MonkeyPatch, n_rows: int) -> None:
    """Walk tables in chunks of `n_rows`, and map every array from a file."""
    monkeypatch.setattr("stages.shared.scratch.ROWS", n_rows)
    monkeypatch.setattr("stages.shared.scratch.SMALL", 0)
    monkeypatch.setattr("stages.shared.table_files.BATCH_ROWS", 5)


def mixed_table(n_rows: int = 150) -> pd.DataFrame:
    """Return a table with numbers, texts, gaps, copies, an id and columns that are left out."""
    generator = np.random.default_rng(0)
    numbers = generator.standard_normal(n_rows).round(3) + 100
    texts = generator.choice(["u", "v ", "w", "rare"], n_rows, p=[0.4, 0.3, 0.28, 0.02])
    frame = pd.DataFrame(
        {
            "id": generator.permutation(n_rows),
            "a": np.where(generator.random(n_rows) < 0.1, np.nan, numbers),
            "c": np.where(generator.random(n_rows) < 0.1, None, texts),
            "flag": generator.random(n_rows) < 0.5,
            "constant": 7,
            "name": [f"n{number}" for number in range(n_rows)],
            "g": generator.choice([f"g{number}" for number in range(9)], n_rows),
            "t": generator.choice([3, 1, 2], n_rows, p=[0.5, 0.3, 0.2]),
        }
    )
    return pd.concat([frame, frame.iloc[:20], frame.iloc[:7]], ignore_index=True)


@pytest.mark.parametrize("n_rows", [3, 64])
@pytest.mark.parametrize("file", ["my.csv.gz", "my.parquet"])
@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize(
    "changes",
    [
        {"missing": "impute", "standardize": True},
        {"missing": "drop", "features": ["a", "c"]},
        {"missing": "drop", "split": "last", "standardize": True},
        {"missing": "impute", "split": "group:g", "standardize": True},
        {"missing": "impute", "features": ["c", "flag"]},  # every combination is there many times
        {"missing": "impute", "standardize": True, "parts": ["train", "test"]},
        {"missing": "drop", "standardize": True, "parts": ["train", "valid", "test"]},
    ],
    ids=["random", "drop", "last", "group", "few", "no-valid", "column"],
)
def test_chunks_change_nothing(
    folder: None,
    monkeypatch: pytest.MonkeyPatch,
    n_rows: int,
    file: str,
    task: str,
    changes: dict[str, Any],
) -> None:
    frame, options = mixed_table(), dict(changes)
    if parts := options.pop("parts", None):
        frame["split"] = np.resize(parts, len(frame))
    frame.to_parquet(file) if file.endswith("parquet") else frame.to_csv(file, index=False)
    found = []
    for _ in range(2):
        tensors, metadata = convert_file(task, file, **options)
        function = convert_regression if task == "regression" else convert_classification
        converted = function(table_params(task, file, **options))
        found.append((tensors, metadata, converted.counts, converted.notes))
        use_small_chunks(monkeypatch, n_rows)
    assert found[0] == found[1]


@pytest.mark.parametrize("file", ["my.csv", "my.parquet"])
def test_error_in_a_later_chunk_names_the_row(
    folder: None, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    use_small_chunks(monkeypatch, 7)
    where = "line 52" if file == "my.csv" else "row 51"
    frame = mixed_table(100)[["t"]].assign(a=np.arange(127) / 7)
    frame["split"] = np.resize(["train", "test"], len(frame))
    for column, value, words in (
        ("a", 1e31, "must be a number from -1e30 to 1e30; got"),
        ("a", None, "has a missing value, the first of 1 in this column; set missing"),
        ("split", "tset", "must be train, valid or test; got 'tset'"),
    ):
        broken = frame.copy()
        broken.loc[50, column] = value
        broken.to_parquet(file) if file == "my.parquet" else broken.to_csv(file, index=False)
        with pytest.raises(UserError) as error:
            convert_file("regression", file)
        assert str(error.value).startswith(f"{file}: {where}, column {column} {words}")


def test_files_that_arrays_are_mapped_from_have_no_names(
    folder: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_small_chunks(monkeypatch, 7)
    convert("regression", mixed_table(), missing="impute")
    assert os.listdir("data/tensors") == []


def test_folder_that_holds_no_files_is_reported(
    folder: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_small_chunks(monkeypatch, 7)
    Path("data").write_text("a file")
    assert error_of("regression", mixed_table(), missing="impute") == (
        "data/tensors cannot hold temporary files: Not a directory."
    )


MEASURED = """
import threading, time
from pathlib import Path
from stages.convert_to_tensors import main
from stages.core.params import read_params
from stages.core.schema import STAGES

def measure():
    status = Path("/proc/self/status").read_text()  # memory but mapped files, in kB
    return int(status.split("RssAnon:")[1].split()[0])

def watch():
    while True:
        peaks[0] = max(peaks[0], measure())
        time.sleep(0.002)

before = measure()  # the imports
peaks = [before]
threading.Thread(target=watch, daemon=True).start()
main(read_params(STAGES["convert_to_tensors"]))
print(peaks[0] - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_memory_does_not_grow_with_the_table(article: Change) -> None:
    """The table alone has 130 MB; were its columns held whole, it would be 680 MB."""
    n_rows = 4_000_000
    Path("stages").symlink_to(PROJECT / "stages")
    article(
        {
            "generate_data.regression.n_samples": n_rows,
            "generate_data.classification.n_samples_per_class": n_rows // 2,
        }
    )
    call_stage("generate_data")
    ended = run(sys.executable, "-c", MEASURED, cwd=Path.cwd())
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout.splitlines()[-1]) < 120_000
