"""The columns of a table as numbers, texts, labels and parts; an error names the row and column."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.core.errors import UserError
from stages.core.params import did_you_mean, shorten
from stages.core.schema import TableParams
from stages.shared import scratch
from stages.shared.chunks import progress_bar
from stages.shared.hashes import count_distinct, text_bits
from stages.shared.scratch import map_table, row_slices
from stages.shared.splits import SPLIT, SPLITS
from stages.shared.table_files import (
    column_names,
    count_rows,
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
NO_TEXT = text_bits([""])[0]  # what stands for a missing text

Column = pa.Array | pa.ChunkedArray


@dataclass(frozen=True)
class Table:
    """The columns of a table that a model is trained on, without the rows that are dropped.

    `features` are float64, nan where a value is missing; those in `texts` are positions in the
    sorted texts, object, that are there. `target` is float64 for a regression, and the class
    numbers, int64, for a classification: positions in `labels`, int64 or text as object. `parts`
    are the positions in SPLITS, int8, from the table's column `split`, and `groups` stand for the
    texts of the column that keeps rows together, uint64, if there is one. All have shape (n,), in
    scratch files. `left_out` gives the reason why `features: all` does not take a column.
    `n_dropped` and `n_missing` count the rows that are dropped and the values of each feature that
    are missing in the others. `truth` is how a simulation describes itself.
    """

    path: str
    features: dict[str, np.ndarray]
    texts: dict[str, np.ndarray]
    target: np.ndarray
    labels: np.ndarray | None
    parts: np.ndarray | None
    groups: np.ndarray | None
    left_out: dict[str, str]
    n_dropped: int
    n_missing: dict[str, int]
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
    batches = read_chunks(path, [*used, target, *extra])
    columns = map_table(batches, f"read {path}", count_rows(path))
    if columns is None:
        raise no_rows(path)
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
    n_rows = len(columns)
    values = scratch.empty((len(used), n_rows), np.float64)
    features = dict(zip(used, values, strict=True))
    texts = dict[str, np.ndarray]()
    for name, feature in features.items():
        if is_category(columns[name]):
            texts[name] = write_codes(columns[name], name, feature)
        else:
            write_numbers(columns[name], path, name, feature)
    y = scratch.empty(n_rows, np.float64)
    if is_regression:
        write_numbers(columns[target], path, target, y)
        labels = None
    else:
        labels = write_labels(columns[target], path, target, y)
    parts = read_parts(columns[SPLIT], path) if has_split else None
    groups = read_groups(columns[group], group) if group else None
    del columns  # and the file that it is mapped from
    keep, n_missing = rows_to_keep(params, features, y, groups)
    n_dropped = n_rows - (n_kept := count_true(keep))
    check_kept(params, parts, keep)
    if n_dropped:
        for column in (*values, y, parts, groups):
            if column is not None:
                drop_rows(column, keep)
        features = {name: column[:n_kept] for name, column in features.items()}
        y = y[:n_kept]
        parts = None if parts is None else parts[:n_kept]
        groups = None if groups is None else groups[:n_kept]
    if labels is not None:
        labels, y = number_classes(labels, y)
    return Table(
        path=path,
        features=features,
        texts=texts,
        target=y,
        labels=labels,
        parts=parts,
        groups=groups,
        left_out=left_out,
        n_dropped=n_dropped,
        n_missing=n_missing,
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


def reason_to_leave_out(column: pa.ChunkedArray) -> str:
    """Return why a column cannot be a feature, or nothing."""
    if column.null_count == len(column):
        return "no values"
    all_numbers, has_large = survey_numbers(column)
    if has_large:
        return "integers beyond 2**53, which float64 merges"
    if not is_text_like(column):
        return "" if is_number(column.type) else f"type {column.type}"
    if all_numbers:
        return ""
    n_values, n_numbers = count_matches(column, NUMBER)
    if not n_values:
        return "no values"
    if is_mostly(n_numbers, n_values):
        n_texts = n_values - n_numbers
        if n_texts <= max(MAX_STRAY_TEXTS, MAX_STRAY_FRACTION * n_values):
            return ""
        example = first_match(column, NUMBER, matches=False)
        return f"{n_texts} of {n_values} values are text, such as {example}"
    if 2 * count_matches(column, WRITTEN_NUMBER)[1] > n_values:
        example = first_match(column, WRITTEN_NUMBER, matches=True)
        return f"numbers such as {example}, which must be written as 1234.5"
    n_categories = count_texts(column)
    if n_categories <= MAX_CATEGORIES:
        return ""
    return f"text with {n_categories} different values; the limit is {MAX_CATEGORIES}"


def survey_numbers(column: pa.ChunkedArray) -> tuple[bool, bool]:
    """Return whether a column of text holds numbers alone, and whether integers are too large.

    Integers as text count only where all of the texts are numbers.
    """
    is_large = False
    for _, chunk in walk(column, "look at numbers"):
        numbers = parse_numbers(chunk)
        if numbers is None and is_text(column):
            return False, False
        is_large |= has_large_integers(chunk, numbers)
    return is_text(column), is_large


def count_matches(column: pa.ChunkedArray, pattern: str) -> tuple[int, int]:
    """Return how many values of a column of text are not missing, and how many match."""
    n_values = n_matches = 0
    for _, chunk in walk(column, "look at texts"):
        values = normalize(chunk).drop_null()
        n_values += len(values)
        n_matches += pc.sum(pc.match_substring_regex(values, pattern)).as_py() or 0
    return n_values, n_matches


def first_match(column: pa.ChunkedArray, pattern: str, *, matches: bool) -> str:
    """Return the first value of a column of text that does, or does not, match."""
    for chunk in column.chunks:
        values = normalize(chunk).drop_null()
        place = pc.index(pc.match_substring_regex(values, pattern), matches).as_py()
        if place >= 0:
            return str(values[place])
    raise ValueError(f"no value whose match of {pattern} is {matches}")


def count_texts(column: pa.ChunkedArray) -> int:
    """Return how many different texts a column has; those that are missing do not count."""
    hashes = scratch.empty(len(column), np.int64)
    n_hashes = 0
    for _, chunk in walk(column, "look at texts"):
        texts = pc.unique(normalize(chunk).drop_null()).to_pylist()
        hashes[n_hashes : n_hashes + len(texts)] = list(map(hash, texts))
        n_hashes += len(texts)
    hashes = hashes[:n_hashes]
    hashes.sort()
    return count_distinct(hashes)


def counts_rows(column: pa.ChunkedArray) -> bool:
    """Return whether a column is 0, 1, 2 … or 1, 2, 3 …, as an index is."""
    first = None
    for rows, chunk in walk(column, "look for an index"):
        if is_text(chunk):
            if not pc.all(pc.match_substring_regex(chunk, INTEGER)).as_py():
                return False
            chunk = pc.cast(chunk, pa.int64())
        if not pa.types.is_integer(chunk.type) or chunk.null_count:
            return False
        values = np.array(chunk)
        first = values[0] if first is None else first
        if first not in (0, 1) or (values != np.arange(rows.start, rows.stop) + int(first)).any():
            return False
    return True


def rows_to_keep(
    params: TableParams, features: dict[str, np.ndarray], y: np.ndarray, groups: np.ndarray | None
) -> tuple[np.ndarray, dict[str, int]]:
    """Return which rows have all values that they need, bool (n,), and what these lack.

    That is the number of missing values of each feature. A row without a target, or without its
    group, is of no use. Raises UserError for the first missing value if they are to be refused, and
    if no row is left.
    """
    needed = {params.target: y}
    if groups is not None:
        needed[params.split.removeprefix("group:")] = groups
    columns = needed | features
    required = needed if params.missing == "impute" else columns
    first, n_missing = dict[str, int](), dict.fromkeys(columns, 0)
    imputed = dict.fromkeys(features, 0)
    keep = scratch.empty(len(y), bool)
    for rows in row_slices(len(y), "look for missing values", len(columns)):
        missing = {name: is_missing(values[rows]) for name, values in columns.items()}
        for name, is_lacking in missing.items():
            if is_lacking.any():
                first.setdefault(name, rows.start + int(is_lacking.argmax()))
                n_missing[name] += int(is_lacking.sum())
        keep[rows] = ~np.any([missing[name] for name in required], axis=0)
        for name in features:
            imputed[name] += int(missing[name][keep[rows]].sum())
    if n_missing[params.target] == len(y):
        raise UserError(
            f"{params.table}: the target {params.target} must have values; it has none. Choose "
            "another target."
        )
    if params.missing == "refuse":
        for name in columns:
            if name in first:
                remedy = "drop" if name in needed else "drop or impute"
                where = location(params.table, name, first[name] + 1)
                raise UserError(
                    f"{where} has a missing value, the first of {n_missing[name]} in this column; "
                    f"set missing: {remedy} in params.yaml, or correct the table."
                )
    if not count_true(keep):
        worst = max(required, key=lambda name: n_missing[name])
        raise UserError(
            f"{params.table} must have rows without missing values; it has none, and most are "
            f"missing in column {worst}. Leave it out of the features, or set missing: impute in "
            "params.yaml."
        )
    return keep, imputed


def check_kept(params: TableParams, parts: np.ndarray | None, keep: np.ndarray) -> None:
    """Raise UserError if dropping rows leaves none for training or for testing."""
    if parts is None:
        return
    before, after = np.zeros((2, len(SPLITS)), dtype=np.int64)
    for rows in row_slices(len(keep), "count rows"):
        before += np.bincount(parts[rows], minlength=len(SPLITS))
        after += np.bincount(parts[rows][keep[rows]], minlength=len(SPLITS))
    for number, part in enumerate(SPLITS):
        if before[number] and not after[number]:
            raise UserError(
                f"{params.table}: every row with split {part} has a missing value, so that none is "
                "left. Set missing: impute in params.yaml, or list fewer features."
            )


def count_true(values: np.ndarray) -> int:
    """Return how many of bool values (n,) are true."""
    return int(np.count_nonzero(values))


def drop_rows(column: np.ndarray, keep: np.ndarray) -> None:
    """Move the values of a column (n,) to keep to its start, in their order."""
    done = 0
    for rows in row_slices(len(column), "drop rows"):
        kept = column[rows][keep[rows]]
        column[done : done + len(kept)] = kept
        done += len(kept)


def is_missing(values: np.ndarray) -> np.ndarray:
    """Return which values are missing, bool of the same shape.

    They are float64, text as object, or uint64 that stands for text.
    """
    if values.dtype == np.uint64:
        return np.asarray(values == NO_TEXT)
    return np.asarray(values == "") if values.dtype == object else np.isnan(values)


# Columns as arrays --------------------------------------------------------------------------------


def walk(column: pa.ChunkedArray, doing: str) -> Iterator[tuple[slice, pa.Array]]:
    """Yield the rows and the values of each chunk of a column, with a progress bar."""
    start = 0
    with progress_bar(doing, len(column)) as bar:
        for chunk in column.chunks:
            yield slice(start, start + len(chunk)), chunk
            start += len(chunk)
            bar.update(len(chunk))


def write_numbers(column: pa.ChunkedArray, path: str, name: str, values: np.ndarray) -> None:
    """Write a column into float64 (n,), nan where a value is missing; raise as to_float64 does."""
    if survey_numbers(column)[1]:
        raise large_error(path, name)
    for rows, chunk in walk(column, f"read {name}"):
        values[rows] = convert_numbers(chunk, path, name, rows.start + 1)


def write_codes(column: pa.ChunkedArray, name: str, values: np.ndarray) -> np.ndarray:
    """Write a column of text into float64 (n,); return the sorted texts, object.

    The values are positions in the texts, nan where one is missing.
    """
    distinct = pc.unique(column)
    texts = to_texts(distinct)
    return write_positions(column, distinct, texts, name, values)


def write_labels(column: pa.ChunkedArray, path: str, name: str, values: np.ndarray) -> np.ndarray:
    """Write a column of class labels into float64 (n,); return the sorted labels, text as object.

    The values are positions in the labels, nan where one is missing. Raises as to_labels does.
    """
    distinct = pc.unique(column)
    try:
        labels = to_labels(distinct, path, name)
    except UserError:
        for rows, chunk in walk(column, f"read {name}"):  # the error names the row of a value
            to_labels(chunk, path, name, rows.start + 1)
        raise
    return write_positions(column, distinct, labels, name, values)


def write_positions(
    column: pa.ChunkedArray, distinct: pa.Array, texts: np.ndarray, name: str, values: np.ndarray
) -> np.ndarray:
    """Write a column into float64 (n,), as positions in the sorted texts, which are returned.

    `texts`, object, stand for the `distinct` values, "" for what is missing.
    """
    known = np.array(sorted(set(texts.tolist()) - {""}), dtype=object)
    numbers = {text: number for number, text in enumerate(known.tolist())}
    positions = np.array([numbers.get(text, np.nan) for text in texts.tolist()])
    for rows, chunk in walk(column, f"read {name}"):
        values[rows] = positions[np.array(pc.index_in(chunk, distinct))]
    return known


def number_classes(texts: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels that appear, in ascending order, and the class numbers, int64 (n,).

    `values` are positions in `texts`, float64.
    """
    counts = np.zeros(len(texts), dtype=np.int64)
    for rows in row_slices(len(values), "count labels"):
        counts += np.bincount(values[rows].astype(np.int64), minlength=len(texts))
    labels, numbers = np.unique(to_integers(texts[counts > 0]), return_inverse=True)
    numbers_of = np.zeros(len(texts), dtype=np.int64)
    numbers_of[counts > 0] = numbers
    y = scratch.empty(len(values), np.int64)
    for rows in row_slices(len(values), "number labels"):
        y[rows] = numbers_of[values[rows].astype(np.int64)]
    return labels, y


