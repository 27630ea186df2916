"""The figures of the regression: the data, the fit before and after training and on the way there.

One feature is drawn with the line; for several, predicted against true values show the fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stages.figures.curves import Curve, curves_figure
from stages.figures.style import (
    COLORS,
    DIGITS,
    FITTED,
    IDEAL,
    MARKERS,
    PANELS,
    POINTS,
    WIDE,
    Animation,
    add_legends,
    figure_style,
    frame_indices,
    new_figure,
    panels,
    save,
    save_animation,
    some_of,
    truncate,
)
from stages.shared.rounding import round_significant

ANIMATION_DPI = 80
MOVING_POINTS = 5000  # at most, of an animation


@dataclass(frozen=True)
class RegressionData:
    """What the figures of the regression show; X, y, weights and intercepts in the table's units.

    Attributes:
        X: float64 (n, n_features), the training rows
        y: float64 (n,)
        features: the names of the columns of X
        target: the name of y
        losses: (epochs + 1,), row k after k updates
        weights: (epochs + 1, n_features)
        intercepts: (epochs + 1,), or None if the line passes through 0
        trained_weight: (epochs + 1,), what the history calls `weight`; for several features, their
            Euclidean norm
        least_squares_loss: the smallest possible loss
        least_squares_weight: comparable to trained_weight
        true_weight: the slope of the true line through 0, known only for simulated data
    """

    X: np.ndarray
    y: np.ndarray
    features: Sequence[str]
    target: str
    losses: np.ndarray
    weights: np.ndarray
    intercepts: np.ndarray | None
    trained_weight: np.ndarray
    least_squares_loss: float
    least_squares_weight: float
    true_weight: float | None


def weight_name(data: RegressionData) -> str:
    """Return what trained_weight is."""
    return "weight" if data.X.shape[1] == 1 else "norm of the weights"


def point_axes(figure: Figure, data: RegressionData) -> tuple[Axes, Line2D]:
    """Return axes with the training points against the one feature, and the points."""
    axes = figure.subplots()
    xlabel, ylabel = truncate([data.features[0], data.target])
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return axes, plot_points(axes, data.X[:, 0], data.y)


def plot_points(axes: Axes, x: np.ndarray, y: np.ndarray) -> Line2D:
    """Plot training points, and return them."""
    (points,) = axes.plot(x, y, MARKERS[0], color=COLORS[4], label="training points", **POINTS)
    return points


def data_figure(data: RegressionData) -> Figure:
    """Return a figure of the target against each feature, PANELS features at most."""
    *features, target = truncate([*data.features, data.target])
    if len(features) == 1:
        figure = new_figure(WIDE)
        axes, points = point_axes(figure, data)
        axes.set_title("Regression: the data")
    else:
        n_panels = min(len(features), PANELS)
        note = some_of(n_panels, len(features), "features")
        figure, grid = panels(n_panels, f"Regression: {target} against each feature{note}")
        for axes, name, column in zip(grid, features, data.X.T, strict=False):
            points = plot_points(axes, column, data.y)
            axes.set_title(name)

    add_legends(figure, ("", [points]))
    return figure


def equation(slope: float, intercept: float | None) -> str:
    """Return the equation of a line as a legend shows it."""
    if intercept is None:
        return f"y = {slope:.6g} x"
    return f"y = {slope:.6g} x {'-' if intercept < 0 else '+'} {abs(intercept):.6g}"


def lines_at(data: RegressionData, epochs: np.ndarray) -> np.ndarray:
    """Return the rounded (slope, intercept) of the fitted line after each of `epochs`, (k, 2)."""
    slopes = data.weights[epochs, 0]
    intercepts = np.zeros(len(epochs)) if data.intercepts is None else data.intercepts[epochs]
    return round_significant(np.stack([slopes, intercepts], axis=1), DIGITS)


def predictions_at(data: RegressionData, epochs: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the rounded predictions for `rows` of X after each of `epochs`, (k, len(rows))."""
    intercepts = 0.0 if data.intercepts is None else data.intercepts[epochs, None]
    return round_significant(data.weights[epochs] @ data.X[rows].T + intercepts, DIGITS)


def line_figure(data: RegressionData, epoch: int, title: str) -> Figure:
    """Return a figure of the points, the fitted line after `epoch` and the true line if known."""
    ends = np.array([data.X.min(), data.X.max()])
    ((slope, intercept),) = lines_at(data, np.array([epoch])).tolist()
    figure = new_figure(WIDE)
    axes, points = point_axes(figure, data)
    label = f"fitted line: {equation(slope, None if data.intercepts is None else intercept)}"
    lines = axes.plot(ends, slope * ends + intercept, label=label, **FITTED)
    if data.true_weight is not None:
        label = f"true line: {equation(data.true_weight, None)}"
        lines += axes.plot(ends, data.true_weight * ends, label=label, **IDEAL)
    axes.set_title(title)
    add_legends(figure, ("", [points, *lines]))
    return figure


