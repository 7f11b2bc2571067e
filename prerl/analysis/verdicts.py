"""How a claim is judged: an effect with its interval, against a margin.

The rules, written before any verdict was computed. A claim predicts that an effect lies above (or below) a margin:

- reproduced: the whole 95 % interval lies on the predicted side of the margin;
- not reproduced: the whole interval lies on the other side;
- inconclusive: the interval holds the margin;
- not tested at this scale: the runs that it needs are not there, or give no number.

The margin is 0 for a difference and 1 for a ratio that the paper only says to be larger; "multiplies" asks for at least
twice as much, "well aligned" for more than the gradients of unrelated rollouts. A claim about every rollout falls with
the first counterexample, and needs 400 rollouts to stand. Effects are not corrected for the number of claims. Size does
not count: a reproduced claim may be far from the reported number, which stands beside it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from prerl.analysis.study import Study
from prerl.errors import UserError

NOT_TESTED = "not tested at this scale"


@dataclass(frozen=True)
class Effect:
    """What was measured: `what` it is in words, its size with a 95 % interval, and what it was computed from."""

    what: str
    estimate: float
    low: float
    high: float
    sizes: str  # e.g. "n = 16, 3 seeds, 200 problems"
    margin: float | None = None  # instead of the claim's
    beside: str = ""  # what else a reader must know, a sentence


@dataclass(frozen=True)
class Claim:
    """How a claim is tested. `reported` finds the number comparable with the effect in what the paper reports."""

    measure: Callable[[Study], Effect]
    unit: str  # points (of accuracy), ratio, cosine, tokens or share
    side: str  # above, below, or never: no rollout at all
    margin: float
    reported: Callable[[dict[str, Any]], float]


def judge(claim: Claim, entry: dict[str, Any], study: Study) -> dict[str, Any]:
    """The row of claims.csv for one claim: its test, and its `entry` in the file of reported claims."""
    row = {key: entry.get(key, "") for key in ("id", "text", "source", "setting")}
    row |= {"unit": claim.unit, "reported": round(claim.reported(entry.get("reported", {})), 6)}
    row |= {"side": claim.side, "margin": claim.margin}
    rule = "none on 400 rollouts or more" if claim.side == "never" else f"{claim.side} {claim.margin:g}"
    try:
        effect = claim.measure(study)
    except Missing as missing:
        gone = {"estimate": math.nan, "low": math.nan, "high": math.nan, "sizes": "", "rule": rule}
        return row | gone | {"verdict": NOT_TESTED, "sentence": f"Not tested: {missing}."}
    if effect.margin is not None:
        row["margin"] = effect.margin
        rule = f"{claim.side} {effect.margin:.3g}, the upper end for unrelated rollouts"
    result = verdict(claim, effect)
    return row | {
        "estimate": effect.estimate,
        "low": effect.low,
        "high": effect.high,
        "sizes": effect.sizes,
        "rule": rule,
        "verdict": result,
        "sentence": f"{effect.what}: {amount(claim.unit, effect.estimate, effect.low, effect.high)} ({effect.sizes}). "
        f"The claim needs {rule}: {result}.{effect.beside}",
    }


def verdict(claim: Claim, effect: Effect) -> str:
    """reproduced, not reproduced or inconclusive, by the rules at the top of this file."""
    if claim.side == "never":
        return "not reproduced" if effect.estimate > 0 else "reproduced" if _enough(effect) else "inconclusive"
    margin = claim.margin if effect.margin is None else effect.margin
    low, high = effect.low - margin, effect.high - margin
    if claim.side == "below":
        low, high = -high, -low
    return "reproduced" if low > 0 else "not reproduced" if high < 0 else "inconclusive"


def _enough(effect: Effect) -> bool:
    """Whether none in this many rollouts is none in 400: the exact upper bound of 0 in 400 is 0.0092."""
    return effect.high <= 1 - 0.025 ** (1 / 400) + 1e-12


def amount(unit: str, estimate: float, *interval: float) -> str:
    """A value, with its interval if given, as printed: differences with their sign, in the unit's usual digits."""
    signed = unit in ("points", "tokens")
    first, *others = (f"{value:+.1f}" if signed else f"{value:.3g}" for value in (estimate, *interval))
    shown = f"{first} [{', '.join(others)}]" if others else first
    return f"{shown} {unit}" if signed else shown


class Missing(Exception):
    """The study lacks the runs that a claim needs."""


def pick(table: pd.DataFrame, scale: float = 1.0, what: str = "", **where: Any) -> Effect:
    """The one row of a summary table with the given values, as an effect. Raises Missing if there is none, or if its
    numbers are none; UserError if there are several, for then none is the one."""
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
    parts = [f"{name} = {row[name]}" for name in ("n",) if name in rows]
    parts += [f"{row[name]} {name}" for name in ("rollouts", "seeds", "problems") if name in rows and row[name] > 1]
    estimate, low, high = (scale * float(row[name]) for name in ("estimate", "low", "high"))
    return Effect(what, estimate, low, high, ", ".join(parts))
