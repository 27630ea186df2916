import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from conftest import call_main
from stages.convert_to_tensors import (
    CLASSIFICATION,
    RAW_CLASSIFICATION,
    RAW_REGRESSION,
    REGRESSION,
    SUMMARY,
    classification_tensors,
    describe,
    regression_tensors,
)
from stages.errors import UserError
from stages.tensors import load_tensors, save_tensors

finite = st.floats(allow_nan=False, allow_infinity=False)


@pytest.fixture
def converted(small):
    call_main("generate_data")
    call_main("convert_to_tensors")


def test_tensors_have_the_promised_dtypes_and_shapes(converted):
    tensors = load_file(REGRESSION) | load_file(CLASSIFICATION)
    assert {name: (t.dtype, tuple(t.shape)) for name, t in tensors.items()} == {
        "x_train": (torch.float64, (8,)),
        "y_train": (torch.int64, (8,)),
        "x_test": (torch.float64, (8,)),
        "y_test": (torch.int64, (8,)),
        "X_train": (torch.float32, (8, 2)),
        "X_test": (torch.float32, (8, 2)),
    }
    assert load_file(REGRESSION)["y_train"].dtype == torch.float64


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_each_task_is_standardized_by_its_own_switch(small, task):
    small((f"{task}: false", f"{task}: true"))
    call_main("generate_data")
    call_main("convert_to_tensors")
    facts = {path: load_tensors(path, maker="test")[1] for path in (REGRESSION, CLASSIFICATION)}
    standardized = [path for path, each in facts.items() if "mean" in each]
    assert standardized == [f"data/tensors/{task}.safetensors"]


def test_tensors_hold_the_table(converted):
    table = pd.read_parquet(RAW_CLASSIFICATION).query("split == 'test'")
    tensors = load_file(CLASSIFICATION)
    expected = table[["x1", "x2"]].to_numpy().astype("float32")
    np.testing.assert_array_equal(tensors["X_test"].numpy(), expected)
    np.testing.assert_array_equal(tensors["y_test"].numpy(), table["label"])


@settings(max_examples=30)
@given(st.lists(st.tuples(finite, finite, st.booleans()), min_size=1, max_size=20))
def test_regression_round_trip_keeps_every_bit(tmp_path_factory, rows):
    table = pd.DataFrame(rows, columns=["x", "y", "train"])
    table["split"] = np.where(table.pop("train"), "train", "test")
    path = str(tmp_path_factory.mktemp("t") / "tensors.safetensors")
    save_tensors(path, *regression_tensors(table[["x", "y", "split"]]))
    loaded, _ = load_tensors(path, maker="test")
    for split in ("train", "test"):
        part = table[table["split"] == split]
        np.testing.assert_array_equal(loaded[f"x_{split}"].numpy(), part["x"])
        np.testing.assert_array_equal(loaded[f"y_{split}"].numpy(), part["y"])


def test_rows_of_the_splits_may_be_mixed():
    table = pd.DataFrame(
        {
            "x1": [1.0, 2, 3],
            "x2": [4.0, 5, 6],
            "label": [0, 1, 1],
            "split": ["train", "test"] * 1 + ["train"],
        }
    )
    tensors, facts = classification_tensors(table)
    assert facts == {"features": ["x1", "x2"], "target": "label", "labels": [0, 1]}
    assert tensors["X_train"].tolist() == [[1, 4], [3, 6]]
    assert tensors["y_train"].tolist() == [0, 1]
    assert tensors["X_test"].tolist() == [[2, 5]]


def test_summary_shows_what_the_article_shows(converted, capsys):
    shown = {each["tensor"]: each for each in json.loads(Path(SUMMARY).read_text())[REGRESSION]}
    x = load_file(REGRESSION)["x_train"]
    assert shown["x_train"]["class"] == "torch.Tensor"
    assert shown["x_train"]["dtype"] == "torch.float64"
    assert shown["x_train"]["shape"] == [8]
    assert shown["x_train"]["first_ten"] == pytest.approx(x[:10].tolist(), rel=1e-5)


def test_no_more_than_ten_values_are_shown():
    assert describe("x", torch.arange(12.0))["first_ten"] == list(range(10))
    assert np.shape(describe("X", torch.zeros(11, 12))["first_ten"]) == (10, 10)


def test_tensors_are_printed_and_counted(converted, capsys):
    call_main("convert_to_tensors")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9
    assert lines[0].startswith("x_train: torch.Tensor torch.float64 [8] [0.0, 0.142857")
    assert lines[-1] == "convert_to_tensors: 8 tensors from 2 tables"


def test_table_of_another_kind_is_refused(converted):
    shutil.copy(RAW_CLASSIFICATION, RAW_REGRESSION)
    with pytest.raises(UserError, match="regression.parquet is damaged"):
        call_main("convert_to_tensors")


def test_missing_table_names_its_stage(small):
    with pytest.raises(UserError) as error:
        call_main("convert_to_tensors")
    assert str(error.value) == f"{RAW_REGRESSION} is missing; `dvc repro generate_data` makes it."


def test_damaged_table_is_refused(converted):
    Path(RAW_REGRESSION).write_bytes(Path(RAW_REGRESSION).read_bytes()[:-100])
    with pytest.raises(UserError, match="regression.parquet is damaged; `dvc repro generate_"):
        call_main("convert_to_tensors")
