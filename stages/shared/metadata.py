"""What travels with tensors and models: one record, stored as JSON in the file's metadata."""

import json
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stages.core.fields import Number, ParamsModel, Seed
from stages.core.schema import ClassificationSimulation, RegressionSimulation
from stages.shared.scaling import Scaling

METADATA_KEY = "metadata"  # the only key in a file: with more, their order differs between runs
IntegerLabel = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class RegressionTruth(RegressionSimulation):
    """The parameters that a simulated regression was drawn with."""

    seed: Seed

    def describes(self, features: tuple[str, ...], target: str) -> bool:
        """Return whether a task with these columns is the simulated one."""
        return (features, target) == (("x",), "y")


class ClassificationTruth(ClassificationSimulation):
    """The parameters that simulated classes were drawn with."""

    seed: Seed

    def describes(self, features: tuple[str, ...], target: str) -> bool:
        """Return whether a task with these columns is the simulated one."""
        return (features, target) == (("x1", "x2"), "label")


class FeatureColumn(ParamsModel):
    """A column of the table, and how its values become features.

    A column of numbers is one feature. A column of text is one feature per category, 1 in the rows
    that have it and 0 in the others. `fill` takes the place of a missing value.
    """

    name: str
    categories: tuple[str, ...] = ()
    fill: Number | str | None = None

    @model_validator(mode="after")
    def check_fill(self) -> Self:
        """Reject a fill that is no value of the column."""
        if isinstance(self.fill, str if not self.categories else float):
            raise ValueError("fill must be a number, or a category of a column of text")
        if self.categories and self.fill is not None and self.fill not in self.categories:
            raise ValueError("fill must be one of the categories")
        return self

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the features."""
        names = tuple(f"{self.name}={category}" for category in self.categories)
        return names or (self.name,)


class Metadata(ParamsModel):
    """What the numbers in a file of tensors mean.

    `columns` are those that the features are made from; `missing` says what becomes of a row with a
    missing value, as in params.yaml; `labels` are the class names by number; `scaling` is None
    where features are as in the table, and else `target_mean` is what was subtracted from the
    target of a regression; `truth` is None unless the data was simulated. A model also has the loss
    that it was trained on, under the names that params.yaml gives it.
    """

    task: Literal["regression", "classification"]
    columns: tuple[FeatureColumn, ...]
    target: str
    missing: Literal["refuse", "drop", "impute"] = "refuse"
    labels: tuple[IntegerLabel, ...] | tuple[str, ...] = ()
    scaling: Scaling | None = None
    target_mean: Number | None = None
    truth: RegressionTruth | ClassificationTruth | None = None
    loss_reduction: Literal["sum", "mean"] | None = None
    loss_on: Literal["probabilities", "logits"] | None = None
    class_weight: Literal["none", "balanced"] | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the features, in the order of the tensors' columns."""
        return tuple(name for column in self.columns for name in column.features)

    @model_validator(mode="after")
    def check_consistency(self) -> Self:
        """Reject metadata whose parts contradict each other."""
        n_features, n_labels = len(self.features), len(self.labels)
        if not n_features or len(set(self.features)) < n_features:
            raise ValueError("features must be distinct")
        if len(set(self.labels)) < n_labels or (self.task == "classification") != (n_labels > 1):
            raise ValueError("a classification must have two or more distinct labels")
        if self.scaling and len(self.scaling.mean) != n_features:
            raise ValueError("scaling must have one mean per feature")
        return self

    def without_loss(self) -> Self:
        """Return the metadata of the tensors that a model was trained on."""
        loss = dict.fromkeys(("loss_reduction", "loss_on", "class_weight"))
        return self.model_copy(update=loss)

    def to_json(self) -> str:
        """Return the record as JSON, always in the same bytes."""
        return json.dumps(self.model_dump(exclude_none=True), sort_keys=True)
