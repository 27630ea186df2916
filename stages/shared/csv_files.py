"""CSV files: their column names, their rows in chunks, and what is wrong with a broken one."""

import codecs
import csv
import gzip
import io
import re
import zlib
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice, pairwise

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from stages.core.errors import UserError

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
MAX_ROW = 2**20  # bytes
BLOCK = MAX_ROW  # bytes in memory at a time
SAMPLE = 20  # rows that show whether line 1 holds the names of their columns
WIDTH = 60  # characters of line 1 that an error shows
NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
# What line 1 starts with where it is no line of column names: what it is, what to do
OTHER_STARTS = {
    r"sep=.?,*$": ("a note to Excel", "Remove the line."),
    r"<(!doctype|html|\?xml)": ("the start of a web page", "Download the table itself."),
}


def delimiter_of(path: str) -> str:
    """Return what separates the values: a tab in .tsv and .tsv.gz, else a comma."""
    return "\t" if path.removesuffix(".gz").endswith(".tsv") else ","


@contextmanager
def open_bytes(path: str) -> Generator[gzip.GzipFile | io.BufferedReader, None, None]:
    """Open a file for reading, decompressed.

    Raises UserError, also while it is read, for a corrupted .gz file.
    """
    try:
        with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
            yield file
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise UserError(
            f"{path} must be a complete gzip file; it is corrupted or truncated. Copy it again."
        ) from None


@contextmanager
def open_text(path: str) -> Generator[io.TextIOWrapper, None, None]:
    """Open a file for reading as text, in which a surrogate stands for a byte that is not UTF-8."""
    with (
        open_bytes(path) as file,
        io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="") as text,
    ):
        yield text


