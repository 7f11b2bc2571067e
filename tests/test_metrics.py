import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from prerl.metrics import (
    bayes_interval,
    difference_interval,
    exact_interval,
    maj_at_k,
    pass_at_k,
    ratio,
    ratio_interval,
    relative_interval,
    spread,
)
from tests.draws import counts, world


@pytest.mark.parametrize("n", [1, 4, 7])
def test_pass_at_k_is_the_share_of_subsets_with_a_right_response(n):
    for c in range(n + 1):
        for k in range(1, n + 1):
            subsets = list(combinations([True] * c + [False] * (n - c), k))
            assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets), abs=1e-12)


def test_pass_at_k_is_exact_for_large_n():
    for n, c, k in [(300_000, 3, 150_000), (250_000, 1, 1), (200_000, 100, 1_000), (100_000, 40_000, 5)]:
        exact = 1 - math.prod((n - c - i) / (n - i) for i in range(k)) if k < 2_000 else None
        if exact is None:
            exact = 1 - math.prod((n - k - i) / (n - i) for i in range(c))
        assert pass_at_k(n, c, k) == pytest.approx(exact, rel=1e-9)
    assert pass_at_k(300_000, 1, 1) == pytest.approx(1 / 300_000, rel=1e-12)
    assert pass_at_k(10, 0, 5) == 0.0 and pass_at_k(10, 10, 1) == 1.0


@pytest.mark.parametrize(("n", "c", "k"), [(4, 2, 5), (0, 0, 1), (4, 5, 1), (4, -1, 1), (4, 2, 0)])
def test_pass_at_k_refuses_what_it_cannot_estimate(n, c, k):
    with pytest.raises(ValueError):
        pass_at_k(n, c, k)


def test_ratio():
    assert ratio(np.array([[1.0, 3.0]]), np.array([[2.0, 2.0]])) == 1.0
    assert math.isnan(ratio(np.ones((1, 2)), np.zeros((1, 2))))


