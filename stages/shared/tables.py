"""The columns of a table as numbers, texts, labels and parts; an error names the row and column."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.core.errors import UserError
from stages.core.params import did_you_mean, shorten
from stages.core.schema import TableParams
from stages.shared.splits import SPLIT, SPLITS
from stages.shared.table_files import (
    column_names,
    index_names,
    is_text,
    locate,
    no_rows,
    read_chunks,
    read_truth,
)

MAX_NUMBER = 1e30  # as in params.yaml: the square of a larger number may not be finite
MAX_CATEGORIES = 20  # of a column of text that `features: all` takes
# Texts among numbers: up to these, they are taken for mistakes and rejected.
MAX_STRAY_TEXTS = 3
MAX_STRAY_FRACTION = 0.1
NUMBER = r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"
MAX_INTEGER = 2**53  # larger ones are not all different in float64
LARGE_INTEGER = r"^\s*[-+]?[0-9]{16,}\s*$"
# Numbers as people write them: 1,234.5 or 1.234,5 or 1 234 or 5 % or $3
WRITTEN_NUMBER = r"^[-+]?[$€£]? ?[0-9][0-9.,' ]* ?[%$€£]?$"
INTEGER = r"^(0|-?[1-9][0-9]{0,17})$"
# In lower case; pandas reads the same and a few more.
MISSING = ("", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "?")

Column = pa.Array | pa.ChunkedArray


@dataclass(frozen=True)
class Table:
    """The columns of a table that a model is trained on, without the rows that are dropped.

    `features` are float64, nan where a value is missing, or text as object, "" where it is missing;
    `target` is float64 for a regression, and int64 or text as object for a classification; all have
    shape (n,). `parts` are the positions in SPLITS, from the table's column `split`, and `groups`
    the texts of the column that keeps rows together, if there is one. `left_out` gives the reason
    why `features: all` does not take a column. `n_dropped` and `n_missing` count the rows that are
    dropped and the values that are missing in the others. `truth` is how a simulation describes
    itself.
    """

    path: str
    features: dict[str, np.ndarray]
    target: np.ndarray
    parts: np.ndarray | None
    groups: np.ndarray | None
    left_out: dict[str, str]
    n_dropped: int
    n_missing: int
    truth: str | None


def read_table(params: TableParams, is_regression: bool) -> Table:
    """Return the columns of a table that params.yaml names.

    Raises UserError for a column that does not exist, a table without rows, a value that is missing
    where `missing` says refuse, and whatever the functions below reject.
    """
    path, target = params.table, params.target
    group = params.split.removeprefix("group:") if params.split.startswith("group:") else None
    names = column_names(path)
    listed = [] if params.features == "all" else list(params.features)
    check_names(path, names, target, listed, group)
    has_split = SPLIT in names
    if has_split and params.split != "random":
        raise UserError(
            f"{path} has a column {SPLIT}, which decides how the table is split; set split: random "
            "in params.yaml, or rename the column."
        )
    candidates = [name for name in names if name not in (target, SPLIT, group) and name.strip()]
    extra = [SPLIT] if has_split else [group] if group else []
    used = listed or candidates
    batches = list(read_chunks(path, [*used, target, *extra]))
    if not sum(len(batch) for batch in batches):
        raise no_rows(path)
    columns = pa.Table.from_batches(batches)
    left_out = dict[str, str]()
    if not listed:
        unnamed = {"": "no name"} if "" in [name.strip() for name in names] else {}
        left_out = find_left_out(path, columns.select(used)) | unnamed
        used = [name for name in used if name not in left_out]
    if not used:
        reasons = shorten([f"{name} ({reason})" for name, reason in left_out.items()])
        raise UserError(
            f"{path} must have a feature besides {target}: a column of numbers, or of text with "
            f"at most {MAX_CATEGORIES} categories; it has none{': ' * bool(reasons)}{reasons}."
        )
    for name in extra:
        if not is_text_like(columns[name]) and not is_number(columns[name].type):
            raise UserError(
                f"{path}: column {name}, by which the rows are split, must hold text or numbers; "
                f"its type is {columns[name].type}. Convert it, or choose another split."
            )
    truth = read_truth(path, columns)
    features = {name: to_feature(columns[name], path, name) for name in used}
    values = columns[target]
    y = to_float64(values, path, target) if is_regression else to_labels(values, path, target)
    parts = to_parts(columns[SPLIT], path) if has_split else None
    groups = to_texts(columns[group]) if group else None
    keep = rows_to_keep(params, features, y, groups)
    check_kept(params, parts, keep)
    features = {name: column[keep] for name, column in features.items()}
    return Table(
        path=path,
        features=features,
        target=y[keep] if is_regression else to_integers(y[keep]),
        parts=None if parts is None else parts[keep],
        groups=None if groups is None else groups[keep],
        left_out=left_out,
        n_dropped=len(keep) - int(keep.sum()),
        n_missing=sum(int(is_missing(column).sum()) for column in features.values()),
        truth=truth,
    )


def check_names(
    path: str, names: Sequence[str], target: str, listed: Sequence[str], group: str | None
) -> None:
    """Raise UserError for a column that params.yaml names and that is not there, or the split."""
    for name in (target, *listed, *([group] if group else [])):
        if name not in names:
            raise UserError(
                f"{path}: column {name!r} does not exist; the columns are {shorten(names)}. "
                "Correct target, features or split in params.yaml."
                + did_you_mean(name, list(names))
            )
        if name == SPLIT:
            raise UserError(
                f"{path}: column {SPLIT} divides the rows into parts, so it cannot be a feature, "
                "the target or the group; rename it."
            )
    if group in (target, *listed):
        raise UserError(
            f"{path}: column {group} groups the rows, so it cannot be a feature or the target; "
            "correct features or split in params.yaml."
        )
    for name, count in Counter(names).items():
        if name.strip() and count > 1 and not listed:
            raise UserError(
                f"{path}: column names must be distinct; {name} appears {count} times. Rename one, "
                "or list the features in params.yaml."
            )


def find_left_out(path: str, columns: pa.Table) -> dict[str, str]:
    """Return why `features: all` does not take a column, by name, for those that it leaves out."""
    reasons = {name: reason_to_leave_out(columns[name]) for name in columns.column_names}
    reasons |= dict.fromkeys(index_names(path), "an index")
    left_out = {name: reasons[name] for name in columns.column_names if reasons[name]}
    kept = [name for name in columns.column_names if name not in left_out]
    if len(kept) > 1 and kept[0] == columns.column_names[0] and counts_rows(columns[kept[0]]):
        left_out = {kept[0]: "an index"} | left_out
    return left_out


def reason_to_leave_out(column: Column) -> str:
    """Return why a column cannot be a feature, or nothing."""
    if column.null_count == len(column):
        return "no values"
    numbers = parse_numbers(column)
    if has_large_integers(column, numbers):
        return "integers beyond 2**53, which float64 merges"
    if not is_text_like(column):
        return "" if is_number(column.type) else f"type {column.type}"
    if numbers is not None:
        return ""
    values = normalize(column).drop_null()
    if not len(values):
        return "no values"
    if is_numeric(column):
        texts = values.filter(pc.invert(pc.match_substring_regex(values, NUMBER)))
        if len(texts) <= max(MAX_STRAY_TEXTS, MAX_STRAY_FRACTION * len(values)):
            return ""
        return f"{len(texts)} of {len(values)} values are text, such as {texts[0]}"
    written = pc.match_substring_regex(values, WRITTEN_NUMBER)
    if 2 * pc.sum(written).as_py() > len(values):
        example = values[pc.index(written, True).as_py()]
        return f"numbers such as {example}, which must be written as 1234.5"
    n_categories = len(pc.unique(values))
    if n_categories <= MAX_CATEGORIES:
        return ""
    return f"text with {n_categories} different values; the limit is {MAX_CATEGORIES}"


def counts_rows(column: Column) -> bool:
    """Return whether a column is 0, 1, 2 … or 1, 2, 3 …, as an index is."""
    if is_text(column):
        if not pc.all(pc.match_substring_regex(column, INTEGER)).as_py():
            return False
        column = pc.cast(column, pa.int64())
    if not pa.types.is_integer(column.type) or column.null_count:
        return False
    values = np.array(column)
    return bool(values[0] in (0, 1) and (np.diff(values) == 1).all())


def rows_to_keep(
    params: TableParams, features: dict[str, np.ndarray], y: np.ndarray, groups: np.ndarray | None
) -> np.ndarray:
    """Return which rows have all values that they need, bool (n,).

    A row without a target, or without its group, is of no use. Raises UserError for the first
    missing value if they are to be refused, and if no row is left.
    """
    if is_missing(y).all():
        raise UserError(
            f"{params.table}: the target {params.target} must have values; it has none. Choose "
            "another target."
        )
    needed = {params.target: is_missing(y)}
    if groups is not None:
        needed[params.split.removeprefix("group:")] = is_missing(groups)
    columns = needed.copy()
    if params.missing != "impute":
        columns |= {name: is_missing(values) for name, values in features.items()}
    if params.missing == "refuse":
        for name, missing in columns.items():
            if missing.any():
                remedy = "drop" if name in needed else "drop or impute"
                where = location(params.table, name, int(missing.argmax()) + 1)
                raise UserError(
                    f"{where} has a missing value, the first of {missing.sum()} in this column; "
                    f"set missing: {remedy} in params.yaml, or correct the table."
                )
    keep = ~np.any(list(columns.values()), axis=0)
    if not keep.any():
        worst = max(columns, key=lambda name: columns[name].sum())
        raise UserError(
            f"{params.table} must have rows without missing values; it has none, and most are "
            f"missing in column {worst}. Leave it out of the features, or set missing: impute in "
            "params.yaml."
        )
    return np.asarray(keep)


def check_kept(params: TableParams, parts: np.ndarray | None, keep: np.ndarray) -> None:
    """Raise UserError if dropping rows leaves none for training or for testing."""
    for number, part in enumerate(SPLITS):
        if parts is not None and (parts == number).any() and not (parts[keep] == number).any():
            raise UserError(
                f"{params.table}: every row with split {part} has a missing value, so that none is "
                "left. Set missing: impute in params.yaml, or list fewer features."
            )


def is_missing(values: np.ndarray) -> np.ndarray:
    """Return which values, float64 or text as object, are missing, bool of the same shape."""
    return np.asarray(values == "") if values.dtype == object else np.isnan(values)


# Arrow's columns ----------------------------------------------------------------------------------


def location(path: str, name: str, row: int) -> str:
    """Return how an error names a value; row 1 is the first below the column names.

    Of CSV, it names the line, as an editor shows it.
    """
    return f"{path}: {locate(path, row)}, column {name}"


def is_number(type_: pa.DataType) -> bool:
    """Return whether an Arrow type is one of numbers."""
    return pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_)


def is_text_like(column: Column) -> bool:
    """Return whether a column holds text, or true and false, which are read as text."""
    return is_text(column) or pa.types.is_boolean(column.type)


def normalize(column: Column) -> Column:
    """Return a column as text without spaces around it, null where a value is missing.

    Booleans are True and False, as pandas writes them into CSV.
    """
    if pa.types.is_boolean(column.type):
        return pc.if_else(column, pa.scalar("True", pa.large_string()), "False")
    texts = pc.utf8_trim_whitespace(pc.cast(column, pa.large_string()))
    missing = pc.is_in(pc.utf8_lower(texts), pa.array(MISSING, pa.large_string()))
    return pc.if_else(missing, pa.scalar(None, pa.large_string()), texts)


def is_numeric(column: Column) -> bool:
    """Return whether a column has a numeric type, or text of which at least half are numbers.

    Missing values do not count.
    """
    if is_text(column):
        texts = normalize(column)
        matches = pc.match_substring_regex(texts, NUMBER)
        n_numbers = pc.sum(matches).as_py() or 0
        return n_numbers > 0 and 2 * n_numbers >= len(texts) - texts.null_count
    return is_number(column.type)


def has_large_integers(column: Column, numbers: np.ndarray | None) -> bool:
    """Return whether a column holds integers that float64 may merge, such as ids of 18 digits.

    `numbers` are what parse_numbers returns of it.
    """
    if pa.types.is_integer(column.type):
        ends = pc.min_max(column).as_py().values()
        return any(value is not None and abs(value) > MAX_INTEGER for value in ends)
    if numbers is None or not (np.abs(numbers) >= MAX_INTEGER).any():
        return False
    return bool(pc.any(pc.match_substring_regex(column, LARGE_INTEGER)).as_py())


def to_feature(column: Column, path: str, name: str) -> np.ndarray:
    """Return a column as float64 (n,) if it is numeric, and else as text, object (n,)."""
    is_text_column = is_text_like(column) and parse_numbers(column) is None
    is_category = is_text_column and not is_numeric(column)
    return to_texts(column) if is_category else to_float64(column, path, name)


def parse_numbers(column: Column) -> np.ndarray | None:
    """Return a column of text as float64 (n,) if every value is a number, and else None.

    Ten times as fast as the checks in `to_float64`, of which it needs none.
    """
    if not is_text(column):
        return None
    try:
        values = np.array(pc.cast(pc.utf8_trim_whitespace(column), pa.float64()))
    except pa.ArrowInvalid:
        return None
    return values if (np.abs(values) <= MAX_NUMBER).all() else None


def to_texts(column: Column) -> np.ndarray:
    """Return a column as text without spaces around it, object (n,), "" where it is missing."""
    return np.array(pc.fill_null(normalize(column), ""), dtype=object)


def to_float64(column: Column, path: str, name: str, first_row: int = 1) -> np.ndarray:
    """Return a column as float64 (n,), nan where a value is missing.

    `first_row` is the number of its first row. Raises UserError for the first value that is not a
    number, infinite, or larger than MAX_NUMBER.
    """
    numbers = parse_numbers(column)
    if has_large_integers(column, numbers):
        raise UserError(
            f"{path}: column {name} must hold numbers that float64 tells apart; it holds integers "
            "beyond 2**53. Subtract an offset, or leave it out of the features."
        )
    if numbers is not None:
        return numbers
    if is_text(column):
        texts = normalize(column)
        row = pc.index(pc.match_substring_regex(texts, NUMBER), False).as_py()
        if row >= 0:
            raise number_error(column[row].as_py(), location(path, name, first_row + row))
        values = np.array(pc.cast(texts, pa.float64()), dtype=np.float64)
    elif is_number(column.type):
        if pa.types.is_decimal(column.type):  # only from text is the nearest float64 found
            column = pc.cast(column, pa.large_string())
        values = np.array(pc.cast(column, pa.float64(), safe=False), dtype=np.float64)
    elif column.null_count == len(column):
        values = np.full(len(column), np.nan)
    else:
        raise number_error(column[0].as_py(), location(path, name, first_row))
    rows = np.flatnonzero(np.abs(values) > MAX_NUMBER)
    if len(rows):
        row = int(rows[0])
        raise number_error(column[row].as_py(), location(path, name, first_row + row))
    return values


def number_error(value: object, where: str) -> UserError:
    """Return the error for a value that should be a number."""
    given = repr(value) if isinstance(value, str) else value
    return UserError(
        f"{where} must be a number from -1e30 to 1e30; got {given}. Correct the table, or the "
        "target or features in params.yaml."
    )


def to_labels(column: Column, path: str, name: str) -> np.ndarray:
    """Return a column of class labels as text, object (n,), "" where one is missing.

    Integers with a decimal point lose it; pandas writes them so beside missing values. Raises
    UserError for labels that are neither integers nor text.
    """
    if not is_text_like(column) and not is_number(column.type):
        raise label_error(path, name, f"has the type {column.type}")
    texts = normalize(column)
    texts = pc.replace_substring_regex(texts, r"^([-+]?[0-9]+)\.0*$", r"\1")
    all_numbers = pc.all(pc.match_substring_regex(texts, NUMBER)).as_py()
    has_decimals = pc.any(pc.match_substring_regex(texts, "[.eE]")).as_py()
    if all_numbers and has_decimals:
        numbers = to_float64(column, path, name)
        decimals = numbers[~np.isnan(numbers) & (numbers % 1 != 0)]
        if len(decimals):
            raise label_error(path, name, f"holds decimals, such as {decimals[0]:g}")
        return np.array(["" if np.isnan(number) else f"{number:.0f}" for number in numbers], object)
    return np.array(pc.fill_null(texts, ""), dtype=object)


def to_integers(labels: np.ndarray) -> np.ndarray:
    """Return labels, object (n,), as int64 if every one is an integer, and else as they are."""
    texts = pa.array(labels, pa.large_string())
    if not pc.all(pc.match_substring_regex(texts, INTEGER)).as_py():
        return labels
    return np.array(pc.cast(texts, pa.int64()))


def label_error(path: str, name: str, found: str) -> UserError:
    """Return the error for a column that holds no labels."""
    return UserError(
        f"{path}: column {name} must hold labels, which are text or integers; it {found}. Convert "
        "it, or choose another target."
    )


def to_parts(column: Column, path: str) -> np.ndarray:
    """Return a split column as positions in SPLITS, int64 (n,).

    Raises UserError for a value that is not train, valid or test, and where train or test never
    appears.
    """
    texts = pc.utf8_trim_whitespace(pc.cast(column, pa.large_string()))
    parts = np.array(pc.fill_null(pc.index_in(texts, pa.array(SPLITS, pa.large_string())), -1))
    if (parts < 0).any():
        row = int((parts < 0).argmax())
        raise UserError(
            f"{location(path, SPLIT, row + 1)} must be train, valid or test; got "
            f"{column[row].as_py()!r}. Correct the table, or rename the column to have the table "
            "split at random."
        )
    for split in ("train", "test"):
        if not (parts == SPLITS.index(split)).any():
            raise UserError(
                f"{path}: column {SPLIT} must have rows with train and with test; none has {split}."
                " Correct the table, or rename the column to have the table split at random."
            )
    return parts.astype(np.int64)
