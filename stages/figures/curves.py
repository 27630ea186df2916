"""Curves against the epoch: loss, weight, accuracy, and every optimizer beside all others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter, MaxNLocator

from stages.figures.style import (
    COLORS,
    FITTED,
    IDEAL,
    add_height,
    add_legends,
    figure_style,
    label_lowest,
    legend_columns,
    new_figure,
    panels,
    save,
    truncate,
)

LOG_SPAN = 100  # largest over smallest value, from which an axis is logarithmic
MARKED = 20  # epochs, up to which each has a marker
VALIDATION: dict[str, Any] = {"color": COLORS[0], "linestyle": "-.", "linewidth": 1.6}
CONTEXT: dict[str, Any] = {"color": "#d4d4d4", "linewidth": 1.0}
LOSSES: tuple[dict[str, Any], ...] = ({"color": COLORS[0]}, {"color": COLORS[1], "linestyle": "--"})
TARGET: dict[str, Any] = {"color": "#555555", "linestyle": ":", "linewidth": 1.6}


@dataclass(frozen=True)
class Curve:
    """Values by epoch, (epochs + 1,), and what they approach: (label, value) or None.

    `valid` are those of the validation rows, if there are any.
    """

    name: str
    values: np.ndarray
    reference: tuple[str, float] | None
    valid: np.ndarray | None = None


def spans_decades(values: np.ndarray) -> bool:
    """Return whether `values` are positive and some are LOG_SPAN times as large as others."""
    return bool(values.min() > 0 and values.max() / values.min() >= LOG_SPAN)


def write_plainly(axis: Axis) -> None:
    """Label a logarithmic axis with plain numbers; Matplotlib's own labels are formulas."""
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(LogFormatter())


def draw_curve(axes: Axes, curve: Curve) -> None:
    """Draw a curve with its reference line and a legend below the axes."""
    drawn = [curve.values]
    marker = "o" if len(curve.values) <= MARKED else ""
    name = curve.name if curve.valid is None else "training"
    lines = axes.plot(curve.values, marker=marker, label=name, **FITTED)
    if curve.valid is not None:
        lines += axes.plot(curve.valid, marker=marker, label="validation", **VALIDATION)
        drawn.append(curve.valid)
    if curve.reference is not None:
        label, value = curve.reference
        lines.append(axes.axhline(value, label=f"{label}: {value:.6g}", **IDEAL))
        drawn.append(np.array([value]))
    axes.set(title=curve.name.capitalize(), xlabel="epoch")
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    if spans_decades(np.concatenate(drawn)):
        axes.set_yscale("log")
        write_plainly(axes.yaxis)
    n_columns = 2
    if curve.valid is None:  # else the names are short, and one below the other need three rows
        width = axes.bbox.width / axes.figure.dpi
        n_columns = legend_columns([str(line.get_label()) for line in lines], width)
    axes.legend(handles=lines, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=n_columns)


def curves_figure(title: str, curves: Sequence[Curve]) -> Figure:
    """Return a figure with one panel a curve, side by side."""
    figure = new_figure((4.8 * len(curves), 4.3), top=0.7)
    add_height(figure, 0.5)
    figure.subplots_adjust(wspace=0.25)
    figure.suptitle(title)
    grid = figure.subplots(1, len(curves), squeeze=False).ravel()
    for axes, curve in zip(grid, curves, strict=True):
        draw_curve(axes, curve)
    return figure


def plot_accuracy(axes: Axes, accuracies: np.ndarray, style: dict[str, Any]) -> None:
    """Plot the median of accuracies, (n_seeds, epochs + 1), against epoch + 1."""
    axes.plot(np.arange(1, accuracies.shape[1] + 1), np.median(accuracies, axis=0), **style)


def draw_optimizer(
    axes: Axes, name: str, curves: Mapping[str, Mapping[str, np.ndarray]], target: float
) -> None:
    """Draw the accuracy of optimizer `name` with each loss before those of all others in gray.

    A line is the median over seeds, and the band around it reaches from the lowest to the highest.
    """
    for by_name in curves.values():
        for accuracies in (by_name[other] for other in by_name if other != name):
            plot_accuracy(axes, accuracies, CONTEXT)
    axes.axhline(target, **TARGET)
    for by_name, style in zip(curves.values(), LOSSES, strict=False):
        if name in by_name:
            plot_accuracy(axes, by_name[name], style)
            low, high = by_name[name].min(axis=0), by_name[name].max(axis=0)
            epochs = np.arange(1, len(low) + 1)
            axes.fill_between(epochs, low, high, color=style["color"], alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    write_plainly(axes.xaxis)


def optimizers_figure(
    curves: Mapping[str, Mapping[str, np.ndarray]], target: float, lr: float
) -> Figure:
    """Return a figure with one panel an optimizer."""
    names = list(dict.fromkeys(name for by_name in curves.values() for name in by_name))
    title = f"Validation accuracy by optimizer, learning rate {lr:g}: median and range over seeds"
    figure, grid = panels(len(names), title)
    for axes, name, title in zip(grid, names, truncate(names), strict=True):
        draw_optimizer(axes, name, curves, target)
        axes.set_title(title)
    label_lowest(grid, "epoch + 1")
    losses = [
        Line2D([], [], label=f"loss on {loss_on}", **style)
        for loss_on, style in zip(curves, LOSSES, strict=False)
    ]
    others = Line2D([], [], label="other optimizers", **CONTEXT)
    goal = Line2D([], [], label=f"target: {target:.4g}", **TARGET)
    add_legends(figure, ("", [*losses, others, goal]))
    return figure


def draw_optimizers(
    path: str, curves: Mapping[str, Mapping[str, np.ndarray]], target: float, lr: float
) -> None:
    """Draw accuracy against epoch for every optimizer and loss.

    `curves` has, for each of one or two losses, the accuracies of each optimizer by seed and epoch,
    (n_seeds, epochs + 1); a dotted line marks the `target`.
    """
    with figure_style():
        save(optimizers_figure(curves, target, lr), path)
