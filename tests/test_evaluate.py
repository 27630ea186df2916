import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from conftest import PROJECT, call_main
from stages import figures
from stages.errors import UserError
from stages.evaluate import METRICS, classifier_metrics, load_networks, regression_metrics
from stages.parameters import ClassificationLaw, RegressionLaw

FIGURES = [
    "classification_data.png",
    "classifier_after.png",
    "classifier_before.png",
    "classifier_epochs.png",
    "regression_after.png",
    "regression_before.png",
    "regression_data.png",
    "regression_film.gif",
]


def line(y_train, y_test):
    x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    return {
        "x_train": x,
        "y_train": torch.tensor(y_train).double(),
        "x_test": x,
        "y_test": torch.tensor(y_test).double(),
    }


def test_regression_metrics_by_hand():
    law = RegressionLaw(weight=2.0, noise_std=0.5)
    metrics = regression_metrics(line([2.0, 4, 9], [1.0, 2, 3]), torch.tensor(2.0), law)
    assert metrics["least_squares_weight"] == pytest.approx(37 / 14)
    assert metrics["gap_to_least_squares"] == pytest.approx(37 / 14 - 2)
    assert metrics["noise_variance"] == 0.25
    assert metrics["train"]["mse"] == pytest.approx(3.0)
    assert metrics["train"]["r2"] == pytest.approx(1 - 9 / (9 + 1 + 16))
    assert metrics["test"]["mse"] == pytest.approx(14 / 3)
    assert metrics["test"]["r2"] == pytest.approx(1 - 14 / 2)


def test_r2_of_constant_targets_is_left_open():
    law = RegressionLaw(weight=0.0, noise_std=0.0)
    metrics = regression_metrics(line([1.0, 1, 1], [1.0, 2, 3]), torch.tensor(0.0), law)
    assert metrics["train"]["r2"] is None


def test_classifier_metrics_by_hand():
    class Logits(torch.nn.Sequential):
        def forward(self, X):
            return torch.stack([X[:, 0] * 0, X[:, 0]], dim=1)

        def __getitem__(self, index):
            return self

    data = {
        f"{name}_{split}": values
        for split in ("train", "test")
        for name, values in (
            ("X", torch.tensor([[-1.0, 0], [2, 0], [3, 0]])),
            ("y", torch.tensor([0, 1, 0])),
        )
    }
    law = ClassificationLaw(centers=((0.0, 0.0), (1.0, 0.0)), std=0.5)
    metrics = classifier_metrics(data, Logits(), law)
    losses = [math.log1p(math.exp(-1)), math.log1p(math.exp(-2)), math.log1p(math.exp(3))]
    assert metrics["test"]["accuracy"] == pytest.approx(2 / 3)
    assert metrics["test"]["cross_entropy"] == pytest.approx(sum(losses) / 3, rel=1e-6)
    assert metrics["gap_to_bayes"] == pytest.approx(metrics["bayes_accuracy"] - 2 / 3)


def test_committed_results_are_near_their_limits():
    metrics = json.loads((PROJECT / METRICS).read_text())
    regression, classifier = metrics["regression"], metrics["classifier"]
    assert regression["gap_to_least_squares"] < 0.01
    assert regression["test"]["mse"] == pytest.approx(regression["noise_variance"], rel=0.1)
    assert classifier["bayes_accuracy"] == 0.955157
    assert classifier["gap_to_bayes"] < 0.015


def test_every_figure_is_drawn_and_opens(finished):
    assert sorted(path.name for path in Path("metrics/figures").iterdir()) == FIGURES
    for name in FIGURES:
        with Image.open(f"metrics/figures/{name}") as image:
            pixels = np.asarray(image.convert("RGB"))
        assert pixels.min() < 60, name
        assert pixels[0, 0].tolist() == [255, 255, 255], name