def read_groups(column: pa.ChunkedArray, name: str) -> np.ndarray:
    """Return what stands for the text of each row, uint64 (n,), NO_TEXT where it is missing."""
    groups = scratch.empty(len(column), np.uint64)
    for rows, chunk in walk(column, f"read {name}"):
        encoded = pc.dictionary_encode(chunk, null_encoding="encode")
        bits = text_bits(to_texts(encoded.dictionary).tolist())
        groups[rows] = bits[np.array(encoded.indices)]
    return groups


def read_parts(column: pa.ChunkedArray, path: str) -> np.ndarray:
    """Return a split column as positions in SPLITS, int8 (n,).

    Raises UserError for a value that is not train, valid or test, and where train or test never
    appears.
    """
    parts = scratch.empty(len(column), np.int8)
    counts = np.zeros(len(SPLITS), dtype=np.int64)
    for rows, chunk in walk(column, f"read {SPLIT}"):
        parts[rows] = to_parts(chunk, path, rows.start + 1)
        counts += np.bincount(parts[rows], minlength=len(SPLITS))
    for split in ("train", "test"):
        if not counts[SPLITS.index(split)]:
            raise UserError(
                f"{path}: column {SPLIT} must have rows with train and with test; none has {split}."
                " Correct the table, or rename the column to have the table split at random."
            )
    return parts


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


