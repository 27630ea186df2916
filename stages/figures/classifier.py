"""The figures of the classifier: the classes, and what it predicts before, during, after training.

All but the confusion matrix and the curves show the training points, projected to the same plane;
of many they show a sample, and say so.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from stages.figures.curves import Curve, curves_figure
from stages.figures.style import (
    COLORS,
    DIGITS,
    FITTED,
    FONT_SIZE,
    IDEAL,
    MARKERS,
    PANELS,
    POINTS,
    SQUARE,
    add_legends,
    figure_style,
    frame_indices,
    label_lowest,
    new_figure,
    panels,
    save,
    some_of,
    text_width,
    truncate,
)
from stages.shared.rounding import round_significant

NAMED = 24  # classes in a legend
ZEROS = 12  # classes, up to which a confusion matrix shows zeros, too
TICKED = 50  # classes, up to which each has a row of its own in a confusion matrix
CELL = 0.18  # inches of such a row, at least
SMALLEST_FONT, DIGIT_WIDTH = 6, 0.66  # points; of the font's size
RINGS = 500  # misclassified points, above which their rings fade and do not hide the classes
MISCLASSIFIED: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 6.5,
    "markerfacecolor": "none",
    "markeredgecolor": "black",
    "markeredgewidth": 0.8,
}


@dataclass(frozen=True)
class ClassifierData:
    """What the figures of the classifier show.

    Attributes:
        X: float64 (n, n_features), training rows in the table's units
        y: int64 (n,)
        features: the names of the columns of X
        labels: the names of the classes
        losses: (epochs + 1,), row k after k updates
        valid_losses: (epochs + 1,), on the validation rows
        accuracies: (epochs + 1,)
        valid_accuracies: (epochs + 1,)
        snapshots: epoch -> predicted class, int64 (n,); epoch 0 is always there
        predicted: int64 (n,), after training
        n_rows: the number of all training rows, n or more
        n_wrong: how many of them are misclassified after training
        loss_floor: the lower bound of the loss, or None
        reference: the label and value of an accuracy to compare with
        scores: (m, 2) in the table's units -> rounded (m, n_classes); only for two features
        centers: (n_classes, 2), known only for simulated data; the nearest is the Bayes prediction
        confusion: int64 (n_classes, n_classes), test rows by actual and predicted class
    """

    X: np.ndarray
    y: np.ndarray
    features: Sequence[str]
    labels: Sequence[object]
    losses: np.ndarray
    valid_losses: np.ndarray
    accuracies: np.ndarray
    valid_accuracies: np.ndarray
    snapshots: Mapping[int, np.ndarray]
    predicted: np.ndarray
    n_rows: int
    n_wrong: int
    loss_floor: float | None
    reference: tuple[str, float]
    scores: Callable[[np.ndarray], np.ndarray] | None
    centers: np.ndarray | None
    confusion: np.ndarray


@dataclass(frozen=True)
class Projection:
    """The points of all classes in a plane, (n, 2), and the names of its two axes."""

    points: np.ndarray
    xlabel: str
    ylabel: str
    equal: bool = False  # both axes have the same unit
    whole: bool = False  # y is an integer


def standardize(X: np.ndarray) -> np.ndarray:
    """Return X, (n, n_features), each column minus its mean, over its standard deviation."""
    varies = X.max(axis=0) > X.min(axis=0)
    return (X - X.mean(axis=0)) / np.where(varies, X.std(axis=0), np.inf)


def principal_components(X: np.ndarray) -> np.ndarray:
    """Return the first two principal components, (n, 2), of the standardized X, rounded."""
    # Uncorrelated features vary equally in every direction, and any two would do: weights that
    # differ in the seventh digit make every machine choose the same.
    weighted = standardize(X) * (1 + 1e-6 * np.arange(X.shape[1]))
    # The triangle of QR has the directions of all rows, and is much smaller.
    triangle = np.linalg.qr(weighted, mode="r")
    # All directions are needed, and take a minute for thousands of features, only of a single row.
    directions = np.linalg.svd(triangle, full_matrices=len(triangle) == 1)[2][:2]
    largest = np.abs(round_significant(directions, DIGITS)).argmax(axis=1)
    directions = directions * np.sign(directions[[0, 1], largest])[:, None]
    points = round_significant(weighted @ directions.T, DIGITS)
    if np.ptp(points[:, 1]) <= 1e-9 * np.ptp(points[:, 0]):
        points[:, 1] = 0.0  # points on one line leave rounding noise beside it
    return points


def project_to_plane(data: ClassifierData) -> Projection:
    """Return the training points in a plane.

    Two features as they are in the table, one against the number of the class, more by the first
    two principal components of the standardized features.
    """
    names = truncate(data.features)
    if len(names) == 2:
        return Projection(data.X, names[0], names[1], equal=data.centers is not None)
    if len(names) == 1:
        return Projection(np.column_stack([data.X, data.y]), names[0], "class number", whole=True)
    points = principal_components(data.X)
    return Projection(points, "principal component 1", "principal component 2")


def class_style(number: int) -> dict[str, Any]:
    """Return color and marker of a class; the first 49 differ."""
    marker = MARKERS[(number + number // len(COLORS)) % len(MARKERS)]
    return {"color": COLORS[number % len(COLORS)], "marker": marker, **POINTS}


def class_entries(labels: Sequence[object]) -> list[Line2D]:
    """Return the entries of a legend for the classes, NAMED at most."""
    names = truncate(labels)
    n_named = len(names) if len(names) <= NAMED else NAMED - 1
    entries = [
        Line2D([], [], label=name, **class_style(number))
        for number, name in enumerate(names[:n_named])
    ]
    if n_named < len(names):
        label = f"… and {len(names) - n_named} more classes"
        entries.append(Line2D([], [], linestyle="none", label=label))
    return entries


def plot_classes(axes: Axes, projection: Projection, classes: np.ndarray) -> None:
    """Plot the projected points, each with the color and marker of its class, (n,)."""
    for number in np.unique(classes).tolist():
        axes.plot(*projection.points[classes == number].T, **class_style(number))
    axes.set(
        xlabel=projection.xlabel,
        ylabel=projection.ylabel,
        aspect="equal" if projection.equal else "auto",
    )
    if projection.whole:
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def point_note(data: ClassifierData) -> str:
    """Return what a legend's title says of how many points are drawn: nothing if all are."""
    return some_of(len(data.y), data.n_rows, "points")


