"""A verdict on each of the paper's claims: what was reported, what these runs give, with its interval.

Here is what each claim measures; by which rules it is judged, and when these were written, `prerl.analysis.verdicts`
says. The paper's own words choose the window of each: "degrades" and "collapses" are judged at the end of training (the
mean of the evaluations in its last sixth, which is less noisy than one), "at first" before the peak and for the first
quarter at least, "multiplies" while accuracy holds.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from prerl.analysis.courses import FINISHED, OWN_BEST
from prerl.analysis.curves import TARGETS
from prerl.analysis.measured import (
    Missing,
    at_rates,
    changed,
    compared,
    multiplied,
    on,
    optional,
    pick,
    saturated,
    sooner,
    worst_checkpoint,
)
from prerl.analysis.rates import FEW
from prerl.analysis.scores import BASE
from prerl.analysis.study import Study
from prerl.analysis.verdicts import NOT_TESTED, TRACKS, Part, holm, level, row, sentence, size, verdict
from prerl.errors import UserError
from prerl.files.atomic import write_text
from prerl.metrics import exact_interval
from prerl.settings.reading import read_yaml

# From what was reported to parts, and sentences that stand beside them; raises Missing for what is not there.
Measure = Callable[[Study, dict[str, Any]], Iterable[Part | str]]
CLAIMS: dict[str, tuple[str, Measure]] = {}
COLUMNS = ["id", "part", "unit", "side", "margin", "estimate", "low", "high", "rule", "finding", "level"]
COLUMNS += ["reported", "size", "sizes"]


def claim(id: str, subject: str) -> Callable[[Measure], Measure]:
    """Registers the measurement of a claim under its id in paper/reported.yaml; `subject` says what is measured."""

    def register(measure: Measure) -> Measure:
        CLAIMS[id] = subject, measure
        return measure

    return register


def write_claims(study: Study, reported: Path, out: Path) -> None:
    """Writes two CSVs: `out`, a row a claim of the reported file (id, text, source and setting as reported; subject,
    verdict, size, level, holm, sentence), and claim_parts.csv beside it, a row a part of each claim that was tested
    (its id, and see `verdicts.row`)."""
    entries = read_yaml(reported).get("claims")
    if not isinstance(entries, list):
        raise UserError(f"{reported}: claims: expected a list of claims")
    if unknown := [entry.get("id") for entry in entries if entry.get("id") not in CLAIMS]:
        raise UserError(f"{reported}: claims: no test for {unknown[0]!r}; there are {', '.join(CLAIMS)}")
    judged = [judge(entry, study) for entry in entries]
    rows = [claim for claim, _ in judged]
    tested = [claim for claim in rows if claim["verdict"] != NOT_TESTED]
    for one, stands in zip(tested, holm([claim["level"] for claim in tested]), strict=True):
        one["holm"] = "" if math.isnan(one["level"]) else "stands" if stands else "falls"
        if one["holm"]:
            one["sentence"] += f" By Holm's correction over {len(tested)} claims the verdict {one['holm']}."
    write_text(out, pd.DataFrame(rows).to_csv(index=False))
    parts = pd.DataFrame([part for _, own in judged for part in own], columns=COLUMNS)
    write_text(out.with_name("claim_parts.csv"), parts.to_csv(index=False))


def judge(entry: dict[str, Any], study: Study) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The row of claims.csv for one entry of the file of reported claims, not yet corrected by Holm, and those of
    claim_parts.csv."""
    subject, measure = CLAIMS[entry["id"]]
    made = {key: entry.get(key, "") for key in ("id", "text", "source", "setting")} | {"subject": subject}
    try:
        measured = list(measure(study, entry.get("reported", {})))
    except Missing as missing:
        gone = {"verdict": NOT_TESTED, "size": "", "level": math.nan, "holm": ""}
        return made | gone | {"sentence": f"Not tested: {missing}."}, []
    parts = [part for part in measured if isinstance(part, Part)]
    numbers = [size(part) for part in parts if size(part)]
    whole = "" if not numbers else "excluded" if "excluded" in numbers else "compatible"
    made |= {"verdict": verdict(parts), "size": whole, "level": level(parts), "holm": ""}
    words = [sentence(subject, parts), *(note for note in measured if isinstance(note, str))]
    return made | {"sentence": " ".join(words)}, [{"id": entry["id"]} | row(part) for part in parts]