def prediction_axes(
    figure: Figure, y: np.ndarray, predictions: np.ndarray, label: str
) -> tuple[Axes, list[Line2D]]:
    """Return axes for predicted against true values, and its points, which are yet to be placed."""
    low, high = min(y.min(), predictions.min()), max(y.max(), predictions.max())
    margin = 0.05 * (high - low) or 1.0
    span = (low - margin, high + margin)
    axes = figure.subplots()
    (ideal,) = axes.plot([low, high], [low, high], label="predicted = true", **IDEAL)
    (points,) = axes.plot(y, y, MARKERS[0], color=COLORS[0], label=label, **POINTS)
    axes.set(xlabel="true value", ylabel="predicted value", xlim=span, ylim=span)
    return axes, [points, ideal]


def predictions_figure(data: RegressionData, epoch: int, title: str) -> Figure:
    """Return a figure of predicted against true values after `epoch`."""
    (y_hat,) = predictions_at(data, np.array([epoch]), np.arange(len(data.y)))
    figure = new_figure(WIDE)
    axes, lines = prediction_axes(figure, data.y, y_hat, "training points")
    lines[0].set_data(data.y, y_hat)
    axes.set_title(title)
    add_legends(figure, ("", lines))
    return figure


def fit_figure(data: RegressionData, epoch: int, when: str) -> Figure:
    """Return a figure of the fit after `epoch`, which is `when`: "before" or "after" training."""
    if data.X.shape[1] == 1:
        return line_figure(data, epoch, f"Regression: the fit {when} training")
    title = f"Regression: predictions for the training points {when} training"
    return predictions_figure(data, epoch, title)


def frame_titles(data: RegressionData, epochs: np.ndarray) -> list[str]:
    """Return the titles of an animation's frames."""
    return [
        f"Epoch {epoch}: {weight_name(data)} {weight:.6g}, loss {loss:.6g}"
        for epoch, weight, loss in zip(
            epochs, data.trained_weight[epochs], data.losses[epochs], strict=True
        )
    ]


def line_animation(data: RegressionData) -> Animation:
    """Return an animation of the fitted line, epoch by epoch."""
    epochs = frame_indices(len(data.losses))
    ends = np.array([data.X.min(), data.X.max()])
    figure = new_figure(WIDE)
    figure.set_dpi(ANIMATION_DPI)
    axes, points = point_axes(figure, data)
    (line,) = axes.plot(ends, 0 * ends, label="fitted line", **FITTED)
    add_legends(figure, ("", [points, line]))
    frames = [(ends, slope * ends + intercept) for slope, intercept in lines_at(data, epochs)]
    return Animation(figure, line, frames, frame_titles(data, epochs))


def predictions_animation(data: RegressionData) -> Animation:
    """Return an animation of predicted against true values, of MOVING_POINTS rows at most."""
    epochs = frame_indices(len(data.losses))
    rows = frame_indices(len(data.y), MOVING_POINTS)
    y, predictions = data.y[rows], predictions_at(data, epochs, rows)
    figure = new_figure(WIDE)
    figure.set_dpi(ANIMATION_DPI)
    label = "training points" + some_of(len(rows), len(data.y), "points")
    _, lines = prediction_axes(figure, y, predictions, label)
    add_legends(figure, ("", lines))
    frames = [(y, y_hat) for y_hat in predictions]
    return Animation(figure, lines[0], frames, frame_titles(data, epochs))


def training_figure(data: RegressionData) -> Figure:
    """Return a figure of loss and weight against the epoch, beside those of least squares."""
    loss = ("least squares", data.least_squares_loss)
    weight = ("least squares", data.least_squares_weight)
    return curves_figure(
        "Regression: training",
        [
            Curve("loss", data.losses, loss),
            Curve(weight_name(data), data.trained_weight, weight),
        ],
    )


def draw(folder: str, data: RegressionData) -> None:
    """Write the figures of the regression to `folder`."""
    animation = line_animation if data.X.shape[1] == 1 else predictions_animation
    with figure_style():
        save(data_figure(data), f"{folder}/regression_data.png")
        save(fit_figure(data, 0, "before"), f"{folder}/regression_before.png")
        save(fit_figure(data, -1, "after"), f"{folder}/regression_after.png")
        save(training_figure(data), f"{folder}/regression_curves.png")
        save_animation(animation(data), f"{folder}/regression_animation.gif")
