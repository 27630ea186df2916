import math

import pytest

from tools.seed_noise import mean_std, t_quantile, verdict


@pytest.mark.parametrize(
    ("degrees", "quantile"), [(1, 12.7062), (2, 4.30265), (4, 2.77645), (30, 2.04227)]
)
def test_quantiles_are_those_of_printed_tables(degrees, quantile):
    assert t_quantile(degrees) == pytest.approx(quantile, rel=1e-5)


# Three pairs: differences with deviation 1 have the bound 4.30265 / sqrt(3) = 2.48414.
@pytest.mark.parametrize(("mean", "word"), [(2.485, "significant"), (2.483, "within noise")])
def test_paired_change_has_the_bound_of_students_test(mean, word):
    a, b = dict.fromkeys((1, 2, 3), 0.0), {1: mean - 1, 2: mean, 3: mean + 1}
    assert verdict(0.0, mean, a, b) == word
    assert verdict(mean, 0.0, b, a) == word


def test_changes_are_paired_by_their_seeds():
    a, b = {1: 1.0, 2: 5.0, 3: 9.0}, {3: 9.11, 1: 1.1, 2: 5.12}
    assert verdict(1.0, 1.1, a, b) == "significant"


# Five repeats 0 to 4 have deviation sqrt(2.5): the bound is 2.77645 sqrt(2.5) sqrt(2) = 6.20832.
@pytest.mark.parametrize(("change", "word"), [(6.209, "significant"), (6.208, "within noise")])
def test_single_run_is_judged_by_the_repeats_of_the_other(change, word):
    values = {seed: float(seed) for seed in range(5)}
    assert verdict(0.0, change, values, {0: change}) == word
    assert verdict(0.0, -change, values, {0: -change}) == word
    assert verdict(change, 0.0, {0: change}, values) == word


def test_without_repeats_there_is_no_verdict():
    assert verdict(0.0, 1.0, {0: 0.0}, {0: 1.0}) == ""


def test_two_seeds_are_too_few_for_a_verdict():
    assert verdict(1.0, 2.0, {0: 1.0, 1: 1.0}, {0: 2.0, 1: 2.0}) == ""
    assert verdict(1.0, 2.0, {0: 1.0, 1: 1.0}, {0: 2.0}) == ""


def test_change_of_what_never_varies_is_significant():
    a, b = dict.fromkeys(range(3), 1.0), dict.fromkeys(range(3), 2.0)
    assert verdict(1.0, 2.0, a, b) == "significant"


def test_change_against_the_mean_of_all_seeds_is_within_noise():
    a = {0: 0.90, 1: 0.95, 2: 0.95, 3: 0.95, 4: 0.95, 5: 0.95}
    b = {0: 0.905, 1: 0.92, 2: 0.921, 3: 0.92, 4: 0.919, 5: 0.92}
    assert verdict(0.90, 0.905, a, b) == "within noise"
    assert verdict(0.95, 0.92, a, b) == "significant"


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


def test_three_seeds_of_one_side_are_enough():
    a = {0: 1.0, 1: 1.1, 2: 0.9}
    assert verdict(1.0, 2.0, a, {0: 2.0}) == "significant"
    assert verdict(1.0, 1.1, a, {0: 1.1}) == "within noise"
