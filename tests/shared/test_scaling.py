"""Standardization, against scikit-learn and by hand."""

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.preprocessing import StandardScaler

from stages.shared.scaling import Scaling

X = np.random.default_rng(0).standard_normal((200, 3)) * [1, 10, 1e-3] + [5, 0, 1]


def test_scaling_is_that_of_scikit_learn() -> None:
    np.testing.assert_allclose(
        Scaling.fit(X).transform(X), StandardScaler().fit_transform(X), atol=1e-5
    )


def test_mean_and_scale_by_hand() -> None:
    scaling = Scaling.fit(np.array([[1.0], [3.0]]))
    assert scaling == Scaling(mean=(2.0,), scale=(1.0,))
    assert scaling.transform(np.array([[5.0]])).tolist() == [[3.0]]


@pytest.mark.parametrize("size", [1, 7, 199, 200])
def test_chunks_give_the_scaling_of_scikit_learn(size: int) -> None:
    chunks = [X[start : start + size] for start in range(0, 200, size)]
    found = Scaling.fit_chunks([X[:0], *chunks])
    scaler = StandardScaler().fit(X)
    np.testing.assert_allclose(found.mean, scaler.mean_, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found.scale, scaler.scale_, rtol=5e-9)


def test_constant_feature_becomes_zero() -> None:
    constant = np.full((7, 1), 0.1)
    scaling = Scaling.fit(constant)
    assert scaling.scale == (1.0,)
    np.testing.assert_allclose(scaling.transform(constant), 0, atol=1e-9)


def test_inverse_transform_undoes_transform() -> None:
    scaling = Scaling.fit(X)
    np.testing.assert_allclose(scaling.inverse_transform(scaling.transform(X)), X, rtol=1e-12)


def test_json_gives_the_same_scaling_again() -> None:
    scaling = Scaling.fit(X)
    assert Scaling.model_validate_json(scaling.model_dump_json()) == scaling


def test_stored_digits_are_nine() -> None:
    scaling = Scaling.fit(np.array([[1.0], [1.0], [2.0]]))
    assert scaling.mean[0] == pytest.approx(1.333333333, abs=1e-15)
    assert scaling.scale[0] == pytest.approx(0.471404521, abs=1e-15)


@pytest.mark.parametrize("offset", [1e3, 1e9, 1e12, -1e12])
def test_features_far_from_zero_lose_no_digits(offset: float) -> None:
    values = offset + np.arange(100.0)[:, np.newaxis]
    scaled = Scaling.fit(values).transform(values)
    # The standard deviation of 0, 1, …, n - 1 is sqrt((n^2 - 1) / 12).
    expected = (np.arange(100) - 49.5) / ((100**2 - 1) / 12) ** 0.5
    np.testing.assert_allclose(scaled[:, 0], expected, rtol=1e-8)


@pytest.mark.parametrize(
    ("mean", "scale"),
    [((0.0,), ()), ((0.0,), (0.0,)), ((0.0,), (-1.0,)), ((np.nan,), (1.0,)), ((0.0,), (np.inf,))],
)
def test_scaling_that_cannot_be_applied_is_rejected(mean: tuple, scale: tuple) -> None:
    with pytest.raises(ValidationError):
        Scaling(mean=mean, scale=scale)


def test_scale_that_underflows_becomes_one() -> None:
    assert Scaling.fit(np.array([[0.0], [1e-200]])).scale == (1.0,)