@claim("alignment-positive", "Share of rollouts with an inner product not above 0")
def alignment_positive(study: Study, reported: dict[str, Any]) -> Iterable[Part]:
    """Rollouts are the base's, and trained checkpoints' where they were made. The interval takes the rollouts of a
    problem for one, since they are alike."""
    rollouts = study.read("rollouts")
    rollouts = rollouts[rollouts.part == "all"]
    if not len(rollouts):
        raise Missing("no rollouts of the base")
    share = float((~(rollouts.inner_product > 0)).mean())  # what is no number is not above 0
    problems = len(rollouts[["seed", "problem"]].drop_duplicates())
    low, high = exact_interval(math.ceil(share * problems), problems)
    judged = {"side": "never", "reported": reported["negative_share"], "count": len(rollouts)}
    words = f"{len(rollouts)} rollouts, {problems} problems"
    yield Part("at the base", "share", share, min(low, share), high, words, **judged)
    yield from worst_checkpoint(study, side="never")


@claim("alignment-cosine", "Cosine of the gradients of log P(y) and log P(y|x)")
def alignment_cosine(study: Study, reported: dict[str, Any]) -> Iterable[Part]:
    """Any two texts of one kind pull somewhat the same way, and one response behind two prompts even more: that alone
    is no alignment with what RL does. So NSR-PreRL's update must be nearer to GRPO's than one by the same responses
    that were put behind wrong prompts."""
    excess = {"part": "all", "of": "rollouts", "pair": "excess"}
    name = "a rollout, less behind another prompt"
    yield pick(study.read("noise"), name, "cosine", excess, side="above", margin=0.0)
    updates, cosine = study.read("updates"), {"reference": "grpo", "quantity": "cosine"}
    null = pick(updates, "", "cosine", {"method": "nsr-rl, other prompts", **cosine})
    own = pick(updates, "a whole update of NSR-PreRL, with GRPO's", "cosine", {"method": "nsr-prerl", **cosine})
    yield replace(own, side="above", margin=null.high, sizes=f"{own.sizes}, margin: NSR-RL's behind other prompts")
    where = {"method": BASE, "step": 0, "part": "all", "group": "whole", "correct": "any", "quantity": "cosine"}
    yield pick(study.read("alignment"), "a rollout", "cosine", where, reported=reported["cosine_mean"])


@claim("psr-prerl-degrades", "Dev accuracy at the end")
def psr_prerl_degrades(study: Study, reported: dict[str, Any]) -> Iterable[Part]:
    for reference in (BASE, "psr-rl"):
        yield changed(study, "psr-prerl", "end", reference, side="below", margin=0.0)


@claim("prerl-collapses", "Dev accuracy")
def prerl_collapses(study: Study, reported: dict[str, Any]) -> Iterable[Part | str]:
    name = "PreRL less GRPO, before PreRL's peak"
    yield changed(study, "prerl", "before the peak", "grpo", name, side="within", margin=TRACKS)
    after = ("after the peak", "peak")
    yield changed(study, "prerl", *after, "PreRL at the end less its peak", side="below", margin=0.0)
    yield changed(study, "grpo", *after, "GRPO at the end less its peak", side="above", margin=-TRACKS)
    yield from at_rates(study, "prerl")


@claim("nsr-prerl-fast", "Dev accuracy")
def nsr_prerl_fast(study: Study, reported: dict[str, Any]) -> Iterable[Part]:
    """Who never gains is not faster; how fast, can only be said of a sure gain."""
    if "grpo" not in study.scale["methods"]:
        raise Missing("no runs with method grpo")
    yield changed(study, "nsr-prerl", "peak", BASE, "NSR-PreRL's peak less the base", side="above", margin=0.0)
    times = {"side": "above", "margin": 1.0, "reported": reported["steps_rl"] / reported["steps_nsr_prerl"]}
    yield from optional(
        lambda: sooner(study, "nsr-prerl", OWN_BEST, "GRPO's updates to that peak over NSR-PreRL's", **times)
    )


def thoughts(study: Study, kind: str, reported: float) -> Iterable[Part]:
    """More than the base alone may be what any RL does: so more than GRPO too, after as many updates. Both are needed,
    and both are measured while accuracy holds, for what a collapsed model repeats is no thought."""
    yield multiplied(study, "nsr-prerl", kind, BASE, FEW, side="above", margin=2.0, reported=reported)
    yield multiplied(study, "nsr-prerl", kind, "grpo", FEW, side="above", margin=1.0)
    yield from optional(lambda: multiplied(study, "grpo", kind, BASE, FEW))


@claim("transition-thoughts", "Transition thoughts a response, while accuracy holds")
def transition_thoughts(study: Study, reported: dict[str, Any]) -> Iterable[Part]:
    return thoughts(study, "transition", reported["ratio"])


@claim("reflection-thoughts", "Reflection thoughts a response, while accuracy holds")
def reflection_thoughts(study: Study, reported: dict[str, Any]) -> Iterable[Part]:
    return thoughts(study, "reflection", reported["ratio"])


