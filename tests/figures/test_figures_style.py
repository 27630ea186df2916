import itertools
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.lines import Line2D
from PIL import Image

from stages.figures import curves, style


@pytest.fixture(autouse=True)
def styled():
    with style.figure_style():
        yield


def legend_texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def assert_inside(figure, artists):
    figure.draw_without_rendering()
    for box in (artist.get_window_extent() for artist in artists):
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1


def entries(names):
    return [Line2D([], [], label=name) for name in names]


def test_frames_are_spread_evenly_from_the_first_row_to_the_last():
    assert style.frame_indices(5).tolist() == [0, 1, 2, 3, 4]
    assert style.frame_indices(101, 3).tolist() == [0, 50, 100]
    assert len(style.frame_indices(1001)) == style.FRAMES


def test_short_names_stay_as_they_are():
    assert style.truncate([1, "x_1", "<b>", "$a$", "a\\b"]) == ["1", "x_1", "<b>", "$a$", "a\\b"]


@pytest.mark.parametrize("letter", ["W", "i", "m", "\u0301"])
def test_long_names_are_cut_to_the_width_they_may_have(letter):
    (name,) = style.truncate([letter * 10_000])
    assert name.endswith("…")
    assert style.text_width(name) <= style.NAME_WIDTH


def test_names_that_look_alike_once_cut_are_numbered():
    first, second = style.truncate(["c" * 60 + "1", "c" * 60 + "2"])
    assert first.startswith("0: ccc")
    assert second.startswith("1: ccc")


def test_only_names_that_look_alike_are_numbered():
    first, second, third = style.truncate(["x", "c" * 60 + "1", "c" * 60 + "2"])
    assert first == "x"
    assert second.startswith("1: ccc")
    assert third.startswith("2: ccc")


@pytest.mark.parametrize("column", ["ocean_proximity", "W" * 1000])
def test_category_in_a_name_is_kept(column):
    names = style.truncate([f"{column}=<1H OCEAN", f"{column}=NEAR OCEAN"])
    for name, category in zip(names, ("<1H OCEAN", "NEAR OCEAN"), strict=True):
        assert name.startswith(column[0])
        assert name.endswith(f"…={category}")
        assert style.text_width(name) <= style.NAME_WIDTH


@pytest.mark.parametrize("name", ["c" * 50 + "=", "=" + "c" * 50, "c=" + "W" * 50])
def test_name_whose_category_is_too_long_is_cut_at_its_end(name):
    (shown,) = style.truncate([name])
    assert shown.startswith(name[:3])
    assert shown.endswith("…")


def test_offset_of_an_axis_leaves_the_titles_in_line():
    figure, grid = style.panels(3, "A title")
    for axes in grid:
        axes.plot([0, 1], [0, 5e5])
        axes.set_title("W" * 13)
    figure.draw_without_rendering()
    assert grid[0].yaxis.get_offset_text().get_text() == "1e5"
    assert len({axes.title.get_window_extent().y0 for axes in grid}) == 1
    assert_inside(figure, [grid[0].yaxis.get_offset_text()])


def test_characters_that_the_font_lacks_become_boxes_and_names_stay_distinct():
    assert style.truncate(["日本語", "x\n\t\x00", "🎉\ud800"]) == ["□□□", "x□□□", "□□"]
    assert style.truncate(["\u202eb"]) == ["□b"]  # would turn the text around
    assert style.truncate(["日本", "中国"]) == ["0: □□", "1: □□"]


def test_characters_of_the_font_are_kept():
    assert style.truncate(["Größe", "العربية", "α²"]) == ["Größe", "العربية", "α²"]


def test_any_name_is_drawn_literally_and_without_a_warning(tmp_path):
    names = ["日本語", "العربية", "🎉", "$a$", "$", "a\\b", "_u", "<b>", "a\nb", "\u202eb", ""]
    figure = style.new_figure(style.WIDE)
    figure.subplots().set(xlabel=style.truncate(names)[3])
    style.add_legends(figure, ("class", entries(style.truncate(names))))
    style.save(figure, str(tmp_path / "names.png"))
    assert legend_texts(figure) == style.truncate(names)
    assert figure.axes[0].get_xlabel() == "$a$"
    assert not figure.axes[0].xaxis.label.get_parse_math()


