"""The article's two training loops without torch, to compare with: NumPy and nothing else."""

from functools import cache

import numpy as np

from conftest import params_of
from stages.generate_data import simulate_classification, simulate_regression


@cache
def regression_data() -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of the article's training points, float64 (1000,)."""
    section = params_of("generate_data")
    chunks = simulate_regression(section.seed, section.regression)
    columns = next(chunk for split, chunk in chunks if split == "train")
    return columns["x"], columns["y"]


@cache
def classification_data(part: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """Return X (2000, 2), as float32 holds it, and y (2000,) of the article's points in a part."""
    section = params_of("generate_data")
    chunks = simulate_classification(section.seed, section.classification)
    columns = [chunk for split, chunk in chunks if split == part]
    X = np.concatenate([np.stack([chunk["x1"], chunk["x2"]], axis=1) for chunk in columns])
    y = np.concatenate([chunk["label"] for chunk in columns])
    return X.astype("float32").astype("float64"), y


def train_regression(
    x: np.ndarray, y: np.ndarray, weight: float, epochs: int, lr: float
) -> np.ndarray:
    """Return the rows (epoch, loss, weight) of gradient descent on the sum of squared errors."""
    rows = []
    for epoch in range(epochs + 1):
        residual = weight * x - y
        rows.append((epoch, (residual**2).sum(), weight))
        weight -= lr * 2 * (residual * x).sum()
    return np.array(rows)


def softmax(z: np.ndarray) -> np.ndarray:
    """Return probabilities from logits, both (n, n_classes)."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def train_classifier(
    X: np.ndarray,
    y: np.ndarray,
    parameters: list[np.ndarray],
    epochs: int,
    loss_on: str = "probabilities",
    lr: float = 1e-3,
) -> tuple[np.ndarray, list[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Train the network: forward, backward, BatchNorm and RMSprop by hand.

    `parameters` are W1 (10, 2), b1, gamma, beta (10,), W2 (2, 10), b2 (2,). Returns the rows
    (epoch, loss, accuracy) after 0 to `epochs` updates, the trained parameters, and BatchNorm's
    running mean and variance.
    """
    W1, b1, gamma, beta, W2, b2 = (values.copy() for values in parameters)
    n, targets = len(y), np.eye(len(b2))[y]
    trained = (W1, gamma, beta, W2, b2)
    squares = [np.zeros_like(values) for values in trained]
    running_mean, running_var = np.zeros(len(b1)), np.ones(len(b1))
    rows = []
    for epoch in range(epochs + 1):
        a = X @ W1.T + b1
        mean, var = a.mean(axis=0), a.var(axis=0)
        normal = (a - mean) / np.sqrt(var + 1e-5)
        h = np.maximum(gamma * normal + beta, 0)
        z = h @ W2.T + b2
        p = softmax(z)
        q = softmax(p) if loss_on == "probabilities" else p
        rows.append((epoch, -np.log(q[np.arange(n), y]).mean(), (z.argmax(axis=1) == y).mean()))
        if epoch == epochs:
            break
        running_mean = 0.9 * running_mean + 0.1 * mean
        running_var = 0.9 * running_var + 0.1 * var * n / (n - 1)
        d = (q - targets) / n
        if loss_on == "probabilities":
            d = p * (d - (d * p).sum(axis=1, keepdims=True))
        dW2, db2 = d.T @ h, d.sum(axis=0)
        dh = (d @ W2) * (h > 0)
        dgamma, dbeta = (dh * normal).sum(axis=0), dh.sum(axis=0)
        dn = dh * gamma
        da = (dn - dn.mean(axis=0) - normal * (dn * normal).mean(axis=0)) / np.sqrt(var + 1e-5)
        gradients = (da.T @ X, dgamma, dbeta, dW2, db2)
        for values, gradient, square in zip(trained, gradients, squares, strict=True):
            square *= 0.99
            square += 0.01 * gradient * gradient
            values -= lr * gradient / (np.sqrt(square) + 1e-8)
    return np.array(rows), [W1, b1, gamma, beta, W2, b2], (running_mean, running_var)


def predict(
    X: np.ndarray, parameters: list[np.ndarray], running: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Return the most probable class of X, (n, 2), by the running mean and variance."""
    W1, b1, gamma, beta, W2, b2 = parameters
    normal = (X @ W1.T + b1 - running[0]) / np.sqrt(running[1] + 1e-5)
    return (np.maximum(gamma * normal + beta, 0) @ W2.T + b2).argmax(axis=1)
