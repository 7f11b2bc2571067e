"""A verdict on each of the paper's claims: what was reported, what these runs give, with its interval.

Here is what each claim measures; by which rules it is judged, `prerl.analysis.verdicts` says.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from prerl.analysis.scores import IN_DOMAIN
from prerl.analysis.study import Study
from prerl.analysis.verdicts import Claim, Effect, Missing, amount, judge, pick
from prerl.errors import UserError
from prerl.files.atomic import write_text
from prerl.metrics import exact_interval
from prerl.settings.reading import read_yaml

CLAIMS: dict[str, Claim] = {}


def claim(
    id: str, unit: str, side: str, margin: float, reported: Callable[[dict[str, Any]], float] = lambda _: math.nan
) -> Callable[[Callable[[Study], Effect]], Callable[[Study], Effect]]:
    """Registers the measurement of a claim under its id in paper/reported.yaml."""

    def register(measure: Callable[[Study], Effect]) -> Callable[[Study], Effect]:
        CLAIMS[id] = Claim(measure, unit, side, margin, reported)
        return measure

    return register


def write_claims(study: Study, reported: Path, out: Path) -> None:
    """Writes a CSV, a row a claim of the reported file: id, text, source and setting as reported; unit, reported,
    side, margin, estimate, low, high, sizes, rule, verdict and one sentence."""
    entries = read_yaml(reported).get("claims")
    if not isinstance(entries, list):
        raise UserError(f"{reported}: claims: expected a list of claims")
    rows = []
    for entry in entries:
        if entry.get("id") not in CLAIMS:
            raise UserError(f"{reported}: claims: no test for {entry.get('id')!r}; there are {', '.join(CLAIMS)}")
        rows.append(judge(CLAIMS[entry["id"]], entry, study))
    write_text(out, pd.DataFrame(rows).to_csv(index=False))


def on(study: Study, role: str) -> str:
    """The benchmark that has a role in the claims, or the mean over several. Raises Missing if the scale has none."""
    found = study.scale["claims_on"][role]
    if found is None:
        raise Missing(f"this scale has no {role.replace('_', '-')} benchmark")
    return found if isinstance(found, str) else found[0] if len(found) == 1 else IN_DOMAIN


def compared(study: Study, method: str, reference: str, benchmark: str, metric: str, what: str) -> Effect:
    """A paired difference in percentage points."""
    table = study.read("comparisons")
    where = {"method": method, "reference": reference, "benchmark": benchmark, "metric": metric}
    return pick(table, 100, what, **where)


def changed(study: Study, method: str, reference: str, quantity: str, window: str, what: str) -> Effect:
    """A paired difference along training on dev, of accuracy in percentage points."""
    scale = 100 if quantity == "accuracy" else 1
    where = {"method": method, "reference": reference, "quantity": quantity, "window": window}
    return pick(study.read("changes"), scale, what, **where)


@claim("alignment-positive", "share", "never", 0, lambda r: r["negative_share"])
def alignment_positive(study: Study) -> Effect:
    rollouts = study.read("rollouts")
    rollouts = rollouts[rollouts.part == "all"]
    count, negative = len(rollouts), int((~(rollouts.inner_product > 0)).sum())  # what is no number is not above 0
    if not count:
        raise Missing("no rollouts of the base")
    low, high = exact_interval(negative, count)
    what = (
        f"Share of the base's rollouts with an inner product not above 0 (smallest {rollouts.inner_product.min():.3g})"
    )
    return Effect(what, negative / count, low, high, f"{count} rollouts, {rollouts.problem.nunique()} problems")


@claim("psr-prerl-degrades", "points", "below", 0)
def psr_prerl_degrades(study: Study) -> Effect:
    return changed(
        study, "psr-prerl", "base", "accuracy", "end", "Dev accuracy of PSR-PreRL at the end less the base's"
    )


@claim("prerl-collapses", "points", "below", 0)
def prerl_collapses(study: Study) -> Effect:
    what = "Dev accuracy of PreRL at the end less the base's"
    return changed(study, "prerl", "base", "accuracy", "end", what)


@claim("nsr-prerl-fast", "points", "above", 0)
def nsr_prerl_fast(study: Study) -> Effect:
    what = "Dev accuracy of NSR-PreRL less GRPO's, mean over the first quarter of the updates"
    return changed(study, "nsr-prerl", "grpo", "accuracy", "early", what)


@claim("nsr-prerl-too-long", "tokens", "above", 0)
def nsr_prerl_too_long(study: Study) -> Effect:
    what = "Length of NSR-PreRL's responses at the end less the base's"
    return changed(study, "nsr-prerl", "base", "response tokens", "end", what)


@claim("dsrl-beats-grpo", "points", "above", 0, lambda r: r["qwen3-4b"]["dsrl"] - r["qwen3-4b"]["grpo"])
def dsrl_beats_grpo(study: Study) -> Effect:
    benchmark = on(study, "in_domain")
    return compared(study, "dsrl", "grpo", benchmark, "avg", f"Accuracy of DSRL less GRPO's on {benchmark}")


@claim("warmup-space-matters", "points", "below", 0, lambda r: r["nsr_rl_then_grpo"] - r["grpo"])
def warmup_space_matters(study: Study) -> Effect:
    benchmark = on(study, "in_domain")
    what = f"Accuracy of NSR-RL, then GRPO, less GRPO's on {benchmark}"
    return compared(study, "nsr-rl-grpo", "grpo", benchmark, "avg", what)


@claim("dsrl-pass-at-k", "points", "above", 0)
def dsrl_pass_at_k(study: Study) -> Effect:
    benchmark = on(study, "hard")
    return compared(study, "dsrl", "grpo", benchmark, "pass", f"pass@n of DSRL less GRPO's on {benchmark}")


@claim("dsrl-sample-efficiency", "ratio", "above", 1, lambda r: r["speedup_to_45"])
def dsrl_sample_efficiency(study: Study) -> Effect:
    table = study.read("speeds")
    if not len(table) and "grpo" in study.scale["methods"]:
        raise Missing("GRPO has no sure gain on dev, half of which could be reached")
    if "speedup_low" in table:
        table = table[["method", "seeds", "problems", "speedup_estimate", "speedup_low", "speedup_high"]]
        table.columns = [column.removeprefix("speedup_") for column in table.columns]
    return pick(table, 1, "GRPO's updates to half of its gain on dev, divided by DSRL's", method="dsrl")


@claim("dsrl-ood", "points", "above", 0, lambda r: r["gpqa_diamond"]["qwen3-4b"])
def dsrl_ood(study: Study) -> Effect:
    benchmark = on(study, "out_of_domain")
    effect = compared(study, "dsrl", "base", benchmark, "avg", f"Accuracy of DSRL less the base's on {benchmark}")
    table = study.read("comparisons")
    table = table[(table.reference == "base") & (table.benchmark == benchmark) & (table.metric == "avg")]
    return replace(effect, beside=same_of_grpo(table, "points", 100))


@claim("warmup-length", "points", "above", 0)
def warmup_length(study: Study) -> Effect:
    benchmark = on(study, "in_domain")
    what = f"Accuracy on {benchmark} with warm-ups of 10 to 25 updates less that with other lengths"
    table = study.read("warm_ups")
    if "contrast" not in table or not table.contrast.any():
        raise Missing("it needs the ablations: `snakemake --cores all ablations`")
    return pick(table, 100, what, benchmark=benchmark, contrast=True)


@claim("alignment-cosine", "cosine", "above", 0, lambda r: r["cosine_mean"])
def alignment_cosine(study: Study) -> Effect:
    """The mean cosine on the base's rollouts, with what unrelated rollouts have as its margin: any two texts of one
    kind pull somewhat the same way."""
    where = {"method": "base", "step": 0, "part": "all", "group": "whole", "correct": "any", "quantity": "cosine"}
    effect = pick(study.read("alignment"), 1, "Mean cosine of the two gradients on the base's rollouts", **where)
    unrelated = pick(study.read("noise"), part="all", of="rollouts", pair="across")
    return replace(effect, margin=unrelated.high)


def multiplied(study: Study, kind: str) -> Effect:
    """Thoughts of a kind a response, NSR-PreRL over base: the paper counts thoughts, and does not say per what."""
    table, benchmark = study.read("behaviour"), on(study, "in_domain")
    table = table[(table.benchmark == benchmark) & (table.behaviour == kind) & (table.per == "response")]
    if "few" in table and table.few.fillna(False).any():
        raise Missing(f"the base has only {table.base_count.max()} {kind} thoughts")
    table = table.drop(columns=["estimate", "low", "high"])
    table = table.rename(columns={"ratio": "estimate", "ratio_low": "low", "ratio_high": "high"})
    what = f"{kind.capitalize()} thoughts a response of NSR-PreRL over the base's on {benchmark}"
    return replace(pick(table, 1, what, method="nsr-prerl"), beside=same_of_grpo(table, "ratio"))


def same_of_grpo(table: pd.DataFrame, unit: str, scale: float = 1.0) -> str:
    """What ordinary RL does to the same measure."""
    try:
        effect = pick(table, scale, method="grpo")
    except Missing:
        return ""
    return f" GRPO's: {amount(unit, effect.estimate, effect.low, effect.high)}."


@claim("transition-thoughts", "ratio", "above", 2, lambda r: r["ratio"])
def transition_thoughts(study: Study) -> Effect:
    return multiplied(study, "transition")


@claim("reflection-thoughts", "ratio", "above", 2, lambda r: r["ratio"])
def reflection_thoughts(study: Study) -> Effect:
    return multiplied(study, "reflection")
