"""Which rows of a table train, validate and test: its own split, or one by hash, order or group."""

import numpy as np

from stages.core.errors import UserError
from stages.core.schema import TableParams
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
from stages.shared.tables import Table

# Share of rows with different features, below which equal ones are no copies but the rule.
MIN_DISTINCT = 0.2


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
