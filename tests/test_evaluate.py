import itertools
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from conftest import PROJECT, STAGES, call_main, run
from stages import figures
from stages.errors import UserError
from stages.evaluate import (
    METRICS,
    classifier_metrics,
    confuse,
    load_networks,
    regression_metrics,
    seen_flat,
    summary,
)
from stages.limits import bayes_cross_entropy
from stages.models import build_network
from stages.parameters import ClassificationTheory, RegressionTheory

FIGURES = [
    "classification_data.png",
    "classifier_after.png",
    "classifier_before.png",
    "classifier_confusion.png",
    "classifier_epochs.png",
    "regression_after.png",
    "regression_before.png",
    "regression_data.png",
    "regression_film.gif",
]


def line(y_train, y_test):
    x_train, x_test = [1.0, 2.0, 3.0], [1.0, 2.0, 4.0]
    columns = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    return {name: torch.tensor(values).double() for name, values in columns.items()}


def slope(value):
    return {"weight": torch.tensor(value).double()}


def test_regression_metrics_by_hand():
    law = RegressionTheory(source="simulate", weight=2.0, noise_std=0.5)
    metrics = regression_metrics(line([2.0, 4, 9], [1.0, 2, 3]), slope(2.0), ["x"], law)
    assert metrics["weight"] == 2.0
    assert metrics["least_squares_weight"] == pytest.approx(37 / 14)
    assert metrics["gap_to_least_squares"] == pytest.approx(37 / 14 - 2)
    assert metrics["noise_variance"] == 0.25
    assert metrics["noise_r2"] == pytest.approx(1 - 0.25 / (2 / 3))
    assert metrics["train"]["mse"] == pytest.approx(3.0)
    assert metrics["train"]["r2"] == pytest.approx(1 - 9 / (9 + 1 + 16))
    assert metrics["test"]["mse"] == pytest.approx((1 + 4 + 25) / 3)
    assert metrics["test"]["r2"] == pytest.approx(1 - 30 / 2)


def test_several_weights_and_the_bias_stand_beside_their_own_least_squares():
    X = torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1]]).double()
    y = X @ torch.tensor([1.0, -2]).double() + 0.5
    data = {"x_train": X, "y_train": y, "x_test": X, "y_test": y}
    model = {"weight": torch.zeros(2).double(), "bias": torch.zeros(()).double()}
    law = RegressionTheory(source="own.csv", weight=2.0, noise_std=0.5)
    metrics = regression_metrics(data, model, ["a", "b"], law)
    assert metrics["weights"] == {"a": 0, "b": 0}
    assert metrics["least_squares_weights"] == pytest.approx({"a": 1, "b": -2})
    assert (metrics["bias"], metrics["least_squares_bias"]) == (0, pytest.approx(0.5))
    assert metrics["gap_to_least_squares"] == pytest.approx(5.25**0.5)


def test_r2_of_constant_targets_is_left_open():
    law = RegressionTheory(source="simulate", weight=0.0, noise_std=0.0)
    metrics = regression_metrics(line([1.0, 1, 1], [1.0, 2, 3]), slope(0.0), ["x"], law)
    assert metrics["train"]["r2"] is None
    metrics = regression_metrics(line([1.0, 2, 3], [1.0, 1, 1]), slope(0.0), ["x"], law)
    assert metrics["noise_r2"] is None


