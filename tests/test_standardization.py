import numpy as np
import pytest

from stages.standardization import Standardization


def test_standardized_features_have_mean_zero_and_deviation_one():
    X = np.random.default_rng(0).standard_normal((200, 3)) * [1, 10, 1e-3] + [5, 0, 1]
    Z = Standardization.fitted(X).apply(X)
    np.testing.assert_allclose(Z.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(Z.std(axis=0), 1, atol=1e-7)


def test_mean_and_scale_by_hand():
    fitted = Standardization.fitted(np.array([[1.0], [3.0]]))
    assert fitted.facts() == {"mean": [2.0], "scale": [1.0]}
    assert fitted.apply(np.array([[5.0]])).tolist() == [[3.0]]


def test_constant_feature_becomes_zero():
    X = np.full((7, 1), 0.1)
    assert Standardization.fitted(X).scale.tolist() == [1.0]
    np.testing.assert_allclose(Standardization.fitted(X).apply(X), 0, atol=1e-9)


def test_undo_undoes():
    X = np.random.default_rng(0).standard_normal((20, 2))
    fitted = Standardization.fitted(X)
    np.testing.assert_allclose(fitted.undo(fitted.apply(X)), X, rtol=1e-12)


def test_facts_make_the_same_standardization_again():
    fitted = Standardization.fitted(np.random.default_rng(0).standard_normal((20, 2)))
    again = Standardization.of({"features": ["a", "b"], **fitted.facts()})
    assert (again.mean == fitted.mean).all()
    assert (again.scale == fitted.scale).all()


def test_without_facts_nothing_changes():
    X = np.array([[0.1, -7.3]])
    assert Standardization.of({"features": ["a", "b"]}).apply(X).tolist() == X.tolist()


def test_stored_digits_are_nine():
    mean = Standardization.fitted(np.array([[1.0], [1.0], [2.0]])).mean
    assert mean.tolist() == pytest.approx([1.33333333], abs=1e-12)
