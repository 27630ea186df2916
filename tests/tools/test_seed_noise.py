"""Intervals of changes: printed tables, SciPy, and how often they call noise a change."""

import math

import numpy as np
import pytest
import scipy.stats

from conftest import call_stage
from stages.shared.metrics import flatten, read_json
from tools.results import Result
from tools.seed_noise import (
    Change,
    change_over_seeds,
    mean_std,
    overlap,
    paired_interval,
    t_quantile,
    welch_interval,
)

NOISE = "not distinguishable from seed noise"


@pytest.mark.parametrize(
    ("degrees", "quantile"), [(1, 12.7062), (2, 4.30265), (4, 2.77645), (30, 2.04227)]
)
def test_quantiles_are_those_of_printed_tables(degrees, quantile):
    assert t_quantile(degrees) == pytest.approx(quantile, rel=1e-5)


def by_seeds(*values):
    return dict(enumerate(values))


# Three differences with deviation 1: the half-widths are 4.30265 sqrt(1/3) = 2.48414 and
# 4.30265 sqrt(1/3 + 1/4) = 3.28623.
@pytest.mark.parametrize(("overlap", "half"), [(0.0, 2.5), (0.25, 3.3)])
def test_paired_interval_has_the_half_width_of_student_or_of_nadeau_and_bengio(overlap, half):
    change = change_over_seeds(by_seeds(1, 2, 3), by_seeds(5, 7, 9), overlap, 0.0)
    assert change == Change(5.0, pytest.approx(5 - half), pytest.approx(5 + half))
    assert change == change_over_seeds(by_seeds(1, 2, 3), by_seeds(5, 7, 9), 0.0, overlap)


@pytest.mark.parametrize(
    ("mean", "verdict"), [(3.29, "changed"), (3.28, NOISE), (-3.29, "changed")]
)
def test_verdict_says_whether_the_interval_covers_0(mean, verdict):
    half = paired_interval(np.array([mean - 1, mean, mean + 1]), 0.25)[1]
    assert Change(mean, mean - half, mean + half).verdict == verdict


def test_paired_interval_without_overlap_is_that_of_scipy():
    differences = np.array([0.3, -0.1, 0.25, 0.4, 0.2])
    mean, half = paired_interval(differences, 0.0)
    expected = scipy.stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (mean - half, mean + half) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_welch_interval_without_overlap_is_that_of_scipy():
    a, b = np.array([1.0, 1.2, 0.7, 1.1]), np.array([2.0, 2.9, 1.4, 2.2, 3.0])
    change, half = welch_interval(a, b, 0.0, 0.0)
    expected = scipy.stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    assert (change - half, change + half) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_welch_interval_has_the_variance_of_each_side_with_its_overlap():
    # Variances 1 (1/4 + 0.25) = 0.5 and 4 (1/4 + 1) = 5; degrees 5.5^2 / (0.25 / 3 + 25 / 3).
    a, b = np.array([-1.0, 0.0, 0.0, 1.0]) * math.sqrt(1.5), np.array([9.0, 10, 10, 11])
    b = 10 + (b - 10) * math.sqrt(6)
    change, half = welch_interval(a, b, 0.25, 1.0)
    quantile = scipy.stats.t.ppf(0.975, 5.5**2 / (0.25 / 3 + 25 / 3))
    assert (change, half) == pytest.approx((10, quantile * math.sqrt(5.5)), rel=1e-12)


def test_changes_are_paired_by_their_seeds():
    change = change_over_seeds({1: 1.0, 2: 5.0, 3: 9.0}, {3: 9.11, 1: 1.1, 2: 5.12}, 0.0, 0.0)
    assert change is not None
    assert (change.mean, change.verdict) == (0.11, "changed")


def test_sides_without_seeds_in_common_are_compared_by_their_means():
    a, b = by_seeds(1.0, 2.0, 3.0, 4.0), {9: 11.0, 8: 12.0, 7: 13.0, 6: 14.0}
    change = change_over_seeds(a, b, 0.0, 0.0)
    # Both variances are 5 / 3, so 6 degrees of freedom: 2.44691 sqrt(2 * 5 / 3 / 4) = 2.23371.
    assert change == Change(10.0, pytest.approx(7.8), pytest.approx(12.2))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (by_seeds(1.0, 1.1, 0.9, 1.0, 1.0), {9: 2.0}),  # seeds on one side alone
        (by_seeds(1.0, 1.1), by_seeds(2.0, 2.1)),
        (by_seeds(1.0, 1.1, 0.9, 1.0), {9: 2.0, 8: 2.1, 7: 1.9}),  # no seeds in common
        (by_seeds(1.0, 1.1, 0.9, 1.0), {}),
    ],
)
def test_without_enough_seeds_on_both_sides_there_is_no_change(a, b):
    assert change_over_seeds(a, b, 0.0, 0.0) is None
    assert change_over_seeds(b, a, 0.0, 0.0) is None


