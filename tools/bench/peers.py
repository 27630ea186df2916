"""Lightning, skorch and scikit-learn: the ways of training that need an environment of their own.

    python peers.py

It reads lines of JSON from standard input, {"way": ..., "folder": ..., "task": ..., "size": ...,
"passes": ..., "dtype": ...}, and for each prints the seconds that the training took on x.npy and
y.npy, or X.npy and labels.npy, of that folder. It imports nothing of the project.
"""

import json
import logging
import sys
import time
import warnings
from pathlib import Path

import lightning
import numpy as np
import torch
from sklearn.linear_model import SGDRegressor
from sklearn.neural_network import MLPClassifier
from skorch import NeuralNetClassifier, NeuralNetRegressor
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, TensorDataset

Array = np.ndarray
DATA = {"regression": ("x", "y"), "classifier": ("X", "labels")}
REGRESSION_LR, CLASSIFIER_LR = 0.1, 1e-3


class Line(nn.Module):
    """One weight."""

    def __init__(self) -> None:
        """Start at 0.1."""
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the predictions."""
        return x * self.weight


def new_model(task: str) -> nn.Module:
    """Return the model that all ways train."""
    if task == "regression":
        return Line()
    return nn.Sequential(nn.Linear(2, 10), nn.BatchNorm1d(10), nn.ReLU(), nn.Linear(10, 2))


class Module(lightning.LightningModule):
    """The model of a task, for Lightning."""

    def __init__(self, task: str) -> None:
        """Make the model."""
        super().__init__()
        self.task, self.model = task, new_model(task)
        self.loss_function = nn.MSELoss() if task == "regression" else nn.CrossEntropyLoss()

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Return the loss of a batch, which Lightning also averages over the epoch."""
        X, y = batch
        loss = self.loss_function(self.model(X), y)
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> optim.Optimizer:
        """Return the optimizer."""
        if self.task == "regression":
            return optim.SGD(self.parameters(), lr=REGRESSION_LR)
        return optim.RMSprop(self.parameters(), lr=CLASSIFIER_LR)


def train_lightning(task: str, X: Array, y: Array, size: int, passes: int) -> None:
    """Train with a Trainer that logs, saves and shows nothing."""
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=passes,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    tensors = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    loader = DataLoader(tensors, batch_size=size, shuffle=True)
    trainer.fit(Module(task).to(tensors.tensors[0].dtype), loader)


def train_skorch(task: str, X: Array, y: Array, size: int, passes: int) -> None:
    """Train without the split and the lines that skorch makes by default."""
    is_regression = task == "regression"
    net = (NeuralNetRegressor if is_regression else NeuralNetClassifier)(
        new_model(task).to(torch.from_numpy(X[:1]).dtype),
        criterion=nn.MSELoss if is_regression else nn.CrossEntropyLoss,
        optimizer=optim.SGD if is_regression else optim.RMSprop,
        lr=REGRESSION_LR if is_regression else CLASSIFIER_LR,
        max_epochs=passes,
        batch_size=size,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )
    net.fit(X, y)


def train_sklearn(task: str, X: Array, y: Array, size: int, passes: int) -> None:
    """Train with scikit-learn's own model; the classifier's has no BatchNorm, and Adam."""
    if task == "regression":  # one row at a time, whatever the size
        model = SGDRegressor(max_iter=passes, tol=None, fit_intercept=False, penalty=None)
        X = X.reshape(-1, 1)
    else:
        model = MLPClassifier(
            hidden_layer_sizes=(10,),
            batch_size=size,
            max_iter=passes,
            tol=0,
            n_iter_no_change=passes + 1,
        )
    model.fit(X, y)


WAYS = {"Lightning": train_lightning, "skorch": train_skorch, "scikit-learn": train_sklearn}


def main() -> None:
    """Train as ordered, until standard input ends."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        X, y = (np.load(Path(order["folder"], f"{name}.npy")) for name in DATA[order["task"]])
        X = X.astype(order["dtype"])
        y = y.astype(order["dtype"]) if y.dtype.kind == "f" else y
        start = time.perf_counter()
        WAYS[order["way"]](order["task"], X, y, order["size"], order["passes"])
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
