"""The linear model of any number of features: its predictions and the names of its coefficients."""

from collections.abc import Sequence

from torch import Tensor


def predict_linear(X: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return y_hat = X @ weight + bias, (n,).

    X has shape (n, n_features) and weight (n_features,); of one feature they may be (n,) and ().
    """
    y_hat = X.reshape(len(X), weight.numel()) @ weight.reshape(-1)
    return y_hat if bias is None else y_hat + bias


def coefficient_names(features: Sequence[str], has_bias: bool) -> list[str]:
    """Return the columns of the history that follow epoch and loss.

    For several features, `weight` is the Euclidean norm of their weights, weight_<feature>.
    """
    several = [f"weight_{name}" for name in features] if len(features) > 1 else []
    return ["weight", *several, *(["bias"] if has_bias else [])]
