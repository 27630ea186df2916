"""What each stage reads from params.yaml, and the sentence that answers a wrong value.

One record a stage states exactly the keys that the stage reads, and so what dvc.yaml lists under
its `params`. No value has a default here: params.yaml is the one source. Nothing here imports
torch, so that a wrong value is answered before the seconds which that takes.
"""

import difflib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import Field, ValidationError, ValidationInfo, field_validator

from stages.errors import UserError
from stages.optimizers import SECTIONS, Optimizer
from stages.values import (
    Count,
    Flag,
    NonNegative,
    Number,
    Positive,
    Section,
    Seed,
    TwoOrMore,
    limited,
    not_allowed,
    one_of,
)
from stages.yaml_loader import Loader

FILE = "params.yaml"
SIMULATE = "simulate"

Device = one_of("cpu", "cuda", "mps", "auto")
Dtype = one_of("float64", "float32")
Name = limited(str, "the name of a column", min_length=1)
Features = limited(
    Literal["all"] | Annotated[tuple[Name, ...], Field(min_length=1)],
    "all, or a list of one or more names of columns",
)
Fraction = limited(float, "a number between 0 and 1", gt=0, lt=1)
Source = limited(
    Annotated[str, Field(pattern=rf"^({SIMULATE}|[^/\\]+\.(csv|parquet))$")],
    f"{SIMULATE}, or the name of a .csv or .parquet file in data/external/",
)
Centers = limited(
    Annotated[tuple[tuple[Number, Number], ...], Field(min_length=2)],
    "a list of two or more centers, each a list of two numbers from -1e30 to 1e30",
)
Snapshots = limited(
    Annotated[tuple[int, ...], Field(min_length=1)],
    "a list of one or more epochs, which are whole numbers",
)


class OwnTable(Section, extra="ignore"):
    """Where the data comes from; `target`, `features` and `test_fraction` are of an own table.

    `source` is SIMULATE or the name of a file in data/external/.
    """

    source: Source
    target: Name
    features: Features
    test_fraction: Fraction

    @field_validator("features")
    @classmethod
    def check_features(cls, features: str | tuple, others: ValidationInfo) -> str | tuple:
        """Refuse a feature that stands twice or that is to be predicted."""
        target = others.data.get("target")
        if isinstance(features, tuple) and len(set(features) | {target}) <= len(features):
            raise not_allowed(f"all, or a list of columns that differ, without target, '{target}'")
        return features


class RegressionLaw(Section, extra="ignore"):
    """y = weight * x + noise_std * z with z standard normal; noise_std in units of y."""

    weight: Number
    noise_std: NonNegative


class RegressionData(OwnTable, RegressionLaw, extra="forbid"):
    """The source of the regression's points, their law and how many points to draw from it."""

    n_samples: TwoOrMore
    n_test: TwoOrMore


class ClassificationLaw(Section, extra="ignore"):
    """One Gaussian cluster a class, at its center, with one standard deviation for all."""

    centers: Centers
    std: Positive

    @field_validator("centers")
    @classmethod
    def check_centers(cls, centers: tuple) -> tuple:
        """Refuse two classes at one place: nothing could tell them apart."""
        if len(set(centers)) < len(centers):
            raise not_allowed("a list of centers that all differ")
        return centers


class ClassificationData(OwnTable, ClassificationLaw, extra="forbid"):
    """The source of the clusters, their law and how many points to draw from each."""

    n_samples_per_class: Count
    n_test_per_class: Count


class Data(Section):
    """Section generate_data."""

    seed: Seed
    regression: RegressionData
    classification: ClassificationData


class Standardize(Section):
    """Which features are standardized before training."""

    regression: Flag
    classification: Flag


class Conversion(Section):
    """Section convert_to_tensors."""

    standardize: Standardize


class RegressionTraining(Section):
    """Section train_regression."""

    initial_weight: Number
    bias: Flag
    epochs: Count
    loss_reduction: one_of("sum", "mean")
    dtype: Dtype
    optimizer: Optimizer


class ClassifierTraining(Section):
    """Section train_classifier."""

    seed: Seed
    hidden: Count
    epochs: Count
    loss_on: one_of("probabilities", "logits")
    dtype: Dtype
    snapshots: Snapshots
    optimizer: Optimizer

    @field_validator("snapshots")
    @classmethod
    def check_snapshots(cls, snapshots: tuple, others: ValidationInfo) -> tuple:
        """Hold the snapshots to epochs that there are; the first is the untrained network."""
        epochs = others.data.get("epochs", max(snapshots))
        ascending = list(snapshots) == sorted(set(snapshots))
        if not ascending or snapshots[0] != 0 or snapshots[-1] > epochs:
            raise not_allowed(
                f"an ascending list of epochs from 0 to at most epochs, which is {epochs}"
            )
        return snapshots


