"""Configuration: scales and methods are YAML data, checked here once; the rest of the package trusts it."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from prerl.errors import UserError
from prerl.settings.analysis import Analysis, Published
from prerl.settings.engine import Engine, LocalEngine, TrlEngine, VllmSampler
from prerl.settings.model import (
    Architecture,
    ArithmeticProblems,
    CountdownProblems,
    HubModel,
    Model,
    Pretrain,
    Prime,
    Problems,
    PublicProblems,
    PublishedModel,
)
from prerl.settings.plan import Plan
from prerl.settings.reading import check, read_yaml
from prerl.settings.tuning import Tuned, Tuning
from prerl.settings.values import (
    NAME,
    Name,
    NotNegative,
    Positive,
    Rate,
    Seed,
    Several,
    Share,
    Strict,
    Temperature,
    Threads,
    repeated,
)

# The door to all settings: the modules behind it are parts of this one.
__all__ = [
    "NAME", "Architecture", "CountdownProblems", "Evaluation", "HubModel", "LocalEngine", "Plan", "Positive",
    "Pretrain", "PublicProblems", "PublishedModel", "Rate", "Reinforce", "Scale", "Strict", "TrlEngine", "Tuned",
    "Tuning", "load_scale",
]  # fmt: skip


class Reinforce(Strict):
    """What every method shares: the online batch, the optimiser, the cadence of dev evaluations and checkpoints."""

    steps: Positive
    prompts_per_step: Positive
    group_size: Several
    max_new_tokens: Positive
    temperature: Temperature
    top_p: Share
    learning_rate: Rate
    weight_decay: NotNegative
    max_grad_norm: Rate
    micro_batch: Positive  # responses of mean length a forward pass; the gradient is the same for any value
    sample_batch: Positive  # responses sampled at once; part of the result: the random stream runs along the batch
    checkpoint_every: Positive  # also the cadence of dev evaluations
    dev_samples: Positive  # responses a dev problem
    warm_up: Positive  # updates, of the methods that begin with some
    stop_after_skipped: Positive  # updates without a signal in a row, after which the run has collapsed and ends

    @model_validator(mode="after")
    def _ends_evaluated(self) -> "Reinforce":
        if self.steps % self.checkpoint_every:
            raise ValueError(
                f"checkpoint_every: {self.checkpoint_every} must divide the {self.steps} steps: curves go by it, and "
                "would leave out the last update"
            )
        return self


class Evaluation(Strict):
    """Benchmarks by name, with the number of responses a problem."""

    benchmarks: Annotated[dict[Name, Several], Field(min_length=1)]  # the spread of responses needs two
    # lm-eval's own tasks and groups, with one response a problem by their own settings: name -> the metric and filter
    # that count, e.g. exact_match,flexible-extract
    lm_eval: dict[str, Annotated[str, Field(pattern=r"^[^,]+,[^,]+$")]] = Field(default_factory=dict)
    temperature: Temperature
    top_p: Share
    max_new_tokens: Positive
    # Responses at once. Of the local sampler part of the result: the random stream runs along the batch.
    batch_size: Positive
    sampler: VllmSampler | None = None  # None: the local sampler

    @model_validator(mode="after")
    def _fits(self) -> "Evaluation":
        if self.sampler and self.sampler.max_length <= self.max_new_tokens:
            raise ValueError("sampler.max_length must hold a prompt and max_new_tokens")
        if both := set(self.lm_eval) & set(self.benchmarks):
            raise ValueError(f"lm_eval: {min(both)!r} is a benchmark's name too: their responses would be mixed up")
        return self


class Scale(Strict):
    """One size of the whole study."""

    description: str
    model: Model
    start_token: str  # what stands in front of y in the pre-train space
    problems: Problems
    pretrain: Pretrain | None = None  # of an architecture; a published model comes pretrained
    prime: Prime | None = None  # of a published model, with solutions of the arithmetic world
    bases: Literal["committed", "fresh"] = "fresh"  # where there is a committed base model, start from that
    threads: Threads  # of a job that runs the model, after pretraining; part of the result
    engine: Engine = LocalEngine()
    rl: Reinforce
    evaluation: Evaluation
    analysis: Analysis
    methods: Annotated[list[Name], Field(min_length=1)]
    further: list[Name] = Field(default_factory=list)  # methods that only the target `baselines` trains, beside those
    ablations: list[Name]  # methods that only the target `ablations` trains, beside the others
    seeds: Annotated[list[Seed], Field(min_length=1)]  # of replicates: where base models are made here, each its own
    more_seeds: list[Seed] = Field(default_factory=list)  # of GRPO in the baselines, for comparisons that go on
    tuning: Tuning | None = None  # what the target `sensitivity` tries
    tuned: dict[Name, Tuned] = Field(
        default_factory=dict
    )  # what it chose; another method is trained as its file has it
    published: list[Published] = Field(default_factory=list)  # elsewhere, of the same model
    plan: Plan | None = None  # of a scale whose cost one wants to know beforehand

    def base_of(self, seed: int) -> int:
        """The seed of the base model that a run starts from; there is one published model for all."""
        return seed if self.pretrain or self.prime else 0

    def tuned_to(self, method: str, tuned: Tuned) -> "Scale":
        """This scale with other values for a method."""
        return self.model_copy(update={"tuned": {**self.tuned, method: tuned}})

    @property
    def local_device(self) -> str:
        """What sampler, gradients and evaluation of this package compute on: the local engine's device. Beside TRL's
        trainer it is the CPU, where a large model's gradients have room."""
        return self.engine.device if isinstance(self.engine, LocalEngine) else "cpu"

    @property
    def base_seeds(self) -> list[int]:
        """Seeds of the base models of a study."""
        return sorted({self.base_of(seed) for seed in self.seeds})

    @model_validator(mode="after")
    def _distinct(self) -> "Scale":
        for key, values in {
            "methods": [*self.methods, *self.further, *self.ablations],
            "seeds": [*self.seeds, *self.more_seeds],
            "analysis.claims_on.in_domain": self.analysis.claims_on.in_domain,
            "analysis.alignment_methods": self.analysis.alignment_methods,
            "analysis.alignment_steps": self.analysis.alignment_steps,
        }.items():
            if (twice := repeated(values)) is not None:
                raise ValueError(f"{key} must be distinct: {twice!r} stands there twice")
        return self

    @model_validator(mode="after")
    def _tuned_apart(self) -> "Scale":
        if self.tuned and self.tuning is None:
            raise ValueError("tuned: without the section `tuning`, which says what was tried")
        if self.tuning and (both := {*self.tuning.seeds} & {*self.seeds, *self.more_seeds}):
            raise ValueError(f"tuning.seeds: {min(both)} is a seed of the study too: what is tuned on it is not apart")
        return self

    @model_validator(mode="after")
    def _pretrained_once(self) -> "Scale":
        if isinstance(self.model, Architecture) != (self.pretrain is not None):
            raise ValueError("pretrain: an architecture needs it, and a published model must be without")
        if self.pretrain and not isinstance(self.problems, CountdownProblems):
            raise ValueError("problems.world: a model that is pretrained here knows Countdown alone")
        if self.prime and (self.pretrain or not isinstance(self.problems, ArithmeticProblems)):
            raise ValueError("prime: a published model can be primed, with problems of the arithmetic world alone")
        return self

    @model_validator(mode="after")
    def _several_problems(self) -> "Scale":
        """Intervals are over problems, and over one there is none."""
        for key, size in [("dev", self.problems.dev), *self.problems.benchmarks.items()]:
            if size == 1:
                raise ValueError(f"problems: {key}: an interval over problems needs two or more")
        return self

    @model_validator(mode="after")
    def _benchmarks_exist(self) -> "Scale":
        if unknown := set(self.evaluation.benchmarks) - set(self.problems.benchmarks):
            raise ValueError(f"evaluation.benchmarks: {min(unknown)!r} is not among problems.benchmarks")
        for one in self.published:
            if one.benchmark not in self.evaluation.benchmarks or one.method not in self.methods:
                raise ValueError(f"published: {one.benchmark!r} with {one.method!r}: the study has no such number")
        for role, names in self.analysis.claims_on.model_dump(exclude_none=True).items():
            for name in names if isinstance(names, list) else [names]:
                if name not in {*self.evaluation.benchmarks, *self.evaluation.lm_eval}:
                    raise ValueError(f"analysis.claims_on.{role}: {name!r} is not in evaluation.benchmarks or lm_eval")
        return self

    @model_validator(mode="after")
    def _responses_fit(self) -> "Scale":
        vllm = self.engine.vllm if isinstance(self.engine, TrlEngine) else None
        if vllm and vllm.max_length <= self.rl.max_new_tokens:
            raise ValueError("engine.vllm.max_length must hold a prompt and rl.max_new_tokens")
        return self

    @model_validator(mode="after")
    def _alignable(self) -> "Scale":
        if unknown := set(self.analysis.alignment_methods) - set(self.methods):
            raise ValueError(f"analysis.alignment_methods: {min(unknown)!r} is not among methods")
        every, last = self.rl.checkpoint_every, self.rl.steps
        for step in self.analysis.alignment_steps:
            if step > last or step % every:
                raise ValueError(f"analysis.alignment_steps: no checkpoint at {step}: every {every} updates, to {last}")
        shared = bool(self.analysis.alignment_methods) or len(self.base_seeds) > 1
        if shared and self.analysis.alignment_rollouts <= 4 * len(self.seeds):
            raise ValueError(
                f"analysis.alignment_rollouts: {self.analysis.alignment_rollouts} shared by {len(self.seeds)} seeds, "
                "four to a problem, are one problem a run; an interval over problems needs two"
            )
        return self


def load_scale(path: Path) -> Scale:
    """A scale; one that says `like: NAME` has all of that scale's keys which it does not give itself."""
    data = read_yaml(path)
    if "like" in data:
        other = path.with_name(f"{data.pop('like')}.yaml")
        known = read_yaml(other)
        if "like" in known:
            raise UserError(f"{path}: like: {other} is itself like {known['like']}; name that, and what differs")
        data = _merged(known, data)
    return check(Scale, data, str(path))


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    both = {
        key: _merged(old[key], new[key]) for key in new if isinstance(old.get(key), dict) and isinstance(new[key], dict)
    }
    return {**old, **new, **both}
