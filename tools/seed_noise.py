"""How far seeds alone move a metric, and whether a change is larger than that."""

import math
import statistics
from collections.abc import Hashable, Mapping, Sequence

from tools.text_tables import DIGITS, decimal_places

MIN_SEEDS = 3  # two agree too often by chance
CONFIDENCE = 0.95  # two-sided

BySeeds = Mapping[Hashable, float]


def t_quantile(degrees: int) -> float:
    """Return the two-sided quantile of Student's t distribution with `degrees` of freedom."""
    from scipy.special import stdtrit  # takes 0.3 s

    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))


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


def verdict(a: float, b: float, a_values: BySeeds, b_values: BySeeds) -> str:
    """Return `significant`, `within noise` or, with too few seeds, nothing for a to b.

    `a_values` and `b_values` are the metric by seeds over the repeats of each side. With enough
    seeds in common, it is a paired t test of B - A; otherwise |b - a| is compared with the
    deviation of the side that has more repeats, times sqrt(2) for a difference of two single runs.
    """
    common = sorted(a_values.keys() & b_values.keys(), key=repr)
    if len(common) >= MIN_SEEDS:
        differences = [b_values[seeds] - a_values[seeds] for seeds in common]
        change = statistics.mean(differences) * math.copysign(1, b - a)
        error = statistics.stdev(differences) / math.sqrt(len(differences))
        bound = t_quantile(len(differences) - 1) * error
    else:
        values = max(a_values, b_values, key=len).values()
        if len(values) < MIN_SEEDS:
            return ""
        change = abs(b - a)
        bound = t_quantile(len(values) - 1) * statistics.stdev(values) * math.sqrt(2)
    return "significant" if change > bound else "within noise"
