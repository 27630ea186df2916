"""Which rows of a table train, validate and test: its own split, or one by hash, order or group."""

from collections.abc import Iterator, Sequence

import numpy as np

from stages.core.errors import UserError
from stages.core.schema import TableParams
from stages.shared import scratch
from stages.shared.hashes import (
    HashSplit,
    count_distinct,
    hash_rows,
    occurrences,
    sorted_copy,
    text_bits,
    to_bits,
)
from stages.shared.scratch import row_slices
from stages.shared.splits import SPLITS, TEST, TRAIN, VALID
from stages.shared.tables import Table

# Share of rows with different features, below which equal ones are no copies but the rule.
MIN_DISTINCT = 0.2


def split(params: TableParams, table: Table) -> np.ndarray:
    """Return the part of each row, int8 (n,), a position in SPLITS.

    The table's column `split` decides, if there is one, and else params.split. At random, rows are
    drawn class by class in a classification.
    """
    fractions = params.valid_fraction, params.test_fraction
    if table.parts is not None:
        has_valid = any(
            (table.parts[rows] == VALID).any() for rows in row_slices(len(table.parts), "split")
        )
        return table.parts if has_valid else draw_valid(params, table, table.parts)
    if params.split == "last":
        check_distinct(len(table.target), table.path, "rows")
        return split_by_order(len(table.target), *fractions)
    if table.groups is not None:
        hashes = scratch.empty(len(table.groups), np.uint64)
        for rows in row_slices(len(hashes), "hash groups"):
            hashes[rows] = hash_rows([table.groups[rows]], params.seed)
        return split_by_hash(hashes, *fractions, table.path, "groups")
    hashes = feature_hashes(table, params.seed)
    if table.labels is None:
        return split_by_hash(hashes, *fractions, table.path, "distinct rows")
    _, splits = fit_splits(hashes, table.target, len(table.labels), *fractions)
    if not any(splits):
        raise UserError(
            f"{table.path} must have a class of three or more distinct rows; the target "
            f"{params.target} has {len(table.labels)} classes in {len(hashes)} rows. Choose "
            "another target."
        )
    return apply_splits(splits, hashes, table.target)


def draw_valid(params: TableParams, table: Table, parts: np.ndarray) -> np.ndarray:
    """Return `parts`, (n,), in which none is for validation, with some drawn.

    They are drawn from the training rows, class by class in a classification.
    """
    hashes = feature_hashes(table, params.seed)
    classes = None if table.labels is None else table.target
    n_classes = 1 if table.labels is None else len(table.labels)
    n_distinct, splits = fit_splits(hashes, classes, n_classes, 0, params.valid_fraction, parts)
    if not any(splits):
        if classes is not None:
            hashes, _ = order_by_class(hashes, None, 1, parts)
            hashes.sort()
            n_distinct = [count_distinct(hashes)]
        check_distinct(n_distinct[0], table.path, "distinct rows with split train")
        raise UserError(
            f"{table.path} must have a class of three or more distinct rows with split train, from "
            "which validation rows are drawn; it has none. Add rows with split valid."
        )
    drawn = apply_splits(splits, hashes, classes)
    for rows in row_slices(len(parts), "draw validation rows"):
        is_drawn = (drawn[rows] == TEST) & (parts[rows] == TRAIN)
        drawn[rows] = np.where(is_drawn, VALID, parts[rows])
    return drawn


def split_by_hash(
    hashes: np.ndarray, valid_fraction: float, test_fraction: float, path: str, what: str
) -> np.ndarray:
    """Return the part of each row, int8 (n,), as HashSplit draws it."""
    n_distinct, splits = fit_splits(hashes, None, 1, valid_fraction, test_fraction)
    check_distinct(n_distinct[0], path, what)
    return apply_splits(splits, hashes, None)


def split_by_order(n_rows: int, valid_fraction: float, test_fraction: float) -> np.ndarray:
    """Return the part of each row, int8 (n_rows,): the last rows test, those before validate.

    There must be three or more rows.
    """
    n_test, n_valid = round(n_rows * test_fraction), round(n_rows * valid_fraction)
    n_held_out = n_test + n_valid
    n_test = min(max(n_test, 1), n_rows - 2)
    n_held_out = min(max(n_held_out, n_test + 1), n_rows - 1)
    parts = scratch.empty(n_rows, np.int8)
    parts[: n_rows - n_held_out] = TRAIN
    parts[n_rows - n_held_out : n_rows - n_test] = VALID
    parts[n_rows - n_test :] = TEST
    return parts


def fit_splits(
    hashes: np.ndarray,
    classes: np.ndarray | None,
    n_classes: int,
    valid_fraction: float,
    test_fraction: float,
    parts: np.ndarray | None = None,
) -> tuple[list[int], list[HashSplit | None]]:
    """Return, for each class, how many distinct hashes it has and how these are split.

    With `parts`, only training rows count. A class with fewer distinct hashes than there are parts
    is not split: all of it trains.
    """
    ordered, bounds = order_by_class(hashes, classes, n_classes, parts)
    n_distinct, splits = list[int](), list[HashSplit | None]()
    for number in range(n_classes):
        segment = ordered[bounds[number] : bounds[number + 1]]
        segment.sort()
        n_distinct.append(count_distinct(segment))
        is_rare = n_distinct[-1] < len(SPLITS)
        splits.append(None if is_rare else HashSplit.fit(segment, valid_fraction, test_fraction))
    return n_distinct, splits