@claim("nsr-prerl-too-long", "Length of finished responses, while accuracy holds")
def nsr_prerl_too_long(study: Study, reported: dict[str, Any]) -> Iterable[Part]:
    """Responses that never end are no long reasoning, but a collapse; they are another claim's."""
    for reference in (BASE, "grpo"):
        yield multiplied(study, "nsr-prerl", FINISHED, reference, side="above", margin=1.0)


@claim("dsrl-beats-grpo", "Accuracy in domain")
def dsrl_beats_grpo(study: Study, reported: dict[str, Any]) -> Iterable[Part]:
    size = reported["qwen3-4b"]["dsrl"] - reported["qwen3-4b"]["grpo"]
    yield compared(study, "dsrl", "grpo", on(study, "in_domain"), side="above", margin=0.0, reported=size)


@claim("warmup-space-matters", "Accuracy in domain")
def warmup_space_matters(study: Study, reported: dict[str, Any]) -> Iterable[Part]:
    benchmark, size = on(study, "in_domain"), reported["nsr_rl_then_grpo"] - reported["grpo"]
    yield compared(study, "dsrl", "nsr-rl-grpo", benchmark, side="above", margin=0.0)
    yield compared(study, "nsr-rl-grpo", "grpo", benchmark, side="below", margin=0.0, reported=size)


@claim("dsrl-pass-at-k", "pass@k at the largest k")
def dsrl_pass_at_k(study: Study, reported: dict[str, Any]) -> Iterable[Part]:
    """On a benchmark that both methods solve nearly always, or never, they are alike whatever they are: it is left
    out."""
    benchmarks = {on(study, kind): kind.replace("_", " ") for kind in ("hard", "in_domain")}
    telling = [one for one in benchmarks if not saturated(study, ("dsrl", "grpo"), one, "pass")]
    if not telling:
        raise Missing(f"at its largest k pass@k is near 0 or 1 on {' and '.join(benchmarks)}")
    for benchmark in telling:
        for reference, judged in (("grpo", {"side": "above", "margin": 0.0}), (BASE, {})):
            part = compared(study, "dsrl", reference, benchmark, "pass", **judged)
            yield replace(part, name=f"{part.name}, {benchmarks[benchmark]}")


@claim("dsrl-sample-efficiency", "GRPO's updates over DSRL's, 0 for never")
def dsrl_sample_efficiency(study: Study, reported: dict[str, Any]) -> Iterable[Part]:
    """Half and three quarters decide: a quarter is reached within the warm-up or just after it, when DSRL has not yet
    begun to learn as GRPO does, and nine tenths lie where curves are flat. The paper's two numbers belong to a lower
    and a higher level of accuracy, not to these parts; they are set beside the two."""
    deciding = {"50 %": reported["speedup_to_45"], "75 %": reported["speedup_to_58"]}
    if "grpo" not in study.scale["methods"]:
        raise Missing("no runs with method grpo")
    for target in TARGETS:
        judged = {"side": "above", "margin": 1.0, "reported": deciding[target]} if target in deciding else {}
        yield sooner(study, "dsrl", target, f"to {target} of GRPO's gain on dev", **judged)


@claim("dsrl-ood", "Accuracy out of domain")
def dsrl_ood(study: Study, reported: dict[str, Any]) -> Iterable[Part]:
    """Any RL that learns gains there, so GRPO is the reference that tells something of DSRL."""
    benchmark, size = on(study, "out_of_domain"), reported["gpqa_diamond"]["qwen3-4b"]
    yield compared(study, "dsrl", "grpo", benchmark, side="above", margin=0.0)
    yield compared(study, "dsrl", BASE, benchmark, side="above", margin=0.0, reported=size)


@claim("warmup-length", "Accuracy in domain")
def warmup_length(study: Study, reported: dict[str, Any]) -> Iterable[Part]:
    """The best lies inside: better than no warm-up, and better than the longest."""
    table, benchmark = study.read("warm_ups"), on(study, "in_domain")
    if "contrast" not in table:
        raise Missing("no runs with methods dsrl and grpo")
    lengths = table[(table.benchmark == benchmark) & ~table.contrast].set_index("method")
    if not len(lengths) or lengths.length.idxmax() == "dsrl":
        raise Missing("it needs the ablations: `snakemake --cores all ablations`")
    own = lengths.loc["dsrl"]
    for method, length in lengths.length.sort_values().items():
        if method == "dsrl":
            continue
        other = f"one of {length} ({length / own.length * own.share:.0%})" if length else "none"
        name = f"warm-up of {own.length} updates ({own.share:.0%}) less {other}"
        end = length in (0, lengths.length.max())
        judged = {"side": "above", "margin": 0.0} if end else {}
        where = {"benchmark": benchmark, "contrast": True, "method": method}
        yield pick(table, name, "points", where, **judged)
