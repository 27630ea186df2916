import json
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_diabetes, load_wine

from conftest import ARTICLE, PROJECT, call_stage, change_params, run, write_params
from stages import evaluate
from stages.core.errors import UserError
from stages.shared.models import load_classifier, load_regression
from stages.shared.tensors import load_tensors
from tools import predict, prediction

REGRESSION = "data/models/regression.safetensors"
CLASSIFIER = "data/models/classifier.safetensors"
MODEL = "must be a model that train_regression or train_classifier wrote; it is not, or it is"


def with_split(table):
    """Return a table with a column `split`, every fifth row for testing."""
    return table.assign(split=np.where(np.arange(len(table)) % 5, "train", "test"))


@pytest.fixture(scope="session")
def real_folder(tmp_path_factory):
    """Return a folder with models of the diabetes and wine tables, standardized."""
    folder = tmp_path_factory.mktemp("real")
    wine = load_wine(as_frame=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        diabetes = load_diabetes(as_frame=True, scaled=False).frame
        with_split(diabetes).to_csv("regression.csv", index=False)
        classes = wine.data.assign(target=wine.target_names[wine.target])
        with_split(classes).to_csv("classification.csv", index=False)
        write_params(ARTICLE)
        for task in ("regression", "classification"):
            section = f"convert_to_tensors.{task}"
            change_params({f"{section}.table": f"{task}.csv", f"{section}.target": "target"})
            change_params({f"{section}.standardize": True})
        change_params({"train_regression.bias": True, "train_classifier.optimizer.lr": 0.01})
        for stage in ("convert_to_tensors", "train_regression", "train_classifier"):
            call_stage(stage)
    return folder


@pytest.fixture
def real(real_folder, tmp_path, monkeypatch):
    """Work in a copy of the folder with real models; return how to predict the test rows."""
    shutil.copytree(real_folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)

    def predict_test_rows(model, task, output):
        table = pd.read_csv(f"{task}.csv").query("split == 'test'")
        table.to_csv("in.csv", index=False)
        predict.main([model, "in.csv", "-o", output])
        read = pd.read_csv if output.endswith(".csv") else pd.read_parquet
        return table["target"].to_numpy(), read(output)

    return predict_test_rows


@pytest.mark.parametrize("output", ["out.csv", "out.parquet"])
def test_regression_predicts_what_evaluate_measures(real, output):
    y, found = real(REGRESSION, "regression", output)
    tensors, _ = load_tensors("data/tensors/regression.safetensors")
    parts = evaluate.make_parts(tensors, 50, lambda _: None)
    expected = evaluate.regression_metrics(parts, *load_regression(REGRESSION))["test"]["mse"]
    assert ((found["prediction"].to_numpy() - y) ** 2).mean() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("output", ["out.csv", "out.parquet"])
@torch.no_grad()
def test_classifier_predicts_what_evaluate_measures(real, output):
    y, found = real(CLASSIFIER, "classification", output)
    tensors, _ = load_tensors("data/tensors/classification.safetensors")
    network, metadata = load_classifier(CLASSIFIER)
    parts = evaluate.make_parts(tensors, 50, lambda _: None)
    scores = {split: evaluate.score_classes(part, network) for split, part in parts.items()}
    expected = evaluate.classifier_metrics(parts, scores, metadata)["test"]
    assert (found["prediction"].to_numpy() == y).mean() == expected["accuracy"] > 0.9
    columns = [f"probability_{label}" for label in metadata.labels]
    assert list(found) == ["prediction", *columns]
    own = found[columns].to_numpy()[
        np.arange(len(y)), [metadata.labels.index(label) for label in y]
    ]
    assert -np.log(own).mean() == pytest.approx(expected["cross_entropy"], rel=1e-6)


def test_columns_may_have_any_order_and_others_are_ignored(finished, capfdbinary):
    pd.DataFrame({"x2": [1.0], "name": ["n"], "x1": [2.0]}).to_csv("in.csv", index=False)
    pd.DataFrame({"x1": [2.0], "x2": [1.0]}).to_parquet("in.parquet")
    outputs = []
    for path in ("in.csv", "in.parquet"):
        predict.main([CLASSIFIER, path])
        outputs.append(capfdbinary.readouterr().out)
    assert outputs[0] == outputs[1]
    assert outputs[0].startswith(b'"prediction","probability_0","probability_1"\n')


def test_output_file_is_reported(finished, capsys):
    Path("in.csv").write_text("x\n1\n2\n")
    predict.main([REGRESSION, "in.csv", "-o", "out.csv"])
    assert capsys.readouterr().out == "out.csv: 2 predictions of y\n"


def test_lacking_column_is_answered_by_what_the_model_needs(finished):
    pd.DataFrame({"x1": [1.0]}).to_csv("in.csv", index=False)
    with pytest.raises(UserError) as error:
        predict.main([CLASSIFIER, "in.csv"])
    assert str(error.value) == (
        "in.csv must have the columns x1, x2, from which the model predicts label; it lacks x2."
    )


def test_wrong_value_is_answered_by_its_row_and_leaves_no_output(finished, monkeypatch):
    monkeypatch.setattr("stages.shared.csv_files.BLOCK", 256)
    pd.DataFrame({"x": [*map(str, range(300)), "n"]}).to_csv("in.csv", index=False)
    with pytest.raises(UserError, match="in.csv: line 302, column x must be a number"):
        predict.main([REGRESSION, "in.csv", "-o", "out.csv"])
    assert not list(Path().glob("*out.csv*"))


def test_missing_value_is_rejected_by_a_model_that_was_trained_without(finished):
    Path("in.csv").write_text("x\n1\nNA\n3\n")
    with pytest.raises(UserError) as error:
        predict.main([REGRESSION, "in.csv", "-o", "out.csv"])
    assert str(error.value) == (
        "in.csv: line 3, column x has a missing value, and the model was trained without any; "
        "train it with missing: impute, or correct the table."
    )
    assert not list(Path().glob("*out.csv*"))


def test_numbers_have_the_shortest_digits_of_float32(finished, capfdbinary):
    Path("in.csv").write_text("x\n1\n")
    predict.main([REGRESSION, "in.csv"])
    printed = capfdbinary.readouterr().out.decode().splitlines()[1]
    (weight,) = load_file(REGRESSION).values()
    assert printed == str(np.float32(weight)) == f"{float(weight):.6g}"


@pytest.mark.parametrize("offset", [1e3, 1e7, 1.7e9, 1e12])
@pytest.mark.parametrize("standardize", [True, False])
def test_predictions_keep_what_was_learned_beside_an_offset(article, offset, standardize):
    a = np.random.default_rng(0).standard_normal(60)
    frame = pd.DataFrame({"a": a, "y": offset + 3 * a})
    frame.to_csv("in.csv", index=False)
    section = "convert_to_tensors.regression"
    article(
        {
            f"{section}.table": "in.csv",
            f"{section}.standardize": standardize,
            "train_regression.bias": not standardize,
            "train_regression.epochs": 2000,
            "train_regression.optimizer.lr": 5e-3,
        }
    )
    call_stage("generate_data")
    call_stage("convert_to_tensors")
    call_stage("train_regression")
    predict.main([REGRESSION, "in.csv", "-o", "out.csv"])
    errors = pd.read_csv("out.csv")["prediction"] - frame["y"]
    assert (errors**2).mean() < 1e-6 * frame["y"].var() + 1e-9 * offset**2 * 1e-15


def test_columns_to_keep_come_first(finished, capfdbinary):
    frame = pd.DataFrame({"x2": [1.0], "id": ["007"], "x1": [2.0], "when": ["1 May"]})
    frame.to_csv("in.csv", index=False)
    predict.main([CLASSIFIER, "in.csv", "--keep", "when,id,x1"])
    header, row = capfdbinary.readouterr().out.decode().splitlines()
    assert header == '"when","id","x1","prediction","probability_0","probability_1"'
    assert row.startswith('"1 May","007","2.0",')
    frame.to_parquet("in.parquet")
    predict.main([CLASSIFIER, "in.parquet", "--keep", "id,x1", "-o", "out.parquet"])
    found = pd.read_parquet("out.parquet")
    assert found[["id", "x1"]].to_dict("list") == {"id": ["007"], "x1": [2.0]}


@pytest.mark.parametrize(
    ("keep", "sentence"),
    [
        ("ix", "--keep must name columns of in.csv, which has no 'ix'; it has id, x, prediction."),
        ("prediction", "--keep cannot keep 'prediction', which is a column of the output"),
    ],
)
def test_column_that_cannot_be_kept_is_rejected(finished, keep, sentence):
    Path("in.csv").write_text("id,x,prediction\n1,2,3\n")
    with pytest.raises(UserError, match=sentence):
        predict.main([REGRESSION, "in.csv", "--keep", keep])


@pytest.fixture
def people(article):
    """Work in a folder with a table that has gaps and text; return how to train and predict."""
    generator = np.random.default_rng(0)
    age, sex = generator.integers(20, 60, 90).astype(float), generator.choice(["f", "m"], 90)
    table = pd.DataFrame({"age": age, "sex": sex, "pay": 3 * age + 50 * (sex == "f")})
    table.loc[5, "age"], table.loc[6, "sex"] = np.nan, None
    table.to_csv("people.csv", index=False)
    pd.DataFrame({"id": range(4), "sex": ["f", "x", None, "m"], "age": [30, 40, 50, None]}).to_csv(
        "in.csv", index=False
    )

    def predict_with(missing):
        section = "convert_to_tensors.regression"
        article(
            {
                f"{section}.table": "people.csv",
                f"{section}.target": "pay",
                f"{section}.missing": missing,
                f"{section}.standardize": True,
                "train_regression.epochs": 3000,
                "train_regression.optimizer.lr": 1e-3,
            }
        )
        call_stage("generate_data")
        call_stage("convert_to_tensors")
        call_stage("train_regression")
        predict.main([REGRESSION, "in.csv", "-o", "out.csv", "--keep", "id"])
        return pd.read_csv("out.csv")

    return predict_with


def test_missing_values_and_unknown_categories_are_predicted_as_trained(people, capsys):
    found = people("impute")
    metadata = load_tensors(REGRESSION)[1]
    age, sex = metadata.columns
    assert found["id"].tolist() == [0, 1, 2, 3]
    expected = [140, None, 150 + 50 * (sex.fill == "f"), 3 * age.fill]
    for row in (0, 2, 3):
        assert found["prediction"][row] == pytest.approx(expected[row], abs=3)
    # Neither f nor m: between the two, since both features are 0 instead of one of them 1.
    assert 120 - 30 < found["prediction"][1] < 170 + 30
    assert capsys.readouterr().err.splitlines() == [
        "in.csv: 1 row, age: missing values, filled in",
        "in.csv: 1 row, sex: unknown categories, taken as none of the known",
        "in.csv: 1 row, sex: missing values, filled in",
    ]


def test_row_with_a_missing_value_has_no_prediction_where_they_were_dropped(people, capsys):
    found = people("drop")
    assert found["prediction"].isna().tolist() == [False, False, True, True]
    assert "in.csv: 1 row, age: missing values, without a prediction\n" in capsys.readouterr().err


def test_chunks_change_no_prediction(finished, monkeypatch):
    points = np.random.default_rng(0).random((500, 2))
    pd.DataFrame(points, columns=["x1", "x2"]).to_csv("in.csv", index=False)
    predict.main([CLASSIFIER, "in.csv", "-o", "whole.parquet"])
    monkeypatch.setattr("stages.shared.csv_files.BLOCK", 1024)
    assert (
        len(list(prediction.predict_table(prediction.load(CLASSIFIER), "in.csv", [], Counter())))
        > 5
    )
    predict.main([CLASSIFIER, "in.csv", "-o", "parts.parquet"])
    whole, parts = pd.read_parquet("whole.parquet"), pd.read_parquet("parts.parquet")
    pd.testing.assert_frame_equal(whole, parts, rtol=1e-12)


def test_table_without_rows_gives_no_predictions(finished):
    Path("in.csv").write_text("x\n")
    predict.main([REGRESSION, "in.csv", "-o", "out.csv"])
    assert Path("out.csv").read_text() == '"prediction"\n'


# Standard output


@pytest.fixture
def large(finished):
    """Work with a table whose predictions exceed what a pipe holds."""
    pd.DataFrame({"x": np.arange(50000)}).to_csv("in.csv", index=False)
    return f"python -m tools.predict {os.getcwd()}/{REGRESSION} {os.getcwd()}/in.csv"


def test_reader_that_has_enough_ends_without_a_message(large):
    done = run("bash", "-c", f"set -o pipefail; {large} | head -1", cwd=PROJECT)
    assert (done.returncode, done.stdout, done.stderr) == (0, '"prediction"\n', "")


def test_full_disk_behind_standard_output_is_reported(large):
    done = run("bash", "-c", f"{large} >/dev/full", cwd=PROJECT)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("Standard output cannot be written")


# Files that are not models

METADATA = {
    "task": "classification",
    "columns": [{"name": "x1"}, {"name": "x2"}],
    "target": "label",
    "labels": [0, 1],
    "loss_on": "logits",
}


def save_model(path, changes=None, tensors=None):
    state = load_file(CLASSIFIER) | (tensors or {})
    metadata = {"metadata": json.dumps(METADATA | (changes or {}))}
    save_file(state, path, metadata=metadata)


def load_error(path):
    with pytest.raises(UserError) as error:
        predict.main([path, "data/raw/classification.parquet", "-o", "out.csv"])
    return str(error.value)


def test_model_with_such_metadata_is_accepted(finished):
    save_model("model")
    assert prediction.load("model").metadata.labels == (0, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": [0, 1, 2]},
        {"labels": 3},
        {"labels": [0, 0]},
        {"labels": [0, 10**30]},
        {"labels": ["a", "\ud800"]},
        {"columns": [{"name": "x1"}]},
        {"columns": [{"name": "x1"}, {"name": "x1"}]},
        {"columns": [{"name": "x1", "fill": "a"}, {"name": "x2"}]},
        {"columns": [{"name": "x1", "categories": ["u", "v"], "fill": "w"}]},
        {"task": "regression"},
        {"task": "regression", "labels": []},
        {"task": ["classification"]},
        {"scaling": {"mean": [0.0, 0.0]}},
        {"scaling": {"mean": [0.0, 0.0], "scale": [0.0, 1.0]}},
        {"code": "import os"},
    ],
)
def test_model_with_odd_metadata_is_rejected_in_one_sentence(finished, changes):
    save_model("odd", changes)
    assert load_error("odd") == f"odd {MODEL} corrupted."


