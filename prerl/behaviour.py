"""What kinds of thoughts responses consist of, by lexicons that are data (workflow/lexicons).

The paper counts transition and reflection thoughts; its counting method is not published. We split a response into
thoughts and class each as reflection, transition or execution, as SEAL does (arXiv 2504.07986), and count four
behaviours of reasoners: verification, backtracking, subgoal setting, enumeration (arXiv 2503.01307). Needs no torch.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import field_validator

from prerl.config_values import Strict
from prerl.metrics import Array, ratio, relative_interval
from prerl.reading import check, read_yaml
from prerl.scores import BASE, Estimator, Samples, grid

FEW = 20  # occurrences in the base: below, their own noise is over a fifth, and a ratio to them is no number to print
EXECUTION = "execution"
Kind = Literal["reflection", "transition"]


class Lexicon(Strict):
    """Regular expressions, case ignored: where a response is split, what marks a thought, what marks a behaviour."""

    split: str
    thoughts: dict[Kind, str]  # the first that is found in a thought names it; otherwise it is execution
    behaviours: dict[str, str]

    @field_validator("split", "thoughts", "behaviours")
    @classmethod
    def _valid(cls, value: str | dict[str, str]) -> str | dict[str, str]:
        for pattern in value.values() if isinstance(value, dict) else [value]:
            try:
                if re.compile(pattern).search("") is not None:
                    raise ValueError(f"{pattern!r} matches the empty text")
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression ({error})") from error
        return value

    @property
    def names(self) -> list[str]:
        """The columns of `count`."""
        return [*self.thoughts, EXECUTION, *self.behaviours]


def load_lexicon(path: Path) -> Lexicon:
    """Raises UserError, in one line that names file and key, if it is none."""
    return check(Lexicon, read_yaml(path), str(path))


def thoughts(response: str, lexicon: Lexicon) -> list[tuple[str, str]]:
    """The thoughts of a response in order: (kind, text)."""
    return [(kind(part, lexicon), part) for part in split(response, lexicon)]


def split(response: str, lexicon: Lexicon) -> list[str]:
    """The texts of a response's thoughts in order."""
    return [part for part in re.split(lexicon.split, response, flags=re.IGNORECASE) if part.strip()]


def kind(thought: str, lexicon: Lexicon) -> str:
    """reflection, transition or execution"""
    for name, pattern in lexicon.thoughts.items():
        if re.search(pattern, thought.strip(), re.IGNORECASE):
            return name
    return EXECUTION


def count(responses: pd.Series, lexicon: Lexicon) -> pd.DataFrame:
    """Thoughts of each kind and occurrences of each behaviour in each response: a column each, the responses' index."""
    rows: dict[str, list[int]] = {}  # many responses are alike, and more so their thoughts
    known = cache(lambda thought: kind(thought, lexicon))
    for response in responses:
        if response not in rows:
            kinds = [known(thought) for thought in split(response, lexicon)]
            counts = [kinds.count(name) for name in (*lexicon.thoughts, EXECUTION)]
            found = [len(re.findall(p, response, re.IGNORECASE)) for p in lexicon.behaviours.values()]
            rows[response] = counts + found
    return pd.DataFrame([rows[response] for response in responses], index=responses.index, columns=lexicon.names)


def behaviours(samples: Samples, lexicon: Lexicon, estimate: Estimator) -> Iterator[dict[str, Any]]:
    """Rates of each kind of thought and each behaviour, and their ratios to the base's, with intervals.

    per: response, 1k tokens, or (kinds alone) thought. `count` and `base_count` are occurrences; with fewer than FEW in
    the base, `few`, the ratio means little.
    """
    for method, runs in samples.items():
        for benchmark in next(iter(runs.values())).benchmark.unique():
            chosen = {seed: run[run.benchmark == benchmark] for seed, run in runs.items()}
            base = {seed: run[run.benchmark == benchmark] for seed, run in samples[BASE].items()}
            for name in lexicon.names:
                found, found_base = grid(chosen, name), grid(base, name)
                where = {"method": method, "benchmark": benchmark, "behaviour": name}
                where |= {"count": int(found.sum()), "base_count": int(found_base.sum())}
                for per, below in _denominators(chosen, name, lexicon).items():
                    below_base = _denominators(base, name, lexicon)[per]
                    row = where | {"per": per} | estimate(found, below)
                    if method != BASE:
                        row |= {"few": where["base_count"] < FEW}
                        row |= _relative(found, below, found_base, below_base, estimate)
                    yield row


def _denominators(runs: dict[int, pd.DataFrame], name: str, lexicon: Lexicon) -> dict[str, Array]:
    """What occurrences are divided by, (seeds, problems) each."""
    below = {"response": grid(runs, "score", "size"), "1k tokens": grid(runs, "tokens") / 1000}
    if name in lexicon.behaviours:
        return below
    return below | {"thought": sum(grid(runs, kind) for kind in (*lexicon.thoughts, EXECUTION))}


def _relative(
    above: Array, below: Array, base_above: Array, base_below: Array, estimate: Estimator
) -> dict[str, float]:
    """The ratio of a rate to the base's rate."""
    base = ratio(base_above, base_below)
    low, high = relative_interval(above, below, base_above, base_below, estimate.resamples, estimate.rng)
    return {"ratio": ratio(above, below) / base if base > 0 else float("nan"), "ratio_low": low, "ratio_high": high}
