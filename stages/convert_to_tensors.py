"""Convert the tables to tensors, and describe each tensor as the article does.

params.yaml, two tables -> data/tensors/regression.safetensors (x, y: float64 of shape (n,); x has
shape (n, n_features) for several features), data/tensors/classification.safetensors (X: float32 of
shape (n, n_features); y: int64 of shape (n,), the class numbers), both with a part to train on, one
to validate and one to test, and metrics/convert_to_tensors.json

A table with a column `split` (train, valid, test) keeps its split. With `standardize`, features are
scaled by the training part, and the target of a regression is centered.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from pydantic import ValidationError
from torch import Tensor

from stages.core.errors import UserError
from stages.core.files import atomic_write
from stages.core.params import shorten
from stages.core.schema import ConvertToTensors, TableParams
from stages.shared import scratch
from stages.shared.encoding import encode_all, fit_numbers, fit_texts
from stages.shared.metadata import (
    ClassificationTruth,
    FeatureColumn,
    Metadata,
    RegressionTruth,
)
from stages.shared.metrics import round_numbers, write_json
from stages.shared.moments import merged_by_float32
from stages.shared.partition import split
from stages.shared.preparation import (
    count_classes,
    count_rows,
    count_texts,
    describe_preparation,
    describe_split,
)
from stages.shared.scaling import Scaling
from stages.shared.scratch import row_slices
from stages.shared.splits import SPLITS, TRAIN
from stages.shared.tables import Table, is_missing, read_table
from stages.shared.tensors import Shape, TensorFile, load_tensors

REGRESSION = "data/tensors/regression.safetensors"
CLASSIFICATION = "data/tensors/classification.safetensors"
METRICS = "metrics/convert_to_tensors.json"
LINE = 120  # characters that a line of output has at most

Truth = TypeVar("Truth", RegressionTruth, ClassificationTruth)


@dataclass(frozen=True)
class Converted:
    """A table as the tensors of a task will hold it: `parts`, (n,), are positions in SPLITS.

    `counts` are metrics, with how the table was split; `notes` are (subject, text) for the report.
    """

    table: Table
    parts: np.ndarray
    metadata: Metadata
    counts: dict[str, int | str]
    notes: list[tuple[str, str]]


def main(params: ConvertToTensors) -> None:
    """Run the stage."""
    section = params.convert_to_tensors
    regression = convert_regression(section.regression)
    classification = convert_classification(section.classification)
    with atomic_write(REGRESSION) as first, atomic_write(CLASSIFICATION) as second:
        write_regression(regression, first)
        write_classification(classification, second)
    described = {
        path: [describe(name, tensor) for name, tensor in load_in_order(path).items()]
        for path in (REGRESSION, CLASSIFICATION)
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
    descriptions = [item for items in described.values() for item in items]
    for description in descriptions:
        text = "{tensor}: {class} {dtype} {shape} {first_ten}".format_map(
            round_numbers(description)
        )
        print(text if len(text) <= LINE else f"{text[: LINE - 3]}...")
    print(f"convert_to_tensors: {len(descriptions)} tensors from 2 tables")


def convert_regression(params: TableParams) -> Converted:
    """Return how a table becomes x and y.

    With `standardize`, the mean of the training targets is subtracted from y, too.
    """
    table = read_table(params, is_regression=True)
    if all((y == table.target[0]).all() for y in iter_chunks(table.target)):
        raise UserError(
            f"{table.path}: the target {params.target} must vary; it is {table.target[0]:g} in "
            "every row. Choose another target."
        )
    parts = split(params, table)
    columns = fit_columns(params, table, parts)
    scaling = fit_scaling(table, columns, parts) if params.standardize else None
    mean = training_mean(table.target, parts) if params.standardize else None
    metadata = Metadata(
        task="regression",
        columns=columns,
        target=params.target,
        missing=params.missing,
        scaling=scaling,
        target_mean=mean,
    )
    truth = find_truth(RegressionTruth, table, metadata)
    return report(params, table, parts, metadata.model_copy(update={"truth": truth}))


def convert_classification(params: TableParams) -> Converted:
    """Return how a table becomes X and y.

    Classes are numbered from 0 in the ascending order of their labels.
    """
    table = read_table(params, is_regression=False)
    labels = np.array([]) if table.labels is None else table.labels
    if len(labels) < 2:
        raise UserError(
            f"{table.path}: the target {params.target} must have two or more classes; it is "
            f"{labels[0]} in every row. Choose another target."
        )
    parts = split(params, table)
    check_classes(table, params.target, labels, count_classes(table, parts)[TRAIN])
    columns = fit_columns(params, table, parts)
    metadata = Metadata(
        task="classification",
        columns=columns,
        target=params.target,
        missing=params.missing,
        labels=tuple(labels.tolist()),
        scaling=fit_scaling(table, columns, parts) if params.standardize else None,
    )
    check_float32(table, metadata)
    truth = find_truth(ClassificationTruth, table, metadata)
    return report(params, table, parts, metadata.model_copy(update={"truth": truth}))


def check_classes(table: Table, target: str, labels: np.ndarray, counts: np.ndarray) -> None:
    """Raise UserError for a class without a training row; `counts` are those of each class."""
    if not counts.all():
        raise UserError(
            f"{table.path}: every class must have a training row; in column {target}, "
            f"{labels[counts.argmin()]} has none. Change the split."
        )


# The features -------------------------------------------------------------------------------------


def fit_columns(params: TableParams, table: Table, parts: np.ndarray) -> tuple[FeatureColumn, ...]:
    """Return how each column becomes features, from its values in the training part."""
    columns, impute = list[FeatureColumn](), params.missing == "impute"
    for name, values in table.features.items():
        if name in table.texts:
            counts = count_texts(table, name, parts)
            check_known(table.path, name, int(counts.sum()))
            columns.append(fit_texts(name, table.texts[name], counts, impute))
        elif impute:
            known = known_values(values, parts)
            check_known(table.path, name, len(known))
            columns.append(fit_numbers(name, known, impute))
        else:  # and so no value is missing
            columns.append(fit_numbers(name, values[:0], impute))
    names = [feature for column in columns for feature in column.features]
    if len(set(names)) < len(names):
        name = next(name for name in names if names.count(name) > 1)
        raise UserError(
            f"{table.path}: features must have distinct names; {name} is both a column and a "
            "category of another. Rename the column."
        )
    return tuple(columns)


def check_known(path: str, name: str, n_known: int) -> None:
    """Raise UserError for a feature without a value in the training part."""
    if not n_known:
        raise UserError(
            f"{path}: every feature must have values in the training part; {name} has none. Leave "
            "it out of the features."
        )


def known_values(values: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Return a copy of the training values, float64 (n_known,), that are not missing."""
    known, done = scratch.empty(len(values), np.float64), 0
    for rows in row_slices(len(values), "look for missing values"):
        chunk = values[rows][(parts[rows] == TRAIN) & ~is_missing(values[rows])]
        known[done : done + len(chunk)] = chunk
        done += len(chunk)
    return known[:done]


