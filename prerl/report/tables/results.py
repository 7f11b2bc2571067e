"""Tables of results: methods, accuracy, comparisons, runs."""

import pandas as pd

from prerl.analysis.scores import BASE, REFERENCES
from prerl.analysis.study import Study
from prerl.report.rows import Row, each
from prerl.report.tables.typeset import DEV_ENDS, dev_ends, interval, pivot, table
from prerl.settings.methods import Phase

SOURCES = ("seed", "problem", "interaction", "sample")  # of variance


@table
def methods(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = [
        {
            "Method": study.labels[name],
            "Phase": str(number),
            "Space": phase.space,
            "Samples": phase.samples,
            "Advantage": phase.advantage,
            "Loss": phase.loss,
            "Divided by": phase.denominator,
            "And": ", ".join(further(phase)) or "–",
            "Batches": str(phase.steps) if phase.steps else "to the end",
            "Updates a batch": str(phase.updates),
        }
        for name in study.scale["methods"]
        for number, phase in enumerate(study.methods[name].phases, start=1)
    ]
    return pd.DataFrame(rows), pd.DataFrame(rows)


def further(phase: Phase) -> list[str]:
    """What else a phase does, in short."""
    added = {"KL": phase.kl_coefficient, "entropy": phase.entropy_coefficient}
    some = [f"{name} {value:g}" for name, value in added.items() if value]
    some += [f"coefficient {phase.loss_coefficient:g}"] if phase.loss_coefficient != 1 else []
    some += [f"rate x {phase.learning_rate_factor:g}"] if phase.learning_rate_factor != 1 else []
    some += [f"up to {phase.redraw} redraws"] if phase.redraw else []
    return some + (["length punished"] if phase.overlong_buffer else [])


@table
def accuracy(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    scores = study.read("scores")
    rows = scores[scores.metric == "avg"]
    heads = rows.assign(head=[f"{row.benchmark}, avg@{row.n}, {row.problems} problems" for row in each(rows)])
    wide, ends = pivot(study, heads, ["method", "seeds"], "head"), dev_ends(study.read("runs"))
    by_label = {study.labels[method]: cells for method, cells in ends.items()}
    for title in DEV_ENDS.values() if ends else ():
        wide[title] = [by_label.get(label, {}).get(title, "–") for label in wide["Method"]]
    return rows, wide


@table
def published(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Accuracy before and after training, here and as others have published it of the same model, by methods that the
    study has too."""
    scores = study.read("scores")
    scores = scores[scores.metric == "avg"]
    numbers, printed = [], []
    for one in (one for one in study.scale["published"] if one["method"] in study.labels):
        own = {row.method: row for row in each(scores[scores.benchmark == one["benchmark"]])}
        before, after = own[BASE], own[one["method"]]
        here = {"updates": study.scale["steps"], "source": "here", "setting": "", "problems": after.problems}
        ours = {"before": 100 * before.estimate, "after": 100 * after.estimate, **here}
        shown = {"Before": per_cent(before), "After": per_cent(after)}
        for line, cells in ((one, {key.capitalize(): f"{one[key]:.1f}" for key in ("before", "after")}), (ours, shown)):
            numbers.append({"benchmark": one["benchmark"], "method": one["method"], **line})
            about = {"Updates": str(line["updates"]), "Source": line["source"], "Setting": line["setting"] or "–"}
            label = study.labels[one["method"]]
            printed.append({"Benchmark": one["benchmark"], "Method": label, **cells, **about})
    return pd.DataFrame(numbers), pd.DataFrame(printed)


def per_cent(row: Row) -> str:
    return f"{100 * row.estimate:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]"


@table
def agreement(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    scores = study.read("scores")
    rows = scores[scores.metric.isin(["maj", "solved"])]
    heads = rows.assign(head=[f"{row.benchmark}, {row.metric}@{row.n}" for row in each(rows)])
    heads = heads.sort_values(["benchmark", "metric"], kind="stable")
    return rows, pivot(study, heads, ["method", "seeds"], "head")


@table
def pass_at_k(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    scores = study.read("scores")
    rows = scores[scores.metric == "pass"]
    some = rows[rows.k.isin([1, 4, 16, 64])]
    heads = some.assign(head=[f"pass@{k}" for k in some.k]).sort_values("k", kind="stable")
    return rows, pivot(study, heads, ["benchmark", "method", "seeds", "problems", "n"], "head")


@table
def comparison(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = study.read("comparisons")
    printed = []
    shown = rows[rows.reference.isin(REFERENCES)]  # others are a claim's
    for (benchmark, method), group in shown.groupby(["benchmark", "method"], sort=False):
        first = group.iloc[0]
        line = {
            "Benchmark": f"{benchmark}, {first.problems} problems",
            "Method": study.labels[method],
            "Seeds": str(first.seeds),
            "n": str(first.n),
        }
        for row in each(group.sort_values(["metric", "reference"])):
            reference = study.labels[row.reference]
            line[f"{row.metric}@n against {reference}"] = interval(row, 3, signed=True)
        printed.append(line)
    return rows, pd.DataFrame(printed).fillna("–").sort_values("Benchmark", kind="stable")


@table
def spread(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = study.read("spread")
    less = {(row.method, row.benchmark): row for row in each(rows[rows.reference != ""])}
    printed = [
        {
            "Benchmark": row.benchmark,
            "Method": study.labels[row.method],
            "n": str(row.n),
            "Seeds": str(row.seeds),
            "Problems": str(row.problems),
            **{source.capitalize(): spread_cell(row, source) for source in SOURCES},
            "Seed, less GRPO": spread_cell(pair, "seed") if (pair := less.get((row.method, row.benchmark))) else "–",
        }
        for row in each(rows[rows.reference == ""].sort_values("benchmark", kind="stable"))
    ]
    return rows, pd.DataFrame(printed)


def spread_cell(row: Row, source: str) -> str:
    value, low, high = (getattr(row, source + end) for end in ("", "_low", "_high"))
    return "–" if pd.isna(value) else f"{value:.3f} [{low:.3f}, {high:.3f}]"


@table
def runs(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
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
