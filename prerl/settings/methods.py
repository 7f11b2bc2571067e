"""Methods: a method is a list of phases, as YAML data that is checked here."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from prerl.errors import UserError
from prerl.files.checksums import sha256
from prerl.settings.functions import load_function, source
from prerl.settings.reading import check, read_yaml
from prerl.settings.scale import Scale, Tuned
from prerl.settings.values import NAME, Integer, Name, NotNegative, Number, Positive, Rate, Strict

# Directories beside those of methods.
RESERVED = {
    "ablations", "base", "base-study", "bench", "compare", "figures", "logs", "problems", "sensitivity", "summary",
    "tables",
}  # fmt: skip
DEFAULTS = Path("workflow/methods.yaml")
# Of advantages.
KINDS = ("std", "mean", "leave-one-out", "batch", "batch-std", "weighted", "minus-one", "maxrl", "pass@k", "critic")
PLACES = ("advantage", "transform", "loss")  # keys that may name a function
LOSSES = ("clip", "gspo", "cispo", "sapo")
# Those of a phase that its functions may ask for.
SETTINGS = ("clip_low", "clip_high", "dual_clip", "sapo_temperature_pos", "sapo_temperature_neg", "pass_k")
# Those whose whole updates are compared on the same batches, as far as they are there.
UPDATE_METHODS = ("grpo", "psr-rl", "nsr-rl", "prerl", "psr-prerl", "nsr-prerl")
FUNCTION = re.compile(r"^([^:]+\.py|[A-Za-z_][\w.]*):[A-Za-z_]\w*$")


class Phase(Strict):
    """One stretch of training: which samples update which distribution, and how."""

    space: Literal["post-train", "pre-train"]
    samples: Literal["all", "positive", "negative"]
    advantage: str  # one of KINDS, or a function's place
    transform: str | None = None  # a function's place: what it makes of the scored batch, see prerl.engines.custom
    # Batches: so many, or so many times the scale's warm-up; neither, in one phase: what the others leave of the run
    steps: Positive | None = None
    warm_ups: Rate | None = None
    tokens: Literal["all", "body"]  # body: without those that restate the problem
    # Of the loss: kept tokens; those that the batch could have had; of each kept response; of each micro-batch
    denominator: Literal["tokens", "budget", "length", "micro-batch"]
    start_token: str | None  # instead of the scale's; pre-train space only
    clip_low: Rate
    clip_high: Rate
    dual_clip: Annotated[Number, Field(gt=1)]
    loss_coefficient: Rate
    learning_rate_factor: Rate  # times the scale's learning rate, so that a method means the same at every scale
    # A method that says nothing of what follows does without.
    loss: str = "clip"  # one of LOSSES, or a function's place
    passes: Positive = 1  # over a batch
    mini_batches: Positive = 1  # of a pass, whole groups each; an update each
    sapo_temperature_pos: Rate = 1.0  # the authors' values
    sapo_temperature_neg: Rate = 1.05
    pass_k: Positive = 4  # of the advantage pass@k
    kl_coefficient: NotNegative = 0.0  # of KL(policy || base model), an estimate at each token
    entropy_coefficient: NotNegative = 0.0  # of the bonus
    redraw: Annotated[Integer, Field(ge=0, le=1000)] = 0  # at most so often, groups without signal are drawn anew
    overlong_buffer: Annotated[Number, Field(ge=0, le=1)] = 0.0  # share of the limit, its end, where length is punished
    overlong_penalty: Rate = 0.5  # of the reward, at the limit: half of the range of rewards, as in DAPO
    fresh_optimizer: bool = False  # the moments of earlier phases are forgotten

    @property
    def updates(self) -> int:
        """How many are made on a batch."""
        return self.passes * self.mini_batches

    @property
    def regularised(self) -> bool:
        """Whether something beside the advantages moves the policy."""
        return bool(self.kl_coefficient or self.entropy_coefficient)

    @property
    def settings(self) -> dict[str, Any]:
        """What a function of the method may ask for, by these names."""
        return {name: getattr(self, name) for name in SETTINGS}

    @field_validator("advantage", "transform", "loss")
    @classmethod
    def _known(cls, value: str | None, info: ValidationInfo) -> str | None:
        kinds = {"advantage": KINDS, "loss": LOSSES}.get(info.field_name or "", ())
        if value is None or value in kinds or FUNCTION.match(value):
            return value
        listed = f"one of {', '.join(kinds)}, or " if kinds else ""
        raise ValueError(f"{value!r} is not {listed}a function, as path.py:function or module:function")

    @model_validator(mode="after")
    def _consistent(self) -> "Phase":
        if self.steps is not None and self.warm_ups is not None:
            raise ValueError("steps and warm_ups both say how many batches: name one of them")
        if self.advantage == "critic" and (self.space, self.samples) != ("post-train", "all"):
            raise ValueError("a critic values tokens given the prompt: it needs space post-train and samples all")
        if self.start_token is not None and self.space != "pre-train":
            raise ValueError("start_token has no meaning in the post-train space")
        if self.denominator == "micro-batch" and self.updates > 1:
            raise ValueError("denominator: micro-batch is of one update a batch")
        return self


class Method(Strict):
    """A method is a list of phases."""

    label: str
    description: str
    phases: Annotated[list[Phase], Field(min_length=1)]
    tuned_as: Name | None = None  # of an ablation: the method that it changes, and whose tuned values it takes
    tune: bool = False  # of a new method alone: before it is compared it is tuned as the baselines were

    @property
    def functions(self) -> list[str]:
        """The places of its author's own functions."""
        places = {getattr(phase, key) for phase in self.phases for key in PLACES}
        return [place for place in sorted(filter(None, places)) if FUNCTION.match(place)]

    def sources(self) -> dict[str, str]:
        """The places of its author's own functions, with the checksums of the files that they stand in. Raises
        UserError if there is no such file."""
        return {place: sha256(source(place)) for place in self.functions}

    @property
    def has_critic(self) -> bool:
        return any(phase.advantage == "critic" for phase in self.phases)

    @model_validator(mode="after")
    def _one_open(self) -> "Method":
        if sum(phase.steps is None and phase.warm_ups is None for phase in self.phases) != 1:
            raise ValueError(
                "exactly one phase must be without steps and warm_ups: it takes what the others leave of the run"
            )
        return self


