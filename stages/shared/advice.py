"""What to change after a training that diverged, and which features should be standardized.

The loss of features far from zero, or of very different scales, is a narrow valley: steps that are
stable across it hardly move along it. Beside a bias, the largest curvature is about
1 + (mean / std)^2 times the smallest; of two features, the square of the ratio of their standard
deviations.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stages.core.errors import UserError
from stages.core.optimizers import OptimizerParams
from stages.core.params import truncate
from stages.core.schema import TrainClassifierSection, TrainRegressionSection
from stages.shared.metadata import Metadata
from stages.shared.rounding import merged_by_float32
from stages.shared.scaling import Scaling
from stages.shared.theory import design_matrix, largest_stable_lr

FAR = 3.0  # standard deviations of the mean from zero
RATIO = 100.0  # of the largest to the smallest standard deviation


def spreads(X: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each feature of X, float64 (n, n_features).

    Of zeros and ones, as for a category, it is 1 / 2, that of the balanced ones: neither a rare nor
    a frequent category needs standardizing.
    """
    is_binary = ((X == 0) | (X == 1)).all(axis=0)
    return np.where(is_binary, 0.5, (X - X[0]).std(axis=0))


def far_from_zero(X: np.ndarray, features: Sequence[str]) -> list[str]:
    """Return the features whose mean is more than FAR standard deviations from zero."""
    is_far = np.abs(X.mean(axis=0)) > FAR * spreads(X)
    return [name for name, far in zip(features, is_far, strict=True) if far]


def differently_scaled(X: np.ndarray, features: Sequence[str]) -> list[str]:
    """Return the features of the smallest and the largest standard deviation, if RATIO apart.

    Constant features do not count. Otherwise the list is empty.
    """
    scale = spreads(X)
    varying = np.flatnonzero(scale)
    if not len(varying):
        return []
    smallest, largest = varying[scale[varying].argmin()], varying[scale[varying].argmax()]
    if scale[largest] <= RATIO * scale[smallest]:
        return []
    return [features[smallest], features[largest]]


def reason_to_standardize(X: np.ndarray, features: Sequence[str]) -> str:
    """Return why X, float64 (n, n_features), should be standardized, as a clause, or nothing."""
    if far := far_from_zero(X, features):
        others = f" and {len(far) - 1} more are" if len(far) > 1 else " is"
        return f"{truncate(far[0])}{others} far from zero"
    if scales := differently_scaled(X, features):
        smallest, largest = map(truncate, scales)
        return f"{smallest} and {largest} have very different scales"
    return ""


def check_dtype(x: Tensor, y: Tensor, metadata: Metadata, dtype: torch.dtype) -> None:
    """Raise UserError for a column of a regression whose values float32 would merge.

    x, (n,) or (n, n_features), and y, (n,), are float64.
    """
    if dtype != torch.float32:
        return
    columns = np.column_stack([x.numpy(), y.numpy()])
    names = [*metadata.features, metadata.target]
    merged = [name for name, bad in zip(names, merged_by_float32(columns), strict=True) if bad]
    if merged:
        raise UserError(
            f"train_regression: float32 would merge different values of {merged[0]}. In "
            "params.yaml, set convert_to_tensors.regression.standardize: true, or "
            "train_regression.dtype: float64."
        )


def regression_remedy(x: Tensor, features: Sequence[str], section: TrainRegressionSection) -> str:
    """Return what to change in params.yaml after a training on x, (n,) or (n, n_features)."""
    X = to_numpy(x)
    names = [*features, *(["the bias"] if section.bias else [])]
    reason = reason_to_standardize(design_matrix(X, section.bias), names)
    others = [key for key in ("momentum", "weight_decay") if section.optimizer.arguments.get(key)]
    bound = largest_stable_lr(X, section.loss_reduction, section.bias)
    if not reason and others and section.optimizer.lr < bound / 2:  # so they are the cause
        keys = " and ".join(f"train_regression.optimizer.{key}" for key in others)
        return f"In params.yaml, lower {keys}."
    if not reason:
        return f"In params.yaml, {change_lr(X, section)}."
    standardized = Scaling.fit(X).transform(X)
    return (
        f"In params.yaml, set convert_to_tensors.regression.standardize: true, since {reason}; it "
        "also centers the target, so that no bias is needed. Then "
        f"{change_lr(standardized, section)}."
    )


def classifier_remedy(X: Tensor, features: Sequence[str], section: TrainClassifierSection) -> str:
    """Return what to change in params.yaml after a training on X, (n, n_features)."""
    lower = lower_lr("train_classifier", section.optimizer)
    reason = reason_to_standardize(to_numpy(X), features)
    if not reason:
        return f"In params.yaml, {lower}."
    return (
        f"In params.yaml, set convert_to_tensors.classification.standardize: true, since {reason}. "
        f"If that is not enough, {lower}."
    )


def change_lr(X: np.ndarray, section: TrainRegressionSection) -> str:
    """Return the clause on the learning rate for features X, float64 (n, n_features).

    At half of the bound, plain SGD reaches least squares along its steepest direction in one step.
    """
    bound = largest_stable_lr(X, section.loss_reduction, section.bias)
    if section.optimizer.name != "SGD" or not math.isfinite(bound):
        return lower_lr("train_regression", section.optimizer)
    numerator = "n" if section.loss_reduction == "mean" else "1"
    curvature = (
        "sum(x^2)" if X.shape[1] == 1 and not section.bias else "largest eigenvalue of X^T X"
    )
    return (
        f"set train_regression.optimizer.lr: {bound / 2:.2g}, half of {numerator} / {curvature} = "
        f"{bound:.6g}, from which plain SGD diverges"
    )


def lower_lr(stage: str, optimizer: OptimizerParams) -> str:
    """Return the clause that tells which of an optimizer's arguments to lower."""
    others = [name for name in ("momentum", "weight_decay") if optimizer.arguments.get(name)]
    return " or ".join([f"lower {stage}.optimizer.lr", *others])


def to_numpy(x: Tensor) -> np.ndarray:
    """Return features, (n,) or (n, n_features), as float64 (n, n_features)."""
    return x.double().cpu().numpy().reshape(len(x), -1)
