"""The columns of a table as numbers, labels and parts; an error names the row and column."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.core.errors import UserError
from stages.core.params import did_you_mean
from stages.shared.splits import SPLIT, SPLITS
from stages.shared.table_files import (
    column_names,
    index_names,
    is_text,
    no_rows,
    read_chunks,
    read_truth,
)

MAX_NUMBER = 1e30  # as in params.yaml: the square of a larger number may not be finite
NUMBER = r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"
INTEGER = r"^(0|-?[1-9][0-9]{0,17})$"
MISSING = ("", "na", "n/a", "#n/a", "nan", "null", "none", "?")


def location(path: str, name: str, row: int) -> str:
    """Return how an error names a value; row 1 is the first below the column names."""
    return f"{path}: row {row}, column {name}"


def is_numeric(column: pa.Array) -> bool:
    """Return whether a column has a numeric type, or text of which at least one is a number."""
    if is_text(column):
        matches = pc.match_substring_regex(pc.utf8_trim_whitespace(column), NUMBER)
        return bool(pc.any(matches).as_py())
    type_ = column.type
    return pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_)


def to_float64(column: pa.Array, path: str, name: str, first_row: int = 1) -> np.ndarray:
    """Return a column as float64 (n,); `first_row` is the number of its first row.

    Raises UserError for the first value that is missing, not a number, infinite, or larger than
    MAX_NUMBER.
    """
    if is_text(column):
        texts = pc.fill_null(pc.utf8_trim_whitespace(column), "")
        row = pc.index(pc.match_substring_regex(texts, NUMBER), False).as_py()
        if row >= 0:
            raise number_error(column[row].as_py(), location(path, name, first_row + row))
        values = np.array(pc.cast(texts, pa.float64()), dtype=np.float64)
    elif is_numeric(column):
        values = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    else:
        raise number_error(column[0].as_py(), location(path, name, first_row))
    rows = np.flatnonzero(~(np.abs(values) <= MAX_NUMBER))
    if len(rows):
        row = int(rows[0])
        raise number_error(column[row].as_py(), location(path, name, first_row + row))
    return values


def number_error(value: object, where: str) -> UserError:
    """Return the error for a value that should be a number."""
    missing = value is None or str(value).strip().lower() in MISSING
    given = repr(value) if isinstance(value, str) else value
    return UserError(
        f"{where} must be a number from -1e30 to 1e30; got {given}"
        f"{', a missing value' if missing else ''}. Correct the table."
    )


def to_labels(column: pa.Array, path: str, name: str) -> np.ndarray:
    """Return a column of class labels as int64 (n,) or as text, object (n,).

    Text becomes integers if every value is one, as in CSV. Raises UserError for a missing label and
    for labels that are neither integers nor text.
    """
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.string())
    if pa.types.is_integer(column.type):
        missing = pc.index(column.is_null(), True).as_py()
    elif is_text(column):
        empty = pc.equal(pc.fill_null(pc.utf8_trim_whitespace(column), ""), "")
        missing = pc.index(empty, True).as_py()
    else:
        raise UserError(
            f"{path}: column {name} must hold labels, which are text or integers; its type is "
            f"{column.type}. Convert it, or choose another target."
        )
    if missing >= 0:
        raise UserError(
            f"{location(path, name, missing + 1)} must be a label, text or an integer; got a "
            "missing value. Correct the table."
        )
    if is_text(column) and pc.all(pc.match_substring_regex(column, INTEGER)).as_py():
        column = column.cast(pa.int64())
    if pa.types.is_integer(column.type):
        try:
            column = column.cast(pa.int64())
        except pa.ArrowInvalid:
            raise UserError(
                f"{path}: column {name} must hold integers of at most 64 bits; it holds larger "
                "ones. Convert them to text."
            ) from None
    return column.to_numpy(zero_copy_only=False)


def to_test_rows(column: pa.Array, path: str) -> np.ndarray:
    """Return a split column as bool (n,), true for the test rows.

    Raises UserError for a value that is not train or test, and where one of them never appears.
    """
    if not is_text(column):
        column = pa.array([str(value) for value in column.to_pylist()])
    texts = pc.utf8_trim_whitespace(column)
    row = pc.index(pc.fill_null(pc.is_in(texts, pa.array(SPLITS)), False), False).as_py()
    if row >= 0:
        raise UserError(
            f"{location(path, SPLIT, row + 1)} must be train or test; got {column[row].as_py()!r}. "
            "Correct the table, or rename the column to have the table split at random."
        )
    test = np.array(pc.equal(texts, "test"), dtype=bool)
    for split, is_empty in (("train", test.all()), ("test", not test.any())):
        if is_empty:
            raise UserError(
                f"{path}: column {SPLIT} must have rows with train and with test; none has {split}."
                " Correct the table, or rename the column to have the table split at random."
            )
    return test


@dataclass(frozen=True)
class Table:
    """The columns of a table that a model is trained on.

    `test` marks the test rows, bool (n,), if the table has a split column; `left_out` names the
    columns that `features: all` does not take; `truth` is how a simulation describes itself.
    """

    path: str
    columns: pa.Table
    test: np.ndarray | None
    left_out: list[str]
    truth: str | None

    def column(self, name: str) -> pa.Array:
        """Return a column as one contiguous array."""
        return self.columns.column(name).chunk(0)


def read_table(path: str, target: str, features: str | Sequence[str]) -> Table:
    """Return the columns `features`, a list or "all", and `target`, the last column.

    "all" stands for every other numeric column, except the split and an index that pandas wrote.
    Raises UserError for a column that does not exist, a table without rows, and whatever the
    functions above reject.
    """
    names = column_names(path)
    select_all = features == "all"
    listed = [] if select_all else list(features)
    for name in (target, *listed):
        if name not in names:
            raise UserError(
                f"{path}: column {name!r} does not exist; the columns are {shorten(names)}. "
                "Correct target or features in params.yaml." + did_you_mean(name, names)
            )
        if name == SPLIT:
            raise UserError(
                f"{path}: column {SPLIT} divides the rows into train and test, so it cannot be a "
                "feature or the target; rename it."
            )
    has_split = SPLIT in names
    if select_all:
        listed = [name for name in names if name not in (target, SPLIT)]
    batches = list(read_chunks(path, [*listed, target, *([SPLIT] if has_split else [])]))
    if not sum(len(batch) for batch in batches):
        raise no_rows(path)
    columns = pa.Table.from_batches(batches).combine_chunks()
    test = to_test_rows(columns.column(SPLIT).chunk(0), path) if has_split else None
    index = index_names(path)
    left_out = [
        name
        for name in listed
        if select_all and (name in index or not is_numeric(columns.column(name).chunk(0)))
    ]
    kept = [name for name in listed if name not in left_out]
    if not kept:
        raise UserError(f"{path} must have a numeric column besides {target}; it has none.")
    return Table(path, columns.select([*kept, target]), test, left_out, read_truth(path, columns))


def shorten(names: Sequence[str]) -> str:
    """Return the first ten names and how many more there are."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(repr(name) for name in names[:10]) + more
