"""A model file as a function from tables to tables; nothing in the file is executed."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import torch
from torch import Tensor

from stages.core.errors import UserError
from stages.core.files import atomic_write
from stages.shared.linear import predict_linear
from stages.shared.metadata import Metadata
from stages.shared.models import load_classifier, load_regression
from stages.shared.table_files import column_names, read_chunks
from stages.shared.tables import to_float64
from stages.shared.tensors import load_tensors


class Model(Protocol):
    """What the file of a model describes, and its predictions."""

    metadata: Metadata

    def predict(self, X: Tensor) -> dict[str, pa.Array]:
        """Return the output's columns for scaled features, float64 (n, n_features)."""
        ...


class Regression:
    """The model that train_regression wrote."""

    def __init__(self, path: str) -> None:
        """Read the model."""
        self.weight, self.bias, self.metadata = load_regression(path)

    def predict(self, X: Tensor) -> dict[str, pa.Array]:
        """Return the column `prediction`."""
        return {"prediction": pa.array(predict_linear(X, self.weight, self.bias).numpy())}


class Classifier:
    """The model that train_classifier wrote."""

    def __init__(self, path: str) -> None:
        """Read the model."""
        self.network, self.metadata = load_classifier(path)
        self.labels = pa.array(self.metadata.labels)

    def predict(self, X: Tensor) -> dict[str, pa.Array]:
        """Return the columns `prediction` and `probability_<label>` for each class."""
        logits = self.network[:-1](X.float().double())  # the tensors' features are float32
        columns = {"prediction": self.labels.take(pa.array(logits.argmax(dim=1).numpy()))}
        probabilities = self.network[-1](logits).numpy()
        for number, label in enumerate(self.metadata.labels):
            column = np.ascontiguousarray(probabilities[:, number])
            columns[f"probability_{label}"] = pa.array(column)
        return columns


def load(path: str) -> Model:
    """Return the model in a file.

    Raises UserError for a file that is corrupted or not a model of this pipeline.
    """
    torch.set_num_threads(1)
    try:
        _, metadata = load_tensors(path)
        return Regression(path) if metadata.task == "regression" else Classifier(path)
    except (UserError, KeyError, OverflowError, UnicodeError):
        raise UserError(
            f"{path} must be a model that train_regression or train_classifier wrote; it is not, "
            "or it is corrupted."
        ) from None


def check_columns(model: Model, path: str) -> None:
    """Raise UserError if the table at `path` lacks a feature of the model."""
    features, names = model.metadata.features, column_names(path)
    lacking = [name for name in features if name not in names]
    if lacking:
        raise UserError(
            f"{path} must have the columns {{{', '.join(features)}}}, from which the model "
            f"predicts {model.metadata.target}; it lacks {', '.join(lacking)}."
        )


@torch.no_grad()
def predict_batch(model: Model, X: np.ndarray) -> pa.RecordBatch:
    """Return the output for X, float64 (n, n_features), as in the table."""
    scaling = model.metadata.scaling
    values = X if scaling is None else scaling.transform(X)
    return pa.RecordBatch.from_pydict(model.predict(torch.from_numpy(values)))


def predict_table(model: Model, path: str) -> Iterator[pa.RecordBatch]:
    """Yield the output for each chunk of the table at `path`.

    Raises UserError for a value that is not a number.
    """
    features, first_row = model.metadata.features, 1
    for batch in read_chunks(path, features):
        columns = [to_float64(batch.column(name), path, name, first_row) for name in features]
        yield predict_batch(model, np.stack(columns, axis=1))
        first_row += len(batch)


def write(output: str | None, model: Model, path: str) -> int:
    """Write the predictions for the table at `path`; return the number of rows.

    They go to the file `output`, whole or not at all, or to standard output if that is None.
    """
    schema = predict_batch(model, np.empty((0, len(model.metadata.features)))).schema
    n_rows = 0
    with ExitStack() as stack:
        target = stack.enter_context(atomic_write(output)) if output else sys.stdout.buffer
        new_writer = pq.ParquetWriter if output and output.endswith(".parquet") else pacsv.CSVWriter
        writer = stack.enter_context(new_writer(target, schema))
        for batch in predict_table(model, path):
            writer.write_batch(batch)
            n_rows += len(batch)
    return n_rows
