"""Tables of analyses and verdicts: behaviour, gradient alignment, speed, warm-up, claims."""

import math

import pandas as pd

from prerl.analysis.behaviour import EXECUTION
from prerl.analysis.courses import OWN_BEST
from prerl.analysis.curves import HALF, TARGETS
from prerl.analysis.scores import BASE
from prerl.analysis.study import Study
from prerl.report.rows import Row, each, updater
from prerl.report.tables.typeset import AGAINST_GRPO, against_grpo, interval, table


@table
def behaviour(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = study.read("behaviour")
    printed = []
    for (benchmark, method), group in rows[rows.per == "response"].groupby(["benchmark", "method"], sort=False):
        line = {
            "Benchmark": benchmark,
            "Method": study.labels[method],
            "Seeds": str(group.seeds.iloc[0]),
            "Problems": str(group.problems.iloc[0]),
        }
        for row in each(group[group.behaviour != EXECUTION]):
            line[row.behaviour.capitalize()] = interval(row, 2)
            if row.behaviour in ("transition", "reflection") and method != BASE:
                shown = f"{row.ratio:.2f} [{row.ratio_low:.2f}, {row.ratio_high:.2f}]"
                line[f"{row.behaviour.capitalize()}, ratio"] = f"few ({row.base_count})" if row.few else shown
        printed.append(line)
    columns = list(max(printed, key=len))  # the base's line has no ratios
    return rows, pd.DataFrame(printed, columns=columns).fillna("–").sort_values("Benchmark", kind="stable")


@table
def alignment(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = study.read("alignment")
    rows = rows[(rows.method == BASE) & (rows.group == "whole")]
    printed = [
        {
            "Tokens": part,
            "Response": correct,
            "Rollouts": str(group.rollouts.iloc[0]),
            "Problems": str(group.problems.iloc[0]),
            "Cosine": interval(pick(group, "cosine"), 3),
            "Inner product": interval(pick(group, "inner_product"), 3),
            "Smallest": f"{pick(group, 'inner_product').minimum:.3f}",
            "Largest": f"{pick(group, 'inner_product').maximum:.3f}",
            "Negative": interval(pick(group, "negative"), 3),
        }
        for (part, correct), group in rows.groupby(["part", "correct"], sort=True)
    ]
    return rows, pd.DataFrame(printed)


def pick(rows: pd.DataFrame, quantity: str) -> Row:
    return next(each(rows[rows.quantity == quantity]))


@table
def alignment_groups(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = study.read("alignment")
    rows = rows[(rows.method == BASE) & (rows.correct == "any")]
    printed = [
        {
            "Tokens": part,
            "Parameters": name,
            "Rollouts": str(group.rollouts.iloc[0]),
            "Cosine": interval(pick(group, "cosine"), 3),
            "Inner product": interval(pick(group, "inner_product"), 3),
            "Negative": interval(pick(group, "negative"), 3),
        }
        for (part, name), group in rows.groupby(["part", "group"], sort=False)
    ]
    return rows, pd.DataFrame(printed).sort_values("Tokens", kind="stable")


NOISE = {
    ("rollouts", "cosine"): "log P(y) and log P(y|x)",
    ("rollouts", "other_prompt"): "log P(y|x) and log P(y|x'), x' another problem's",
    ("rollouts", "excess"): "the first less the second, by rollout",
    ("rollouts", "across"): "log P(y) and log P(y'|x') of unrelated rollouts",
    ("rollouts", "within"): "log P(y|x) and log P(y'|x') of unrelated rollouts",
    ("halves", "within_post_train"): "mean log P(y|x) of two halves",
    ("halves", "within_pre_train"): "mean log P(y) of two halves",
    ("halves", "across"): "mean log P(y) and log P(y|x) of one half",
    ("halves", "across_halves"): "mean log P(y) and log P(y|x) of different halves",
}


@table
def alignment_noise(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = study.read("noise")
    printed = []
    for (of, pair), name in NOISE.items():
        line = {"Cosine between gradients of": name}
        for row in each(rows[(rows.of == of) & (rows.pair == pair)].sort_values("part")):
            cell = interval(row, 3) if of == "rollouts" else f"{row.estimate:.3f} {{{row.low:.3f}, {row.high:.3f}}}"
            line |= {"Pairs": str(row.count), "Seeds": str(row.seeds), "Problems": str(row.problems)}
            line[f"Tokens: {row.part}"] = cell
        printed.append(line)
    return rows, pd.DataFrame(printed)


@table
def alignment_updates(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows, printed = study.read("updates"), []  # none if no batch had a signal
    for method, group in rows.groupby("method", sort=False):
        line = {"Update": updater(study, str(method)), "Seeds": str(group.seeds.iloc[0])}
        line |= {"Batches": str(group.batches.iloc[0]), "Without signal": str(group.skipped.iloc[0])}
        for row in each(group):
            digits = f"{row.estimate:.2g} [{row.low:.2g}, {row.high:.2g}]"
            cell = digits if row.quantity == "norm" else interval(row, 3)
            line[UPDATES[row.quantity]] = cell
        printed.append(line)
    columns = ["Update", "Seeds", "Batches", "Without signal", *UPDATES.values()]
    there = [name for name in columns if not printed or any(name in line for line in printed)]
    return rows, pd.DataFrame(printed, columns=there).fillna("–")


UPDATES = {
    "cosine": "Cosine with GRPO's",
    "norm": "Norm",
    "header_share": "Share of the restated problem",
}


@table
def alignment_tokens(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = study.read("positions")
    printed = [
        {
            "Tokens": part,
            "Number": str(group.tokens.iloc[0]),
            "Rollouts": str(group.rollouts.iloc[0]),
            "Problems": str(group.problems.iloc[0]),
            **{row.quantity.capitalize(): interval(row, 3) for row in each(group)},
        }
        for part, group in rows[rows.position < 0].groupby("part")
    ]
    return rows, pd.DataFrame(printed)


@table
def overlap(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = study.read("overlap")
    names = {
        "set": "Set",
        "problems": "Problems",
        "same": "The same words",
        "half": "Half of the 8-word sequences",
        "shared": "A 13-word sequence",
        "unreadable": "Unreadable answers",
    }
    printed = rows[list(names)].rename(columns=names)
    return rows, printed.map(lambda cell: "–" if pd.isna(cell) else cell if isinstance(cell, str) else f"{cell:.0f}")


@table
def alignment_training(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = study.read("alignment")
    rows = rows[(rows.group == "whole") & (rows.correct == "any")]
    printed = []
    for (method, step), group in rows.groupby(["method", "step"], sort=False):
        line = {"Method": study.labels[method], "Update": str(step), "Seeds": str(group.seeds.iloc[0])}
        for part, values in group.groupby("part", sort=True):
            cosine = pick(values, "cosine")
            line |= {f"Rollouts: {part}": str(cosine.rollouts), f"Cosine: {part}": interval(cosine, 3)}
            line[f"Excess: {part}"] = interval(pick(values, "excess"), 3)
            line[f"Negative: {part}"] = interval(pick(values, "negative"), 3)
        printed.append(line)
    return rows, pd.DataFrame(printed).fillna("–")


@table
def speed(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows, ends = study.read("speeds"), against_grpo(study)
    others = {target: f"To {target}" for target in TARGETS if target != HALF} | {OWN_BEST: "To its own best"}

    def cell(estimate: float, low: float, high: float, never: float, form: str) -> str:
        values = ["never" if value == never else format(value, form) for value in (estimate, low, high)]
        return values[0] if len(set(values)) == 1 else f"{values[0]} [{values[1]}, {values[2]}]"

    def times(row: Row) -> str:
        return cell(row.speedup_estimate, row.speedup_low, row.speedup_high, 0.0, ".2f")

    printed = []
    for method, group in rows.groupby("method", sort=False) if len(rows) else ():
        found = {row.target: row for row in each(group)}
        first, half = next(iter(found.values())), found.get(HALF)
        own = {target: title for target, title in others.items() if method != first.reference and target in found}
        line = {"Method": study.labels[method], "Seeds": str(first.seeds), "Problems": str(first.problems)}
        if half:
            line["Updates"] = cell(half.estimate, half.low, half.high, math.inf, ".0f")
            line["Times sooner than GRPO"] = times(half) if method != first.reference else "–"
        line |= {title: times(found[target]) for target, title in own.items()}
        line |= {title: ends.get((str(method), window), "–") for window, title in AGAINST_GRPO.items()}
        printed.append(line)
    heads = ["Method", "Seeds", "Problems", "Updates", "Times sooner than GRPO"]
    wide = pd.DataFrame(printed, columns=[*heads, *others.values(), *AGAINST_GRPO.values()], dtype=object)
    return rows, wide.fillna("–")


@table
def warm_up(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = study.read("warm_ups")
    lengths = [f"{row.length} ({row.share:.0%})" for row in each(rows)]
    cells = rows.assign(
        text=[interval(row, 3, signed=row.contrast) for row in each(rows)],
        length=[f"DSRL less {one}" if row.contrast else one for one, row in zip(lengths, each(rows), strict=True)],
    ).sort_values("contrast", kind="stable")
    order = list(dict.fromkeys(cells.length))
    heads = list(dict.fromkeys(cells.benchmark))
    wide = cells.pivot(index=["length", "seeds"], columns="benchmark", values="text")[heads].reset_index()
    wide = wide.sort_values("length", key=lambda column: column.map(order.index))
    return rows, wide.rename(columns={"length": "Warm-up", "seeds": "Seeds"}).astype(str)
