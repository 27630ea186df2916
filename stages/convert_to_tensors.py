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
import torch
from pydantic import ValidationError
from torch import Tensor

from stages.core.errors import UserError
from stages.core.schema import ConvertToTensors, TableParams
from stages.shared.encoding import count_unknown, encode_all, fit_column
from stages.shared.metadata import (
    ClassificationTruth,
    FeatureColumn,
    Metadata,
    RegressionTruth,
)
from stages.shared.metrics import round_numbers, write_json
from stages.shared.rounding import merged_by_float32
from stages.shared.scaling import Scaling
from stages.shared.splits import (
    SPLITS,
    TEST,
    TRAIN,
    VALID,
    hash_rows,
    occurrences,
    split_by_hash,
    split_by_order,
)
from stages.shared.tables import Table, is_missing, read_table, shorten
from stages.shared.tensors import save_tensors

REGRESSION = "data/tensors/regression.safetensors"
CLASSIFICATION = "data/tensors/classification.safetensors"
METRICS = "metrics/convert_to_tensors.json"
LINE = 120  # characters that a line of output has at most
# Share of rows with different features, below which equal ones are no copies but the rule.
MIN_DISTINCT = 0.2
MIN_ROWS_OF_ID = 20

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


# The parts ----------------------------------------------------------------------------------------


def split(params: TableParams, table: Table, classes: np.ndarray | None = None) -> np.ndarray:
    """Return the part of each row, (n,), a position in SPLITS.

    The table's column `split` decides, if there is one, and else params.split. At random, rows are
    drawn class by class where `classes`, int64 (n,), are given.
    """
    fractions = params.valid_fraction, params.test_fraction
    if table.parts is not None:
        return table.parts if VALID in table.parts else draw_valid(params, table, classes)
    if params.split == "last":
        check_distinct(np.arange(len(table.target)), table.path, "rows")
        return split_by_order(len(table.target), *fractions)
    if table.groups is not None:
        hashes = hash_rows([table.groups], params.seed)
        check_distinct(hashes, table.path, "groups")
        return split_by_hash(hashes, *fractions)
    hashes = feature_hashes(table, params.seed)
    if classes is None:
        check_distinct(hashes, table.path, "distinct rows")
        return split_by_hash(hashes, *fractions)
    parts = np.full(len(classes), TRAIN)
    for number in range(classes.max() + 1):
        rows = np.flatnonzero(classes == number)
        if len(np.unique(hashes[rows])) >= len(SPLITS):  # a rarer class is for training only
            parts[rows] = split_by_hash(hashes[rows], *fractions)
    if (parts == TRAIN).all():
        raise UserError(
            f"{table.path} must have a class of three or more distinct rows; the target "
            f"{params.target} has {classes.max() + 1} classes in {len(classes)} rows. Choose "
            "another target."
        )
    return parts


def draw_valid(params: TableParams, table: Table, classes: np.ndarray | None) -> np.ndarray:
    """Return the parts of a table whose column `split` has no validation rows, with some drawn.

    They are drawn from the training rows, class by class where `classes` are given.
    """
    assert table.parts is not None
    parts, hashes = table.parts.copy(), feature_hashes(table, params.seed)
    strata = np.zeros(len(parts), dtype=np.int64) if classes is None else classes
    for stratum in np.unique(strata):
        rows = np.flatnonzero((parts == TRAIN) & (strata == stratum))
        if len(np.unique(hashes[rows])) >= len(SPLITS):
            drawn = split_by_hash(hashes[rows], 0, params.valid_fraction) == TEST
            parts[rows[drawn]] = VALID
    if VALID not in parts:
        check_distinct(hashes[parts == TRAIN], table.path, "distinct rows with split train")
        raise UserError(
            f"{table.path} must have a class of three or more distinct rows with split train, from "
            "which validation rows are drawn; it has none. Add rows with split valid."
        )
    return parts


def feature_hashes(table: Table, seed: int) -> np.ndarray:
    """Return one pseudo-random number per row, uint64 (n,), by which a table is split at random.

    Rows with the same features have the same number, so that none is tested whose features were
    trained on. Where such rows are the rule, as in a table of a few categories, that would leave
    out whole combinations, and every row has a number of its own. The numbers depend on the values,
    not on the order of rows or columns.
    """
    columns = [table.features[name] for name in sorted(table.features)]
    hashes = hash_rows(columns, seed)
    if len(np.unique(hashes)) >= MIN_DISTINCT * len(hashes):
        return hashes
    target = table.target if table.target.dtype == object else table.target.astype(float)
    return hash_rows([*columns, target, occurrences(row_hashes(table))], seed)


