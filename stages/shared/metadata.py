"""What travels with tensors and models: one record, stored as JSON in the file's metadata."""

import json
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stages.core.fields import ParamsModel, Seed
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


class Metadata(ParamsModel):
    """What the numbers in a file of tensors mean.

    `labels` are the class names by number; `scaling` is None where features are as in the table;
    `truth` is None unless the data was simulated. A model also has the loss that it was trained on,
    under the name that params.yaml gives it.
    """

    task: Literal["regression", "classification"]
    features: tuple[str, ...]
    target: str
    labels: tuple[IntegerLabel, ...] | tuple[str, ...] = ()
    scaling: Scaling | None = None
    truth: RegressionTruth | ClassificationTruth | None = None
    loss_reduction: Literal["sum", "mean"] | None = None
    loss_on: Literal["probabilities", "logits"] | None = None

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
        return self.model_copy(update={"loss_reduction": None, "loss_on": None})

    def to_json(self) -> str:
        """Return the record as JSON, always in the same bytes."""
        return json.dumps(self.model_dump(exclude_none=True), sort_keys=True)
