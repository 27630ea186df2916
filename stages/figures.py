"""The figures: one style, readable in grey and without colour vision, the same bytes everywhere.

Each draw function makes one file from numbers that have been rounded, with Matplotlib's own default
settings and the STYLE below, whatever the user's own settings are. Up to seven classes differ in
lightness and in marker as well as in colour (the palette of Okabe and Ito, 2008).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

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
}
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000")
MARKERS = ("o", "^", "s", "v", "D", "P", "X")
POINTS = {"linestyle": "none", "markeredgewidth": 0, "alpha": 0.75}
FITTED = {"color": "black", "linestyle": "-"}
IDEAL = {"color": "#d55e00", "linestyle": "--"}

SQUARE = (5.6, 5.9)

FRAMES = 101  # of the film at most
FRAME_MS, LAST_FRAME_MS = 60, 2000


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
    columns = int(figure.get_figwidth() / 2)
    rows = -(-len(named) // columns)
    figure.subplots_adjust(bottom=(0.75 + 0.22 * rows) / figure.get_figheight())
    figure.legend(named.values(), named.keys(), loc="lower center", ncols=columns)


def line_axes(figure: Figure, x: np.ndarray, y: np.ndarray, title: str) -> Axes:
    """Return axes with the points of the regression."""
    axes = figure.subplots()
    axes.plot(x, y, MARKERS[0], color=COLORS[4], label="training points", **POINTS)
    axes.set(xlabel="x", ylabel="y", title=title)
    return axes


def draw_regression_data(path: str, x: np.ndarray, y: np.ndarray) -> None:
    """Draw the points, x and y of shape (n,)."""
    with style():
        figure = Figure()
        add_legend(figure, [line_axes(figure, x, y, "Regression: the data")])
        save(figure, path)


def draw_fit(
    path: str, x: np.ndarray, y: np.ndarray, weight: float, true_weight: float, title: str
) -> None:
    """Draw the points with the line of `weight` and the true line."""
    ends = np.array([x.min(), x.max()])
    with style():
        figure = Figure()
        axes = line_axes(figure, x, y, title)
        axes.plot(ends, weight * ends, label=f"fitted line: y = {weight:.6g} x", **FITTED)
        axes.plot(ends, true_weight * ends, label=f"true line: y = {true_weight:.6g} x", **IDEAL)
        add_legend(figure, [axes])
        save(figure, path)


def draw_film(path: str, x: np.ndarray, y: np.ndarray, history: np.ndarray) -> None:
    """Draw the fit epoch by epoch as an animated GIF; `history` has rows (epoch, loss, weight).

    Only the line and the title are drawn anew for each of the frames, FRAMES at most.
    """
    ends = np.array([x.min(), x.max()])
    chosen = np.unique(np.linspace(0, len(history) - 1, FRAMES).round().astype(int))
    frames = []
    with style():
        figure = Figure(dpi=80)
        canvas = FigureCanvasAgg(figure)
        axes = line_axes(figure, x, y, "")
        (line,) = axes.plot(ends, 0 * ends, animated=True, label="fitted line", **FITTED)
        add_legend(figure, [axes])
        canvas.draw()
        background = canvas.copy_from_bbox(figure.bbox)
        for epoch, loss, weight in history[chosen]:
            canvas.restore_region(background)
            line.set_ydata(weight * ends)
            axes.draw_artist(line)
            axes.set_title(f"Epoch {epoch:.0f}: weight {weight:.4f}, loss {loss:.2f}")
            axes.draw_artist(axes.title)
            frames.append(Image.fromarray(np.array(canvas.buffer_rgba())).convert("RGB"))
    palette = frames[-1].quantize(32, Image.Quantize.MAXCOVERAGE)
    frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    with replacing(path) as temporary:
        frames[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=[FRAME_MS] * (len(frames) - 1) + [LAST_FRAME_MS],
            loop=0,
        )


def plot_classes(axes: Axes, X: np.ndarray, classes: np.ndarray, label: str) -> None:
    """Plot the points X, (n, 2), each with the color and marker of its class, (n,)."""
    for number in np.unique(classes):
        axes.plot(
            *X[classes == number].T,
            MARKERS[number % len(MARKERS)],
            color=COLORS[number % len(COLORS)],
            label=f"{label} {number}",
            **POINTS,
        )
    axes.set(xlabel="x1", ylabel="x2", aspect="equal")


def draw_classes(path: str, X: np.ndarray, classes: np.ndarray, label: str, title: str) -> None:
    """Draw the points X, (n, 2), by class, (n,); `label` says what kind of class."""
    with style():
        figure = Figure(figsize=SQUARE)
        axes = figure.subplots()
        plot_classes(axes, X, classes, label)
        axes.set_title(title)
        add_legend(figure, [axes])
        save(figure, path)


def draw_epochs(
    path: str, X: np.ndarray, predictions: Sequence[np.ndarray], titles: Sequence[str]
) -> None:
    """Draw the predicted classes of X, (n, 2), at several epochs as small multiples."""
    columns = min(4, len(titles))
    rows = -(-len(titles) // columns)
    with style():
        height = 2.4 * rows + 1.2
        figure = Figure(figsize=(2.4 * columns, height))
        figure.subplots_adjust(left=0.07, right=0.98, top=1 - 0.7 / height, hspace=0.35)
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        drawn, empty = np.split(grid.ravel(), [len(titles)])
        for axes, classes, title in zip(drawn, predictions, titles, strict=True):
            plot_classes(axes, X, classes, "predicted class")
            axes.set_title(title)
            axes.label_outer()
        for axes in drawn[-columns:]:  # the lowest of each column
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("x1")
        for axes in empty:
            axes.set_axis_off()
        figure.suptitle("Classifier: predicted class of the training points while it learns")
        add_legend(figure, drawn)
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
    X: np.ndarray,
    classes: np.ndarray,
    scores: np.ndarray,
    bayes_scores: np.ndarray,
    title: str,
) -> None:
    """Draw points by predicted class with two boundaries: the learned one and the best possible.

    `scores` and `bayes_scores`, (n_steps * n_steps, n_classes), are given on the grid of `plane`;
    a boundary runs where two classes share the largest score.
    """
    x1, x2, _ = plane(X)
    with style():
        figure = Figure(figsize=SQUARE)
        axes = figure.subplots()
        plot_classes(axes, X, classes, "predicted class")
        for boundary, line in ((scores, FITTED), (bayes_scores, IDEAL)):
            for lead in leads(boundary):
                axes.contour(
                    *(x1, x2, lead.reshape(len(x2), len(x1))),
                    levels=[0],
                    colors=line["color"],
                    linestyles=line["linestyle"],
                    linewidths=matplotlib.rcParams["lines.linewidth"],
                )
        learned = Line2D([], [], label="learned boundary", **FITTED)
        add_legend(figure, [axes], learned, Line2D([], [], label="Bayes boundary", **IDEAL))
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
