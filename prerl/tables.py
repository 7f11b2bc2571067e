"""The summaries as tables to read and to print: CSV with every number, Markdown and LaTeX (booktabs) with intervals."""

import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from prerl.behaviour import EXECUTION
from prerl.claims import amount
from prerl.config import Method
from prerl.records import write_text
from prerl.scores import BASE
from prerl.study import Study, known

SOURCES = ("seed", "problem", "interaction", "sample")  # of variance
TABLES: dict[str, Callable[[Study], tuple[pd.DataFrame, pd.DataFrame]]] = {}


def table(function: Callable[[Study], tuple[pd.DataFrame, pd.DataFrame]]) -> Callable:
    """Registers a table under its function's name: (all numbers, what is printed)."""
    TABLES[function.__name__] = function
    return function


def write_tables(names: list[str], summary: Path, methods: dict[str, Method], out: Path) -> None:
    """Writes out/NAME.csv, .md and .tex for the named tables."""
    study = Study(summary, methods)
    for name in known(names, TABLES, "table"):
        make = TABLES[name]
        numbers, printed = make(study)
        caption = " ".join(make.__doc__.split())
        write_text(out / f"{name}.csv", numbers.to_csv(index=False))
        write_text(out / f"{name}.md", f"{caption}\n\n{printed.to_markdown(index=False, disable_numparse=True)}\n")
        write_text(out / f"{name}.tex", latex(printed, caption, f"tab:{name}"))


def latex(printed: pd.DataFrame, caption: str, label: str) -> str:
    """A booktabs table, special characters escaped."""
    style = printed.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis="columns")
    columns = "l" + "r" * (len(printed.columns) - 1)
    caption = caption.replace("%", r"\%")
    return style.to_latex(hrules=True, column_format=columns, caption=caption, label=label, position="t")


def pivot(study: Study, rows: pd.DataFrame, index: list[str], columns: str, digits: int = 3) -> pd.DataFrame:
    """Estimates with intervals as text; methods by label and in order."""
    cells = rows.assign(text=[interval(row, digits) for row in rows.itertuples()])
    order = list(dict.fromkeys(rows[columns]))
    wide = cells.pivot(index=index, columns=columns, values="text")[order].fillna("–").reset_index()
    position = {name: place for place, name in enumerate(study.labels)}
    wide = wide.sort_values(index, key=lambda column: column.map(position) if column.name == "method" else column)
    wide = wide.assign(method=wide.method.map(study.labels))
    wide.columns = [str(column).capitalize() if column in index else str(column) for column in wide.columns]
    return wide


def interval(row: tuple, digits: int, signed: bool = False) -> str:
    form = f"{'+' if signed else ''}.{digits}f"
    return f"{row.estimate:{form}} [{row.low:{form}}, {row.high:{form}}]"


