"""Dev evaluations along training: curves, paired changes, and how soon a method learns. Needs no torch."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from prerl.analysis.counts import AllRuns, Counts, Runs, grid
from prerl.analysis.scores import BASE, Estimator
from prerl.metrics import Array, ratio, resample_weights, stretched_interval
from prerl.resampling import interval_freedom

END = 1 / 6  # the share of the planned updates whose evaluations are the end: one alone is noisier than their mean
SPEED_REFERENCE = "grpo"
HALF = "50 %"
TARGETS = {"25 %": 0.25, HALF: 0.5, "75 %": 0.75, "90 %": 0.9}  # shares of GRPO's gain
FURTHER = {"psr-prerl": ("psr-rl",)}  # other methods that a claim compares one with, at the end


def at_step(dev: Runs, step: int) -> Runs:
    """Each seed's counts at a step. A run that stopped for want of a signal keeps its last ones."""

    def last(run: Counts) -> Counts:
        return run.loc[run["step"] == run["step"][run["step"] <= step].max()]

    return {seed: last(run) for seed, run in dev.items()}


def at_start(dev: AllRuns) -> AllRuns:
    """What every run has: the evaluation of the base."""
    return {method: at_step(runs, 0) for method, runs in dev.items()}


def curves(dev: AllRuns, steps: list[int], behaviours: list[str], estimate: Estimator) -> Iterator[dict[str, Any]]:
    """A row a method, step and quantity (accuracy, response tokens, entropy in nats a token, finished, behaviours per
    response and per 1k tokens): with an interval over all seeds, and for each seed one without, with a column seed."""
    for method, runs in dev.items():
        own = estimate.of(method)
        for step in steps:
            now = at_step(runs, step)
            responses, tokens = grid(now, "n"), grid(now, "tokens")
            quantities = {
                "accuracy": (grid(now, "correct"), responses),
                "response tokens": (tokens, responses),
                "entropy": (grid(now, "nats"), tokens),
                "finished": (grid(now, "finished"), responses),
            }
            for behaviour in behaviours:
                count = grid(now, behaviour)
                quantities[f"{behaviour} per 1k tokens"] = (1000 * count, tokens)
                quantities[f"{behaviour} per response"] = (count, responses)
            for quantity, (above, below) in quantities.items():
                where = {"method": method, "step": step, "quantity": quantity}
                yield where | own(above, below)
                for row, seed in enumerate(runs):
                    yield where | {"seed": seed, "estimate": ratio(above[row : row + 1], below[row : row + 1])}


def ending(steps: list[int]) -> list[int]:
    """Which of the steps are the end of training: the columns of those in its last sixth, the last one at least."""
    return [column for column, step in enumerate(steps) if step > (1 - END) * steps[-1]]


def changes(dev: AllRuns, steps: list[int], estimate: Estimator) -> Iterator[dict[str, Any]]:
    """Paired differences on the same dev problems, of accuracy and response tokens, at the end of training, the mean of
    the evaluations in the last sixth of the updates: to the base, to GRPO and to what FURTHER names, at the same
    steps."""
    columns = ending(steps)
    span = {"window": "end", "steps": f"{steps[columns[0]]}-{steps[columns[-1]]}"}
    for quantity, column in {"accuracy": "correct", "response tokens": "tokens"}.items():
        values = {method: cube(runs, steps, column) for method, runs in dev.items()}
        ends = {method: value[..., columns].mean(-1) for method, value in values.items()}
        for method, mine in ends.items():
            own, where = estimate.of(method, quantity, "end"), {"method": method, "quantity": quantity, **span}
            yield where | {"reference": BASE} | own.compare(mine, values[method][..., 0])
            for other in (SPEED_REFERENCE, *FURTHER.get(method, ())):
                if other in ends and method != other:
                    yield where | {"reference": other} | own.compare(mine, ends[other])


def at_equal_tokens(
    dev: AllRuns, spent: dict[str, dict[int, Array]], steps: list[int], estimate: Estimator
) -> Iterator[dict[str, Any]]:
    """Dev accuracy less GRPO's when both have sampled the same number of tokens in training: as many as the one of the
    two that took fewer, in the mean of its runs; linear between evaluations. Yields nothing without GRPO.

    `spent`: each run's tokens before the dev evaluation at each of the steps. A run that took fewer than all of them
    counts with its last evaluation.
    """
    if SPEED_REFERENCE not in dev:
        return
    reference = cube(dev[SPEED_REFERENCE], steps, "correct")
    for method, runs in dev.items():
        if method == SPEED_REFERENCE:
            continue
        budget = min(float(np.mean([run[-1] for run in spent[name].values()])) for name in (method, SPEED_REFERENCE))
        shares = []
        for name, curve in ((method, cube(runs, steps, "correct")), (SPEED_REFERENCE, reference)):
            # of each evaluation in the value at the budget, which is linear in them: (seeds, steps)
            parts = [[np.interp(budget, run, one) for one in np.eye(len(steps))] for run in spent[name].values()]
            shares.append(np.einsum("spt,st->sp", curve, np.array(parts)))
        own = estimate.of(method, "accuracy", "equal tokens")
        where = {"method": method, "quantity": "accuracy", "window": "equal tokens", "tokens": budget}
        yield where | {"reference": SPEED_REFERENCE} | own.compare(*shares)


def tokens_spent(log: pd.DataFrame, steps: list[int]) -> Array:
    """Tokens that a run had sampled in training before each of the steps, by its log."""
    return np.array([float(log["tokens"][log["step"] <= step].sum()) for step in steps])


