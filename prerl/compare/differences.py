"""Differences of a new method from the baselines, a row a baseline, benchmark and metric."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from prerl.analysis.counts import AllRuns, Runs
from prerl.analysis.scores import ALL, BASE, by_benchmark, pass_at
from prerl.compare.levels import each_of
from prerl.compare.variance import Cells, Difference, Pool, compare_cells, value
from prerl.metrics import Array

LEVEL = 0.95
PRIMARY = "grpo"  # the one comparison that counts for itself
END = 0.02  # a share of right responses below which a benchmark is at its floor; above 1 - END it is at its ceiling


def at_an_end(tests: AllRuns, others: list[str], benchmarks: list[str]) -> dict[str, str]:
    """The benchmarks on which both the base and the best of the other methods have less than END of responses right
    ("floor"), or more than 1 - END ("ceiling"): no method can be told apart there, so the mean leaves them out. None
    where that would leave nothing. By the baselines alone, so the same for every new method."""
    found = {}
    shares = {
        name: {benchmark: float(right.mean()) / n for benchmark, right, n in by_benchmark(tests[name])}
        for name in (BASE, *others)
    }
    for benchmark in benchmarks:
        base, best = shares[BASE][benchmark], max(shares[name][benchmark] for name in others)
        if max(base, best) < END:
            found[benchmark] = "floor"
        elif min(base, best) > 1 - END:
            found[benchmark] = "ceiling"
    return found if len(found) < len(benchmarks) else {}


@dataclass(frozen=True)
class Measured:
    """What is compared: a benchmark (or all that count), a metric and its k, of so many responses a problem."""

    benchmark: str
    metric: str
    k: int
    n: int
    cells: dict[str, Cells]  # by method


def measured(tests: AllRuns, benchmarks: list[str]) -> Iterator[Measured]:
    """First avg over the given benchmarks, each with the same weight; then avg and pass at n of every single one."""
    found: dict[str, list[tuple[str, Array, int]]] = {name: list(by_benchmark(runs)) for name, runs in tests.items()}
    orders = {name: [benchmark for benchmark, _, _ in one] for name, one in found.items()}
    first = next(iter(orders.values()))
    if wrong := [name for name, order in orders.items() if order != first]:
        raise RuntimeError(f"{wrong[0]}: benchmarks in another order than {next(iter(orders))}")
    sizes = {benchmark: n for benchmark, _, n in next(iter(found.values()))}

    def by_replicate(runs: Runs, blocks: list[Array]) -> Cells:
        return {seed: [block[row] for block in blocks] for row, seed in enumerate(runs)}

    least = min(sizes[benchmark] for benchmark in benchmarks)
    means = {name: [right / n for benchmark, right, n in one if benchmark in benchmarks] for name, one in found.items()}
    yield Measured(ALL, "avg", least, least, {name: by_replicate(runs, means[name]) for name, runs in tests.items()})
    for place, (benchmark, n) in enumerate(sizes.items()):
        for metric in ("avg", "pass"):
            cells = {}
            for name, runs in tests.items():
                right = found[name][place][1]
                cells[name] = by_replicate(runs, [right / n if metric == "avg" else pass_at(n, right, n)])
            yield Measured(benchmark, metric, n, n, cells)


def versus(
    tests: AllRuns, name: str, others: list[str], benchmarks: list[str], level: float = LEVEL
) -> Iterator[dict[str, Any]]:
    """The method `name` minus the base and each of `others`; `benchmarks` are what counts as all.

    Over all benchmarks, PRIMARY is compared at `level` and the others so that all their intervals hold at once with it:
    that gives sure_low, sure_high and a verdict. Intervals low, high are of 95 %, each for itself. `detectable` is what
    is found with 80 %, at the level that the verdict goes by, or at 95 % where there is none.
    """
    for one in measured(tests, benchmarks):
        pool = Pool({key: {seed: value(cells) for seed, cells in one.cells[key].items()} for key in others})
        mine = one.cells[name]
        differences = {
            key: compare_cells(mine, one.cells[key], None if key == BASE else pool, key) for key in (BASE, *others)
        }
        levels = sure_levels(differences, one.cells, name, pool, level) if one.benchmark == ALL else {}
        for key, found in differences.items():
            low, high = found.interval(LEVEL)
            row = {"method": name, "baseline": key, "benchmark": one.benchmark, "n": one.n, "metric": one.metric}
            row |= {"k": one.k, "estimate": found.estimate, "low": low, "high": high}
            row |= {"seeds": len(found.seeds), "problems": found.problems, "variance": found.variance}
            row |= {"freedom": found.freedom, "detectable": found.detectable(levels.get(key, LEVEL))}
            if key in levels:
                low, high = found.interval(levels[key])
                verdict = "better" if low > 0 else "worse" if high < 0 else "undecided"
                row |= {"level": levels[key], "sure_low": low, "sure_high": high, "verdict": verdict}
            yield row


def sure_levels(
    differences: dict[str, Difference], cells: dict[str, Cells], name: str, pool: Pool, level: float
) -> dict[str, float]:
    """The level of the interval against each baseline by which it is decided: of PRIMARY the given one, of the others
    such that all of theirs hold at once with it."""
    family = [key for key in differences if key not in (BASE, PRIMARY)]
    levels = {PRIMARY: level} if PRIMARY in differences else {}
    if family:
        chosen = [differences[key] for key in family]
        own = pool.spread({seed: value(one) for seed, one in cells[name].items()})
        each = each_of(chosen, correlation(chosen, [cells[key] for key in family], cells[name], own), level)
        levels |= dict.fromkeys(family, each)
    return levels


def correlation(differences: list[Difference], others: list[Cells], mine: Cells, own: float) -> Array:
    """How the differences of one method from others go together: all have its own noise, `own`, its variance in a
    replicate, and what it is on single problems. -> (comparisons, comparisons)"""
    size = len(differences)
    common, problems = np.zeros((size, size)), []
    for one, its in zip(differences, others, strict=True):
        only = next(iter(its.values()))
        blocks = [np.mean([mine[s][b] - its.get(s, only)[b] for s in one.seeds], axis=0) for b in range(len(only))]
        problems.append(np.concatenate([(block - block.mean()) / block.size for block in blocks]) / len(blocks))
    for row, one in enumerate(differences):
        for column, other in enumerate(differences):
            shared = len(set(one.seeds) & set(other.seeds)) / (len(one.seeds) * len(other.seeds))
            common[row, column] = own * shared
    noise = np.array([sum(part for part, _ in one.of_problems) for one in differences])
    raw = np.array(problems) @ np.array(problems).T
    scale = np.sqrt(np.divide(noise, raw.diagonal(), out=np.zeros(size), where=raw.diagonal() > 0))
    common += raw * scale * scale[:, None]
    rest = np.array([one.error**2 for one in differences]) - common.diagonal()
    covariance = common + np.diag(rest.clip(1e-12))
    deviation = np.sqrt(covariance.diagonal())
    return covariance / deviation / deviation[:, None]
