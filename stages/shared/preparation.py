"""What was done to a table before training: numbers for the metrics, and notes for the report."""

from collections.abc import Iterator

import numpy as np

from stages.core.params import shorten
from stages.core.schema import TableParams
from stages.shared import scratch
from stages.shared.hashes import count_distinct, is_in, run_starts, sorted_copy
from stages.shared.metadata import FeatureColumn, Metadata
from stages.shared.partition import row_hashes
from stages.shared.scratch import row_slices
from stages.shared.splits import SPLITS, TRAIN
from stages.shared.tables import Table

MIN_ROWS_OF_ID = 20


def describe_split(params: TableParams, table: Table, parts: np.ndarray) -> str:
    """Return how a table is split: column, or as params.yaml says."""
    if table.parts is None:
        return params.split
    return "column" if parts is table.parts else "column, validation at random"


def count_rows(
    params: TableParams, table: Table, parts: np.ndarray, metadata: Metadata
) -> dict[str, int]:
    """Return the sizes of a task: rows by part, features and classes, and what was done to rows.

    `parts`, (n,), are positions in SPLITS. Leaked rows are those for validation or testing that
    equal one for training.
    """
    n_rows = np.zeros(len(SPLITS), dtype=np.int64)
    for rows in row_slices(len(parts), "count rows"):
        n_rows += np.bincount(parts[rows], minlength=len(SPLITS))
    counts: dict[str, int] = {f"{part}_rows": int(n_rows[i]) for i, part in enumerate(SPLITS)}
    counts["features"] = len(metadata.features)
    if metadata.labels:
        counts["classes"] = len(metadata.labels)
    counts["duplicate_rows"], counts["leaked_rows"] = count_copies(row_hashes(table), parts)
    if params.missing != "refuse":
        counts["dropped_rows"] = table.n_dropped
    if params.missing == "impute":
        counts["imputed_values"] = sum(table.n_missing.values())
    return counts


def count_copies(hashes: np.ndarray, parts: np.ndarray) -> tuple[int, int]:
    """Return how many rows equal an earlier one, and how many leak, from hashes (n,).

    The hashes are then in another order: those of training rows, and behind them the others.
    """
    n_train = 0
    for rows in row_slices(len(parts), "count rows"):
        n_train += int((parts[rows] == TRAIN).sum())
    held_out, done = scratch.empty(len(parts) - n_train, np.uint64), 0
    train, n_moved = hashes[:n_train], 0
    for rows in row_slices(len(parts), "find copies"):
        chunk, is_train = hashes[rows], parts[rows] == TRAIN
        others, chunk = chunk[~is_train], chunk[is_train]
        held_out[done : done + len(others)] = others
        train[n_moved : n_moved + len(chunk)] = chunk  # never beyond the rows that were read
        done, n_moved = done + len(others), n_moved + len(chunk)
    train.sort()
    held_out.sort()
    n_leaked = 0
    for rows in row_slices(len(held_out), "find leaked rows"):
        n_leaked += int(is_in(held_out[rows], train).sum())
    n_distinct = count_distinct(train)
    for starts in run_starts(held_out):
        n_distinct += len(starts) - int(is_in(held_out[starts], train).sum())
    return len(hashes) - n_distinct, n_leaked


def count_classes(table: Table, parts: np.ndarray) -> np.ndarray:
    """Return how many rows of each part each class has, (n_parts, n_classes)."""
    n_classes = 1 if table.labels is None else len(table.labels)
    counts = np.zeros(len(SPLITS) * n_classes, dtype=np.int64)
    for rows in row_slices(len(parts), "count classes"):
        cells = parts[rows].astype(np.int64) * n_classes + table.target[rows]
        counts += np.bincount(cells, minlength=len(counts))
    return counts.reshape(len(SPLITS), n_classes)


def describe_preparation(
    table: Table,
    parts: np.ndarray,
    counts: dict[str, int],
    metadata: Metadata,
) -> Iterator[tuple[str, str]]:
    """Yield (subject, text) of what was done to a table, and of what may be wrong with it."""
    if table.labels is not None:
        sizes = count_classes(table, parts)
        labels_sizes = zip(table.labels, sizes.sum(axis=0), strict=True)
        yield "classes", shorten([f"{label} {n}" for label, n in labels_sizes])
        tested = sizes.sum(axis=0) > sizes[TRAIN]
        if not tested.all():
            rare = shorten([str(label) for label in table.labels[~tested]])
            yield "rare", f"{rare}: too few distinct rows, all of them for training"
    if table.left_out:
        left_out = [f"{name or 'a column'} ({why})" for name, why in table.left_out.items()]
        yield "left_out", shorten(left_out)
    if categories := [column for column in metadata.columns if column.categories]:
        yield (
            "one_hot",
            shorten([f"{column.name} ({shorten(column.categories)})" for column in categories]),
        )
    unknown = {column.name: count_unknown_texts(table, column) for column in categories}
    if names := [f"{name} in {format_rows(n)}" for name, n in unknown.items() if n]:
        yield "unknown_categories", f"not in the training rows: {shorten(names)}"
    constants = [name for name, values in table.features.items() if is_constant(values)]
    if constants:
        yield "constant", f"{shorten(constants)}: the same value in every row"
    if table.n_dropped:
        yield "dropped", f"{format_rows(table.n_dropped)} with missing values"
    if any(table.n_missing.values()):
        fills = [
            f"{table.n_missing[column.name]} {column.name} with {column.fill:g}"
            if isinstance(column.fill, float)
            else f"{table.n_missing[column.name]} {column.name} with {column.fill}"
            for column in metadata.columns
            if table.n_missing[column.name]
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
    numbers = [name for name in table.features if name not in table.texts]
    if ids := [name for name in numbers if is_id(table.features[name])]:
        yield (
            "ids",
            f"{shorten(ids)} has a different integer in every row; list the features without it if "
            "it is an id",
        )


def count_unknown_texts(table: Table, column: FeatureColumn) -> int:
    """Return how many values of a column of text the training part does not have."""
    counts = count_texts(table, column.name, None)
    return int(counts[~np.isin(table.texts[column.name], column.categories)].sum())


def count_texts(table: Table, name: str, parts: np.ndarray | None) -> np.ndarray:
    """Return how often each text of a column is there, (n_texts,); with `parts`, in training."""
    values, counts = table.features[name], np.zeros(len(table.texts[name]), dtype=np.int64)
    for rows in row_slices(len(values), "count texts"):
        chosen = ~np.isnan(values[rows])
        if parts is not None:
            chosen &= parts[rows] == TRAIN
        counts += np.bincount(values[rows][chosen].astype(np.int64), minlength=len(counts))
    return counts


def is_constant(values: np.ndarray) -> bool:
    """Return whether a column, float64 (n,), has the same value in every row."""
    for rows in row_slices(len(values), "look for constants"):
        if not (values[rows] == values[0]).all():
            return False
    return True


def format_rows(number: int) -> str:
    """Return a number of rows as text."""
    return "1 row" if number == 1 else f"{number} rows"


def is_id(values: np.ndarray) -> bool:
    """Return whether a feature, float64 (n,), has another integer in each of many rows."""
    if len(values) < MIN_ROWS_OF_ID:
        return False
    for rows in row_slices(len(values), "look for ids"):
        chunk = values[rows]
        if (chunk % 1 != 0).any() or len(np.unique(chunk)) < len(chunk):
            return False
    return count_distinct(sorted_copy(values)) == len(values)
