"""The linear model of any number of features."""

import pytest
import torch

from stages.shared.linear import coefficient_names, predict_linear


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_line_is_the_weight_times_x(shape: tuple[int, ...]) -> None:
    x = torch.tensor([1.0, 2.0]).reshape(shape)
    assert predict_linear(x, torch.tensor(3.0), None).tolist() == [3.0, 6.0]
    assert predict_linear(x, torch.tensor(3.0), torch.tensor(0.5)).tolist() == [3.5, 6.5]


def test_several_features_add_up() -> None:
    X, weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([10.0, 1.0])
    assert predict_linear(X, weight, None).tolist() == [12.0, 34.0]
    assert predict_linear(X, weight, torch.tensor(0.5)).tolist() == [12.5, 34.5]


@pytest.mark.parametrize(
    ("features", "has_bias", "names"),
    [
        (["x"], False, ["weight"]),
        (["x"], True, ["weight", "bias"]),
        (["a", "b"], False, ["weight", "weight_a", "weight_b"]),
        (["a", "b"], True, ["weight", "weight_a", "weight_b", "bias"]),
    ],
)
def test_coefficients_are_named_by_their_features(
    features: list[str], has_bias: bool, names: list[str]
) -> None:
    assert coefficient_names(features, has_bias) == names
