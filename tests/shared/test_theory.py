"""The best possible results, against closed forms, SciPy, scikit-learn and simulation."""

import math
import time

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from stages.shared.scaling import Scaling
from stages.shared.theory import (
    bayes_accuracy,
    bayes_cross_entropy,
    design_chunks,
    design_rows,
    largest_eigenvalue,
    largest_stable_lr,
    least_squares,
    softmax_loss_floor,
    solve_least_squares,
)

ARTICLE = [(0.2, 0.2), (0.8, 0.8)]
FOUR = [(0.0, 0.0), (1.0, 0.1), (0.2, 0.9), (0.5, 0.5)]


def two_centers(distance: float, angle: float) -> list[tuple[float, float]]:
    return [(1.0, 2.0), (1 + distance * math.cos(angle), 2 + distance * math.sin(angle))]


def simulate(n: int, std: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the squared distances of points to FOUR centers, (n, 4), and their labels, (n,)."""
    centers, generator = np.array(FOUR), np.random.default_rng(1)
    labels = generator.integers(len(centers), size=n)
    points = centers[labels] + std * generator.standard_normal((n, 2))
    return ((points[:, None] - centers) ** 2).sum(axis=2), labels


# Least squares


def test_one_least_squares_weight_by_hand() -> None:
    x, y = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 9.0])
    assert least_squares(x, y) == pytest.approx([37 / 14], rel=1e-12)


def test_least_squares_with_a_bias_is_the_polynomial_of_numpy() -> None:
    x, y = np.random.default_rng(0).standard_normal((2, 50))
    assert least_squares(x, y, bias=True) == pytest.approx(np.polyfit(x, y, 1), rel=1e-12)


def test_several_least_squares_weights_are_those_of_scikit_learn() -> None:
    X, y = np.random.default_rng(0).standard_normal((50, 3)), np.arange(50.0)
    model = LinearRegression().fit(X, y)
    expected = [*model.coef_, model.intercept_]
    assert least_squares(X, y, bias=True) == pytest.approx(expected, rel=1e-10)


def test_several_least_squares_weights_solve_the_normal_equations() -> None:
    X, y = np.random.default_rng(0).standard_normal((50, 3)), np.arange(50.0)
    residual = y - X @ least_squares(X, y)
    np.testing.assert_allclose(X.T @ residual, 0, atol=1e-10)


def test_equal_features_share_their_weight() -> None:
    x = np.arange(4.0)
    assert least_squares(np.stack([x, x], axis=1), 2 * x) == pytest.approx([1, 1])


def categories(n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a design matrix of dependent columns, three categories and ones, and a target."""
    generator = np.random.default_rng(0)
    category = generator.choice(3, size=n_rows, p=[0.6, 0.3, 0.1])
    x = generator.standard_normal(n_rows)
    A = np.column_stack([np.eye(3)[category], x, np.ones(n_rows)])
    return A, 2459003.5 + category + 2 * x + generator.standard_normal(n_rows)


@pytest.mark.parametrize("size", [5, 6, 50, 199, 200])
def test_least_squares_of_chunks_is_that_of_all_rows(size: int) -> None:
    A, y = categories(200)
    chunks = [(A[k : k + size], y[k : k + size]) for k in range(0, 200, size)]
    found = solve_least_squares(chunks)
    assert np.linalg.matrix_rank(A) == 4
    np.testing.assert_allclose(found, np.linalg.pinv(A) @ y, rtol=1e-9)


def test_dependent_columns_stay_dependent_after_many_chunks() -> None:
    A, y = categories(20_000)
    smallest = np.linalg.lstsq(A, y, rcond=1e-10)[0]
    chunks = ((A[k : k + 10], y[k : k + 10]) for k in range(0, len(A), 10))
    np.testing.assert_allclose(solve_least_squares(chunks), smallest, rtol=1e-7)


def test_singular_values_below_rcond_count_as_zero_in_chunks_too() -> None:
    A = np.diag([1.0, 1e-3])[np.arange(40) % 2]
    chunks = [(A[k : k + 4], np.ones(4)) for k in range(0, 40, 4)]
    assert solve_least_squares(chunks) == pytest.approx([1, 1000])
    assert solve_least_squares(chunks, rcond=1e-2) == pytest.approx([1, 0], abs=1e-9)


def test_matrix_wider_than_high_is_one_chunk() -> None:
    assert design_rows(8000) >= 8000
    X = np.zeros((1000, 8000))
    assert len(list(design_chunks(X, bias=True))) == 1


# The largest stable learning rate


@pytest.mark.parametrize(("loss_reduction", "expected"), [("sum", 1 / 5), ("mean", 2 / 5)])
def test_largest_stable_lr_by_hand(loss_reduction: str, expected: float) -> None:
    assert largest_stable_lr(np.array([1.0, 2.0]), loss_reduction) == pytest.approx(expected)


@pytest.mark.parametrize(("loss_reduction", "expected"), [("sum", 1 / 4), ("mean", 3 / 4)])
def test_largest_stable_lr_of_several_features_by_hand(
    loss_reduction: str, expected: float
) -> None:
    X = np.array([[1.0, 0], [0, 2], [0, 0]])
    assert largest_stable_lr(X, loss_reduction) == pytest.approx(expected)


def test_largest_stable_lr_with_a_bias_by_hand() -> None:
    # With ones beside x = (1, -1), the two columns are at right angles and have squares of 2.
    assert largest_stable_lr(np.array([1.0, -1.0]), "sum", bias=True) == pytest.approx(1 / 2)


@pytest.mark.parametrize("shape", [(20, 3), (3, 20), (2, 2), (2, 50), (50, 2), (1, 5), (5, 1)])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_largest_eigenvalue_is_that_of_all_of_them(shape: tuple[int, int], offset: float) -> None:
    A = offset + np.random.default_rng(0).standard_normal(shape)
    assert largest_eigenvalue(A) == pytest.approx(np.linalg.eigvalsh(A.T @ A)[-1], rel=1e-9)


@pytest.mark.parametrize("values", [1, 12, 60, 1000])
@pytest.mark.parametrize("bias", [False, True])
def test_bound_of_chunks_is_that_of_all_rows(
    values: int, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.shared.moments.CHUNK_VALUES", values)
    X = 3 + np.random.default_rng(0).standard_normal((50, 2))
    scaling = Scaling(mean=(3.0, 2.0), scale=(0.5, 2.0))
    for x, scaled in ((X[:, 0], None), (X, None), (X, scaling)):
        A = x if scaled is None else (x - [3, 2]) / [0.5, 2]
        A = np.column_stack([A, *([np.ones(50)] if bias else [])])
        bound = 1 / np.linalg.eigvalsh(A.T @ A)[-1]
        for columns in (x, torch.from_numpy(x), torch.from_numpy(x).float()):
            found = largest_stable_lr(columns, "sum", bias, scaled)
            assert found == pytest.approx(bound, rel=1e-6)
            assert largest_stable_lr(columns, "mean", bias, scaled) == pytest.approx(50 * found)


def test_largest_of_equal_eigenvalues_is_found() -> None:
    assert largest_eigenvalue(3 * np.eye(40)) == pytest.approx(9, rel=1e-12)


def test_bound_for_thousands_of_columns_takes_no_minutes() -> None:
    A = np.random.default_rng(0).standard_normal((1000, 8000))
    start = time.process_time()
    assert largest_stable_lr(A, "sum") == pytest.approx(6.836971e-05, rel=1e-6)
    assert time.process_time() - start < 10  # a second on a machine that is not busy


# The floor of the loss


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_softmax_loss_floor_is_the_loss_of_perfect_probabilities(n_classes: int) -> None:
    perfect = torch.eye(n_classes, dtype=torch.float64)
    loss = torch.nn.functional.cross_entropy(perfect, torch.arange(n_classes))
    assert softmax_loss_floor(n_classes) == pytest.approx(loss.item(), abs=1e-12)


def test_softmax_loss_floor_of_two_classes() -> None:
    assert softmax_loss_floor(2) == pytest.approx(math.log(1 + math.exp(-1)), abs=1e-15)
    assert softmax_loss_floor(2) == pytest.approx(0.31326, abs=5e-6)


# The Bayes accuracy


def test_bayes_accuracy_of_the_article() -> None:
    article = bayes_accuracy(ARTICLE, 0.25)
    expected = scipy.stats.norm.cdf(0.6 * math.sqrt(2) / (2 * 0.25))
    assert article == pytest.approx(expected, abs=1e-12)
    assert article == pytest.approx(0.95516, abs=5e-6)


@given(st.floats(0.001, 1000), st.floats(0.01, 10), st.floats(0, 7))
@settings(max_examples=40)
def test_bayes_accuracy_of_two_classes_is_the_closed_form(
    ratio: float, std: float, angle: float
) -> None:
    expected = scipy.stats.norm.cdf(ratio / 2)
    assert bayes_accuracy(two_centers(ratio * std, angle), std) == pytest.approx(expected, abs=1e-7)


def test_bayes_accuracy_agrees_with_simulated_points() -> None:
    n, p = 300_000, bayes_accuracy(FOUR, 0.25)
    distances, labels = simulate(n, 0.25)
    simulated = (distances.argmin(axis=1) == labels).mean()
    assert simulated == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / n))


