"""Tables as CSV or Parquet files: their column names, their rows in chunks, and writing them."""

import os
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stages.core.errors import UserError
from stages.core.files import atomic_write
from stages.shared import csv_files
from stages.shared.splits import SPLIT

# Rows, and values, of a Parquet file in memory at a time
BATCH_ROWS, BATCH_VALUES = 2**15, 2**21
GIT_LFS = b"version https://git-lfs"  # what a file that Git LFS has not fetched starts with
PARQUET_ERRORS = (pa.ArrowException, OSError, UnicodeDecodeError)
# What Arrow says of a Parquet file that is complete, but that it cannot read
UNSUPPORTED = re.compile(
    "crypt|unsupported|not (currently |yet )?(supported|implemented)|unknown encoding",
    re.IGNORECASE,
)
# Keys of the Parquet metadata: how a simulation describes itself, and a checksum of its values, so
# that the description does not outlive them.
TRUTH, CHECKSUM = b"truth", b"checksum"


def is_csv(path: str) -> bool:
    """Return whether a path is that of a CSV file, not of a Parquet file or a folder of them."""
    return path.endswith(csv_files.SUFFIXES) and not os.path.isdir(path)


def column_names(path: str) -> list[str]:
    """Return the names of the columns of a table as they are: some may be empty or appear twice.

    Raises UserError for a file that is missing, empty, corrupted, not UTF-8 or neither CSV nor
    Parquet, and for a CSV file whose line 1 does not look like column names.
    """
    check_file(path)
    return csv_files.column_names(path) if is_csv(path) else read_schema(part_files(path)[0]).names


