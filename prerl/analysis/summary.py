"""From runs to tidy tables: every estimate with its 95 % interval and what it was computed from. Needs no torch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prerl.analysis.alignment import UPDATES, alignments, noises, positions, read_alignment, read_bases, updates
from prerl.analysis.behaviour import Lexicon
from prerl.analysis.counts import AllRuns, read_counts
from prerl.analysis.courses import own_best, peaks, ratios
from prerl.analysis.curves import TARGETS, at_equal_tokens, at_start, changes, curves, speeds, tokens_spent
from prerl.analysis.provenance import provenance, warn
from prerl.analysis.rates import behaviours
from prerl.analysis.scores import BASE, Estimator, check_alike, comparisons, scores, spreads
from prerl.analysis.warm_ups import warm_ups
from prerl.files.atomic import read_json, write_json, write_table
from prerl.files.checksums import read_table
from prerl.problems.overlap import overlaps
from prerl.seeds import seed_of
from prerl.settings.methods import Method
from prerl.settings.scale import Scale

COLLAPSE = 0.5  # a run has collapsed if it ends below this share of the base's dev accuracy


def summarize(scale: Scale, methods: dict[str, Method], lexicon: Lexicon, results: Path, out: Path) -> None:
    """Writes to `out`, for the given methods in their order:

    scores.parquet     method, benchmark, metric (avg, pass, maj or solved), k, n, seeds, problems, estimate, low, high;
                       avg also the credible interval of its samples alone, bayes_low and bayes_high
    comparisons.parquet  avg@n and pass@n as paired differences to a reference
    spread.parquet     method, reference, benchmark, standard deviation by source: seed, problem, interaction, sample
    behaviour.parquet  method, benchmark, behaviour, per (response, 1k tokens, thought), estimate, low, high, ...;
                       ratio to the base with its interval, `few` if the base has too few occurrences for one
    curves.parquet     method, step, quantity, estimate, low, high, ...: dev evaluations along training
    seeds.parquet      method, step, quantity, seed, estimate: those curves of single seeds, without interval
    changes.parquet    method, quantity, window (end, around the peak, equal tokens), reference: differences on dev
    speeds.parquet     method, target (parts of GRPO's gain on dev, own best), updates, how many times sooner than GRPO
    ratios.parquet     method, quantity, reference: behaviours and length while accuracy holds, over the base, GRPO
    warm_ups.parquet   benchmark, length of DSRL's warm-up, avg@n; and DSRL less each other length
    runs.parquet       a row a run: selected step, dev accuracies, collapse and why it stopped early, cost
    alignment.parquet  method, step, part, group, correct, quantity, estimate, low, high, ...: gradients in both spaces
    rollouts.parquet   the base's, a row a rollout and part, as `prerl align-base` wrote it
    positions.parquet  log-probabilities in both spaces by position: difference and correlation
    noise.parquet      the base's cosine of the two gradients, and those of the same response behind another prompt, of
                       unrelated rollouts and of halves, to compare with
    pairs.parquet      the cosines of unrelated rollouts, a row a pair
    updates.parquet    method, reference (GRPO), quantity (cosine, norm, header_share), estimate, low, high, ...: of the
                       update that the method would make of a batch of the base's
    overlap.parquet    of public sets: a row a set, how many of its problems resemble training problems, and which have
                       a gold answer that the verifier cannot read
    scale.json         the scale's name, description, seeds and sizes
    provenance.json    commits, versions, hardware, and what of these is mixed, which stderr says too; cost by stage

    Scores are those of the checkpoint selected on dev; curves show the whole run. A run that stopped for want of a
    signal keeps its last values, since its policy can no longer move.
    """
    estimate = Estimator(scale.analysis.bootstrap, np.random.default_rng(seed_of("bootstrap")))
    bases = {seed: results / BASE / f"seed{seed}" for seed in scale.base_seeds}
    tests: AllRuns = {BASE: {seed: read_counts(base / "samples.parquet", lexicon) for seed, base in bases.items()}}
    dev: AllRuns = {}
    for method in methods:
        runs = {seed: results / method / f"seed{seed}" for seed in scale.seeds}
        tests[method] = {seed: read_counts(run / "samples.parquet", lexicon) for seed, run in runs.items()}
        dev[method] = {seed: read_counts(run / "dev.parquet", lexicon) for seed, run in runs.items()}
    check_alike(tests)
    check_alike(at_start(dev))
    rollouts = read_alignment(results, bases, list(methods), scale.seeds)
    aligned = pd.DataFrame(alignments(rollouts, estimate.of("alignment")))
    tokens, noise, halves = (read_bases(bases, name) for name in ("positions", "noise", "halves"))
    batches = read_bases(bases, "updates")
    in_domain = scale.analysis.claims_on.in_domain
    tables = {
        "scores": pd.DataFrame(scores(tests, estimate.of("scores"), in_domain)),
        "comparisons": pd.DataFrame(comparisons(tests, estimate.of("comparisons"), in_domain)),
        "spread": pd.DataFrame(spreads(tests, estimate.of("spread"))),
        "behaviour": pd.DataFrame(behaviours(tests, lexicon, estimate.of("behaviour"), in_domain)),
        "warm_ups": pd.DataFrame(warm_ups(tests, methods, scale.rl.steps, in_domain, estimate.of("warm_ups"))),
        "runs": pd.DataFrame(_runs(list(methods), scale, dev, results)),
        "alignment": aligned,
        "rollouts": rollouts[(rollouts.method == BASE) & (rollouts.group == "whole")],
        "positions": pd.DataFrame(positions(tokens, estimate.of("positions"))),
        "noise": pd.DataFrame(noises(noise, halves, aligned, estimate.of("noise"))),
        "pairs": noise,
        "updates": pd.DataFrame(updates(batches, estimate.of("updates")), columns=UPDATES),
    }
    if scale.problems.world == "public":
        tables["overlap"] = pd.DataFrame(overlaps(results / "problems", ["dev", *scale.problems.benchmarks]))
    steps = list(range(0, scale.rl.steps + 1, scale.rl.checkpoint_every))
    spent = {
        method: {seed: tokens_spent(read_table(results / method / f"seed{seed}/log.parquet"), steps) for seed in runs}
        for method, runs in dev.items()
    }
    equal = at_equal_tokens(dev, spent, steps, estimate.of("changes"))
    around = peaks(dev, steps, estimate.of("changes"))
    tables["changes"] = pd.DataFrame([*changes(dev, steps, estimate.of("changes")), *around, *equal])
    own = own_best(dev, steps, estimate.of("speeds"))
    tables["speeds"] = pd.DataFrame([*speeds(dev, steps, estimate.of("speeds"), [*TARGETS]), *own])
    tables["ratios"] = pd.DataFrame(ratios(dev, steps, lexicon.names, estimate.of("ratios")))
    rows = list(curves(dev, steps, lexicon.names, estimate.of("curves")))
    tables["curves"] = pd.DataFrame([row for row in rows if "low" in row])
    tables["seeds"] = pd.DataFrame([row for row in rows if "low" not in row])
    for name, table in tables.items():
        write_table(out / f"{name}.parquet", table)
    sizes = {
        "parameters": read_json(bases[scale.base_seeds[0]] / "run.json")["parameters"],
        "prompts_per_step": scale.rl.prompts_per_step,
        "group_size": scale.rl.group_size,
        "steps": scale.rl.steps,
    }
    runs = [results / method / f"seed{seed}" for method in methods for seed in scale.seeds]
    made = provenance(list(bases.values()), runs)
    warn(results, made["mixed"])
    write_json(out / "provenance.json", made)
    write_json(
        out / "scale.json",
        {
            "name": results.name,
            "description": scale.description,
            "world": scale.problems.world,
            "seeds": scale.seeds,
            "base_seeds": scale.base_seeds,
            "methods": [*methods],
            "published": [one.model_dump() for one in scale.published],
            "claims_on": scale.analysis.claims_on.model_dump(),
            **sizes,
        },
    )


def _runs(methods: list[str], scale: Scale, dev: AllRuns, results: Path) -> Iterator[dict[str, Any]]:
    for method in methods:
        for seed in scale.seeds:
            run = results / method / f"seed{seed}"
            trained, evaluated = read_json(run / "run.json"), read_json(run / "evaluate.json")
            sums = dev[method][seed].groupby("step")[["correct", "n"]].sum()
            accuracy = sums["correct"] / sums["n"]
            yield {
                "method": method,
                "seed": seed,
                "selected_step": trained["selected_step"],
                "dev_base": accuracy[0],
                "dev_selected": accuracy[trained["selected_step"]],
                "dev_final": accuracy.iloc[-1],
                "collapsed": bool(accuracy.iloc[-1] < COLLAPSE * accuracy[0]),
                "updates": trained["updates"],
                "skipped_updates": trained["skipped_updates"],
                "stop_reason": trained["stop_reason"] or "",  # empty: it went on to the end
                "train_seconds": trained["wall_seconds"],
                "evaluate_seconds": evaluated["wall_seconds"],
                "train_tokens": trained["tokens"],
                "peak_memory_bytes": max(trained["peak_memory_bytes"], evaluated["peak_memory_bytes"]),
            }
