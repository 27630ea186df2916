"""Tables of one's own through all stages, and predictions from the models that come out."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_diabetes, load_wine
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression
from sklearn.metrics import log_loss

from conftest import PROJECT, STAGES, call_main, run
from stages.errors import UserError
from tools import predict

REGRESSION = "data/models/regression.safetensors"
CLASSIFIER = "data/models/classifier.safetensors"


def use(*changes):
    """Let both tasks read an own table with the target t, and make `changes` in params.yaml."""
    text = Path("params.yaml").read_text()
    text = text.replace("target: y #", "target: t #").replace("target: label #", "target: t #")
    for old, new in (
        ("simulate # study", "line.csv # study"),
        ("simulate # study", "classes.csv # study"),
        *changes,
    ):
        assert old in text, old
        text = text.replace(old, new, 1)
    Path("params.yaml").write_text(text)


def run_on(line, classes, *changes, stages=STAGES):
    """Run stages, by default all, on two tables."""
    Path("data/external").mkdir(parents=True)
    line.to_csv("data/external/line.csv", index=False)
    classes.to_csv("data/external/classes.csv", index=False)
    use(*changes)
    for stage in stages:
        call_main(stage)
    return json.loads(Path("metrics/evaluate.json").read_text())


STANDARDIZED = (
    ("regression: false", "regression: true"),
    ("classification: false", "classification: true"),
)


@pytest.fixture
def real(edit):
    """Run all stages on the diabetes and wine tables, standardized and with an intercept."""
    wine = load_wine(as_frame=True)
    classes = wine.data.assign(t=wine.target_names[wine.target])
    line = load_diabetes(as_frame=True, scaled=False).frame.rename(columns={"target": "t"})
    changes = (
        *STANDARDIZED,
        ("bias: false", "bias: true"),
        ("epochs: 100", "epochs: 2000"),
        ("lr: 1.0e-4", "lr: 5.0e-4"),
        ("lr: 1.0e-3", "lr: 1.0e-2"),
    )
    return run_on(line, classes, *changes)


def frame(n_features, n_rows=40, labels=("u", "v")):
    """Return two tables of `n_features`, a line and classes that lie apart."""
    generator = np.random.default_rng(n_features)
    X = generator.standard_normal((n_rows, n_features)) * 5 + 20
    number = np.arange(n_rows) % len(labels)
    line = pd.DataFrame(X, columns=[f"f{k}" for k in range(n_features)])
    classes = line + 100 * number[:, None]
    return line.assign(t=X.sum(axis=1)), classes.assign(t=np.array(labels)[number])


def test_real_table_stands_beside_scikit_learn(real):
    table = pd.read_parquet("data/raw/regression.parquet")
    X, y = table.drop(columns=["t", "split"]), table["t"]
    train, test = table["split"] == "train", table["split"] == "test"
    theirs = LinearRegression().fit(X[train], y[train])
    r2 = {
        split: theirs.score(X[rows], y[rows]) for split, rows in (("train", train), ("test", test))
    }
    for split in ("train", "test"):
        assert real["regression"]["least_squares"][split]["r2"] == pytest.approx(
            r2[split], abs=1e-5
        )
        assert real["regression"][split]["r2"] == pytest.approx(r2[split], abs=1e-3)


def test_baselines_take_the_place_of_theory(real):
    table = pd.read_parquet("data/raw/classification.parquet")
    train, test = (table.loc[table["split"] == split, "t"] for split in ("train", "test"))
    majority = (test == train.mode()[0]).mean()
    classifier = real["classifier"]
    assert classifier["majority"]["test"]["accuracy"] == pytest.approx(majority, abs=1e-6)
    prior = DummyClassifier(strategy="prior").fit(np.zeros((len(train), 1)), train)
    for split, labels in (("train", train), ("test", test)):
        loss = log_loss(labels, prior.predict_proba(np.zeros((len(labels), 1))))
        assert classifier["prior"][split]["cross_entropy"] == pytest.approx(loss, rel=1e-5)
    assert classifier["gain_over_majority"] == pytest.approx(
        classifier["test"]["accuracy"] - majority, abs=1e-6
    )
    assert classifier["test"]["accuracy"] > 0.9
    table = pd.read_parquet("data/raw/regression.parquet")
    train, test = (table.loc[table["split"] == split, "t"] for split in ("train", "test"))
    assert real["regression"]["mean"]["test"]["mse"] == pytest.approx(
        ((test - train.mean()) ** 2).mean(), rel=1e-5
    )
    assert not {"bayes_accuracy", "gap_to_bayes", "noise_variance"} & {
        *classifier,
        *real["regression"],
    }


def test_weights_are_published_by_name(real):
    weights, best = real["regression"]["weights"], real["regression"]["least_squares_weights"]
    assert list(weights) == list(best) == sorted(load_diabetes().feature_names)
    assert weights["bmi"] == pytest.approx(best["bmi"], rel=0.01)
    assert real["regression"]["bias"] == pytest.approx(
        real["regression"]["least_squares_bias"], rel=1e-4
    )


def test_history_names_the_features(real):
    head = Path("metrics/train_regression.csv").read_text().partition("\n")[0].split(",")
    names = [f"weight_{name}" for name in load_diabetes().feature_names]
    assert head == ["epoch", "loss", "weight", *names, "bias"]


def test_report_sets_the_baselines_beside(real):
    text = Path("metrics/report.html").read_text()
    line, classes = real["regression"], real["classifier"]
    rows = [
        ("test MSE", line["test"]["mse"], "mean of y", line["mean"]["test"]["mse"]),
        ("test R²", line["test"]["r2"], "least squares", line["least_squares"]["test"]["r2"]),
    ]
    for split in ("train", "test"):
        own, majority, prior = classes[split], classes["majority"][split], classes["prior"][split]
        cross_entropy = ("class frequencies", prior["cross_entropy"])
        rows.append((f"{split} accuracy", own["accuracy"], "majority class", majority["accuracy"]))
        rows.append((f"{split} cross entropy", own["cross_entropy"], *cross_entropy))
    for first, value, limit, bound in rows:
        cells = "".join(f"<td>{cell}</td>" for cell in (f"{value:.6g}", limit, f"{bound:.6g}"))
        assert f'<tr><th scope="row">{first}</th>{cells}</tr>' in text
    assert "Length of the weights, of which there are several, against epoch" in text


def test_confusion_names_the_classes(real):
    header, *rows = Path("metrics/confusion.csv").read_text().splitlines()
    assert header == "actual,predicted"
    table = pd.read_parquet("data/raw/classification.parquet").query("split == 'test'")
    assert [row.split(",")[0] for row in rows] == table["t"].to_list()
    assert set(table["t"]) == {"class_0", "class_1", "class_2"}


@pytest.mark.parametrize("output", ["out.csv", "out.parquet"])
def test_predictions_give_the_published_metrics(real, output):
    for name, model in (("regression", REGRESSION), ("classification", CLASSIFIER)):
        table = pd.read_parquet(f"data/raw/{name}.parquet").query("split == 'test'")
        table.drop(columns=["t", "split"]).to_csv("in.csv", index=False)
        predict.main([model, "in.csv", "-o", output])
        found = pd.read_csv(output) if output.endswith("csv") else pd.read_parquet(output)
        if name == "regression":
            mse = ((found["prediction"].to_numpy() - table["t"].to_numpy()) ** 2).mean()
            assert float(f"{mse:.6g}") == real["regression"]["test"]["mse"]
            continue
        accuracy = (found["prediction"].to_numpy() == table["t"].to_numpy()).mean()
        assert float(f"{accuracy:.6g}") == real["classifier"]["test"]["accuracy"]
        columns = [f"probability_{label}" for label in sorted(set(table["t"]))]
        assert list(found) == ["prediction", *columns]
        probabilities = found[columns].to_numpy()[range(len(table)), table["t"].str[-1].astype(int)]
        assert (
            float(f"{-np.log(probabilities).mean():.6g}")
            == real["classifier"]["test"]["cross_entropy"]
        )


@pytest.mark.parametrize("n_features", [1, 2, 3, 14])
def test_any_number_of_features_is_trained_and_drawn(small, n_features):
    metrics = run_on(*frame(n_features), *STANDARDIZED)
    assert metrics["classifier"]["train"]["accuracy"] >= 0
    assert load_file(REGRESSION)["weight"].shape == ((n_features,) if n_features > 1 else ())
    assert load_file(CLASSIFIER)["0.weight"].shape == (10, n_features)
    for path in Path("metrics/figures").iterdir():
        with Image.open(path) as image:
            assert np.asarray(image.convert("L")).min() < 80, path


def test_features_on_one_line_are_drawn(small):
    k = np.arange(1, 7)
    table = pd.DataFrame({"a": k, "b": k, "c": k})
    run_on(table.assign(t=k), table.assign(t=np.where(k < 4, "u", "v")))
    assert Path("metrics/figures/classifier_after.png").is_file()


def test_names_of_columns_and_classes_are_no_formulas(small):
    line, classes = (table.rename(columns={"f0": "$\\a$ _<b>"}) for table in frame(2))
    run_on(line, classes.assign(t=np.where(classes["t"] == "u", "$\\c$ <i>", "_%")))
    assert "<i>" not in Path("metrics/report.html").read_text()
    assert predict.load(CLASSIFIER).labels == ["$\\c$ <i>", "_%"]


@pytest.mark.parametrize("labels", [[3, 7, 11], [f"class {k}" for k in range(15)]])
def test_any_labels_keep_their_names_and_order(small, labels):
    run_on(*frame(2, 60, labels))
    model = predict.load(CLASSIFIER)
    assert model.labels == sorted(labels)
    rows = Path("metrics/confusion.csv").read_text().splitlines()[1:]
    assert {row.split(",")[0] for row in rows} == {str(label) for label in labels}


def test_mean_and_scale_are_of_the_training_part(small):
    run_on(*frame(3), *STANDARDIZED)
    table = pd.read_parquet("data/raw/classification.parquet").query("split == 'train'")
    X = table.drop(columns=["t", "split"]).to_numpy()
    facts = predict.load(CLASSIFIER).facts
    np.testing.assert_allclose(facts.mean, X.mean(axis=0), rtol=1e-8)
    np.testing.assert_allclose(facts.scale, X.std(axis=0), rtol=1e-8)
    assert abs(load_file("data/tensors/classification.safetensors")["X_train"].mean()) < 1e-6


def test_standardized_line_is_drawn_in_the_tables_units(small, drawn):
    changes = (
        *STANDARDIZED,
        ("bias: false", "bias: true"),
        ("epochs: 5", "epochs: 500"),
        ("lr: 1.0e-4", "lr: 1.0e-2"),
    )
    x = np.arange(40.0)
    run_on(pd.DataFrame({"f": x, "t": 3 * x + 7}), frame(1)[1], *changes, stages=STAGES[:5])
    axes = drawn["metrics/figures/regression_after.png"].axes[0]
    points, fitted = axes.get_lines()  # and no true line
    np.testing.assert_allclose(points.get_ydata(), 3 * points.get_xdata() + 7, rtol=1e-6)
    np.testing.assert_allclose(fitted.get_ydata(), 3 * fitted.get_xdata() + 7, rtol=1e-3)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("f", "t")


def test_standardized_line_without_intercept_is_zero_at_the_mean(small, drawn):
    run_on(*frame(1), *STANDARDIZED, stages=STAGES[:5])
    fitted = drawn["metrics/figures/regression_after.png"].axes[0].get_lines()[1]
    (mean,) = predict.load(REGRESSION).facts.mean
    assert np.interp(mean, *fitted.get_data()) == pytest.approx(0, abs=1e-5)


def test_standardized_classes_are_drawn_in_the_tables_units(small, drawn):
    run_on(*frame(2), *STANDARDIZED, ("lr: 1.0e-3", "lr: 1.0e-1"), stages=STAGES[:5])
    axes = drawn["metrics/figures/classifier_after.png"].axes[0]
    points = np.concatenate([line.get_xydata() for line in axes.get_lines()])
    table = pd.read_parquet("data/raw/classification.parquet").query("split == 'train'")
    np.testing.assert_allclose(np.sort(points[:, 0]), np.sort(table["f0"]), rtol=1e-5)
    (boundary,) = axes.collections  # and no Bayes boundary
    ends = np.concatenate([path.vertices for path in boundary.get_paths()])
    assert 40 < ends.mean() < 100  # between the classes


def test_predictions_of_several_features_are_drawn_with_the_bias(small, drawn):
    run_on(*frame(2), *STANDARDIZED, ("bias: false", "bias: true"), stages=STAGES[:5])
    points = drawn["metrics/figures/regression_after.png"].axes[0].get_lines()[1]
    tensors, model = load_file("data/tensors/regression.safetensors"), load_file(REGRESSION)
    expected = tensors["x_train"] @ model["weight"].double() + model["bias"]
    np.testing.assert_allclose(points.get_ydata(), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(points.get_xdata(), tensors["y_train"])


# Predictions


def test_prediction_ignores_other_columns_and_takes_any_order(finished, capsys):
    pd.DataFrame({"x2": [1.0], "name": ["n"], "x1": [2.0]}).to_csv("in.csv", index=False)
    pd.DataFrame({"x1": [2.0], "x2": [1.0]}).to_parquet("in.parquet")
    said = []
    for name in ("in.csv", "in.parquet"):
        ended = run(
            "python",
            "-m",
            "tools.predict",
            f"{os.getcwd()}/{CLASSIFIER}",
            f"{os.getcwd()}/{name}",
            cwd=PROJECT,
        )
        assert ended.returncode == 0, ended.stderr
        said.append(ended.stdout)
    assert said[0] == said[1]
    assert said[0].splitlines()[0] == '"prediction","probability_0","probability_1"'


def test_lacking_column_is_answered_by_what_the_model_wants(finished):
    pd.DataFrame({"x1": [1.0]}).to_csv("in.csv", index=False)
    with pytest.raises(UserError) as error:
        predict.main([CLASSIFIER, "in.csv"])
    assert str(error.value) == (
        "in.csv must have the columns {x1, x2}, from which the model predicts label; it lacks x2."
    )


def test_wrong_value_is_answered_by_its_row_and_leaves_no_output(finished, monkeypatch):
    monkeypatch.setattr("stages.tables.BLOCK", 256)
    pd.DataFrame({"x": [*map(str, range(300)), "n"]}).to_csv("in.csv", index=False)
    with pytest.raises(UserError, match="in.csv: row 301, column x must be a number"):
        predict.main([REGRESSION, "in.csv", "-o", "out.csv"])
    assert not list(Path().glob("*out.csv*"))


def test_empty_line_is_no_row_left_out(finished):
    Path("in.csv").write_text("x\n1\n\n3\n")
    with pytest.raises(UserError, match="in.csv: row 2, column x must be a number"):
        predict.main([REGRESSION, "in.csv"])


def test_chunks_change_no_prediction(finished, monkeypatch):
    pd.DataFrame(np.random.default_rng(0).random((500, 2)), columns=["x1", "x2"]).to_csv(
        "in.csv", index=False
    )
    predict.main([CLASSIFIER, "in.csv", "-o", "whole.parquet"])
    monkeypatch.setattr("stages.tables.BLOCK", 1024)
    assert len(list(predict.predictions(predict.load(CLASSIFIER), "in.csv"))) > 5
    predict.main([CLASSIFIER, "in.csv", "-o", "parts.parquet"])
    whole, parts = pd.read_parquet("whole.parquet"), pd.read_parquet("parts.parquet")
    pd.testing.assert_frame_equal(whole, parts, rtol=1e-12)


def test_table_without_rows_gives_no_predictions(finished):
    Path("in.csv").write_text("x\n")
    predict.main([REGRESSION, "in.csv", "-o", "out.csv"])
    assert Path("out.csv").read_text() == '"prediction"\n'


def foreign():
    """Yield the bytes of files that are no model of this pipeline."""
    good = Path(CLASSIFIER).read_bytes()
    yield from (b"", b"\x80\x04model", good[:-4], good[:40], Path("params.yaml").read_bytes())
    yield Path("data/models/classifier_snapshots.safetensors").read_bytes()
    state = load_file(CLASSIFIER)
    entry = {
        "kind": "classifier",
        "features": ["x1", "x2"],
        "target": "label",
        "labels": [0, 1],
        "n_features": 2,
        "hidden": 10,
        "n_classes": 2,
    }
    for change in (
        {"hidden": 10**12},
        {"labels": [0, 1, 2]},
        {"labels": 3},
        {"features": ["x1"]},
        {"kind": "regression"},
        {"kind": ["classifier"]},
        {"mean": [0.0]},
        {"scale": [0.0, 1.0]},
        {"code": "import os"},
        {"features": ["x1", "x1"]},
        {"labels": [0, 0]},
        {"labels": [0, 10**30]},
        {"labels": ["a", "\ud800"]},
        {"mean": [0.0, 0.0]},
    ):
        save_file(state, "other", metadata={"model": json.dumps(entry | change)})
        yield Path("other").read_bytes()
    for text in ("[]", "3", "{", "null"):
        save_file(state, "other", metadata={"model": text})
        yield Path("other").read_bytes()
    save_file(
        {**state, "3.weight": state["3.bias"].clone()},
        "other",
        metadata={"model": json.dumps(entry)},
    )
    yield Path("other").read_bytes()


def test_weights_that_no_training_makes_are_refused(finished):
    facts = {"model": json.dumps(predict.load(CLASSIFIER).facts.model_dump(exclude_none=True))}
    state = load_file(CLASSIFIER)
    for name, odd in (
        ("0.weight", state["0.weight"] * np.nan),
        ("1.running_var", -state["1.running_var"]),
        ("3.bias", state["3.bias"].double()),
    ):
        save_file({**state, name: odd}, "odd.safetensors", metadata=facts)
        with pytest.raises(UserError, match="odd.safetensors must be a model that"):
            predict.load("odd.safetensors")
    save_file(state, "good.safetensors", metadata=facts)
    assert predict.load("good.safetensors").labels == [0, 1]


def test_output_is_never_the_input(finished):
    Path("in.csv").write_text("x\n1\n")
    with pytest.raises(UserError, match=r"OUTPUT must be another file than INPUT; both are in.csv"):
        predict.main([REGRESSION, "in.csv", "-o", "./in.csv"])
    assert Path("in.csv").read_text() == "x\n1\n"


def test_full_disk_behind_standard_output_is_said(finished):
    Path("in.csv").write_text("x\n1\n")
    here = os.getcwd()
    command = f"python -m tools.predict {here}/{REGRESSION} {here}/in.csv >/dev/full"
    ended = run("bash", "-c", command, cwd=PROJECT)
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert ended.stderr.startswith("Standard output cannot be written")


def test_foreign_and_damaged_models_are_refused_in_one_sentence(finished):
    for content in foreign():
        Path("odd.safetensors").write_bytes(content)
        with pytest.raises(UserError) as error:
            predict.main(["odd.safetensors", "data/raw/classification.parquet", "-o", "out.csv"])
        assert str(error.value) == (
            "odd.safetensors must be a model that train_regression or train_classifier made; it is "
            "not, or damaged."
        )


def test_missing_model_and_odd_output_are_refused(finished):
    with pytest.raises(UserError, match=r"nix is missing; name a model file"):
        predict.main(["nix", "in.csv"])
    with pytest.raises(UserError, match=r"OUTPUT must be a .csv or a .parquet file; got 'out.txt'"):
        predict.main([REGRESSION, "in.csv", "-o", "out.txt"])


# With DVC


def test_pipeline_runs_again_for_its_own_table_alone(clone):
    folder = clone / "data/external"
    frame(2)[0].to_csv(folder / "line.csv", index=False)
    frame(3)[0].to_csv(folder / "other.csv", index=False)
    text = (clone / "params.yaml").read_text()
    text = text.replace("source: simulate", "source: line.csv", 1).replace(
        "target: y #", "target: t #"
    )
    (clone / "params.yaml").write_text(text)
    assert (
        run("dvc", "add", "data/external/line.csv", "data/external/other.csv", cwd=clone).returncode
        == 0
    )
    ended = run("dvc", "repro", "--single-item", "generate_data", cwd=clone)
    assert ended.returncode == 0, ended.stderr

    with open(folder / "other.csv", "a") as file:
        file.write("1,2,3,4\n")
    assert "generate_data" not in json.loads(run("dvc", "status", "--json", cwd=clone).stdout)
    with open(folder / "line.csv", "a") as file:
        file.write("1,2,3\n")
    assert "generate_data" in json.loads(run("dvc", "status", "--json", cwd=clone).stdout)
    shutil.rmtree(folder)
