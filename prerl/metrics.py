"""Estimators and their intervals."""

import math
import statistics
from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy import special

from prerl.resampling import Array, resample_weights, stretched_interval


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


def maj_at_k(answers: Sequence[str | None], scores: Sequence[float], k: int) -> float:
    """Unbiased estimate of the score of the most frequent answer among k responses (self-consistency,
    arXiv 2203.11171).

    The responses are cut into n // k blocks of k, in order; the mean over blocks. Of equally frequent answers each wins
    with the same chance. None is no answer and gets no vote; a block without votes scores 0. Responses with the same
    answer have the same score. Raises ValueError if n < k.
    """
    n = len(answers)
    if k < 1 or n < k:
        raise ValueError(f"maj@{k} needs at least {max(k, 1)} responses a problem, there are {n}")
    score = dict(zip(answers, scores, strict=True))
    blocks = []
    for start in range(0, n - k + 1, k):
        votes = Counter(answer for answer in answers[start : start + k] if answer is not None)
        winners = [answer for answer, count in votes.items() if count == max(votes.values())]
        blocks.append(statistics.fmean(score[answer] for answer in winners) if winners else 0.0)
    return statistics.fmean(blocks)


def ratio(numerator: Array, denominator: Array) -> float:
    """Sum over sum, e.g. words a token; with a denominator of ones the plain mean. NaN if the denominator is 0."""
    total = float(denominator.sum())
    return float(numerator.sum()) / total if total > 0 else math.nan


def ratio_interval(
    numerator: Array, denominator: Array, resamples: int, generator: np.random.Generator, level: float = 0.95
) -> tuple[float, float]:
    """Interval of `ratio` over seeds and problems. numerator, denominator (seeds, problems)."""
    total = float(denominator.sum())
    if total <= 0:
        return math.nan, math.nan
    seeds, problems = resample_weights(numerator.shape[0], numerator.shape[1], resamples, generator)
    above, below = ((seeds * (problems @ cells.T)).sum(1) for cells in (numerator, denominator))
    if not (below > 0).all():
        return math.nan, math.nan
    influence = (numerator - ratio(numerator, denominator) * denominator) / (total / denominator.size)
    low, high = stretched_interval(ratio(numerator, denominator), above / below, influence, level)
    values = numerator[denominator > 0] / denominator[denominator > 0]
    return max(low, float(values.min())), min(high, float(values.max()))  # e.g. no share below 0