@table
def methods(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The methods: in which space each phase updates, on which samples, with which advantage, for how many updates."""
    rows = [
        {
            "Method": study.labels[name],
            "Phase": str(number),
            "Space": phase.space,
            "Samples": phase.samples,
            "Advantage": phase.advantage,
            "Updates": str(phase.steps) if phase.steps else "to the end",
        }
        for name in study.scale["methods"]
        for number, phase in enumerate(study.methods[name].phases, start=1)
    ]
    return pd.DataFrame(rows), pd.DataFrame(rows)


@table
def accuracy(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Accuracy (avg@n) on the test benchmarks of the checkpoint selected on dev, with 95 % bootstrap intervals over
    seeds and problems.
    """
    scores = study.read("scores")
    rows = scores[scores.metric == "avg"]
    heads = rows.assign(head=[f"{row.benchmark}, avg@{row.n}, {row.problems} problems" for row in rows.itertuples()])
    return rows, pivot(study, heads, ["method", "seeds"], "head")


@table
def agreement(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the n responses to a problem make together: the majority's answer (maj@n), and the share of problems that
    all of them solve (solved@n), with 95 % bootstrap intervals over seeds and problems.
    """
    scores = study.read("scores")
    rows = scores[scores.metric.isin(["maj", "solved"])]
    heads = rows.assign(head=[f"{row.benchmark}, {row.metric}@{row.n}" for row in rows.itertuples()])
    heads = heads.sort_values(["benchmark", "metric"], kind="stable")
    return rows, pivot(study, heads, ["method", "seeds"], "head")


@table
def pass_at_k(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Unbiased pass@k on the test benchmarks, with 95 % bootstrap intervals over seeds and problems."""
    scores = study.read("scores")
    rows = scores[scores.metric == "pass"]
    some = rows[rows.k.isin([1, 4, 16, 64])]
    heads = some.assign(head=[f"pass@{k}" for k in some.k]).sort_values("k", kind="stable")
    return rows, pivot(study, heads, ["benchmark", "method", "seeds"], "head")


@table
def comparison(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Paired differences to a reference on the same problems and seeds (accuracy avg@n, pass@n), with 95 % bootstrap
    intervals; P(better): chance to do better on a random problem with random seeds, ties counting half. Intervals are
    not corrected for the number of methods compared.
    """
    rows = study.read("comparisons")
    printed = []
    for (benchmark, method), group in rows.groupby(["benchmark", "method"], sort=False):
        first = group.iloc[0]
        line = {
            "Benchmark": f"{benchmark}, {first.problems} problems",
            "Method": study.labels[method],
            "Seeds": str(first.seeds),
            "n": str(first.n),
        }
        for row in group.sort_values(["metric", "reference"]).itertuples():
            reference = study.labels[row.reference]
            line[f"{row.metric}@n against {reference}"] = interval(row, 3, signed=True)
            if row.metric == "avg":
                line[f"P(better than {reference})"] = f"{row.better:.2f} [{row.better_low:.2f}, {row.better_high:.2f}]"
        printed.append(line)
    return rows, pd.DataFrame(printed).fillna("–").sort_values("Benchmark", kind="stable")


@table
def spread(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Where accuracies vary: standard deviation between seeds, between problems, of what a seed adds on single
    problems, and of one response. Point estimates.
    """
    rows = study.read("spread")
    printed = [
        {
            "Benchmark": row.benchmark,
            "Method": study.labels[row.method],
            "n": str(row.n),
            "Seeds": str(row.seeds),
            "Problems": str(row.problems),
            **{source.capitalize(): f"{getattr(row, source):.3f}".replace("nan", "–") for source in SOURCES},
        }
        for row in rows.sort_values("benchmark", kind="stable").itertuples()
    ]
    return rows, pd.DataFrame(printed)


@table
def behaviour(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Thoughts on the test benchmarks: transitions and reflections a response and their ratios to the base's, then
    occurrences of other behaviours a response; 95 % bootstrap intervals over seeds and problems. No ratio is given
    where the base has fewer than 20 occurrences.
    """
    rows = study.read("behaviour")
    printed = []
    for (benchmark, method), group in rows[rows.per == "response"].groupby(["benchmark", "method"], sort=False):
        line = {
            "Benchmark": benchmark,
            "Method": study.labels[method],
            "Seeds": str(group.seeds.iloc[0]),
            "Problems": str(group.problems.iloc[0]),
        }
        for row in group[group.behaviour != EXECUTION].itertuples():
            line[row.behaviour.capitalize()] = interval(row, 2)
            if row.behaviour in ("transition", "reflection") and method != BASE:
                shown = f"{row.ratio:.2f} [{row.ratio_low:.2f}, {row.ratio_high:.2f}]"
                line[f"{row.behaviour.capitalize()}, ratio"] = f"few ({row.base_count})" if row.few else shown
        printed.append(line)
    columns = list(max(printed, key=len))  # the base's line has no ratios
    return rows, pd.DataFrame(printed, columns=columns).fillna("–").sort_values("Benchmark", kind="stable")


@table
def alignment(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Gradients of log P(y) and log P(y|x) on single rollouts of the base; body leaves out the tokens that restate the
    problem. Intervals: 95 % bootstrap over problems.
    """
    rows = study.read("alignment")
    printed = [
        {
            "Tokens": part,
            "Response": "correct" if correct else "incorrect",
            "Rollouts": str(group.rollouts.iloc[0]),
            "Cosine": interval(pick(group, "cosine"), 3),
            "Inner product": interval(pick(group, "inner_product"), 3),
            "Smallest": f"{pick(group, 'inner_product').minimum:.3f}",
            "Negative": interval(pick(group, "negative"), 3),
        }
        for (part, correct), group in rows.groupby(["part", "correct"], sort=True)
    ]
    return rows, pd.DataFrame(printed)


def pick(rows: pd.DataFrame, quantity: str) -> tuple:
    return next(rows[rows.quantity == quantity].itertuples())


@table
def runs(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training runs, a value a seed: the checkpoint selected on dev, dev accuracy there and at the end, runs that
    collapsed (ended below half of the base's dev accuracy), updates skipped for want of a signal, cost.
    """
    rows = study.read("runs")

    def listed(values: pd.Series, form: str) -> str:
        return ", ".join(format(value, form) for value in values)

    printed = [
        {
            "Method": study.labels[method],
            "Selected step": listed(group.selected_step, "d"),
            "Dev accuracy there": listed(group.dev_selected, ".3f"),
            "At the end": listed(group.dev_final, ".3f"),
            "Collapsed": f"{group.collapsed.sum()} of {len(group)}",
            "Skipped updates": listed(group.skipped_updates, "d"),
            "Training (s)": listed(group.train_seconds, ".0f"),
        }
        for method, group in rows.groupby("method", sort=False)
    ]
    return rows, pd.DataFrame(printed)


@table
def speed(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Updates to half of GRPO's gain (half way from the base to the best of GRPO's mean dev curve, linear between
    evaluations), and how many times sooner than GRPO that is, with 95 % bootstrap intervals over seeds and problems.
    """
    rows = study.read("speeds")

    def cell(estimate: float, low: float, high: float, never: float, form: str) -> str:
        values = ["never" if value == never else format(value, form) for value in (estimate, low, high)]
        return values[0] if len(set(values)) == 1 else f"{values[0]} [{values[1]}, {values[2]}]"

    printed = [
        {
            "Method": study.labels[row.method],
            "Seeds": str(row.seeds),
            "Problems": str(row.problems),
            "Updates": cell(row.estimate, row.low, row.high, math.inf, ".0f"),
            "Times sooner than GRPO": "–"
            if row.method == row.reference
            else cell(row.speedup_estimate, row.speedup_low, row.speedup_high, 0.0, ".2f"),
        }
        for row in rows.itertuples()
    ]
    return rows, pd.DataFrame(printed)


@table
def warm_up(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Accuracy (avg@n) on the test benchmarks by the length of DSRL's warm-up in updates (0 is GRPO), and the paired
    difference of lengths from 10 to 25 to the others, with 95 % bootstrap intervals over seeds and problems.
    """
    rows = study.read("warm_ups")
    cells = rows.assign(
        text=[interval(row, 3, signed=row.contrast) for row in rows.itertuples()],
        length=["10 to 25 less others" if row.contrast else str(row.length) for row in rows.itertuples()],
    )
    order = list(dict.fromkeys(cells.length))
    heads = list(dict.fromkeys(cells.benchmark))
    wide = cells.pivot(index=["length", "seeds"], columns="benchmark", values="text")[heads].reset_index()
    wide = wide.sort_values("length", key=lambda column: column.map(order.index))
    return rows, wide.rename(columns={"length": "Warm-up", "seeds": "Seeds"}).astype(str)


@table
def claims(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The paper's claims: what was reported (source A: its abstract, R: the authors' code, S: second-hand notes, not
    confirmed) and what these runs give, with 95 % intervals. Verdicts follow rules written down beforehand.
    """
    rows = study.claims
    printed = []
    for row in rows.itertuples():
        tested = pd.notna(row.estimate)
        printed.append(
            {
                "Claim": row.text,
                "Source": row.source,
                "Reported": amount(row.unit, row.reported) if pd.notna(row.reported) else "–",
                "Found": amount(row.unit, row.estimate, row.low, row.high) if tested else "–",
                "From": row.sizes if tested else "–",
                "Needs": row.rule,
                "Verdict": row.verdict,
            }
        )
    return rows, pd.DataFrame(printed)