def test_classifier_metrics_by_hand():
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Softmax(dim=1)).double()
    network[0].weight.data = torch.tensor([[0.0, 0.0], [1.0, 0.0]]).double()  # logits 0 and x1
    network[0].bias.data.zero_()
    data = {
        "X_train": torch.tensor([[1.0, 0.0], [2.0, 0.0]]),
        "y_train": torch.tensor([1, 1]),
        "X_test": torch.tensor([[-1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]),
        "y_test": torch.tensor([0, 1, 0]),
    }
    law = ClassificationTheory(source="simulate", centers=((0.0, 0.0), (1.0, 0.0)), std=0.5)
    metrics = classifier_metrics(data, network, law)
    losses = [math.log1p(math.exp(-1)), math.log1p(math.exp(-2)), math.log1p(math.exp(3))]
    assert metrics["train"]["accuracy"] == 1.0
    assert metrics["test"]["accuracy"] == pytest.approx(2 / 3)
    assert metrics["test"]["cross_entropy"] == pytest.approx(sum(losses) / 3, rel=1e-9)
    assert metrics["train"]["cross_entropy"] == pytest.approx(sum(losses[:2]) / 2, rel=1e-9)
    assert metrics["bayes_accuracy"] == pytest.approx(0.8413447, abs=1e-7)
    assert metrics["gap_to_bayes"] == pytest.approx(metrics["bayes_accuracy"] - 2 / 3)
    assert metrics["bayes_cross_entropy"] == bayes_cross_entropy(law.centers, law.std)


def test_own_classes_stand_beside_the_most_frequent_one_and_the_frequencies():
    network = build_network(1, 2, 3).double().eval()
    X = torch.zeros(5, 1).double()
    data = {"X_train": X, "y_train": torch.tensor([0, 1, 1, 1, 2])}
    data |= {"X_test": X[:3], "y_test": torch.tensor([1, 2, 2])}
    law = ClassificationTheory(source="own.csv", centers=((0.0, 0.0), (1.0, 0.0)), std=0.5)
    metrics = classifier_metrics(data, network, law)
    assert metrics["majority"] == {
        "train": {"accuracy": pytest.approx(0.6)},
        "test": {"accuracy": pytest.approx(1 / 3)},
    }
    test_loss = metrics["prior"]["test"]["cross_entropy"]
    assert test_loss == pytest.approx(-math.log(0.6 * 0.2 * 0.2) / 3)


def test_summary_of_own_tables_sets_the_test_part_beside_its_baselines():
    regression = {"test": {"mse": 1.5}, "least_squares": {"test": {"mse": 1.25}}}
    classifier = {"test": {"accuracy": 0.75}, "majority": {"test": {"accuracy": 0.5}}}
    assert summary(regression, classifier) == (
        "test MSE 1.5 (least squares: 1.25), test accuracy 0.75 (majority class: 0.5)"
    )


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
    tracked = run("git", "ls-files", "-co", "--exclude-standard", "metrics", cwd=PROJECT).stdout
    sizes = [(PROJECT / path).stat().st_size for path in tracked.splitlines()]
    assert 100_000 < sum(sizes) < 500_000


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


def test_evaluate_never_trains_and_uses_one_thread(finished, monkeypatch):
    monkeypatch.delattr(torch.Tensor, "backward")
    torch.set_num_threads(2)
    call_main("evaluate")
    assert torch.get_num_threads() == 1


def test_loaded_network_predicts_as_saved(finished):
    network = load_networks("data/models/classifier.safetensors", "classifier")[""]
    state = load_file("data/models/classifier.safetensors")
    assert not network.training
    assert network[0].weight.dtype == torch.float64
    assert torch.equal(network[0].weight, state["0.weight"].double())


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\0\0\0\0\0\0\0{}      "])
def test_damaged_model_is_refused(finished, content):
    Path("data/models/classifier.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="classifier.safetensors is damaged; `dvc repro train_c"):
        call_main("evaluate")


def test_model_without_its_entry_is_refused(finished):
    save_file({"weight": torch.tensor(2.0)}, "data/models/regression.safetensors")
    with pytest.raises(UserError, match="regression.safetensors is damaged"):
        call_main("evaluate")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "epoch,loss\n",
        "junk\n",
        "epoch,loss\n<<<<<<< ours\n",
        "epoch,loss\n0,1\n1\n",
        "epoch\n0\n",
    ],
)
@pytest.mark.parametrize("name", ["train_regression.csv", "train_classifier.csv"])
def test_damaged_history_is_refused(finished, name, content):
    Path("metrics", name).write_text(content)
    with pytest.raises(UserError, match=rf"{name} is damaged; `dvc repro {name[:-4]}` makes"):
        call_main("evaluate")


@pytest.mark.parametrize("name", ["classifier", "classifier_snapshots"])
def test_model_of_another_kind_is_refused(finished, name):
    shutil.copy("data/models/regression.safetensors", f"data/models/{name}.safetensors")
    with pytest.raises(UserError, match=f"{name}.safetensors is damaged; `dvc repro train_cl"):
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


def view(points, n_classes):
    return figures.View(points, ("x1", "x2"), range(n_classes), equal=True)


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_fit_shows_the_points_both_lines_and_their_weights(drawn):
    x, y = np.array([0.0, 1.0, 2.0]), np.array([0.5, 1.0, 4.0])
    figures.draw_fit("fit", x, y, ("x", "y"), (1.5, None), 2.0, "A title")
    (axes,) = drawn["fit"].axes
    points, fitted, true = axes.get_lines()
    assert points.get_xydata().tolist() == [[0, 0.5], [1, 1], [2, 4]]
    assert fitted.get_xydata().tolist() == [[0, 0], [2, 3]]
    assert true.get_xydata().tolist() == [[0, 0], [2, 4]]
    assert legend(drawn["fit"]) == [
        "training points",
        "fitted line: y = 1.5 x",
        "true line: y = 2 x",
    ]
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == ("A title", "x", "y")


def test_classes_are_shown_each_with_a_marker_and_a_name(drawn):
    X, classes = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]), np.array([0, 2, 0])
    figures.draw_classes("classes", view(X, 3), classes, "class", "A title")
    first, absent, second = drawn["classes"].axes[0].get_lines()
    assert first.get_xydata().tolist() == [[0, 1], [4, 5]]
    assert absent.get_xydata().tolist() == []
    assert second.get_xydata().tolist() == [[2, 3]]
    assert len({line.get_marker() for line in (first, absent, second)}) == 3
    assert legend(drawn["classes"]) == ["class 0", "class 1", "class 2"]