def iter_features(
    table: Table, columns: tuple[FeatureColumn, ...], scaling: Scaling | None, doing: str
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield the rows and the features, float64 (n, n_features), of each chunk of a table."""
    # The last one stands for a missing text, whose position is nan.
    texts_of = {name: np.append(texts, "") for name, texts in table.texts.items()}
    n_features = sum(len(column.features) for column in columns)
    for rows in row_slices(len(table.target), doing, n_features):
        values = []
        for name, feature in table.features.items():
            chunk = feature[rows]
            if name in texts_of:
                chunk = texts_of[name][np.where(np.isnan(chunk), -1, chunk).astype(np.int64)]
            values.append(chunk)
        X = encode_all(columns, values)
        yield rows, X if scaling is None else scaling.transform(X)


def fit_scaling(table: Table, columns: tuple[FeatureColumn, ...], parts: np.ndarray) -> Scaling:
    """Return the scaling of the features in the training part."""
    chunks = iter_features(table, columns, None, "standardize")
    return Scaling.fit_chunks(X[parts[rows] == TRAIN] for rows, X in chunks)


def training_mean(y: np.ndarray, parts: np.ndarray) -> float:
    """Return the mean of y, float64 (n,), in the training part."""
    chunks = row_slices(len(y), "center the target")
    scaling = Scaling.fit_chunks(y[rows][parts[rows] == TRAIN][:, np.newaxis] for rows in chunks)
    return scaling.mean[0]


def iter_chunks(values: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the chunks of a column (n,)."""
    for rows in row_slices(len(values), "look at the target"):
        yield values[rows]


def check_float32(table: Table, metadata: Metadata) -> None:
    """Raise UserError for a feature, such as times in seconds, whose values float32 would merge."""
    chunks = iter_features(table, metadata.columns, metadata.scaling, "check features")
    is_merged = merged_by_float32(X for _, X in chunks)
    merged = [name for name, merges in zip(metadata.features, is_merged, strict=True) if merges]
    if merged:
        raise UserError(
            f"{table.path}: features are stored as float32, which would merge different values of "
            f"{shorten(merged)}. Set standardize: true for the table in params.yaml."
        )


# The tensors --------------------------------------------------------------------------------------


def write_regression(converted: Converted, path: str) -> None:
    """Write x and y of each split, float64; x is (n,), or (n, n_features) for several features."""
    table, metadata = converted.table, converted.metadata
    n_features = len(metadata.features)
    shapes: dict[str, Shape] = {}
    for part in SPLITS:
        n_rows = int(converted.counts[f"{part}_rows"])
        shapes[f"x_{part}"] = "float64", (n_rows, n_features) if n_features > 1 else (n_rows,)
        shapes[f"y_{part}"] = "float64", (n_rows,)
    with open(path, "wb") as file:
        tensors = TensorFile(file, shapes, metadata)
        for rows, X in iter_features(table, metadata.columns, metadata.scaling, "write tensors"):
            y = table.target[rows]
            if metadata.target_mean is not None:
                y = y - metadata.target_mean
            append_parts(tensors, converted.parts[rows], {"x": X, "y": y})


def write_classification(converted: Converted, path: str) -> None:
    """Write X, float32 (n, n_features), and y, int64 (n,), of each split."""
    table, metadata = converted.table, converted.metadata
    shapes: dict[str, Shape] = {}
    for part in SPLITS:
        n_rows = int(converted.counts[f"{part}_rows"])
        shapes[f"X_{part}"] = "float32", (n_rows, len(metadata.features))
        shapes[f"y_{part}"] = "int64", (n_rows,)
    with open(path, "wb") as file:
        tensors = TensorFile(file, shapes, metadata)
        for rows, X in iter_features(table, metadata.columns, metadata.scaling, "write tensors"):
            append_parts(tensors, converted.parts[rows], {"X": X, "y": table.target[rows]})


def append_parts(tensors: TensorFile, parts: np.ndarray, columns: dict[str, np.ndarray]) -> None:
    """Append the rows of each part to its tensors."""
    for number, part in enumerate(SPLITS):
        is_member = parts == number
        for name, values in columns.items():
            tensors.append(f"{name}_{part}", values[is_member])


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
    metadata: Metadata,
) -> Converted:
    """Print what was done to a table, and return it."""
    counts = count_rows(params, table, parts, metadata)
    notes = list(describe_preparation(table, parts, counts, metadata))
    split_by = describe_split(params, table, parts)
    sizes = ", ".join(f"{counts[f'{part}_rows']} {part}" for part in SPLITS)
    n_features = counts["features"]
    print(f"{table.path}: {sizes} rows; {n_features} feature{'s' * (n_features > 1)}")
    for subject, note in [("split by", split_by), *notes]:
        print(f"  {subject.replace('_', ' ')}: {note}")
    return Converted(table, parts, metadata, counts | {"split_by": split_by}, notes)


def load_in_order(path: str) -> dict[str, Tensor]:
    """Return the tensors of a file, part after part."""
    tensors, _ = load_tensors(path)
    return {name: tensors[name] for part in SPLITS for name in tensors if name.endswith(part)}


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
