"""The article in one flat script, in the working folder: what the pipeline is compared with.

    python article.py [--animation]

Data, tensors, both trainings with validation at every epoch, metrics and figures, with the
pipeline's default parameters and as a notebook would do it: NumPy, torch, Matplotlib, no
functions. Nothing is checked, rounded or reported, and the figures that only the pipeline has are
not drawn.
"""

import json
import sys

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.animation import FuncAnimation, PillowWriter
from torch import nn, optim

torch.set_num_threads(1)
generator = np.random.default_rng(0)

# Regression ---------------------------------------------------------------------------------------

points = np.linspace(0, 1, 1000)
targets = 2 * points + 0.3 * generator.standard_normal((3, 1000))
np.savetxt("regression.csv", np.column_stack([points, *targets]), delimiter=",")
x = torch.from_numpy(points)
y, y_valid, y_test = torch.from_numpy(targets)
weight = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
loss_function = nn.MSELoss(reduction="sum")
optimizer = optim.SGD([weight], lr=1e-4)
history = []
for epoch in range(101):
    loss = loss_function(x * weight, y)
    with torch.no_grad():
        valid_loss = loss_function(x * weight, y_valid)
    history.append((epoch, loss.item(), valid_loss.item(), weight.item()))
    if epoch < 100:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
torch.save(weight, "weight.pt")
np.savetxt("train_regression.csv", history, delimiter=",")
y_hat = (x * weight).detach()
metrics = {
    "mse": ((y_hat - y_test) ** 2).mean().item(),
    "mae": (y_hat - y_test).abs().mean().item(),
    "r2": 1 - ((y_hat - y_test) ** 2).sum().item() / ((y_test - y_test.mean()) ** 2).sum().item(),
    "least_squares": (x @ y / (x @ x)).item(),
}
for name, slope in (("data", None), ("before", 0.1), ("after", weight.item())):
    figure, axes = plt.subplots()
    axes.plot(x, y, "o", markersize=3)
    if slope is not None:
        axes.plot(x, slope * x, color="black")
    axes.set(xlabel="x", ylabel="y", title=name)
    figure.savefig(f"regression_{name}.png")
    plt.close(figure)
if "--animation" in sys.argv:
    figure, axes = plt.subplots()
    axes.plot(x, y, "o", markersize=3)
    (line,) = axes.plot(x, 0.1 * x, color="black")

    def draw(row: tuple[int, float, float, float]) -> None:
        """Draw a frame."""
        line.set_ydata(row[3] * x)
        axes.set_title(f"epoch {row[0]}: loss {row[1]:.4g}, weight {row[3]:.4f}")

    FuncAnimation(figure, draw, frames=history).save("animation.gif", writer=PillowWriter(fps=15))
    plt.close(figure)

# Classification -----------------------------------------------------------------------------------

labels = np.repeat([0, 1], 1000)
centers = np.array([[0.2, 0.2], [0.8, 0.8]])
clusters = centers[labels] + 0.25 * generator.standard_normal((3, 2000, 2))
np.savetxt("classification.csv", np.column_stack([*clusters, labels]), delimiter=",")
X, X_valid, X_test = torch.from_numpy(clusters)
y = torch.from_numpy(labels)
torch.manual_seed(0)
network = nn.Sequential(
    nn.Linear(2, 10), nn.BatchNorm1d(10), nn.ReLU(), nn.Linear(10, 2), nn.Softmax(dim=1)
).double()
loss_function = nn.CrossEntropyLoss()
optimizer = optim.RMSprop(network.parameters(), lr=1e-3)
history = []
predictions: dict[int | str, torch.Tensor] = {}
for epoch in range(52):
    output = network(X)
    loss = loss_function(output, y)
    accuracy = (output.argmax(dim=1) == y).double().mean()
    network.eval()
    with torch.no_grad():
        output = network(X_valid)
        valid_loss = loss_function(output, y)
        valid_accuracy = (output.argmax(dim=1) == y).double().mean()
        if epoch in (0, 1, 2, 3, 4, 10, 50):
            predictions[epoch] = network(X).argmax(dim=1)
    network.train()
    row = (loss, accuracy, valid_loss, valid_accuracy)
    history.append((epoch, *(value.item() for value in row)))
    if epoch < 51:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
torch.save(network.state_dict(), "network.pt")
np.savetxt("train_classifier.csv", history, delimiter=",")
network.eval()
with torch.no_grad():
    output = network(X_test)
    predictions["after"] = network(X).argmax(dim=1)
metrics["accuracy"] = (output.argmax(dim=1) == y).double().mean().item()
metrics["cross_entropy"] = loss_function(output, y).item()
for name, classes in (("data", y), ("before", predictions[0]), ("after", predictions["after"])):
    figure, axes = plt.subplots()
    for label, color in enumerate(("red", "blue")):
        axes.plot(*X[classes == label].T, "o", color=color, markersize=3)
    axes.set(xlabel="x1", ylabel="x2", title=name)
    figure.savefig(f"classification_{name}.png")
    plt.close(figure)
figure, grid = plt.subplots(2, 4, figsize=(10, 5))
for axes, (epoch, classes) in zip(grid.flat, predictions.items(), strict=False):
    for label, color in enumerate(("red", "blue")):
        axes.plot(*X[classes == label].T, "o", color=color, markersize=2)
    axes.set_title(f"epoch {epoch}")
figure.savefig("classification_epochs.png")
with open("metrics.json", "w", encoding="utf-8") as file:
    json.dump(metrics, file)