def read_rows(path: str, *, strict: bool) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, values) of each row from line 1 on; `line` is the first one of the row.

    A blank line is no row, except that it is a missing value where there is one column. Raises
    UserError for a value that is too long and, if `strict`, for misplaced quotation marks.
    """
    csv.field_size_limit(MAX_ROW)
    line = n_columns = 1
    with open_text(path) as file:
        reader = csv.reader(file, delimiter=delimiter_of(path), strict=strict)
        try:
            for values in reader:
                if line == 1:
                    n_columns = len(values)
                if values or line == 1 or n_columns == 1:
                    yield line, values or [""]
                line = reader.line_num + 1
        except csv.Error as error:
            raise UserError(f"{path}: {row_problem(str(error), line, reader.line_num)}") from None


def row_problem(reason: str, line: int, last_line: int) -> str:
    """Return what the csv module found wrong in the row from `line` to `last_line`."""
    if "limit" in reason:
        return (
            f"the row of line {line} must have fewer than {MAX_ROW} bytes; it has more. Look for a "
            "quotation mark that is not closed."
        )
    if "end of data" in reason:
        return f"the quotation mark that opens in line {line} is never closed. Close it."
    return (
        f"the value that a quotation mark opens in line {line} must end with one; the one in line "
        f"{last_line} has text behind it. Close the value, or double the marks inside it."
    )


def column_names(path: str) -> list[str]:
    """Return the names in line 1 as they are: some may be empty or appear twice.

    Raises UserError if line 1 does not look like column names.
    """
    names, *rows = read_sample(path)
    check_names(path, names, rows)
    return names


def read_sample(path: str) -> list[list[str]]:
    """Return line 1 and the first rows below it, with quotation marks anywhere."""
    sample = [values for _, values in islice(read_rows(path, strict=False), SAMPLE + 1)]
    if not sample:
        raise UserError(f"{path} must start with a line of column names; it is empty.")
    return sample


def check_names(path: str, names: list[str], rows: list[list[str]]) -> None:
    """Raise UserError if `names`, line 1, do not look like the names of the columns of `rows`."""
    delimiter = delimiter_of(path)
    line = delimiter.join(names)
    if "\0" in line or not is_utf8(line):
        raise text_error(path)
    must = f"{path}: line 1 must hold the column names; "
    if not line.strip(delimiter + " \r\n\t"):
        raise UserError(f"{must}it is blank. Remove the lines above the names.")
    for start, (seen, remedy) in OTHER_STARTS.items():
        if re.match(start, line, flags=re.IGNORECASE):
            raise UserError(f"{must}it is {seen}, {shown(line)}. {remedy}")
    # A comment with as many values as the table: the names stand below it, and then numbers.
    if line.startswith("# ") and [any(map(is_number, row)) for row in rows[:2]] == [False, True]:
        raise UserError(f"{must}it is a comment, {shown(line)}. Remove the line.")
    check_delimiter(path, line, [delimiter.join(row) for row in rows])
    n_values = most_common([len(row) for row in rows])
    if len(names) < n_values:
        count = "1 value" if len(names) == 1 else f"{len(names)} values"
        raise UserError(
            f"{must}it has {count}, {shown(line)}, and the rows below have {n_values}. Remove the "
            "lines above the names, or name every column."
        )
    if holds_values(names, rows):
        raise UserError(
            f"{must}it seems to hold values, {shown(line)}. Put a line of names above it, or "
            "start each name with a letter."
        )


def check_delimiter(path: str, line: str, rows: Sequence[str]) -> None:
    """Raise UserError if line 1 and the rows are separated by something else than in `path`.

    That is so if something else divides both into the same number of values, and the delimiter of
    `path` does not, or into fewer; or if it divides rows that are whole into mostly numbers.
    """
    delimiter = delimiter_of(path)
    n_names = line.count(delimiter) + 1
    agrees = n_names == most_common([row.count(delimiter) + 1 for row in rows])
    for other, word in (*DELIMITERS.items(), (None, "spaces")):
        divided = [row.split(other) for row in rows]
        n_values = most_common([len(row) for row in divided])
        if n_values < 2 or (agrees and n_values <= n_names):
            continue
        values = [value for row in divided for value in row]
        mostly_numbers = 2 * sum(map(is_number, values)) > len(values)
        is_whole = agrees and n_names == 1
        if (other and n_values == line.count(other) + 1) or (is_whole and mostly_numbers):
            remedy = f"Save it with {DELIMITERS[delimiter]}"
            if other in (",", "\t"):
                remedy += f", or name it .{'csv' if other == ',' else 'tsv'}"
            elif other and delimiter == ",":
                remedy += " and with points in numbers"
            raise UserError(
                f"{path} must separate values by {DELIMITERS[delimiter]}; it has {word}. {remedy}."
            )


def most_common(counts: Sequence[int]) -> int:
    """Return the most common of `counts`, or 0 if there are none."""
    return Counter(counts).most_common(1)[0][0] if counts else 0


def shown(text: str) -> str:
    """Return a text in quotes, shortened."""
    return repr(text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}...")


def is_number(value: str) -> bool:
    """Return whether a value is a number."""
    return bool(NUMBER.fullmatch(value.strip()))


def holds_values(names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Return whether `names` are more likely the first of the `rows`.

    Numbers may be names if they increase, as wavelengths and pandas' running numbers do, or if they
    are integers that decrease, as years may. With text among them they are values if one of the
    texts is also a value below it.
    """
    numbers = [float(name) for name in names if is_number(name)]
    texts = {i: name for i, name in enumerate(names) if name.strip() and not is_number(name)}
    if texts:
        recurs = any(row[i : i + 1] == [name] for row in rows for i, name in texts.items())
        return bool(numbers) and recurs
    increases = all(left < right for left, right in pairwise(numbers))
    decreases = all(left > right for left, right in pairwise(numbers))
    return not increases and not (decreases and all(map(float.is_integer, numbers)))