def classes_figure(
    data: ClassifierData, classes: np.ndarray, legend_title: str, title: str
) -> Figure:
    """Return a figure of the training points by class, (n,)."""
    figure = new_figure(SQUARE)
    axes = figure.subplots()
    plot_classes(axes, project_to_plane(data), classes)
    axes.set_title(title)
    add_legends(figure, (legend_title + point_note(data), class_entries(data.labels)))
    return figure


def epochs_figure(data: ClassifierData) -> Figure:
    """Return a figure of the predicted classes at several epochs, PANELS at most."""
    projection = project_to_plane(data)
    epochs = np.array(sorted(data.snapshots))
    shown = epochs[frame_indices(len(epochs), PANELS)].tolist()
    note = some_of(len(shown), len(epochs), "snapshots")
    figure, grid = panels(
        len(shown), f"Classifier: predicted class of the training points while it learns{note}"
    )
    for axes, epoch in zip(grid, shown, strict=True):
        plot_classes(axes, projection, data.snapshots[epoch])
        axes.set_title(f"Epoch {epoch}: loss {data.losses[epoch]:.4g}")
    label_lowest(grid, projection.xlabel)
    add_legends(figure, ("predicted class" + point_note(data), class_entries(data.labels)))
    return figure


def mesh(X: np.ndarray, n_steps: int = 201) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x1 and x2, (n_steps,), that span the points X, (n, 2), and the grid of all pairs.

    The grid has shape (n_steps * n_steps, 2), x1 running fastest.
    """
    low, high = X.min(axis=0), X.max(axis=0)
    margin = np.where(high > low, 0.05 * (high - low), 1.0)
    x1, x2 = np.linspace(low - margin, high + margin, n_steps).T
    return x1, x2, np.stack(np.meshgrid(x1, x2), axis=-1).reshape(-1, 2)


def score_margins(scores: np.ndarray) -> Iterator[np.ndarray]:
    """Yield, class by class, its score minus the best of the later classes, (m,).

    Where an earlier class is best the margin is masked, so that the zero lines of all margins
    together are the boundaries between the classes, each drawn once. Classes that are best nowhere
    are left out.
    """
    best = scores.argmax(axis=1)
    best_from = np.maximum.accumulate(scores[:, ::-1], axis=1)[:, ::-1]
    for number in np.unique(best).tolist():
        if number + 1 < scores.shape[1]:
            margin = scores[:, number] - best_from[:, number + 1]
            yield np.ma.masked_where(best < number, margin)


def center_scores(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Return minus the squared distance of points, (m, 2), to centers, (k, 2), rounded, (m, k)."""
    squares = [np.square(points[:, [axis]] - centers[:, axis]) for axis in (0, 1)]
    return round_significant(-(squares[0] + squares[1]), DIGITS)


def draw_boundaries(axes: Axes, data: ClassifierData) -> list[Line2D]:
    """Draw where the best class changes, learned and by Bayes; return the legend's entries."""
    boundaries: list[tuple[str, dict[str, Any], Callable[[np.ndarray], np.ndarray]]] = []
    if data.scores is not None:
        boundaries.append(("learned boundary", FITTED, data.scores))
    centers = data.centers
    if centers is not None:
        boundaries.append(("Bayes boundary", IDEAL, lambda points: center_scores(points, centers)))
    for _, line, scores in boundaries:
        x1, x2, grid = mesh(data.X)
        for margin in score_margins(scores(grid)):
            if margin.min() < 0 < margin.max():
                axes.contour(
                    *(x1, x2, margin.reshape(len(x2), len(x1))),
                    levels=[0],
                    colors=line["color"],
                    linestyles=line["linestyle"],
                    linewidths=matplotlib.rcParams["lines.linewidth"],
                )
    return [Line2D([], [], label=label, **line) for label, line, _ in boundaries]