def is_category(column: pa.ChunkedArray) -> bool:
    """Return whether a column holds text that is no numbers."""
    if not is_text_like(column) or survey_numbers(column)[0]:
        return False
    n_values, n_numbers = count_matches(column, NUMBER)
    return not is_mostly(n_numbers, n_values)


def is_mostly(n_numbers: int, n_values: int) -> bool:
    """Return whether a column of text, of which so many values are numbers, is one of numbers."""
    return n_numbers > 0 and 2 * n_numbers >= n_values


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


def to_float64(column: pa.Array, path: str, name: str, first_row: int = 1) -> np.ndarray:
    """Return a column as float64 (n,), nan where a value is missing.

    `first_row` is the number of its first row. Raises UserError for the first value that is not a
    number, infinite, or larger than MAX_NUMBER, and for integers that float64 may merge.
    """
    if has_large_integers(column, parse_numbers(column)):
        raise large_error(path, name)
    return convert_numbers(column, path, name, first_row)


def convert_numbers(column: pa.Array, path: str, name: str, first_row: int) -> np.ndarray:
    """Return what to_float64 does, whatever integers there are."""
    numbers = parse_numbers(column)
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


def large_error(path: str, name: str) -> UserError:
    """Return the error for integers that float64 may merge."""
    return UserError(
        f"{path}: column {name} must hold numbers that float64 tells apart; it holds integers "
        "beyond 2**53. Subtract an offset, or leave it out of the features."
    )