def test_unknown_overlap_gives_no_change():
    a, b = by_seeds(1.0, 2.0, 3.0), by_seeds(2.0, 3.0, 5.0)
    assert change_over_seeds(a, b, None, 0.0) is change_over_seeds(a, b, 0.0, None) is None


@pytest.mark.parametrize("seeds", [(0, 1, 2, 3), (4, 5, 6, 7)])
@pytest.mark.parametrize(("b", "verdict"), [(0.1 + 0.2, "changed"), (0.1, NOISE)])
def test_metric_that_no_seed_moves_has_changed_if_it_differs(seeds, b, verdict):
    change = change_over_seeds(by_seeds(*[0.1] * 4), dict.fromkeys(seeds, b), 0.25, 0.25)
    assert change is not None
    assert (change.low, change.high, change.verdict) == (change.mean, change.mean, verdict)
    assert change.mean == pytest.approx(b - 0.1)


def test_one_side_may_be_constant_and_numbers_tiny_or_huge():
    for scale in (1e-100, 1e100):
        a, b = by_seeds(*[scale] * 4), {key: (key + 1) * scale for key in range(4, 8)}
        change = change_over_seeds(a, b, 0.0, 0.0)
        # B has the mean 6.5 and the deviation sqrt(5/3): 5.5 ± 3.18245 sqrt(5/12) = 2.05426.
        assert change is not None
        assert (change.low, change.high) == pytest.approx((3.4 * scale, 7.6 * scale), abs=0)


def test_interval_has_two_digits_and_says_what_it_shows():
    change = change_over_seeds(by_seeds(0.0, 0.0, 0.0), by_seeds(1.0, 2.0, 3.0), 0.0, 0.0)
    assert str(change) == "+2 [-0.5, +4.5]"
    assert str(Change(-0.148516, -0.2, -0.1)) == "-0.148516 [-0.2, -0.1]"
    # The lower end, 0.0004, is shown as 0.
    values = np.array([-1, 0, 1]) * 1.0 + 2.48414 + 0.0004
    change = change_over_seeds(by_seeds(0.0, 0.0, 0.0), by_seeds(*values), 0.0, 0.0)
    assert change is not None
    assert (str(change), change.verdict) == ("+2.5 [+0, +5]", NOISE)


def test_deviation_is_that_of_a_sample():
    assert mean_std([1.0, 2.0, 3.0]) == "2 ± 1 (3)"
    assert mean_std([1.0]) == ""


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.4, 0.45, 0.512345], "0.454 ± 0.056 (3)"),
        ([123456.0, 123460.0], "123458 ± 2.8 (2)"),
        ([1 / 3, 1 / 3], "0.333333 ± 0 (2)"),
        ([0.0, math.sqrt(2)], "0.7 ± 1 (2)"),
    ],
)
def test_mean_has_the_decimal_places_of_its_deviation(values, text):
    assert mean_std(values) == text


# How often noise is called a change ---------------------------------------------------------------

REPETITIONS = 20_000  # the share has a standard error of 0.15 %


def false_positives(mean, half):
    """Return in how many percent an interval around `mean` does not cover the truth, 0."""
    return 100 * np.mean(np.abs(mean) > half)


def fresh(generator, n):
    """Return standard normal results of n seeds that simulate data of their own."""
    return generator.standard_normal((REPETITIONS, n))


def resplit(generator, n, overlap):
    """Return results of n seeds that split one table: any two correlate by the rows they share.

    Two parts of n_test of N rows share n_test^2 / N of them, so that their means have the
    correlation n_test / N; with the overlap n_test / (N - n_test), that is overlap / (1 + overlap).
    """
    correlation = overlap / (1 + overlap)
    table = generator.standard_normal((REPETITIONS, 1))
    return math.sqrt(correlation) * table + math.sqrt(1 - correlation) * fresh(generator, n)


OVERLAPS = (0.1, 0.25, 1.0, 4.0)  # test rows / training rows; 4 is a training part of 80 %


@pytest.mark.parametrize("n", [3, 5, 10, 20])
def test_paired_fresh_data_have_5_percent_false_positives(n):
    differences = fresh(np.random.default_rng(n), n)
    assert false_positives(*paired_interval(differences, 0.0)) == pytest.approx(5, abs=1.5)


@pytest.mark.parametrize("overlap", OVERLAPS)
@pytest.mark.parametrize("n", [3, 5, 10, 20])
def test_paired_splits_of_one_table_have_5_percent_false_positives(n, overlap):
    differences = resplit(np.random.default_rng(n), n, overlap)
    assert false_positives(*paired_interval(differences, overlap)) == pytest.approx(5, abs=1.5)


# The control: without the correction the errors are 2 P(T > t / sqrt(1 + n overlap)).
@pytest.mark.parametrize(("n", "percent"), [(5, 13.8), (10, 25.8), (20, 40.4)])
def test_uncorrected_formula_calls_noise_of_splits_a_change(n, percent):
    differences = resplit(np.random.default_rng(n), n, overlap=0.25)
    assert false_positives(*paired_interval(differences, 0.0)) == pytest.approx(percent, abs=1)


