"""How a claim is judged: by conditions, each an effect with its 95 % interval against a margin.

A condition predicts that an effect lies above a margin, below it, or within so much of no effect. It holds if the whole
interval lies there, is refuted if the whole interval lies elsewhere, and is open if the interval holds the margin. A
claim is

- reproduced: all its conditions hold;
- not reproduced: one is refuted;
- equivalent: neither, and every interval lies within EQUIVALENT of no effect, so that what there may be is too small to
  matter;
- inconclusive: none of these;
- not tested at this scale: the runs that it needs are not there, or give no number.

The margin is 0 for a difference and 1 for a ratio that the paper only says to be larger; "multiplies" asks for at least
twice as much, "tracks" for TRACKS points or less between two curves. A claim about every rollout falls with the first
counterexample, and needs ENOUGH rollouts to stand.

Size does not decide: the number that the paper reports, where it can be compared, is excluded by an interval that does
not hold it, or compatible with it, and that is said beside the verdict.

The intervals are single ones. `level` is the smallest level of error at which a verdict would still be the same, by a
t distribution through the interval's ends; `holm` says whether it stands among all claims that were tested, by Holm's
correction at 5 %. A reproduced or equivalent claim has the largest level of its conditions, for all must hold; a claim
that is not reproduced the smallest of those refuted, times the number of its conditions, for one is enough.

When these rules were written: after the results of version 1 of the scale tiny (rules of one condition each, most of
them against the base alone) and a review of them had been seen. All rules were changed then: references (GRPO, the
other space, the other prompt, a method's own peak), the windows (whole ends, peaks that are chosen elsewhere, the last
update at which accuracy holds, several parts of GRPO's gain), equivalence, reported sizes and Holm's correction. None
was changed after a result of version 2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy import special

NOT_TESTED = "not tested at this scale"
HOLDS, REFUTED, OPEN, BESIDE = "holds", "refuted", "open", "beside"
# How far from no effect an effect is still none: two points are what the scale tiny can tell apart, a ratio a quarter
# more or a fifth less, and at a cosine of 0.05 a step along one gradient does a twentieth for the other.
EQUIVALENT = {"points": 2.0, "ratio": 1.25, "cosine": 0.05}
TRACKS = 5.0  # points between the curves of two methods of which one tracks the other
ENOUGH = 400  # rollouts, as many as the paper is reported to have looked at
FAMILY = 0.05  # chance that Holm's correction leaves for any wrong verdict


@dataclass(frozen=True)
class Part:
    """One measured effect of a claim: a condition, or a number beside it that decides nothing."""

    name: str  # what is compared with what, e.g. DSRL less GRPO
    unit: str  # points (of accuracy), ratio, cosine or share
    estimate: float
    low: float
    high: float
    sizes: str  # e.g. "n = 16, 3 seeds, 200 problems"
    side: str = BESIDE  # above or below the margin, within it of no effect, never (no rollout at all), or beside
    margin: float = math.nan
    reported: float = math.nan  # the paper's number, where it can be compared
    freedom: float = math.inf  # degrees of freedom of the interval
    count: int = 0  # of a share: of how many


def finding(part: Part) -> str:
    """holds, refuted or open; beside, if it is no condition."""
    if part.side == BESIDE:
        return BESIDE
    if part.side == "never":
        return REFUTED if part.estimate > 0 else HOLDS if part.count >= ENOUGH else OPEN
    if part.side == "within":
        inside = -part.margin < part.low and part.high < part.margin
        return HOLDS if inside else REFUTED if part.low > part.margin or part.high < -part.margin else OPEN
    low, high = part.low - part.margin, part.high - part.margin
    if part.side == "below":
        low, high = -high, -low
    return HOLDS if low > 0 else REFUTED if high < 0 else OPEN


def size(part: Part) -> str:
    """Whether the interval excludes the reported number or is compatible with it; empty if there is none."""
    if math.isnan(part.reported):
        return ""
    return "compatible" if part.low <= part.reported <= part.high else "excluded"


def negligible(part: Part) -> bool:
    """Whether the whole interval is so near to no effect that there is none to speak of."""
    if part.unit not in EQUIVALENT:
        return False
    low, high = _bounds(part)
    return low < part.low and part.high < high


def verdict(parts: Sequence[Part]) -> str:
    """By the rules at the top of this file, of parts of which one at least is a condition."""
    conditions = [part for part in parts if part.side != BESIDE]
    findings = [finding(part) for part in conditions]
    if REFUTED in findings:
        return "not reproduced"
    if set(findings) == {HOLDS}:
        return "reproduced"
    return "equivalent" if all(negligible(part) for part in conditions) else "inconclusive"


def level(parts: Sequence[Part]) -> float:
    """The smallest level of error at which the verdict on these parts would still be the same; NaN if inconclusive."""
    conditions = [part for part in parts if part.side != BESIDE]
    found = verdict(parts)
    if found == "reproduced":
        return max(_level(part) for part in conditions)
    if found == "not reproduced":
        refuted = [_level(part) for part in conditions if finding(part) == REFUTED]
        return min(1.0, min(refuted) * len(conditions))
    if found == "equivalent":
        return max(_beyond(part, bound) for part in conditions for bound in _bounds(part))
    return math.nan


def _bounds(part: Part) -> tuple[float, float]:
    """Between which an effect of the part's unit is none."""
    margin = EQUIVALENT[part.unit]
    return (1 / margin, margin) if part.unit == "ratio" else (-margin, margin)