def exact_interval(count: int, of: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share: for a share of 0 or 1, where a bootstrap has no width."""
    from scipy import stats  # a second, which a command without such a share need not wait

    found = stats.binomtest(count, of).proportion_ci(level, method="exact")
    return float(found.low), float(found.high)


def difference_interval(
    first: Array, second: Array, resamples: int, generator: np.random.Generator, level: float = 0.95
) -> tuple[float, float]:
    """Interval of mean(first) - mean(second), both (seeds, problems) or one row for a model without seeds.

    Paired: seed k draws the same training problems in every method, and all methods answer the same test problems.
    """
    difference = first - second
    return ratio_interval(difference, np.ones_like(difference), resamples, generator, level)


def relative_interval(
    numerator: Array,
    denominator: Array,
    base_numerator: Array,
    base_denominator: Array,
    resamples: int,
    generator: np.random.Generator,
    level: float = 0.95,
) -> tuple[float, float]:
    """Interval of `ratio(numerator, denominator) / ratio(base_numerator, base_denominator)`, e.g. of rates of words.

    (seeds, problems) each, the base's too, or (1, problems) of a model without seeds; paired by problem, and by seed
    where the base has them. Worked out on the logarithm, where rare occurrences skew less. With too few for that in
    some resample, the bare percentiles; NaN where the base has none.
    """
    seeds, problems = resample_weights(numerator.shape[0], numerator.shape[1], resamples, generator)
    cells = (numerator, denominator, base_numerator, base_denominator)
    rates = [problems @ one.T for one in cells]  # (resamples, seeds) each
    above, below, base_above, base_below = ((seeds * rate if rate.shape[1] > 1 else rate).sum(1) for rate in rates)
    if base_numerator.sum() == 0 or not (below > 0).all() or not (base_below > 0).all():
        return math.nan, math.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        resampled = np.log(above / below) - np.log(base_above / base_below)
    tail = (1 + level) / 2
    if not np.isfinite(resampled).all():
        low, high = np.quantile(np.nan_to_num(resampled, nan=0.0), [1 - tail, tail], method="inverted_cdf")
        return math.exp(low), math.exp(min(high, 700.0))
    influence = relative_influence(*cells)
    estimate = math.log(ratio(numerator, denominator) / ratio(base_numerator, base_denominator))
    low, high = stretched_interval(estimate, resampled, influence, level)
    return math.exp(low), math.exp(high)


def relative_influence(numerator: Array, denominator: Array, base_numerator: Array, base_denominator: Array) -> Array:
    """What each seed and problem adds to the logarithm of the ratio in `relative_interval`, (seeds, problems)."""
    parts = [cells / cells.mean() for cells in (numerator, denominator, base_numerator, base_denominator)]
    return parts[0] - parts[1] - (parts[2] - parts[3])


def spread(right: Array, n: int, less: Array | None = None) -> dict[str, float]:
    """Standard deviations of the share of right responses, by source, from right (seeds, problems) of n responses; with
    `less`, another method's right responses in the same form, of the difference of the two shares.

    seed: between runs · problem: between problems · interaction: what a seed adds on single problems · sample: of one
    response to a given problem by a given run. Unbiased estimates of the variances (two-way analysis of variance with
    replication; a negative one is taken for 0; seed and interaction are NaN with a single seed).
    Raises ValueError if n < 2.
    """
    if n < 2:
        raise ValueError("the variance between samples needs at least two responses a problem")
    share = (right if less is None else right - less) / n
    seeds, problems = share.shape
    sample = sum(float((one / n * (1 - one / n)).mean()) for one in (right, less) if one is not None) * n / (n - 1)
    by_problem = float(share.mean(0).var(ddof=1))
    if seeds == 1:
        variances = {"seed": math.nan, "problem": by_problem - sample / n, "interaction": math.nan, "sample": sample}
    else:
        by_seed, residual = _between_seeds(share)
        variances = {
            "seed": by_seed - residual / problems,
            "problem": by_problem - residual / seeds,
            "interaction": residual - sample / n,
            "sample": sample,
        }
    return {name: value if math.isnan(value) else math.sqrt(max(value, 0.0)) for name, value in variances.items()}


def spread_interval(
    right: Array,
    n: int,
    resamples: int,
    generator: np.random.Generator,
    less: Array | None = None,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Intervals of `spread`, by source: of the seeds' from the chi-squared distribution of their mean square, which
    with three seeds reaches far up; of the others percentiles over resampled problems. NaN where the estimate is."""
    tail = (1 + level) / 2
    seeds, problems = right.shape
    drawn = generator.integers(0, problems, (resamples, problems))
    values = [spread(right[:, columns], n, None if less is None else less[:, columns]) for columns in drawn]
    found = {}
    for source in ("problem", "interaction", "sample"):
        low, high = np.quantile([value[source] for value in values], [1 - tail, tail])
        found[source] = (float(low), float(high))
    if seeds == 1:
        return {"seed": (math.nan, math.nan), **found}
    by_seed, residual = _between_seeds((right if less is None else right - less) / n)
    noise, degrees = residual / problems, (seeds - 1) / 2
    low, high = (by_seed * degrees / float(special.gammaincinv(degrees, end)) - noise for end in (tail, 1 - tail))
    return {"seed": (math.sqrt(max(low, 0.0)), math.sqrt(max(high, 0.0))), **found}


def _between_seeds(share: Array) -> tuple[float, float]:
    """Variance of the means of several seeds, and residual mean square of share (seeds, problems)."""
    seeds, problems = share.shape
    rest = share - share.mean(1, keepdims=True) - share.mean(0) + share.mean()
    return float(share.mean(1).var(ddof=1)), float((rest**2).sum()) / ((seeds - 1) * (problems - 1))


def bayes_interval(right: Array, n: int, level: float = 0.95) -> tuple[float, float]:
    """Credible interval of the share of right responses of these very seeds on these very problems.

    A uniform Dirichlet prior on the two outcomes of each cell of right (seeds, problems), n responses each, and a
    normal approximation of the posterior of their mean (arXiv 2510.04265). Only samples are random here: it says what
    more responses would change, `ratio_interval` also what other seeds and problems would.
    """
    a, b = right + 1.0, n - right + 1.0
    mean = float((a / (a + b)).mean())
    deviation = math.sqrt(float((a * b / ((a + b) ** 2 * (a + b + 1))).sum())) / right.size
    reach = statistics.NormalDist().inv_cdf((1 + level) / 2) * deviation
    return max(mean - reach, 0.0), min(mean + reach, 1.0)