@pytest.mark.parametrize("spread", [0.2, 0.5, 1, 2, 10])
@pytest.mark.parametrize(("n", "m"), [(4, 4), (4, 20), (6, 6), (10, 20)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 4.0])
def test_welch_has_5_percent_false_positives_whatever_the_spreads(n, m, overlap, spread):
    generator = np.random.default_rng([n, m])
    a, b = resplit(generator, n, overlap), spread * resplit(generator, m, overlap)
    change, half = welch_interval(a, b, overlap, overlap)
    assert false_positives(change, half) == pytest.approx(5, abs=1.5)


# Why each side needs four seeds without pairs.
@pytest.mark.parametrize(("n", "m", "spread", "percent"), [(10, 3, 2, 7.3), (3, 3, 1, 3.4)])
def test_welch_with_three_seeds_is_off(n, m, spread, percent):
    generator = np.random.default_rng(0)
    a, b = fresh(generator, n), spread * fresh(generator, m)
    assert false_positives(*welch_interval(a, b, 0.0, 0.0)) == pytest.approx(percent, abs=0.5)


# The overlap of splits ----------------------------------------------------------------------------

TABLE = "data/external/a.csv"
ROWS = {"train_rows": 60, "valid_rows": 15, "test_rows": 30}


def result(task="classification", table=TABLE, split=None, rows=ROWS, custom=((TABLE, "1f"),)):
    """Return a result of a task on a table, with `split` as a parameter."""
    section = f"convert_to_tensors.{task}"
    parameters = {f"{section}.table": table} | ({f"{section}.split": split} if split else {})
    metrics = {f"{section}.{key}": value for key, value in rows.items()}
    return Result("a", parameters, metrics, "", custom)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("classifier.test.accuracy", 30 / 60),
        ("classifier.gain_over_majority", 30 / 60),
        ("classifier.valid.accuracy", 15 / 60),
        ("classifier.train.accuracy", 60 / 45),
        ("train_classifier.loss", 60 / 45),
        ("regression.test.mse", 0.0),  # there is no custom table for this task
    ],
)
def test_overlap_is_that_of_the_part_that_a_metric_is_of(key, expected):
    assert overlap(result(), key) == pytest.approx(expected)


@pytest.mark.parametrize("key", ["regression.test.mse", "regression.least_squares.test.mse"])
def test_overlap_of_regression_is_that_of_its_table(key):
    assert overlap(result("regression"), key) == 30 / 60
    assert overlap(result("classification"), key) == 0


def test_overlap_of_two_parts_is_that_without_validation_rows():
    two = result(rows={"train_rows": 80, "test_rows": 20})
    assert overlap(two, "classifier.test.accuracy") == 0.25
    assert overlap(two, "classifier.valid.accuracy") == 0.25
    assert overlap(two, "classifier.train.accuracy") == 4.0


@pytest.mark.parametrize("split", ["last", "column", None])
def test_splits_that_no_seed_changes_do_not_overlap(split):
    table = result(split="random")
    table.metrics["convert_to_tensors.classification.split_by"] = split or "last"
    assert overlap(table, "classifier.test.accuracy") == 0
    if split:
        assert overlap(result(split=split), "classifier.test.accuracy") == 0


@pytest.mark.parametrize("split", ["random", "group:patient"])
def test_splits_that_seeds_draw_overlap(split):
    table = result(split=split)
    assert overlap(table, "classifier.test.accuracy") == 0.5
    table.metrics["convert_to_tensors.classification.split_by"] = split
    assert overlap(table, "classifier.test.accuracy") == 0.5


def test_simulated_tables_do_not_overlap():
    simulated = result(table="data/raw/classification.parquet")
    assert overlap(simulated, "classifier.test.accuracy") == 0


def test_overlap_is_unknown_without_numbers_of_rows():
    assert overlap(result(rows={}), "classifier.test.accuracy") is None


def test_overlap_reads_what_convert_to_tensors_writes(small):
    text = "\n".join(f"{i},{i % 7},{i % 2}" for i in range(20))
    with open("a.csv", "w") as file:
        file.write(f"x,z,t\n{text}\n")
    parameters = {}
    for task in ("regression", "classification"):
        section = f"convert_to_tensors.{task}"
        parameters |= {f"{section}.table": "a.csv", f"{section}.target": "t"}
    small(parameters)
    call_stage("convert_to_tensors")
    metrics = dict(flatten(read_json("metrics/convert_to_tensors.json")))
    custom = Result("a", parameters, metrics, "", (("a.csv", "1f"),))
    for key in ("classifier.test.accuracy", "regression.test.mse"):
        rows = f"convert_to_tensors.{'regression' if key[0] == 'r' else 'classification'}"
        assert overlap(custom, key) == metrics[f"{rows}.test_rows"] / metrics[f"{rows}.train_rows"]
        assert overlap(custom, key) > 0