def load_methods(path: Path) -> dict[str, Method]:
    """Methods of a file, with its `defaults`. A file with `phases` is one, named as it, with those of DEFAULTS."""
    data = read_yaml(path)
    if "phases" in data:
        name = path.stem.lower().replace("_", "-")
        if not re.match(NAME, name):
            raise UserError(f"{path}: the file names the method: call it by small letters, digits and hyphens")
        entry = {"label": path.stem.replace("_", " ").replace("-", " ").capitalize(), "description": "", **data}
        if "tuned_as" in data:
            raise UserError(f"{path}: tuned_as: only an ablation in {DEFAULTS} has it; a new method may say tune: true")
        return {name: _method(path, "", entry, read_yaml(DEFAULTS)["defaults"])}
    if unknown := set(data) - {"defaults", "methods"}:
        raise UserError(f"{path}: {min(map(str, unknown))}: unknown key (expected phases, or defaults and methods)")
    defaults, methods = data.get("defaults") or {}, data.get("methods")
    if not isinstance(methods, dict) or not methods or not isinstance(defaults, dict):
        raise UserError(f"{path}: methods: expected a mapping from method names to methods")
    for name in methods:
        if not re.match(NAME, str(name)) or name in RESERVED:
            rule = f"call it by small letters, digits and hyphens, and not as a stage ({', '.join(sorted(RESERVED))})"
            raise UserError(f"{path}: methods: {name}: {rule}")
    found = {name: _method(path, f"methods.{name}", entry, defaults) for name, entry in methods.items()}
    for name, method in found.items():
        if method.tune:
            raise UserError(f"{path}: methods.{name}: tune: only a new method's file has it; these are tuned together")
        if method.tuned_as is not None and method.tuned_as not in found:
            raise UserError(f"{path}: methods.{name}: tuned_as: no method {method.tuned_as!r}")
    return found


def _method(path: Path, key: str, entry: Any, defaults: dict[str, Any]) -> Method:
    if isinstance(entry, dict) and isinstance(entry.get("phases"), list):
        phases = [{**defaults, **phase} if isinstance(phase, dict) else phase for phase in entry["phases"]]
        for phase in (phase for phase in phases if isinstance(phase, dict)):
            for place in PLACES:
                if ".py:" in str(phase.get(place)):  # a file is looked for beside the one that names it
                    phase[place] = os.path.relpath(path.parent / phase[place])
        entry = {**entry, "phases": phases}
    return check(Method, entry, f"{path}: {key}" if key else str(path))


