"""Generate the data: a noisy line and two clusters of points, as Parquet.

params.yaml -> data/raw/regression.parquet (x, y, split), data/raw/classification.parquet
(x1, x2, label, split)

    regression:      y = weight * x + noise_std * z,  x evenly spaced on [0, 1]
    classification:  (x1, x2) = centers[label] + std * (z1, z2)

with z standard normal. The rows with split "train" are the article's; those with split "test" come
from the same law and other random streams.
"""

from collections.abc import Iterable, Iterator, Sequence

from stages.parameters import (
    ClassificationData,
    GenerateData,
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

    from stages.files import replacing
    from stages.rounding import round_significant

REGRESSION = "data/raw/regression.parquet"
CLASSIFICATION = "data/raw/classification.parquet"
SPLITS = ("train", "test")

# Rows in memory at a time, which is a row group in the file.
CHUNK = 2**20
# Stored digits. What may differ between machines, the last bit of a far-out z, ends here.
DIGITS = 9

TYPES = {
    "x": pa.float64(),
    "y": pa.float64(),
    "x1": pa.float64(),
    "x2": pa.float64(),
    "label": pa.int64(),
    "split": pa.string(),
}

Columns = dict[str, np.ndarray]


def stream(seed: int, *place: int) -> np.random.Generator:
    """Return the random stream for one place in the data, independent of all other places.

    `place` is (0, split) for the regression and (1, split, label) for the clusters, and so the
    size of one data set leaves all others as they are.
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


def write_parquet(path: str, names: Sequence[str], parts: Iterable[tuple[str, Columns]]) -> int:
    """Write `parts` as one row group each, with their split as the last column; count the rows.

    Uncompressed: random digits do not compress, and compressors differ between machines.
    """
    schema = pa.schema([(name, TYPES[name]) for name in (*names, "split")])
    n_rows = 0
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(
            temporary, schema, compression="none", use_dictionary=["label", "split"]
        ) as writer,
    ):
        for split, columns in parts:
            n_chunk = len(columns[names[0]])
            table = pa.table({**columns, "split": pa.repeat(split, n_chunk)}, schema=schema)
            writer.write_table(table)
            n_rows += n_chunk
    return n_rows


def main() -> None:
    """Run the stage."""
    data = read_parameters(GenerateData).generate_data
    n_points = write_parquet(REGRESSION, ("x", "y"), regression_data(data.seed, data.regression))
    n_clustered = write_parquet(
        CLASSIFICATION, ("x1", "x2", "label"), classification_data(data.seed, data.classification)
    )
    print(
        f"generate_data: {n_points} points on a line, {n_clustered} points in "
        f"{len(data.classification.centers)} clusters, from seed {data.seed}"
    )


if __name__ == "__main__":
    main()
