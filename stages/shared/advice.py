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
from stages.shared.moments import Moments, column_moments, iter_chunks, merged_by_float32
from stages.shared.scaling import Scaling
from stages.shared.theory import design_matrix, largest_stable_lr

MANY_ROWS = 10_000  # from which a sum over them, and not the data, makes steps too large
FAR = 3.0  # standard deviations of the mean from zero
RATIO = 100.0  # of the largest to the smallest standard deviation


def spreads(moments: Moments) -> np.ndarray:
    """Return the standard deviation of each feature, (n_features,).

    Of zeros and ones, as for a category, it is 1 / 2, that of the balanced ones: neither a rare nor
    a frequent category needs standardizing.
    """
    return np.where(moments.is_binary, 0.5, moments.std)


def far_from_zero(moments: Moments, features: Sequence[str]) -> list[str]:
    """Return the features whose mean is more than FAR standard deviations from zero."""
    is_far = np.abs(moments.mean) > FAR * spreads(moments)
    return [name for name, far in zip(features, is_far, strict=True) if far]


def differently_scaled(moments: Moments, features: Sequence[str]) -> list[str]:
    """Return the features of the smallest and the largest standard deviation, if RATIO apart.

    Constant features do not count. Otherwise the list is empty.
    """
    scale = spreads(moments)
    varying = np.flatnonzero(scale)
    if not len(varying):
        return []
    smallest, largest = varying[scale[varying].argmin()], varying[scale[varying].argmax()]
    if scale[largest] <= RATIO * scale[smallest]:
        return []
    return [features[smallest], features[largest]]


def reason_to_standardize(moments: Moments, features: Sequence[str]) -> str:
    """Return why features with these moments should be standardized, as a clause, or nothing."""
    if far := far_from_zero(moments, features):
        others = f" and {len(far) - 1} more are" if len(far) > 1 else " is"
        return f"{truncate(far[0])}{others} far from zero"
    if scales := differently_scaled(moments, features):
        smallest, largest = map(truncate, scales)
        return f"{smallest} and {largest} have very different scales"
    return ""


def check_dtype(x: Tensor, y: Tensor, metadata: Metadata, dtype: torch.dtype) -> None:
    """Raise UserError for a column of a regression whose values float32 would merge.

    x, (n,) or (n, n_features), and y, (n,), are float64.
    """
    if dtype != torch.float32:
        return
    merged = [
        name
        for columns, names in ((x, metadata.features), (y, [metadata.target]))
        for name, is_merged in zip(names, merged_by_float32(iter_chunks(columns)), strict=True)
        if is_merged
    ]
    if merged:
        raise UserError(
            f"train_regression: float32 would merge different values of {merged[0]}. In "
            "params.yaml, set convert_to_tensors.regression.standardize: true, or "
            "train_regression.dtype: float64."
        )


def regression_remedy(x: Tensor, features: Sequence[str], section: TrainRegressionSection) -> str:
    """Return what to change in params.yaml after a training on x, (n,) or (n, n_features)."""
    names = [*features, *(["the bias"] if section.bias else [])]
    moments = column_moments(design_matrix(X, section.bias) for X in iter_chunks(x))
    reason = reason_to_standardize(moments, names)
    others = [key for key in ("momentum", "weight_decay") if section.optimizer.arguments.get(key)]
    bound = largest_stable_lr(x, section.loss_reduction, section.bias)
    if not reason and others and section.optimizer.lr < bound / 2:  # so they are the cause
        keys = " and ".join(f"train_regression.optimizer.{key}" for key in others)
        return f"In params.yaml, lower {keys}."
    if not reason:
        return f"In params.yaml, {change_lr(bound, x, section)}."
    scaling = standardization(moments, len(features))
    bound = largest_stable_lr(x, section.loss_reduction, section.bias, scaling)
    return (
        f"In params.yaml, set convert_to_tensors.regression.standardize: true, since {reason}; it "
        "also centers the target, so that no bias is needed. Then "
        f"{change_lr(bound, x, section)}."
    )


def standardization(moments: Moments, n_features: int) -> Scaling:
    """Return the scaling of the first `n_features` columns; a constant one has scale 1."""
    mean, std = moments.mean[:n_features], moments.std[:n_features]
    is_constant = (moments.low == moments.high)[:n_features] | (std == 0)
    return Scaling(mean=tuple(mean.tolist()), scale=tuple(np.where(is_constant, 1, std).tolist()))


def classifier_remedy(X: Tensor, features: Sequence[str], section: TrainClassifierSection) -> str:
    """Return what to change in params.yaml after a training on X, (n, n_features)."""
    lower = lower_lr("train_classifier", section.optimizer)
    reason = reason_to_standardize(column_moments(iter_chunks(X)), features)
    if not reason:
        return f"In params.yaml, {lower}."
    return (
        f"In params.yaml, set convert_to_tensors.classification.standardize: true, since {reason}. "
        f"If that is not enough, {lower}."
    )


def change_lr(bound: float, x: Tensor, section: TrainRegressionSection) -> str:
    """Return the clause on the learning rate for features x, (n,) or (n, n_features).

    From `bound` on, plain SGD diverges. At half of it, it reaches least squares along its steepest
    direction in one step. The bound of a summed loss falls with the number of rows, that of their
    mean does not: for MANY_ROWS the clause leads to the mean, unless there is a weight decay, which
    weighs more beside it.
    """
    if section.optimizer.name != "SGD" or not math.isfinite(bound):
        return lower_lr("train_regression", section.optimizer)
    is_one = math.prod(x.shape[1:]) == 1 and not section.bias
    curvature = "sum(x^2)" if is_one else "largest eigenvalue of X^T X"
    numerator = "n" if section.loss_reduction == "mean" else "1"
    diverges = "plain SGD diverges" + " with the full batch" * (section.batch_size is not None)
    if (
        section.loss_reduction == "sum"
        and len(x) > MANY_ROWS
        and not section.optimizer.arguments.get("weight_decay")
    ):
        best = bound * len(x)
        return (
            "set train_regression.loss_reduction: mean and train_regression.optimizer.lr: "
            f"{best / 2:.2g}, half of n / {curvature} = {best:.6g}, from which {diverges}; "
            f"for the sum it does so from 1 / {curvature} = {bound:.6g}, which falls as rows are "
            "added"
        )
    return (
        f"set train_regression.optimizer.lr: {bound / 2:.2g}, half of {numerator} / {curvature} = "
        f"{bound:.6g}, from which {diverges}"
    )


def lower_lr(stage: str, optimizer: OptimizerParams) -> str:
    """Return the clause that tells which of an optimizer's arguments to lower."""
    others = [name for name in ("momentum", "weight_decay") if optimizer.arguments.get(name)]
    return " or ".join([f"lower {stage}.optimizer.lr", *others])