@pytest.mark.parametrize("seed", range(3))
def test_bayes_accuracy_has_the_stated_accuracy(seed: int) -> None:
    generator = np.random.default_rng(seed)
    centers, std = generator.random((3 + seed, 2)), 0.05 + 0.3 * generator.random()
    finer = bayes_accuracy(centers, std, n_angles=1_000_001)
    assert bayes_accuracy(centers, std) == pytest.approx(finer, abs=1e-7)


def test_bayes_accuracy_of_classes_far_apart_is_one() -> None:
    assert bayes_accuracy([(0, 0), (1e6, 0), (0, 1e6)], 1.0) == pytest.approx(1, abs=1e-12)


# The Bayes cross entropy


@pytest.mark.parametrize("ratio", [0.001, 0.1, 1, 3.394, 10, 1000])
@pytest.mark.parametrize("angle", [0.0, 0.3, 0.785])
def test_bayes_cross_entropy_of_two_classes_is_the_integral(ratio: float, angle: float) -> None:
    """Along the line between the centers the logarithm of 1 / p is log(1 + exp(r t - r^2 / 2))."""
    exact, _ = scipy.integrate.quad(
        lambda t: scipy.stats.norm.pdf(t) * np.logaddexp(0, ratio * t - ratio**2 / 2), -12, 12
    )
    centers = two_centers(ratio * 0.25, angle)
    assert bayes_cross_entropy(centers, 0.25) == pytest.approx(exact, abs=1e-9)


def test_bayes_cross_entropy_agrees_with_simulated_points() -> None:
    n, std = 300_000, 0.25
    distances, labels = simulate(n, std)
    logits = -distances / (2 * std**2)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(n), labels]
    error = losses.std() / math.sqrt(n)
    assert bayes_cross_entropy(FOUR, std) == pytest.approx(losses.mean(), abs=4 * error)


@pytest.mark.parametrize("seed", range(3))
def test_bayes_cross_entropy_has_the_stated_accuracy(seed: int) -> None:
    generator = np.random.default_rng(seed)
    centers, std = generator.random((3 + seed, 2)), 0.05 + 0.3 * generator.random()
    finer = bayes_cross_entropy(centers, std, end=10, n_steps=801)
    assert bayes_cross_entropy(centers, std) == pytest.approx(finer, abs=1e-12)


def test_bayes_cross_entropy_of_classes_far_apart_is_zero() -> None:
    assert bayes_cross_entropy([(0, 0), (1e30, 0), (0, 1e30)], 1e-30) == 0


def test_no_learning_rate_diverges_where_all_features_are_zero() -> None:
    assert largest_stable_lr(np.zeros(3), "sum") == math.inf
