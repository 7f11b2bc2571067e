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
    "expanded percentile" interval of Hesterberg 2015 (doi 10.1080/00031305.2015.1089789) for two crossed factors.
    `crossed_parts` gives se^2, without bias, and t is the mean of the quantiles of its two parts, weighted by them
    (Cochran and Cox 1957): Satterthwaite's degrees of freedom rest on the estimated parts, and too many of them where
    three seeds differ little by chance, so that only 92 % were covered. Simulated coverage is 95-97 % (tests).

    estimate is of the whole; resampled (resamples,); influence (seeds, problems) of each cell on the estimate.
    """
    deviation = float(resampled.std())
    if deviation == 0:
        return estimate, estimate
    tail = (1 + level) / 2
    low, high = np.quantile(resampled, [1 - tail, tail])
    parts = crossed_parts(influence)
    variance = sum(part for part, _ in parts)
    if math.sqrt(variance) < 1e-9 * deviation:
        # Seeds and problems differ only together, as in [[0, 1], [1, 0]]: nothing says how far to stretch.
        return float(low), float(high)
    stretch = _quantile(parts, tail) / float(special.ndtri(tail)) * math.sqrt(variance) / deviation
    return estimate + (float(low) - estimate) * stretch, estimate + (float(high) - estimate) * stretch


def crossed_parts(values: Array) -> list[tuple[float, int]]:
    """What seeds and what problems add to the variance of the mean of values (seeds, problems), with the degrees of
    freedom of each: [(part, freedom), ...], seeds first; one part alone where there is one seed or one problem.

    The means of seeds hold the residual of single cells, and so do those of problems. It is counted once, with the
    seeds: se^2 = var(seed means) / S + (var(problem means) / P - residual / (S P)), the latter not below 0.
    """
    seeds, problems = values.shape
    parts = []
    if seeds > 1:
        parts.append((float(values.mean(1).var(ddof=1)) / seeds, seeds - 1))
    if problems > 1:
        part = float(values.mean(0).var(ddof=1)) / problems
        if seeds > 1:
            rest = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
            part -= float((rest**2).sum()) / ((seeds - 1) * (problems - 1)) / values.size
        parts.append((max(part, 0.0), problems - 1))
    return parts


def interval_freedom(influence: Array) -> float:
    """Degrees of freedom of the t distribution whose quantile at 95 % is that of `stretched_interval` on the same
    influence (seeds, problems): between those of seeds and those of problems; infinite where there is no variance."""
    quantile = _quantile(crossed_parts(influence), 0.975)
    return float(special.stdtridf(0.975, quantile)) if math.isfinite(quantile) else math.inf


def _quantile(parts: list[tuple[float, int]], tail: float) -> float:
    """The mean of the t quantiles of parts of a variance, weighted by them; NaN where they are all 0."""
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return math.nan
    return sum(part * float(special.stdtrit(freedom, tail)) for part, freedom in parts) / variance
