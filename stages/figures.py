"""The figures: one style, readable in grey and without colour vision, the same bytes everywhere.

Each draw function makes one file from numbers that have been rounded, with Matplotlib's own default
settings and the STYLE below, whatever the user's own settings are. Up to seven classes differ in
lightness and in marker as well as in colour (the palette of Okabe and Ito, 2008).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from stages.files import replacing

STYLE = {
    "figure.figsize": (6.4, 4.6),
    "figure.subplot.left": 0.12,
    "figure.subplot.right": 0.97,
    "figure.subplot.top": 0.92,
    "axes.formatter.limits": (-3, 4),  # keeps the numbers on the axes short
    "figure.dpi": 100,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "axes.titlesize": "medium",
    "legend.framealpha": 0.9,
    "lines.markersize": 3.5,
    "lines.linewidth": 2.2,
    "text.parse_math": False,  # a dollar in the name of a column is a dollar
}
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000")
MARKERS = ("o", "^", "s", "v", "D", "P", "X")
POINTS = {"linestyle": "none", "markeredgewidth": 0, "alpha": 0.75}
FITTED = {"color": "black", "linestyle": "-"}
IDEAL = {"color": "#d55e00", "linestyle": "--"}

SQUARE = (5.6, 5.9)

PANELS = 12  # of one figure at most
NUMBERED = 12  # classes, of which a confusion matrix still has room for numbers

NAME = 20  # characters of a name of a column or class

FRAMES = 101  # of the film at most
FRAME_MS, LAST_FRAME_MS = 60, 2000


def short(names: Sequence[object]) -> list[str]:
    """Return names as a figure has room for: cut to NAME, and numbered if that makes two alike."""
    texts = [str(name) for name in names]
    cut = [text if len(text) <= NAME else f"{text[: NAME - 1]}…" for text in texts]
    if len(set(cut)) == len(cut):
        return cut
    return [f"{number}: {text}" for number, text in enumerate(cut)]


@contextmanager
def style() -> Iterator[None]:
    """Draw with Matplotlib's defaults and STYLE inside the block."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def save(figure: Figure, path: str) -> None:
    """Write `figure` as a PNG of few colors, which takes a third of the space."""
    FigureCanvasAgg(figure).draw()
    image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    with replacing(path) as temporary:
        image.quantize(128, Image.Quantize.MAXCOVERAGE).save(temporary, format="PNG")


