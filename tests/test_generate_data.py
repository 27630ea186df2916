from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import call_main
from stages import generate_data
from stages.generate_data import CLASSIFICATION, REGRESSION, cluster_rows, regression_rows, stream


def generated(path):
    call_main("generate_data")
    return pd.read_parquet(path)


@pytest.mark.parametrize("n_rows", [2, 3, 1000, 12345])
def test_x_is_evenly_spaced_with_both_ends(n_rows):
    x = np.concatenate([rows["x"] for rows in regression_rows(n_rows, 2.0, 0.3, stream(0, 0, 0))])
    np.testing.assert_array_equal(x, np.linspace(0, 1, n_rows))


def test_noise_has_the_given_law():
    (rows,) = regression_rows(200_000, 2.0, 0.3, stream(0, 0, 0))
    noise = rows["y"] - 2.0 * rows["x"]
    assert noise.mean() == pytest.approx(0, abs=4 * 0.3 / 200_000**0.5)
    assert noise.std() == pytest.approx(0.3, rel=0.01)


def test_clusters_have_their_centers_and_spread():
    (rows,) = cluster_rows(200_000, 1, (0.8, -0.8), 0.25, stream(0, 1, 0, 1))
    assert rows["x1"].mean() == pytest.approx(0.8, abs=0.003)
    assert rows["x2"].mean() == pytest.approx(-0.8, abs=0.003)
    assert rows["x1"].std() == pytest.approx(0.25, rel=0.01)
    assert rows["x2"].std() == pytest.approx(0.25, rel=0.01)
    assert np.corrcoef(rows["x1"], rows["x2"])[0, 1] == pytest.approx(0, abs=0.01)


def test_chunks_change_nothing_but_the_row_groups(edit, monkeypatch):
    whole = {path: generated(path) for path in (REGRESSION, CLASSIFICATION)}
    monkeypatch.setattr(generate_data.chunks, "__defaults__", (300,))
    for path, table in whole.items():
        pd.testing.assert_frame_equal(generated(path), table)
        assert pq.ParquetFile(path).num_row_groups > 7


def test_columns_and_rows_are_those_promised(edit):
    table = generated(REGRESSION)
    assert list(table) == ["x", "y", "split"]
    assert table["split"].value_counts().to_dict() == {"train": 1000, "test": 1000}
    table = pd.read_parquet(CLASSIFICATION)
    assert list(table) == ["x1", "x2", "label", "split"]
    assert table.groupby(["split", "label"]).size().to_list() == [1000] * 4


def test_no_two_parts_share_a_stream(edit):
    noise = []
    call_main("generate_data")
    for _, part in pd.read_parquet(CLASSIFICATION).groupby(["split", "label"]):
        noise += [part["x1"] - part["x1"].mean(), part["x2"] - part["x2"].mean()]
    for _, part in pd.read_parquet(REGRESSION).groupby("split"):
        noise.append(part["y"] - 2 * part["x"])
    correlations = np.corrcoef(np.stack(noise)) - np.eye(len(noise))
    assert len(noise) == 10
    assert np.abs(correlations).max() < 0.15


def test_test_part_comes_from_another_stream(edit):
    table = generated(REGRESSION)
    noise = table["y"] - 2 * table["x"]
    train, test = noise[table["split"] == "train"], noise[table["split"] == "test"]
    assert abs(np.corrcoef(train, test)[0, 1]) < 0.1


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        (("n_samples: 1000", "n_samples: 500"), CLASSIFICATION),
        (("n_test: 1000", "n_test: 500"), CLASSIFICATION),
        (("n_samples_per_class: 1000", "n_samples_per_class: 9"), REGRESSION),
    ],
)
def test_size_of_one_data_set_leaves_the_other_alone(edit, change, kept):
    call_main("generate_data")
    before = Path(kept).read_bytes()
    edit(change)
    call_main("generate_data")
    assert Path(kept).read_bytes() == before


def test_sizes_are_those_of_the_parts(edit):
    edit(("n_samples: 1000", "n_samples: 5"), ("n_test: 1000", "n_test: 3"))
    edit(
        ("n_samples_per_class: 1000", "n_samples_per_class: 4"),
        ("n_test_per_class: 1000", "n_test_per_class: 2"),
    )
    assert generated(REGRESSION)["split"].to_list() == ["train"] * 5 + ["test"] * 3
    table = pd.read_parquet(CLASSIFICATION)
    assert table["split"].to_list() == ["train"] * 8 + ["test"] * 4
    assert table["label"].to_list() == [0] * 4 + [1] * 4 + [0] * 2 + [1] * 2


def test_stored_digits_are_nine(edit):
    y = generated(REGRESSION)["y"]
    assert [float(f"{value:.8e}") for value in y] == y.to_list()
    assert [float(f"{value:.7e}") for value in y] != y.to_list()


def test_columns_are_stored_plain(edit):
    call_main("generate_data")
    column = pq.ParquetFile(REGRESSION).metadata.row_group(0).column(1)
    assert column.compression == "UNCOMPRESSED"


def test_size_of_the_test_part_leaves_the_training_part_alone(edit):
    before = generated(CLASSIFICATION).query("split == 'train'")
    edit(("n_test_per_class: 1000", "n_test_per_class: 7"))
    pd.testing.assert_frame_equal(generated(CLASSIFICATION).query("split == 'train'"), before)


def test_other_seed_gives_other_data(edit):
    call_main("generate_data")
    before = Path(REGRESSION).read_bytes(), Path(CLASSIFICATION).read_bytes()
    edit(("  seed: 0 # study. Seed of every", "  seed: 1 # study. Seed of every"))
    call_main("generate_data")
    assert Path(REGRESSION).read_bytes() != before[0]
    assert Path(CLASSIFICATION).read_bytes() != before[1]


@given(st.integers(0, 2**63 - 1), st.integers(2, 50))
def test_same_stream_gives_the_same_rows(seed, n_rows):
    first, second = (
        np.concatenate([rows["y"] for rows in regression_rows(n_rows, 1.0, 1.0, stream(seed, 0))])
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_three_centers_make_three_classes(small):
    small(("[[0.2, 0.2], [0.8, 0.8]]", "[[0, 0], [1, 0], [0, 1]]"))
    assert sorted(generated(CLASSIFICATION)["label"].unique()) == [0, 1, 2]


def test_summary_is_one_line(small, capsys):
    call_main("generate_data")
    assert capsys.readouterr().out == (
        "generate_data: 16 points on a line, 16 points in 2 clusters, from seed 0\n"
    )
