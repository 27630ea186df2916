"""Custom tables through all stages; a simulated table under another name is one of them."""

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_diabetes, load_wine
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LinearRegression
from sklearn.metrics import log_loss, mean_absolute_error, mean_squared_error

from conftest import (
    ARTICLE,
    SMALL,
    Change,
    call_stage,
    change_params,
    collect_figures,
    write_params,
)
from stages.shared.metrics import read_json
from stages.shared.splits import SPLITS
from stages.shared.tensors import load_tensors

LINE = "data/external/line.csv"
CLASSES = "data/external/classes.csv"
REGRESSION = "data/models/regression.safetensors"
CLASSIFIER = "data/models/classifier.safetensors"

CUSTOM = {
    "convert_to_tensors.regression.table": LINE,
    "convert_to_tensors.regression.target": "t",
    "convert_to_tensors.classification.table": CLASSES,
    "convert_to_tensors.classification.target": "t",
}
STANDARDIZED = {
    "convert_to_tensors.regression.standardize": True,
    "convert_to_tensors.classification.standardize": True,
}
# Without generate_data: nothing of the simulation is read.
NEEDED = ("convert_to_tensors", "train_regression", "train_classifier", "evaluate")


def run_stages(changes: dict[str, Any]) -> dict[str, Any]:
    """Run the stages from the tables to the metrics, and return those of evaluate."""
    change_params(changes)
    for stage in NEEDED:
        call_stage(stage)
    return read_json("metrics/evaluate.json")


