from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.figures import regression, style

FILES = [
    "regression_after.png",
    "regression_animation.gif",
    "regression_before.png",
    "regression_curves.png",
    "regression_data.png",
    "regression_residuals.png",
]


@pytest.fixture(autouse=True)
def styled():
    with style.figure_style():
        yield


def linear(weights, intercepts):
    """Return the predictions of a line, or a plane, that moves from epoch to epoch."""
    weights, intercepts = np.array(weights), np.array(intercepts)
    return lambda epochs, X: weights[epochs] @ X.T + intercepts[epochs, None]


def one_feature(slopes=(0.0, 1.0, 1.5), intercepts=(0.0, 0.0, 0.0), **changes):
    data = regression.RegressionData(
        X=np.array([[0.0], [1.0], [2.0]]),
        y=np.array([0.5, 1.0, 4.0]),
        features=["x"],
        target="y",
        losses=np.array([9.0, 4.0, 2.0]),
        valid_losses=np.array([8.0, 5.0, 3.0]),
        predict=linear([[slope] for slope in slopes], intercepts),
        lines=np.stack([slopes, intercepts], axis=1),
        has_intercept=any(intercepts),
        trained_weight=np.array([0.0, 1.0, 1.5]),
        least_squares_loss=1.75,
        least_squares_weight=1.8,
        true_weight=2.0,
        predicted=np.array([1.0, 2.0]),
        residuals=np.array([0.25, -0.5]),
        n_train=3,
        n_test=2,
    )
    return replace(data, **changes)


def several_features(n_features=2, n_rows=4, **changes):
    X = np.arange(float(n_rows * n_features)).reshape(n_rows, n_features)
    data = one_feature(
        X=X,
        y=np.arange(float(n_rows)),
        n_train=n_rows,
        features=[f"f{number}" for number in range(n_features)],
        predict=linear([[0.0] * n_features, [1.0] * n_features], [0.0, -0.5]),
        trained_weight=np.array([0.0, np.sqrt(n_features)]),
        losses=np.array([3.0, 1.0]),
        valid_losses=np.array([4.0, 2.0]),
        true_weight=None,
    )
    return replace(data, **changes)


def legend_texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("data", [one_feature(), several_features()])
def test_all_files_are_drawn_with_the_same_bytes_again(tmp_path, data):
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        regression.draw(str(folder), data)
    contents = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]
    assert sorted(contents[0]) == FILES
    assert contents[0] == contents[1]


def test_fit_shows_the_points_and_both_lines_with_their_equations():
    figure = regression.fit_figure(one_feature(), -1, "after")
    (axes,) = figure.axes
    points, fitted, true = axes.get_lines()
    assert points.get_xydata().tolist() == [[0, 0.5], [1, 1], [2, 4]]
    assert fitted.get_xydata().tolist() == [[0, 0], [2, 3]]
    assert true.get_xydata().tolist() == [[0, 0], [2, 4]]
    assert legend_texts(figure) == [
        "training points",
        "fitted line: y = 1.5 x",
        "true line: y = 2 x",
    ]
    assert axes.get_title() == "Regression: the fit after training"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "y")


def test_fit_before_training_has_the_first_weight():
    (axes,) = regression.fit_figure(one_feature(), 0, "before").axes
    assert axes.get_lines()[1].get_ydata().tolist() == [0, 0]


def test_intercept_moves_the_line_and_is_part_of_its_equation():
    data = one_feature(intercepts=(0.0, 1.0, -0.25), true_weight=None)
    figure = regression.fit_figure(data, -1, "after")
    assert figure.axes[0].get_lines()[1].get_ydata().tolist() == [-0.25, 2.75]
    assert legend_texts(figure)[1:] == ["fitted line: y = 1.5 x - 0.25"]


@pytest.mark.parametrize(
    ("intercept", "spread", "text"),
    [
        (2459003.127249, 3.0, "y = 0.5 x + 2459003.1272"),
        (-0.1234567, 3.0, "y = 0.5 x - 0.123457"),
        (123.456789, 0.0, "y = 0.5 x + 123.457"),
        (None, 1.0, "y = 0.5 x"),
    ],
)
def test_intercept_has_the_digits_that_the_target_needs(intercept, spread, text):
    assert regression.equation(0.5, intercept, spread) == text


def test_line_far_from_zero_is_drawn_to_scale():
    far = one_feature(y=np.array([2459003.0, 2459004.0, 2459005.5]), intercepts=(2459003.0,) * 3)
    animation = regression.line_animation(far)
    low, high = animation.figure.axes[0].get_ylim()
    assert 2459002 < low < high < 2459007
    assert animation.frames[-1][1].tolist() == [2459003, 2459006]


def test_residuals_stand_above_the_predictions():
    (axes,) = regression.residuals_figure(one_feature()).axes
    points, zero = axes.get_lines()
    assert points.get_xydata().tolist() == [[1, 0.25], [2, -0.5]]
    assert list(zero.get_ydata()) == [0, 0]


