"""Scores of the test benchmarks with intervals, and their comparison. Needs no torch."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from prerl.analysis.counts import AllRuns, Runs, by_column, grid, on
from prerl.errors import UserError
from prerl.metrics import (
    Array,
    bayes_interval,
    difference_interval,
    exact_interval,
    pass_at_k,
    ratio,
    ratio_interval,
    relative_influence,
    relative_interval,
    spread,
    spread_interval,
)
from prerl.resampling import interval_freedom
from prerl.seeds import seed_of

BASE = "base"
IN_DOMAIN = "in domain"  # the mean over a scale's in-domain benchmarks, each with the same weight, where it has several
ALL = "all benchmarks"  # their mean, each with the same weight
SPREAD_RESAMPLES = 400  # enough for the two digits that matter
ENDS = ("low", "high")
REFERENCES = (BASE, "grpo")  # what every method is compared with, where the scale has it
FURTHER = {"nsr-rl-grpo": ("dsrl",)}  # other references, and the methods that a claim compares with them


class Estimator:
    """Estimates with bootstrap intervals from one random stream.

    A table, and in it a method, has a stream of its own (`of`): what else is estimated moves none of its intervals.
    """

    def __init__(self, resamples: int, rng: np.random.Generator) -> None:
        self.resamples, self.rng = resamples, rng

    def of(self, *names: str) -> "Estimator":
        """One with a stream that depends on these names and on this one's seed, not on what was drawn before."""
        seed = self.rng.bit_generator.seed_seq
        assert isinstance(seed, np.random.SeedSequence)  # as numpy's generators have by default
        own = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, seed_of(*names)))
        return Estimator(self.resamples, np.random.default_rng(own))

    def __call__(self, numerator: Array, denominator: Array) -> dict[str, Any]:
        """numerator, denominator (seeds, problems) -> estimate, low, high and the sizes."""
        low, high = ratio_interval(numerator, denominator, self.resamples, self.rng)
        seeds, problems = numerator.shape
        estimate = ratio(numerator, denominator)
        return {"estimate": estimate, "low": low, "high": high, "seeds": seeds, "problems": problems}

    def share(self, numerator: Array, denominator: Array, of: int) -> dict[str, Any]:
        """numerator, denominator (seeds, problems) -> estimate, low, high and the sizes, of a share. Where it is 0 or
        1, and a bootstrap has no width, the interval is the exact one of 0 or all among `of`."""
        found = self(numerator, denominator)
        if found["estimate"] in (0.0, 1.0):
            found["low"], found["high"] = exact_interval(round(of * found["estimate"]), of)
        return found

    def compare(self, first: Array, second: Array) -> dict[str, Any]:
        """first - second, (seeds, problems) each, or one row for a model without seeds."""
        low, high = difference_interval(first, second, self.resamples, self.rng)
        return {
            "estimate": float(first.mean() - second.mean()),
            "low": low,
            "high": high,
            "seeds": len(first),
            "problems": first.shape[1],
            "freedom": interval_freedom(first - second),
        }

    def relative(self, above: Array, below: Array, base_above: Array, base_below: Array) -> dict[str, Any]:
        """The ratio of sums above / below over that of the base, see `metrics.relative_interval`: estimate, low, high,
        the sizes and the degrees of freedom; NaN where the base's is 0 or one of the two has no denominator."""
        seeds, problems = above.shape
        sizes = {"seeds": seeds, "problems": problems}
        if min(float(cells.sum()) for cells in (below, base_above, base_below)) <= 0:
            return dict.fromkeys(("estimate", *ENDS), math.nan) | sizes | {"freedom": math.nan}
        low, high = relative_interval(above, below, base_above, base_below, self.resamples, self.rng)
        freedom = math.nan
        if above.sum() > 0:
            freedom = interval_freedom(relative_influence(above, below, base_above, base_below))
        estimate = ratio(above, below) / ratio(base_above, base_below)
        return {"estimate": estimate, "low": low, "high": high} | sizes | {"freedom": freedom}


def check_alike(measured: AllRuns) -> None:
    """Raises UserError unless all runs have the same number of responses to the same problems of each benchmark (or dev
    evaluation), which is how they are paired."""
    if not measured:  # dev evaluations of a study of the base alone
        return
    by = by_column(next(run for runs in measured.values() for run in runs.values()))
    file = "samples.parquet" if by == "benchmark" else "dev.parquet"
    sizes = {
        f"{method}/seed{seed}/{file}": run.set_index([by, "problem"])["n"].sort_index()
        for method, runs in measured.items()
        for seed, run in runs.items()
    }
    (first, wanted), *others = sizes.items()
    for name, found in others:
        both = pd.concat([wanted, found], axis=1, keys=["there", "here"]).fillna(0).astype(int)
        if len(parted := both[both["there"] != both["here"]]):
            (place, problem), (there, here) = parted.index[0], parted.iloc[0]
            raise UserError(
                f"{name}: {here} responses to problem {problem} of {by} {place}, {there} in {first}: runs to be "
                "compared must answer the same problems equally often; delete the file that differs and run again"
            )


def by_benchmark(runs: Runs) -> Iterator[tuple[str, Array, int]]:
    """Each benchmark's name, right responses (seeds, problems) and number of responses a problem. Raises UserError if
    that is not the same for all."""
    for benchmark in next(iter(runs.values()))["benchmark"].unique():
        chosen = on(benchmark, runs)
        sizes = grid(chosen, "n")
        if sizes.min() < sizes.max():
            raise UserError(f"{benchmark}: {sizes.min():.0f} to {sizes.max():.0f} responses a problem: not comparable")
        yield benchmark, grid(chosen, "correct"), int(sizes.max())