def read_chunks(path: str, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the columns `names` of all rows as text, chunk by chunk.

    Raises UserError for a row with too few or too many values, misplaced quotation marks, and
    content that is not UTF-8 text.
    """
    all_names, *rows = read_sample(path)
    check_content(path)
    if not rows:
        return
    # Columns are read by their numbers, since those that are not used may have any names.
    numbers = [str(all_names.index(name)) for name in names]
    try:
        with pacsv.open_csv(
            path,
            pacsv.ReadOptions(
                use_threads=False,
                block_size=BLOCK,
                column_names=[str(number) for number in range(len(all_names))],
                skip_rows_after_names=1,
            ),
            pacsv.ParseOptions(
                delimiter=delimiter_of(path),
                newlines_in_values=True,
                ignore_empty_lines=len(all_names) > 1,
            ),
            pacsv.ConvertOptions(
                include_columns=numbers,
                column_types=dict.fromkeys(numbers, pa.string()),
            ),
        ) as reader:
            for batch in reader:
                yield batch.rename_columns(list(names))
    except pa.ArrowInvalid:
        # No invalid_row_handler: Arrow's threads may call it while Python ends, which aborts.
        raise content_error(path) from None


def check_content(path: str) -> None:
    """Raise UserError for a NUL byte, and for quotation marks that do not enclose whole values.

    Such marks make one value of many rows, without an error from Arrow. They are in order if the
    first, third, ... stand behind a delimiter, the start of a line or another mark, and the others
    before one; or if none opens a value, as in 5" pipe. If not, the slower csv module decides.
    """
    is_border = np.zeros(256, dtype=bool)
    is_border[list(f'{delimiter_of(path)}\r\n"'.encode())] = True
    is_start = is_border.copy()
    is_start[ord('"')] = False
    n_marks, are_ordered, opens = 0, True, False
    text = b"\n"
    for block in chain(read_blocks(path), [b"\n"]):
        text = text[-2:] + block  # the last byte is looked at with the one that follows
        if b"\0" in block:
            raise text_error(path)
        content = np.frombuffer(text, dtype=np.uint8)
        marks = np.flatnonzero(content[1:-1] == ord('"')) + 1
        first = n_marks % 2
        before, behind = content[marks[first::2] - 1], content[marks[1 - first :: 2] + 1]
        are_ordered &= bool(is_border[before].all() and is_border[behind].all())
        opens |= bool(is_start[content[marks - 1]].any())
        n_marks += len(marks)
    if opens and (not are_ordered or n_marks % 2):
        deque(read_rows(path, strict=True), maxlen=0)


def read_blocks(path: str) -> Iterator[bytes]:
    """Yield the content of a file without its byte order mark."""
    with open_bytes(path) as file:
        yield file.read(len(codecs.BOM_UTF8)).removeprefix(codecs.BOM_UTF8)
        while block := file.read(BLOCK):
            yield block


def is_utf8(text: str) -> bool:
    """Return whether a text that open_text() reads was UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def content_error(path: str) -> UserError:
    """Return the error for a file that Arrow cannot read: the first thing wrong with it."""
    with open_text(path) as file:
        if not all(map(is_utf8, file)):
            return text_error(path)
    rows = read_rows(path, strict=True)
    line, names = next(rows)
    longest = (sum(map(len, names)), line)
    for line, values in rows:
        if len(values) != len(names):
            return UserError(
                f"{path}: line {line} must have {len(names)} values, as line 1 has; it has "
                f"{len(values)}."
            )
        longest = max(longest, (sum(map(len, values)), line))
    return UserError(f"{path}: {row_problem('limit', longest[1], 0)}")


def text_error(path: str) -> UserError:
    """Return the error for the first line that is not UTF-8 or has a NUL byte."""
    must = f"{path} must be UTF-8 text; "
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if line.startswith(("\udcff\udcfe", "\udcfe\udcff")):
                return UserError(f"{must}it is UTF-16. Save it as UTF-8.")
            if not is_utf8(line):
                return UserError(f"{must}line {number} is not. Save it as UTF-8.")
            if "\0" in line:
                break
    return UserError(
        f"{must}line {number} has a NUL byte, as UTF-16 and binary files have. Save it as UTF-8."
    )


def locate(path: str, row: int) -> str:
    """Return where a row is, counted from 1 below the column names, as an editor shows it."""
    line, _ = next(islice(read_rows(path, strict=False), row, None))
    return f"line {line}"
