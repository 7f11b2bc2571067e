"""The kinds of values that configurations consist of."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _no_truth(value: Any) -> Any:
    """pydantic would take YAML's `yes` for 1."""
    if isinstance(value, bool):
        raise ValueError(f"Input should be a number, not {str(value).lower()}")
    return value


Integer = Annotated[int, BeforeValidator(_no_truth)]
Number = Annotated[float, BeforeValidator(_no_truth)]
Positive = Annotated[Integer, Field(gt=0, le=10**9)]  # a product of two stays within 64 bits
Large = Annotated[Integer, Field(gt=0, le=10**15)]  # parameters
Several = Annotated[Integer, Field(ge=2, le=10**9)]
Seed = Annotated[Integer, Field(ge=0, lt=2**31)]  # tables hold it in 32 bits
Threads = Annotated[Integer, Field(gt=0, le=1024)]
NotNegative = Annotated[Number, Field(ge=0)]
Rate = Annotated[Number, Field(gt=0)]
Share = Annotated[Number, Field(gt=0, le=1)]
Temperature = Annotated[Number, Field(ge=0.01)]  # below, logits overflow, and vLLM takes 0.01 whatever it is told
NAME = r"^[a-z0-9][a-z0-9-]*$"
Name = Annotated[str, Field(pattern=NAME)]


class Strict(BaseModel):
    """Immutable; an unknown key is an error, and so are infinity and NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def repeated(values: list[Any]) -> Any | None:
    """The first value that stands there a second time, or None."""
    return next((value for place, value in enumerate(values) if value in values[:place]), None)
