"""What was done to a table before training: numbers for the metrics, and notes for the report."""

from collections.abc import Iterator

import numpy as np

from stages.core.params import shorten
from stages.core.schema import TableParams
from stages.shared.encoding import count_unknown
from stages.shared.metadata import Metadata
from stages.shared.partition import row_hashes
from stages.shared.splits import SPLITS, TRAIN, VALID
from stages.shared.tables import Table, is_missing

MIN_ROWS_OF_ID = 20


def describe_split(params: TableParams, table: Table) -> str:
    """Return how a table is split: column, or as params.yaml says."""
    if table.parts is None:
        return params.split
    return "column" if VALID in table.parts else "column, validation at random"


def count_rows(
    params: TableParams, table: Table, parts: np.ndarray, metadata: Metadata
) -> dict[str, int]:
    """Return the sizes of a task: rows by part, features and classes, and what was done to rows.

    `parts`, (n,), are positions in SPLITS. Leaked rows are those for validation or testing that
    equal one for training.
    """
    hashes = row_hashes(table)
    distinct = np.unique(hashes)
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
    return counts


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
    if names := [f"{name} in {format_rows(n)}" for name, n in unknown.items() if n]:
        yield "unknown_categories", f"not in the training rows: {shorten(names)}"
    constants = [name for name, values in table.features.items() if (values == values[0]).all()]
    if constants:
        yield "constant", f"{shorten(constants)}: the same value in every row"
    if table.n_dropped:
        yield "dropped", f"{format_rows(table.n_dropped)} with missing values"
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
        yield "duplicates", f"{format_rows(counts['duplicate_rows'])} equal to an earlier one"
    if counts["leaked_rows"]:
        yield (
            "leakage",
            f"{format_rows(counts['leaked_rows'])} for validation or testing equal to one for "
            "training",
        )
    if ids := [name for name, values in table.features.items() if is_id(values)]:
        yield (
            "ids",
            f"{shorten(ids)} has a different integer in every row; list the features without it if "
            "it is an id",
        )


def format_rows(number: int) -> str:
    """Return a number of rows as text."""
    return "1 row" if number == 1 else f"{number} rows"


def is_id(values: np.ndarray) -> bool:
    """Return whether a feature, float64 or text (n,), has another integer in each of many rows."""
    if values.dtype == object or len(values) < MIN_ROWS_OF_ID or (values % 1 != 0).any():
        return False
    return len(np.unique(values)) == len(values)