def order_by_class(
    hashes: np.ndarray, classes: np.ndarray | None, n_classes: int, parts: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the hashes, class after class, and where each class begins, (n_classes + 1,).

    With `parts`, only those of training rows.
    """
    counts = np.zeros(n_classes, dtype=np.int64)
    for rows in row_slices(len(hashes), "count classes"):
        _, numbers = training_rows(rows, hashes, classes, parts)
        counts += np.bincount(numbers, minlength=n_classes)
    bounds = np.concatenate([[0], np.cumsum(counts)])
    ordered, places = scratch.empty(int(bounds[-1]), np.uint64), bounds[:-1].copy()
    for rows in row_slices(len(hashes), "order classes"):
        chunk, numbers = training_rows(rows, hashes, classes, parts)
        order = np.argsort(numbers, kind="stable")
        found, first, n_equal = np.unique(numbers[order], return_index=True, return_counts=True)
        starts = np.repeat(places[found] - first, n_equal)
        ordered[np.arange(len(chunk)) + starts] = chunk[order]
        places[found] += n_equal
    return ordered, bounds


def training_rows(
    rows: slice, hashes: np.ndarray, classes: np.ndarray | None, parts: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the hashes and class numbers of some rows; with `parts`, of those that train."""
    chunk = hashes[rows]
    numbers = np.zeros(len(chunk), dtype=np.int64) if classes is None else classes[rows]
    if parts is None:
        return chunk, numbers
    is_train = parts[rows] == TRAIN
    return chunk[is_train], numbers[is_train]


def apply_splits(
    splits: list[HashSplit | None], hashes: np.ndarray, classes: np.ndarray | None
) -> np.ndarray:
    """Return the part of each row, int8 (n,); classes that are not split train."""
    parts = scratch.empty(len(hashes), np.int8)
    for rows in row_slices(len(hashes), "split rows"):
        chunk = hashes[rows]
        numbers = np.zeros(len(chunk), dtype=np.int64) if classes is None else classes[rows]
        order = np.argsort(numbers, kind="stable")
        found, first = np.unique(numbers[order], return_index=True)
        parts[rows] = TRAIN
        for number, members in zip(found, np.split(order, first[1:]), strict=True):
            hash_split = splits[number]
            if hash_split:
                parts[rows][members] = hash_split.parts(chunk[members])
    return parts


def feature_hashes(table: Table, seed: int) -> np.ndarray:
    """Return one pseudo-random number per row, uint64 (n,), by which a table is split at random.

    Rows with the same features have the same number, so that none is tested whose features were
    trained on. Where such rows are the rule, as in a table of a few categories, that would leave
    out whole combinations, and every row has a number of its own. The numbers depend on the values,
    not on the order of rows or columns.
    """
    names = sorted(table.features)
    hashes = hash_columns(table, names, seed)
    if count_distinct(sorted_copy(hashes)) >= MIN_DISTINCT * len(hashes):
        return hashes
    numbers = occurrences(row_hashes(table))
    for rows, columns in iter_bits(table, names):
        columns.append(target_bits(table, rows))
        columns.append(to_bits(numbers[rows]))
        hashes[rows] = hash_rows(columns, seed)
    return hashes


def row_hashes(table: Table) -> np.ndarray:
    """Return one pseudo-random number per row, uint64 (n,); equal rows have equal ones."""
    hashes = scratch.empty(len(table.target), np.uint64)
    for rows, columns in iter_bits(table, list(table.features)):
        hashes[rows] = hash_rows([*columns, target_bits(table, rows)], 0)
    return hashes


def hash_columns(table: Table, names: Sequence[str], seed: int) -> np.ndarray:
    """Return one number per row, uint64 (n,), from the features `names`."""
    hashes = scratch.empty(len(table.target), np.uint64)
    for rows, columns in iter_bits(table, names):
        hashes[rows] = hash_rows(columns, seed)
    return hashes


def iter_bits(table: Table, names: Sequence[str]) -> Iterator[tuple[slice, list[np.ndarray]]]:
    """Yield the rows of each chunk, and the values of the features `names` as to_bits does."""
    # The last one stands for a missing text, whose position is nan.
    bits_of = {name: text_bits([*texts, ""]) for name, texts in table.texts.items()}
    for rows in row_slices(len(table.target), "hash rows", len(names)):
        columns = []
        for name in names:
            values = table.features[name][rows]
            if name in bits_of:
                positions = np.where(np.isnan(values), -1, values).astype(np.int64)
                columns.append(bits_of[name][positions])
            else:
                columns.append(to_bits(values))
        yield rows, columns


def target_bits(table: Table, rows: slice) -> np.ndarray:
    """Return the target of some rows as to_bits does; integers count as float64."""
    if table.labels is None:
        return to_bits(table.target[rows])
    is_text = table.labels.dtype == object
    return to_bits(table.labels if is_text else table.labels.astype(float))[table.target[rows]]


def check_distinct(n_distinct: int, path: str, what: str) -> None:
    """Raise UserError for fewer than three distinct values: one for each part."""
    if n_distinct < len(SPLITS):
        raise UserError(
            f"{path} must have three or more {what}, one to train on, one to validate and one to "
            f"test; it has {n_distinct}. Add rows, or a column split."
        )
