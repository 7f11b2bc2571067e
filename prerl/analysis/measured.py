"""Parts of claims out of summary tables: one row is one measured effect."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pandas as pd

from prerl.analysis.curves import ending
from prerl.analysis.scores import BASE, IN_DOMAIN
from prerl.analysis.study import Study
from prerl.analysis.verdicts import TRACKS, Part
from prerl.errors import UserError

FLOOR = 0.02  # a share of responses, or of problems, that is nearly none


class Missing(Exception):
    """The study lacks the runs that a claim needs."""


def optional(*measures: Callable[[], Part]) -> Iterator[Part]:
    """The parts that the study has; without the others a claim is judged all the same."""
    for measure in measures:
        try:
            yield measure()
        except Missing:
            continue


def pick(table: pd.DataFrame, name: str, unit: str, where: dict[str, Any], **judged: Any) -> Part:
    """The one row of a summary table with the given values, as a part; points are a hundred times what the table has.
    `judged`: side, margin and reported.

    Raises Missing if there is no such row, or its numbers are none; UserError if there are several, for then none is
    the one.
    """
    rows, named = table, ", ".join(f"{column} {value}" for column, value in where.items())
    for column, value in where.items():
        if column not in rows:
            raise Missing("this study has no runs that could tell")
        rows = rows[rows[column] == value]
    if len(rows) == 0:
        raise Missing(f"no runs with {named}")
    if len(rows) > 1:
        raise UserError(f"claims: {len(rows)} rows of a summary with {named}; delete summary/ and run again")
    row = rows.iloc[0]
    if not math.isfinite(row.estimate):
        raise Missing(f"the runs with {named} give no number ({row.estimate})")
    if math.isnan(row.low) or math.isnan(row.high):
        raise Missing(f"the runs with {named} give a number without an interval")
    scale = 100 if unit == "points" else 1
    estimate, low, high = (scale * float(row[name]) for name in ("estimate", "low", "high"))
    return Part(name, unit, estimate, low, high, sizes(row), freedom=freedom(row), **judged)


def sizes(row: pd.Series) -> str:
    """What a row rests on, in words."""
    parts = [f"n = {row['n']}"] if "n" in row else []
    parts += [f"update {row['step']}"] if row.get("step") else []
    names = ("rollouts", "batches", "seeds", "problems")
    return ", ".join([*parts, *(f"{row[name]} {name}" for name in names if name in row and row[name] > 1)])


def freedom(row: pd.Series) -> float:
    """Degrees of freedom of a row's interval; where the table has none, the fewest that it can have: as if all of its
    spread were between its seeds, or, of one seed, between its problems or batches."""
    if "freedom" in row and not math.isnan(row.freedom):
        return float(row.freedom)
    numbers = [int(row[name]) for name in ("seeds", "problems", "batches") if name in row and row[name] > 1]
    return float(numbers[0] - 1) if numbers else 1.0


def on(study: Study, role: str) -> str:
    """The benchmark that has a role in the claims, or the mean over several. Raises Missing if the scale has none."""
    found = study.scale["claims_on"][role]
    if found is None:
        raise Missing(f"this scale has no {role.replace('_', '-')} benchmark")
    return found if isinstance(found, str) else found[0] if len(found) == 1 else IN_DOMAIN


def compared(study: Study, method: str, reference: str, benchmark: str, metric: str = "avg", **judged: Any) -> Part:
    """A paired difference on a test benchmark in percentage points."""
    where = {"method": method, "reference": reference, "benchmark": benchmark, "metric": metric}
    return pick(study.read("comparisons"), _less(study, method, reference), "points", where, **judged)


def saturated(study: Study, methods: tuple[str, ...], benchmark: str, metric: str) -> bool:
    """Whether all of these methods are right nearly always, or nearly never, at the largest k."""
    table = study.read("scores")
    table = table[(table.benchmark == benchmark) & (table.metric == metric) & (table.k == table.n)]
    found = table[table.method.isin(methods)].estimate
    return len(found) > 0 and bool((found < FLOOR).all() or (found > 1 - FLOOR).all())


def changed(study: Study, method: str, window: str, reference: str, name: str = "", **judged: Any) -> Part:
    """A paired difference of dev accuracy along training in percentage points."""
    where = {"method": method, "quantity": "accuracy", "window": window, "reference": reference}
    return pick(study.read("changes"), name or _less(study, method, reference), "points", where, **judged)


def multiplied(study: Study, method: str, quantity: str, reference: str, few: int = 1, **judged: Any) -> Part:
    """How many times as much of a quantity a method has as its reference while its accuracy holds. Raises Missing if
    the reference has fewer than `few` occurrences, for a ratio to them means little."""
    table, mine, its = study.read("ratios"), study.labels.get(method, method), study.labels.get(reference, reference)
    its = its.lower() if reference == BASE else its
    if method in study.scale["methods"] and ("method" not in table or method not in set(table.method)):
        raise Missing(f"{mine} is at no update as accurate on dev as the base")
    where = {"method": method, "quantity": quantity, "reference": reference}
    if "method" in table:
        counts = table[[*where, "reference_count"]].set_index([*where]).reference_count
        if (count := counts.get((method, quantity, reference), few)) < few:
            raise Missing(f"{its} has only {count} {quantity} thoughts there")
    return pick(table, f"{mine} over {'the ' if reference == BASE else ''}{its}", "ratio", where, **judged)


def sooner(study: Study, method: str, target: str, name: str, **judged: Any) -> Part:
    """How many times as many updates GRPO takes to a target. Raises Missing if there is none to be reached."""
    table = study.read("speeds")
    if "grpo" in study.scale["methods"] and ("target" not in table or target not in set(table.target)):
        raise Missing(f"there is no sure gain on dev of which one could reach {target}")
    columns = ["estimate", "low", "high", "freedom"]
    table = table.drop(columns=columns, errors="ignore").rename(columns={f"speedup_{one}": one for one in columns})
    return pick(table, name, "ratio", {"method": method, "target": target}, **judged)


def at_rates(study: Study, method: str) -> Iterable[str]:
    """At how many learning rates of the tuning runs a method ends more than TRACKS points below its best; too few runs
    each for an interval."""
    if not study.has("sensitivity"):
        return
    runs = study.read("sensitivity").query("method == @method")
    if not len(runs):
        return
    curves = runs.pivot_table("accuracy", "learning_rate_factor", "step")  # means over seeds
    ends = curves.iloc[:, ending([int(step) for step in curves.columns])].mean(axis=1)
    fallen = int((100 * (curves.max(axis=1) - ends) > TRACKS).sum())
    yield (
        f"In the tuning runs {study.labels[method]} ends more than {TRACKS:g} points below its best at {fallen} of "
        f"{len(curves)} learning rates."
    )


def worst_checkpoint(study: Study, **judged: Any) -> Iterable[Part]:
    """The largest share of inner products below 0 among trained checkpoints, if gradients were compared at any."""
    table = study.read("alignment")
    where = {"part": "all", "group": "whole", "correct": "any", "quantity": "negative"}
    for column, value in where.items():
        table = table[table[column] == value]
    table = table[table.method != BASE].sort_values("estimate", ascending=False, kind="stable")
    if len(table):
        worst, count = table.iloc[0], int(table.rollouts.sum())
        words = f"{study.labels[worst.method]}, update {worst.step}; {count} rollouts of {len(table)} checkpoints"
        estimate, low, high = (float(worst[end]) for end in ("estimate", "low", "high"))
        yield Part("the worst along training", "share", estimate, low, high, words, count=count, **judged)


def _less(study: Study, method: str, reference: str) -> str:
    """The name of a difference."""
    names = [study.labels.get(name, name) for name in (method, reference)]
    return f"{names[0]} less {'the base' if reference == BASE else names[1]}"
