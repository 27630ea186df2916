"""Convert the tables to tensors, and describe each tensor as the article does.

params.yaml, two tables -> data/tensors/regression.safetensors (x, y: float64 of shape (n,); x has
shape (n, n_features) for several features), data/tensors/classification.safetensors (X: float32 of
shape (n, n_features); y: int64 of shape (n,), the class numbers), both with a training and a test
part, and metrics/convert_to_tensors.json

A table with a column `split` (train, test) keeps its split; any other is split at random, class by
class for a classification. With `standardize`, features are scaled by the training part.
"""

from typing import TypeVar

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from stages.core.errors import UserError
from stages.core.schema import ConvertToTensors, TableParams
from stages.shared.metadata import ClassificationTruth, Metadata, RegressionTruth
from stages.shared.metrics import round_numbers, write_json
from stages.shared.scaling import Scaling
from stages.shared.splits import SPLITS, draw_test_rows, make_generator
from stages.shared.tables import Table, read_table, to_float64, to_labels
from stages.shared.tensors import save_tensors

REGRESSION = "data/tensors/regression.safetensors"
CLASSIFICATION = "data/tensors/classification.safetensors"
METRICS = "metrics/convert_to_tensors.json"
LINE = 120  # characters that a line of output has at most

Tensors = dict[str, Tensor]
Truth = TypeVar("Truth", RegressionTruth, ClassificationTruth)


def main(params: ConvertToTensors) -> None:
    """Run the stage."""
    section = params.convert_to_tensors
    regression, regression_metadata = convert_regression(section.regression)
    classification, classification_metadata = convert_classification(section.classification)
    save_tensors(REGRESSION, regression, regression_metadata)
    save_tensors(CLASSIFICATION, classification, classification_metadata)
    descriptions = {
        REGRESSION: [describe(name, tensor) for name, tensor in regression.items()],
        CLASSIFICATION: [describe(name, tensor) for name, tensor in classification.items()],
    }
    sizes = {
        "regression": count(regression, regression_metadata),
        "classification": count(classification, classification_metadata),
    }
    write_json(METRICS, {"convert_to_tensors": sizes, "tensors": descriptions})
    for description in (item for items in descriptions.values() for item in items):
        text = "{tensor}: {class} {dtype} {shape} {first_ten}".format_map(
            round_numbers(description)
        )
        print(text if len(text) <= LINE else f"{text[: LINE - 3]}...")
    print(f"convert_to_tensors: {len(regression) + len(classification)} tensors from 2 tables")


def convert_regression(params: TableParams) -> tuple[Tensors, Metadata]:
    """Return x and y of each split, float64 (n,), and their metadata; several features are 2-D."""
    table = read_table(params.table, params.target, params.features)
    y = to_float64(table.column(params.target), table.path, params.target)
    if len(y) < 2:
        raise UserError(
            f"{table.path} must have two or more rows, one to train on and one to test; it has one."
        )
    if np.ptp(y) == 0:
        raise UserError(
            f"{table.path}: the target {params.target} must vary; it is {y[0]:g} in every row. "
            "Choose another target."
        )
    test = table.test
    if test is None:
        generator = make_generator(params.seed, 0, 2)
        test = to_mask(draw_test_rows(len(y), params.test_fraction, generator), len(y))
    X, scaling = convert_features(table, test, params.standardize)
    report_table(table, test)
    if X["train"].shape[1] == 1:
        X = {split: values[:, 0] for split, values in X.items()}
    tensors: Tensors = {}
    for split in SPLITS:
        tensors[f"x_{split}"] = torch.tensor(X[split])
        tensors[f"y_{split}"] = torch.tensor(y[test == (split == "test")])
    metadata = Metadata(
        task="regression",
        features=feature_names(table),
        target=params.target,
        scaling=scaling,
    )
    truth = find_truth(RegressionTruth, table, metadata)
    return tensors, metadata.model_copy(update={"truth": truth})


