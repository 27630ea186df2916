"""Generate the data: a noisy line and two clusters of points, or tables of one's own, as Parquet.

params.yaml, data/external/<source> -> data/raw/regression.parquet (x, y, split),
data/raw/classification.parquet (x1, x2, label, split)

    regression:      y = weight * x + noise_std * z,  x evenly spaced on [0, 1]
    classification:  (x1, x2) = centers[label] + std * (z1, z2)

with z standard normal. The rows with split "train" are the article's; those with split "test" come
from the same law and other random streams. An own table keeps its names: its features, its target,
and the split, which is drawn from the seed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from stages.parameters import (
    SIMULATE,
    ClassificationData,
    GenerateData,
    OwnTable,
    RegressionData,
    read_parameters,
)
from stages.startup import quick_imports

if __name__ == "__main__":  # a wrong value is answered before the slow imports
    read_parameters(GenerateData)

with quick_imports():
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from stages.errors import UserError
    from stages.files import replacing
    from stages.rounding import round_significant
    from stages.tables import class_labels, numbers, read_table

REGRESSION = "data/raw/regression.parquet"
CLASSIFICATION = "data/raw/classification.parquet"
EXTERNAL = "data/external"
SPLITS = ("train", "test")

# Rows in memory at a time, which is a row group in the file.
CHUNK = 2**20
# Stored digits. What may differ between machines, the last bit of a far-out z, ends here.
DIGITS = 9

LINE = {"x": pa.float64(), "y": pa.float64()}
CLUSTERS = {"x1": pa.float64(), "x2": pa.float64(), "label": pa.int64()}

Columns = dict[str, np.ndarray]


def stream(seed: int, *place: int) -> np.random.Generator:
    """Return the random stream for one place in the data, independent of all other places.

    `place` is (0, split) for the regression and (1, split, label) for the clusters, and so the
    size of one data set leaves all others as they are. The split of an own table is drawn from
    (0, 2), or from (1, 2, number) for each class.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=place))


def chunks(n_rows: int, size: int = CHUNK) -> Iterator[tuple[int, int]]:
    """Yield the first row and the row after the last of each chunk of `n_rows` rows."""
    for start in range(0, n_rows, size):
        yield start, min(start + size, n_rows)


def regression_rows(
    n_rows: int, weight: float, noise_std: float, generator: np.random.Generator
) -> Iterator[Columns]:
    """Yield chunks of x and y, float64 (chunk,): y = weight * x + noise_std * z."""
    step = 1 / (n_rows - 1)
    for start, stop in chunks(n_rows):
        x = np.arange(start, stop) * step
        if stop == n_rows:
            x[-1] = 1.0  # both ends included, as in np.linspace
        y = weight * x + noise_std * generator.standard_normal(stop - start)
        yield {"x": x, "y": round_significant(y, DIGITS)}


def cluster_rows(
    n_rows: int, label: int, center: Sequence[float], std: float, generator: np.random.Generator
) -> Iterator[Columns]:
    """Yield chunks of x1 and x2, float64 (chunk,), around `center`, and of `label`, int64."""
    for start, stop in chunks(n_rows):
        points = np.asarray(center) + std * generator.standard_normal((stop - start, 2))
        x1, x2 = round_significant(points, DIGITS).T
        yield {"x1": x1, "x2": x2, "label": np.full(stop - start, label)}


def regression_data(seed: int, data: RegressionData) -> Iterator[tuple[str, Columns]]:
    """Yield (split, chunk of columns) for all points of the regression."""
    for number, (split, n_rows) in enumerate(
        zip(SPLITS, (data.n_samples, data.n_test), strict=True)
    ):
        generator = stream(seed, 0, number)
        for columns in regression_rows(n_rows, data.weight, data.noise_std, generator):
            yield split, columns


def classification_data(seed: int, data: ClassificationData) -> Iterator[tuple[str, Columns]]:
    """Yield (split, chunk of columns) for all points of the clusters, one after the other."""
    sizes = (data.n_samples_per_class, data.n_test_per_class)
    for number, (split, n_rows) in enumerate(zip(SPLITS, sizes, strict=True)):
        for label, center in enumerate(data.centers):
            generator = stream(seed, 1, number, label)
            for columns in cluster_rows(n_rows, label, center, data.std, generator):
                yield split, columns


