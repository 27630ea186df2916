"""What each stage reads from params.yaml.

One model a stage lists exactly the keys that the stage reads, and so what dvc.yaml lists under its
`params`. Nothing has a default here: params.yaml is the only source. Nothing here imports torch, so
that invalid values are rejected before that import takes its second.
"""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from stages.core.fields import (
    BatchSize,
    Centers,
    Column,
    Count,
    Device,
    Dtype,
    Features,
    Flag,
    Fraction,
    Launcher,
    Missing,
    NonNegative,
    Number,
    ParamsModel,
    Positive,
    Seed,
    Snapshots,
    Split,
    TablePath,
    Timeout,
    TwoOrMore,
    Widths,
    invalid,
)
from stages.core.optimizers import Optimizer


class RegressionSimulation(ParamsModel):
    """y = weight * x + noise_std * z with z standard normal; noise_std in units of y."""

    n_samples: TwoOrMore
    n_valid: TwoOrMore
    n_test: TwoOrMore
    weight: Number
    noise_std: NonNegative


class ClassificationSimulation(ParamsModel):
    """One Gaussian cluster per class around its center; one standard deviation for all."""

    n_samples_per_class: Count
    n_valid_per_class: Count
    n_test_per_class: Count
    centers: Centers
    std: Positive

    @field_validator("centers")
    @classmethod
    def check_centers(
        cls, centers: tuple[tuple[float, float], ...]
    ) -> tuple[tuple[float, float], ...]:
        """Reject two classes with the same center: nothing could tell them apart."""
        if len(set(centers)) < len(centers):
            raise invalid("a list of distinct centers")
        return centers


class GenerateDataSection(ParamsModel):
    """Section generate_data."""

    seed: Seed
    regression: RegressionSimulation
    classification: ClassificationSimulation


class TableParams(ParamsModel):
    """How a table becomes tensors: which columns, which split, which scaling."""

    table: TablePath
    target: Column
    features: Features
    missing: Missing
    split: Split
    valid_fraction: Fraction
    test_fraction: Fraction
    seed: Seed
    standardize: Flag

    @field_validator("features")
    @classmethod
    def check_features(
        cls, features: str | tuple[str, ...], info: ValidationInfo
    ) -> str | tuple[str, ...]:
        """Reject a feature that appears twice or that is the target."""
        target = info.data.get("target")
        if isinstance(features, tuple) and len({*features, target}) <= len(features):
            raise invalid(f"all, or a list of distinct columns without the target '{target}'")
        return features

    @field_validator("test_fraction")
    @classmethod
    def check_fractions(cls, test_fraction: float, info: ValidationInfo) -> float:
        """Require that rows are left to train on."""
        valid_fraction = info.data.get("valid_fraction", 0)
        if test_fraction + valid_fraction >= 1:
            raise invalid(f"a number < 1 - valid_fraction, which is {1 - valid_fraction:g}")
        return test_fraction


class ConvertToTensorsSection(ParamsModel):
    """Section convert_to_tensors."""

    regression: TableParams
    classification: TableParams


class TrainRegressionSection(ParamsModel):
    """Section train_regression."""

    seed: Seed
    initial_weight: Number
    bias: Flag
    epochs: Count
    batch_size: BatchSize
    chunk_rows: Count
    loss_reduction: Annotated[Literal["sum", "mean"], Field(description="one of {sum, mean}")]
    dtype: Dtype
    optimizer: Optimizer


class TrainClassifierSection(ParamsModel):
    """Section train_classifier."""

    seed: Seed
    hidden: Widths
    epochs: Count
    batch_size: BatchSize
    chunk_rows: Count
    loss_on: Annotated[
        Literal["probabilities", "logits"], Field(description="one of {probabilities, logits}")
    ]
    class_weight: Annotated[
        Literal["none", "balanced"], Field(description="one of {none, balanced}")
    ]
    dtype: Dtype
    snapshots: Snapshots
    optimizer: Optimizer

    @field_validator("snapshots")
    @classmethod
    def check_snapshots(cls, snapshots: tuple[int, ...]) -> tuple[int, ...]:
        """Require an ascending list; the first epoch is the untrained network."""
        if list(snapshots) != sorted(set(snapshots)) or snapshots[0] != 0:
            raise invalid("an ascending list of epochs that starts with 0")
        return snapshots


class StageParams(ParamsModel, extra="ignore"):
    """What one stage reads; other sections are checked by the stages that read them."""


class GenerateData(StageParams):
    """What generate_data reads."""

    generate_data: GenerateDataSection


class ConvertToTensors(StageParams):
    """What convert_to_tensors reads."""

    convert_to_tensors: ConvertToTensorsSection


class TrainRegression(StageParams):
    """What train_regression reads."""

    device: Device
    launcher: Launcher
    timeout: Timeout
    checkpoint_every: NonNegative
    train_regression: TrainRegressionSection

    @property
    def dtype(self) -> str:
        """The dtype to train in."""
        return self.train_regression.dtype


class TrainClassifier(StageParams):
    """What train_classifier reads."""

    device: Device
    launcher: Launcher
    timeout: Timeout
    checkpoint_every: NonNegative
    train_classifier: TrainClassifierSection

    @property
    def dtype(self) -> str:
        """The dtype to train in."""
        return self.train_classifier.dtype


class Evaluate(StageParams):
    """What evaluate reads: nothing."""


class Report(StageParams):
    """What report shows: everything but the simulation, which the data describes itself."""

    device: Device
    convert_to_tensors: ConvertToTensorsSection
    train_regression: TrainRegressionSection
    train_classifier: TrainClassifierSection


STAGES: dict[str, type[StageParams]] = {
    "generate_data": GenerateData,
    "convert_to_tensors": ConvertToTensors,
    "train_regression": TrainRegression,
    "train_classifier": TrainClassifier,
    "evaluate": Evaluate,
    "report": Report,
}
