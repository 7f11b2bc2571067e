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
from prerl.settings.scale import Scale
from prerl.settings.values import NAME, Number, Positive, Rate, Strict

# Directories beside those of methods.
RESERVED = {"ablations", "base", "base-study", "bench", "compare", "figures", "logs", "problems", "summary", "tables"}
DEFAULTS = Path("workflow/methods.yaml")
KINDS = ("std", "mean", "leave-one-out", "batch", "weighted", "critic")  # of advantages
FUNCTION = re.compile(r"^([^:]+\.py|[A-Za-z_][\w.]*):[A-Za-z_]\w*$")


class Phase(Strict):
    """One stretch of training: which samples update which distribution, and how."""

    space: Literal["post-train", "pre-train"]
    samples: Literal["all", "positive", "negative"]
    advantage: str  # one of KINDS, or a function's place
    transform: str | None = None  # a function's place: what it makes of the scored batch, see prerl.engines.custom
    steps: Positive | None = None  # updates; None, in one phase: what the others leave of the run
    tokens: Literal["all", "body"]  # body: without those that restate the problem
    denominator: Literal["tokens", "budget"]  # of the loss: kept tokens, or the tokens that the batch could have had
    start_token: str | None  # instead of the scale's; pre-train space only
    clip_low: Rate
    clip_high: Rate
    dual_clip: Annotated[Number, Field(gt=1)]
    loss_coefficient: Rate
    learning_rate_factor: Rate  # times the scale's learning rate, so that a method means the same at every scale

    @field_validator("advantage", "transform")
    @classmethod
    def _known(cls, value: str | None, info: ValidationInfo) -> str | None:
        kinds = KINDS if info.field_name == "advantage" else ()
        if value is None or value in kinds or FUNCTION.match(value):
            return value
        listed = f"one of {', '.join(kinds)}, or " if kinds else ""
        raise ValueError(f"{value!r} is not {listed}a function, as path.py:function or module:function")

    @model_validator(mode="after")
    def _consistent(self) -> "Phase":
        if self.advantage == "critic" and (self.space, self.samples) != ("post-train", "all"):
            raise ValueError("a critic values tokens given the prompt: it needs space post-train and samples all")
        if self.start_token is not None and self.space != "pre-train":
            raise ValueError("start_token has no meaning in the post-train space")
        return self


class Method(Strict):
    """A method is a list of phases."""

    label: str
    description: str
    phases: Annotated[list[Phase], Field(min_length=1)]

    def sources(self) -> dict[str, str]:
        """The places of its author's own functions, with the checksums of the files that they stand in. Raises
        UserError if there is no such file."""
        places = {place for phase in self.phases for place in (phase.advantage, phase.transform)}
        return {place: sha256(source(place)) for place in sorted(filter(None, places)) if FUNCTION.match(place)}

    @property
    def has_critic(self) -> bool:
        return any(phase.advantage == "critic" for phase in self.phases)

    @model_validator(mode="after")
    def _one_open(self) -> "Method":
        if sum(phase.steps is None for phase in self.phases) != 1:
            raise ValueError("exactly one phase must be without steps: it takes what the others leave of the run")
        return self


def load_methods(path: Path) -> dict[str, Method]:
    """All methods of a file; its `defaults` fill what a phase leaves out. A file with `phases` is one method, named as
    the file, whose defaults are those of DEFAULTS."""
    data = read_yaml(path)
    if "phases" in data:
        name = path.stem.lower().replace("_", "-")
        if not re.match(NAME, name):
            raise UserError(f"{path}: the file names the method: call it by small letters, digits and hyphens")
        entry = {"label": path.stem.replace("_", " ").replace("-", " ").capitalize(), "description": "", **data}
        return {name: _method(path, "", entry, read_yaml(DEFAULTS)["defaults"])}
    if unknown := set(data) - {"defaults", "methods"}:
        raise UserError(f"{path}: {min(map(str, unknown))}: unknown key (expected phases, or defaults and methods)")
    defaults, methods = data.get("defaults") or {}, data.get("methods")
    if not isinstance(methods, dict) or not methods or not isinstance(defaults, dict):
        raise UserError(f"{path}: methods: expected a mapping from method names to methods")
    for name in methods:
        if not re.match(NAME, str(name)) or name in RESERVED:
            raise UserError(
                f"{path}: methods: {name}: call it by small letters, digits and hyphens, and not as a "
                f"stage ({', '.join(sorted(RESERVED))})"
            )
    return {name: _method(path, f"methods.{name}", entry, defaults) for name, entry in methods.items()}


def _method(path: Path, key: str, entry: Any, defaults: dict[str, Any]) -> Method:
    if isinstance(entry, dict) and isinstance(entry.get("phases"), list):
        phases = [{**defaults, **phase} if isinstance(phase, dict) else phase for phase in entry["phases"]]
        for phase in (phase for phase in phases if isinstance(phase, dict)):
            for place in ("advantage", "transform"):
                if ".py:" in str(phase.get(place)):  # a file is looked for beside the one that names it
                    phase[place] = os.path.relpath(path.parent / phase[place])
        entry = {**entry, "phases": phases}
    return check(Method, entry, f"{path}: {key}" if key else str(path))


def check_methods(path: str, scale: Scale, methods: dict[str, Method]) -> None:
    """Raises UserError if a method of the scale does not exist, or cannot be trained there."""
    for name in (*scale.methods, *scale.ablations):
        if name not in methods:
            raise UserError(f"{path}: methods: no method {name!r} in workflow/methods.yaml")
        if scale.engine.name == "trl" and methods[name].has_critic:
            raise UserError(f"{path}: methods: {name!r} has a critic, which only the local engine can train")
        if scale.problems.world == "public" and any(phase.tokens == "body" for phase in methods[name].phases):
            raise UserError(
                f"{path}: methods: {name!r} has a phase with `tokens: body`, without what restates the problem: "
                "responses to public problems restate nothing; take `tokens: all`"
            )


def find_method(path: Path, name: str) -> Method:
    methods = load_methods(path)
    if name not in methods:
        raise UserError(f"{path}: no method {name!r}; there are {', '.join(methods)}")
    return methods[name]


def new_method(path: Path, scale: Scale, methods: dict[str, Method]) -> tuple[str, Method]:
    """The one method of a file, with its name. Raises UserError if it is not one method, has a baseline's name, or
    names a function that cannot be loaded."""
    found = load_methods(path)
    if len(found) != 1:
        raise UserError(f"{path}: holds {len(found)} methods; compare takes a file of one, with `phases` at the top")
    [(name, method)] = found.items()
    if name in methods or name in RESERVED:
        raise UserError(f"{path}: there is a method {name!r} already; give the file another name")
    check_methods(str(path), scale.model_copy(update={"methods": [name], "ablations": []}), found)
    for place in method.sources():
        load_function(place)
    return name, method
