"""Tuning: which values of a method are tried before a study, and which it was given.

Every method is tuned alike: the same factors of its learning rates, and of its warm-up's length where it has one, from
the same seeds and the same base model, neither of which is among a study's.
"""

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from prerl.errors import UserError
from prerl.settings.reading import check, read_yaml
from prerl.settings.values import Name, Rate, Seed, Strict, repeated

if TYPE_CHECKING:
    from prerl.settings.methods import Method
    from prerl.settings.scale import Scale


class Tuned(Strict):
    """Values of a method that are tried, or that it was given; 1 and 1 are the method as its file has it."""

    learning_rate_factor: Rate = 1.0  # times the factors of all its phases
    warm_ups: Rate = 1.0  # times the lengths of its warm-ups

    @property
    def name(self) -> str:
        """Names the directory of the runs that try these values: `3`, or `3-w2` with warm-ups of twice the length."""
        length = "" if self.warm_ups == 1 else f"-w{self.warm_ups:.12g}"
        return f"{self.learning_rate_factor:.12g}{length}"


class Choices(Strict):
    """A file of what was chosen, by method: the section `tuned` of a scale, to be copied there."""

    tuned: dict[Name, Tuned]


class Tuning(Strict):
    """What is tried of each method."""

    seeds: Annotated[list[Seed], Field(min_length=1)]  # of runs that are then discarded; the first is their base's too
    learning_rate_factors: Annotated[list[Rate], Field(min_length=1)]
    pre_train_factors: list[Rate] = Field(default_factory=list)  # also, of methods that learn in that space alone
    warm_ups: list[Rate] = Field(default_factory=lambda: [1.0])  # of methods with a warm-up, at each learning rate

    @property
    def base_seed(self) -> int:
        """Seed of the base model from which all runs of the tuning start, where base models have seeds."""
        return self.seeds[0]

    @model_validator(mode="after")
    def _distinct(self) -> "Tuning":
        factors = [*self.learning_rate_factors, *self.pre_train_factors]
        for key, values in {"seeds": self.seeds, "learning_rate_factors": factors, "warm_ups": self.warm_ups}.items():
            if (twice := repeated(values)) is not None:
                raise ValueError(f"{key} must be distinct: {twice!r} stands there twice")
        for key, values in {"learning_rate_factors": self.learning_rate_factors, "warm_ups": self.warm_ups}.items():
            if 1 not in values:
                raise ValueError(f"{key}: 1, the method as its file has it, must be among them")
        return self

    def candidates(self, method: "Method") -> list[Tuned]:
        """All values that are tried of a method, in the order of the scale's file: each factor with each warm-up."""
        in_pre_train = all(phase.space == "pre-train" for phase in method.phases)
        factors = [*(self.pre_train_factors if in_pre_train else []), *self.learning_rate_factors]
        lengths = self.warm_ups if any(phase.warm_ups is not None for phase in method.phases) else [1.0]
        return [Tuned(learning_rate_factor=rate, warm_ups=length) for rate, length in product(factors, lengths)]


def chosen(path: Path, method: str) -> Tuned:
    """What `prerl sensitivity` chose for a method, by the file that it wrote. Raises UserError if that is malformed,
    or says nothing of the method."""
    found = check(Choices, read_yaml(path), str(path)).tuned
    if method not in found:
        raise UserError(f"{path}: tuned: nothing of {method!r}; there are {', '.join(found)}")
    return found[method]


def check_tuned(path: str, scale: "Scale", methods: "dict[str, Method]") -> None:
    """Raises UserError if a scale gives values to a method that does not exist, or values that its tuning does not try.
    `methods` are as their file has them."""
    for name, tuned in scale.tuned.items():
        if name not in methods:
            raise UserError(f"{path}: tuned: no method {name!r} in workflow/methods.yaml")
        tried = scale.tuning.candidates(methods[name]) if scale.tuning else []
        if tuned not in tried:
            raise UserError(
                f"{path}: tuned.{name}: {tuned.name} was never tried (learning rate's factor, -w the warm-up's): "
                f"tuning tries {', '.join(one.name for one in tried)}"
            )
