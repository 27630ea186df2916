import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.limits import (
    bayes_accuracy,
    largest_stable_lr,
    least_squares_weight,
    softmax_loss_floor,
)

FOUR = [(0.0, 0.0), (1.0, 0.1), (0.2, 0.9), (0.5, 0.5)]


def phi(z):
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))


def test_least_squares_weight_is_numpys():
    generator = np.random.default_rng(0)
    x, y = generator.random(100), generator.random(100)
    expected, *_ = np.linalg.lstsq(x[:, None], y, rcond=None)
    assert least_squares_weight(x, y) == pytest.approx(expected[0], rel=1e-12)
    tensors = torch.from_numpy(x), torch.from_numpy(y)
    assert least_squares_weight(*tensors) == pytest.approx(expected[0], rel=1e-12)


def test_largest_stable_lr_by_hand():
    x = torch.tensor([1.0, 2.0])
    assert largest_stable_lr(x, "sum") == 1 / 5
    assert largest_stable_lr(x, "mean") == 2 / 5


def test_bayes_accuracy_of_the_article():
    article = bayes_accuracy([(0.2, 0.2), (0.8, 0.8)], 0.25)
    assert article == pytest.approx(phi(0.6 * math.sqrt(2) / (2 * 0.25)), abs=1e-12)
    assert article == pytest.approx(0.95516, abs=5e-6)


@given(st.floats(0.001, 1000), st.floats(0.01, 10), st.floats(0, 7))
def test_bayes_accuracy_of_two_classes_is_the_closed_form(ratio, std, angle):
    d = ratio * std
    centers = [(1.0, 2.0), (1 + d * math.cos(angle), 2 + d * math.sin(angle))]
    assert bayes_accuracy(centers, std) == pytest.approx(phi(ratio / 2), abs=1e-7)


@pytest.mark.parametrize("centers", [[(0.2, 0.2), (0.8, 0.8)], FOUR[:3], FOUR])
def test_bayes_accuracy_agrees_with_a_million_simulated_points(centers):
    n, std, generator = 1_000_000, 0.25, np.random.default_rng(1)
    labels = generator.integers(len(centers), size=n)
    points = np.array(centers)[labels] + std * generator.standard_normal((n, 2))
    distances = ((points[:, None] - np.array(centers)) ** 2).sum(axis=2)
    simulated = (distances.argmin(axis=1) == labels).mean()
    p = bayes_accuracy(centers, std)
    assert simulated == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / n))


@pytest.mark.parametrize("seed", range(5))
def test_bayes_accuracy_has_the_stated_accuracy(seed):
    generator = np.random.default_rng(seed)
    centers, std = generator.random((3 + seed, 2)), 0.05 + 0.3 * generator.random()
    finer = bayes_accuracy(centers, std, n_angles=1_000_001)
    assert bayes_accuracy(centers, std) == pytest.approx(finer, abs=1e-7)


def test_bayes_accuracy_of_classes_far_apart_is_one():
    assert bayes_accuracy([(0, 0), (1e6, 0), (0, 1e6)], 1.0) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_softmax_loss_floor_is_the_loss_of_perfect_probabilities(n_classes):
    perfect = torch.eye(n_classes, dtype=torch.float64)
    loss = torch.nn.functional.cross_entropy(perfect, torch.arange(n_classes))
    assert softmax_loss_floor(n_classes) == pytest.approx(loss.item(), abs=1e-12)


def test_softmax_loss_floor_of_two_classes():
    assert softmax_loss_floor(2) == pytest.approx(math.log(1 + math.exp(-1)), abs=1e-15)