def read_chunks(path: str, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the columns `names` of all rows of a table, chunk by chunk; columns of CSV as text.

    Raises UserError for a name that appears twice, a row with too few or too many values, a
    quotation mark that is not closed, a corrupted file, and parts with different columns.
    """
    counts = Counter(column_names(path))
    for name in names:
        if counts[name] > 1:
            raise UserError(
                f"{path}: column names must be distinct; {name} appears {counts[name]} times. "
                "Rename one."
            )
    yield from csv_files.read_chunks(path, names) if is_csv(path) else read_parts(path, names)


def count_rows(path: str) -> int | None:
    """Return the number of rows of a Parquet table, and None of CSV, which is read to know it."""
    if is_csv(path):
        return None
    try:
        return sum(pq.read_metadata(part).num_rows for part in part_files(path))
    except PARQUET_ERRORS:
        return None  # reading it names the file


def locate(path: str, row: int) -> str:
    """Return where a row is, counted from 1 over all chunks: "line 17" of CSV, else "row 16"."""
    return csv_files.locate(path, row) if is_csv(path) else f"row {row}"


def no_rows(path: str) -> UserError:
    """Return the error for a table without rows."""
    return UserError(f"{path} must have rows below the column names; it has none.")


def check_file(path: str) -> None:
    """Raise UserError for a path that is missing or not readable, and a file that is no table."""
    try:
        if os.path.isdir(path):
            os.listdir(path)
            return
        with open(path, "rb") as file:
            start = file.read(len(GIT_LFS))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{path} is missing; correct the path, or run `dvc repro` if a stage writes the file."
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    if start == GIT_LFS:
        raise UserError(f"{path} must be a table; it is a pointer of Git LFS. Run `git lfs pull`.")
    if not path.endswith((*csv_files.SUFFIXES, ".parquet")):
        raise UserError(
            f"{path} must be a .csv, .tsv, .csv.gz, .tsv.gz or .parquet file; convert it to one."
        )


def part_files(path: str) -> list[str]:
    """Return the Parquet files of a table: `path` itself, or all in that folder in natural order.

    What Spark and Dask add, under names that start with "_" or ".", is left out. Raises UserError
    for folders and other files, which may hold further rows, or say that some no longer count.
    """
    if not os.path.isdir(path):
        return [path]
    names = []
    for name in os.listdir(path):
        if os.path.isdir(os.path.join(path, name)):
            raise UserError(
                f"{path} must have .parquet files only; it has the folder {name}. Write the table "
                "as one file, with the program that wrote the folder."
            )
        if name.startswith(("_", ".")):
            continue
        if not name.endswith(".parquet"):
            raise UserError(
                f"{path} must have .parquet files only; it has {name}. Move it elsewhere."
            )
        names.append(name)
    if not names:
        raise UserError(
            f"{path} must be one table file, or have .parquet files; it is a folder without any."
        )
    parts = [os.path.join(path, name) for name in sorted(names, key=natural_order)]
    for part in parts:
        check_file(part)
    return parts


def natural_order(name: str) -> list[str | int]:
    """Return the key that sorts part.10 behind part.9."""
    words: list[str | int] = [*re.split("([0-9]+)", name)]
    words[1::2] = map(int, words[1::2])
    return words


def read_schema(path: str) -> pa.Schema:
    """Return the schema of a Parquet file."""
    try:
        return pq.read_schema(path)
    except PARQUET_ERRORS as error:
        raise parquet_error(path, error) from None


def parquet_error(path: str, error: Exception) -> UserError:
    """Return the error for a Parquet file that Arrow cannot read."""
    reason = str(error).partition("\n")[0].rstrip(".")
    if isinstance(error, pa.ArrowNotImplementedError) or UNSUPPORTED.search(reason):
        return UserError(
            f"{path} cannot be read: {reason[:200]}. Write it without encryption, and with Snappy "
            "or Zstandard as compression."
        )
    return UserError(
        f"{path} must be a complete Parquet file; it is corrupted or truncated. Copy it again."
    )


def index_names(path: str) -> list[str]:
    """Return the columns of a Parquet table that pandas wrote as the index of the rows."""
    if is_csv(path):
        return []
    listed = (read_schema(part_files(path)[0]).pandas_metadata or {}).get("index_columns", [])
    return [name for name in listed if isinstance(name, str)]


def read_parts(path: str, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the columns `names` of all Parquet files of a table, chunk by chunk."""
    first, *others = part_files(path)
    types = plain_types(first, names)
    for part in others:
        others_types = plain_types(part, names)
        for name, type_ in types.items():
            if others_types.get(name) != type_:
                raise UserError(
                    f"{path}: column {name} must have one type; it is {type_} in "
                    f"{os.path.basename(first)} and {others_types.get(name, 'missing')} in "
                    f"{os.path.basename(part)}. Write the table as one file."
                )
    schema = pa.schema(list(types.items()))
    n_rows = max(1, min(BATCH_ROWS, BATCH_VALUES // max(1, len(names))))
    for part in (first, *others):
        try:
            # Mapped: a group of rows may be as large as the file.
            with pq.ParquetFile(part, memory_map=True) as file:
                for batch in file.iter_batches(n_rows, columns=list(names)):
                    yield batch.select(list(names)).cast(schema)
        except PARQUET_ERRORS as error:
            raise parquet_error(part, error) from None


def plain_types(path: str, names: Sequence[str]) -> dict[str, pa.DataType]:
    """Return the types of columns of a Parquet file, as far as it has them.

    Categories, and text of every kind, count as plain columns.
    """
    schema = read_schema(path)
    types = {}
    for name in schema.names:
        if name in names:
            type_ = schema.field(schema.names.index(name)).type
            type_ = type_.value_type if pa.types.is_dictionary(type_) else type_
            types[name] = pa.string() if pa.types.is_string_view(type_) else type_
    return {name: types[name] for name in names if name in types}


def is_text(column: pa.Array) -> bool:
    """Return whether a column holds text."""
    return pa.types.is_string(column.type) or pa.types.is_large_string(column.type)


def read_truth(path: str, columns: pa.Table) -> str | None:
    """Return how a simulated table describes its simulation, or None.

    None also if `columns` are not all of the simulation, or if a value has changed since.
    """
    if is_csv(path) or os.path.isdir(path):
        return None
    metadata = pq.read_metadata(path).metadata or {}
    if TRUTH not in metadata:
        return None
    crcs = dict.fromkeys(columns.column_names, 0)
    for name in crcs:
        for chunk in columns.column(name).chunks:
            crcs[name] = update_crc(crcs[name], chunk)
    is_unchanged = metadata.get(CHECKSUM) == format_crcs(crcs)
    return metadata[TRUTH].decode(errors="replace") if is_unchanged else None


def update_crc(crc: int, column: pa.Array) -> int:
    """Return the CRC-32 of a column's values, appended to those of `crc`."""
    if not is_text(column):
        return zlib.crc32(column.to_numpy(zero_copy_only=False), crc)
    lines = pc.binary_join_element_wise(pc.fill_null(column, "None"), "", "\n")
    return zlib.crc32(lines.buffers()[2] or b"", crc)


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
