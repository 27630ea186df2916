import itertools
from dataclasses import replace

import numpy as np
import pytest

from stages.figures import classifier, style

FILES = [
    "classification_data.png",
    "classifier_after.png",
    "classifier_before.png",
    "classifier_confusion.png",
    "classifier_curves.png",
    "classifier_epochs.png",
]
HARD_NAMES = ["日本語", "العربية", "🎉", "a\nb", "$a$", "x\\y_z", "<b>"]


@pytest.fixture(autouse=True)
def styled():
    with style.figure_style():
        yield


def x1_scores(points):
    """Two classes, level at x1 = 2."""
    return np.stack([4 - points[:, 0], points[:, 0]], axis=1)


def two_features(**changes):
    data = classifier.ClassifierData(
        X=np.array([[0.0, 0.0], [4.0, 2.0], [1.0, 2.0], [3.0, 0.0]]),
        y=np.array([0, 1, 1, 1]),
        features=["x1", "x2"],
        labels=["u", "v"],
        losses=np.array([0.7, 0.6, 0.5]),
        valid_losses=np.array([0.8, 0.7, 0.65]),
        accuracies=np.array([0.25, 0.5, 0.75]),
        valid_accuracies=np.array([0.0, 0.25, 0.5]),
        snapshots={0: np.array([0, 0, 0, 0]), 2: np.array([0, 1, 0, 1])},
        predicted=np.array([0, 1, 0, 1]),
        n_rows=4,
        n_wrong=1,
        loss_floor=0.313262,
        reference=("Bayes rule", 0.9),
        scores=x1_scores,
        centers=np.array([[2.0, 0.0], [2.0, 1.0]]),
        confusion=np.array([[1, 2], [0, 1]]),
    )
    return replace(data, **changes)


def many_classes(n_classes, n_features=2, labels=None, confusion=None):
    generator = np.random.default_rng(0)
    y = np.arange(3 * n_classes) % n_classes
    predicted = generator.permutation(y)
    weights = generator.standard_normal((2, n_classes))
    return two_features(
        X=generator.standard_normal((len(y), n_features)) + y[:, None],
        y=y,
        features=[f"f{number}" for number in range(n_features)],
        labels=labels or [f"class_{number}" for number in range(n_classes)],
        snapshots={0: predicted},
        predicted=predicted,
        n_rows=len(y),
        n_wrong=int((predicted != y).sum()),
        scores=(lambda points: points @ weights) if n_features == 2 else None,
        centers=None,
        confusion=np.eye(n_classes, dtype=int) if confusion is None else confusion,
    )


def legend_texts(figure, number=0):
    return [text.get_text() for text in figure.legends[number].get_texts()]


def contour_points(axes):
    return [
        np.concatenate([path.vertices for path in contours.get_paths()])
        for contours in axes.collections
    ]


def test_all_files_are_drawn_with_the_same_bytes_again(tmp_path):
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        classifier.draw(str(folder), two_features())
    contents = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]
    assert sorted(contents[0]) == FILES
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("n_classes", "n_features", "labels"),
    [
        (2, 1, None),
        (7, 2, HARD_NAMES),
        (15, 13, None),
        (22, 2, [f"{number} {'W' * 60}" for number in range(22)]),
        (42, 2, None),
        (200, 3, None),
    ],
)
def test_any_number_of_classes_is_drawn(tmp_path, n_classes, n_features, labels):
    classifier.draw(str(tmp_path), many_classes(n_classes, n_features, labels))
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


def test_classes_differ_in_marker_and_legend_has_their_names_and_a_title():
    figure = classifier.classes_figure(two_features(), np.array([0, 1, 0, 0]), "class", "A title")
    first, second = figure.axes[0].get_lines()
    assert first.get_xydata().tolist() == [[0, 0], [1, 2], [3, 0]]
    assert second.get_xydata().tolist() == [[4, 2]]
    assert first.get_marker() != second.get_marker()
    assert legend_texts(figure) == ["u", "v"]
    assert figure.legends[0].get_title().get_text() == "class"


