"""The kinds of values that params.yaml holds: types, ranges, and how a sentence names them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WrapValidator
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A frozen record of one part of params.yaml: exact types, no unknown keys, no inf or nan."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def not_allowed(allowed: str) -> PydanticCustomError:
    """Return the error whose message is what would have been allowed."""
    return PydanticCustomError("not_allowed", "{allowed}", {"allowed": allowed})


def limited(kind: Any, allowed: str, **limits: Any) -> Any:
    """Return the type `kind` within `limits`; any other value is answered with `allowed`.

    `limits` are those of pydantic.Field: ge, gt, le, lt, min_length, max_length.
    """

    def check(value, validate):
        try:
            return validate(value)
        except ValidationError:
            raise not_allowed(allowed) from None

    return Annotated[kind, Field(description=allowed, **limits), WrapValidator(check)]


def one_of(*names: str) -> Any:
    """Return the type of a text that is one of `names`."""
    return limited(Literal[names], "one of {" + ", ".join(names) + "}")


Flag = limited(bool, "true or false")
# 1e30 is beyond any use, and small enough for squares to stay finite.
Number = limited(float, "a number from -1e30 to 1e30", ge=-1e30, le=1e30)
NonNegative = limited(float, "a number from 0 to 1e30", ge=0, le=1e30)
Positive = limited(float, "a number above 0, at most 1e30", gt=0, le=1e30)
Count = limited(int, "a whole number of at least 1", ge=1)
TwoOrMore = limited(int, "a whole number of at least 2", ge=2)
# NumPy and torch both take this range.
Seed = limited(int, "a whole number from 0 to 9223372036854775807", ge=0, le=2**63 - 1)
