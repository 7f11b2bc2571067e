"""How a study is analysed."""

from typing import Annotated

from pydantic import Field, model_validator

from prerl.settings.values import Integer, Name, NotNegative, Positive, Strict


class Roles(Strict):
    """The benchmarks on which the paper's claims are tested."""

    in_domain: Annotated[list[Name], Field(min_length=1)]  # their mean, each with the same weight
    hard: Name  # where pass@k is compared
    out_of_domain: str | None  # may be a task of lm-eval, named as it likes


class Published(Strict):
    """What others have published of the same model and kind of training, to be read beside this study's numbers."""

    benchmark: Name  # of the evaluation
    method: Name
    before: NotNegative  # accuracy of the base, in per cent
    after: NotNegative
    updates: Positive
    source: str
    setting: str  # what differs from the scale's, as far as it is known


class Analysis(Strict):
    claims_on: Roles
    # Of the base, shared by the bases of several seeds, and at each step of each method below, shared by its seeds.
    # Four to a problem; the halves of the problems that are compared are made of up to eight parts.
    alignment_rollouts: Annotated[Integer, Field(ge=32, le=10**9)]
    # Training batches of the base, shared likewise, on which whole updates are compared. A batch costs about seven
    # updates, on the CPU; 0: none.
    alignment_batches: Annotated[Integer, Field(ge=0, le=10**9)] = 0
    alignment_methods: list[Name]
    alignment_steps: list[Positive]  # at which these keep a checkpoint
    bootstrap: Annotated[Integer, Field(ge=40, le=10**9)]  # resamples of an interval: one lies beyond each end

    @model_validator(mode="after")
    def _alignable(self) -> "Analysis":
        if bool(self.alignment_methods) != bool(self.alignment_steps):
            raise ValueError("alignment_methods and alignment_steps go together: name both, or leave both empty")
        if self.alignment_batches == 1:
            raise ValueError("alignment_batches: an interval over batches needs two or more; 0 compares none")
        return self