def test_legend_names_a_class_that_has_no_points():
    figure = classifier.classes_figure(two_features(), np.zeros(4, dtype=int), "class", "A title")
    assert len(figure.axes[0].get_lines()) == 1
    assert legend_texts(figure) == ["u", "v"]


def test_legend_of_many_classes_counts_those_it_leaves_out():
    texts = [entry.get_label() for entry in classifier.class_entries(range(200))]
    assert texts[-2:] == ["22", "… and 177 more classes"]
    assert len(texts) == classifier.NAMED
    assert len(classifier.class_entries(range(24))) == 24


def test_first_49_classes_look_different():
    styles = [classifier.class_style(number) for number in range(49)]
    assert len({(style["color"], style["marker"]) for style in styles}) == 49


def test_epochs_are_shown_in_their_order():
    data = two_features(snapshots={2: np.array([1, 1, 1, 0]), 0: np.array([0, 0, 0, 1])})
    first, second = classifier.epochs_figure(data).axes
    assert [axes.get_title() for axes in (first, second)] == [
        "Epoch 0: loss 0.7",
        "Epoch 2: loss 0.5",
    ]
    assert [len(axes.get_lines()[0].get_xdata()) for axes in (first, second)] == [3, 1]


def test_snapshots_beyond_the_panels_are_thinned_and_counted():
    snapshots = dict.fromkeys(range(34), np.zeros(4, dtype=int))
    figure = classifier.epochs_figure(two_features(snapshots=snapshots, losses=np.ones(34)))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == [f"Epoch {epoch}: loss 1" for epoch in range(0, 34, 3)]
    assert figure.get_suptitle().endswith("(12 of 34 snapshots)")


def test_misclassified_points_are_circled_and_counted():
    figure = classifier.after_figure(two_features())
    rings = figure.axes[0].get_lines()[-1]
    assert rings.get_xydata().tolist() == [[1, 2]]
    assert rings.get_markerfacecolor() == "none"
    assert legend_texts(figure, 1) == [
        "learned boundary",
        "Bayes boundary",
        "misclassified (1 of 4)",
    ]


def test_no_mistake_is_counted_too():
    data = two_features(predicted=np.array([0, 1, 1, 1]), n_wrong=0)
    figure = classifier.after_figure(data)
    assert legend_texts(figure, 1)[-1] == "misclassified (0 of 4)"


def test_boundaries_run_where_two_classes_are_level():
    learned, bayes = contour_points(classifier.after_figure(two_features()).axes[0])
    np.testing.assert_allclose(learned[:, 0], 2)
    assert np.ptp(learned[:, 1]) == pytest.approx(2.2)
    np.testing.assert_allclose(bayes[:, 1], 0.5, atol=1e-5)


def test_class_that_is_best_everywhere_has_no_boundary():
    data = two_features(scores=lambda points: np.tile([1.0, 0.0], (len(points), 1)), centers=None)
    assert contour_points(classifier.after_figure(data).axes[0]) == []


def test_classes_level_everywhere_have_no_boundary():
    data = two_features(scores=lambda points: np.zeros((len(points), 2)), centers=None)
    assert contour_points(classifier.after_figure(data).axes[0]) == []


def test_constant_features_still_have_a_boundary_figure():
    assert len(classifier.after_figure(two_features(X=np.full((4, 2), 7.0))).axes) == 1


def test_several_features_are_drawn_without_boundaries():
    data = many_classes(3, n_features=4)
    figure = classifier.after_figure(data)
    n_wrong = (data.predicted != data.y).sum()
    assert contour_points(figure.axes[0]) == []
    assert len(figure.axes[0].get_lines()[-1].get_xdata()) == n_wrong
    assert legend_texts(figure, 1) == [f"misclassified ({n_wrong} of 9)"]


def test_margins_are_level_where_the_best_class_changes():
    scores = np.array([[3.0, 1, 0], [0, 3, 1], [0, 1, 3]])
    first, second = classifier.score_margins(scores)
    assert first.tolist() == [2, -3, -3]
    assert second.tolist() == [None, 2, -2]


