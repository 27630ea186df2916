"""How far seeds alone move a metric, and whether a change is larger than that.

Seeds of a simulated table draw new data each time. Seeds of a custom table split the same rows
again and again: the splits overlap, so their results are correlated, and a standard error of
s / sqrt(n) is too small. Nadeau and Bengio (2003, Inference for the generalization error, Machine
Learning 52) estimate the correlation from the sizes of the parts, which makes the variance of the
mean of n results s^2 (1/n + overlap) instead of s^2 / n.
"""

import statistics
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.results import Result, is_number
from tools.text_tables import DIGITS, decimal_places

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

MIN_PAIRS = 3  # seeds in common; two agree too often by chance
MIN_SEEDS = 4  # of each side without pairs; with three, Welch's test errs in up to 7 %
CONFIDENCE = 0.95  # two-sided
FIXED_SPLITS = ("column", "last")  # the same rows with every seed

BySeeds = Mapping[Hashable, float]


@dataclass(frozen=True)
class Change:
    """The mean change of a metric from A to B over seeds, and its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return the mean and, in brackets, the interval."""
        mean, low, high = (f"{value:+.{DIGITS}g}" for value in (self.mean, self.low, self.high))
        return f"{mean} [{low}, {high}]"

    @property
    def verdict(self) -> str:
        """Whether the interval excludes 0."""
        is_clear = self.low > 0 or self.high < 0
        return "changed" if is_clear else "not distinguishable from seed noise"


def overlap(result: Result, key: str) -> float | None:
    """Return how much the splits of a metric's table overlap: 0 if seeds do not split it again.

    For a part of n rows it is n / n_train, and for the training part itself n_train / (n_valid +
    n_test). Metrics that name no part, such as weights and losses, are of the training part. None
    if the numbers of rows are missing.
    """
    is_classifier = key.startswith(("classifier", "train_classifier"))
    task = "classification" if is_classifier else "regression"
    section = f"convert_to_tensors.{task}"
    split = result.parameters.get(f"{section}.split")
    split = result.metrics.get(f"{section}.split_by", split)
    is_custom = result.parameters.get(f"{section}.table") in dict(result.custom_tables)
    if not is_custom or split in FIXED_SPLITS:
        return 0.0
    n_train, n_test = (result.metrics.get(f"{section}.{part}_rows") for part in ("train", "test"))
    n_valid = result.metrics.get(f"{section}.valid_rows", 0)
    if not (is_number(n_train) and is_number(n_test) and is_number(n_valid)):
        return None
    if ".valid." in key:
        return (n_valid or n_test) / n_train
    is_of_test = ".test." in key or ".gain_over_" in key
    return n_test / n_train if is_of_test else n_train / (n_valid + n_test)


def change_over_seeds(
    a: BySeeds, b: BySeeds, a_overlap: float | None, b_overlap: float | None
) -> Change | None:
    """Return the change of a metric, given by seeds for each side, or None with too few seeds.

    Also None where an overlap is unknown. The ends of the interval are rounded to two digits of its
    half-width, and what they say is what they show.
    """
    if a_overlap is None or b_overlap is None:
        return None
    if len(common := sorted(a.keys() & b.keys(), key=repr)) >= MIN_PAIRS:
        differences = [b[seeds] - a[seeds] for seeds in common]
        mean, half = paired_interval(differences, max(a_overlap, b_overlap))
    elif min(len(a), len(b)) >= MIN_SEEDS:
        mean, half = welch_interval(list(a.values()), list(b.values()), a_overlap, b_overlap)
    else:
        return None
    mean, half = float(mean), float(half)
    places = decimal_places(half, 2) if half else decimal_places(mean, DIGITS)
    # Adding 0 turns -0 into 0.
    return Change(*(round(value, places) + 0.0 for value in (mean, mean - half, mean + half)))


def mean_std(values: Sequence[float]) -> str:
    """Return "mean ± standard deviation (number of values)"; nothing for fewer than two.

    The deviation has two digits, and the mean no more decimal places than the deviation.
    """
    if len(values) < 2:
        return ""
    mean, deviation = statistics.mean(values), statistics.stdev(values)
    if deviation:
        mean = round(mean, decimal_places(deviation, 2))
    return f"{mean:.{DIGITS}g} ± {deviation:.2g} ({len(values)})"


def paired_interval(differences: "ArrayLike", overlap: float) -> tuple["np.ndarray", "np.ndarray"]:
    """Return mean and half-width of the interval of the mean of differences, (..., n).

    The half-width is t s sqrt(1/n + overlap), with s the standard deviation and t Student's t with
    n - 1 degrees of freedom.
    """
    import numpy as np  # with SciPy, 0.3 s

    differences = np.asarray(differences)
    n = differences.shape[-1]
    variance = differences.var(axis=-1, ddof=1) * (1 / n + overlap)
    return differences.mean(axis=-1), t_quantile(n - 1) * variance**0.5


def welch_interval(
    a: "ArrayLike", b: "ArrayLike", a_overlap: float, b_overlap: float
) -> tuple["np.ndarray", "np.ndarray"]:
    """Return the change of the mean from a, (..., n), to b, (..., m), and its half-width.

    Each mean has the variance s^2 (1/n + overlap); the degrees of freedom are those of Welch and
    Satterthwaite.
    """
    import numpy as np

    a, b = np.asarray(a), np.asarray(b)
    sizes = a.shape[-1], b.shape[-1]
    parts = [
        values.var(axis=-1, ddof=1) * (1 / n + overlap)
        for values, n, overlap in zip((a, b), sizes, (a_overlap, b_overlap), strict=True)
    ]
    variance = parts[0] + parts[1]
    with np.errstate(invalid="ignore"):  # 0 / 0 where neither side varies
        shares = [(part / variance) ** 2 / (n - 1) for part, n in zip(parts, sizes, strict=True)]
    half = np.where(variance > 0, t_quantile(1 / (shares[0] + shares[1])) * variance**0.5, 0.0)
    return b.mean(axis=-1) - a.mean(axis=-1), half


def t_quantile(degrees: "float | np.ndarray") -> "np.ndarray":
    """Return the two-sided quantile of Student's t distribution with `degrees` of freedom."""
    from scipy.special import stdtrit  # takes 0.3 s

    return stdtrit(degrees, (1 + CONFIDENCE) / 2)