def speeds(
    dev: AllRuns, steps: list[int], estimate: Estimator, targets: Sequence[str] = (HALF,)
) -> Iterator[dict[str, Any]]:
    """Updates to parts of GRPO's gain (from the base to the best of GRPO's mean dev curve), and how many times sooner
    than GRPO that is, with intervals over seeds and problems; infinite steps, and a speed-up of 0, are "never". Yields
    nothing without GRPO, or without a sure gain of it: where more than one in 40 resamples has none, a part of it is
    nothing to be reached. `targets` are names in TARGETS."""
    if SPEED_REFERENCE not in dev:
        return
    values = {method: cube(runs, steps, "correct") for method, runs in dev.items()}
    reference = values[SPEED_REFERENCE]
    sure = curve_interval(gain, [reference], estimate.of("gain"))
    if min(sure["estimate"], sure["low"]) <= 0:
        return
    for method, mine in values.items():
        for target in targets:
            share = TARGETS[target]

            def taken(mine: Array, its: Array, share: float = share) -> Array:
                return np.where(gain(its) > 0, crossing(mine, steps, part_way(its, share)), np.nan)

            def sooner(mine: Array, its: Array, taken: Callable[[Array, Array], Array] = taken) -> Array:
                return taken(its, its) / taken(mine, its)

            threshold = float(part_way(reference.mean((0, 1)), share))
            row = {"method": method, "reference": SPEED_REFERENCE, "target": target, "threshold": threshold}
            own = estimate.of(method, target)
            row |= curve_interval(taken, [mine, reference], own)
            speedup = curve_interval(sooner, [mine, reference], own)
            yield row | {f"speedup_{name}": speedup[name] for name in ("estimate", "low", "high", "freedom")}


def gain(curves: Array) -> Array:
    """What curves (..., steps) gain from the start to their best; 0 for what rounding alone makes of it."""
    gained = curves.max(-1) - curves[..., 0]
    return np.where(gained > 1e-9, gained, 0.0)


def part_way(curves: Array, share: float) -> Array:
    """That share of the way from the start to the best of curves (..., steps)."""
    return (1 - share) * curves[..., 0] + share * curves.max(-1)


def cube(runs: Runs, steps: list[int], column: str) -> Array:
    """Means over each problem's responses: (seeds, problems, steps)."""
    chosen = [at_step(runs, step) for step in steps]
    return np.stack([grid(now, column) / grid(now, "n") for now in chosen], axis=-1)


def crossing(curves: Array, steps: Sequence[int], threshold: Array | float) -> Array:
    """When curves (..., steps) first reach their threshold (...), linear between evaluations; infinity if never."""
    threshold = np.asarray(threshold)
    above = curves >= threshold[..., None]
    index = above.argmax(-1)
    before = np.maximum(index - 1, 0)
    y0, y1 = (np.take_along_axis(curves, i[..., None], -1)[..., 0] for i in (before, index))
    x0, x1 = np.asarray(steps, dtype=float)[before], np.asarray(steps, dtype=float)[index]
    rise = np.where(y1 > y0, y1 - y0, 1.0)
    reached = np.where(index == 0, x1, x0 + (x1 - x0) * (threshold - y0) / rise)
    return np.where(above.any(-1), reached, np.inf)


def curve_interval(
    statistic: Callable[..., Array], cubes: list[Array], estimator: Estimator, level: float = 0.95
) -> dict[str, Any]:
    """estimate, low, high, sizes and degrees of freedom of a positive statistic of mean curves (resamples, steps), one
    a cube (seeds, problems, steps); seeds and problems are resampled together in all cubes.

    Stretched for few seeds as all intervals are, on the logarithm, with jackknife influences; where a resample gives no
    finite logarithm the bare percentiles are returned, which with three seeds are too narrow, and where too many
    resamples give none at all, 0 and infinity.
    """
    seeds, problems, _ = cubes[0].shape
    weights = resample_weights(seeds, problems, estimator.resamples, estimator.rng)
    whole = (np.ones((1, seeds)), np.ones((1, problems)))
    without_seed = (1 - np.eye(seeds), np.ones((seeds, problems)))
    without_problem = (np.ones((problems, seeds)), 1 - np.eye(problems))

    def value(of_seeds: Array, of_problems: Array) -> Array:
        size = of_seeds.sum(1) * of_problems.sum(1)
        means = [
            np.einsum("rs,rp,spt->rt", of_seeds, of_problems, cube, optimize=True) / size[:, None] for cube in cubes
        ]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(statistic(*means))

    point, resampled = float(value(*whole)[0]), value(*weights)
    freedom = float(seeds - 1 if seeds > 1 else problems - 1)  # where no influences tell
    tail = (1 + level) / 2
    if seeds > 1 and np.isfinite([point, *resampled]).all():
        by_seed = (seeds - 1) * (point - value(*without_seed))
        by_problem = (problems - 1) * (point - value(*without_problem))
        influence = (by_seed - by_seed.mean())[:, None] + (by_problem - by_problem.mean())
        if np.isfinite(influence).all():
            low, high = stretched_interval(point, resampled, influence, level)
            freedom = interval_freedom(influence)
        else:
            low, high = np.quantile(resampled, [1 - tail, tail])
    else:
        # A resample in which there is nothing to reach says nothing: it could lie at either end.
        low, high = (
            np.quantile(np.nan_to_num(resampled, nan=unknown, posinf=np.inf, neginf=-np.inf), at, method="inverted_cdf")
            for unknown, at in ((-np.inf, 1 - tail), (np.inf, tail))
        )
    with np.errstate(over="ignore"):  # a bound beyond all numbers is infinite
        estimate, low, high = (float(value) for value in np.exp([point, low, high]))
    sizes = {"seeds": seeds, "problems": problems, "freedom": freedom}
    return {"estimate": estimate, "low": low, "high": high} | sizes
