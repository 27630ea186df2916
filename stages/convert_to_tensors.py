"""Convert the tables to tensors, and describe each tensor as the article does.

params.yaml, two tables -> data/tensors/regression.safetensors (x, y: float64 of shape (n,); x has
shape (n, n_features) for several features), data/tensors/classification.safetensors (X: float32 of
shape (n, n_features); y: int64 of shape (n,), the class numbers), both with a part to train on, one
to validate and one to test, and metrics/convert_to_tensors.json

A table with a column `split` (train, valid, test) keeps its split. With `standardize`, features are
scaled by the training part, and the target of a regression is centered.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from stages.core.errors import UserError
from stages.core.params import shorten
from stages.core.schema import ConvertToTensors, TableParams
from stages.shared.encoding import encode_all, fit_column
from stages.shared.metadata import (
    ClassificationTruth,
    FeatureColumn,
    Metadata,
    RegressionTruth,
)
from stages.shared.metrics import round_numbers, write_json
from stages.shared.partition import split
from stages.shared.preparation import count_rows, describe_preparation, describe_split
from stages.shared.rounding import merged_by_float32
from stages.shared.scaling import Scaling
from stages.shared.splits import SPLITS, TRAIN
from stages.shared.tables import Table, is_missing, read_table
from stages.shared.tensors import save_tensors

REGRESSION = "data/tensors/regression.safetensors"
CLASSIFICATION = "data/tensors/classification.safetensors"
METRICS = "metrics/convert_to_tensors.json"
LINE = 120  # characters that a line of output has at most

Tensors = dict[str, Tensor]
Truth = TypeVar("Truth", RegressionTruth, ClassificationTruth)


@dataclass(frozen=True)
class Converted:
    """The tensors of a task, their metadata, and what was done to the table.

    `counts` are metrics, with how the table was split; `notes` are (subject, text) for the report.
    """

    tensors: Tensors
    metadata: Metadata
    counts: dict[str, int | str]
    notes: list[tuple[str, str]]


def main(params: ConvertToTensors) -> None:
    """Run the stage."""
    section = params.convert_to_tensors
    regression = convert_regression(section.regression)
    classification = convert_classification(section.classification)
    save_tensors(REGRESSION, regression.tensors, regression.metadata)
    save_tensors(CLASSIFICATION, classification.tensors, classification.metadata)
    described = {
        path: [describe(name, tensor) for name, tensor in converted.tensors.items()]
        for path, converted in ((REGRESSION, regression), (CLASSIFICATION, classification))
    }
    content = {
        "convert_to_tensors": {
            "regression": regression.counts,
            "classification": classification.counts,
        },
        # Lists, which DVC's tables of metrics leave out.
        "preparation": {"regression": regression.notes, "classification": classification.notes},
        "tensors": described,
    }
    write_json(METRICS, content)
    for description in (item for items in described.values() for item in items):
        text = "{tensor}: {class} {dtype} {shape} {first_ten}".format_map(
            round_numbers(description)
        )
        print(text if len(text) <= LINE else f"{text[: LINE - 3]}...")
    n_tensors = len(regression.tensors) + len(classification.tensors)
    print(f"convert_to_tensors: {n_tensors} tensors from 2 tables")


def convert_regression(params: TableParams) -> Converted:
    """Return x and y of each split, float64; x is (n,), or (n, n_features) for several features.

    With `standardize`, the mean of the training targets is subtracted from y, too.
    """
    table = read_table(params, is_regression=True)
    if np.ptp(table.target) == 0:
        raise UserError(
            f"{table.path}: the target {params.target} must vary; it is {table.target[0]:g} in "
            "every row. Choose another target."
        )
    parts = split(params, table)
    columns = fit_columns(params, table, parts)
    X, scaling = scale(encode_all(columns, list(table.features.values())), parts, params)
    y, mean = center(table.target, parts) if params.standardize else (table.target, None)
    if X.shape[1] == 1:
        X = X[:, 0]
    tensors = {
        f"{name}_{part}": torch.tensor(values[parts == number])
        for number, part in enumerate(SPLITS)
        for name, values in (("x", X), ("y", y))
    }
    metadata = Metadata(
        task="regression",
        columns=columns,
        target=params.target,
        missing=params.missing,
        scaling=scaling,
        target_mean=mean,
    )
    truth = find_truth(RegressionTruth, table, metadata)
    metadata = metadata.model_copy(update={"truth": truth})
    return report(params, table, parts, tensors, metadata)


def convert_classification(params: TableParams) -> Converted:
    """Return X, float32 (n, n_features), and y, int64 (n,), of each split.

    Classes are numbered from 0 in the ascending order of their labels.
    """
    table = read_table(params, is_regression=False)
    labels, y = np.unique(table.target, return_inverse=True)
    if len(labels) < 2:
        raise UserError(
            f"{table.path}: the target {params.target} must have two or more classes; it is "
            f"{labels[0]} in every row. Choose another target."
        )
    parts = split(params, table, y)
    check_classes(table, params.target, labels, y[parts == TRAIN])
    columns = fit_columns(params, table, parts)
    X, scaling = scale(encode_all(columns, list(table.features.values())), parts, params)
    check_float32(X, table.path, columns)
    tensors: Tensors = {}
    for number, part in enumerate(SPLITS):
        tensors[f"X_{part}"] = torch.tensor(X[parts == number]).float()
        tensors[f"y_{part}"] = torch.tensor(y[parts == number])
    metadata = Metadata(
        task="classification",
        columns=columns,
        target=params.target,
        missing=params.missing,
        labels=tuple(labels.tolist()),
        scaling=scaling,
    )
    truth = find_truth(ClassificationTruth, table, metadata)
    metadata = metadata.model_copy(update={"truth": truth})
    return report(params, table, parts, tensors, metadata)


def check_classes(table: Table, target: str, labels: np.ndarray, y_train: np.ndarray) -> None:
    """Raise UserError for a class without a training row."""
    counts = np.bincount(y_train, minlength=len(labels))
    if not counts.all():
        raise UserError(
            f"{table.path}: every class must have a training row; in column {target}, "
            f"{labels[counts.argmin()]} has none. Change the split."
        )


# The features -------------------------------------------------------------------------------------


def fit_columns(params: TableParams, table: Table, parts: np.ndarray) -> tuple[FeatureColumn, ...]:
    """Return how each column becomes features, from its values in the training part."""
    columns = []
    for name, values in table.features.items():
        train = values[parts == TRAIN]
        if is_missing(train).all():
            raise UserError(
                f"{table.path}: every feature must have values in the training part; {name} has "
                "none. Leave it out of the features."
            )
        columns.append(fit_column(name, train, params.missing == "impute"))
    names = [feature for column in columns for feature in column.features]
    if len(set(names)) < len(names):
        name = next(name for name in names if names.count(name) > 1)
        raise UserError(
            f"{table.path}: features must have distinct names; {name} is both a column and a "
            "category of another. Rename the column."
        )
    return tuple(columns)


def scale(
    X: np.ndarray, parts: np.ndarray, params: TableParams
) -> tuple[np.ndarray, Scaling | None]:
    """Return X, float64 (n, n_features), scaled by the training part if asked, and the scaling."""
    if not params.standardize:
        return X, None
    scaling = Scaling.fit(X[parts == TRAIN])
    return scaling.transform(X), scaling


def center(y: np.ndarray, parts: np.ndarray) -> tuple[np.ndarray, float]:
    """Return y, float64 (n,), minus the mean of the training part, and that mean."""
    scaling = Scaling.fit(y[parts == TRAIN, np.newaxis])
    return y - scaling.mean[0], scaling.mean[0]


def check_float32(X: np.ndarray, path: str, columns: tuple[FeatureColumn, ...]) -> None:
    """Raise UserError for a feature, such as times in seconds, whose values float32 would merge."""
    names = [name for column in columns for name in column.features]
    merged = [
        name for name, is_merged in zip(names, merged_by_float32(X), strict=True) if is_merged
    ]
    if merged:
        raise UserError(
            f"{path}: features are stored as float32, which would merge different values of "
            f"{shorten(merged)}. Set standardize: true for the table in params.yaml."
        )


# What is reported ---------------------------------------------------------------------------------


def find_truth(model: type[Truth], table: Table, metadata: Metadata) -> Truth | None:
    """Return the simulation that the table was drawn from, if its columns are all used."""
    try:
        truth = model.model_validate_json(table.truth or "null")
    except ValidationError:
        return None
    return truth if truth.describes(metadata.features, metadata.target) else None


def report(
    params: TableParams,
    table: Table,
    parts: np.ndarray,
    tensors: Tensors,
    metadata: Metadata,
) -> Converted:
    """Print what was done to a table, and return it with the tensors."""
    counts = count_rows(params, table, parts, metadata)
    notes = list(describe_preparation(table, parts, counts, metadata))
    split_by = describe_split(params, table)
    sizes = ", ".join(f"{counts[f'{part}_rows']} {part}" for part in SPLITS)
    n_features = counts["features"]
    print(f"{table.path}: {sizes} rows; {n_features} feature{'s' * (n_features > 1)}")
    for subject, note in [("split by", split_by), *notes]:
        print(f"  {subject.replace('_', ' ')}: {note}")
    return Converted(tensors, metadata, counts | {"split_by": split_by}, notes)


def describe(name: str, tensor: Tensor) -> dict[str, object]:
    """Return what the article shows of a tensor: class, dtype, shape and the first ten values.

    Of a matrix these are the first ten columns of the first ten rows.
    """
    return {
        "tensor": name,
        "class": f"{type(tensor).__module__}.{type(tensor).__qualname__}",
        "dtype": str(tensor.dtype),
        "shape": list(tensor.shape),
        "first_ten": tensor[(slice(10),) * tensor.dim()].tolist(),
    }
