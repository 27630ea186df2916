"""The figures of the regression: the data, the fit before and after training and on the way there.

One feature is drawn with the line; for several, predicted against true values show the fit. Of many
points they show a sample, and say so.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stages.figures.curves import Curve, curves_figure
from stages.figures.style import (
    COLORS,
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
    point_label,
    save,
    save_animation,
    some_of,
    truncate,
)

ANIMATION_DPI = 80


@dataclass(frozen=True)
class RegressionData:
    """What the figures of the regression show, in the table's units.

    Attributes:
        X: float64 (n, n_features), training rows
        y: float64 (n,)
        features: the names of the columns of X
        target: the name of y
        losses: (epochs + 1,), row k after k updates
        valid_losses: (epochs + 1,), on the validation rows
        predict: epochs, int64 (k,), and rows like those of X, (m, n_features) -> rounded (k, m)
        lines: (epochs + 1, 2), slope and intercept of the line for one feature
        has_intercept: whether the line may miss 0
        trained_weight: (epochs + 1,), what the history calls `weight`; for several features, their
            Euclidean norm
        least_squares_loss: the smallest possible loss
        least_squares_weight: comparable to trained_weight
        true_weight: the slope of the true line through 0, known only for simulated data
        predicted: (m,), for test rows, after training
        residuals: (m,), the target of the test rows minus `predicted`
        n_train: the number of all training rows, n or more
        n_test: the number of all test rows, m or more
    """

    X: np.ndarray
    y: np.ndarray
    features: Sequence[str]
    target: str
    losses: np.ndarray
    valid_losses: np.ndarray
    predict: Callable[[np.ndarray, np.ndarray], np.ndarray]
    lines: np.ndarray
    has_intercept: bool
    trained_weight: np.ndarray
    least_squares_loss: float
    least_squares_weight: float
    true_weight: float | None
    predicted: np.ndarray
    residuals: np.ndarray
    n_train: int
    n_test: int


def weight_name(data: RegressionData) -> str:
    """Return what trained_weight is."""
    return "weight" if data.X.shape[1] == 1 else "norm of the weights"


def point_axes(figure: Figure, data: RegressionData) -> tuple[Axes, Line2D]:
    """Return axes with the training points against the one feature, and the points."""
    axes = figure.subplots()
    xlabel, ylabel = truncate([data.features[0], data.target])
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return axes, plot_points(axes, data, 0)


def plot_points(axes: Axes, data: RegressionData, feature: int) -> Line2D:
    """Plot the training points against a feature, a column of X, and return them."""
    label = point_label(len(data.y), data.n_train, "training points")
    (points,) = axes.plot(
        *(data.X[:, feature], data.y, MARKERS[0]), color=COLORS[4], label=label, **POINTS
    )
    return points


def data_figure(data: RegressionData) -> Figure:
    """Return a figure of the target against each feature, PANELS features at most."""
    features, (target,) = truncate(data.features), truncate([data.target])
    if len(features) == 1:
        figure = new_figure(WIDE)
        axes, points = point_axes(figure, data)
        axes.set_title("Regression: the data")
    else:
        n_panels = min(len(features), PANELS)
        note = some_of(n_panels, len(features), "features")
        figure, grid = panels(n_panels, f"Regression: {target} against each feature{note}")
        for feature, (axes, name) in enumerate(zip(grid, features, strict=False)):
            points = plot_points(axes, data, feature)
            axes.set_title(name)

    add_legends(figure, ("", [points]))
    return figure


def equation(slope: float, intercept: float | None, spread: float = 1.0) -> str:
    """Return the equation of a line as a legend shows it.

    An intercept has six digits, and as many more as it takes to see a `spread` of y next to it.
    """
    if intercept is None:
        return f"y = {slope:.6g} x"
    digits = 6
    if abs(intercept) > spread > 0:
        digits += math.floor(math.log10(abs(intercept) / spread))
    return f"y = {slope:.6g} x {'-' if intercept < 0 else '+'} {abs(intercept):.{digits}g}"


def line_ends(data: RegressionData) -> np.ndarray:
    """Return the smallest and the largest value of the one feature, (2, 1)."""
    return np.array([[data.X.min()], [data.X.max()]])


def line_figure(data: RegressionData, epoch: int, title: str) -> Figure:
    """Return a figure of the points, the fitted line after `epoch` and the true line if known."""
    ends = line_ends(data)
    slope, intercept = data.lines[epoch].tolist()
    text = equation(slope, intercept if data.has_intercept else None, float(data.y.std()))
    figure = new_figure(WIDE)
    axes, points = point_axes(figure, data)
    (y_hat,) = data.predict(np.array([epoch]), ends)
    lines = axes.plot(ends[:, 0], y_hat, label=f"fitted line: {text}", **FITTED)
    if data.true_weight is not None:
        label = f"true line: {equation(data.true_weight, None)}"
        lines += axes.plot(ends[:, 0], data.true_weight * ends[:, 0], label=label, **IDEAL)
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
    (y_hat,) = data.predict(np.array([epoch]), data.X)
    figure = new_figure(WIDE)
    label = point_label(len(data.y), data.n_train, "training points")
    axes, lines = prediction_axes(figure, data.y, y_hat, label)
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
    ends = line_ends(data)
    figure = new_figure(WIDE)
    figure.set_dpi(ANIMATION_DPI)
    axes, points = point_axes(figure, data)
    (line,) = axes.plot(ends[:, 0], np.full(2, data.y[0]), label="fitted line", **FITTED)
    add_legends(figure, ("", [points, line]))
    frames = [(ends[:, 0], y_hat) for y_hat in data.predict(epochs, ends)]
    return Animation(figure, line, frames, frame_titles(data, epochs))


def predictions_animation(data: RegressionData) -> Animation:
    """Return an animation of predicted against true values."""
    epochs = frame_indices(len(data.losses))
    predictions = data.predict(epochs, data.X)
    figure = new_figure(WIDE)
    figure.set_dpi(ANIMATION_DPI)
    label = point_label(len(data.y), data.n_train, "training points")
    _, lines = prediction_axes(figure, data.y, predictions, label)
    add_legends(figure, ("", lines))
    frames = [(data.y, y_hat) for y_hat in predictions]
    return Animation(figure, lines[0], frames, frame_titles(data, epochs))


def training_figure(data: RegressionData) -> Figure:
    """Return a figure of loss and weight against the epoch, beside those of least squares."""
    loss = ("least squares", data.least_squares_loss)
    weight = ("least squares", data.least_squares_weight)
    return curves_figure(
        "Regression: training",
        [
            Curve("loss", data.losses, loss, data.valid_losses),
            Curve(weight_name(data), data.trained_weight, weight),
        ],
    )


def residuals_figure(data: RegressionData) -> Figure:
    """Return a figure of what is left of the target against the prediction, of the test points."""
    figure = new_figure(WIDE)
    axes = figure.subplots()
    label = point_label(len(data.residuals), data.n_test, "test points")
    (points,) = axes.plot(
        *(data.predicted, data.residuals, MARKERS[0]),
        **(POINTS | {"color": COLORS[0], "label": label}),
    )
    exact = axes.axhline(0, label="predicted = true", **IDEAL)
    axes.set(
        xlabel="predicted value",
        ylabel="true value - predicted value",
        title="Regression: residuals of the test points",
    )
    add_legends(figure, ("", [points, exact]))
    return figure


def draw(folder: str, data: RegressionData) -> None:
    """Write the figures of the regression to `folder`."""
    animation = line_animation if data.X.shape[1] == 1 else predictions_animation
    with figure_style():
        save(data_figure(data), f"{folder}/regression_data.png")
        save(fit_figure(data, 0, "before"), f"{folder}/regression_before.png")
        save(fit_figure(data, -1, "after"), f"{folder}/regression_after.png")
        save(residuals_figure(data), f"{folder}/regression_residuals.png")
        save(training_figure(data), f"{folder}/regression_curves.png")
        save_animation(animation(data), f"{folder}/regression_animation.gif")