def test_film_shows_every_epoch_and_stops_on_the_last(finished):
    with Image.open("metrics/figures/regression_film.gif") as film:
        assert film.n_frames == 6
        film.seek(5)
        assert film.info["duration"] == figures.LAST_FRAME_MS


def test_film_of_a_long_training_stays_short(finished):
    finished(
        (
            "epochs: 5 # study. Updates; each one sees every point (full batch)\n  loss_r",
            "epochs: 1000 # \n  loss_r",
        )
    )
    call_main("train_regression")
    call_main("evaluate")
    with Image.open("metrics/figures/regression_film.gif") as film:
        assert film.n_frames == figures.FRAMES


def test_tracked_results_stay_small():
    files = [path for path in (PROJECT / "metrics").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 500_000


def test_three_classes_are_evaluated_and_drawn(small):
    small(("[[0.2, 0.2], [0.8, 0.8]]", "[[0, 0], [1, 0], [0, 1]]"))
    for stage in ("generate_data", "convert_to_tensors", "train_regression", "train_classifier"):
        call_main(stage)
    call_main("evaluate")
    assert sorted(path.name for path in Path("metrics/figures").iterdir()) == FIGURES
    assert load_file("data/models/classifier.safetensors")["3.weight"].shape == (3, 10)


def test_confusion_has_a_row_for_each_test_point(finished):
    header, *rows = Path("metrics/confusion.csv").read_text().splitlines()
    assert header == "actual,predicted"
    assert [row.split(",")[0] for row in rows] == ["0"] * 4 + ["1"] * 4


def test_evaluation_agrees_with_the_confusion(finished):
    _, *rows = Path("metrics/confusion.csv").read_text().splitlines()
    right = sum(actual == predicted for actual, predicted in (row.split(",") for row in rows))
    metrics = json.loads(Path(METRICS).read_text())["classifier"]
    assert metrics["test"]["accuracy"] == right / len(rows)


def test_evaluate_never_trains(finished):
    before = {path: path.read_bytes() for path in Path("data").rglob("*.safetensors")}
    call_main("evaluate")
    assert {path: path.read_bytes() for path in Path("data").rglob("*.safetensors")} == before


def test_loaded_network_predicts_as_saved(finished):
    network = load_networks("data/models/classifier.safetensors")[""]
    state = load_file("data/models/classifier.safetensors")
    assert not network.training
    assert network[0].weight.dtype == torch.float64
    assert torch.equal(network[0].weight, state["0.weight"].double())


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\0\0\0\0\0\0\0{}      "])
def test_damaged_model_is_refused(finished, content):
    Path("data/models/classifier.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="classifier.safetensors is damaged; `dvc repro -f train_c"):
        call_main("evaluate")


def test_model_without_its_entry_is_refused(finished):
    save_file({"weight": torch.tensor(2.0)}, "data/models/regression.safetensors")
    with pytest.raises(UserError, match="regression.safetensors is damaged"):
        call_main("evaluate")


@pytest.mark.parametrize("name", ["train_regression.csv", "train_classifier.csv"])
def test_missing_history_names_its_stage(finished, name):
    Path("metrics", name).unlink()
    with pytest.raises(UserError, match=rf"`dvc repro {name[:-4]}` makes it"):
        call_main("evaluate")


def test_own_settings_of_matplotlib_change_nothing(finished, monkeypatch):
    before = {name: Path("metrics/figures", name).read_bytes() for name in FIGURES}
    with figures.matplotlib.rc_context({"font.size": 20, "axes.facecolor": "black"}):
        call_main("evaluate")
    assert {name: Path("metrics/figures", name).read_bytes() for name in FIGURES} == before


def test_boundaries_are_drawn_once_each():
    scores = np.array([[3.0, 1, 0], [0, 3, 1], [0, 1, 3]])
    first, second = figures.leads(scores)
    assert first.tolist() == [2, -3, -3]
    assert second.tolist() == [None, 2, -2]
