"""The training and test parts, and the random generators that data and splits are drawn from."""

import numpy as np

SPLITS = ("train", "test")
SPLIT = "split"  # the column of a table that says which part a row belongs to


def make_generator(seed: int, *spawn_key: int) -> np.random.Generator:
    """Return the generator for one `spawn_key`, independent of those for all other keys.

    Each part of the data has its own key, so that the size of one leaves the others as they are:
    (0, split) for the regression and (1, split, label) for the classes, with split 0 for train and
    1 for test. The split of a table is drawn from (0, 2), or from (1, 2, class) for each class.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=spawn_key))


def draw_test_rows(n_rows: int, test_fraction: float, generator: np.random.Generator) -> np.ndarray:
    """Draw round(test_fraction * n_rows) of `n_rows` rows, at least 1 and at most n_rows - 1."""
    n_test = min(max(round(test_fraction * n_rows), 1), n_rows - 1)
    return np.sort(generator.permutation(n_rows)[:n_test])
