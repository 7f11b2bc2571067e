"""The bootstrap over seeds and problems that intervals are made of."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]


def resample_weights(seeds: int, problems: int, resamples: int, generator: np.random.Generator) -> tuple[Array, Array]:
    """How often each seed (resamples, seeds) and, independently, each problem (resamples, problems) is drawn.

    All seeds share their problems, so a problem drawn twice counts twice in every seed: its difficulty is common.
    """
    return _counts(seeds, resamples, generator), _counts(problems, resamples, generator)


def _counts(size: int, resamples: int, generator: np.random.Generator) -> Array:
    """How often each of `size` things is drawn in `size` draws, (resamples, size). Counting draws takes a quarter of
    the time of numpy's multinomial, which was half of a study's summary."""
    drawn = generator.integers(0, size, (resamples, size)) + size * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * size).reshape(resamples, size).astype(float)


def stretched_interval(estimate: float, resampled: Array, influence: Array, level: float) -> tuple[float, float]:
    """Percentile bootstrap interval, stretched around the estimate to the width that few seeds demand.

    The bare percentile interval of three seeds covers 83-90 % where seeds differ: it takes the spread of three values
    for that of many, and has normal tails. So its deviations are stretched by (t * se) / (z * bootstrap's sd), the
    "expanded percentile" interval of Hesterberg 2015 (doi 10.1080/00031305.2015.1089789) for two crossed factors, by
    the unbiased se^2 = var(seed means) / S + var(problem means) / P - residual / (S P), for both of the former hold the
    residual, with Satterthwaite's degrees of freedom. Coverage is 93-97 % at the spread of seeds met here (tests).

    estimate is of the whole; resampled (resamples,); influence (seeds, problems) of each cell on the estimate.
    """
    deviation = float(resampled.std())
    if deviation == 0:
        return estimate, estimate
    variance, freedom = variance_of_mean(influence)
    tail = (1 + level) / 2
    low, high = np.quantile(resampled, [1 - tail, tail])
    if math.sqrt(variance) < 1e-9 * deviation:
        # Seeds and problems differ only together, as in [[0, 1], [1, 0]]: nothing says how far to stretch.
        return float(low), float(high)
    stretch = float(special.stdtrit(freedom, tail) / special.ndtri(tail)) * math.sqrt(variance) / deviation
    return estimate + (float(low) - estimate) * stretch, estimate + (float(high) - estimate) * stretch


def variance_of_mean(influence: Array) -> tuple[float, float]:
    """The unbiased variance of the mean of influence (seeds, problems) over both, and its degrees of freedom by
    Satterthwaite; infinitely many where there is no variance."""
    means = [influence.mean(axis) for axis in (0, 1) if influence.shape[1 - axis] > 1]  # a single seed has no spread
    parts = [(float(mean.var(ddof=1)) / mean.size, mean.size - 1) for mean in means]
    if len(parts) == 2:
        rest = influence - influence.mean(0) - influence.mean(1, keepdims=True) + influence.mean()
        freedom = (influence.shape[0] - 1) * (influence.shape[1] - 1)
        parts.append((-float((rest**2).sum()) / freedom / influence.size, freedom))
    variance = max(sum(part for part, _ in parts), *(abs(part) for part, _ in parts[2:]), 0.0)
    below = sum(part**2 / df for part, df in parts)
    return variance, variance**2 / below if below > 0 else math.inf
