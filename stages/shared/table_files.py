"""Tables as CSV or Parquet files: their column names, their rows in chunks, and writing them."""

import csv
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from stages.core.errors import UserError
from stages.core.files import atomic_write
from stages.shared.splits import SPLIT

DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}
BLOCK = 2**20  # bytes of a CSV file in memory at a time
BATCH = 2**17  # rows of a Parquet file in memory at a time
# Keys of the Parquet metadata: how a simulation describes itself, and a checksum of its values, so
# that the description does not outlive them.
TRUTH, CHECKSUM = b"truth", b"checksum"


def column_names(path: str) -> list[str]:
    """Return the names of the columns of a table.

    Raises UserError for a file that is missing, empty, corrupted, not UTF-8 or neither CSV nor
    Parquet, and for a column name that is empty or appears twice.
    """
    if os.path.isdir(path):
        raise UserError(f"{path} is a folder; give the path of one .csv or .parquet file.")
    try:
        if path.endswith(".parquet"):
            names = pq.read_schema(path).names
        elif path.endswith(".csv"):
            with open(path, encoding="utf-8-sig", newline="") as file:
                names = next(csv.reader(file), list[str]())
        else:
            raise UserError(f"{path} must be a .csv or .parquet file; convert it to one.")
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing; correct the path, or run `dvc repro` if a stage writes the file."
        ) from None
    except PermissionError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, csv.Error):
        raise csv_error(path) from None
    except (pa.ArrowException, OSError):
        raise parquet_error(path) from None
    if not names:
        raise UserError(f"{path} must start with a line of column names; it is empty.")
    if len(names) == 1:
        for delimiter, word in DELIMITERS.items():
            if delimiter in names[0]:
                raise UserError(
                    f"{path} must separate values by commas; line 1 has {word}. Save it with "
                    "commas."
                )
    for number, name in enumerate(names, start=1):
        if not name.strip():
            raise UserError(
                f"{path}: every column must have a name; column {number} has none. Name it."
            )
    for name, count in Counter(names).items():
        if count > 1:
            raise UserError(
                f"{path}: column names must be distinct; {name} appears {count} times. Rename one."
            )
    return names


def index_names(path: str) -> list[str]:
    """Return the columns of a Parquet file that pandas wrote as the index of the rows."""
    if not path.endswith(".parquet"):
        return []
    listed = (pq.read_schema(path).pandas_metadata or {}).get("index_columns", [])
    return [name for name in listed if isinstance(name, str)]


def parquet_error(path: str) -> UserError:
    """Return the error for a corrupted Parquet file."""
    return UserError(
        f"{path} must be a complete Parquet file; it is corrupted or truncated. Copy it again."
    )


def encoding_error(path: str) -> UserError | None:
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


def csv_error(path: str) -> UserError:
    """Return the error for a CSV file that Arrow cannot read: the first thing wrong with it."""
    error = encoding_error(path)
    if error:
        return error
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        expected, number = len(next(rows, [])), 0
        try:
            for number, row in enumerate(rows, start=1):
                if row and len(row) != expected:  # an empty line is a row of missing values
                    return UserError(
                        f"{path}: row {number} must have {expected} values, as line 1 has; it has "
                        f"{len(row)}."
                    )
        except csv.Error:
            number = 1  # a value exceeds the csv module's limit
    if not number:
        return no_rows(path)
    return UserError(f"{path} must have rows of fewer than {BLOCK} bytes; it has longer ones.")


def no_rows(path: str) -> UserError:
    """Return the error for a table without rows."""
    return UserError(f"{path} must have rows below the column names; it has none.")


def check_quotes(path: str) -> None:
    """Raise UserError for a CSV file that ends inside a quoted value, which may span many rows."""
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
        raise csv_error(path) from None
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise UserError(
                f"{path}: the quotation mark that opens in row {number} is never closed. Close it."
            ) from None