def run_on(
    line: pd.DataFrame, classes: pd.DataFrame, changes: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Run the stages on two tables whose target is t."""
    Path("data/external").mkdir(parents=True, exist_ok=True)
    line.to_csv(LINE, index=False)
    classes.to_csv(CLASSES, index=False)
    return run_stages(CUSTOM | (changes or {}))


def make_tables(
    n_features: int, n_rows: int = 40, labels: tuple = ("u", "v")
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return two tables of `n_features`: a sum of the features, and classes that lie apart."""
    X = np.random.default_rng(n_features).standard_normal((n_rows, n_features)) * 5 + 20
    numbers = np.arange(n_rows) % len(labels)
    line = pd.DataFrame(X, columns=[f"f{k}" for k in range(n_features)])
    classes = line + 100 * numbers[:, None]
    return line.assign(t=X.sum(axis=1)), classes.assign(t=np.array(labels)[numbers])


# Real tables, against scikit-learn


def real_tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return diabetes and wine, each with a split of its own: of every four rows, two train."""
    diabetes = load_diabetes(as_frame=True, scaled=False).frame.rename(columns={"target": "t"})
    wine = load_wine(as_frame=True)
    classes = wine.data.assign(t=wine.target_names[wine.target])
    return tuple(
        table.assign(split=np.resize(["train", "test", "train", "valid"], len(table)))
        for table in (diabetes, classes)
    )


@pytest.fixture(scope="module")
def real_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder where the stages ran on real_tables(), standardized and with a bias."""
    folder = tmp_path_factory.mktemp("real")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        collect_figures(patch)
        write_params(ARTICLE)
        run_on(
            *real_tables(),
            STANDARDIZED
            | {
                "train_regression.bias": True,
                "train_regression.epochs": 2000,
                "train_regression.optimizer.lr": 5e-4,
                "train_classifier.optimizer.lr": 1e-2,
            },
        )
    return folder


@pytest.fixture
def real(real_folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Work in the folder of the real tables, to read only; return the metrics of evaluate."""
    monkeypatch.chdir(real_folder)
    return read_json("metrics/evaluate.json")


def parts(table: pd.DataFrame) -> dict[str, tuple[pd.DataFrame, pd.Series]]:
    """Return the features and the target of each split."""
    rows = {split: table[table["split"] == split] for split in SPLITS}
    return {split: (part.drop(columns=["t", "split"]), part["t"]) for split, part in rows.items()}


@pytest.mark.parametrize("split", SPLITS)
def test_regression_is_that_of_scikit_learn(real: dict[str, Any], split: str) -> None:
    data = parts(real_tables()[0])
    r2 = LinearRegression().fit(*data["train"]).score(*data[split])
    assert real["regression"]["least_squares"][split]["r2"] == pytest.approx(r2, abs=1e-5)
    assert real["regression"][split]["r2"] == pytest.approx(r2, abs=1e-3)


@pytest.mark.parametrize("split", SPLITS)
def test_baseline_of_the_regression_is_that_of_scikit_learn(
    real: dict[str, Any], split: str
) -> None:
    data = parts(real_tables()[0])
    X, y = data[split]
    mse = mean_squared_error(y, DummyRegressor().fit(*data["train"]).predict(X))
    mae = mean_absolute_error(y, DummyRegressor().fit(*data["train"]).predict(X))
    assert real["regression"]["mean"][split]["mse"] == pytest.approx(mse, rel=1e-5)
    assert real["regression"]["mean"][split]["mae"] == pytest.approx(mae, rel=1e-5)


@pytest.mark.parametrize("split", SPLITS)
def test_baselines_of_the_classifier_are_those_of_scikit_learn(
    real: dict[str, Any], split: str
) -> None:
    data = parts(real_tables()[1])
    X, y = data[split]
    accuracy = DummyClassifier(strategy="most_frequent").fit(*data["train"]).score(X, y)
    loss = log_loss(y, DummyClassifier(strategy="prior").fit(*data["train"]).predict_proba(X))
    metrics = real["classifier"]
    assert metrics["majority"][split]["accuracy"] == pytest.approx(accuracy, rel=1e-5)
    assert metrics["prior"][split]["cross_entropy"] == pytest.approx(loss, rel=1e-5)


def test_classifier_learns_and_its_gain_is_over_the_majority(real: dict[str, Any]) -> None:
    metrics = real["classifier"]
    accuracy, majority = metrics["test"]["accuracy"], metrics["majority"]["test"]["accuracy"]
    assert accuracy > 0.9
    assert metrics["gain_over_majority"] == pytest.approx(accuracy - majority, abs=2e-6)


def test_no_theory_is_claimed_for_custom_tables(real: dict[str, Any]) -> None:
    theory = {"bayes", "bayes_accuracy", "gap_to_bayes", "bayes_cross_entropy"}
    theory |= {"noise_variance", "noise_r2", "true_line"}
    assert not theory & {*real["classifier"], *real["regression"]}
    assert load_tensors(REGRESSION)[1].truth is None
    assert load_tensors(CLASSIFIER)[1].truth is None


def test_weights_have_the_names_of_their_features(real: dict[str, Any]) -> None:
    weights, best = real["regression"]["weights"], real["regression"]["least_squares_weights"]
    assert list(weights) == list(best) == sorted(load_diabetes().feature_names)
    assert weights["bmi"] == pytest.approx(best["bmi"], rel=0.01)
    assert real["regression"]["bias"] == pytest.approx(
        real["regression"]["least_squares_bias"], rel=1e-4
    )


def test_history_has_a_column_for_each_feature(real: dict[str, Any]) -> None:
    header = Path("metrics/train_regression.csv").read_text().partition("\n")[0].split(",")
    names = [f"weight_{name}" for name in load_diabetes().feature_names]
    assert header == ["epoch", "loss", "valid_loss", "weight", *names, "bias"]


def test_confusion_pairs_have_the_names_of_the_classes(real: dict[str, Any]) -> None:
    with open("metrics/confusion.csv", newline="") as file:
        _, *rows = csv.reader(file)
    assert [row[0] for row in rows] == parts(real_tables()[1])["test"][1].to_list()


# A simulated table is just a table


@pytest.fixture
def copied(finished: Change) -> Change:
    """Work where all stages have run; the simulated tables lie in data/external/, too."""
    Path("data/external").mkdir()
    for task in ("regression", "classification"):
        shutil.copy(f"data/raw/{task}.parquet", f"data/external/{task}.parquet")
    return finished


COPIES = {
    "convert_to_tensors.regression.table": "data/external/regression.parquet",
    "convert_to_tensors.classification.table": "data/external/classification.parquet",
}


def test_copy_of_the_simulated_tables_gives_the_same_results(copied: Change, drawn: dict) -> None:
    results = ["metrics/evaluate.json", "metrics/train_regression.csv", "metrics/confusion.csv"]
    results += [REGRESSION, CLASSIFIER]
    before = [Path(path).read_bytes() for path in results]
    shutil.rmtree("data/raw")
    metrics = run_stages(COPIES)
    assert [Path(path).read_bytes() for path in results] == before
    assert {"bayes_accuracy", "noise_variance"} <= {*metrics["classifier"], *metrics["regression"]}


@pytest.mark.parametrize(
    "changes",
    [
        {"regression.target": "x", "classification.features": ["x1"]},
        {"regression.target": "x", "classification.target": "x1_sign"},
    ],
)
def test_theory_gives_way_to_baselines_for_other_columns(
    copied: Change, drawn: dict, changes: dict[str, Any]
) -> None:
    path = COPIES["convert_to_tensors.classification.table"]
    table = pq.read_table(path)
    signs = np.where(np.array(table["x1"]) > 0.5, "high", "low")
    pq.write_table(table.append_column("x1_sign", [signs]), path)
    metrics = run_stages(COPIES | {f"convert_to_tensors.{key}": changes[key] for key in changes})
    assert {"mean", "majority"} <= {*metrics["classifier"], *metrics["regression"]}
    assert drawn["regression"].true_weight is None
    assert drawn["classifier"].centers is None
    assert drawn["classifier"].reference[0] == "majority class"


def test_theory_gives_way_to_baselines_for_appended_rows(copied: Change, drawn: dict) -> None:
    for path in COPIES.values():
        table = pq.read_table(path)
        pq.write_table(table.take([*range(table.num_rows), 0]), path)
    metrics = run_stages(COPIES)
    assert {"mean", "majority"} <= {*metrics["classifier"], *metrics["regression"]}
    assert not {"noise_variance", "bayes_accuracy"} & {
        *metrics["classifier"],
        *metrics["regression"],
    }


def test_simulated_table_as_csv_gives_the_same_models(copied: Change, drawn: dict) -> None:
    before = [load_file(path) for path in (REGRESSION, CLASSIFIER)]
    changes = {}
    for key, path in COPIES.items():
        changes[key] = path.replace(".parquet", ".csv")
        pd.read_parquet(path).to_csv(changes[key], index=False)
    run_stages(changes)
    for expected, path in zip(before, (REGRESSION, CLASSIFIER), strict=True):
        actual = load_file(path)
        assert all(actual[name].equal(tensor) for name, tensor in expected.items())


# Tables of many forms


def test_every_kind_of_file_gives_the_same_models(small: Change) -> None:
    line, classes = make_tables(2)
    run_on(line, classes, STANDARDIZED)
    before = [Path(path).read_bytes() for path in (REGRESSION, CLASSIFIER)]
    Path("data/parts").mkdir()
    line.iloc[:25].to_parquet("data/parts/part-0.parquet")
    line.iloc[25:].to_parquet("data/parts/part-1.parquet")
    classes.to_csv("data/classes.tsv.gz", sep="\t", index=False)
    run_stages(
        {
            "convert_to_tensors.regression.table": "data/parts",
            "convert_to_tensors.classification.table": "data/classes.tsv.gz",
        }
    )
    call_stage("report")
    assert [Path(path).read_bytes() for path in (REGRESSION, CLASSIFIER)] == before


@pytest.mark.parametrize("n_features", [1, 2, 14])
def test_any_number_of_features_is_trained_and_drawn(small: Change, n_features: int) -> None:
    run_on(*make_tables(n_features), STANDARDIZED)
    call_stage("report")
    assert load_file(REGRESSION)["weight"].shape == ((n_features,) if n_features > 1 else ())
    assert load_file(CLASSIFIER)["0.weight"].shape == (10, n_features)
    for path in Path("metrics/figures").iterdir():
        with Image.open(path) as image:
            assert np.asarray(image.convert("L")).min() < 80, path


def test_features_on_one_line_are_trained_and_drawn(small: Change) -> None:
    k = np.arange(1, 7)
    table = pd.DataFrame({"a": k, "b": k, "c": k})
    run_on(table.assign(t=k), table.assign(t=np.where(k < 4, "u", "v")))
    assert Path("metrics/figures/classifier_after.png").is_file()


def test_names_of_columns_and_classes_are_kept_literally(small: Change) -> None:
    line, classes = (table.rename(columns={"f0": "$\\a$ _<b>"}) for table in make_tables(2))
    run_on(line, classes.assign(t=np.where(classes["t"] == "u", "$\\c$ <i>", "_%")), STANDARDIZED)
    call_stage("report")
    metadata = load_tensors(CLASSIFIER)[1]
    assert metadata.features == ("$\\a$ _<b>", "f1")
    assert metadata.labels == ("$\\c$ <i>", "_%")
    assert "<i>" not in Path("metrics/report.html").read_text()


@pytest.mark.parametrize("labels", [(3, 7, 11), tuple(f"class {k}" for k in range(15))])
def test_any_labels_keep_their_names_and_order(small: Change, drawn: dict, labels: tuple) -> None:
    run_on(*make_tables(2, 60, labels), STANDARDIZED)
    assert load_tensors(CLASSIFIER)[1].labels == tuple(sorted(labels))
    rows = Path("metrics/confusion.csv").read_text().splitlines()[1:]
    assert {row.split(",")[0] for row in rows} == {str(label) for label in labels}


def test_training_target_may_be_constant_while_the_test_target_is_not(
    small: Change, drawn: dict
) -> None:
    line, classes = make_tables(2)
    split = np.where(np.arange(40) < 30, "train", "test")
    line = line.assign(t=np.where(split == "train", 5.0, np.arange(40.0)), split=split)
    metrics = run_on(line, classes, STANDARDIZED)
    assert metrics["regression"]["train"]["r2"] is None
    assert metrics["regression"]["test"]["r2"] is not None


def test_one_test_row_has_no_r2(small: Change, drawn: dict) -> None:
    line, classes = make_tables(1)
    line = line.assign(split=["test"] + ["train"] * 39)
    metrics = run_on(line, classes, STANDARDIZED)
    assert metrics["regression"]["test"]["r2"] is None


# The figures are given the units of the table


def test_standardized_line_is_drawn_in_the_units_of_the_table(small: Change, drawn: dict) -> None:
    x = np.arange(40.0)
    changes = {
        "train_regression.bias": True,
        "train_regression.epochs": 500,
        "train_regression.optimizer.lr": 1e-2,
    }
    table = pd.DataFrame({"f": x, "t": 3 * x + 7})
    run_on(table, make_tables(1)[1], STANDARDIZED | changes)
    data = drawn["regression"]
    np.testing.assert_allclose(data.y, 3 * data.X[:, 0] + 7, rtol=1e-6)
    assert data.lines[-1] == pytest.approx([3, 7], rel=1e-3)
    (ends,) = data.predict(np.array([-1]), np.array([[0.0], [10.0]]))
    assert ends == pytest.approx([7, 37], rel=1e-3)
    assert (data.features, data.target) == (("f",), "t")


def test_standardized_line_without_a_bias_passes_through_the_means(
    small: Change, drawn: dict
) -> None:
    run_on(*make_tables(1), STANDARDIZED)
    data = drawn["regression"]
    (at_mean,) = data.predict(np.array([-1]), np.array([[data.X.mean()]]))
    assert at_mean == pytest.approx(data.y.mean())
    assert data.lines[-1] @ [data.X.mean(), 1] == pytest.approx(data.y.mean())


def test_standardized_classes_are_drawn_in_the_units_of_the_table(
    small: Change, drawn: dict
) -> None:
    run_on(*make_tables(2), STANDARDIZED | {"train_classifier.optimizer.lr": 0.1})
    data = drawn["classifier"]
    assert data.X.mean() == pytest.approx(70, abs=15)
    between = data.scores(np.array([[20.0, 20.0], [120.0, 120.0]]))
    assert between.argmax(axis=1).tolist() == [0, 1]


def test_predictions_of_several_features_are_those_of_the_model(small: Change, drawn: dict) -> None:
    run_on(*make_tables(2), STANDARDIZED | {"train_regression.bias": True})
    data = drawn["regression"]
    tensors, model = load_file("data/tensors/regression.safetensors"), load_file(REGRESSION)
    mean = load_tensors(REGRESSION)[1].target_mean
    expected = tensors["x_train"] @ model["weight"].double() + model["bias"] + mean
    (actual,) = data.predict(np.array([-1]), data.X)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)
    expected = tensors["x_test"] @ model["weight"].double() + model["bias"]
    np.testing.assert_allclose(data.predicted, expected + mean, rtol=1e-5)
    np.testing.assert_allclose(data.residuals, tensors["y_test"] - expected, rtol=1e-5, atol=1e-5)


def test_scores_are_given_for_two_features_alone(small: Change, drawn: dict) -> None:
    given = []
    for n_features in (1, 2, 3):
        run_on(*make_tables(n_features), STANDARDIZED)
        given.append(drawn["classifier"].scores is not None)
    assert given == [False, True, False]


def test_simulation_is_not_read(small: Change, drawn: dict) -> None:
    small(dict.fromkeys(key for key in SMALL if key.startswith("generate_data")))
    assert run_on(*make_tables(2), STANDARDIZED)["regression"]["test"]["mse"] > 0
    assert not Path("data/raw").exists()


def test_theory_gives_way_to_baselines_for_edited_values(copied: Change, drawn: dict) -> None:
    regression, classification = map(pq.read_table, COPIES.values())
    regression = regression.set_column(1, "y", [np.array(regression["y"]) * 100])
    classification = classification.set_column(2, "label", [np.arange(24) % 3])
    for table, path in zip((regression, classification), COPIES.values(), strict=True):
        described = pq.read_metadata(path).metadata  # which other writers may keep
        kept = {key: described[key] for key in (b"truth", b"checksum")}
        pq.write_table(table.replace_schema_metadata(kept), path)
    metrics = run_stages(COPIES | {"train_regression.optimizer.lr": 1e-6})
    found = {*metrics["classifier"], *metrics["regression"]}
    assert not {"noise_variance", "bayes_accuracy"} & found


def test_curves_refer_to_the_training_rows_and_to_the_norm_of_the_weights(
    small: Change, drawn: dict
) -> None:
    line, classes = make_tables(2)
    line["t"] = 3 * line["f0"] - 4 * line["f1"]
    classes = classes.assign(split=np.where(np.arange(40) % 5, "train", "test"))
    classes = classes[(classes["split"] == "train") | (classes["t"] == "u") | (classes.index < 10)]
    metrics = run_on(line, classes, {"train_regression.optimizer.lr": 1e-7})
    majority = metrics["classifier"]["majority"]
    assert majority["train"] != majority["test"]
    expected = pytest.approx(majority["train"]["accuracy"], rel=1e-5)
    assert drawn["classifier"].reference == ("majority class", expected)
    assert drawn["regression"].least_squares_weight == pytest.approx(5, rel=1e-5)
