"""How sure a difference of two methods is: replicates, problems, and what other methods say of the spread.

A replicate is the whole pipeline from one seed: a base model, and every method's run from it. What the base gives to
all methods cancels in a difference; what is left is the interaction of method and replicate. Its variance is

- of the baselines pooled, by the residual of the additive layout method + replicate, over all those whose spreads are
  alike. A baseline is left out, the most deviating first, while the F test of what it adds to the residual against that
  of the others, two-sided, has p < OUTLYING / (number of baselines): a collapsed one spreads otherwise.
- of the new method its own, by what it adds to that residual. No test decides on that, so that a method that spreads
  more, or less, than the baselines keeps its level; the price is some degrees of freedom (Welch 1947).

To that comes the part of the problems, which all replicates share. The residual of single cells is counted once, with
the replicates. Degrees of freedom are Satterthwaite's (1946). Against a baseline that is left out, and against the
base, the pair's own differences by replicate are all that is used, with a degree less than replicates.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy import special

from prerl.metrics import Array
from prerl.resampling import crossed_parts

OUTLYING = 0.05  # of all tests together
FOUND = 0.8  # the chance to find what counts as detectable

Cells = dict[int, list[Array]]  # by replicate: the values of all problems (problems,), an array a benchmark
Values = dict[str, dict[int, float]]  # by method and replicate: the mean over benchmarks


def value(cells: list[Array]) -> float:
    """The mean over benchmarks of the means over problems."""
    return float(np.mean([one.mean() for one in cells]))


@dataclass(frozen=True)
class Difference:
    """The new method less another, with the parts of its variance and the degrees of freedom of each."""

    estimate: float
    of_replicates: Sequence[tuple[float, float]]  # (variance, degrees of freedom)
    of_problems: Sequence[tuple[float, float]]
    variance: str  # pooled, own (of the pair's differences), or problems (of a single replicate without a pool)
    seeds: list[int]  # that both have
    problems: int

    @cached_property
    def error(self) -> float:
        """Standard error."""
        return math.sqrt(sum(part for part, _ in [*self.of_replicates, *self.of_problems]))

    @cached_property
    def freedom(self) -> float:
        """Degrees of freedom of the squared standard error."""
        if self.variance == "own":
            return self.of_replicates[0][1]
        parts = [*self.of_replicates, *self.of_problems]
        below = sum(part**2 / freedom for part, freedom in parts)
        return self.error**4 / below if below > 0 else float(sum(freedom for _, freedom in parts))

    def interval(self, level: float) -> tuple[float, float]:
        """That holds with this level, within what a difference of shares can be."""
        reach = float(special.stdtrit(self.freedom, (1 + level) / 2)) * self.error
        return max(self.estimate - reach, -1.0), min(self.estimate + reach, 1.0)

    def detectable(self, level: float) -> float:
        """The true difference whose interval of this level lies beyond 0 with a chance of FOUND."""
        return detectable(self.error, self.freedom, level)


def detectable(error: float, freedom: float, level: float) -> float:
    """The true difference that a t test of this level finds with a chance of FOUND, by noncentral t."""
    if error == 0:
        return 0.0
    bound = float(special.stdtrit(freedom, (1 + level) / 2))
    return error * float(special.nctdtrinc(freedom, 1 - FOUND, bound))


@dataclass(frozen=True)
class Added:
    """What a method adds to the residual of others: a sum of squares whose expectation is own * its variance + pooled *
    theirs, with own + pooled degrees of freedom."""

    square: float
    own: float
    pooled: float

    @property
    def freedom(self) -> float:
        return round(self.own + self.pooled, 6)


class Pool:
    """The baselines whose spreads over replicates are alike; see the module."""

    def __init__(self, values: Values) -> None:
        self.values = {name: runs for name, runs in values.items() if len(runs) > 1}
        self.outlying: list[str] = []
        while len(self.values) > 2:
            chances = self._chances()
            name = min(chances, key=chances.__getitem__)
            if chances[name] >= OUTLYING / len(self.values):
                break
            self.outlying.append(name)
            del self.values[name]
        square, freedom = _residual(list(self.values.values()))
        self.freedom = freedom  # of the variance
        self.variance = (
            square / freedom if freedom else 0.0
        )  # of a method's value in a replicate, the shared part aside

    def _chances(self) -> dict[str, float]:
        """p of the two-sided F test of each method's spread against that of the others."""
        whole, all_freedom = _residual(list(self.values.values()))
        found = {}
        for name in self.values:
            square, freedom = _residual([runs for other, runs in self.values.items() if other != name])
            added, own_freedom = max(whole - square, 0.0), all_freedom - freedom
            if not freedom or not own_freedom:
                found[name] = 1.0
            elif square == 0:
                found[name] = float(added == 0)
            else:
                below = float(special.fdtr(own_freedom, freedom, added / own_freedom / (square / freedom)))
                found[name] = 2 * min(below, 1 - below)
        return found

    def added(self, runs: dict[int, float]) -> Added:
        """What a new method adds to the residual, from the replicates that a method of the pool has too."""
        return _added(self.values, runs)

    def of_replicates(self, runs: dict[int, float], size: int) -> list[tuple[float, float]]:
        """The variance of the difference of a new method and one of the pool over so many replicates, with its degrees
        of freedom: the new method's own, and what of the pool's is not in that already. None if neither has been seen
        to vary.

        Degrees of freedom are those of a new method that varies at least as the pool does: one that varies less by
        chance would be given too many, just where its variance is too small.
        """
        added = self.added(runs)
        if not added.freedom or not added.own:  # of one replicate nothing is known but what others vary
            return [(2 * self.variance / size, self.freedom)] if self.freedom else []
        own, more = added.square / added.own, added.pooled / added.own
        rest, least = self.variance * (1 - more), self.variance * (1 + more)
        if not self.freedom or rest < 1e-9 * self.variance:
            return [(own / size, added.freedom)]
        counted = max(own, least)
        below = counted**2 / added.freedom + rest**2 / self.freedom
        return [((own + rest) / size, (counted + rest) ** 2 / below if below else added.freedom + self.freedom)]

    def spread(self, runs: dict[int, float]) -> float:
        """The variance of a new method's value in a replicate, the part shared by all methods aside; at least 0, and
        that of the pool where a single replicate tells nothing."""
        added = self.added(runs)
        if not added.freedom or not added.own:
            return self.variance
        return max((added.square - added.pooled * self.variance) / added.own, 0.0)


