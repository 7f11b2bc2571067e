"""How runs rise and fall on dev: up to their peak, after it, and while their accuracy holds. Needs no torch.

The best of many evaluations looks better than it is. So a peak is chosen without what is measured at it: for each run
and half of the problems, by the other runs and the other half (one run alone: by the other half).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prerl.analysis.counts import AllRuns, Runs, grid
from prerl.analysis.curves import SPEED_REFERENCE, at_step, crossing, cube, curve_interval, ending
from prerl.analysis.scores import BASE, Estimator
from prerl.metrics import Array

Indices = NDArray[np.int64]
FIRST = 0.25  # the share of the planned updates over which a method is followed at least, whenever its peak is
OWN_BEST = "own best"
FINISHED = "finished response tokens"


def peak_columns(curves: Array) -> Indices:
    """curves (seeds, problems, steps) -> (seeds, problems): which evaluation is the best of each cell, as the other
    seeds and the other half of the problems say; the first of several."""
    seeds, problems, _ = curves.shape
    half, chosen = np.arange(problems) % 2, np.empty((seeds, problems), dtype=int)
    for seed in range(seeds):
        others = [other for other in range(seeds) if other != seed] or [seed]
        for side in (0, 1):
            unseen = curves[others][:, half != side].mean((0, 1))
            chosen[seed, half == side] = unseen.round(9).argmax()  # equal but for rounding is equal
    return chosen


def at_columns(curves: Array, columns: Indices) -> Array:
    """curves (seeds, problems, steps) at columns (seeds, problems)."""
    return np.take_along_axis(curves, columns[..., None], -1)[..., 0]


def peaks(dev: AllRuns, steps: list[int], estimate: Estimator) -> Iterator[dict[str, Any]]:
    """Paired differences of dev accuracy around each method's peak, rows as of `curves.changes`: at the peak to the
    base; after it, at the end to the peak; and before it to GRPO at the same steps, the mean of the evaluations up to
    the peak, or up to the first quarter of the updates if the peak is earlier."""
    values = {method: cube(runs, steps, "correct") for method, runs in dev.items()}
    first = max(1, sum(step <= FIRST * steps[-1] for step in steps) - 1)
    for method, mine in values.items():
        columns = peak_columns(mine)
        best, end = at_columns(mine, columns), mine[..., ending(steps)].mean(-1)
        where = {"method": method, "quantity": "accuracy"}
        chosen = {"steps": f"{steps[columns.min()]}-{steps[columns.max()]}"}
        own = estimate.of(method, "peak")
        yield where | {"window": "peak", "reference": BASE} | chosen | own.compare(best, mine[..., 0])
        yield where | {"window": "after the peak", "reference": "peak"} | chosen | own.compare(end, best)
        if SPEED_REFERENCE in values and method != SPEED_REFERENCE:
            place = np.arange(len(steps))
            inside = (place > 0) & (place <= np.maximum(columns, first)[..., None])
            means = [(curve * inside).sum(-1) / inside.sum(-1) for curve in (mine, values[SPEED_REFERENCE])]
            span = {"steps": f"{steps[1]}-{steps[max(columns.max(), first)]}"}
            yield where | {"window": "before the peak", "reference": SPEED_REFERENCE} | span | own.compare(*means)


def own_best(dev: AllRuns, steps: list[int], estimate: Estimator) -> Iterator[dict[str, Any]]:
    """Updates of each method to its own best dev accuracy, and how many times sooner than GRPO that is, rows as of
    `curves.speeds`. GRPO counts with the last update where it does not get there. A method without a sure gain, whose
    interval holds 0, has none: there is nothing to be reached."""
    if SPEED_REFERENCE not in dev:
        return
    its = cube(dev[SPEED_REFERENCE], steps, "correct")
    for method, runs in dev.items():
        mine = cube(runs, steps, "correct")
        best = at_columns(mine, peak_columns(mine))
        own = estimate.of(method, OWN_BEST)
        if method == SPEED_REFERENCE or own.compare(best, mine[..., 0])["low"] <= 0:
            continue

        def taken(mine: Array, best: Array) -> Array:
            return crossing(mine, steps, np.minimum(best[..., 0], mine.max(-1)))

        def sooner(mine: Array, best: Array, its: Array) -> Array:
            reached = crossing(its, steps, np.minimum(best[..., 0], mine.max(-1)))
            return np.minimum(reached, steps[-1]) / taken(mine, best)

        row = {"method": method, "reference": SPEED_REFERENCE, "target": OWN_BEST, "threshold": float(best.mean())}
        row |= curve_interval(taken, [mine, best[..., None]], own)
        speedup = curve_interval(sooner, [mine, best[..., None], its], own)
        yield row | {f"speedup_{name}": speedup[name] for name in ("estimate", "low", "high", "freedom")}


def held(curves: Array) -> int:
    """The last evaluation of curves (seeds, problems, steps) at which mean accuracy is not below that at the start."""
    mean = curves.mean((0, 1))
    return int(np.flatnonzero(mean >= mean[0] - 1e-9)[-1])


def ratios(dev: AllRuns, steps: list[int], behaviours: list[str], estimate: Estimator) -> Iterator[dict[str, Any]]:
    """What a method does to its responses while its accuracy holds: at the last update at which it is not below the
    base's, occurrences of each behaviour per response, and the tokens of responses that finished, over the base's and
    over GRPO's after as many updates. A method that is never again as accurate as the base has none.

    count, reference_count: what the two rates count, occurrences or finished responses.
    """
    for method, runs in dev.items():
        step = steps[held(cube(runs, steps, "correct"))]
        others = {BASE: at_step(runs, 0)}
        if method != SPEED_REFERENCE and SPEED_REFERENCE in dev:
            others[SPEED_REFERENCE] = at_step(dev[SPEED_REFERENCE], step)
        for reference, its in others.items() if step else ():
            for quantity in (*behaviours, FINISHED):
                counted = "finished" if quantity == FINISHED else quantity
                row = {"method": method, "quantity": quantity, "reference": reference, "step": step}
                row |= {"count": int(grid(at_step(runs, step), counted).sum())}
                row |= {"reference_count": int(grid(its, counted).sum())}
                mine, base = _rate(at_step(runs, step), quantity), _rate(its, quantity)
                yield row | estimate.of(method, quantity, reference).relative(*mine, *base)


def _rate(runs: Runs, quantity: str) -> tuple[Array, Array]:
    """What is counted and what it is divided by, (seeds, problems) each."""
    names = ("finished_tokens", "finished") if quantity == FINISHED else (quantity, "n")
    return grid(runs, names[0]), grid(runs, names[1])