def test_epochs_are_shown_in_their_order(drawn):
    X, half = np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([0, 1])
    figures.draw_epochs("epochs", view(X, 2), [half, 1 - half], ["Epoch 0", "Epoch 7"])
    first, second = drawn["epochs"].axes
    assert [axes.get_title() for axes in (first, second)] == ["Epoch 0", "Epoch 7"]
    assert [axes.get_lines()[0].get_xydata().tolist() for axes in (first, second)] == [
        [[0, 1]],
        [[2, 3]],
    ]


def test_boundaries_run_where_two_classes_are_level(drawn):
    X = np.array([[0.0, 0.0], [4.0, 2.0]])
    grid = figures.plane(X)[2]
    learned = np.stack([grid[:, 0], 4 - grid[:, 0]], axis=1)  # level at x1 = 2
    bayes = np.stack([grid[:, 1], 1 - grid[:, 1]], axis=1)  # level at x2 = 0.5
    figures.draw_boundary("after", view(X, 2), np.array([0, 1]), learned, bayes, "A title")
    contours = drawn["after"].axes[0].collections
    ends = [np.concatenate([path.vertices for path in each.get_paths()]) for each in contours]
    np.testing.assert_allclose(ends[0][:, 0], 2)
    np.testing.assert_allclose(ends[1][:, 1], 0.5)
    assert np.ptp(ends[0][:, 1]) == pytest.approx(2.2)
    assert legend(drawn["after"])[-2:] == ["learned boundary", "Bayes boundary"]


def test_film_runs_forwards(tmp_path):
    x, y = np.array([0.0, 1.0]), np.array([0.0, 1.0])
    lines, titles = np.array([[0.0, 0.0], [0.5, 0.0], [1.0, 0.0]]), ["1", "2", "3"]
    names = ("x", "y")
    figures.draw_line_film(str(tmp_path / "film.gif"), x, y, names, lines, titles)
    figures.draw_line_film(str(tmp_path / "last.gif"), x, y, names, lines[-1:], titles[-1:])
    with Image.open(tmp_path / "film.gif") as film, Image.open(tmp_path / "last.gif") as last:
        final = np.asarray(last.convert("L")).astype(int)[40:]  # below the title
        distances = []
        for number in range(film.n_frames):
            film.seek(number)
            distances.append(np.abs(np.asarray(film.convert("L")).astype(int)[40:] - final).sum())
    assert len(distances) == 3
    assert distances[2] < min(distances[:2]) / 10


