"""A new method against the fixed baselines: tidy tables with intervals, and a conclusion in words. Needs no torch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prerl.analysis.behaviour import Lexicon
from prerl.analysis.counts import AllRuns, read_counts
from prerl.analysis.curves import at_equal_tokens, at_start, changes, curves, speeds, tokens_spent
from prerl.analysis.provenance import provenance, warn
from prerl.analysis.rates import behaviours
from prerl.analysis.scores import ALL, BASE, Estimator, averaged, by_benchmark, check_alike, pass_at, scores
from prerl.compare.baselines import Baselines, cost
from prerl.errors import UserError
from prerl.files.atomic import read_json, write_json, write_table
from prerl.files.checksums import read_table
from prerl.metrics import difference_interval
from prerl.seeds import seed_of
from prerl.settings.methods import Method
from prerl.settings.scale import Scale

LEVEL = 0.95
RESAMPLES = 20_000  # of the simultaneous intervals, whose ends lie far out
TABLES = ("leaderboard", "versus", "effort", "behaviour", "methods")
FIGURES = ("differences", "new_curves")


def compare(
    scale: Scale, baselines: Baselines, name: str, method: Method, lexicon: Lexicon, results: Path, out: Path
) -> str:
    """Compares the runs of a method under results/NAME with the baselines. Writes to `out`:

    scores.parquet     method, benchmark, metric, ...: accuracies of all methods; also avg@n over all benchmarks
    versus.parquet     baseline, benchmark, metric (avg or pass), k, n: the new method minus the baseline on the same
                       problems and seeds, with 95 % interval and the probability of improvement; for avg over all
                       benchmarks also the simultaneous interval (sure_low, sure_high) and the verdict by it
    curves.parquet, seeds.parquet, speeds.parquet, changes.parquet, behaviour.parquet   those of `analysis.summary`, of
                       all methods
    costs.parquet      a row a run: selected step, updates, tokens, seconds
    methods.json       all methods as a file of methods; scale.json, provenance.json
    conclusion.json    the conclusion in words, and warnings

    Returns the conclusion. Raises UserError if the baselines were not measured alike.
    """
    baselines.check_fit(scale)
    bases = sorted({scale.base_of(seed) for seed in baselines.seeds})
    baselines.check_inputs(results, bases)
    methods = baselines.methods()
    if name in methods:
        raise UserError(f"{name}: a baseline has that name; give the method's file another one")
    estimate = Estimator(scale.analysis.bootstrap, np.random.default_rng(seed_of("bootstrap")))
    runs = {seed: results / name / f"seed{seed}" for seed in baselines.seeds}
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
    benchmarks = list(scale.evaluation.benchmarks)
    steps = list(range(0, scale.rl.steps + 1, scale.rl.checkpoint_every))
    rows = list(curves(dev, steps, lexicon.names, estimate.of("curves")))
    logs = {method: {seed: baselines.updates(method, seed) for seed in baselines.seeds} for method in methods}
    logs[name] = {seed: read_table(run / "log.parquet") for seed, run in runs.items()}
    spent = {
        method: {seed: tokens_spent(log, steps) for seed, log in of_method.items()}
        for method, of_method in logs.items()
    }
    equal = at_equal_tokens(dev, spent, steps, estimate.of("changes"))
    tables = {
        "scores": pd.DataFrame(scores(tests, estimate.of("scores"), benchmarks, ALL)),
        "versus": pd.DataFrame(versus(tests, name, list(methods), benchmarks, estimate.of("versus"))),
        "curves": pd.DataFrame([row for row in rows if "low" in row]),
        "seeds": pd.DataFrame([row for row in rows if "low" not in row]),
        "speeds": pd.DataFrame(speeds(dev, steps, estimate.of("speeds"))),
        "changes": pd.DataFrame([*changes(dev, steps, estimate.of("changes")), *equal]),
        "behaviour": pd.DataFrame(behaviours(tests, lexicon, estimate.of("behaviour"))),
        "costs": pd.DataFrame([*baselines.record["runs"], *(cost(name, seed, run) for seed, run in runs.items())]),
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
    text = conclude(tables["versus"], tables["scores"], name, benchmarks, labels)
    write_json(out / "conclusion.json", {"text": text, "warnings": warnings})
    write_json(
        out / "scale.json",
        {
            "name": baselines.record["scale"],
            "description": scale.description,
            "new": name,
            "seeds": baselines.seeds,
            "methods": list(everything),
            "parameters": baselines.record["base"]["parameters"],
            "steps": scale.rl.steps,
        },
    )
    return text


def versus(
    tests: AllRuns, name: str, others: list[str], benchmarks: list[str], estimate: Estimator
) -> Iterator[dict[str, Any]]:
    """The method `name` minus the base and each of `others`, see `compare`; `benchmarks` are what counts as all.

    The simultaneous intervals, over `others` alone, are Bonferroni's: with m baselines each has the level 1 - 0.05 / m,
    so that all hold at once with 95 % and "better than some baseline" is no accident of many comparisons.
    """
    mine = tests[name]
    level = 1 - (1 - LEVEL) / len(others)
    for other in (BASE, *others):
        own = estimate.of(other)
        where = {"method": name, "baseline": other}
        its = tests[other]
        (share, weights, n), (reference, _, _) = averaged(mine, benchmarks), averaged(its, benchmarks)
        first, second = share * weights, reference * weights
        row = where | {"benchmark": ALL, "metric": "avg", "k": n, "n": n} | own.compare(first, second)
        if other != BASE:
            low, high = difference_interval(first, second, RESAMPLES, own.rng, level)
            verdict = "better" if low > 0 else "worse" if high < 0 else "undecided"
            row |= {"sure_low": low, "sure_high": high, "verdict": verdict}
        yield row
        pairs = zip(by_benchmark(mine), by_benchmark(its), strict=True)
        for (benchmark, right, n), (same, reference, _) in pairs:
            if benchmark != same:
                raise RuntimeError(f"{benchmark} against {same}: benchmarks in another order")
            row = where | {"benchmark": benchmark, "n": n, "k": n}
            yield row | {"metric": "avg"} | own.compare(right / n, reference / n)
            solved = [pass_at(n, cells, n) for cells in (right, reference)]
            yield row | {"metric": "pass"} | own.compare(*solved)


def conclude(
    versus: pd.DataFrame, scores: pd.DataFrame, name: str, benchmarks: list[str], labels: dict[str, str]
) -> str:
    """In plain words what the simultaneous intervals allow to say."""
    averages = scores[scores.metric == "avg"]
    means = averages[averages.benchmark == averages.benchmark.iloc[0]].set_index("method")  # of all benchmarks
    own = means.loc[name]
    rows = versus[versus.verdict.notna()].set_index("baseline")
    tested = averages[(averages.method == name) & averages.benchmark.isin(benchmarks)]
    weighed = "of equal weight " if len(tested) > 1 else ""
    text = (
        f"{labels[name]} answers {_share(own.estimate)} [{_share(own.low)}, {_share(own.high)}] of responses right "
        f"over {_many(len(tested), 'benchmark')} {weighed}({tested.problems.sum()} problems, "
        f"{_many(own.seeds, 'seed')}). "
        f"Against {_many(len(rows), 'baseline')}, by intervals that hold for all of them at once with 95 %, it is "
    )
    parts = []
    for verdict, words in {"better": "better than", "worse": "worse than", "undecided": "not told apart from"}.items():
        found = [labels[key] for key in rows.index[rows.verdict == verdict]]
        if found:
            every = f"{'any of the' if verdict == 'undecided' else 'all'} {len(rows)}"
            listed = every if len(found) == len(rows) > 1 else _enumerated(found)
            parts.append(f"{words} {listed}")
    text += "; ".join(parts) + "."
    best = means.loc[list(rows.index)].estimate.idxmax()
    row = rows.loc[best]
    text += (
        f" The strongest baseline is {labels[best]}: the difference is {_points(row.estimate)} points "
        f"[{_points(row.sure_low)}, {_points(row.sure_high)}], "
    )
    text += {
        "better": "an improvement.",
        "worse": "a deterioration.",
        "undecided": "which shows neither an improvement nor a deterioration.",
    }[row.verdict]
    return text + " All runs start from one base model: what another base would give is not in these intervals."


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _many(count: int, name: str) -> str:
    return f"{count} {name}{'s' if count > 1 else ''}"


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"


def _enumerated(names: list[str]) -> str:
    return " · ".join(names)  # a name may hold a comma
