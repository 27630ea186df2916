"""Generate the data: a noisy line, and one Gaussian cluster of points per class.

params.yaml -> data/raw/regression.parquet (x, y, split), data/raw/classification.parquet (x1, x2,
label, split)

    regression:      y = weight * x + noise_std * z,  x evenly spaced on [0, 1]
    classification:  (x1, x2) = centers[label] + std * (z1, z2)

with z standard normal. The rows with split "train" are the article's; those with split "valid"
and "test" have the same distribution and random generators of their own. Each file describes its
simulation in its metadata.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from stages.core.schema import ClassificationSimulation, GenerateData, RegressionSimulation
from stages.shared.chunks import chunk_bounds, progress_bar
from stages.shared.metadata import ClassificationTruth, RegressionTruth
from stages.shared.rounding import round_significant
from stages.shared.splits import SPLITS
from stages.shared.table_files import write_table

REGRESSION = "data/raw/regression.parquet"
CLASSIFICATION = "data/raw/classification.parquet"

# Rows in memory at a time: one row group of the file.
CHUNK = 2**20
# Digits stored. What may differ between machines, the last bit of an extreme z, ends here.
DIGITS = 9

# The random generator of each part: changing the size of one leaves the others as they are.
STREAMS = {"train": 0, "test": 1, "valid": 2}

Columns = dict[str, np.ndarray]


def main(params: GenerateData) -> None:
    """Run the stage."""
    section = params.generate_data
    regression, classification = section.regression, section.classification
    n_rows = sum(sizes(regression)) + len(classification.centers) * sum(sizes(classification))
    with progress_bar("generate_data", n_rows) as bar:
        n_regression = write_table(
            REGRESSION,
            {"x": pa.float64(), "y": pa.float64()},
            track(simulate_regression(section.seed, regression), bar.update),
            RegressionTruth(seed=section.seed, **dict(regression)).model_dump_json(),
        )
        n_classification = write_table(
            CLASSIFICATION,
            {"x1": pa.float64(), "x2": pa.float64(), "label": pa.int64()},
            track(simulate_classification(section.seed, classification), bar.update),
            ClassificationTruth(seed=section.seed, **dict(classification)).model_dump_json(),
        )
    print(
        f"generate_data: {n_regression} points on a line, {n_classification} points in "
        f"{len(classification.centers)} clusters, from seed {section.seed}"
    )


def sizes(simulation: RegressionSimulation | ClassificationSimulation) -> tuple[int, int, int]:
    """Return the rows of each part, of one class in a classification."""
    if isinstance(simulation, RegressionSimulation):
        return simulation.n_samples, simulation.n_valid, simulation.n_test
    return (
        simulation.n_samples_per_class,
        simulation.n_valid_per_class,
        simulation.n_test_per_class,
    )


def track(
    chunks: Iterator[tuple[str, Columns]], count: Callable[[int], object]
) -> Iterator[tuple[str, Columns]]:
    """Yield the chunks, and call count(rows) as they are written."""
    for split, columns in chunks:
        yield split, columns
        count(len(next(iter(columns.values()))))


def simulate_regression(
    seed: int, simulation: RegressionSimulation
) -> Iterator[tuple[str, Columns]]:
    """Yield (split, chunk of columns) for all points of the regression."""
    for split, n_rows in zip(SPLITS, sizes(simulation), strict=True):
        generator = make_generator(seed, 0, STREAMS[split])
        for columns in line_chunks(n_rows, simulation.weight, simulation.noise_std, generator):
            yield split, columns


def simulate_classification(
    seed: int, simulation: ClassificationSimulation
) -> Iterator[tuple[str, Columns]]:
    """Yield (split, chunk of columns) for all points of the clusters, one class after the other."""
    for split, n_rows in zip(SPLITS, sizes(simulation), strict=True):
        for label, center in enumerate(simulation.centers):
            generator = make_generator(seed, 1, STREAMS[split], label)
            for columns in cluster_chunks(n_rows, label, center, simulation.std, generator):
                yield split, columns


def line_chunks(
    n_rows: int, weight: float, noise_std: float, generator: np.random.Generator
) -> Iterator[Columns]:
    """Yield chunks of x and y, float64 (chunk,): y = weight * x + noise_std * z."""
    step = 1 / (n_rows - 1)
    for start, stop in chunk_bounds(n_rows, CHUNK):
        x = np.arange(start, stop) * step
        if stop == n_rows:
            x[-1] = 1.0  # both ends included, as in np.linspace
        y = weight * x + noise_std * generator.standard_normal(stop - start)
        yield {"x": x, "y": round_significant(y, DIGITS)}


def cluster_chunks(
    n_rows: int, label: int, center: Sequence[float], std: float, generator: np.random.Generator
) -> Iterator[Columns]:
    """Yield chunks of x1 and x2, float64 (chunk,), around `center`, and of `label`, int64."""
    for start, stop in chunk_bounds(n_rows, CHUNK):
        points = np.asarray(center) + std * generator.standard_normal((stop - start, 2))
        x1, x2 = round_significant(points, DIGITS).T
        yield {"x1": x1, "x2": x2, "label": np.full(stop - start, label)}


def make_generator(seed: int, *spawn_key: int) -> np.random.Generator:
    """Return the generator for a part of the data, independent of those for all other parts."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=spawn_key))