def add_legend(figure: Figure, axes: Sequence[Axes], *lines: Line2D) -> None:
    """Put one legend below all axes, with each label once and `lines` last, and make room for it.

    Margins are set by hand, in inches: Matplotlib's own layout takes as long as the drawing.
    """
    named = {line.get_label(): line for each in axes for line in each.get_lines()}
    named |= {line.get_label(): line for line in lines}
    lengths = sorted(map(len, named), reverse=True)
    columns = int(figure.get_figwidth() / 2)
    while columns > 1 and 0.5 * columns + 0.075 * sum(lengths[:columns]) > figure.get_figwidth():
        columns -= 1  # in inches: a sample and a letter
    rows = -(-len(named) // columns)
    figure.subplots_adjust(bottom=(0.75 + 0.22 * rows) / figure.get_figheight())
    figure.legend(named.values(), named.keys(), loc="lower center", ncols=columns)


def point_axes(figure: Figure, x: np.ndarray, y: np.ndarray, names: Sequence[str]) -> Axes:
    """Return axes with the training points; `names` are those of x and y."""
    axes = figure.subplots()
    axes.plot(x, y, MARKERS[0], color=COLORS[4], label="training points", **POINTS)
    xlabel, ylabel = short(names)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return axes


def draw_regression_data(path: str, X: np.ndarray, y: np.ndarray, names: Sequence[str]) -> None:
    """Draw y, (n,), against each feature in X, (n, n_features), but PANELS at most.

    `names` are those of the features, then that of y.
    """
    *features, target = short(names)
    with style():
        if len(features) == 1:
            figure = Figure()
            axes = point_axes(figure, X[:, 0], y, names)
            axes.set_title("Regression: the data")
            add_legend(figure, [axes])
        else:
            shown = features[:PANELS]
            figure, grid = panels(len(shown), f"Regression: {target} against each feature")
            for number, (axes, name) in enumerate(zip(grid, shown, strict=True)):
                label = "training points"
                axes.plot(X[:, number], y, MARKERS[0], color=COLORS[4], label=label, **POINTS)
                axes.set(title=name)
            add_legend(figure, grid)
        save(figure, path)


def equation(slope: float, intercept: float | None) -> str:
    """Return the equation of a line as a legend shows it."""
    return f"y = {slope:.6g} x" + ("" if intercept is None else f" {intercept:+.6g}")


def draw_fit(
    path: str,
    x: np.ndarray,
    y: np.ndarray,
    names: Sequence[str],
    fitted: tuple[float, float | None],
    true_weight: float | None,
    title: str,
) -> None:
    """Draw the points with the fitted line, (slope, intercept), and the true one if there is one.

    An intercept of None is none.
    """
    ends = np.array([x.min(), x.max()])
    slope, intercept = fitted
    with style():
        figure = Figure()
        axes = point_axes(figure, x, y, names)
        axes.set_title(title)
        label = f"fitted line: {equation(slope, intercept)}"
        axes.plot(ends, slope * ends + (intercept or 0.0), label=label, **FITTED)
        if true_weight is not None:
            label = f"true line: {equation(true_weight, None)}"
            axes.plot(ends, true_weight * ends, label=label, **IDEAL)
        add_legend(figure, [axes])
        save(figure, path)


def prediction_axes(figure: Figure, y: np.ndarray, low: float, high: float) -> tuple[Axes, Line2D]:
    """Return axes for predicted against true values, from `low` to `high`, and the points."""
    axes = figure.subplots()
    axes.plot([low, high], [low, high], label="predicted = true", **IDEAL)
    (points,) = axes.plot(y, y, MARKERS[0], color=COLORS[0], label="training points", **POINTS)
    margin = 0.05 * (high - low)
    span = (low - margin, high + margin)
    axes.set(xlabel="true value", ylabel="predicted value", xlim=span, ylim=span)
    return axes, points


def draw_predictions(path: str, y: np.ndarray, y_hat: np.ndarray, title: str) -> None:
    """Draw predicted against true values, both (n,)."""
    with style():
        figure = Figure()
        axes, points = prediction_axes(
            figure, y, min(y.min(), y_hat.min()), max(y.max(), y_hat.max())
        )
        points.set_data(y, y_hat)
        axes.set_title(title)
        add_legend(figure, [axes])
        save(figure, path)


def chosen_frames(n_rows: int) -> np.ndarray:
    """Return the rows of a history that a film shows, FRAMES at most, the first and last among."""
    return np.unique(np.linspace(0, n_rows - 1, FRAMES).round().astype(int))


def draw_line_film(
    path: str,
    x: np.ndarray,
    y: np.ndarray,
    names: Sequence[str],
    lines: np.ndarray,
    titles: Sequence[str],
) -> None:
    """Draw a line, epoch by epoch, as an animated GIF; `lines` has rows (slope, intercept)."""
    ends = np.array([x.min(), x.max()])
    with style():
        figure = Figure(dpi=80)
        axes = point_axes(figure, x, y, names)
        (line,) = axes.plot(ends, 0 * ends, animated=True, label="fitted line", **FITTED)
        frames = [(ends, slope * ends + intercept) for slope, intercept in lines]
        save_film(figure, path, line, frames, titles)


def draw_prediction_film(
    path: str, y: np.ndarray, predictions: np.ndarray, titles: Sequence[str]
) -> None:
    """Draw predicted against true values epoch by epoch; `predictions` has rows of shape (n,)."""
    low, high = min(y.min(), predictions.min()), max(y.max(), predictions.max())
    with style():
        figure = Figure(dpi=80)
        _, points = prediction_axes(figure, y, low, high)
        points.set_animated(True)
        save_film(figure, path, points, [(y, y_hat) for y_hat in predictions], titles)


def save_film(
    figure: Figure,
    path: str,
    moving: Line2D,
    frames: Sequence[tuple[np.ndarray, np.ndarray]],
    titles: Sequence[str],
) -> None:
    """Write a GIF of the figure with `moving` at each of the frames, (x, y), below each title.

    Only `moving` and the title are drawn anew for each frame.
    """
    canvas = FigureCanvasAgg(figure)
    (axes,) = figure.axes
    add_legend(figure, [axes])
    canvas.draw()
    background = canvas.copy_from_bbox(figure.bbox)
    images = []
    for (x, y), title in zip(frames, titles, strict=True):
        canvas.restore_region(background)
        moving.set_data(x, y)
        axes.draw_artist(moving)
        axes.set_title(title)
        axes.draw_artist(axes.title)
        images.append(Image.fromarray(np.array(canvas.buffer_rgba())).convert("RGB"))
    palette = images[-1].quantize(32, Image.Quantize.MAXCOVERAGE)
    images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    with replacing(path) as temporary:
        images[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=images[1:],
            duration=[FRAME_MS] * (len(images) - 1) + [LAST_FRAME_MS],
            loop=0,
        )


@dataclass(frozen=True)
class View:
    """How the points of the classes are seen, the same in all figures.

    `points` has shape (n, 2), `axes` names its columns, and `classes` are the names of the classes;
    `equal` says that both columns have one unit.
    """

    points: np.ndarray
    axes: tuple[str, str]
    classes: Sequence[object]
    equal: bool


def plot_classes(axes: Axes, view: View, classes: np.ndarray, label: str) -> None:
    """Plot the points of a view, each with the color and marker of its class, (n,)."""
    for number, name in enumerate(short(view.classes)):  # one without points, too, for the legend
        axes.plot(
            *view.points[classes == number].T,
            MARKERS[(number + number // len(COLORS)) % len(MARKERS)],
            color=COLORS[number % len(COLORS)],
            label=f"{label} {name}",
            **POINTS,
        )
    xlabel, ylabel = view.axes
    axes.set(xlabel=xlabel, ylabel=ylabel, aspect="equal" if view.equal else "auto")


def draw_classes(path: str, view: View, classes: np.ndarray, label: str, title: str) -> None:
    """Draw the points of a view by class, (n,); `label` says what kind of class."""
    with style():
        figure = Figure(figsize=SQUARE)
        axes = figure.subplots()
        plot_classes(axes, view, classes, label)
        axes.set_title(title)
        add_legend(figure, [axes])
        save(figure, path)


def panels(n_panels: int, title: str) -> tuple[Figure, np.ndarray]:
    """Return a figure of `n_panels` small axes, four in a row, and the axes."""
    columns = min(4, n_panels)
    rows = -(-n_panels // columns)
    height = 2.4 * rows + 1.2
    figure = Figure(figsize=(2.4 * columns, height))
    figure.subplots_adjust(left=0.07, right=0.98, top=1 - 0.7 / height, hspace=0.35)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    drawn, empty = np.split(grid.ravel(), [n_panels])
    for axes in empty:
        axes.set_axis_off()
    figure.suptitle(title)
    return figure, drawn


def draw_epochs(
    path: str, view: View, predictions: Sequence[np.ndarray], titles: Sequence[str]
) -> None:
    """Draw the predicted classes of a view's points at several epochs as small multiples."""
    with style():
        figure, grid = panels(
            len(titles), "Classifier: predicted class of the training points while it learns"
        )
        for axes, classes, title in zip(grid, predictions, titles, strict=True):
            plot_classes(axes, view, classes, "predicted class")
            axes.set_title(title)
            axes.label_outer()
        for axes in grid[-4:]:  # the lowest of each column
            axes.tick_params(labelbottom=True)
            axes.set_xlabel(view.axes[0])
        add_legend(figure, grid)
        save(figure, path)


def draw_confusion(path: str, counts: np.ndarray, names: Sequence[object]) -> None:
    """Draw how often each class, a row of `counts` (n_classes, n_classes), was predicted as which.

    The darker, the larger the share of the class.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names, ticks = short(names), np.arange(len(names))
    longest, upright = max(map(len, names)), sum(map(len, names)) > 36
    # In inches: a square of 4.4, and the names and titles beside and below it.
    left, bottom = 0.6 + 0.09 * longest, 0.5 + (0.09 * longest if upright else 0.15)
    width, height = left + 4.4 + 0.2, bottom + 4.4 + 0.4
    with style():
        figure = Figure(figsize=(width, height))
        figure.subplots_adjust(
            left=left / width,
            right=(left + 4.4) / width,
            bottom=bottom / height,
            top=(bottom + 4.4) / height,
        )
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set(xlabel="predicted class", ylabel="actual class")
        axes.set_title("Classifier: test points by actual and predicted class")
        axes.set_xticks(ticks, names, rotation=90 if upright else 0)
        axes.set_yticks(ticks, names)
        axes.grid(visible=False)
        if len(names) <= NUMBERED:
            for row, column in np.ndindex(counts.shape):
                color = "white" if shares[row, column] > 0.5 else "black"
                text = str(counts[row, column])
                axes.text(column, row, text, ha="center", va="center", color=color)
        save(figure, path)


def plane(X: np.ndarray, n_steps: int = 201) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x1 and x2, (n_steps,), that span the points X, (n, 2), and the grid of all pairs.

    The grid has shape (n_steps * n_steps, 2), x1 running fastest.
    """
    low, high = X.min(axis=0), X.max(axis=0)
    x1, x2 = np.linspace(low - 0.05 * (high - low), high + 0.05 * (high - low), n_steps).T
    return x1, x2, np.stack(np.meshgrid(x1, x2), axis=-1).reshape(-1, 2)


def draw_boundary(
    path: str,
    view: View,
    classes: np.ndarray,
    scores: np.ndarray | None,
    bayes_scores: np.ndarray | None,
    title: str,
) -> None:
    """Draw points by predicted class with two boundaries: the learned one and the best possible.

    `scores` and `bayes_scores`, (n_steps * n_steps, n_classes), are given on the grid of `plane`;
    a boundary runs where two classes share the largest score. One that is None is not drawn.
    """
    x1, x2, _ = plane(view.points)
    learned, bayes = (FITTED, "learned boundary"), (IDEAL, "Bayes boundary")
    with style():
        figure = Figure(figsize=SQUARE)
        axes = figure.subplots()
        plot_classes(axes, view, classes, "predicted class")
        named = []
        for boundary, (line, label) in ((scores, learned), (bayes_scores, bayes)):
            if boundary is None:
                continue
            for lead in leads(boundary):
                axes.contour(
                    *(x1, x2, lead.reshape(len(x2), len(x1))),
                    levels=[0],
                    colors=line["color"],
                    linestyles=line["linestyle"],
                    linewidths=matplotlib.rcParams["lines.linewidth"],
                )
            named.append(Line2D([], [], label=label, **line))
        add_legend(figure, [axes], *named)
        axes.set_title(title)
        save(figure, path)


def leads(scores: np.ndarray) -> Iterator[np.ndarray]:
    """Yield, class by class, how far its score leads over the best of the later classes, (n,).

    Where an earlier class is best the lead is masked, so that the zero lines of all leads together
    are the boundaries between the classes, each drawn once.
    """
    best = scores.argmax(axis=1)
    for number in range(scores.shape[1] - 1):
        lead = scores[:, number] - scores[:, number + 1 :].max(axis=1)
        yield np.ma.masked_where(best < number, lead)
