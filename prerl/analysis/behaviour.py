"""What kinds of thoughts responses consist of, by lexicons that are data (workflow/lexicons).

The paper counts transition and reflection thoughts; its counting method is not published. We split a response into
thoughts and class each as reflection, transition or execution, as SEAL does (arXiv 2504.07986), and count four
behaviours of reasoners: verification, backtracking, subgoal setting, enumeration (arXiv 2503.01307). Needs no torch.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import field_validator

from prerl.analysis.scores import BASE, IN_DOMAIN, Estimator, Samples, grid
from prerl.errors import UserError
from prerl.files.checksums import read_table
from prerl.metrics import Array, ratio, relative_interval
from prerl.settings.reading import check, read_yaml
from prerl.settings.values import Strict

FEW = 20  # occurrences in the base: below, their own noise is over a fifth, and a ratio to them is no number to print
EXECUTION = "execution"
Kind = Literal["reflection", "transition"]
Runs = dict[int, pd.DataFrame]  # by seed


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
    """The lexicon in a YAML file. Raises UserError, in one line that names file and key, if it is none."""
    return check(Lexicon, read_yaml(path), str(path))


def thoughts(response: str, lexicon: Lexicon) -> list[tuple[str, str]]:
    """The thoughts of a response in order: (kind, text)."""
    return [(kind(part, lexicon), part) for part in split(response, lexicon)]


def split(response: str, lexicon: Lexicon) -> list[str]:
    """The texts of a response's thoughts in order."""
    return [part for part in re.split(lexicon.split, response, flags=re.IGNORECASE) if part.strip()]


def kind(thought: str, lexicon: Lexicon) -> str:
    """What kind of thought a text is: reflection, transition or execution."""
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


def read_responses(path: Path, lexicon: Lexicon) -> pd.DataFrame:
    """A table of responses that a stage wrote, with a column a behaviour. Raises UserError if it is missing or damaged,
    or if one problem of a benchmark, or of a dev evaluation, has fewer responses than another."""
    table = read_table(path)
    by = "benchmark" if "benchmark" in table else "step"
    for name, sizes in table.groupby([by, "problem"], sort=False).size().groupby(level=by, sort=False):
        if sizes.min() < sizes.max():
            where = name if by == "benchmark" else f"step {name}"
            raise UserError(
                f"{path}: {where}: problem {sizes.idxmin()[1]} has {sizes.min()} responses, others {sizes.max()}: "
                f"scores would not be comparable; delete {path.name} and run again"
            )
    return table.join(count(table.response, lexicon))


def behaviours(
    samples: Samples, lexicon: Lexicon, estimate: Estimator, in_domain: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """Rates of each kind of thought and each behaviour, and their ratios to the base's, with intervals; on each
    benchmark, and IN_DOMAIN where there are several such, whose responses together count as much as another's.

    per: response, 1k tokens, or (kinds alone) thought. `count` and `base_count` are occurrences; with fewer than FEW in
    the base, `few`, the ratio means little.
    """
    sets = {IN_DOMAIN: list(in_domain)} if len(in_domain) > 1 else {}
    sets |= {name: [name] for name in next(iter(samples[BASE].values())).benchmark.unique()}
    for method, runs in samples.items():
        own = estimate.of(method)
        for benchmark, names in sets.items():
            chosen, base = ([_on(name, one) for name in names] for one in (runs, samples[BASE]))
            weights, weights_base = _weights(chosen), _weights(base)
            for name in lexicon.names:
                found, found_base = _cells(chosen, name), _cells(base, name)
                where = {"method": method, "benchmark": benchmark, "behaviour": name}
                where |= {"count": int(found.sum()), "base_count": int(found_base.sum())}
                found, found_base = found * weights, found_base * weights_base
                below_base = _denominators(base, name, lexicon)
                for per, below in _denominators(chosen, name, lexicon).items():
                    row = where | {"per": per} | own(found, below * weights)
                    if method != BASE:
                        row |= {"few": where["base_count"] < FEW}
                        row |= _relative(found, below * weights, found_base, below_base[per] * weights_base, own)
                    yield row


def _on(benchmark: str, runs: Runs) -> Runs:
    return {seed: run[run.benchmark == benchmark] for seed, run in runs.items()}


def _cells(parts: list[Runs], column: str, how: str = "sum") -> Array:
    """(seeds, problems) of a column, the problems of one benchmark after those of another."""
    return np.concatenate([grid(part, column, how) for part in parts], 1)


def _weights(parts: list[Runs]) -> Array:
    """Of a response, (seeds, problems): all of one benchmark weigh together as much as all of another; 1 if there is
    but one."""
    sizes = [grid(part, "score", "size") for part in parts]
    if len(sizes) == 1:
        return np.ones_like(sizes[0])
    return np.concatenate([np.full_like(size, 1 / size[0].sum()) for size in sizes], 1)


def _denominators(parts: list[Runs], name: str, lexicon: Lexicon) -> dict[str, Array]:
    """What occurrences are divided by, (seeds, problems) each."""
    below = {"response": _cells(parts, "score", "size"), "1k tokens": _cells(parts, "tokens") / 1000}
    if name in lexicon.behaviours:
        return below
    return below | {"thought": sum(_cells(parts, kind) for kind in (*lexicon.thoughts, EXECUTION))}


def _relative(
    above: Array, below: Array, base_above: Array, base_below: Array, estimate: Estimator
) -> dict[str, float]:
    """The ratio of a rate to the base's rate."""
    base = ratio(base_above, base_below)
    low, high = relative_interval(above, below, base_above, base_below, estimate.resamples, estimate.rng)
    return {"ratio": ratio(above, below) / base if base > 0 else float("nan"), "ratio_low": low, "ratio_high": high}
