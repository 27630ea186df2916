import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.limits import (
    bayes_accuracy,
    bayes_cross_entropy,
    largest_stable_lr,
    least_squares,
    softmax_loss_floor,
)

FOUR = [(0.0, 0.0), (1.0, 0.1), (0.2, 0.9), (0.5, 0.5)]


def phi(z):
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))


def test_one_least_squares_weight_by_hand():
    x, y = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 9.0])
    assert least_squares(x, y) == pytest.approx([37 / 14], rel=1e-12)


def test_least_squares_with_a_bias_is_numpys_polynomial():
    x, y = np.random.default_rng(0).standard_normal((2, 50))
    assert least_squares(x, y, bias=True) == pytest.approx(np.polyfit(x, y, 1), rel=1e-12)


def test_several_least_squares_weights_solve_the_normal_equations():
    X, y = np.random.default_rng(0).standard_normal((50, 3)), np.arange(50.0)
    residual = y - X @ least_squares(X, y)
    np.testing.assert_allclose(X.T @ residual, 0, atol=1e-10)


def test_equal_features_share_their_weight():
    x = np.arange(4.0)
    assert least_squares(np.stack([x, x], axis=1), 2 * x) == pytest.approx([1, 1])


def test_largest_stable_lr_of_several_features_by_hand():
    X = np.array([[1.0, 0], [0, 2], [0, 0]])
    assert largest_stable_lr(X, "sum") == pytest.approx(1 / 4)
    assert largest_stable_lr(X, "mean") == pytest.approx(3 / 4)
    # With ones beside x = (1, -1), the two columns are at right angles and have squares of 2.
    assert largest_stable_lr(np.array([1.0, -1.0]), "sum", bias=True) == pytest.approx(1 / 2)


def test_largest_stable_lr_by_hand():
    x = torch.tensor([1.0, 2.0])
    assert largest_stable_lr(x, "sum") == pytest.approx(1 / 5)
    assert largest_stable_lr(x, "mean") == pytest.approx(2 / 5)


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


@pytest.mark.parametrize("ratio", [0.001, 0.1, 1, 3.394, 10, 1000])
@pytest.mark.parametrize("angle", [0.0, 0.3, 0.785])
def test_bayes_cross_entropy_of_two_classes_is_the_integral(ratio, angle):
    """Along the line between the centers the logarithm of 1 / p is log(1 + exp(r t - r^2 / 2))."""
    d, std = ratio * 0.25, 0.25
    centers = [(1.0, 2.0), (1 + d * math.cos(angle), 2 + d * math.sin(angle))]
    exact, _ = scipy.integrate.quad(
        lambda t: scipy.stats.norm.pdf(t) * np.logaddexp(0, ratio * t - ratio**2 / 2), -12, 12
    )
    assert bayes_cross_entropy(centers, std) == pytest.approx(exact, abs=1e-9)


def test_bayes_cross_entropy_agrees_with_a_million_simulated_points():
    n, std, centers, generator = 1_000_000, 0.25, np.array(FOUR), np.random.default_rng(1)
    labels = generator.integers(len(centers), size=n)
    points = centers[labels] + std * generator.standard_normal((n, 2))
    logits = -((points[:, None] - centers) ** 2).sum(axis=2) / (2 * std**2)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(n), labels]
    error = losses.std() / math.sqrt(n)
    assert bayes_cross_entropy(FOUR, std) == pytest.approx(losses.mean(), abs=4 * error)


@pytest.mark.parametrize("seed", range(3))
def test_bayes_cross_entropy_has_the_stated_accuracy(seed):
    generator = np.random.default_rng(seed)
    centers, std = generator.random((3 + seed, 2)), 0.05 + 0.3 * generator.random()
    finer = bayes_cross_entropy(centers, std, end=10, n_steps=801)
    assert bayes_cross_entropy(centers, std) == pytest.approx(finer, abs=1e-12)


def test_bayes_cross_entropy_of_classes_far_apart_is_zero():
    assert bayes_cross_entropy([(0, 0), (1e30, 0), (0, 1e30)], 1e-30) == 0


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_softmax_loss_floor_is_the_loss_of_perfect_probabilities(n_classes):
    perfect = torch.eye(n_classes, dtype=torch.float64)
    loss = torch.nn.functional.cross_entropy(perfect, torch.arange(n_classes))
    assert softmax_loss_floor(n_classes) == pytest.approx(loss.item(), abs=1e-12)


def test_softmax_loss_floor_of_two_classes():
    assert softmax_loss_floor(2) == pytest.approx(math.log(1 + math.exp(-1)), abs=1e-15)
