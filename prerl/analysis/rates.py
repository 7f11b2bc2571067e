"""How often each kind of thought and each behaviour occurs, and how much oftener than in the base. Needs no torch."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from prerl.analysis.behaviour import EXECUTION, Lexicon
from prerl.analysis.counts import AllRuns, Runs, grid, on
from prerl.analysis.scores import BASE, IN_DOMAIN, Estimator
from prerl.metrics import Array, ratio, relative_interval

FEW = 20  # occurrences in the base: below, their own noise is over a fifth, and a ratio to them is no number to print


def behaviours(
    tests: AllRuns, lexicon: Lexicon, estimate: Estimator, in_domain: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """Rates of each kind of thought and each behaviour, and their ratios to the base's, with intervals; on each
    benchmark, and IN_DOMAIN where there are several such, whose responses together count as much as another's.

    per: response, 1k tokens, or (kinds alone) thought. `count` and `base_count` are occurrences; with fewer than FEW in
    the base, `few`, the ratio means little.
    """
    sets = {IN_DOMAIN: list(in_domain)} if len(in_domain) > 1 else {}
    sets |= {name: [name] for name in next(iter(tests[BASE].values())).benchmark.unique()}
    for method, runs in tests.items():
        own = estimate.of(method)
        for benchmark, names in sets.items():
            chosen, base = ([on(name, one) for name in names] for one in (runs, tests[BASE]))
            weights, weights_base = _weights(chosen), _weights(base)
            for name in lexicon.names:
                found, found_base = _cells(chosen, name), _cells(base, name)
                where = {"method": method, "benchmark": benchmark, "behaviour": name}
                few = found_base.sum() < FEW
                where |= {"count": int(found.sum()), "base_count": int(found_base.sum())}
                found, found_base = found * weights, found_base * weights_base
                below_base = _denominators(base, name, lexicon)
                for per, below in _denominators(chosen, name, lexicon).items():
                    row = where | {"per": per} | own(found, below * weights)
                    if method != BASE:
                        row |= {"few": bool(few)}
                        row |= _relative(found, below * weights, found_base, below_base[per] * weights_base, own)
                    yield row


def _cells(parts: list[Runs], column: str) -> Array:
    """(seeds, problems) of a column, the problems of one benchmark after those of another."""
    return np.concatenate([grid(part, column) for part in parts], 1)


def _weights(parts: list[Runs]) -> Array:
    """Of a response, (seeds, problems): all of one benchmark weigh together as much as all of another; 1 if there is
    but one."""
    sizes = [grid(part, "n") for part in parts]
    if len(sizes) == 1:
        return np.ones_like(sizes[0])
    return np.concatenate([np.full_like(size, 1 / size[0].sum()) for size in sizes], 1)


def _denominators(parts: list[Runs], name: str, lexicon: Lexicon) -> dict[str, Array]:
    """What occurrences are divided by, (seeds, problems) each."""
    below = {"response": _cells(parts, "n"), "1k tokens": _cells(parts, "tokens") / 1000}
    if name in lexicon.behaviours:
        return below
    return below | {"thought": np.sum([_cells(parts, kind) for kind in (*lexicon.thoughts, EXECUTION)], axis=0)}


def _relative(
    above: Array, below: Array, base_above: Array, base_below: Array, estimate: Estimator
) -> dict[str, float]:
    """The ratio of a rate to the base's rate."""
    base = ratio(base_above, base_below)
    low, high = relative_interval(above, below, base_above, base_below, estimate.resamples, estimate.rng)
    return {"ratio": ratio(above, below) / base if base > 0 else float("nan"), "ratio_low": low, "ratio_high": high}
