"""What looks wrong in the results, and its remedy: warnings, each with a name and a sentence.

evaluate prints them and counts them in metrics/evaluate.json, where a diff shows one that comes or
goes, and the report has them at its top.
"""

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import numpy as np

from stages.core.params import shorten
from stages.shared.advice import reason_to_standardize
from stages.shared.metadata import Metadata
from stages.shared.moments import Moments
from stages.shared.scores import wilson_interval

UNFINISHED = 1.1  # training MSE over that of least squares, from which training goes on
WIDEST = 0.1  # of accuracy's 95 % interval
SHOWN = 5  # names in a sentence
PARTS = {"train": "training", "valid": "validation", "test": "test"}

Metrics = Mapping[str, Any]
Warnings = Iterator[tuple[str, str]]


def check_regression(
    metrics: Metrics, mean: Metrics, features: Moments, last_loss: float, metadata: Metadata
) -> Warnings:
    """Yield (name, sentence) of what is wrong with a regression.

    `metrics` has least_squares_loss, bias if there is one, and the scores by split of the model;
    `mean` has those of the mean of the target, `features` are the moments of the training rows, and
    `last_loss` is the last of the history.
    """
    reason = "" if metadata.scaling else reason_to_standardize(features, metadata.features)
    parts = [split for split in ("valid", "test") if metrics[split]["mse"] > mean[split]["mse"]]
    if parts:
        scores = [(metrics[split]["mse"], mean[split]["mse"]) for split in parts]
        yield (
            "regression_worse_than_mean",
            "The regression is worse than the mean of the target: MSE "
            f"{compare(parts, scores, 'the mean')}. "
            f"{regression_remedy(metrics, features.n, reason, metadata)}",
        )
    if reason:
        yield (
            "regression_not_standardized",
            f"The regression's features are not standardized, but {reason}. Set "
            "convert_to_tensors.regression.standardize: true, which also centers the target.",
        )
    mse = metrics["train"]["mse"]
    expected = last_loss / (features.n if metadata.loss_reduction == "sum" else 1)
    if abs(mse - expected) > 0.01 * expected + 1e-6 * mean["train"]["mse"]:
        yield (
            "regression_history_differs",
            f"The stored regression is not the trained one: its MSE on the training rows is "
            f"{mse:.6g}, and {expected:.6g} at the end of training; models are stored with six "
            f"digits. {history_remedy('regression', metadata)}",
        )


def history_remedy(task: str, metadata: Metadata) -> str:
    """Return what to change where a stored model is not the trained one, as a sentence."""
    if metadata.scaling is None:
        return f"Set convert_to_tensors.{task}.standardize: true."
    return "Lower the optimizer's lr, or train fewer epochs, so that the weights stay small."


def regression_remedy(metrics: Metrics, n_train: int, reason: str, metadata: Metadata) -> str:
    """Return what to change for a regression worse than the mean of the target, as a sentence.

    `reason` says why its features should be standardized, or nothing.
    """
    divisor = n_train if metadata.loss_reduction == "sum" else 1
    remedies = []
    if metrics["train"]["mse"] > UNFINISHED * metrics["least_squares_loss"] / divisor:
        remedies.append("raise train_regression.epochs or train_regression.optimizer.lr")
    if reason:
        remedies.append(
            f"set convert_to_tensors.regression.standardize: true, since {reason}; it also centers "
            "the target"
        )
    elif not metadata.scaling and "bias" not in metrics:
        remedies.append("set train_regression.bias: true")
    remedies.append("choose others in convert_to_tensors.regression.features")
    sentence = ", or ".join(remedies)
    return f"{sentence[0].upper()}{sentence[1:]}."


def check_classifier(
    counts: Mapping[str, np.ndarray],
    metrics: Metrics,
    baselines: Metrics,
    features: Moments,
    last_accuracy: float,
    metadata: Metadata,
) -> Warnings:
    """Yield (name, sentence) of what is wrong with a classifier.

    `counts` are its confusion matrices and `metrics` its scores by split; `baselines` has those of
    the majority class (majority) and the class frequencies (prior); `features` are the moments of
    the training rows, and `last_accuracy` is the last of the history.
    """
    reason = "" if metadata.scaling else reason_to_standardize(features, metadata.features)
    if metadata.class_weight == "balanced":
        yield from check_against_guessing(metrics, reason, metadata)
    else:
        yield from check_against_baselines(metrics, baselines, reason, metadata)
    yield from check_interval(metrics["test"], int(counts["test"].sum()))
    if reason:
        yield (
            "classifier_not_standardized",
            f"The classifier's features are not standardized, but {reason}. Set "
            "convert_to_tensors.classification.standardize: true.",
        )
    accuracy = metrics["train"]["accuracy"]
    if abs(accuracy - last_accuracy) > max(0.01, 1.5 / features.n):
        yield (
            "classifier_history_differs",
            f"The stored classifier is not the trained one: its accuracy on the training rows is "
            f"{accuracy:.6g}, and {last_accuracy:.6g} at the end of training. "
            f"{history_remedy('classification', metadata)}",
        )
    missing = {split: np.flatnonzero(counts[split].sum(axis=1) == 0) for split in PARTS}
    if parts := [split for split in PARTS if len(missing[split])]:
        labels = {split: [metadata.labels[k] for k in missing[split]] for split in parts}
        names = (f"{shorten(labels[split], SHOWN)} from the {PARTS[split]} rows" for split in parts)
        yield (
            "classifier_class_missing",
            f"Classes are missing: {', '.join(names)}. Their recall is unknown; add rows of them, "
            "or change the split.",
        )