def test_untrained_network_is_shown_as_its_loss_was_measured(edit, drawn):
    for stage in STAGES[:5]:
        call_main(stage)
    X = load_file("data/tensors/classification.safetensors")["X_train"].double()
    network = load_networks("data/models/classifier_snapshots.safetensors", "classifier snapshots")
    by_batch, by_running = (
        network["0"].train(mode)(X).argmax(dim=1).tolist() for mode in (True, False)
    )
    assert by_batch != by_running
    for name in ("classifier_before", "classifier_epochs"):
        lines = drawn[f"metrics/figures/{name}.png"].axes[0].get_lines()
        shown = {line.get_label(): len(line.get_xdata()) for line in lines}
        expected = {f"predicted class {k}": by_batch.count(k) for k in set(by_batch)}
        assert shown == expected


def test_figures_show_what_was_trained(finished, drawn):
    call_main("evaluate")
    history = np.loadtxt("metrics/train_regression.csv", delimiter=",", skiprows=1)
    losses = np.loadtxt("metrics/train_classifier.csv", delimiter=",", skiprows=1)[:, 1]
    for when, weight in (("before", history[0, 2]), ("after", history[-1, 2])):
        fitted = drawn[f"metrics/figures/regression_{when}.png"].axes[0].get_lines()[1]
        assert fitted.get_ydata()[1] == pytest.approx(weight, rel=1e-5)
    epochs = drawn["metrics/figures/classifier_epochs.png"].axes[:3]
    assert [axes.get_title() for axes in epochs] == [
        f"Epoch {epoch}: loss {losses[epoch]:.4f}" for epoch in (0, 2, 5)
    ]
    after = drawn["metrics/figures/classifier_after.png"].axes[0]
    assert after.get_title() == f"Classifier after training: loss {losses[-1]:.4f}"
    shown = {line.get_label(): len(line.get_xdata()) for line in after.get_lines()}
    network = load_networks("data/models/classifier.safetensors", "classifier")[""]
    X = load_file("data/tensors/classification.safetensors")["X_train"]
    counts = network(X.double()).argmax(dim=1).bincount(minlength=2).tolist()
    assert shown == {f"predicted class {number}": counts[number] for number in range(2)}


def test_intercept_is_part_of_the_equation(drawn):
    x = np.array([0.0, 1.0])
    figures.draw_fit("fit", x, x, ("x", "y"), (1.5, -0.25), None, "A title")
    assert legend(drawn["fit"]) == ["training points", "fitted line: y = 1.5 x -0.25"]


def test_target_is_drawn_against_each_feature(drawn):
    X, y = np.array([[1.0, 4.0], [2.0, 5.0]]), np.array([7.0, 8.0])
    figures.draw_regression_data("data", X, y, ("a", "b", "t"))
    shown = {axes.get_title(): axes.get_lines()[0].get_xydata() for axes in drawn["data"].axes}
    assert shown["a"].tolist() == [[1, 7], [2, 8]]
    assert shown["b"].tolist() == [[4, 7], [5, 8]]


def test_features_beyond_the_panels_are_left_out(drawn):
    names = [f"f{number}" for number in range(figures.PANELS + 1)]
    figures.draw_regression_data("data", np.zeros((2, len(names))), np.zeros(2), (*names, "t"))
    assert [axes.get_title() for axes in drawn["data"].axes] == names[:-1]