def _level(part: Part) -> float:
    """The smallest level at which a condition would still hold, or be refuted."""
    if part.side == "never":  # one counterexample is enough; none in many leaves less than in ENOUGH, where it is 5 %
        return 0.0 if part.estimate > 0 else min(1.0, 2 * 0.025 ** (part.count / ENOUGH))
    if part.side == "within":
        ends = [_beyond(part, bound) for bound in (-part.margin, part.margin)]
        return max(ends) if finding(part) == HOLDS else min(ends)
    return _beyond(part, part.margin)


def _beyond(part: Part, margin: float) -> float:
    """The level at which the interval would just reach the margin, by the t distribution that has the interval's end on
    that side at 5 %; of a ratio on the logarithm."""
    places = [part.estimate, part.low if margin < part.estimate else part.high, margin]
    if part.unit == "ratio":
        places = [math.log(place) if place > 0 else -math.inf for place in places]
    estimate, end, margin = places
    reach, distance = abs(estimate - end), abs(estimate - margin)
    if not math.isfinite(reach):
        return 1.0
    if reach == 0:
        return 0.0 if distance > 0 else 1.0
    if math.isinf(part.freedom):
        return float(2 * special.ndtr(-special.ndtri(0.975) * distance / reach))
    return float(2 * special.stdtr(part.freedom, -special.stdtrit(part.freedom, 0.975) * distance / reach))


def holm(levels: Sequence[float]) -> list[bool]:
    """Which of several verdicts stand at FAMILY when all are meant to be right at once; a NaN has nothing to stand, but
    counts. Holm 1979: the smallest level against FAMILY over all, the next over one fewer, until one fails."""
    order = sorted(range(len(levels)), key=lambda place: (math.isnan(levels[place]), levels[place]))
    stands = [False] * len(levels)
    for rank, place in enumerate(order):
        if not levels[place] <= FAMILY / (len(levels) - rank):
            break
        stands[place] = True
    return stands


def rule(part: Part) -> str:
    """What a condition needs, in words; of a number beside the conditions, nothing."""
    if part.side == BESIDE:
        return ""
    if part.side == "never":
        return f"none in {ENOUGH} or more"
    return f"{part.side} {'±' if part.side == 'within' else ''}{part.margin:.3g}"


def amount(unit: str, estimate: float, *interval: float) -> str:
    """A value, with its interval if given, as printed: differences with their sign, in the unit's usual digits."""
    signed = unit == "points"
    first, *others = (f"{value:+.1f}" if signed else f"{value:.3g}" for value in (estimate, *interval))
    shown = f"{first} [{', '.join(others)}]" if others else first
    return f"{shown} {unit}" if signed else shown


def row(part: Part) -> dict[str, Any]:
    """A part as a row of claim_parts.csv."""
    found = finding(part)
    return {
        "part": part.name,
        "unit": part.unit,
        "side": part.side,
        "margin": part.margin,
        "estimate": part.estimate,
        "low": part.low,
        "high": part.high,
        "rule": rule(part),
        "finding": found,
        "level": _level(part) if found in (HOLDS, REFUTED) else math.nan,
        "reported": part.reported,
        "size": size(part),
        "sizes": part.sizes,
    }


def sentence(subject: str, parts: Sequence[Part]) -> str:
    """All of a claim in words: the verdict, what was measured, each part with what it needs and whether it does."""
    words = []
    for part in parts:
        said = [f"needs {rule(part)}: {finding(part)}"] if part.side != BESIDE else []
        if size(part):
            said.append(f"reported {amount(part.unit, part.reported)}: {size(part)}")
        beside = f" ({'; '.join(said)})" if said else ""
        words.append(
            f"{part.name[0].upper()}{part.name[1:]}: {amount(part.unit, part.estimate, part.low, part.high)}{beside}"
        )
    sizes = list(dict.fromkeys(part.sizes for part in parts))
    return f"{verdict(parts).capitalize()}. {subject}. {'; '.join(words)}. From {'; '.join(sizes)}."