def compare_cells(mine: Cells, its: Cells, pool: Pool | None, name: str) -> Difference:
    """The new method less the method `name`, which is pooled if it is in the pool.

    Paired by the replicates that both have; a model without replicates, a single one, is compared with each. Raises
    ValueError if they have none in common.
    """
    seeds = list(mine) if len(its) == 1 else [seed for seed in mine if seed in its]
    if not seeds:
        raise ValueError(f"{name}: no replicate in common")
    only = next(iter(its.values()))
    blocks = [
        np.array([mine[seed][place] - its.get(seed, only)[place] for seed in seeds]) for place in range(len(only))
    ]
    by_problem = [(part / len(blocks) ** 2, freedom) for part, freedom in map(_of_problems, blocks)]
    estimate = float(np.mean([block.mean() for block in blocks]))
    sizes = (seeds, sum(block.shape[1] for block in blocks))
    if pool and name in pool.values:
        parts = pool.of_replicates({seed: value(cells) for seed, cells in mine.items()}, len(seeds))
        if parts:
            return Difference(estimate, parts, by_problem, "pooled", *sizes)
    if len(seeds) == 1:
        return Difference(estimate, [], by_problem, "problems", *sizes)
    means = np.mean([block.mean(1) for block in blocks], axis=0)
    by_seed = (float(means.var(ddof=1)) / len(seeds), len(seeds) - 1)
    return Difference(estimate, [by_seed], by_problem, "own", *sizes)


def _of_problems(block: Array) -> tuple[float, int]:
    """What the problems of a benchmark, (seeds, problems), add to the variance; nothing where there is one."""
    return crossed_parts(block)[-1] if block.shape[1] > 1 else (0.0, 1)


def _residual(methods: list[dict[int, float]]) -> tuple[float, int]:
    """Sum of squares and degrees of freedom that the additive layout of methods and replicates leaves."""
    operator = _operator(tuple(tuple(runs) for runs in methods))
    values = np.array([value for runs in methods for value in runs.values()])
    square, freedom = float(values @ operator @ values), round(float(np.trace(operator)))
    return (square if square > 1e-14 * float(values @ values) else 0.0), freedom  # else it is what rounding leaves


def _added(others: Values, runs: dict[int, float]) -> Added:
    there = {seed for other in others.values() for seed in other}
    runs = {seed: value for seed, value in runs.items() if seed in there}
    if not runs:
        return Added(0.0, 0.0, 0.0)
    square, _ = _residual([*others.values(), runs])
    before, freedom = _residual(list(others.values()))
    whole = _operator(tuple(tuple(other) for other in (*others.values(), runs)))
    own = float(np.trace(whole[-len(runs) :, -len(runs) :]))
    return Added(max(square - before, 0.0), own, float(np.trace(whole)) - own - freedom)


@lru_cache(maxsize=1024)
def _operator(layout: tuple[tuple[int, ...], ...]) -> Array:
    """What makes residuals of the values of methods, each with these replicates, (cells, cells)."""
    cells = [(row, seed) for row, seeds in enumerate(layout) for seed in seeds]
    columns = sorted({seed for _, seed in cells})
    design = np.zeros((len(cells), len(layout) + len(columns)))
    for place, (row, seed) in enumerate(cells):
        design[place, row] = design[place, len(layout) + columns.index(seed)] = 1
    return np.eye(len(cells)) - design @ np.linalg.pinv(design)