def test_margins_of_classes_that_are_best_nowhere_are_left_out():
    scores = np.array([[3.0, 0, 1], [0, 2, 3]])
    (margin,) = classifier.score_margins(scores)
    assert margin.tolist() == [2, -3]


def test_mesh_spans_the_points_with_a_margin():
    x1, x2, grid = classifier.mesh(np.array([[0.0, 5.0], [10.0, 5.0]]), n_steps=3)
    assert (x1.tolist(), x2.tolist()) == ([-0.5, 5, 10.5], [4, 5, 6])
    assert grid[:4].tolist() == [[-0.5, 4], [5, 4], [10.5, 4], [-0.5, 5]]


def test_two_features_are_shown_as_they_are_and_to_scale_if_simulated():
    projection = classifier.project_to_plane(two_features())
    assert projection.points.tolist() == two_features().X.tolist()
    assert (projection.xlabel, projection.ylabel, projection.equal) == ("x1", "x2", True)
    assert not classifier.project_to_plane(two_features(centers=None)).equal


def test_one_feature_is_shown_against_the_class_number():
    projection = classifier.project_to_plane(many_classes(2, n_features=1))
    assert projection.points[:, 1].tolist() == [0, 1, 0, 1, 0, 1]
    assert projection.ylabel == "class number"


def test_scale_of_a_feature_does_not_decide_the_projection():
    generator = np.random.default_rng(0)
    hidden = generator.standard_normal((500, 1))
    X = hidden + 0.1 * generator.standard_normal((500, 3))  # one direction in three features
    X = np.column_stack([X, generator.standard_normal(500)])
    points = classifier.principal_components(X * [1, 1000, 1e-3, 1e6])
    np.testing.assert_allclose(points, classifier.principal_components(X), rtol=1e-4, atol=1e-4)
    assert np.corrcoef(points[:, 0], hidden[:, 0])[0, 1] > 0.99
    assert np.corrcoef(points[:, 1], X[:, 3])[0, 1] > 0.99


def test_constant_feature_adds_nothing_to_the_projection():
    X = np.column_stack([np.full(60, 0.3), np.arange(60) % 2])
    assert X.std(axis=0)[0] > 0  # rounding noise
    assert not classifier.standardize(X)[:, 0].any()
    np.testing.assert_allclose(classifier.standardize(X)[:2, 1], [-1, 1])


def test_features_on_one_line_have_no_second_component():
    points = classifier.principal_components(np.outer(np.arange(60.0), [0.1, 0.2, 0.3]))
    assert np.ptp(points[:, 0]) > 1
    assert not points[:, 1].any()


def test_uncorrelated_features_have_one_projection_all_the_same():
    X = np.array(list(itertools.product([-1.0, 1.0], repeat=3)))
    np.testing.assert_allclose(classifier.principal_components(X), X[:, [2, 1]], rtol=1e-5)


@pytest.mark.parametrize("n_rows", [1, 2])
def test_few_rows_of_many_features_are_projected(n_rows):
    points = classifier.principal_components(np.arange(5.0 * n_rows).reshape(n_rows, 5) ** 2)
    assert points.shape == (n_rows, 2)


def test_confusion_has_a_row_for_each_actual_class():
    (axes,) = classifier.confusion_figure(two_features()).axes
    assert [text.get_text() for text in axes.texts] == ["1", "2", "0", "1"]
    assert [text.get_position() for text in axes.texts] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    np.testing.assert_allclose(axes.images[0].get_array(), [[1 / 3, 2 / 3], [0, 1]])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "actual class")


def test_counts_of_many_classes_are_small_and_leave_zeros_out():
    counts = np.diag(np.arange(100, 150))
    (axes,) = classifier.confusion_figure(many_classes(50, confusion=counts)).axes
    assert [text.get_text() for text in axes.texts] == [str(count) for count in range(100, 150)]
    assert {text.get_fontsize() for text in axes.texts} == {classifier.SMALLEST_FONT}


