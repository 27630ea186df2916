"""The loops that the stages' trainings are compared with, written without functions around them.

All train the same models on the same tensors and record the same numbers: the loss, and for the
classifier the share of correct predictions. They and the stages run in this process, in one thread.
"""

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, TensorDataset

from tools.bench.copies import set_params
from tools.bench.epochs import epochs_alone
from tools.bench.measuring import Timed

History = list[tuple[float, ...]]
CHUNK = 65536  # rows of a full batch in one piece: small enough for the processor's cache
REGRESSION_LR = 0.1
CLASSIFIER_LR = 1e-3


def stage_passes(folder: Path, stage: str, passes: int, settings: Mapping[str, Any]) -> Timed:
    """Return a function that returns the seconds of `passes` epochs of a stage, in a copy."""
    set_params(folder, settings)

    def seconds() -> float:
        with contextlib.chdir(folder):
            return epochs_alone(stage, passes)

    return seconds


# Regression ---------------------------------------------------------------------------------------


def regression_in_chunks(x: Tensor, y: Tensor, passes: int, size: int) -> History:
    """Train with the full batch, whose gradients add up over chunks of `size` rows."""
    weight = torch.tensor(0.1, dtype=x.dtype, requires_grad=True)
    optimizer = optim.SGD([weight], lr=REGRESSION_LR)
    history: History = []
    for epoch in range(passes):
        optimizer.zero_grad()
        total = 0.0
        for start in range(0, len(x), size):
            y_hat = x[start : start + size] * weight
            loss = nn.functional.mse_loss(y_hat, y[start : start + size], reduction="sum") / len(x)
            loss.backward()
            total += loss.item()
        optimizer.step()
        history.append((epoch, total, weight.item()))
    return history


def regression_in_slices(x: Tensor, y: Tensor, passes: int, size: int, shuffled: bool) -> History:
    """Train in batches of `size` rows, slices of the tensors or of a permutation."""
    weight = torch.tensor(0.1, dtype=x.dtype, requires_grad=True)
    optimizer = optim.SGD([weight], lr=REGRESSION_LR)
    loss_function = nn.MSELoss()
    history: History = []
    for epoch in range(passes):
        order = torch.randperm(len(x)) if shuffled else None
        total = 0.0
        for start in range(0, len(x), size):
            rows = slice(start, start + size) if order is None else order[start : start + size]
            y_batch = y[rows]
            loss = loss_function(x[rows] * weight, y_batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(y_batch)
        history.append((epoch, total / len(x), weight.item()))
    return history


def regression_in_loader(x: Tensor, y: Tensor, passes: int, size: int) -> History:
    """Train in shuffled batches of a DataLoader."""
    weight = torch.tensor(0.1, dtype=x.dtype, requires_grad=True)
    optimizer = optim.SGD([weight], lr=REGRESSION_LR)
    loss_function = nn.MSELoss()
    loader = DataLoader(TensorDataset(x, y), batch_size=size, shuffle=True)
    history: History = []
    for epoch in range(passes):
        total = 0.0
        for x_batch, y_batch in loader:
            loss = loss_function(x_batch * weight, y_batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(y_batch)
        history.append((epoch, total / len(x), weight.item()))
    return history


# Classifier ---------------------------------------------------------------------------------------


def new_network(dtype: torch.dtype) -> nn.Sequential:
    """Return the network without its softmax: all ways train on the logits."""
    network = nn.Sequential(nn.Linear(2, 10), nn.BatchNorm1d(10), nn.ReLU(), nn.Linear(10, 2))
    return network.to(dtype)


def classifier_in_slices(X: Tensor, y: Tensor, passes: int, size: int, shuffled: bool) -> History:
    """Train in batches of `size` rows, slices of the tensors or of a permutation."""
    network = new_network(X.dtype)
    optimizer = optim.RMSprop(network.parameters(), lr=CLASSIFIER_LR)
    loss_function = nn.CrossEntropyLoss()
    history: History = []
    for epoch in range(passes):
        order = torch.randperm(len(X)) if shuffled else None
        total, correct = 0.0, 0
        for start in range(0, len(X), size):
            rows = slice(start, start + size) if order is None else order[start : start + size]
            y_batch = y[rows]
            output = network(X[rows])
            loss = loss_function(output, y_batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(y_batch)
            correct += int((output.argmax(dim=1) == y_batch).sum().item())
        history.append((epoch, total / len(X), correct / len(X)))
    return history


def classifier_in_loader(X: Tensor, y: Tensor, passes: int, size: int) -> History:
    """Train in shuffled batches of a DataLoader."""
    network = new_network(X.dtype)
    optimizer = optim.RMSprop(network.parameters(), lr=CLASSIFIER_LR)
    loss_function = nn.CrossEntropyLoss()
    loader = DataLoader(TensorDataset(X, y), batch_size=size, shuffle=True)
    history: History = []
    for epoch in range(passes):
        total, correct = 0.0, 0
        for X_batch, y_batch in loader:
            output = network(X_batch)
            loss = loss_function(output, y_batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(y_batch)
            correct += int((output.argmax(dim=1) == y_batch).sum().item())
        history.append((epoch, total / len(X), correct / len(X)))
    return history


# The article's size, with validation at every epoch -----------------------------------------------


def article_regression(tensors: Mapping[str, Tensor], passes: int) -> History:
    """Train one weight with the full batch, and measure the validation rows at every epoch."""
    x, y, x_valid, y_valid = (
        tensors[name] for name in ("x_train", "y_train", "x_valid", "y_valid")
    )
    weight = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    loss_function = nn.MSELoss(reduction="sum")
    optimizer = optim.SGD([weight], lr=1e-4)
    history: History = []
    for epoch in range(passes):
        loss = loss_function(x * weight, y)
        with torch.no_grad():
            valid_loss = loss_function(x_valid * weight, y_valid)
        history.append((epoch, loss.item(), valid_loss.item(), weight.item()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return history


def article_classifier(tensors: Mapping[str, Tensor], passes: int) -> History:
    """Train the network with the full batch, and measure the validation rows at every epoch."""
    X, X_valid = tensors["X_train"].double(), tensors["X_valid"].double()
    y, y_valid = tensors["y_train"], tensors["y_valid"]
    softmax = nn.Softmax(dim=1)
    network = nn.Sequential(*new_network(torch.float64), softmax)
    first, norm, relu, last, _ = network
    assert isinstance(norm, nn.BatchNorm1d)
    optimizer = optim.RMSprop(network.parameters(), lr=CLASSIFIER_LR)
    loss_function = nn.CrossEntropyLoss()
    history: History = []
    for epoch in range(passes):
        output = network(X)
        loss = loss_function(output, y)
        accuracy = (output.argmax(dim=1) == y).double().mean().item()
        with torch.no_grad():
            variance, mean = torch.var_mean(first(X), dim=0, correction=0)
            normal = nn.functional.batch_norm(
                first(X_valid), mean, variance, norm.weight, norm.bias, eps=norm.eps
            )
            output = softmax(last(relu(normal)))
            valid_loss = loss_function(output, y_valid).item()
            valid_accuracy = (output.argmax(dim=1) == y_valid).double().mean().item()
        history.append((epoch, loss.item(), accuracy, valid_loss, valid_accuracy))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return history


# The limit ----------------------------------------------------------------------------------------


def bandwidth(n_values: int, rounds: int) -> float:
    """Return how many bytes of memory one thread reads in a second: the best of dot products."""
    a, b = torch.ones(2, n_values, dtype=torch.float64)
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        torch.dot(a, b)
        seconds.append(time.perf_counter() - start)
    return 16 * n_values / min(seconds[1:])
