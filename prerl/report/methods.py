"""Methods one by one, as the page shows them: in words, as YAML, with their curves and places."""

import re
from typing import Any

import pandas as pd
import yaml
from markupsafe import Markup, escape

from prerl.analysis.study import Study
from prerl.report.rows import each
from prerl.report.tables.typeset import interval
from prerl.settings.methods import DEFAULTS, FUNCTION, Method, Phase
from prerl.settings.reading import read_yaml

WIDTH, HEIGHT = 240, 72  # of a small curve
ADVANTAGES = {
    "std": "(r − mean) / (std + 1e-6) over the group",
    "mean": "r − mean over the group",
    "leave-one-out": "r − mean of the group's others",
    "batch": "(r − mean) / (std + 1e-6) over the batch",
    "batch-std": "(r − mean over the group) / (std over the batch + 1e-6)",
    "minus-one": "r − 1, without a baseline",
    "weighted": "0.1 for a right response, −1 for a wrong one",
    "maxrl": "(r − mean) / (mean + 1e-6) over the group",
    "pass@k": "what the response adds to pass@{pass_k} of its group, normalised",
    "critic": "r − value at each token, normalised over the batch",
}
LOSSES = {
    "clip": "−min(ρ A, clip(ρ, {low:g}, {high:g}) A), at most {dual_clip:g} |A| where A < 0",
    "gspo": "−min(s A, clip(s, {low:g}, {high:g}) A), s the geometric mean of a response's ρ",
    "cispo": "−clip(ρ, {low:g}, {high:g}) A log π, the clipped ρ a constant",
    "sapo": "−4/τ sigmoid(τ (ρ − 1)) A, τ = {sapo_temperature_pos:g} where A > 0, else {sapo_temperature_neg:g}",
}
DENOMINATORS = {
    "tokens": "the sum over the tokens kept, divided by their number",
    "budget": "the sum over the tokens kept, divided by all that the batch could have had",
    "length": "the mean over each kept response's tokens, and over these responses",
    "micro-batch": "the mean over the tokens kept of each few responses, and over these, weighted by their number",
}


def formula(phase: Phase) -> dict[str, str]:
    """A phase in words, by what they are about. ρ is π / π_old, 1 in a batch's only update."""
    start = phase.start_token or "the start token"
    samples = {"all": "all responses", "positive": "those with A > 0", "negative": "those with A < 0"}[phase.samples]
    if phase.tokens == "body":
        samples += ", without the tokens that restate the problem"
    advantage = ADVANTAGES.get(phase.advantage, f"by {phase.advantage}").format(pass_k=phase.pass_k)
    values = phase.settings | {"low": 1 - phase.clip_low, "high": 1 + phase.clip_high}
    loss = "by " + phase.loss if FUNCTION.match(phase.loss) else LOSSES[phase.loss].format(**values)
    if phase.kl_coefficient:
        loss += f"; plus {phase.kl_coefficient:g} KL(π, base), the k3 estimate"
    if phase.entropy_coefficient:
        loss += f"; less {phase.entropy_coefficient:g} times the entropy"
    words = {
        "Batches": str(phase.steps) if phase.steps else "to the end",
        "Policy": f"π = P(y), behind {start} alone" if phase.space == "pre-train" else "π = P(y | x)",
        "Advantage A": advantage,
        "Learns from": samples,
        "Loss of a token": loss,
        "Loss": DENOMINATORS[phase.denominator],
    }
    if phase.transform:
        words["Before that"] = f"the batch is changed by {phase.transform}"
    if phase.redraw:
        words["Sampling"] = f"groups all right or all wrong are drawn anew, up to {phase.redraw} times a batch"
    if phase.overlong_buffer:
        part = f"the last {100 * phase.overlong_buffer:g} % of the limit"
        words["Reward"] = f"1 or 0, less up to {phase.overlong_penalty:g} for a length in {part}"
    if phase.updates > 1:
        again = f", {phase.passes} times over" if phase.passes > 1 else ""
        words["Updates a batch"] = f"{phase.updates}: {phase.mini_batches} mini-batches of whole groups{again}"
    if phase.fresh_optimizer:
        words["Optimiser"] = "begins anew, without the moments of the phase before"
    if phase.loss_coefficient != 1:
        words["Loss coefficient"] = f"{phase.loss_coefficient:g}"
    if phase.learning_rate_factor != 1:
        words["Learning rate"] = f"{phase.learning_rate_factor:g} times the scale's"
    return words


def written(method: Method) -> str:
    """The method as a file of its own would say it, without what the defaults say."""
    defaults = read_yaml(DEFAULTS)["defaults"]
    phases = [
        {key: value for key, value in phase.model_dump(exclude_defaults=True).items() if defaults.get(key) != value}
        for phase in method.phases
    ]
    return yaml.safe_dump({"phases": phases}, sort_keys=False, default_flow_style=None, width=100)


def linked(text: str) -> Markup:
    """Text whose arXiv numbers are links."""
    link = r'<a href="https://arxiv.org/abs/\1">arXiv \1</a>'
    return Markup(re.sub(r"arXiv (\d{4}\.\d{5})", link, str(escape(text))))


def cards(study: Study) -> list[dict[str, Any]]:
    """All methods of a study, in its order, for the page."""
    if not study.scale["methods"]:
        return []
    curves = study.read("curves")
    curves = curves[curves.quantity == "accuracy"]
    places = ranked(study)
    return [
        {
            "name": name,
            "label": study.labels[name],
            "description": linked(study.methods[name].description),
            "formula": [formula(phase) for phase in study.methods[name].phases],
            "yaml": written(study.methods[name]),
            "place": places[name],
            "curve": curve(curves, name),
        }
        for name in study.scale["methods"]
    ]


def ranked(study: Study) -> dict[str, str]:
    """Each method's place by accuracy on what stands first among the benchmarks."""
    scores = study.read("scores")
    rows = scores[(scores.metric == "avg") & (scores.method != "base")]
    rows = rows[rows.benchmark == rows.benchmark.iloc[0]].sort_values("estimate", ascending=False, kind="stable")
    return {
        row.method: f"place {place} of {len(rows)} on {row.benchmark}, avg@{row.n}: {interval(row, 3)}"
        for place, row in enumerate(each(rows), start=1)
    }


def curve(curves: pd.DataFrame, name: str) -> Markup:
    """A small drawing of a method's dev accuracy with its interval, and of GRPO's."""
    most, last = max(float(curves.high.max()), 1e-9), max(int(curves.step.max()), 1)

    def path(steps: pd.Series, values: pd.Series) -> str:
        points = zip(steps, values, strict=True)
        return " ".join(f"{WIDTH * step / last:.1f},{HEIGHT * (1 - value / most):.1f}" for step, value in points)

    own, grpo = (curves[curves.method == which].sort_values("step") for which in (name, "grpo"))
    band = path(own.step, own.high) + " " + path(own.step[::-1], own.low[::-1])
    parts = [f'<polygon class="band" points="{band}"/>']
    if len(grpo) and name != "grpo":
        parts.append(f'<polyline class="grpo" points="{path(grpo.step, grpo.estimate)}"/>')
    parts.append(f'<polyline points="{path(own.step, own.estimate)}"/>')
    first, end = own.estimate.iloc[0], own.estimate.iloc[-1]
    label = f"Dev accuracy along training, from {first:.2f} to {end:.2f}; the axis ends at {most:.2f}"
    box = f'class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{label}"'
    return Markup(f"<svg {box}>{''.join(parts)}</svg>")
