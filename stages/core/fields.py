"""Types of the values in params.yaml; each description completes "must be …" in an error."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError


class ParamsModel(BaseModel):
    """A frozen section of params.yaml: exact types, no unknown keys, no inf or nan."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def invalid(allowed: str) -> PydanticCustomError:
    """Return the error for a value of the right type that is not `allowed`."""
    return PydanticCustomError("invalid", "{allowed}", {"allowed": allowed})


Flag = Annotated[bool, Field(description="true or false")]
# 1e30 is larger than any sensible value, and its square is still finite.
Number = Annotated[float, Field(ge=-1e30, le=1e30, description="a number from -1e30 to 1e30")]
NonNegative = Annotated[float, Field(ge=0, le=1e30, description="a number from 0 to 1e30")]
Positive = Annotated[float, Field(gt=0, le=1e30, description="a number > 0 and <= 1e30")]
Fraction = Annotated[float, Field(gt=0, lt=1, description="a number > 0 and < 1")]
Count = Annotated[int, Field(ge=1, description="an integer >= 1")]
# In milliseconds it still fits the 32 bits that sockets take.
Timeout = Annotated[int, Field(ge=1, le=10**6, description="an integer from 1 to 1000000")]
TwoOrMore = Annotated[int, Field(ge=2, description="an integer >= 2")]
# The sizes of batches differ by one, and BatchNorm needs two rows in each.
BatchSize = Annotated[
    Annotated[int, Field(ge=3)] | None, Field(description="null or an integer >= 3")
]
# The range that both NumPy and torch accept.
Seed = Annotated[int, Field(ge=0, le=2**63 - 1, description="an integer from 0 to 2**63 - 1")]

Device = Annotated[
    Literal["cpu", "cuda", "mps", "auto"], Field(description="one of {cpu, cuda, mps, auto}")
]
Launcher = Annotated[str, Field(min_length=1, description="python, or torchrun with its options")]
Dtype = Annotated[Literal["float64", "float32"], Field(description="one of {float64, float32}")]
# A last part without a dot is a folder's name, as is one that ends in /.
TablePath = Annotated[
    str,
    Field(
        pattern=r".\.((csv|tsv)(\.gz)?|parquet)$|(^|/)[^./]+$|./$",
        description=(
            "the path of a .csv, .tsv, .csv.gz, .tsv.gz or .parquet file, or of a folder of "
            ".parquet files"
        ),
    ),
]
Column = Annotated[str, Field(min_length=1, description="a column name")]
Missing = Annotated[
    Literal["refuse", "drop", "impute"], Field(description="one of {refuse, drop, impute}")
]
Split = Annotated[
    str,
    Field(pattern=r"^(random|last|group:.+)$", description="random, last or group:<column>"),
]
Features = Annotated[
    Literal["all"] | Annotated[tuple[Column, ...], Field(min_length=1)],
    Field(description="all, or a list of one or more column names"),
]
Centers = Annotated[
    tuple[tuple[Number, Number], ...],
    Field(min_length=2, description="a list of two or more centers, each a list of two numbers"),
]
Widths = Annotated[
    tuple[Count, ...],
    Field(min_length=1, description="a list of one or more widths, all integers >= 1"),
]
Snapshots = Annotated[
    tuple[int, ...], Field(min_length=1, description="a list of one or more epochs, all integers")
]