def pass_at(k: int, right: Array, n: int) -> Array:
    """pass@k (seeds, problems), from the right responses (seeds, problems) among n."""
    by_count = np.array([pass_at_k(n, count, k) for count in range(n + 1)])
    return by_count[right.astype(int)]


def averaged(runs: Runs, names: list[str]) -> tuple[Array, Array, int]:
    """avg@n of all problems of the named benchmarks and their weights, (seeds, problems) each, in which every benchmark
    has the same sum; and the smallest n."""
    chosen = [(right / n, n) for benchmark, right, n in by_benchmark(runs) if benchmark in names]
    return *_joined([share for share, _ in chosen]), min(n for _, n in chosen)


def passed(runs: Runs, names: list[str]) -> tuple[Array, Array, int]:
    """pass@k of all problems of the named benchmarks, their weights as in `averaged`, and k, the smallest n."""
    chosen = [(right, n) for benchmark, right, n in by_benchmark(runs) if benchmark in names]
    k = min(n for _, n in chosen)
    return *_joined([pass_at(k, right, n) for right, n in chosen]), k


def _joined(parts: list[Array]) -> tuple[Array, Array]:
    """The problems of one benchmark after those of another, and their weights, of mean 1: every benchmark's have the
    same sum."""
    weights = np.concatenate([np.full_like(part, 1 / part.shape[1]) for part in parts], 1)
    return np.concatenate(parts, 1), weights / weights.mean()


def scores(tests: AllRuns, estimate: Estimator, together: list[str], name: str = IN_DOMAIN) -> Iterator[dict[str, Any]]:
    """A row a method, benchmark and metric, all in [0, 1]: avg (the mean score), maj (right by majority, where that is
    known of every method), solved (right each time), pass at k = 1, 2, 4, ... up to n; and under `name` the avg of the
    benchmarks `together`, if several."""
    voted = all("majority" in run for runs in tests.values() for run in runs.values())
    for method, runs in tests.items():
        own = estimate.of(method)
        if len(together) > 1:
            share, weights, n = averaged(runs, together)
            where = {"method": method, "benchmark": name, "n": n, "metric": "avg", "k": n}
            yield where | own(share * weights, weights)
        for benchmark, right, n in by_benchmark(runs):
            where, ones = {"method": method, "benchmark": benchmark, "n": n}, np.ones_like(right)
            bayes_low, bayes_high = bayes_interval(right, n)
            average = own(right / n, ones)
            yield where | {"metric": "avg", "k": n} | average | {"bayes_low": bayes_low, "bayes_high": bayes_high}
            size = right.shape[1]
            if voted:
                majority = grid(on(benchmark, runs), "majority")
                yield where | {"metric": "maj", "k": n} | own.share(majority, ones, size)
            yield where | {"metric": "solved", "k": n} | own.share((right == n).astype(float), ones, size)
            for k in [2**power for power in range(n.bit_length()) if 2**power <= n]:
                yield where | {"metric": "pass", "k": k} | own.share(pass_at(k, right, n), ones, size)


def comparisons(tests: AllRuns, estimate: Estimator, in_domain: list[str]) -> Iterator[dict[str, Any]]:
    """A row a method, reference (the base, GRPO; what FURTHER names), benchmark and metric (avg, pass at n): the method
    minus the reference, paired by replicate and problem. Several benchmarks `in_domain` have a mean too, pass at the
    smallest n."""
    for reference in [name for name in (*REFERENCES, *FURTHER) if name in tests]:
        fixed = {benchmark: right for benchmark, right, _ in by_benchmark(tests[reference])}
        for method, runs in tests.items():
            if method in (BASE, reference) or method not in FURTHER.get(reference, tests):
                continue
            own = estimate.of(method, reference)
            if len(in_domain) > 1:
                for metric, together in {"avg": averaged, "pass": passed}.items():
                    (mine, weights, n), (its, _, _) = (together(one, in_domain) for one in (runs, tests[reference]))
                    where = {"method": method, "reference": reference, "benchmark": IN_DOMAIN, "n": n}
                    yield where | {"metric": metric, "k": n} | own.compare(mine * weights, its * weights)
            for benchmark, right, n in by_benchmark(runs):
                where = {"method": method, "reference": reference, "benchmark": benchmark, "n": n}
                yield where | {"metric": "avg", "k": n} | own.compare(right / n, fixed[benchmark] / n)
                solved = [pass_at(n, cells, n) for cells in (right, fixed[benchmark])]
                yield where | {"metric": "pass", "k": n} | own.compare(*solved)


def spreads(tests: AllRuns, estimate: Estimator) -> Iterator[dict[str, Any]]:
    """A row a method and benchmark: the standard deviation of scores by source, with intervals, see `metrics.spread`;
    and, with GRPO as `reference`, of the differences to its scores, from which what a base model gives to all methods
    is gone. Benchmarks with one response a problem are left out: one tells nothing of the spread of samples."""
    its = {name: right for name, right, _ in by_benchmark(tests["grpo"])} if "grpo" in tests else {}
    for method, runs in tests.items():
        own = estimate.of(method)
        for benchmark, right, n in by_benchmark(runs):
            if n < 2:
                continue
            for reference in (
                ("", "grpo") if its and method != "grpo" and right.shape == its[benchmark].shape else ("",)
            ):
                less = its[benchmark] if reference else None
                where = {"method": method, "reference": reference, "benchmark": benchmark, "n": n}
                ends = spread_interval(right, n, SPREAD_RESAMPLES, own.rng, less)
                bounds = {
                    f"{source}_{end}": bound
                    for source, pair in ends.items()
                    for end, bound in zip(ENDS, pair, strict=True)
                }
                sizes = {"seeds": right.shape[0], "problems": right.shape[1]}
                yield where | sizes | spread(right, n, less) | bounds