def test_predictions_stand_above_the_true_values(drawn):
    figures.draw_predictions("fit", np.array([0.0, 1.0]), np.array([5.0, 7.0]), "A title")
    (axes,) = drawn["fit"].axes
    assert axes.get_lines()[1].get_xydata().tolist() == [[0, 5], [1, 7]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("true value", "predicted value")


def test_films_move_the_whole_line_and_the_predicted_values(monkeypatch):
    films = []
    monkeypatch.setattr(figures, "save_film", lambda *arguments: films.append(arguments[3]))
    x, y = np.array([0.0, 2.0]), np.array([1.0, 3.0])
    figures.draw_line_film("film", x, y, ("x", "y"), np.array([[1.0, 5.0]]), ["0"])
    figures.draw_prediction_film("film", y, np.array([[8.0, 9.0]]), ["0"])
    assert np.array(films).tolist() == [[[[0, 2], [5, 7]]], [[[1, 3], [8, 9]]]]


def test_legend_names_the_classes_by_their_labels(drawn):
    view = figures.View(np.array([[0.0, 1.0], [2.0, 3.0]]), ("a", "b"), ["u", "v"], equal=False)
    figures.draw_classes("classes", view, np.array([1, 0]), "class", "A title")
    assert legend(drawn["classes"]) == ["class u", "class v"]


def test_names_are_cut_to_what_a_figure_has_room_for():
    assert figures.short([1, "a" * figures.NAME]) == ["1", "a" * figures.NAME]
    assert figures.short(["b" * 30]) == ["b" * (figures.NAME - 1) + "…"]
    first, second = figures.short(["c" * 30 + "1", "c" * 30 + "2"])
    assert first[:3] == "0: "
    assert second[:3] == "1: "


@pytest.mark.parametrize("n_classes", [2, 5])
def test_names_of_classes_stay_inside_the_confusion_matrix(drawn, n_classes):
    names = [f"Very dissatisfied {number}" for number in range(n_classes)]
    figures.draw_confusion("confusion", np.eye(n_classes, dtype=int), names)
    figure = drawn["confusion"]
    figure.draw_without_rendering()
    (axes,) = figure.axes
    box = axes.get_tightbbox()
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
    assert [text.get_text() for text in axes.get_xticklabels()] == names
    boxes = [text.get_window_extent() for text in axes.get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_legend_of_long_names_stays_inside_the_figure(drawn):
    names = [f"{letter * figures.NAME}" for letter in "WxyzM"]
    view = figures.View(np.arange(10.0).reshape(5, 2), ("a", "b"), names, equal=False)
    figures.draw_classes("classes", view, np.arange(5), "predicted class", "A title")
    figure = drawn["classes"]
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1


def test_several_features_are_seen_along_their_widest_spread():
    X = np.random.default_rng(0).standard_normal((500, 3)) * [1, 100, 10] + 50
    facts = {"features": ["a", "b", "c"], "labels": [0, 1]}
    points = seen_flat(X, np.zeros(500), facts, simulated=False).points
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-3)
    assert np.corrcoef(points[:, 0], X[:, 1])[0, 1] > 0.99
    assert np.corrcoef(points[:, 1], X[:, 2])[0, 1] > 0.99


def test_features_on_one_line_have_no_second_component():
    X = np.outer(np.random.default_rng(0).standard_normal(60), [0.1, 0.2, 0.3])
    facts = {"features": ["a", "b", "c"], "labels": [0, 1]}
    points = seen_flat(X, np.zeros(60), facts, simulated=False).points
    assert np.ptp(points[:, 0]) > 1
    assert not points[:, 1].any()


def test_confusion_has_a_row_for_each_actual_class(drawn):
    pairs = list(confuse(np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1]), ["u", "v"]))
    assert pairs == [("u", "u"), ("u", "v"), ("u", "v"), ("v", "v")]
    (axes,) = drawn["metrics/figures/classifier_confusion.png"].axes
    assert [text.get_text() for text in axes.texts] == ["1", "2", "0", "1"]
    assert [text.get_position() for text in axes.texts] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    np.testing.assert_allclose(axes.images[0].get_array(), [[1 / 3, 2 / 3], [0, 1]])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "actual class")