def test_interval_over_problems_agrees_with_scipy():
    rng = np.random.default_rng(0)
    values = rng.random((1, 80))
    low, high = ratio_interval(values, np.ones_like(values), 20_000, rng)
    reference = stats.bootstrap(
        (values[0],), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert (low, high) == pytest.approx(tuple(reference), abs=0.004)


def test_interval_widens_with_the_spread_of_seeds():
    rng = np.random.default_rng(0)
    problems = np.tile(rng.random(50), (4, 1))
    spread = problems + np.array([[-0.2], [-0.1], [0.1], [0.2]])
    widths = [np.ptp(ratio_interval(values, np.ones_like(values), 4_000, rng)) for values in (problems, spread)]
    assert widths[1] > 1.5 * widths[0]


def test_a_pair_cancels_what_both_share():
    rng = np.random.default_rng(0)
    first = world(rng, 3, 200, 16, 0.1)
    low, high = difference_interval(first, first - 0.1, 400, rng)
    assert low == pytest.approx(0.1) and high == pytest.approx(0.1)
    base = world(rng, 1, 200, 16, 0)
    low, high = difference_interval(first, base, 400, rng)
    assert low < first.mean() - base.mean() < high


def test_an_interval_never_leaves_the_range_of_its_values():
    rng = np.random.default_rng(0)
    share = np.zeros((3, 50))
    share[0, :3] = 0.5
    low, high = ratio_interval(share, np.ones_like(share), 400, rng)
    assert low == 0 < share.mean() < high < 0.5


def test_spread_recovers_each_source():
    rng = np.random.default_rng(0)
    truth = {"seed": 0.05, "problem": 0.1, "interaction": 0.04}
    share = (
        0.5
        + truth["seed"] * rng.normal(size=(200, 1))
        + truth["problem"] * rng.normal(size=400)
        + truth["interaction"] * rng.normal(size=(200, 400))
    ).clip(0, 1)
    found = spread(rng.binomial(8, share).astype(float), 8)
    assert found["sample"] == pytest.approx(np.sqrt((share * (1 - share)).mean()), rel=0.01)
    for name, value in truth.items():
        assert found[name] == pytest.approx(value, rel=0.1), name
    right, other = (rng.binomial(8, cells).astype(float) for cells in (share, share[:, ::-1]))
    less = spread(right, 8, other)  # what both have in common, the seed's, is gone
    assert less["seed"] < 0.1 * found["seed"] and less["sample"] == pytest.approx(2**0.5 * found["sample"], rel=0.01)
    assert spread(right, 8, right)["interaction"] == 0
    single = spread(rng.binomial(8, share[:1]).astype(float), 8)
    assert math.isnan(single["seed"]) and single["problem"] > 0
    with pytest.raises(ValueError, match="two responses"):
        spread(np.ones((2, 3)), 1)


def test_bayes_interval_is_the_posterior_of_samples_alone():
    rng = np.random.default_rng(0)
    right = np.array([[0.0, 3.0, 8.0], [1.0, 2.0, 8.0]])
    low, high = bayes_interval(right, 8)
    posterior = rng.beta(right + 1, 9 - right, size=(40_000, 2, 3)).mean((1, 2))
    assert (low, high) == pytest.approx(tuple(np.quantile(posterior, [0.025, 0.975])), abs=0.003)


def test_interval_is_undefined_where_a_resample_has_no_denominator():
    denominator = np.zeros((1, 5))
    denominator[0, 0] = 1
    assert all(map(math.isnan, ratio_interval(np.ones((1, 5)), denominator, 200, np.random.default_rng(0))))


def test_maj_at_k_by_hand():
    answers, scores = ["a", "b", "a", "b", "b", None], [1.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    assert maj_at_k(answers, scores, 6) == 0.0  # b has three votes
    assert maj_at_k(answers, scores, 3) == 0.5  # a wins the first three, b the others
    assert maj_at_k(answers, scores, 4) == 0.5  # a tie
    assert maj_at_k(answers, scores, 1) == pytest.approx(sum(scores) / 6)
    assert maj_at_k([None, None], [0.0, 0.0], 2) == 0.0
    for k in (0, 7):
        with pytest.raises(ValueError, match=f"maj@{k}"):
            maj_at_k(answers, scores, k)


def test_maj_at_k_is_unbiased():
    """Against the chance that two or more of three responses say `a`, which is right."""
    rng, chance = np.random.default_rng(0), 0.6
    values = []
    for _ in range(4000):
        right = rng.random(9) < chance
        values.append(maj_at_k(np.where(right, "a", "b").tolist(), right.astype(float).tolist(), 3))
    expected = chance**3 + 3 * chance**2 * (1 - chance)
    assert np.mean(values) == pytest.approx(expected, abs=4 * np.std(values) / 4000**0.5)


def test_the_ratio_to_the_base_agrees_with_scipys_bootstrap_for_one_seed():
    rng = np.random.default_rng(0)
    problems = 0.5 * rng.normal(size=200)
    cells = [array[0] for pair in (0.3, 0.1) for array in counts(rng, 1, pair, 40, problems)]

    def log_ratio(a, b, c, d, axis):
        return np.log(a.sum(axis) / b.sum(axis)) - np.log(c.sum(axis) / d.sum(axis))

    found = relative_interval(*(cell[None] for cell in cells), 4000, rng)
    other = stats.bootstrap(cells, log_ratio, paired=True, n_resamples=4000, method="percentile", rng=rng)
    expected = np.exp([other.confidence_interval.low, other.confidence_interval.high])
    assert found == pytest.approx(expected, rel=0.03)


def test_a_ratio_to_nothing_has_no_interval_and_one_to_little_a_wide_one():
    rng, none, ones = np.random.default_rng(0), np.zeros((1, 10)), np.ones((1, 10))
    assert all(map(math.isnan, relative_interval(ones, ones, none, ones, 100, rng)))
    little = np.eye(1, 10)
    low, high = relative_interval(ones, ones, little, ones, 500, rng)
    assert low < 10 < high
    assert relative_interval(none, ones, ones, ones, 100, rng) == (0, 0)


def test_a_ratio_to_bases_of_their_own_is_paired_by_seed():
    """Seeds whose base has the same words as they, up to a factor, leave no doubt about the factor."""
    rng = np.random.default_rng(0)
    above, below = counts(rng, 3, 0.3, 40, 0.5 * rng.normal(size=100), seed_sd=0.5)
    own = relative_interval(2 * above, below, above, below, 400, rng)
    assert own == pytest.approx((2, 2))
    one = [cells.mean(0, keepdims=True) for cells in (above, below)]
    low, high = relative_interval(2 * above, below, *one, 400, rng)
    assert low < 1.9 and high > 2.1


def test_exact_interval_is_clopper_and_pearsons():
    """Its ends are the shares at which so many, or so few, occur with a chance of 2.5 %."""
    low, high = exact_interval(3, 20)
    assert stats.binom.sf(2, 20, low) == pytest.approx(0.025, abs=1e-10)
    assert stats.binom.cdf(3, 20, high) == pytest.approx(0.025, abs=1e-10)
    assert exact_interval(0, 400) == pytest.approx((0, 1 - 0.025 ** (1 / 400)), abs=1e-12)
    assert exact_interval(400, 400) == pytest.approx((0.025 ** (1 / 400), 1), abs=1e-12)
    assert exact_interval(3, 20, level=0.5)[0] > low


def test_seeds_and_problems_that_differ_only_together_have_an_interval():
    """Their means are alike, so the standard error by seed and by problem is 0; the bootstrap's spread is not."""
    crossed, rng = np.array([[0.0, 1.0], [1.0, 0.0]]), np.random.default_rng(0)
    low, high = ratio_interval(crossed, np.ones_like(crossed), 500, rng)
    assert 0 <= low < 0.5 < high <= 1