@pytest.mark.parametrize("n_names", [1, 7, 24])
@pytest.mark.parametrize("name", ["a", "W" * 60])
def test_legends_stay_inside_the_figure_and_off_the_axes(n_names, name):
    figure = style.new_figure(style.SQUARE)
    axes = figure.subplots()
    axes.set(xlabel="x1")
    names = style.truncate([f"{number}{name}" for number in range(n_names)])
    style.add_legends(figure, ("class", entries(names)), ("", entries(["a boundary"])))
    assert_inside(figure, [*figure.legends, axes.xaxis.label])
    first, second = (legend.get_window_extent() for legend in figure.legends)
    assert second.y1 < first.y0 < first.y1 < axes.xaxis.label.get_window_extent().y0


def test_legend_has_as_many_columns_as_fit():
    assert style.legend_columns(["a"] * 4, 5.7) == 4
    assert style.legend_columns(["a", "W" * 12, "a", "W" * 12], 2.8) == 1
    assert style.legend_columns(["W" * 60], 1.0) == 1


def test_legend_leaves_the_axes_their_size():
    figure = style.new_figure(style.WIDE)
    axes = figure.subplots()
    before = axes.get_window_extent().size
    style.add_legends(figure, ("", entries("abcdefghijklmnopqrstuvw")))
    np.testing.assert_allclose(axes.get_window_extent().size, before)


@pytest.mark.parametrize(("n_panels", "n_labeled"), [(1, 1), (4, 4), (7, 4), (12, 4)])
def test_lowest_panel_of_each_column_keeps_its_tick_labels(n_panels, n_labeled):
    figure, grid = style.panels(n_panels, "A title")
    style.label_lowest(grid, "x1")
    figure.draw_without_rendering()
    labeled = [axes.xaxis.get_major_ticks()[0].label1.get_visible() for axes in grid]
    assert labeled == [False] * (n_panels - n_labeled) + [True] * n_labeled
    assert [axes.get_xlabel() for axes in grid[-n_labeled:]] == ["x1"] * n_labeled


def test_panels_do_not_overlap():
    figure, grid = style.panels(12, "A title")
    for axes in grid:
        axes.set(title="W" * 13, xlim=(-5000, 9000))
    style.label_lowest(grid, "x1")
    figure.draw_without_rendering()
    boxes = [axes.get_tightbbox() for axes in grid]
    assert not any(first.overlaps(second) for first, second in itertools.combinations(boxes, 2))


def test_png_is_the_same_whatever_the_settings_of_the_user(tmp_path):
    contents = []
    for size in (10, 20):
        with matplotlib.rc_context({"font.size": size}), style.figure_style():
            figure = style.new_figure(style.WIDE)
            figure.subplots().plot([0, 1])
            style.save(figure, str(tmp_path / "line.png"))
        contents.append((tmp_path / "line.png").read_bytes())
    assert contents[0] == contents[1]


def animation(values):
    figure = style.new_figure(style.WIDE)
    axes = figure.subplots()
    (line,) = axes.plot([0, 1], [0, 1])
    frames = [(np.array([0, 1]), np.array([0, value])) for value in values]
    return style.Animation(figure, line, frames, [f"{value}" for value in values])


def test_animation_ends_as_a_figure_of_its_last_frame(tmp_path):
    paths = [str(tmp_path / name) for name in ("all.gif", "last.gif")]
    for path, values in zip(paths, [(0.0, 0.5, 1.0), (1.0,)], strict=True):
        style.save_animation(animation(values), path)
    with Image.open(paths[0]) as every, Image.open(paths[1]) as last:
        final, frames = np.asarray(last.convert("L"))[40:], []  # below the title
        for number in range(every.n_frames):
            every.seek(number)
            frames.append(np.asarray(every.convert("L"))[40:])
        assert every.info["duration"] == style.LAST_FRAME_MS
    assert [np.array_equal(frame, final) for frame in frames] == [False, False, True]


def test_animation_has_the_same_bytes_again(tmp_path):
    for name in ("first.gif", "second.gif"):
        style.save_animation(animation((0.0, 1.0)), str(tmp_path / name))
    assert Path(tmp_path, "first.gif").read_bytes() == Path(tmp_path, "second.gif").read_bytes()


def test_curve_is_drawn_beside_its_reference():
    curve = curves.Curve("loss", np.array([3.0, 2.0, 1.5]), ("lower bound", 1.0))
    (axes,) = curves.curves_figure("A title", [curve]).axes
    line, reference = axes.get_lines()
    assert line.get_xydata().tolist() == [[0, 3], [1, 2], [2, 1.5]]
    assert list(reference.get_ydata()) == [1, 1]
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == ["loss", "lower bound: 1"]
    assert (axes.get_title(), axes.get_xlabel(), axes.get_yscale()) == ("Loss", "epoch", "linear")


def test_curve_without_a_reference_stands_alone():
    (axes,) = curves.curves_figure("A title", [curves.Curve("loss", np.ones(2), None)]).axes
    assert len(axes.get_lines()) == 1


