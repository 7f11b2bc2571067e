"""A new method against the fixed baselines: tidy tables with intervals, and a conclusion in words. Needs no torch."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prerl.analysis.behaviour import Lexicon
from prerl.analysis.counts import AllRuns, Runs, read_counts
from prerl.analysis.curves import at_equal_tokens, at_start, at_step, changes, curves, speeds, tokens_spent
from prerl.analysis.provenance import provenance, warn
from prerl.analysis.rates import behaviours
from prerl.analysis.scores import ALL, BASE, Estimator, check_alike, scores
from prerl.compare.baselines import Baselines
from prerl.compare.conclusion import Setting, conclude
from prerl.compare.differences import PRIMARY, at_an_end, versus
from prerl.compare.ledger import LEDGER, enter, standing
from prerl.compare.levels import level_of, replicates
from prerl.compare.tuned import tuned_alike, tuned_values
from prerl.compare.written import cost
from prerl.errors import UserError
from prerl.files.atomic import read_json, write_json, write_table
from prerl.files.checksums import read_table
from prerl.seeds import seed_of
from prerl.settings.methods import Method
from prerl.settings.scale import Scale

TABLES = ("leaderboard", "versus", "effort", "behaviour", "methods")
FIGURES = ("differences", "new_curves")


def compare(
    scale: Scale,
    baselines: Baselines,
    name: str,
    method: Method,
    lexicon: Lexicon,
    results: Path,
    out: Path,
    look: int | None = None,
) -> str:
    """Compares the runs of a method under results/NAME with the baselines; with a look, from 1, as one of several after
    more and more replicates. Adds the variant to results/ledger.jsonl, and writes to `out`:

    scores.parquet     method, benchmark, metric, ...: accuracies of all methods; also avg@n over all benchmarks
    versus.parquet     baseline, benchmark, metric (avg or pass), k, n: the new method minus the baseline on the same
                       problems and replicates, with 95 % interval, its variance's kind and degrees of freedom, and the
                       difference that would be found with 80 %; for avg over all benchmarks also the interval that the
                       verdict goes by (sure_low, sure_high), its level, and the verdict
    curves.parquet, seeds.parquet, speeds.parquet, changes.parquet, behaviour.parquet   those of `analysis.summary`, of
                       all methods, from the replicates that all have
    costs.parquet      a row a run: selected step, dev accuracy there and at the end, updates, tokens, seconds
    methods.json       all methods as a file of methods; scale.json, provenance.json
    conclusion.json    the conclusion in words, warnings, and the benchmarks that the mean leaves out

    Returns the conclusion. Raises UserError if the baselines were not measured alike, or have too few replicates for
    the look.
    """
    baselines.check_fit(scale)
    seeds = replicates(baselines.seeds, baselines.seeds_of(PRIMARY), look)
    bases = sorted({scale.base_of(seed) for seed in seeds})
    baselines.check_inputs(results, bases)
    methods = baselines.methods()
    if name in methods:
        raise UserError(f"{name}: a baseline has that name; give the method's file another one")
    tuned = tuned_values(baselines, name, method, results / name)
    estimate = Estimator(scale.analysis.bootstrap, np.random.default_rng(seed_of("bootstrap")))
    runs = {seed: results / name / f"seed{seed}" for seed in seeds}
    tests, dev = (
        there | {name: {seed: read_counts(run / file, lexicon) for seed, run in runs.items()}}
        for there, file in ((baselines.tests(), "samples.parquet"), (baselines.dev(), "dev.parquet"))
    )
    for file, table in (("tests", tests), ("dev", dev)):
        counted = next(run for runs in table.values() for run in runs.values())
        if lacking := [name for name in lexicon.names if name not in counted]:
            raise UserError(
                f"{baselines.path / file}.parquet: no counts of {', '.join(map(repr, lacking))}, which the lexicon "
                "has; compare by the lexicon that the baselines were made with, or make them anew with "
                "`snakemake --cores all baselines`"
            )
    check_alike(tests)
    check_alike(at_start(dev))
    left_out = at_an_end(tests, list(methods), list(scale.evaluation.benchmarks))
    benchmarks = [benchmark for benchmark in scale.evaluation.benchmarks if benchmark not in left_out]
    rank, variants = standing(results / LEDGER, method)
    level = level_of(look, variants)
    all_dev, dev, alike = dev, together(dev), together(tests)
    common = list(dev[name])
    steps = list(range(0, scale.rl.steps + 1, scale.rl.checkpoint_every))
    rows = list(curves(dev, steps, lexicon.names, estimate.of("curves")))
    logs = {method: {seed: baselines.updates(method, seed) for seed in common} for method in methods}
    logs[name] = {seed: read_table(run / "log.parquet") for seed, run in runs.items() if seed in common}
    spent = {
        method: {seed: tokens_spent(log, steps) for seed, log in of_method.items()}
        for method, of_method in logs.items()
    }
    costs = [*baselines.record["runs"], *(cost(name, seed, run) for seed, run in runs.items())]
    equal = at_equal_tokens(dev, spent, steps, estimate.of("changes"))
    tables = {
        "scores": pd.DataFrame(scores(tests, estimate.of("scores"), benchmarks, ALL)),
        "versus": pd.DataFrame(versus(tests, name, list(methods), benchmarks, level)),
        "curves": pd.DataFrame([row for row in rows if "low" in row]),
        "seeds": pd.DataFrame([row for row in rows if "low" not in row]),
        "speeds": pd.DataFrame(speeds(dev, steps, estimate.of("speeds"))),
        "changes": pd.DataFrame([*changes(dev, steps, estimate.of("changes")), *equal]),
        "behaviour": pd.DataFrame(behaviours(alike, lexicon, estimate.of("behaviour"))),
        "costs": pd.DataFrame([_with_dev(row, all_dev) for row in costs]),
    }
    for table, content in tables.items():
        write_table(out / f"{table}.parquet", content)
    labels = {key: one.label for key, one in methods.items()} | {name: method.label}
    records = [read_json(run / name) for run in runs.values() for name in ("run.json", "evaluate.json")]
    warnings = baselines.warnings(scale, lexicon, records)
    warn(baselines.path, warnings)
    made: dict[str, Any] = provenance([results / BASE / f"seed{seed}" for seed in bases], list(runs.values())) | {
        "baselines": baselines.made_with()
    }
    warn(results, made["mixed"])
    everything = {key: one.model_dump() for key, one in (methods | {name: method}).items()}
    write_json(out / "methods.json", {"methods": everything})
    write_json(out / "provenance.json", made)
    setting = Setting(benchmarks, left_out, len(tests[BASE]), rank, variants, look)
    text = conclude(tables["versus"], tables["scores"], name, setting, labels, level)
    text += " " + tuned_alike(name, tuned, labels)
    write_json(out / "conclusion.json", {"text": text, "warnings": warnings, "left_out": left_out})
    write_json(
        out / "scale.json",
        {
            "name": baselines.record["scale"],
            "description": scale.description,
            "new": name,
            "tuned": {key: values.model_dump() for key, values in tuned.items()},
            "seeds": seeds,
            "look": look,
            "methods": list(everything),
            "parameters": baselines.record["base"]["parameters"],
            "steps": scale.rl.steps,
        },
    )
    enter(results / LEDGER, name, method, seeds)
    return text


def together(runs: AllRuns) -> AllRuns:
    """The runs of the replicates that every method has; a model without replicates, a single run, as it is."""
    several = [set(one) for one in runs.values() if len(one) > 1] or [set(one) for one in runs.values()]
    common = set.intersection(*several)

    def chosen(one: Runs) -> Runs:
        return {seed: run for seed, run in one.items() if seed in common} if len(one) > 1 else one

    return {method: chosen(one) for method, one in runs.items()}


def _with_dev(row: dict[str, Any], dev: AllRuns) -> dict[str, Any]:
    """A run's costs with its dev accuracy at the update that was selected, and after the last one."""
    run = dev[row["method"]][row["seed"]]
    steps = {"dev_selected": row["selected_step"], "dev_final": run["step"].max()}
    found = {}
    for column, step in steps.items():
        now = at_step({0: run}, step)[0]
        found[column] = float(now["correct"].sum() / now["n"].sum())
    return {**row, **found}
