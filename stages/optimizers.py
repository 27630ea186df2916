"""The optimizers that params.yaml may name, and the arguments that each one takes.

A plain table, so that a wrong name, argument or value is answered before torch is imported; the
tests hold it against the signatures in torch.optim. Left out are

- LBFGS, which needs a closure; SparseAdam and Muon, which refuse the tensors trained here (dense
  gradients; numbers and vectors);
- the arguments that change how a step is computed and not what it does (foreach, fused,
  capturable, differentiable).

Ranges are those that torch.optim checks, and step_sizes above 0 for Rprop. An argument that
params.yaml does not give keeps torch's own default.

Source: https://docs.pytorch.org/docs/stable/optim.html
"""

from typing import Annotated, Any, Literal, Union

from pydantic import Field, ValidationInfo, create_model, field_validator

from stages.values import Flag, NonNegative, Number, Section, limited, not_allowed

Betas = limited(
    tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]],
    "a list of two numbers, each at least 0 and below 1",
)
Etas = limited(
    tuple[Annotated[float, Field(gt=0, lt=1)], Annotated[float, Field(gt=1)]],
    "a list of a number between 0 and 1 and a number above 1",
)
StepSizes = limited(
    tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]],
    "a list of two numbers above 0",
)
AdafactorEps = limited(
    tuple[Annotated[float, Field(ge=0)] | None, Annotated[float, Field(ge=0)]],
    "a list of two numbers of at least 0, the first of which may be null",
)
Rho = limited(float, "a number from 0 to 1", ge=0, le=1)
Decay = limited(float, "a number of at most 0", le=0)
Clip = limited(float, "a number of at least 1", ge=1)

COMMON = {"weight_decay": NonNegative, "maximize": Flag}
ADAM = COMMON | {"betas": Betas, "eps": NonNegative}

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "ASGD": COMMON | {"lambd": Number, "alpha": Number, "t0": Number},
    "Adadelta": COMMON | {"rho": Rho, "eps": NonNegative},
    "Adafactor": COMMON | {"beta2_decay": Decay, "eps": AdafactorEps, "d": Clip},
    "Adagrad": COMMON
    | {"lr_decay": NonNegative, "initial_accumulator_value": NonNegative, "eps": NonNegative},
    "Adam": ADAM | {"amsgrad": Flag, "decoupled_weight_decay": Flag},
    "AdamW": ADAM | {"amsgrad": Flag},
    "Adamax": ADAM,
    "NAdam": ADAM | {"momentum_decay": NonNegative, "decoupled_weight_decay": Flag},
    "RAdam": ADAM | {"decoupled_weight_decay": Flag},
    "RMSprop": COMMON
    | {"alpha": NonNegative, "eps": NonNegative, "momentum": NonNegative, "centered": Flag},
    "Rprop": {"maximize": Flag, "etas": Etas, "step_sizes": StepSizes},
    "SGD": COMMON | {"momentum": NonNegative, "dampening": Number, "nesterov": Flag},
}


class OptimizerSection(Section):
    """An optimizer by name, with its learning rate and any other arguments of its own."""

    lr: NonNegative

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments that params.yaml gives to the class torch.optim.<name>."""
        return self.model_dump(exclude={"name"}, exclude_unset=True)

    @field_validator("nesterov", check_fields=False)
    @classmethod
    def check_nesterov(cls, nesterov: bool, others: ValidationInfo) -> bool:
        """Hold SGD to the one rule of torch.optim that spans several arguments."""
        if nesterov and (not others.data.get("momentum") or others.data.get("dampening")):
            raise not_allowed("false, or come with a momentum above 0 and no dampening")
        return nesterov


SECTIONS: dict[str, type[OptimizerSection]] = {
    name: create_model(
        f"{name}Section",
        __base__=OptimizerSection,
        name=Literal[name],
        **{argument: (kind, None) for argument, kind in arguments.items()},
    )
    for name, arguments in OPTIMIZERS.items()
}
Optimizer = Annotated[Union[tuple(SECTIONS.values())], Field(discriminator="name")]  # noqa: UP007
