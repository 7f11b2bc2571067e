"""What a scale will cost, before anything is submitted: arithmetic on its settings and on stated assumptions."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from prerl.design import prospects
from prerl.errors import UserError
from prerl.problems.public import PublicSet
from prerl.settings.engine import TrlEngine, Vllm, VllmSampler
from prerl.settings.methods import Method, check_methods
from prerl.settings.model import HubModel
from prerl.settings.reading import check, read_yaml
from prerl.settings.scale import Plan, Scale, load_scale

GB = 1e9
REPORTED_OF = ("qwen3-4b", "qwen3-8b")  # models in the reported file; others are held against the first
RESERVE = 4 * GB  # of a GPU: libraries, kernels, fragments
# A layer's own activations, bytes a token and hidden unit, where a forward pass in bfloat16 has weights, norms and what
# runs past the layers in float32: 85 on an H100, Qwen3-0.6B (results/baselines/gpu); by arXiv 2205.05198 it is 34 where
# all is in half precision. A checkpointed layer keeps its input alone.
LAYER, CHECKPOINT = 85, 4
# Responses of lm-eval's own tasks, one a problem; they are not in the catalogue.
SHIPPED = {"gpqa_diamond_cot_zeroshot": 198, "mmlu_pro": 12032, "bbh_cot_zeroshot": 6511}


@dataclass(frozen=True)
class Stage:
    """Jobs of one kind. Memory is the peak in bytes: of each GPU, and of the machine where no GPU computes."""

    name: str
    jobs: int
    gpus: int  # a job
    hours: float  # a job
    tokens: float  # sampled, a job
    gpu_memory: dict[str, float]  # what takes it
    memory: float

    @property
    def gpu_hours(self) -> float:
        return self.jobs * self.gpus * self.hours


def show_plan(
    path: Path, changes: list[str], sets: dict[str, PublicSet], methods: dict[str, Method], reported: Path
) -> None:
    """Prints the plan of a scale, and what its seeds can find of the reported differences. Raises UserError if the
    scale states no assumptions, cannot fit, or has a method that it cannot train."""
    scale = load_scale(path)
    check_methods(str(path), scale, methods)
    plan = assumptions(path, scale, changes)
    stages = [train_stage(scale, plan, methods), evaluate_stage(scale, plan, sets), align_stage(scale, plan)]
    console = Console(width=110, highlight=False)
    table = Table(title=f"{path.stem}: {scale.description}", title_justify="left", box=None, pad_edge=False)
    for column in ("stage", "jobs", "GPUs a job", "hours a job", "GPU-hours", "tokens sampled", "peak GPU", "memory"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for stage in stages:
        gpu = f"{sum(stage.gpu_memory.values()) / GB:.0f} GB" if stage.gpus else "-"
        numbers = (stage.jobs, stage.gpus, f"{stage.hours:.1f}", f"{stage.gpu_hours:,.0f}")
        tokens = f"{stage.jobs * stage.tokens / 1e6:,.0f}M"
        table.add_row(stage.name, *map(str, numbers), tokens, gpu, f"{stage.memory / GB:.0f} GB")
    console.print(table)
    hours, during, after = sum(stage.gpu_hours for stage in stages), *disk(scale)
    console.print(f"GPU-hours {hours:,.0f}; at {plan.gpu_hour_price:g} an hour {hours * plan.gpu_hour_price:,.0f}")
    console.print(f"disk {after / GB:,.0f} GB at the end, {(during - after) / GB:,.0f} GB more for each run under way")
    stated = "; ".join(f"{key} {value:g}" for key, value in plan.model_dump(exclude={"deviations"}).items())
    console.print(f"assumed, not measured (plan in {path}): {stated}")
    for stage in stages:
        fits(path, stage, plan)
    show_prospects(console, path, scale, plan, read_yaml(reported)["claims"])
    console.print("It fits: " + "; ".join(f"{stage.name}: {shares(stage)}" for stage in stages if stage.gpus))


def show_prospects(console: Console, path: Path, scale: Scale, plan: Plan, reported: list[dict[str, Any]]) -> None:
    """A table of the claims with a reported difference; a warning for each that the scale's seeds would not find."""
    model = path.stem if path.stem in REPORTED_OF else REPORTED_OF[0]
    title = f"What {len(scale.seeds)} seeds find with 80 %, in points of accuracy, against what is reported of {model}:"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in ("claim", "reported", "found from", "seeds for the reported"):
        table.add_column(column, justify="left" if column == "claim" else "right")
    found = list(prospects(reported, model, plan.deviations, len(scale.seeds)))
    for one in found:
        least = "spread unknown" if one.detectable is None else f"{one.detectable:.2f}"
        table.add_row(one.claim, f"{one.reported:+.2f}", least, "–" if one.needed is None else str(one.needed))
    console.print(table)
    for one in (one for one in found if one.hidden):
        console.print(f"WARNING: {one.claim} cannot be seen: set seeds to {one.needed} or more")
    known = {key: value for key, value in plan.deviations.model_dump().items() if value is not None}
    stated = ", ".join(f"{key} {value:g}" for key, value in known.items())
    console.print(f"by standard deviations over seeds, in points: {stated or 'none is known'}")


