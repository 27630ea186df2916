"""The optimizers that params.yaml may name, and the arguments of each.

Declared here so that a wrong name, argument or value is rejected before torch is imported; the
tests compare the declarations with the signatures in torch.optim. Left out are

- LBFGS, which needs a closure; SparseAdam and Muon, which reject the tensors trained here (dense
  gradients; scalars and vectors);
- the arguments that change how a step is computed but not its result (foreach, fused, capturable,
  differentiable).

Ranges are those that torch.optim checks, and step_sizes > 0 for Rprop. An argument that params.yaml
omits keeps torch's default.

Source: https://docs.pytorch.org/docs/stable/optim.html
"""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from stages.core.fields import Flag, NonNegative, Number, ParamsModel, invalid

Betas = Annotated[
    tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]],
    Field(description="a list of two numbers >= 0 and < 1"),
]
Etas = Annotated[
    tuple[Annotated[float, Field(gt=0, lt=1)], Annotated[float, Field(gt=1)]],
    Field(description="a list of a number > 0 and < 1, and a number > 1"),
]
StepSizes = Annotated[
    tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]],
    Field(description="a list of two numbers > 0"),
]
AdafactorEps = Annotated[
    tuple[Annotated[float, Field(ge=0)] | None, Annotated[float, Field(ge=0)]],
    Field(description="a list of two numbers >= 0, the first of which may be null"),
]
Rho = Annotated[float, Field(ge=0, le=1, description="a number from 0 to 1")]
Decay = Annotated[float, Field(le=0, description="a number <= 0")]
ClippingThreshold = Annotated[float, Field(ge=1, description="a number >= 1")]

# Never passed on: `arguments` holds what params.yaml gives, and nothing else.
OMITTED: Any = Field(default=None)


class OptimizerParams(ParamsModel):
    """What all optimizers take."""

    name: str
    lr: NonNegative
    maximize: Flag = OMITTED

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments for torch.optim.<name>."""
        return self.model_dump(exclude={"name"}, exclude_unset=True)


class ASGD(OptimizerParams):
    """torch.optim.ASGD."""

    name: Literal["ASGD"]
    weight_decay: NonNegative = OMITTED
    lambd: Number = OMITTED
    alpha: Number = OMITTED
    t0: Number = OMITTED


class Adadelta(OptimizerParams):
    """torch.optim.Adadelta."""

    name: Literal["Adadelta"]
    weight_decay: NonNegative = OMITTED
    rho: Rho = OMITTED
    eps: NonNegative = OMITTED


class Adafactor(OptimizerParams):
    """torch.optim.Adafactor."""

    name: Literal["Adafactor"]
    weight_decay: NonNegative = OMITTED
    beta2_decay: Decay = OMITTED
    eps: AdafactorEps = OMITTED
    d: ClippingThreshold = OMITTED


class Adagrad(OptimizerParams):
    """torch.optim.Adagrad."""

    name: Literal["Adagrad"]
    weight_decay: NonNegative = OMITTED
    lr_decay: NonNegative = OMITTED
    initial_accumulator_value: NonNegative = OMITTED
    eps: NonNegative = OMITTED


class AdamFamily(OptimizerParams):
    """What Adam and its variants share."""

    weight_decay: NonNegative = OMITTED
    betas: Betas = OMITTED
    eps: NonNegative = OMITTED


class Adam(AdamFamily):
    """torch.optim.Adam."""

    name: Literal["Adam"]
    amsgrad: Flag = OMITTED
    decoupled_weight_decay: Flag = OMITTED


class AdamW(AdamFamily):
    """torch.optim.AdamW."""

    name: Literal["AdamW"]
    amsgrad: Flag = OMITTED


class Adamax(AdamFamily):
    """torch.optim.Adamax."""

    name: Literal["Adamax"]


class NAdam(AdamFamily):
    """torch.optim.NAdam."""

    name: Literal["NAdam"]
    momentum_decay: NonNegative = OMITTED
    decoupled_weight_decay: Flag = OMITTED


class RAdam(AdamFamily):
    """torch.optim.RAdam."""

    name: Literal["RAdam"]
    decoupled_weight_decay: Flag = OMITTED


class RMSprop(OptimizerParams):
    """torch.optim.RMSprop."""

    name: Literal["RMSprop"]
    weight_decay: NonNegative = OMITTED
    alpha: NonNegative = OMITTED
    eps: NonNegative = OMITTED
    momentum: NonNegative = OMITTED
    centered: Flag = OMITTED


class Rprop(OptimizerParams):
    """torch.optim.Rprop."""

    name: Literal["Rprop"]
    etas: Etas = OMITTED
    step_sizes: StepSizes = OMITTED


class SGD(OptimizerParams):
    """torch.optim.SGD."""

    name: Literal["SGD"]
    weight_decay: NonNegative = OMITTED
    momentum: NonNegative = OMITTED
    dampening: Number = OMITTED
    nesterov: Flag = OMITTED

    @field_validator("nesterov")
    @classmethod
    def check_nesterov(cls, nesterov: bool, info: ValidationInfo) -> bool:
        """Apply the one rule of torch.optim that involves several arguments."""
        if nesterov and (not info.data.get("momentum") or info.data.get("dampening")):
            raise invalid("false, or come with momentum > 0 and without dampening")
        return nesterov


Optimizer = Annotated[
    ASGD
    | Adadelta
    | Adafactor
    | Adagrad
    | Adam
    | AdamW
    | Adamax
    | NAdam
    | RAdam
    | RMSprop
    | Rprop
    | SGD,
    Field(discriminator="name"),
]
OPTIMIZERS: dict[str, type[OptimizerParams]] = {
    optimizer.__name__: optimizer
    for optimizer in (
        ASGD,
        Adadelta,
        Adafactor,
        Adagrad,
        Adam,
        AdamW,
        Adamax,
        NAdam,
        RAdam,
        RMSprop,
        Rprop,
        SGD,
    )
}