@pytest.mark.parametrize("text", ["[]", "3", "{", "null"])
def test_metadata_that_is_no_record_is_rejected(finished, text):
    save_file(load_file(CLASSIFIER), "odd", metadata={"metadata": text})
    assert load_error("odd") == f"odd {MODEL} corrupted."


@pytest.mark.parametrize(
    "change",
    [
        lambda state: {"0.weight": state["0.weight"] * np.nan},
        lambda state: {"1.running_var": -state["1.running_var"]},
        lambda state: {"3.bias": state["3.bias"].double()},
        lambda state: {"3.weight": state["3.bias"].clone()},
        lambda _: {"0.bias": torch.zeros(())},
    ],
)
def test_weights_that_no_training_makes_are_rejected(finished, change):
    save_model("odd", tensors=change(load_file(CLASSIFIER)))
    assert load_error("odd") == f"odd {MODEL} corrupted."


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x04model", slice(-4), slice(40), slice(0, None, 2)], ids=str
)
def test_corrupted_file_is_rejected(finished, content):
    good = Path(CLASSIFIER).read_bytes()
    Path("odd").write_bytes(good[content] if isinstance(content, slice) else content)
    assert load_error("odd") == f"odd {MODEL} corrupted."


@pytest.mark.parametrize(
    "path",
    [
        "params.yaml",
        "data/models/classifier_snapshots.safetensors",
        "data/tensors/classification.safetensors",
        "data/tensors/regression.safetensors",
    ],
)
def test_other_file_of_the_pipeline_is_rejected(finished, path):
    assert load_error(path) == f"{path} {MODEL} corrupted."