def assumptions(path: Path, scale: Scale, changes: list[str]) -> Plan:
    """The assumptions of a scale's section `plan`, with the changes KEY=VALUE. Raises UserError if it has none, does
    not run on GPUs, or a key or value is wrong."""
    on_gpus = scale.engine.name == "trl" and scale.engine.vllm is not None
    if scale.plan is None or not isinstance(scale.model, HubModel) or not on_gpus:
        raise UserError(f"{path}: plan: this scale states no assumptions; it runs on the CPU of one machine")
    if scale.evaluation.sampler is None:
        raise UserError(f"{path}: evaluation.sampler: a model of this size needs vLLM")
    if unknown := set(scale.evaluation.lm_eval) - set(SHIPPED):
        raise UserError(
            f"{path}: evaluation.lm_eval: {min(unknown)!r} costs what nobody knows: its number of problems is not in "
            f"prerl.plan.SHIPPED, which has {', '.join(SHIPPED)}"
        )
    if wrong := [change for change in changes if "=" not in change]:
        raise UserError(f"--assume {wrong[0]}: expected KEY=VALUE")
    return check(Plan, scale.plan.model_dump() | dict(change.split("=", 1) for change in changes), "--assume")


def _on_gpus(scale: Scale) -> tuple[HubModel, TrlEngine, Vllm, VllmSampler]:
    """What a plan needs of a scale; `assumptions` refuses scales without."""
    engine, sampler = scale.engine, scale.evaluation.sampler
    assert isinstance(scale.model, HubModel) and isinstance(engine, TrlEngine)
    assert engine.vllm is not None and sampler is not None
    return scale.model, engine, engine.vllm, sampler


def passes(method: Method) -> float:
    """How often a method goes over what it sampled, forth and back; a pass forth alone is a third of one."""
    phase = max(method.phases, key=lambda phase: phase.passes)
    return phase.passes + (phase.updates > 1) / 3 + bool(phase.kl_coefficient) / 3