@pytest.mark.parametrize(("n_classes", "count"), [(50, 999), (13, 999), (12, 99999)])
def test_counts_stay_inside_their_cells(n_classes, count):
    data = many_classes(n_classes, confusion=np.full((n_classes, n_classes), count))
    figure = classifier.confusion_figure(data)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    cell = axes.get_window_extent().width / n_classes
    assert max(text.get_window_extent().width for text in axes.texts) < cell


@pytest.mark.parametrize(("n_classes", "largest"), [(50, 1000), (51, 1)])
def test_counts_without_room_are_left_to_the_shades(n_classes, largest):
    data = many_classes(n_classes, confusion=np.diag([largest] * n_classes))
    (axes,) = classifier.confusion_figure(data).axes
    assert not axes.texts


@pytest.mark.parametrize("n_classes", [2, 5, 22, 50, 200])
@pytest.mark.parametrize("name", ["", "Very dissatisfied indeed with it all"])
def test_names_stay_inside_the_confusion_matrix_and_off_each_other(n_classes, name):
    labels = [f"{number} {name}" for number in range(n_classes)]
    figure = classifier.confusion_figure(many_classes(n_classes, labels=labels))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    box = axes.get_tightbbox()
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
    boxes = [text.get_window_extent() for text in axes.get_xticklabels()]
    assert len(boxes) == min(n_classes, 50)
    assert all(left.x1 <= right.x0 for left, right in itertools.pairwise(boxes))


def test_class_without_test_rows_has_an_empty_row():
    (axes,) = classifier.confusion_figure(two_features(confusion=np.array([[0, 0], [1, 1]]))).axes
    np.testing.assert_allclose(axes.images[0].get_array(), [[0, 0], [0.5, 0.5]])


def test_curves_show_loss_and_accuracy_beside_their_references():
    loss, accuracy = classifier.training_figure(two_features()).axes
    assert loss.get_lines()[0].get_ydata().tolist() == [0.7, 0.6, 0.5]
    assert loss.get_lines()[1].get_ydata().tolist() == [0.8, 0.7, 0.65]
    assert list(loss.get_lines()[2].get_ydata()) == [0.313262] * 2
    assert accuracy.get_lines()[0].get_ydata().tolist() == [0.25, 0.5, 0.75]
    assert accuracy.get_lines()[1].get_ydata().tolist() == [0.0, 0.25, 0.5]
    texts = [text.get_text() for text in accuracy.get_legend().get_texts()]
    assert texts == ["training", "validation", "Bayes rule: 0.9"]


def test_loss_without_a_floor_stands_alone():
    loss, _ = classifier.training_figure(two_features(loss_floor=None)).axes
    assert len(loss.get_lines()) == 2  # training and validation


def test_figures_of_a_sample_say_so_and_count_the_mistakes_of_all_rows():
    data = two_features(n_rows=1_000_000, n_wrong=131_072)
    figures = [
        classifier.classes_figure(data, data.y, "predicted class", "A title"),
        classifier.epochs_figure(data),
        classifier.after_figure(data),
    ]
    for figure in figures:
        title = figure.legends[0].get_title().get_text()
        assert title == "predicted class (4 of 1,000,000 points)"
    assert legend_texts(figures[-1], 1)[-1] == "misclassified (131,072 of all 1,000,000)"


def test_rings_of_many_mistakes_fade():
    y = np.arange(10_000) % 2
    X = np.column_stack([y, y + 0.0])
    data = two_features(X=X, y=y, predicted=1 - y, n_rows=len(y), n_wrong=len(y))
    figure = classifier.after_figure(data)
    assert sum(len(line.get_xdata()) for line in figure.axes[0].get_lines()[:2]) == 10_000
    assert figure.axes[0].get_lines()[2].get_alpha() == 0.05
    assert legend_texts(figure, 1)[-1] == "misclassified (10000 of 10000)"
