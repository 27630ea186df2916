"""What looks wrong in the results, and its remedy: warnings, each with a name and a sentence.

evaluate prints them and counts them in metrics/evaluate.json, where a diff shows one that comes or
goes, and the report has them at its top.
"""

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import numpy as np

from stages.shared.advice import reason_to_standardize
from stages.shared.metadata import Metadata
from stages.shared.scores import wilson_interval

WIDEST = 0.1  # of accuracy's 95 % interval
SHOWN = 5  # names in a sentence
PARTS = {"train": "training", "valid": "validation", "test": "test"}

Metrics = Mapping[str, Any]
Warnings = Iterator[tuple[str, str]]


def check_regression(
    metrics: Metrics, mean: Metrics, X: np.ndarray, last_loss: float, metadata: Metadata
) -> Warnings:
    """Yield (name, sentence) of what is wrong with a regression.

    `metrics` and `mean` are the scores by split of the model and of the mean of the target, `X`,
    (n, n_features), the features in training, `last_loss` the last of the history.
    """
    reason = "" if metadata.scaling else reason_to_standardize(X, metadata.features)
    parts = [split for split in ("valid", "test") if metrics[split]["mse"] > mean[split]["mse"]]
    if parts:
        scores = [(metrics[split]["mse"], mean[split]["mse"]) for split in parts]
        remedy = "Train longer, or with another lr"
        if not metadata.scaling:
            remedy = f"Set standardize: true for the table, which also centers the target. {remedy}"
        yield (
            "regression_worse_than_mean",
            f"The regression is worse than the mean of the target: MSE {compare(parts, scores)}. "
            f"{remedy}, or choose other features.",
        )
    if reason:
        yield (
            "regression_not_standardized",
            f"The regression's features are not standardized, but {reason}. Set "
            "convert_to_tensors.regression.standardize: true, which also centers the target.",
        )
    mse = metrics["train"]["mse"]
    expected = last_loss / (len(X) if metadata.loss_reduction == "sum" else 1)
    if abs(mse - expected) > 0.01 * expected + 1e-6 * mean["train"]["mse"]:
        yield (
            "regression_history_differs",
            f"The stored regression is not the trained one: its MSE on the training rows is "
            f"{mse:.6g}, and {expected:.6g} at the end of training; models are stored with six "
            "digits. Set convert_to_tensors.regression.standardize: true.",
        )


def check_classifier(
    counts: Mapping[str, np.ndarray],
    metrics: Metrics,
    baselines: Metrics,
    X: np.ndarray,
    last_accuracy: float,
    metadata: Metadata,
) -> Warnings:
    """Yield (name, sentence) of what is wrong with a classifier.

    `counts` are its confusion matrices and `metrics` its scores by split; `baselines` has those of
    the majority class (majority) and the class frequencies (prior); `X`, (n, n_features), are the
    features in training, and `last_accuracy` is the last of the history.
    """
    yield from check_against_baselines(metrics, baselines, int(counts["test"].sum()), metadata)
    reason = "" if metadata.scaling else reason_to_standardize(X, metadata.features)
    if reason:
        yield (
            "classifier_not_standardized",
            f"The classifier's features are not standardized, but {reason}. Set "
            "convert_to_tensors.classification.standardize: true.",
        )
    accuracy = metrics["train"]["accuracy"]
    if abs(accuracy - last_accuracy) > max(0.01, 1.5 / len(X)):
        yield (
            "classifier_history_differs",
            f"The stored classifier is not the trained one: its accuracy on the training rows is "
            f"{accuracy:.6g}, and {last_accuracy:.6g} at the end of training. Set "
            "convert_to_tensors.classification.standardize: true.",
        )
    missing = {split: np.flatnonzero(counts[split].sum(axis=1) == 0) for split in PARTS}
    if parts := [split for split in PARTS if len(missing[split])]:
        names = (
            f"{shorten([metadata.labels[k] for k in missing[split]])} from the {PARTS[split]} rows"
            for split in parts
        )
        yield (
            "classifier_class_missing",
            f"Classes are missing: {', '.join(names)}. Their recall is unknown; add rows of them, "
            "or split the table at random with larger fractions.",
        )


def check_against_baselines(
    metrics: Metrics, baselines: Metrics, n_test: int, metadata: Metadata
) -> Warnings:
    """Yield (name, sentence) of what accuracy and cross entropy say; see check_classifier."""
    majority, prior = baselines["majority"], baselines["prior"]
    remedy = "Train longer, with another lr or on other features"
    if not metadata.scaling:
        remedy = f"Set standardize: true for the table. {remedy}"
    # Which gives up accuracy for the recall of rare classes.
    remedy += "; with class_weight: balanced, look at balanced accuracy instead"
    worse = [
        split
        for split in ("valid", "test")
        if metrics[split]["accuracy"] < majority[split]["accuracy"]
    ]
    scores = [(metrics[split]["accuracy"], majority[split]["accuracy"]) for split in worse]
    if worse:
        yield (
            "classifier_worse_than_majority",
            f"The classifier is worse than the majority class: accuracy {compare(worse, scores)}. "
            f"{remedy}.",
        )
    uncertain = [
        split
        for split in ("valid", "test")
        if metrics[split]["cross_entropy"] > prior[split]["cross_entropy"]
    ]
    scores = [
        (metrics[split]["cross_entropy"], prior[split]["cross_entropy"]) for split in uncertain
    ]
    if uncertain:
        on_logits = metadata.loss_on == "logits"
        yield (
            "classifier_worse_than_class_frequencies",
            "The probabilities are worse than the class frequencies: cross entropy "
            f"{compare(uncertain, scores)}. "
            + (f"{remedy}." if on_logits else "Set train_classifier.loss_on: logits."),
        )
    test = metrics["test"]
    low, high = test["accuracy_low"], test["accuracy_high"]
    interval = f"test accuracy is {test['accuracy']:.3g}, with a 95 % interval of {low:.3f} to "
    interval += f"{high:.3f}"
    if not worse and low <= majority["test"]["accuracy"] <= high:
        yield (
            "classifier_like_majority",
            "The classifier cannot be told from the majority class, whose test accuracy is "
            f"{majority['test']['accuracy']:.3g}: {interval}. Look at balanced accuracy and "
            "recall, which class_weight: balanced may raise, or add test rows.",
        )
    if high - low > WIDEST:
        n = rows_for_interval(test["accuracy"])
        yield (
            "classifier_accuracy_uncertain",
            f"Changes of a few points in accuracy cannot be seen: {interval}, from {n_test} rows. "
            f"An interval of {WIDEST} takes {n} test rows; add rows, or raise test_fraction.",
        )


def rows_for_interval(accuracy: float) -> int:
    """Return how many rows make the 95 % interval of this accuracy WIDEST or narrower."""
    for n in count(1):
        low, high = wilson_interval(accuracy * n, n)
        if high - low <= WIDEST:
            return n
    raise AssertionError  # the interval narrows with every row


def compare(splits: list[str], scores: list[tuple[float, float]]) -> str:
    """Return the scores of a model and a baseline for each split."""
    return ", ".join(
        f"{ours:.4g} instead of {baseline:.4g} on the {PARTS[split]} rows"
        for split, (ours, baseline) in zip(splits, scores, strict=True)
    )


def shorten(names: list[Any]) -> str:
    """Return names as one text, SHOWN at most, and how many are left out."""
    n_left_out = len(names) - SHOWN
    shown = ", ".join(map(str, names[:SHOWN]))
    return f"{shown} and {n_left_out} more" if n_left_out > 0 else shown