def read_chunks(path: str, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the columns `names` of all rows of a table, chunk by chunk; columns of CSV as text.

    Raises UserError for a row with too few or too many values, a quotation mark that is not closed,
    and a corrupted file.
    """
    if path.endswith(".parquet"):
        try:
            with pq.ParquetFile(path) as file:
                yield from map(decode, file.iter_batches(BATCH, columns=list(names)))
        except (pa.ArrowException, OSError):
            raise parquet_error(path) from None
        return

    check_quotes(path)
    try:
        with pacsv.open_csv(
            path,
            pacsv.ReadOptions(use_threads=False, block_size=BLOCK),
            # An empty line is a row of missing values.
            pacsv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            pacsv.ConvertOptions(
                include_columns=list(names),
                column_types=dict.fromkeys(names, pa.string()),
            ),
        ) as reader:
            yield from reader
    except pa.ArrowInvalid:
        # No invalid_row_handler: Arrow's threads may call it while Python ends, which aborts.
        raise csv_error(path) from None


def decode(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch with categories, and every Arrow type of text, as plain columns."""
    types = [
        field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        for field in batch.schema
    ]
    types = [pa.string() if pa.types.is_string_view(type_) else type_ for type_ in types]
    return batch.cast(pa.schema(list(zip(batch.schema.names, types, strict=True))))


def is_text(column: pa.Array) -> bool:
    """Return whether a column holds text."""
    return pa.types.is_string(column.type) or pa.types.is_large_string(column.type)


def read_truth(path: str, columns: pa.Table) -> str | None:
    """Return how a simulated table describes its simulation, or None.

    None also if `columns` are not all of the simulation, or if a value has changed since.
    """
    if not path.endswith(".parquet"):
        return None
    metadata = pq.read_metadata(path).metadata or {}
    if TRUTH not in metadata:
        return None
    crcs = {name: update_crc(0, columns.column(name).chunk(0)) for name in columns.column_names}
    is_unchanged = metadata.get(CHECKSUM) == format_crcs(crcs)
    return metadata[TRUTH].decode(errors="replace") if is_unchanged else None


def update_crc(crc: int, column: pa.Array) -> int:
    """Return the CRC-32 of a column's values, appended to those of `crc`."""
    values = column.to_numpy(zero_copy_only=False)
    if is_text(column):
        values = "".join(f"{value}\n" for value in values).encode()
    return zlib.crc32(values, crc)


def format_crcs(crcs: Mapping[str, int]) -> bytes:
    """Return the CRC-32 of each column as one text."""
    return ",".join(f"{name}:{crcs[name]:08x}" for name in sorted(crcs)).encode()


def write_table(
    path: str,
    types: Mapping[str, pa.DataType],
    chunks: Iterable[tuple[str, Mapping[str, np.ndarray]]],
    truth: str,
) -> int:
    """Write (split, columns) chunks as one row group each, with the split as the last column.

    Returns the number of rows. Uncompressed, since random digits do not compress and compressors
    differ between machines.
    """
    schema = pa.schema({**types, SPLIT: pa.string()})
    repetitive = [field.name for field in schema if field.type != pa.float64()]
    n_rows, crcs = 0, dict.fromkeys(schema.names, 0)
    options: dict[str, Any] = {"compression": "none", "use_dictionary": repetitive}
    with atomic_write(path) as temporary, pq.ParquetWriter(temporary, schema, **options) as writer:
        for split, columns in chunks:
            n_chunk = len(next(iter(columns.values())))
            table = pa.table({**columns, SPLIT: pa.repeat(split, n_chunk)}, schema=schema)
            writer.write_table(table)
            n_rows += n_chunk
            for name in schema.names:
                crcs[name] = update_crc(crcs[name], table.column(name).chunk(0))
        writer.add_key_value_metadata({TRUTH: truth, CHECKSUM: format_crcs(crcs)})
    return n_rows