class RegressionTheory(RegressionLaw):
    """The law, which holds if `source` is SIMULATE."""

    source: Source


class ClassificationTheory(ClassificationLaw):
    """The law, which holds if `source` is SIMULATE."""

    source: Source


class Law(Section, extra="ignore"):
    """The part of section generate_data that theory needs: what the data was drawn from."""

    regression: RegressionTheory
    classification: ClassificationTheory


class Record(Section, extra="ignore"):
    """What one stage reads; the sections of the other stages are theirs to check."""


class GenerateData(Record):
    """What generate_data reads."""

    generate_data: Data


class ConvertToTensors(Record):
    """What convert_to_tensors reads."""

    convert_to_tensors: Conversion


class TrainRegression(Record):
    """What train_regression reads."""

    device: Device
    train_regression: RegressionTraining


class TrainClassifier(Record):
    """What train_classifier reads."""

    device: Device
    train_classifier: ClassifierTraining


class Evaluate(Record):
    """What evaluate reads."""

    generate_data: Law


class Report(Record):
    """What report reads: everything, to show it."""

    device: Device
    generate_data: Data
    convert_to_tensors: Conversion
    train_regression: RegressionTraining
    train_classifier: ClassifierTraining


RecordType = TypeVar("RecordType", bound=Record)


def read_parameters(record: type[RecordType]) -> RecordType:
    """Return `record` filled from params.yaml.

    Raises UserError, in one sentence, for a file that is missing or no YAML, and for the first key
    that is missing, unknown or wrong.
    """
    try:
        content = yaml.load(Path(FILE).read_text(encoding="utf-8"), Loader)
    except FileNotFoundError:
        raise UserError(f"{FILE} is missing; run this from the top of the project.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{FILE} must be UTF-8 text; byte {error.start} is not.") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1
        raise UserError(f"{FILE} must be YAML; line {line} is not: {error.problem}.") from None
    except yaml.YAMLError as error:
        raise UserError(f"{FILE} must be YAML; it has an {str(error).splitlines()[0]}.") from None
    if not isinstance(content, dict):
        raise UserError(f"{FILE} must hold sections of keys; got {shown(content)}.")
    try:
        return record.model_validate(content)
    except ValidationError as error:
        # An unknown key first: beside a missing one it is the typing error that explains both.
        errors = sorted(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        raise UserError(sentence(errors[0], record)) from None


def sentence(error: dict[str, Any], record: type[Record]) -> str:
    """Return one sentence for a pydantic error: the key, what is allowed, what was given."""
    *parents, last = error["loc"]
    section = record
    for parent in parents:  # pydantic puts an optimizer's name behind the key `optimizer`
        section = SECTIONS.get(parent) or section.model_fields[parent].annotation
    path = ".".join(part for part in error["loc"] if part not in SECTIONS)
    given = error["input"]

    if error["type"] == "extra_forbidden":
        keys = list(section.model_fields)
        where = path.rpartition(".")[0]
        return f"{FILE}: {path} is no parameter; {where} takes {', '.join(keys)}." + meant(
            last, keys
        )
    if error["type"] in ("union_tag_invalid", "union_tag_not_found"):
        path, given = f"{path}.name", given.get("name")
        allowed = "one of {" + ", ".join(SECTIONS) + "}"
        missing = error["type"] == "union_tag_not_found"
    else:
        allowed = section.model_fields[last].description or "a section of keys and values"
        missing = error["type"] == "missing"
    if missing:
        return f"{FILE}: {path} is missing; it must be {allowed}."
    if error["type"] == "not_allowed":
        allowed = error["ctx"]["allowed"]
    return f"{FILE}: {path} must be {allowed}; got {shown(given)}." + hint(given, allowed)


def hint(given: Any, allowed: str) -> str:
    """Return what was probably meant by a wrong text, or nothing."""
    if not isinstance(given, str):
        return ""
    if "number" in allowed and any(character.isdigit() for character in given):
        return " Write it as a plain decimal number, such as 10, 0.1 or 1e-4, without quotes."
    return meant(given, re.findall(r"\w+", allowed.partition("{")[2]))


def meant(given: str, choices: list[str]) -> str:
    """Return the question whether the nearest of `choices` was meant, or nothing."""
    near = difflib.get_close_matches(given.lower(), [choice.lower() for choice in choices], n=1)
    return "".join(f" Did you mean '{choice}'?" for choice in choices if [choice.lower()] == near)


def shown(value: Any) -> str:
    """Return `value` as one would write it in params.yaml, in single quotes if it is text."""
    return json.dumps(value, default=str).replace('"', "'")