def row_hashes(table: Table) -> np.ndarray:
    """Return one pseudo-random number per row, uint64 (n,); equal rows have equal ones."""
    target = table.target if table.target.dtype == object else table.target.astype(float)
    return hash_rows([*table.features.values(), target], 0)


def check_distinct(values: np.ndarray, path: str, what: str) -> None:
    """Raise UserError for fewer than three distinct values: one for each part."""
    n_distinct = len(np.unique(values))
    if n_distinct < len(SPLITS):
        raise UserError(
            f"{path} must have three or more {what}, one to train on, one to validate and one to "
            f"test; it has {n_distinct}. Add rows, or a column split."
        )


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
    hashes = row_hashes(table)
    distinct = np.unique(hashes)
    split_by = params.split
    if table.parts is not None:
        split_by = "column" if VALID in table.parts else "column, validation at random"
    counts: dict[str, int] = {
        f"{part}_rows": int((parts == number).sum()) for number, part in enumerate(SPLITS)
    }
    counts["features"] = len(metadata.features)
    if metadata.labels:
        counts["classes"] = len(metadata.labels)
    counts["duplicate_rows"] = len(hashes) - len(distinct)
    counts["leaked_rows"] = int(np.isin(hashes[parts != TRAIN], hashes[parts == TRAIN]).sum())
    if params.missing != "refuse":
        counts["dropped_rows"] = table.n_dropped
    if params.missing == "impute":
        counts["imputed_values"] = table.n_missing
    notes = list(describe_preparation(table, parts, counts, metadata))
    sizes = ", ".join(f"{counts[f'{part}_rows']} {part}" for part in SPLITS)
    n_features = counts["features"]
    print(f"{table.path}: {sizes} rows; {n_features} feature{'s' * (n_features > 1)}")
    for subject, note in [("split by", split_by), *notes]:
        print(f"  {subject.replace('_', ' ')}: {note}")
    return Converted(tensors, metadata, counts | {"split_by": split_by}, notes)


def describe_preparation(
    table: Table,
    parts: np.ndarray,
    counts: dict[str, int],
    metadata: Metadata,
) -> Iterator[tuple[str, str]]:
    """Yield (subject, text) of what was done to a table, and of what may be wrong with it."""
    if metadata.labels:
        labels, sizes = np.unique(table.target, return_counts=True)
        yield "classes", shorten([f"{label} {n}" for label, n in zip(labels, sizes, strict=True)])
        tested = np.isin(labels, table.target[parts != TRAIN])
        if not tested.all():
            rare = shorten([str(label) for label in labels[~tested]])
            yield "rare", f"{rare}: too few distinct rows, all of them for training"
    if table.left_out:
        left_out = [f"{name or 'a column'} ({why})" for name, why in table.left_out.items()]
        yield "left_out", shorten(left_out)
    if categories := [column for column in metadata.columns if column.categories]:
        yield (
            "one_hot",
            shorten([f"{column.name} ({shorten(column.categories)})" for column in categories]),
        )
    unknown = {
        column.name: count_unknown(column, table.features[column.name]) for column in categories
    }
    if names := [f"{name} in {count_rows(n)}" for name, n in unknown.items() if n]:
        yield "unknown_categories", f"not in the training rows: {shorten(names)}"
    constants = [name for name, values in table.features.items() if (values == values[0]).all()]
    if constants:
        yield "constant", f"{shorten(constants)}: the same value in every row"
    if table.n_dropped:
        yield "dropped", f"{count_rows(table.n_dropped)} with missing values"
    if table.n_missing:
        n_missing = {name: is_missing(values).sum() for name, values in table.features.items()}
        fills = [
            f"{n_missing[column.name]} {column.name} with {column.fill:g}"
            if isinstance(column.fill, float)
            else f"{n_missing[column.name]} {column.name} with {column.fill}"
            for column in metadata.columns
            if n_missing[column.name]
        ]
        yield "imputed", shorten(fills)
    if counts["duplicate_rows"]:
        yield "duplicates", f"{count_rows(counts['duplicate_rows'])} equal to an earlier one"
    if counts["leaked_rows"]:
        yield (
            "leakage",
            f"{count_rows(counts['leaked_rows'])} for validation or testing equal to one for "
            "training",
        )
    if ids := [name for name, values in table.features.items() if is_id(values)]:
        yield (
            "ids",
            f"{shorten(ids)} has a different integer in every row; list the features without it if "
            "it is an id",
        )


def count_rows(number: int) -> str:
    """Return a number of rows as text."""
    return "1 row" if number == 1 else f"{number} rows"


def is_id(values: np.ndarray) -> bool:
    """Return whether a feature, float64 or text (n,), has another integer in each of many rows."""
    if values.dtype == object or len(values) < MIN_ROWS_OF_ID or (values % 1 != 0).any():
        return False
    return len(np.unique(values)) == len(values)


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
