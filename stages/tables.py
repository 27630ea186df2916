"""A user's own table, as CSV or Parquet: read in chunks, and every fault said with its place."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from stages.errors import UserError

LARGEST = 1e30  # as in params.yaml: the squares of larger numbers need not be finite
NUMBER = r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"
WHOLE = r"^(0|-?[1-9][0-9]{0,17})$"
MISSING = ("", "na", "n/a", "#n/a", "nan", "null", "none", "?")
DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}
BLOCK = 2**20  # bytes of a CSV file in memory at a time
BATCH = 2**17  # rows of a Parquet file


def column_names(path: str) -> list[str]:
    """Return the names of the columns of a table.

    Raises UserError for a file that is missing, empty, damaged, not UTF-8 or neither CSV nor
    Parquet, and for a name that is empty or stands twice.
    """
    try:
        if path.endswith(".parquet"):
            names = pq.read_schema(path).names
        elif path.endswith(".csv"):
            with open(path, encoding="utf-8-sig", newline="") as file:
                names = next(csv.reader(file), [])
        else:
            raise UserError(f"{path} must be a .csv or a .parquet file; convert the table to one.")
    except FileNotFoundError:
        raise UserError(f"{path} is missing; put the table there.") from None
    except (IsADirectoryError, PermissionError) as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, csv.Error):
        raise unreadable(path) from None
    except (pa.ArrowException, OSError):
        raise not_parquet(path) from None
    if not names:
        raise UserError(f"{path} must be a table below a line of column names; it is empty.")
    if len(names) == 1:
        for delimiter, word in DELIMITERS.items():
            if delimiter in names[0]:
                raise UserError(
                    f"{path} must have commas between its values; line 1 has {word}. Save it with "
                    "commas."
                )
    for number, name in enumerate(names, start=1):
        if not name.strip():
            raise UserError(
                f"{path}: each column must have a name; column {number} has none. Name it."
            )
    for name, count in Counter(names).items():
        if count > 1:
            raise UserError(
                f"{path}: each column must have a name of its own; {name} stands {count} times. "
                "Rename one."
            )
    return names


def index_names(path: str) -> list[str]:
    """Return the columns of a Parquet file that pandas wrote as the index of the rows."""
    if not path.endswith(".parquet"):
        return []
    listed = (pq.read_schema(path).pandas_metadata or {}).get("index_columns", [])
    return [name for name in listed if isinstance(name, str)]


def not_parquet(path: str) -> UserError:
    """Return the error for a damaged Parquet file."""
    return UserError(
        f"{path} must be a whole Parquet file; it is damaged or cut off. Copy it anew."
    )


def not_text(path: str) -> UserError | None:
    """Return the error for the first line of a CSV file that is not UTF-8, if there is one."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return UserError(
                    f"{path} must be UTF-8 text; line {number} is not. Save it as UTF-8."
                )
    return None


def unreadable(path: str) -> UserError:
    """Return the error for a CSV file that Arrow cannot read, by what is wrong with it first."""
    wrong = not_text(path)
    if wrong:
        return wrong
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        expected, number = len(next(rows, [])), 0
        try:
            for number, row in enumerate(rows, start=1):
                if row and len(row) != expected:  # an empty line is a row whose values are missing
                    return UserError(
                        f"{path}: row {number} must have {expected} values, as line 1 has; it has "
                        f"{len(row)}."
                    )
        except csv.Error:
            number = 1  # with a value that is longer than its limit
    if not number:
        return no_rows(path)
    return UserError(f"{path} must have rows of less than {BLOCK} bytes; it has longer ones.")


def no_rows(path: str) -> UserError:
    """Return the error for a table without rows."""
    return UserError(f"{path} must have rows below the column names; it has none.")


def check_quotes(path: str) -> None:
    """Raise UserError for a CSV file that ends inside a quoted value, which may have eaten rows."""
    with open(path, "rb") as file:
        count = sum(block.count(b'"') for block in iter(lambda: file.read(BLOCK), b""))
    if count % 2 == 0:
        return
    number = 0
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            for _ in csv.reader(file, strict=True):
                number += 1
    except UnicodeDecodeError:
        raise not_text(path) from None
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise UserError(
                f"{path}: the quotation mark that opens in row {number} must be closed; it is not. "
                "Close it."
            ) from None


