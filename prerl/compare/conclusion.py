"""What a comparison allows to say, in words."""

from dataclasses import dataclass

import pandas as pd

from prerl.compare.differences import PRIMARY
from prerl.compare.levels import LOOKS

VERDICTS = {"better": "better than", "worse": "worse than", "undecided": "not told apart from"}


@dataclass(frozen=True)
class Setting:
    """Under what conditions a comparison was made."""

    benchmarks: list[str]  # what counts as all
    left_out: dict[str, str]  # benchmark -> floor or ceiling
    bases: int  # base models that the runs started from
    rank: int = 1  # which variant of the checkout it is
    variants: int = 1  # how many were compared there
    look: int | None = None  # of a group-sequential comparison


def conclude(
    versus: pd.DataFrame, scores: pd.DataFrame, name: str, setting: Setting, labels: dict[str, str], level: float
) -> str:
    """In plain words what the intervals allow to say: the primary comparison first, then the others, and what bounds
    both. `versus` and `scores` are the tables of a comparison, `level` is that of the primary one."""
    averages = scores[scores.metric == "avg"]
    means = averages[averages.benchmark == averages.benchmark.iloc[0]].set_index("method")  # of all benchmarks
    own, rows = means.loc[name], versus[versus.verdict.notna()].set_index("baseline")
    tested = averages[(averages.method == name) & averages.benchmark.isin(setting.benchmarks)]
    weighed = "of equal weight " if len(tested) > 1 else ""
    sentences = [
        f"{labels[name]} answers {_share(own.estimate)} [{_share(own.low)}, {_share(own.high)}] of responses right "
        f"over {_many(len(tested), 'benchmark')} {weighed}({tested.problems.sum()} problems, "
        f"{_many(own.seeds, 'replicate')})."
    ]
    for end in dict.fromkeys(setting.left_out.values()):
        names = [key for key, value in setting.left_out.items() if value == end]
        sentences.append(f"Not counted, being at the {end} for base and baselines alike: {', '.join(names)}.")
    if PRIMARY in rows.index:
        sentences += _primary(rows[rows.index == PRIMARY].iloc[0], labels, level)
    others = rows[rows.index != PRIMARY]
    if len(others):
        sentences += _family(others, labels, level, PRIMARY in rows.index)
        best = means.loc[list(rows.index)].estimate.idxmax()
        if best != PRIMARY:
            sentences.append(_strongest(rows.loc[best], labels[best]))
    sentences += _bounds(rows, setting, level)
    return " ".join(sentences)


def _primary(row: pd.Series, labels: dict[str, str], level: float) -> list[str]:
    verdict = VERDICTS[row.verdict].removesuffix(" than").removesuffix(" from")
    than = {"better": "than", "worse": "than", "undecided": "from"}[row.verdict]
    return [
        f"Against {labels[PRIMARY]}, the primary comparison, the difference is {_interval(row)}, at "
        f"{_level(level)}: it is {verdict} {than} {labels[PRIMARY]}. A true difference of {_found(row.detectable)} "
        "would have been found with a chance of 80 %."
    ]


def _family(rows: pd.DataFrame, labels: dict[str, str], level: float, more: bool) -> list[str]:
    parts = []
    for verdict, words in VERDICTS.items():
        found = [labels[key] for key in rows.index[rows.verdict == verdict]]
        if found:
            every = f"{'any of the' if verdict == 'undecided' else 'all'} {len(rows)}"
            parts.append(f"{words} {every if len(found) == len(rows) > 1 else ' · '.join(found)}")  # a name has commas
    at_once = "an interval that holds" if len(rows) == 1 else "intervals that hold for all of them at once"
    least, most = rows.detectable.min(), rows.detectable.max()
    found = _found(least) if f"{least:.3f}" == f"{most:.3f}" else f"{100 * least:.1f} to {_found(most)}"
    against = _many(len(rows), "other baseline" if more else "baseline")
    return [
        f"Against {against}, by {at_once} with {_level(level)}, it is "
        f"{'; '.join(parts)}. Found with 80 % would have been {found}."
    ]


def _strongest(row: pd.Series, label: str) -> str:
    words = {"better": "an improvement", "worse": "a deterioration"}
    shown = words.get(row.verdict, "which shows neither an improvement nor a deterioration")
    return f"The strongest baseline is {label}: the difference is {_interval(row)}, {shown}."


def _bounds(rows: pd.DataFrame, setting: Setting, level: float) -> list[str]:
    """What the levels come from, and what they do not cover."""
    found = []
    if setting.look:
        last, size = setting.look == len(LOOKS), LOOKS[setting.look - 1]
        decided = PRIMARY in rows.index and rows.verdict[PRIMARY] != "undecided"
        then = "stop, the primary comparison is decided" if decided else "stop, this was the last look"
        if not (decided or last):
            then = f"not decided, go on with look={setting.look + 1}, after {LOOKS[setting.look]} replicates"
        found.append(
            f"This is look {setting.look} of {len(LOOKS)}, after {size} replicates, whose intervals have the level "
            f"{_level(level)}: {then}."
        )
    if setting.variants > 1:
        rank = f"the {_ordinal(setting.rank)} variant compared on this checkout"
        of = "" if setting.rank == setting.variants else f", where there are {setting.variants}"
        found.append(f"It is {rank}{of}: the error allowed to each is divided by {setting.variants}.")
    if setting.bases == 1:
        found.append("All runs start from one base model: what another base would give is not in these intervals.")
    return found


def _interval(row: pd.Series) -> str:
    return f"{_points(row.estimate)} points [{_points(row.sure_low)}, {_points(row.sure_high)}]"


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _level(value: float) -> str:
    return f"{100 * value:.{0 if value == 0.95 else 2}f} %"


def _found(value: float) -> str:
    return f"{100 * value:.1f} points"


def _many(count: int, name: str) -> str:
    return f"{count} {name}{'s' if count > 1 else ''}"


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