def number_error(value: object, where: str) -> UserError:
    """Return the error for a value that should be a number."""
    given = repr(value) if isinstance(value, str) else value
    return UserError(
        f"{where} must be a number from -1e30 to 1e30; got {given}. Correct the table, or the "
        "target or features in params.yaml."
    )


def to_labels(column: pa.Array, path: str, name: str, first_row: int = 1) -> np.ndarray:
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
        numbers = to_float64(column, path, name, first_row)
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


def to_parts(column: pa.Array, path: str, first_row: int) -> np.ndarray:
    """Return values of a split column as positions in SPLITS, int8 (n,).

    `first_row` is the number of the first row. Raises UserError for a value that is not train,
    valid or test.
    """
    encoded = pc.dictionary_encode(column, null_encoding="encode")
    texts = pc.utf8_trim_whitespace(pc.cast(encoded.dictionary, pa.large_string()))
    found = pc.fill_null(pc.index_in(texts, pa.array(SPLITS, pa.large_string())), -1)
    parts = np.array(found, dtype=np.int8)[np.array(encoded.indices)]
    if (parts < 0).any():
        row = int((parts < 0).argmax())
        raise UserError(
            f"{location(path, SPLIT, first_row + row)} must be train, valid or test; got "
            f"{column[row].as_py()!r}. Correct the table, or rename the column to have the table "
            "split at random."
        )
    return parts
