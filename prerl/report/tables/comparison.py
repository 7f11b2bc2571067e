"""Tables of a comparison with the baselines."""

import math

import pandas as pd

from prerl.analysis.behaviour import EXECUTION
from prerl.analysis.scores import ALL, BASE
from prerl.analysis.study import Study
from prerl.files.atomic import read_json
from prerl.report.rows import Row, each
from prerl.report.tables.typeset import AGAINST_GRPO, DEV_ENDS, against_grpo, dev_ends, interval, table

MARK = " ◀"  # behind the new method's name


@table
def leaderboard(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    scores = study.read("scores")
    most = scores.groupby(["method", "benchmark", "metric"]).k.transform("max")
    rows = scores[scores.metric.isin(["avg", "pass"]) & (scores.k == most)]
    averages = rows[rows.metric == "avg"]
    benchmarks = list(dict.fromkeys(averages.benchmark))
    ends, heads = dev_ends(study.read("costs")), heads_of(study, benchmarks)
    ranked = averages[averages.benchmark == benchmarks[0]].sort_values("estimate", ascending=False, kind="stable")
    printed = []
    for place, method in enumerate(ranked.method, start=1):
        own = rows[rows.method == method]
        line = {"Rank": str(place), "Method": _name(study, method), "Tuned": _tuned(study, method)}
        line |= {"Seeds": str(own.seeds.iloc[0])}
        for benchmark in benchmarks:
            row = _row(own, benchmark, "avg")
            line[f"{heads[benchmark]}, avg@{'n' if benchmark == ALL else row.n}"] = interval(row, 3)
        for benchmark in (name for name in benchmarks if name != ALL):
            row = _row(own, benchmark, "pass")
            line[f"{benchmark}, pass@{row.k}"] = interval(row, 3)
        printed.append(line | ends.get(method, dict.fromkeys(DEV_ENDS.values(), "–")))
    return rows, pd.DataFrame(printed)


@table
def versus(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = study.read("versus")
    heads, printed = heads_of(study, list(rows.benchmark.unique())), []
    for baseline, group in rows.groupby("baseline", sort=False):
        first = _row(group, ALL, "avg")
        sure = "–" if pd.isna(first.sure_low) else f"{first.sure_low:+.3f} to {first.sure_high:+.3f}"
        line = {
            "Baseline": study.labels[baseline],
            "Replicates": str(first.seeds),
            "Problems": str(first.problems),
            f"{ALL}, avg@n": interval(first, 3, signed=True),
            "The verdict's interval": sure,
            "Level": "–" if pd.isna(first.level) else f"{100 * first.level:.2f} %",
            "Verdict": first.verdict if isinstance(first.verdict, str) else "–",
            "Found with 80 %": f"{first.detectable:.3f}",
            "Variance": f"{first.variance}, {first.freedom:.0f} df",
        }
        for row in each(group[group.benchmark != ALL]):
            line[f"{heads[row.benchmark]}, {row.metric}@{row.k}"] = interval(row, 3, signed=True)
        printed.append(line)
    return rows, pd.DataFrame(printed)


@table
def effort(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    costs, speeds, behaviour = study.read("costs"), study.read("speeds"), study.read("behaviour")
    benchmark, ends = behaviour.benchmark.iloc[0], against_grpo(study)
    counted = behaviour[(behaviour.benchmark == benchmark) & (behaviour.per == "response")]
    printed = []
    for method, runs in costs.groupby("method", sort=False):
        line = {"Method": _name(study, str(method)), "Seeds": str(len(runs))}
        for row in each(speeds[speeds.method == method]) if len(speeds) else ():  # none without GRPO
            low, high = (_step(value) for value in (row.low, row.high))
            line["Updates to half of GRPO's gain"] = f"{_step(row.estimate)} [{low}, {high}]"
        line |= {title: ends.get((str(method), window), "–") for window, title in AGAINST_GRPO.items()}
        line |= {
            "Selected updates": ", ".join(map(str, runs.selected_step)),
            "Skipped updates": ", ".join(map(str, runs.skipped_updates)),
            "Training tokens (1k)": f"{runs.tokens.mean() / 1000:.0f}",
            "Training (s)": f"{runs.train_seconds.mean():.0f}",
        }
        for row in each(counted[(counted.method == method) & (counted.behaviour != EXECUTION)]):
            line[f"{row.behaviour.capitalize()} per response, {benchmark}"] = interval(row, 2)
        printed.append(line)
    return costs, pd.DataFrame(printed).fillna("–")


def heads_of(study: Study, benchmarks: list[str]) -> dict[str, str]:
    """How benchmarks are headed: with a remark on those that the mean over all leaves out."""
    left_out = read_json(study.summary / "conclusion.json")["left_out"]
    return {name: f"{name} (at its {left_out[name]})" if name in left_out else name for name in benchmarks}


def _row(rows: pd.DataFrame, benchmark: str, metric: str) -> Row:
    return next(each(rows[(rows.benchmark == benchmark) & (rows.metric == metric)]))


def _name(study: Study, method: str) -> str:
    return study.labels[method] + (MARK if method == study.scale["new"] else "")


def _tuned(study: Study, method: str) -> str:
    """What a method was tuned to; the base is no method."""
    values = study.scale["tuned"].get(method)
    if method == BASE or values is None:
        return "–" if method == BASE else "untuned"
    length = "" if values["warm_ups"] == 1 else f", warm-up × {values['warm_ups']:g}"
    return f"learning rate × {values['learning_rate_factor']:g}{length}"


def _step(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else "never"