def fit_methods(scale: Scale, methods: dict[str, Method]) -> dict[str, Method]:
    """The methods as they are trained at a scale: every phase's batches in numbers, by the length of the scale's
    warm-up, and what was tuned there put in, of an ablation what the method that it changes was tuned to."""
    return {name: _fitted(scale, name, method) for name, method in methods.items()}


def _fitted(scale: Scale, name: str, method: Method) -> Method:
    tuned = scale.tuned.get(name) or scale.tuned.get(method.tuned_as or name) or Tuned()
    phases = []
    for phase in method.phases:
        change: dict[str, Any] = {"learning_rate_factor": phase.learning_rate_factor * tuned.learning_rate_factor}
        if phase.warm_ups is not None:
            steps = max(1, round(phase.warm_ups * tuned.warm_ups * scale.rl.warm_up))
            change |= {"steps": steps, "warm_ups": None}
        phases.append(phase.model_copy(update=change))
    return method.model_copy(update={"phases": phases})


def check_methods(path: str, scale: Scale, methods: dict[str, Method]) -> None:
    """Raises UserError if a method of the scale does not exist, or cannot be trained there."""
    for name in (*scale.methods, *scale.further, *scale.ablations):
        if name not in methods:
            raise UserError(f"{path}: methods: no method {name!r} in workflow/methods.yaml")
        for index, phase in enumerate(methods[name].phases):
            if wrong := _unfit(phase, methods[name], scale):
                raise UserError(f"{path}: methods: {name!r}: phases.{index}: {wrong}")
        restated = scale.problems.world == "countdown" and scale.problems.restates != "nothing"
        if not restated and any(phase.tokens == "body" for phase in methods[name].phases):
            why = "without what restates the problem: responses here restate nothing; take `tokens: all`"
            raise UserError(f"{path}: methods: {name!r} has a phase with `tokens: body`, {why}")


def _unfit(phase: Phase, method: Method, scale: Scale) -> str | None:
    """Why a phase cannot be trained at a scale; None if it can."""
    prompts, size = scale.rl.prompts_per_step, scale.rl.group_size
    if prompts % phase.mini_batches:
        return f"mini_batches: {phase.mini_batches} do not divide the {prompts} groups of a batch"
    if phase.advantage == "pass@k" and phase.pass_k > size:
        return f"pass_k: pass@{phase.pass_k} of groups of {size} is not defined"
    if scale.engine.name != "trl":
        return None
    if phase.advantage == "critic":
        return "advantage: a critic is something that only the local engine can train"
    if phase.fresh_optimizer:
        return "fresh_optimizer: only the local engine forgets its optimiser's moments on the way"
    if phase.redraw:
        return "redraw: only the local engine draws groups anew; TRL samples once a batch"
    if (phase.passes, phase.mini_batches) != (method.phases[0].passes, method.phases[0].mini_batches):
        return "passes, mini_batches: TRL makes as many updates of every batch; only the local engine can change that"
    return None


def find_method(path: Path, name: str, scale: Scale) -> Method:
    """A method of a file, as it is trained at the scale. Raises UserError if there is none of that name."""
    methods = load_methods(path)
    if name not in methods:
        raise UserError(f"{path}: no method {name!r}; there are {', '.join(methods)}")
    return fit_methods(scale, methods)[name]


def new_method(path: Path, scale: Scale, methods: dict[str, Method]) -> tuple[str, Method]:
    """The one method of a file, with its name. Raises UserError if it is not one method, has a baseline's name, or
    names a function that cannot be loaded."""
    found = load_methods(path)
    if len(found) != 1:
        raise UserError(f"{path}: holds {len(found)} methods; compare takes a file of one, with `phases` at the top")
    [(name, method)] = found.items()
    if name in methods or name in RESERVED:
        raise UserError(f"{path}: there is a method {name!r} already; give the file another name")
    check_methods(str(path), scale.model_copy(update={"methods": [name], "further": [], "ablations": []}), found)
    for place in method.sources():
        load_function(place)
    return name, fit_methods(scale, found)[name]