@pytest.mark.parametrize(
    ("lowest", "scale"), [(1e-3, "log"), (0.5, "linear"), (0.0, "linear"), (-1.0, "linear")]
)
def test_curve_over_decades_has_a_logarithmic_axis_with_plain_numbers(lowest, scale):
    curve = curves.Curve("loss", np.array([1.0, lowest]), None)
    figure = curves.curves_figure("A title", [curve])
    figure.draw_without_rendering()
    assert figure.axes[0].get_yscale() == scale
    assert not any("$" in text.get_text() for text in figure.axes[0].get_yticklabels(which="both"))


def test_curve_of_the_validation_rows_is_drawn_beside_that_of_the_training_rows():
    curve = curves.Curve("loss", np.array([3.0, 2.0]), ("floor", 1.0), np.array([4.0, 3.0]))
    (axes,) = curves.curves_figure("A title", [curve]).axes
    drawn = [list(line.get_ydata()) for line in axes.get_lines()]
    assert drawn == [[3, 2], [4, 3], [1, 1]]
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == ["training", "validation", "floor: 1"]


@pytest.mark.parametrize("n_epochs", [1, 50])
@pytest.mark.parametrize("reference", ["least squares", "majority class"])
def test_legends_of_curves_stay_inside_the_figure(n_epochs, reference):
    values = np.linspace(-1e-8, 9e-8, n_epochs + 1)
    curve = curves.Curve("weight", values, (reference, -1.23457e-10), values)
    norm = curves.Curve("norm of the weights", values, (reference, -1.23457e-10))
    figure = curves.curves_figure("A title", [curve, norm])
    assert_inside(figure, [axes.get_legend() for axes in figure.axes])


@pytest.mark.parametrize(("value", "n_columns"), [(1.98899, 2), (53.8429, 1), (1.56594e6, 1)])
def test_legend_of_a_curve_is_no_wider_than_its_axes(value, n_columns):
    name = "weight" if n_columns == 2 else "norm of the weights"
    curve = curves.Curve(name, np.array([0.1, 1.9]), ("least squares", value))
    figure = curves.curves_figure("A title", [curve, curve])
    figure.draw_without_rendering()
    for axes in figure.axes:
        legend = axes.get_legend()
        assert legend._ncols == n_columns
        assert legend.get_window_extent().width < axes.get_window_extent().width + 10


def optimizer_curves(n_epochs=2):
    steps = np.linspace(0.5, 0.9, n_epochs + 1) + np.array([[-0.1], [0], [0.02]])  # three seeds
    return {
        "probabilities": {"SGD": steps, "Adam": steps + 0.01},
        "logits": {"SGD": steps + 0.02, "Adam": steps + 0.03},
    }


def test_each_optimizer_has_a_panel_with_both_losses_before_the_others():
    figure = curves.optimizers_figure(optimizer_curves(), 0.95, 0.1)
    assert [axes.get_title() for axes in figure.axes] == ["SGD", "Adam"]
    assert legend_texts(figure) == [
        "loss on probabilities",
        "loss on logits",
        "other optimizers",
        "target: 0.95",
    ]
    *others, target, first, second = figure.axes[0].get_lines()
    assert [line.get_color() for line in others] == [curves.CONTEXT["color"]] * 2
    assert list(target.get_ydata()) == [0.95, 0.95]
    assert first.get_xydata().tolist() == [[1, 0.5], [2, 0.7], [3, 0.9]]
    assert second.get_ydata()[0] == 0.52
    bands = [band.get_paths()[0].get_extents() for band in figure.axes[0].collections]
    assert [(band.ymin, band.ymax) for band in bands] == [
        pytest.approx((0.4, 0.92)),
        pytest.approx((0.42, 0.94)),
    ]


@pytest.mark.parametrize("n_epochs", [1, 4, 1000])
def test_epochs_of_optimizers_are_plain_numbers(n_epochs):
    figure = curves.optimizers_figure(optimizer_curves(n_epochs), 0.95, 0.1)
    figure.draw_without_rendering()
    texts = [text.get_text() for text in figure.axes[0].get_xticklabels(which="both")]
    assert "1" in texts
    assert not any("$" in text for text in texts)


def test_optimizers_are_drawn_for_one_loss_alone(tmp_path):
    path = tmp_path / "optimizers.png"
    curves.draw_optimizers(str(path), {"logits": {"SGD": np.array([[0.5, 0.6]])}}, 0.9, 0.1)
    with Image.open(path) as image:
        assert image.format == "PNG"