def test_target_is_drawn_against_each_feature():
    figure = regression.data_figure(several_features(2))
    shown = {
        axes.get_title(): axes.get_lines()[0].get_xydata().tolist() for axes in figure.axes[:2]
    }
    assert shown == {
        "f0": [[0, 0], [2, 1], [4, 2], [6, 3]],
        "f1": [[1, 0], [3, 1], [5, 2], [7, 3]],
    }


def test_target_that_is_cut_leaves_the_names_of_the_features():
    target = "median_house_value_" * 4
    figure = regression.data_figure(several_features(2, target=target, features=["a", target]))
    assert figure.get_suptitle().startswith("Regression: median_house")
    first, second = (axes.get_title() for axes in figure.axes[:2])
    assert first == "a"
    assert second.startswith("median_house")


def test_features_beyond_the_panels_are_left_out_and_counted():
    figure = regression.data_figure(several_features(style.PANELS + 3))
    assert len(figure.axes) == style.PANELS
    assert figure.get_suptitle() == "Regression: y against each feature (12 of 15 features)"


def test_predictions_of_several_features_stand_above_the_true_values():
    (axes,) = regression.fit_figure(several_features(2), -1, "after").axes
    points = axes.get_lines()[1]
    assert points.get_xydata().tolist() == [[0, 0.5], [1, 4.5], [2, 8.5], [3, 12.5]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("true value", "predicted value")


def test_constant_target_predicted_exactly_still_has_axes():
    data = several_features(2, y=np.zeros(4), predict=linear(np.zeros((2, 2)), [0.0, 0.0]))
    (axes,) = regression.fit_figure(data, 0, "before").axes
    assert axes.get_xlim() == axes.get_ylim() == (-1, 1)


def test_animation_moves_the_line_from_epoch_to_epoch():
    animation = regression.line_animation(one_feature())
    assert [y.tolist() for _, y in animation.frames] == [[0, 0], [0, 2], [0, 3]]
    assert animation.titles[1] == "Epoch 1: weight 1, loss 4"


def test_animation_of_several_features_moves_the_predictions():
    animation = regression.predictions_animation(several_features(2))
    assert [y.tolist() for _, y in animation.frames] == [[0, 0, 0, 0], [0.5, 4.5, 8.5, 12.5]]
    assert animation.titles[1] == "Epoch 1: norm of the weights 1.41421, loss 1"


def test_animation_of_a_long_training_stays_short(tmp_path):
    n_rows = 1001
    weights = np.linspace(0, 1, n_rows)
    predict = linear(weights[:, None], np.zeros(n_rows))
    data = one_feature(losses=weights, predict=predict, trained_weight=weights)
    style.save_animation(regression.line_animation(data), str(tmp_path / "long.gif"))
    with Image.open(tmp_path / "long.gif") as image:
        assert image.n_frames == style.FRAMES


@pytest.mark.parametrize("n_features", [1, 2])
def test_figures_of_a_sample_say_so(n_features):
    data = one_feature() if n_features == 1 else several_features(n_features)
    sample = replace(data, n_train=1_000_000, n_test=12_345)
    drawn = {
        "data": (regression.data_figure, ()),
        "fit": (regression.fit_figure, (-1, "after")),
        "animation": (
            lambda data: (
                (
                    regression.line_animation
                    if n_features == 1
                    else regression.predictions_animation
                )(data).figure
            ),
            (),
        ),
    }
    for figure, arguments in drawn.values():
        assert legend_texts(figure(data, *arguments))[0] == "training points"
        label = f"{len(data.y)} of 1,000,000 training points"
        assert legend_texts(figure(sample, *arguments))[0] == label
    assert legend_texts(regression.residuals_figure(data))[0] == "test points"
    assert legend_texts(regression.residuals_figure(sample))[0] == "2 of 12,345 test points"


def test_curves_show_loss_and_weight_beside_those_of_least_squares():
    loss, weight = regression.training_figure(one_feature()).axes
    assert loss.get_lines()[0].get_ydata().tolist() == [9, 4, 2]
    assert loss.get_lines()[1].get_ydata().tolist() == [8, 5, 3]
    assert list(loss.get_lines()[2].get_ydata()) == [1.75, 1.75]
    assert weight.get_lines()[0].get_ydata().tolist() == [0, 1, 1.5]
    assert list(weight.get_lines()[1].get_ydata()) == [1.8, 1.8]


@pytest.mark.parametrize("names", [("日本語", "$y_1$"), ("x\\n", "🎉"), ("a" * 99, "W" * 99)])
def test_any_names_of_columns_are_drawn(tmp_path, names):
    data = one_feature(features=names[:1], target=names[1])
    style.save(regression.data_figure(data), str(tmp_path / "data.png"))
    assert Path(tmp_path, "data.png").stat().st_size > 0
