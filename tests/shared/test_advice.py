"""What to change after a training that diverged: obeyed, it must lead to least squares."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression
from torch import Tensor

from conftest import feature_columns, params_of
from stages.core.errors import UserError
from stages.shared.advice import (
    MANY_ROWS,
    check_dtype,
    classifier_remedy,
    differently_scaled,
    far_from_zero,
    reason_to_standardize,
    regression_remedy,
)
from stages.shared.batches import Rows
from stages.shared.metadata import Metadata
from stages.shared.moments import moments
from stages.shared.run import Run
from stages.shared.scaling import Scaling
from stages.shared.training import DivergenceError
from stages.train_regression import fit

N = 200
GENERATOR = np.random.default_rng(0)
YEAR = GENERATOR.integers(1980, 2021, N).astype(float)
ID = 1e9 + GENERATOR.permutation(N)
Z = GENERATOR.standard_normal(N)
NOISE = GENERATOR.standard_normal(N)


def columns(*features: np.ndarray) -> np.ndarray:
    return np.stack(features, axis=1)


# Which features


@pytest.mark.parametrize(
    ("feature", "is_far"),
    [
        (YEAR, True),
        (ID, True),
        (np.full(N, 5.0), True),
        (-4 + Z, True),
        (2 + Z, False),
        (Z * 1e6, False),
        (np.linspace(0, 1, N), False),
        (np.zeros(N), False),
        (np.ones(N), False),
        ((np.arange(N) > 3).astype(float), False),  # 98 % ones: 7 standard deviations
    ],
)
def test_far_from_zero(feature: np.ndarray, is_far: bool) -> None:
    assert far_from_zero(moments(columns(Z, feature)), ["z", "f"]) == (["f"] if is_far else [])


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        (columns(Z, 99 * Z), []),
        (columns(101 * Z, Z, 50 * Z), ["b", "a"]),
        (columns(Z, np.full(N, 1e9), np.zeros(N)), []),  # constant ones do not count
        (columns(20 * Z, (np.arange(N) == 3).astype(float)), []),  # nor does a rare category
        (columns(np.zeros(N), np.zeros(N)), []),
    ],
)
def test_differently_scaled(X: np.ndarray, expected: list[str]) -> None:
    assert differently_scaled(moments(X), list("abc"[: X.shape[1]])) == expected


def test_spread_far_from_zero_loses_no_digits() -> None:
    """Seconds: a standard deviation of 1e-3 beside a mean of 1.7e9."""
    assert differently_scaled(moments(columns(1.7e9 + 1e-3 * Z, Z)), ["t", "z"]) == ["t", "z"]


def test_reason_names_the_features() -> None:
    long = "x" * 100
    assert reason_to_standardize(moments(columns(Z, Z)), ["a", "b"]) == ""
    assert (
        reason_to_standardize(moments(columns(YEAR, Z)), ["year", "z"]) == "year is far from zero"
    )
    assert reason_to_standardize(moments(columns(YEAR, ID, ID)), [long, "b", "c"]) == (
        f"{'x' * 57}... and 2 more are far from zero"
    )
    assert reason_to_standardize(moments(columns(Z, 1e6 * Z)), ["a", "b"]) == (
        "a and b have very different scales"
    )


# Obeyed


def train_and_obey(X: np.ndarray, y: np.ndarray, **changes: Any) -> float:
    """Train, change what the remedy says, train again; return the R^2 that this gives."""
    x, section = torch.from_numpy(X), params_of("train_regression", changes)
    with pytest.raises(DivergenceError):
        fit_line(x, torch.from_numpy(y), section)
    remedy = regression_remedy(x, [f"x{k}" for k in range(x[:1].numel())], section)
    if "set convert_to_tensors.regression.standardize: true" in remedy:
        X = X.reshape(len(X), -1)
        x = torch.from_numpy(Scaling.fit(X).transform(X))
        y = y - y.mean()
    if "set train_regression.loss_reduction: mean" in remedy:
        changes = {**changes, "loss_reduction": "mean"}
    _, _, lr = remedy.partition("train_regression.optimizer.lr: ")
    optimizer = {**section.optimizer.arguments, "name": "SGD", "lr": float(lr.partition(",")[0])}
    section = params_of("train_regression", {**changes, "optimizer": optimizer})
    error = fit_line(x, torch.from_numpy(y), section)
    return 1 - error / y.var()


def fit_line(x: Tensor, y: Tensor, section: Any) -> float:
    weight = torch.full(x.shape[1:], 0.1, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros((), dtype=torch.float64, requires_grad=True) if section.bias else None
    rows = Rows(x, y, torch.float64, section.chunk_rows)
    history = fit(rows, rows, weight, bias, Run("train_regression", section))
    loss = history[-1][1]
    return loss if section.loss_reduction == "mean" else loss / len(y)


@pytest.mark.parametrize(
    ("X", "y"),
    [
        (YEAR, 3 * (YEAR - 2000) + NOISE),
        (ID, 0.5 * (ID - 1e9) + NOISE),
        (columns(ID, Z), 5 + 3 * Z + NOISE),
        (columns(Z, 5e4 * YEAR), Z + YEAR - 2000),
        (1e5 * Z, 10 * Z + NOISE),
        (np.linspace(0, 39, N), 2 * np.linspace(0, 39, N)),
    ],
)
@pytest.mark.parametrize("loss_reduction", ["sum", "mean"])
def test_remedy_leads_to_least_squares_with_an_intercept(
    X: np.ndarray, y: np.ndarray, loss_reduction: str
) -> None:
    best = LinearRegression().fit(X.reshape(N, -1), y).score(X.reshape(N, -1), y)
    optimizer = {"name": "SGD", "lr": 1.0}
    r2 = train_and_obey(X, y, loss_reduction=loss_reduction, optimizer=optimizer)
    assert r2 == pytest.approx(best, abs=0.002)


def test_remedy_works_beside_a_bias_and_momentum() -> None:
    y = 7 + Z + 0.1 * NOISE
    best = LinearRegression().fit(Z[:, None], y).score(Z[:, None], y)
    optimizer = {"name": "SGD", "lr": 1.0, "momentum": 0.5}
    assert train_and_obey(5e4 * Z, y, bias=True, optimizer=optimizer) == pytest.approx(best)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("offset", [0.0, 2000.0])
def test_remedy_for_a_sum_over_many_rows_leads_to_least_squares(bias: bool, offset: float) -> None:
    generator = np.random.default_rng(0)
    n = MANY_ROWS + 1
    x = generator.random(n)
    y = 2 * x + 0.3 * generator.standard_normal(n)
    best = LinearRegression(fit_intercept=bias or offset > 0).fit(x[:, None], y)
    # The lr of the article, which a thousand rows stand.
    optimizer = {"name": "SGD", "lr": 1.5e-3}
    r2 = train_and_obey(offset + x, y, bias=bias, optimizer=optimizer)
    assert r2 == pytest.approx(best.score(x[:, None], y), abs=1e-3)


def test_remedy_for_a_sum_over_many_rows_names_both_bounds() -> None:
    x = torch.tensor([1.0, -1.0]).repeat(10_000)
    assert regression_remedy(x, ["x"], section_with()) == (
        "In params.yaml, set train_regression.loss_reduction: mean and "
        "train_regression.optimizer.lr: 0.5, half of n / sum(x^2) = 1, from which plain SGD "
        "diverges; for the sum it does so from 1 / sum(x^2) = 5e-05, which falls as rows are added."
    )


@pytest.mark.parametrize(
    ("n_rows", "changes"),
    [
        (MANY_ROWS, {}),
        (MANY_ROWS + 2, {"loss_reduction": "mean"}),
        (MANY_ROWS + 2, {"optimizer": {"name": "SGD", "lr": 1.0, "weight_decay": 0.1}}),
    ],
)
def test_remedy_keeps_the_reduction(n_rows: int, changes: dict[str, Any]) -> None:
    x = torch.tensor([1.0, -1.0]).repeat(n_rows // 2)
    remedy = regression_remedy(x, ["x"], section_with(**changes))
    assert remedy.startswith("In params.yaml, set train_regression.optimizer.lr: ")


def test_remedies_are_the_same_from_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    section, classifier = section_with(), params_of("train_classifier")
    cases = [YEAR, columns(ID, Z), columns(Z, 5e4 * YEAR), Z, np.full(N, 5.0), columns(Z, 1e6 * Z)]
    tensors = [torch.from_numpy(X) for X in cases]
    names = ["a", "b"]

    def remedies() -> list[str]:
        return [
            text
            for x in tensors
            for text in (
                regression_remedy(x, names[: x[:1].numel()], section),
                classifier_remedy(x, names[: x[:1].numel()], classifier),
            )
        ]

    whole = remedies()
    monkeypatch.setattr("stages.shared.moments.CHUNK_VALUES", 6)
    assert remedies() == whole


def section_with(**changes: Any) -> Any:
    return params_of("train_regression", changes)


def test_remedy_for_a_feature_far_from_zero() -> None:
    x = torch.tensor([1999.0, 2001.0])  # standardized, sum(x^2) is 2
    assert regression_remedy(x, ["year"], section_with()) == (
        "In params.yaml, set convert_to_tensors.regression.standardize: true, since year is far "
        "from zero; it also centers the target, so that no bias is needed. Then set "
        "train_regression.optimizer.lr: 0.25, half of 1 / sum(x^2) = 0.5, from which plain SGD "
        "diverges."
    )


@pytest.mark.parametrize(
    ("changes", "bound"),
    [
        ({}, "0.25, half of 1 / sum(x^2) = 0.5"),
        ({"loss_reduction": "mean"}, "0.5, half of n / sum(x^2) = 1"),
        ({"bias": True}, "0.25, half of 1 / largest eigenvalue of X^T X = 0.5"),
    ],
)
def test_remedy_for_other_features_is_the_lr(changes: dict[str, Any], bound: str) -> None:
    x = torch.tensor([1.0, -1.0])
    assert regression_remedy(x, ["x"], section_with(**changes)) == (
        f"In params.yaml, set train_regression.optimizer.lr: {bound}, from which plain SGD "
        "diverges."
    )


def test_bound_is_that_of_the_full_batch_which_batches_may_exceed() -> None:
    x = torch.tensor([1.0, -1.0]).repeat(20)
    assert regression_remedy(x, ["x"], section_with(batch_size=4)) == (
        "In params.yaml, set train_regression.optimizer.lr: 0.013, half of 1 / sum(x^2) = 0.025, "
        "from which plain SGD diverges with the full batch."
    )


@pytest.mark.parametrize(
    ("optimizer", "clause"),
    [
        ({"name": "Adam", "lr": 1.0}, "lower train_regression.optimizer.lr."),
        (
            {"name": "RMSprop", "lr": 1.0, "momentum": 0.9, "weight_decay": 1.0},
            "lower train_regression.optimizer.lr or momentum or weight_decay.",
        ),
    ],
)
def test_no_bound_is_claimed_for_other_optimizers(optimizer: dict[str, Any], clause: str) -> None:
    section = section_with(optimizer=optimizer)
    x = torch.tensor([1.0, 2.0])
    assert regression_remedy(x, ["x"], section) == f"In params.yaml, {clause}"
    remedy = regression_remedy(x + 1000, ["x"], section)
    assert remedy.endswith(f"so that no bias is needed. Then {clause}")


def test_remedy_where_all_features_are_zero_or_become_so_names_no_bound() -> None:
    for x in (torch.zeros(3), torch.full((3,), 5.0)):
        assert regression_remedy(x, ["x"], section_with()).endswith(
            "lower train_regression.optimizer.lr."
        )


def test_remedy_of_the_classifier() -> None:
    section = params_of("train_classifier")
    X = torch.tensor([[2000.0, 1.0], [2001.0, -1.0]])
    assert classifier_remedy(X - X.mean(dim=0), ["year", "x"], section) == (
        "In params.yaml, lower train_classifier.optimizer.lr."
    )
    assert classifier_remedy(X, ["year", "x"], section) == (
        "In params.yaml, set convert_to_tensors.classification.standardize: true, since year is "
        "far from zero. If that is not enough, lower train_classifier.optimizer.lr."
    )


# float32


@pytest.mark.parametrize(
    ("x", "y", "column"),
    [(ID, Z, "x"), (Z, 1e9 + Z, "y"), (np.stack([Z, ID], axis=1), Z, "b")],
)
def test_columns_that_float32_would_merge_are_rejected(
    x: np.ndarray, y: np.ndarray, column: str
) -> None:
    names = ("a", "b") if x.ndim > 1 else ("x",)
    metadata = Metadata(task="regression", columns=feature_columns(*names), target="y")
    tensors = torch.tensor(x), torch.tensor(y)
    check_dtype(*tensors, metadata, torch.float64)
    check_dtype(torch.tensor(Z), torch.tensor(Z), metadata_of_x(), torch.float32)
    with pytest.raises(UserError, match=f"float32 would merge different values of {column}. In"):
        check_dtype(*tensors, metadata, torch.float32)


def test_columns_that_float32_would_merge_in_a_later_chunk_are_rejected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stages.shared.moments.CHUNK_VALUES", 10)
    x, y = torch.tensor(ID), torch.tensor(Z)
    x[:10] = x[:10].float().double()  # the first chunk is exact
    with pytest.raises(UserError, match="different values of x"):
        check_dtype(x, y, metadata_of_x(), torch.float32)


def metadata_of_x() -> Metadata:
    return Metadata(task="regression", columns=feature_columns("x"), target="y")


def test_weight_decay_is_named_where_the_lr_is_below_its_bound() -> None:
    optimizer = {"name": "SGD", "lr": 1e-4, "weight_decay": 3e4}
    section = params_of("train_regression", {"optimizer": optimizer})
    assert regression_remedy(torch.tensor(Z), ["z"], section) == (
        "In params.yaml, lower train_regression.optimizer.weight_decay."
    )
