"""The optimizers that params.yaml may name, and the arguments of each.

Declared here so that a wrong name, argument or value is rejected before torch is imported; the
tests compare the declarations with the signatures in torch.optim. Left out are

- LBFGS, which needs a closure; SparseAdam and Muon, which reject the tensors trained here (dense
  gradients; scalars and vectors);
- the arguments that change how a step is computed but not its result (foreach, fused, capturable,
  differentiable);
- maximize, with which an optimizer climbs the loss.

An argument that params.yaml omits keeps torch's default. Ranges are those that torch.optim checks,
without values that torch lets through although they cannot work, as the tests show:

- momentum >= 1, which never settles, and dampening >= 1, which forgets or reverses the gradients;
- RMSprop's alpha >= 1, which leaves eps alone to divide by, and alpha = 0 if centered;
- eps = 0, which divides 0 by 0 for a gradient of 0, as of a constant feature;
- ASGD's lambd < 0 and alpha < 0, which make its steps grow, and alpha > 1, which may overflow;
- Rprop's step_sizes with the largest first.

Source: https://docs.pytorch.org/docs/stable/optim.html
"""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from stages.core.fields import Flag, NonNegative, Number, ParamsModel, invalid

BelowOne = Annotated[float, Field(ge=0, lt=1, description="a number >= 0 and < 1")]
# float32 holds the smallest, and Adafactor squares its own.
Eps = Annotated[float, Field(ge=1e-30, le=1e30, description="a number from 1e-30 to 1e30")]

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
    Field(description="a list of two numbers > 0, the smallest and the largest step"),
]
AdafactorEps = Annotated[
    tuple[Annotated[float, Field(ge=1e-15, le=1e15)] | None, Eps],
    Field(description="a list of null or a number >= 1e-15, and a number from 1e-30 to 1e30"),
]
UnitInterval = Annotated[float, Field(ge=0, le=1, description="a number from 0 to 1")]
Decay = Annotated[float, Field(le=0, description="a number <= 0")]
ClippingThreshold = Annotated[float, Field(ge=1, description="a number >= 1")]

# Never passed on: `arguments` holds what params.yaml gives, and nothing else.
OMITTED: Any = Field(default=None)


class OptimizerParams(ParamsModel):
    """What all optimizers take."""

    name: str
    lr: NonNegative

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments for torch.optim.<name>."""
        return self.model_dump(exclude={"name"}, exclude_unset=True)


class ASGD(OptimizerParams):
    """torch.optim.ASGD."""

    name: Literal["ASGD"]
    weight_decay: NonNegative = OMITTED
    lambd: NonNegative = OMITTED
    alpha: UnitInterval = OMITTED
    t0: Number = OMITTED


class Adadelta(OptimizerParams):
    """torch.optim.Adadelta."""

    name: Literal["Adadelta"]
    weight_decay: NonNegative = OMITTED
    rho: UnitInterval = OMITTED
    eps: Eps = OMITTED


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
    eps: Eps = OMITTED


class AdamFamily(OptimizerParams):
    """What Adam and its variants share."""

    weight_decay: NonNegative = OMITTED
    betas: Betas = OMITTED
    eps: Eps = OMITTED


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
    alpha: BelowOne = OMITTED
    eps: Eps = OMITTED
    momentum: BelowOne = OMITTED
    centered: Flag = OMITTED

    @field_validator("centered")
    @classmethod
    def check_centered(cls, centered: bool, info: ValidationInfo) -> bool:
        """Reject a variance of the last gradient alone, which is 0."""
        if centered and info.data.get("alpha") == 0:
            raise invalid("false, or come with alpha > 0")
        return centered


class Rprop(OptimizerParams):
    """torch.optim.Rprop."""

    name: Literal["Rprop"]
    etas: Etas = OMITTED
    step_sizes: StepSizes = OMITTED

    @field_validator("step_sizes")
    @classmethod
    def check_step_sizes(cls, step_sizes: tuple[float, float]) -> tuple[float, float]:
        """Reject a smallest step above the largest."""
        if step_sizes[0] > step_sizes[1]:
            raise invalid("a list of two numbers > 0, the smallest and the largest step")
        return step_sizes


class SGD(OptimizerParams):
    """torch.optim.SGD."""

    name: Literal["SGD"]
    weight_decay: NonNegative = OMITTED
    momentum: BelowOne = OMITTED
    dampening: BelowOne = OMITTED
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