# Arguments


def test_output_is_never_the_input(finished):
    Path("in.csv").write_text("x\n1\n")
    with pytest.raises(UserError, match="OUTPUT must be another file than INPUT; both are in.csv"):
        predict.main([REGRESSION, "in.csv", "-o", "./in.csv"])
    assert Path("in.csv").read_text() == "x\n1\n"


@pytest.mark.parametrize("name", ["out.txt", "csv", "out"])
def test_output_of_another_kind_is_rejected(finished, name):
    with pytest.raises(UserError, match=f"OUTPUT must be a .csv or a .parquet file; got '{name}'"):
        predict.main([REGRESSION, "in.csv", "-o", name])


def test_missing_table_is_reported(finished):
    with pytest.raises(UserError, match="^nix.csv is missing; correct the path"):
        predict.main([REGRESSION, "nix.csv"])


def test_missing_model_is_reported_before_torch_is_imported(tmp_path):
    code = (
        "import sys\nfrom tools import predict\n"
        "try: predict.main(['nix', 'in.csv'])\n"
        "except Exception as error: print(error, 'torch' in sys.modules)"
    )
    done = run("python", "-c", code, cwd=PROJECT)
    assert done.stdout == (
        "nix is missing; name a model that train_regression or train_classifier wrote. False\n"
    )