def train_stage(scale: Scale, plan: Plan, methods: dict[str, Method]) -> Stage:
    rl, (model, engine, vllm, _) = scale.rl, _on_gpus(scale)
    rollouts, sequence = rl.prompts_per_step * rl.group_size, plan.prompt_tokens + plan.response_tokens
    dev = scale.problems.dev * rl.dev_samples * (rl.steps // rl.checkpoint_every + 1)
    tokens = (rl.steps * rollouts + dev) * plan.response_tokens
    chosen = [methods[name] for name in scale.methods]
    learnt = rl.steps * rollouts * sequence * sum(map(passes, chosen)) / len(chosen)
    seconds = tokens / plan.generate_tokens_per_second + learnt / plan.update_tokens_per_second
    longest = plan.prompt_tokens + rl.max_new_tokens
    kept = CHECKPOINT if engine.gradient_checkpointing else LAYER
    working = rl.micro_batch * longest * model.hidden_size * (kept * model.layers + LAYER)
    memory = {"weights, gradients and Adam in float32, shared": 16 * model.parameters / engine.processes}
    if engine.processes == 1:
        memory["weights in bfloat16, of a forward pass"] = 2 * model.parameters
    else:
        memory["two gathered layers in bfloat16"] = 4 * model.parameters / model.layers
    memory["reserve"] = RESERVE
    if any(phase.kl_coefficient for method in chosen for phase in method.phases):
        memory["reference in float32, shared"] = 4 * model.parameters / engine.processes
    # vLLM sleeps while the model learns: what counts is the larger of the two.
    share = vllm.memory * plan.gpu_memory_gb * GB
    memory |= {"activations": working} if working > share else {"vLLM": share}
    hours = plan.overhead * seconds / engine.processes / 3600
    jobs = len(scale.methods) * len(scale.seeds)
    # Every process loads all weights, before they are shared; one puts a checkpoint together, weights and Adam.
    machine = (4 * engine.processes + 12) * model.parameters
    return Stage("train", jobs, engine.processes, hours, tokens, memory, machine)


def evaluate_stage(scale: Scale, plan: Plan, sets: dict[str, PublicSet]) -> Stage:
    model, _, _, vllm = _on_gpus(scale)
    sizes = dict[str, int | None](scale.problems.benchmarks.items())
    responses = sum(
        repeats * (sizes[name] or sets[name].problems) for name, repeats in scale.evaluation.benchmarks.items()
    )
    responses += sum(SHIPPED[name] for name in scale.evaluation.lm_eval)
    tokens = responses * plan.response_tokens
    hours = plan.overhead * tokens / plan.generate_tokens_per_second / vllm.tensor_parallel / 3600
    weights = 2 * model.parameters / vllm.tensor_parallel
    room = vllm.memory * plan.gpu_memory_gb * GB - weights
    longest = vllm.max_length * model.kv_bytes / vllm.tensor_parallel
    memory = {"weights in bfloat16": weights, "keys and values": max(room, longest)}
    jobs = len(scale.methods) * len(scale.seeds) + 1
    return Stage("evaluate", jobs, vllm.tensor_parallel, hours, tokens, memory | {"reserve": RESERVE}, 4 * GB)


def align_stage(scale: Scale, plan: Plan) -> Stage:
    """On the CPU, in float32: weights, their joined copies and those copies' gradients, and four whole gradients; or,
    while it samples, the keys and values of a batch."""
    analysis, model = scale.analysis, _on_gpus(scale)[0]
    runs = len(analysis.alignment_methods) * len(scale.seeds)
    rollouts = analysis.alignment_rollouts * (1 + len(analysis.alignment_methods) * len(analysis.alignment_steps))
    batch = scale.rl.prompts_per_step * scale.rl.group_size
    # Of a rollout three passes, two of them behind a prompt; of a batch the updates of six methods, and one more.
    passes = 3 * rollouts + 7 * analysis.alignment_batches * batch
    work = 6 * model.parameters * (plan.prompt_tokens + plan.response_tokens) * passes / (1 + runs)
    longest = plan.prompt_tokens + scale.rl.max_new_tokens
    memory = model.parameters * 4 * 1.8 + max(
        model.parameters * 4 * 4.8, scale.rl.sample_batch * longest * 2 * model.kv_bytes
    )
    hours = plan.overhead * work / plan.cpu_tflops / 1e12 / 3600
    sampled = (rollouts + analysis.alignment_batches * batch) / (1 + runs)
    return Stage("align", 1 + runs, 0, hours, sampled * plan.response_tokens, {}, memory)


def disk(scale: Scale) -> tuple[float, float]:
    """Bytes of all results while one run is under way, and at the end: the base; of a run its model, the best and the
    newest checkpoint and those whose gradients are compared, in float32. Under way: its best checkpoint, the newest two
    with their optimisers, and a third that is being written."""
    parameters = _on_gpus(scale)[0].parameters
    size = 4 * parameters
    runs = len(scale.methods) * len(scale.seeds)
    aligned = len(scale.analysis.alignment_methods) * len(scale.seeds) * len(scale.analysis.alignment_steps)
    after = 2 * parameters + (3 * runs + aligned) * size
    return after + 7 * size, after


def fits(path: Path, stage: Stage, plan: Plan) -> None:
    """Raises UserError, which names the largest part, if the stage's GPUs have not enough memory."""
    if (need := sum(stage.gpu_memory.values())) > plan.gpu_memory_gb * GB:
        largest = max(stage.gpu_memory, key=lambda part: stage.gpu_memory[part])
        cure = {
            "vLLM": "lower engine.vllm.memory",
            "keys and values": "lower evaluation.sampler.memory or max_length",
            "activations": "lower rl.micro_batch or rl.max_new_tokens, or set engine.gradient_checkpointing",
            "weights, gradients and Adam in float32, shared": "use more GPUs (engine.processes), or a smaller model",
            "weights in bfloat16": "raise evaluation.sampler.tensor_parallel",
        }.get(largest, "use more GPUs (engine.processes)")
        raise UserError(
            f"{path}: {stage.name} needs {need / GB:.0f} GB a GPU of {plan.gpu_memory_gb:g}, most of it for "
            f"{largest} ({stage.gpu_memory[largest] / GB:.0f} GB): {cure}"
        )


def shares(stage: Stage) -> str:
    return ", ".join(f"{part} {size / GB:.0f} GB" for part, size in stage.gpu_memory.items())