def convert_classification(params: TableParams) -> tuple[Tensors, Metadata]:
    """Return X, float32 (n, n_features), and y, int64 (n,), of each split, and their metadata.

    Classes are numbered from 0 in the ascending order of their labels.
    """
    table = read_table(params.table, params.target, params.features)
    values = to_labels(table.column(params.target), table.path, params.target)
    labels, y = np.unique(values, return_inverse=True)
    if len(labels) < 2:
        raise UserError(
            f"{table.path}: the target {params.target} must have two or more classes; it is "
            f"{labels[0]} in every row. Choose another target."
        )
    if table.test is None:
        test = stratify(table.path, params, labels, y)
    else:
        test = table.test
        check_classes(table.path, params.target, labels, y[~test])
    X, scaling = convert_features(table, test, params.standardize)
    report_table(table, test)
    tensors: Tensors = {}
    for split in SPLITS:
        tensors[f"X_{split}"] = torch.tensor(X[split]).float()
        tensors[f"y_{split}"] = torch.tensor(y[test == (split == "test")])
    metadata = Metadata(
        task="classification",
        features=feature_names(table),
        target=params.target,
        labels=tuple(labels.tolist()),
        scaling=scaling,
    )
    truth = find_truth(ClassificationTruth, table, metadata)
    return tensors, metadata.model_copy(update={"truth": truth})


def convert_features(
    table: Table, test: np.ndarray, standardize: bool
) -> tuple[dict[str, np.ndarray], Scaling | None]:
    """Return the features of each split, float64 (n, n_features), and their scaling, if any."""
    columns = [to_float64(table.column(name), table.path, name) for name in feature_names(table)]
    X = np.column_stack(columns)
    scaling = Scaling.fit(X[~test]) if standardize else None
    if scaling is not None:
        X = scaling.transform(X)
    return {"train": X[~test], "test": X[test]}, scaling


def stratify(path: str, params: TableParams, labels: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the test rows, bool (n,), drawn from each class of y, int64 (n,)."""
    test = np.zeros(len(y), dtype=bool)
    for number, label in enumerate(labels):
        rows = np.flatnonzero(y == number)
        if len(rows) < 2:
            raise UserError(
                f"{path}: every class must have two or more rows, one to train on and one to test; "
                f"in column {params.target}, {label} has only row {rows[0] + 1}."
            )
        generator = make_generator(params.seed, 1, 2, number)
        test[rows[draw_test_rows(len(rows), params.test_fraction, generator)]] = True
    return test


def check_classes(path: str, target: str, labels: np.ndarray, y_train: np.ndarray) -> None:
    """Raise UserError for a class without a training row."""
    counts = np.bincount(y_train, minlength=len(labels))
    if not counts.all():
        raise UserError(
            f"{path}: every class must have a row with split train; in column {target}, "
            f"{labels[counts.argmin()]} has none."
        )


def to_mask(rows: np.ndarray, n_rows: int) -> np.ndarray:
    """Return row numbers as bool (n_rows,)."""
    return np.isin(np.arange(n_rows), rows)


def feature_names(table: Table) -> tuple[str, ...]:
    """Return the names of the features: all columns but the last, the target."""
    return tuple(table.columns.column_names[:-1])


def find_truth(model: type[Truth], table: Table, metadata: Metadata) -> Truth | None:
    """Return the simulation that the table was drawn from, if its columns are all used."""
    try:
        truth = model.model_validate_json(table.truth or "null")
    except ValidationError:
        return None
    return truth if truth.describes(metadata.features, metadata.target) else None


def report_table(table: Table, test: np.ndarray) -> None:
    """Print what was read."""
    n_features = table.columns.num_columns - 1
    features = "1 feature" if n_features == 1 else f"{n_features} features"
    left_out = f"; left out: {', '.join(table.left_out)} (not numeric, or a pandas index)"
    print(
        f"{table.path}: {len(test)} rows, {test.sum()} of them for testing, {features}"
        f"{left_out if table.left_out else ''}"
    )


def count(tensors: Tensors, metadata: Metadata) -> dict[str, int]:
    """Return the sizes of the tensors of one task."""
    rows = {f"{split}_rows": len(tensors[f"y_{split}"]) for split in SPLITS}
    classes = {"classes": len(metadata.labels)} if metadata.labels else {}
    return rows | {"features": len(metadata.features)} | classes


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
