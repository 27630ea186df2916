"""A model file as a function from tables to tables; nothing in the file is executed."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import torch
from torch import Tensor

from stages.core.errors import UserError
from stages.core.files import atomic_write
from stages.core.params import did_you_mean, shorten
from stages.shared.encoding import count_unknown, encode_all
from stages.shared.linear import predict_linear
from stages.shared.metadata import Metadata
from stages.shared.models import load_classifier, load_regression
from stages.shared.rounding import round_to_scale
from stages.shared.table_files import column_names, read_chunks
from stages.shared.tables import is_missing, location, to_float64, to_texts
from stages.shared.tensors import load_tensors

DIGITS = 9  # of a predicted number with an offset, which float32 may not hold


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
        """Return the column `prediction`, in the units of the target.

        float32, as the weights are stored. With a bias or the target's mean, which may be large,
        float64, rounded to nine digits of what the features add to them.
        """
        y_hat = predict_linear(X, self.weight, None).numpy()
        mean = self.metadata.target_mean
        if self.bias is None and mean is None:
            return {"prediction": pa.array(y_hat.astype(np.float32))}
        offset = (0.0 if self.bias is None else self.bias.item()) + (mean or 0.0)
        return {"prediction": pa.array(round_to_scale(y_hat + offset, y_hat, DIGITS))}


class Classifier:
    """The model that train_classifier wrote."""

    def __init__(self, path: str) -> None:
        """Read the model."""
        self.network, self.metadata = load_classifier(path)
        self.labels = pa.array(self.metadata.labels)

    def predict(self, X: Tensor) -> dict[str, pa.Array]:
        """Return the columns `prediction` and `probability_<label>`, float32, for each class."""
        logits = self.network[:-1](X.float().double())  # the tensors' features are float32
        columns = {"prediction": self.labels.take(pa.array(logits.argmax(dim=1).numpy()))}
        probabilities = self.network[-1](logits).numpy().astype(np.float32)
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


def check_columns(model: Model, path: str, keep: Sequence[str]) -> None:
    """Raise UserError if the table at `path` lacks a column of the model, or one to keep."""
    names = column_names(path)
    needed = [column.name for column in model.metadata.columns]
    lacking = [name for name in needed if name not in names]
    if lacking:
        raise UserError(
            f"{path} must have the columns {shorten(needed)}, from which the model predicts "
            f"{model.metadata.target}; it lacks {shorten(lacking)}."
        )
    output = predict_features(model, np.empty((0, len(model.metadata.features)))).keys()
    for name in keep:
        if name not in names:
            raise UserError(
                f"--keep must name columns of {path}, which has no {name!r}; it has "
                f"{shorten(names)}." + did_you_mean(name, names)
            )
        if name in output:
            raise UserError(
                f"--keep cannot keep {name!r}, which is a column of the output; rename it."
            )


@torch.no_grad()
def predict_features(model: Model, X: np.ndarray) -> dict[str, pa.Array]:
    """Return the output's columns for X, float64 (n, n_features), as in the table.

    A row with a feature that is nan has no prediction.
    """
    scaling = model.metadata.scaling
    values = X if scaling is None else scaling.transform(X)
    is_known = ~np.isnan(values).any(axis=1)
    columns = model.predict(torch.from_numpy(values[is_known]))
    if is_known.all():
        return columns
    rows = np.full(len(X), -1)
    rows[is_known] = np.arange(is_known.sum())
    indices = pa.array(rows, mask=~is_known)
    return {name: column.take(indices) for name, column in columns.items()}


def predict_table(
    model: Model, path: str, keep: Sequence[str], counts: Counter[str]
) -> Iterator[pa.RecordBatch]:
    """Yield the output for each chunk of the table at `path`; count in `counts` what was unusual.

    Raises UserError for a value that is not a number, or that is missing where the model was
    trained with `missing: refuse`.
    """
    columns, first_row = model.metadata.columns, 1
    names = dict.fromkeys([*(column.name for column in columns), *keep])
    for batch in read_chunks(path, list(names)):
        values = []
        for column in columns:
            read = batch.column(column.name)
            if column.categories:
                values.append(to_texts(read))
                counts[f"{column.name}: unknown categories, taken as none of the known"] += (
                    count_unknown(column, values[-1])
                )
            else:
                values.append(to_float64(read, path, column.name, first_row))
            missing = is_missing(values[-1])
            if missing.any() and model.metadata.missing == "refuse":
                row = first_row + int(missing.argmax())
                raise UserError(
                    f"{location(path, column.name, row)} has a missing value, and the model was "
                    "trained without any; train it with missing: impute, or correct the table."
                )
            done = "filled in" if column.fill is not None else "without a prediction"
            counts[f"{column.name}: missing values, {done}"] += int(missing.sum())
        kept = {name: batch.column(name) for name in keep}
        predicted = predict_features(model, encode_all(columns, values))
        yield pa.RecordBatch.from_pydict(kept | predicted)
        first_row += len(batch)


def write(
    output: str | None, model: Model, path: str, keep: Sequence[str], counts: Counter[str]
) -> int:
    """Write the predictions for the table at `path`; return the number of rows.

    They go to the file `output`, whole or not at all, or to standard output if that is None.
    """
    batches = predict_table(model, path, keep, counts)
    first = next(batches, None)
    if first is None:
        columns = predict_features(model, np.empty((0, len(model.metadata.features))))
        kept = dict.fromkeys(keep, pa.array([], pa.string()))
        first = pa.RecordBatch.from_pydict(kept | columns)
    n_rows = 0
    with ExitStack() as stack:
        target = stack.enter_context(atomic_write(output)) if output else sys.stdout.buffer
        new_writer = pq.ParquetWriter if output and output.endswith(".parquet") else pacsv.CSVWriter
        writer = stack.enter_context(new_writer(target, first.schema))
        for batch in chain([first], batches):
            writer.write_batch(batch)
            n_rows += len(batch)
    return n_rows
