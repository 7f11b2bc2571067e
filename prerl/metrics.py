"""Estimators and their intervals."""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased estimate of the chance that one of k responses is right, from c right ones among n.

    1 - C(n-c, k) / C(n, k) (Chen et al. 2021, arXiv 2107.03374), as a product of min(c, k) factors, so exact to
    rounding for any n. Raises ValueError if n < k: n responses say nothing unbiased about more than n.
    """
    if not 0 <= c <= n:
        raise ValueError(f"{c} right responses among {n}")
    if k < 1 or n < k:
        raise ValueError(f"pass@{k} needs at least {max(k, 1)} responses a problem, there are {n}")
    if n - c < k:
        return 1.0
    few, many = sorted((c, k))
    return -math.expm1(math.fsum(math.log1p(-many / (n - i)) for i in range(few)))


def ratio(numerator: Array, denominator: Array) -> float:
    """Sum over sum, e.g. words a token; with a denominator of ones the plain mean. NaN if the denominator is 0."""
    total = float(denominator.sum())
    return float(numerator.sum()) / total if total > 0 else math.nan


def ratio_interval(
    numerator: Array, denominator: Array, resamples: int, generator: np.random.Generator, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of `ratio` over seeds and problems, resampled independently of each other.

    numerator, denominator (seeds, problems). With one seed only problems are resampled. All seeds share their
    problems, so a problem drawn twice counts twice in every seed: its difficulty is common to them.
    """
    seeds, problems = numerator.shape
    seed_weight = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples)  # (R, seeds)
    problem_weight = generator.multinomial(problems, np.full(problems, 1 / problems), size=resamples)  # (R, problems)
    above = (seed_weight * (problem_weight @ numerator.T)).sum(1)
    below = (seed_weight * (problem_weight @ denominator.T)).sum(1)
    if not (below > 0).all():
        return math.nan, math.nan
    low, high = np.quantile(above / below, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