def check_against_guessing(metrics: Metrics, reason: str, metadata: Metadata) -> Warnings:
    """Yield (name, sentence) of a classifier with balanced classes; see classifier_remedy.

    It gives up accuracy for the recall of rare classes, so that its baseline is another one.
    """
    guess = 1 / len(metadata.labels)
    worse = [
        split
        for split in ("valid", "test")
        if metrics[split]["balanced_accuracy"] <= guess * (1 + 1e-9)
    ]
    scores = [(metrics[split]["balanced_accuracy"], guess) for split in worse]
    if worse:
        yield (
            "classifier_worse_than_guessing",
            "The classifier is no better than guessing: balanced accuracy "
            f"{compare(worse, scores, 'guessing')}. {classifier_remedy(reason)}",
        )


def check_against_baselines(
    metrics: Metrics, baselines: Metrics, reason: str, metadata: Metadata
) -> Warnings:
    """Yield (name, sentence) of what accuracy and cross entropy say.

    See check_classifier and classifier_remedy.
    """
    majority, prior = baselines["majority"], baselines["prior"]
    worse = [
        split
        for split in ("valid", "test")
        if metrics[split]["accuracy"] < majority[split]["accuracy"]
    ]
    scores = [(metrics[split]["accuracy"], majority[split]["accuracy"]) for split in worse]
    if worse:
        yield (
            "classifier_worse_than_majority",
            "The classifier is worse than the majority class: accuracy "
            f"{compare(worse, scores, 'the majority class')}. {classifier_remedy(reason)}",
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
            f"{compare(uncertain, scores, 'the class frequencies')}. "
            + (classifier_remedy(reason) if on_logits else "Set train_classifier.loss_on: logits."),
        )
    test = metrics["test"]
    if not worse and test["accuracy_low"] <= majority["test"]["accuracy"] <= test["accuracy_high"]:
        yield (
            "classifier_like_majority",
            "The classifier is not distinguishable from the majority class, whose test accuracy is "
            f"{majority['test']['accuracy']:.3g}: {describe_interval(test)}. Look at balanced "
            "accuracy and recall, which train_classifier.class_weight: balanced may raise, or add "
            "test rows.",
        )


def classifier_remedy(reason: str) -> str:
    """Return what to change for a classifier worse than a baseline, as sentences.

    `reason` says why its features should be standardized, or nothing.
    """
    standardize = (
        f"Set convert_to_tensors.classification.standardize: true, since {reason}. "
        if reason
        else ""
    )
    return (
        f"{standardize}Raise train_classifier.epochs, change train_classifier.optimizer.lr, or "
        "choose others in convert_to_tensors.classification.features."
    )


def check_interval(test: Metrics, n_test: int) -> Warnings:
    """Yield (name, sentence) of what the interval of the accuracy on `n_test` rows says."""
    if test["accuracy_high"] - test["accuracy_low"] > WIDEST:
        yield (
            "classifier_accuracy_uncertain",
            "The test part is too small to resolve a few points of accuracy: "
            f"{describe_interval(test)}, from {n_test} rows. An interval {WIDEST} wide needs about "
            f"{rows_for_interval(test['accuracy'])} test rows; add test rows.",
        )


def describe_interval(test: Metrics) -> str:
    """Return the clause on the accuracy of the test rows and its interval."""
    return (
        f"test accuracy is {test['accuracy']:.3g}, with a 95 % interval of "
        f"{test['accuracy_low']:.3f} to {test['accuracy_high']:.3f}"
    )


def rows_for_interval(accuracy: float) -> int:
    """Return how many rows make the 95 % interval of this accuracy WIDEST or narrower."""
    for n in count(1):
        low, high = wilson_interval(accuracy * n, n)
        if high - low <= WIDEST:
            return n
    raise AssertionError  # the interval narrows with every row


def compare(splits: list[str], scores: list[tuple[float, float]], baseline: str) -> str:
    """Return the scores of a model and a baseline for each split; the first names the baseline."""
    names = [f" for {baseline}", ""]
    return ", ".join(
        f"{ours:.4g} against {other:.4g}{name} on the {PARTS[split]} rows"
        for split, (ours, other), name in zip(splits, scores, names, strict=False)
    )