def read_chunks(path: str, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the columns `names` of all rows of a table, chunk by chunk; those of CSV as text.

    Raises UserError for a row of too few or too many values, for a quotation mark that is not
    closed, and for a file that is damaged.
    """
    if path.endswith(".parquet"):
        try:
            with pq.ParquetFile(path) as file:
                yield from map(plain, file.iter_batches(BATCH, columns=list(names)))
        except (pa.ArrowException, OSError):
            raise not_parquet(path) from None
        return

    check_quotes(path)
    try:
        with pacsv.open_csv(
            path,
            pacsv.ReadOptions(use_threads=False, block_size=BLOCK),
            # An empty line is a row whose values are missing.
            pacsv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            pacsv.ConvertOptions(
                include_columns=list(names),
                column_types=dict.fromkeys(names, pa.string()),
            ),
        ) as reader:
            yield from reader
    except pa.ArrowInvalid:
        # No invalid_row_handler: Arrow's threads may call it while Python ends, which aborts.
        raise unreadable(path) from None


def plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch whose categories, and texts of any kind of Arrow's, are plain columns."""
    types = [
        field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        for field in batch.schema
    ]
    types = [pa.string() if pa.types.is_string_view(each) else each for each in types]
    return batch.cast(pa.schema(zip(batch.schema.names, types, strict=True)))


def place(path: str, name: str, row: int) -> str:
    """Return how a sentence names a value; row 1 is the first below the column names."""
    return f"{path}: row {row}, column {name}"


def numeric(column: pa.Array) -> bool:
    """Say whether a column holds numbers: of a type of numbers, or a text that is one."""
    if is_text(column):
        return bool(
            pc.any(pc.match_substring_regex(pc.utf8_trim_whitespace(column), NUMBER)).as_py()
        )
    kind = column.type
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def is_text(column: pa.Array) -> bool:
    """Say whether a column holds text."""
    return pa.types.is_string(column.type) or pa.types.is_large_string(column.type)


def numbers(column: pa.Array, path: str, name: str, first_row: int = 1) -> np.ndarray:
    """Return a column as float64 (n,); the row of its first value is `first_row`.

    Raises UserError for the first value that is missing, no number, infinite or beyond LARGEST.
    """
    if is_text(column):
        texts = pc.fill_null(pc.utf8_trim_whitespace(column), "")
        wrong = pc.index(pc.match_substring_regex(texts, NUMBER), False).as_py()
        if wrong >= 0:
            raise no_number(column[wrong].as_py(), place(path, name, first_row + wrong))
        values = np.array(pc.cast(texts, pa.float64()), dtype=np.float64)
    elif numeric(column):
        values = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    else:
        raise no_number(column[0].as_py(), place(path, name, first_row))
    wrong = np.flatnonzero(~(np.abs(values) <= LARGEST))
    if len(wrong):
        raise no_number(column[int(wrong[0])].as_py(), place(path, name, first_row + int(wrong[0])))
    return values


def no_number(value: object, where: str) -> UserError:
    """Return the error for a value that should be a number."""
    missing = value is None or str(value).strip().lower() in MISSING
    given = repr(value) if isinstance(value, str) else value
    return UserError(
        f"{where} must be a number from -1e30 to 1e30; got {given}"
        f"{', a missing value' if missing else ''}. Correct the table."
    )


def class_labels(column: pa.Array, path: str, name: str) -> np.ndarray:
    """Return a column of class labels as int64 (n,) or as text, object (n,).

    Text is taken for whole numbers if each of its values is one, as CSV has them. Raises UserError
    for a missing label and for labels that are neither whole numbers nor text.
    """
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.string())
    if pa.types.is_integer(column.type):
        missing = pc.index(column.is_null(), True).as_py()
    elif is_text(column):
        missing = pc.index(pc.equal(pc.fill_null(pc.utf8_trim_whitespace(column), ""), ""), True)
        missing = missing.as_py()
    else:
        raise UserError(
            f"{path}: column {name} must hold labels, which are text or whole numbers; it holds "
            f"{column.type}. Convert it, or choose another target."
        )
    if missing >= 0:
        raise UserError(
            f"{place(path, name, missing + 1)} must be a label, text or a whole number; got "
            "a missing value. Correct the table."
        )
    if is_text(column) and pc.all(pc.match_substring_regex(column, WHOLE)).as_py():
        column = column.cast(pa.int64())
    if pa.types.is_integer(column.type):
        try:
            column = column.cast(pa.int64())
        except pa.ArrowInvalid:
            raise UserError(
                f"{path}: column {name} must hold labels of 64 bits; it holds larger numbers. "
                "Convert them to text."
            ) from None
    return column.to_numpy(zero_copy_only=False)


def read_table(path: str, target: str, features: str | Sequence[str]) -> tuple[pa.Table, list[str]]:
    """Return the columns of a table that `features`, a list or "all", and `target` name.

    With "all" the features are all other columns of numbers but the index that pandas writes; the
    names of the columns that are left out come second. The target is the last column. Raises
    UserError for a column that is not there, for a table without rows, and for what the functions
    above refuse.
    """
    names = column_names(path)
    everything = features == "all"
    for name in (target, *(() if everything else features)):
        if name not in names:
            raise UserError(
                f"{path}: column {name} must be one of {{{', '.join(names)}}}; it is not. Correct "
                "target or features in params.yaml."
            )
    if "split" in (names if everything else (target, *features)):
        raise UserError(f"{path}: column split has the name of the pipeline's own; rename it.")
    features = [name for name in names if name != target] if everything else list(features)
    batches = list(read_chunks(path, [*features, target]))
    if not sum(len(batch) for batch in batches):
        raise no_rows(path)
    table = pa.Table.from_batches(batches).select([*features, target]).combine_chunks()
    if not everything:
        return table, []
    index = index_names(path)
    left_out = [
        name for name in features if name in index or not numeric(table.column(name).chunk(0))
    ]
    if len(left_out) == len(features):
        raise UserError(f"{path} must have a column of numbers besides {target}; it has none.")
    return table.drop_columns(left_out), left_out
