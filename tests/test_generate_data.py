"""The simulated tables: their distributions, their sizes, and what they say of themselves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Change, call_stage
from stages import generate_data
from stages.generate_data import (
    CLASSIFICATION,
    REGRESSION,
    cluster_chunks,
    line_chunks,
    make_generator,
)
from stages.shared.table_files import read_truth


def generate(path: str) -> pd.DataFrame:
    call_stage("generate_data")
    return pd.read_parquet(path)


@pytest.mark.parametrize("n_rows", [2, 3, 1000, 12345])
def test_x_is_evenly_spaced_with_both_ends(n_rows: int) -> None:
    chunks = line_chunks(n_rows, 2.0, 0.3, make_generator(0))
    x = np.concatenate([columns["x"] for columns in chunks])
    np.testing.assert_array_equal(x, np.linspace(0, 1, n_rows))


def test_noise_is_normal_with_the_given_deviation() -> None:
    (columns,) = line_chunks(200_000, 2.0, 0.3, make_generator(0))
    noise = columns["y"] - 2.0 * columns["x"]
    assert noise.mean() == pytest.approx(0, abs=4 * 0.3 / 200_000**0.5)
    assert noise.std() == pytest.approx(0.3, rel=0.01)
    assert (np.abs(noise) < 0.3).mean() == pytest.approx(0.6827, abs=0.005)


def test_line_without_noise_is_exact() -> None:
    (columns,) = line_chunks(5, 2.0, 0.0, make_generator(0))
    assert columns["y"].tolist() == [0, 0.5, 1, 1.5, 2]


def test_clusters_have_their_centers_and_deviations() -> None:
    (columns,) = cluster_chunks(200_000, 1, (0.8, -0.8), 0.25, make_generator(0))
    assert columns["x1"].mean() == pytest.approx(0.8, abs=0.003)
    assert columns["x2"].mean() == pytest.approx(-0.8, abs=0.003)
    assert columns["x1"].std() == pytest.approx(0.25, rel=0.01)
    assert columns["x2"].std() == pytest.approx(0.25, rel=0.01)
    assert np.corrcoef(columns["x1"], columns["x2"])[0, 1] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("path", [REGRESSION, CLASSIFICATION])
def test_chunks_change_only_the_row_groups(
    article: Change, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    whole = generate(path)
    monkeypatch.setattr(generate_data, "CHUNK", 300)
    pd.testing.assert_frame_equal(generate(path), whole)
    assert pq.ParquetFile(path).num_row_groups > 7


def test_regression_has_the_promised_columns_and_rows(article: Change) -> None:
    table = generate(REGRESSION)
    assert list(table) == ["x", "y", "split"]
    assert table["split"].to_list() == ["train"] * 1000 + ["valid"] * 1000 + ["test"] * 1000


def test_classification_has_the_promised_columns_and_rows(article: Change) -> None:
    table = generate(CLASSIFICATION)
    assert list(table) == ["x1", "x2", "label", "split"]
    assert table["label"].dtype == np.int64
    assert table.groupby(["split", "label"]).size().to_list() == [1000] * 6


def test_sizes_are_those_of_the_parts(article: Change) -> None:
    article(
        {
            "generate_data.regression.n_samples": 5,
            "generate_data.regression.n_valid": 2,
            "generate_data.regression.n_test": 3,
            "generate_data.classification.n_samples_per_class": 4,
            "generate_data.classification.n_valid_per_class": 1,
            "generate_data.classification.n_test_per_class": 2,
        }
    )
    assert generate(REGRESSION)["split"].to_list() == ["train"] * 5 + ["valid"] * 2 + ["test"] * 3
    table = pd.read_parquet(CLASSIFICATION)
    assert table["split"].to_list() == ["train"] * 8 + ["valid"] * 2 + ["test"] * 4
    assert table["label"].to_list() == [0] * 4 + [1] * 4 + [0, 1] + [0] * 2 + [1] * 2


def test_no_two_parts_share_their_noise(article: Change) -> None:
    noise = []
    call_stage("generate_data")
    for _, part in pd.read_parquet(CLASSIFICATION).groupby(["split", "label"]):
        noise += [part["x1"] - part["x1"].mean(), part["x2"] - part["x2"].mean()]
    for _, part in pd.read_parquet(REGRESSION).groupby("split"):
        noise.append(part["y"] - 2 * part["x"])
    correlations = np.corrcoef(np.stack(noise)) - np.eye(len(noise))
    assert len(noise) == 15
    assert np.abs(correlations).max() < 0.15


@pytest.mark.parametrize(("split", "key"), [("train", 0), ("test", 1), ("valid", 2)])
def test_noise_is_drawn_from_the_key_of_its_part(article: Change, split: str, key: int) -> None:
    article({"generate_data.seed": 5})
    table = generate(REGRESSION)
    seeds = np.random.SeedSequence(5, spawn_key=(0, key))
    x, z = np.linspace(0, 1, 1000), np.random.default_rng(seeds).standard_normal(1000)
    y = table.loc[table["split"] == split, "y"]
    np.testing.assert_allclose(y, 2.0 * x + 0.3 * z, rtol=5.01e-9)


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("regression.n_samples", 500, CLASSIFICATION),
        ("regression.n_test", 500, CLASSIFICATION),
        ("classification.n_samples_per_class", 9, REGRESSION),
    ],
)
def test_size_of_one_table_leaves_the_other_as_it_is(
    article: Change, key: str, value: int, kept: str
) -> None:
    call_stage("generate_data")
    before = Path(kept).read_bytes()
    article({f"generate_data.{key}": value})
    call_stage("generate_data")
    assert Path(kept).read_bytes() == before


@pytest.mark.parametrize("size", ["n_samples_per_class", "n_valid_per_class", "n_test_per_class"])
def test_size_of_one_part_leaves_the_others_as_they_are(article: Change, size: str) -> None:
    before = generate(CLASSIFICATION)
    article({f"generate_data.classification.{size}": 7})
    after = generate(CLASSIFICATION)
    for split, key in (("train", "samples"), ("valid", "valid"), ("test", "test")):
        parts = [table[table["split"] == split].reset_index(drop=True) for table in (before, after)]
        if key in size:
            assert len(parts[1]) == 14
        else:
            pd.testing.assert_frame_equal(*parts)


def test_same_seed_and_key_give_the_same_generator() -> None:
    first, second = (make_generator(7, 1, 0).random(5).tolist() for _ in range(2))
    assert first == second


def test_other_seed_or_key_gives_another_generator() -> None:
    keys = [(7, 1, 0), (7, 1, 1), (7, 0, 1), (7, 1), (7, 1, 0, 0), (8, 1, 0)]
    assert len({make_generator(*key).random() for key in keys}) == len(keys)


@pytest.mark.parametrize("path", [REGRESSION, CLASSIFICATION])
def test_other_seed_gives_other_data(small: Change, path: str) -> None:
    before = generate(path)
    small({"generate_data.seed": 1})
    after = generate(path)
    assert not before.iloc[:, :2].equals(after.iloc[:, :2])


@given(st.integers(0, 2**63 - 1), st.integers(2, 50))
@settings(max_examples=20)
def test_same_seed_gives_the_same_rows(seed: int, n_rows: int) -> None:
    first, second = (
        [columns["y"].tolist() for columns in line_chunks(n_rows, 1.0, 1.0, make_generator(seed))]
        for _ in range(2)
    )
    assert first == second


def test_stored_digits_are_nine(article: Change) -> None:
    y = generate(REGRESSION)["y"]
    assert [float(f"{value:.8e}") for value in y] == y.to_list()
    assert [float(f"{value:.7e}") for value in y] != y.to_list()


def test_three_centers_make_three_classes(small: Change) -> None:
    small({"generate_data.classification.centers": [[0, 0], [1, 0], [0, 1]]})
    assert sorted(generate(CLASSIFICATION)["label"].unique()) == [0, 1, 2]


@pytest.mark.parametrize(
    ("path", "truth"),
    [
        (REGRESSION, {"n_samples": 8, "n_valid": 8, "n_test": 8, "weight": 2.0, "noise_std": 0.3}),
        (
            CLASSIFICATION,
            {
                "n_samples_per_class": 4,
                "n_valid_per_class": 4,
                "n_test_per_class": 4,
                "centers": [[0.2, 0.2], [0.8, 0.8]],
                "std": 0.25,
            },
        ),
    ],
)
def test_table_describes_its_simulation(small: Change, path: str, truth: dict[str, Any]) -> None:
    small({"generate_data.seed": 3})
    call_stage("generate_data")
    text = read_truth(path, pq.read_table(path).combine_chunks())
    assert text is not None
    assert json.loads(text) == truth | {"seed": 3}


def test_summary_is_one_line(small: Change, capsys: pytest.CaptureFixture[str]) -> None:
    call_stage("generate_data")
    assert capsys.readouterr().out == (
        "generate_data: 24 points on a line, 24 points in 2 clusters, from seed 0\n"
    )