def circle_mistakes(axes: Axes, points: np.ndarray, data: ClassifierData) -> Line2D:
    """Draw rings around misclassified points, (m, 2); return the legend's entry.

    It counts those of all rows, whether they are drawn or not.
    """
    alpha = max(0.02, min(1.0, RINGS / max(len(points), 1)))
    axes.plot(*points.T, alpha=alpha, **MISCLASSIFIED)
    counts = f"{data.n_wrong} of {data.n_rows}"
    if len(data.y) < data.n_rows:
        counts = f"{data.n_wrong:,} of all {data.n_rows:,}"
    label = f"misclassified ({counts})"
    return Line2D([], [], label=label, **MISCLASSIFIED)


def after_figure(data: ClassifierData) -> Figure:
    """Return a figure of the predicted classes after training, the boundaries and the mistakes."""
    projection = project_to_plane(data)
    figure = new_figure(SQUARE)
    axes = figure.subplots()
    plot_classes(axes, projection, data.predicted)
    wrong = data.predicted != data.y
    rings = circle_mistakes(axes, projection.points[wrong], data)
    boundaries = draw_boundaries(axes, data)
    axes.set_title(f"Classifier after training: loss {data.losses[-1]:.4g}")
    add_legends(
        figure,
        ("predicted class" + point_note(data), class_entries(data.labels)),
        ("", [*boundaries, rings]),
    )
    return figure


def confusion_figure(data: ClassifierData) -> Figure:
    """Return a figure of how often each class, a row, was predicted as which, a column.

    The darker a cell, the larger its share of the row.
    """
    counts = data.confusion
    n_classes = len(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    step = -(-n_classes // TICKED)
    ticks, names = np.arange(0, n_classes, step), truncate(data.labels)[::step]
    widths = [text_width(name) for name in names]
    side = max(4.4, CELL * min(n_classes, TICKED))
    upright = max(widths) + 0.1 > side / len(names)
    # In inches: the matrix, and the names and titles beside and below it.
    left, bottom = 0.5 + max(widths), 0.4 + (max(widths) if upright else 0.2)
    width, height = left + side + 0.2, bottom + side + 0.6
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(
        left=left / width,
        right=(left + side) / width,
        bottom=bottom / height,
        top=(bottom + side) / height,
    )
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.set(xlabel="predicted class", ylabel="actual class")
    title = "Classifier: test points by actual and predicted class"
    axes.set_title(f"{title}\n(the darker, the larger the share of the actual class)")
    axes.set_xticks(ticks, names, rotation=90 if upright else 0)
    axes.set_yticks(ticks, names)
    axes.grid(visible=False)
    if n_classes <= TICKED:
        write_counts(axes, counts, shares > 0.5, side / n_classes)
    return figure


def write_counts(axes: Axes, counts: np.ndarray, is_dark: np.ndarray, width: float) -> None:
    """Write counts, (n_classes, n_classes), into a confusion matrix, if its cells are wide enough.

    `width` is that of a cell in inches. With more than ZEROS classes, lines separate the cells.
    """
    has_zeros = len(counts) <= ZEROS
    if not has_zeros:
        borders = np.arange(len(counts) - 1) + 0.5
        axes.set_xticks(borders, minor=True)
        axes.set_yticks(borders, minor=True)
        axes.tick_params(which="minor", length=0)
        axes.set_axisbelow(False)
        axes.grid(which="minor", linewidth=0.5)
    font_size = min(FONT_SIZE, int(72 * width / (DIGIT_WIDTH * len(str(counts.max())))))
    if font_size < SMALLEST_FONT:
        return
    for row, column in np.ndindex(counts.shape):
        if counts[row, column] or has_zeros:
            color = "white" if is_dark[row, column] else "black"
            text = str(counts[row, column])
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=font_size)


def training_figure(data: ClassifierData) -> Figure:
    """Return a figure of loss and accuracy against the epoch, beside their references."""
    floor = None if data.loss_floor is None else ("loss floor", data.loss_floor)
    return curves_figure(
        "Classifier: training",
        [
            Curve("loss", data.losses, floor, data.valid_losses),
            Curve("accuracy", data.accuracies, data.reference, data.valid_accuracies),
        ],
    )


def draw(folder: str, data: ClassifierData) -> None:
    """Write the figures of the classifier to `folder`."""
    before = f"Classifier before training: loss {data.losses[0]:.4g}"
    with figure_style():
        figure = classes_figure(data, data.y, "class", "Classification: the data")
        save(figure, f"{folder}/classification_data.png")
        figure = classes_figure(data, data.snapshots[0], "predicted class", before)
        save(figure, f"{folder}/classifier_before.png")
        save(epochs_figure(data), f"{folder}/classifier_epochs.png")
        save(after_figure(data), f"{folder}/classifier_after.png")
        save(confusion_figure(data), f"{folder}/classifier_confusion.png")
        save(training_figure(data), f"{folder}/classifier_curves.png")