def own_columns(path: str, data: OwnTable, read_target) -> tuple[Columns, list[str]]:
    """Return the columns of an own table, the target last, and the names of those left out.

    `read_target` is tables.numbers or tables.class_labels. Raises UserError for any value that is
    missing or wrong, with its row and column.
    """
    table, left_out = read_table(path, data.target, data.features)
    columns = {
        name: (read_target if name == data.target else numbers)(column.chunk(0), path, name)
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return columns, left_out


def held_out(n_rows: int, test_fraction: float, generator: np.random.Generator) -> np.ndarray:
    """Draw the rows to hold out, ascending: round(test_fraction * n_rows), and 1 to n_rows - 1."""
    n_test = min(max(round(test_fraction * n_rows), 1), n_rows - 1)
    return np.sort(generator.permutation(n_rows)[:n_test])


def own_regression(path: str, seed: int, data: RegressionData) -> tuple[Columns, np.ndarray, list]:
    """Return the columns of an own table, the rows held out, and the names of columns left out."""
    columns, left_out = own_columns(path, data, numbers)
    y = columns[data.target]
    if np.ptp(y) == 0:
        raise UserError(
            f"{path}: column {data.target} must vary, to be predicted; it is {y[0]:g} in every row."
            " Choose another target."
        )
    return columns, held_out(len(y), data.test_fraction, stream(seed, 0, 2)), left_out


def own_classification(
    path: str, seed: int, data: ClassificationData
) -> tuple[Columns, np.ndarray, list]:
    """Return what own_regression does; some rows of each class are held out, and some are not."""
    columns, left_out = own_columns(path, data, class_labels)
    classes, numbered = np.unique(columns[data.target], return_inverse=True)
    if len(classes) < 2:
        raise UserError(
            f"{path}: column {data.target} must hold two classes or more; it is {classes[0]} in "
            "every row. Choose another target."
        )
    test = []
    for number, name in enumerate(classes):
        rows = np.flatnonzero(numbered == number)
        if len(rows) < 2:
            raise UserError(
                f"{path}: each class must have two rows or more, one to train on and one held out; "
                f"in column {data.target}, {name} has only row {rows[0] + 1}."
            )
        test.append(rows[held_out(len(rows), data.test_fraction, stream(seed, 1, 2, number))])
    return columns, np.sort(np.concatenate(test)), left_out


def in_parts(columns: Columns, test: np.ndarray) -> Iterator[tuple[str, Columns]]:
    """Yield (split, chunk of columns): all rows but `test`, then the rows `test`."""
    n_rows = len(next(iter(columns.values())))
    for split, rows in zip(SPLITS, (np.delete(np.arange(n_rows), test), test), strict=True):
        for start, stop in chunks(len(rows)):
            yield split, {name: column[rows[start:stop]] for name, column in columns.items()}


def write_parquet(
    path: str, types: Mapping[str, pa.DataType], parts: Iterable[tuple[str, Columns]]
) -> int:
    """Write `parts` as one row group each, with their split as the last column; count the rows.

    Uncompressed: random digits do not compress, and compressors differ between machines.
    """
    schema = pa.schema({**types, "split": pa.string()})
    repeating = [field.name for field in schema if field.type != pa.float64()]
    n_rows = 0
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="none", use_dictionary=repeating) as writer,
    ):
        for split, columns in parts:
            n_chunk = len(next(iter(columns.values())))
            table = pa.table({**columns, "split": pa.repeat(split, n_chunk)}, schema=schema)
            writer.write_table(table)
            n_rows += n_chunk
    return n_rows


def write_own(path: str, columns: Columns, test: np.ndarray, left_out: list[str]) -> str:
    """Write an own table and return the sentence that says so."""
    types = {name: pa.array(column[:1]).type for name, column in columns.items()}
    n_rows = write_parquet(path, types, in_parts(columns, test))
    without = f", without {', '.join(left_out)} (no numbers, or the index)" if left_out else ""
    return f"{n_rows} rows of {len(columns) - 1} features, {len(test)} held out{without}"


def main() -> None:
    """Run the stage."""
    data = read_parameters(GenerateData).generate_data
    line, clusters = data.regression, data.classification
    if line.source == SIMULATE:
        n_rows = write_parquet(REGRESSION, LINE, regression_data(data.seed, line))
        points = f"{n_rows} points on a line"
    else:
        path = f"{EXTERNAL}/{line.source}"
        points = f"{path}: {write_own(REGRESSION, *own_regression(path, data.seed, line))}"
    if clusters.source == SIMULATE:
        n_rows = write_parquet(CLASSIFICATION, CLUSTERS, classification_data(data.seed, clusters))
        groups = f"{n_rows} points in {len(clusters.centers)} clusters"
    else:
        path = f"{EXTERNAL}/{clusters.source}"
        own = own_classification(path, data.seed, clusters)
        groups = f"{path}: {write_own(CLASSIFICATION, *own)}"
    print(f"generate_data: {points}, {groups}, from seed {data.seed}")


if __name__ == "__main__":
    main()
