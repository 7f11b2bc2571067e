import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from prerl.metrics import pass_at_k, ratio, ratio_interval


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


def test_interval_covers_the_truth_of_problems_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        right = rng.binomial(8, rng.beta(1, 2, size=(1, 60))) / 8  # truth: mean of Beta(1, 2) is 1/3
        low, high = ratio_interval(right, np.ones_like(right), 400, rng)
        covered += low <= 1 / 3 <= high
    assert 0.91 <= covered / 400 <= 0.98


def test_interval_is_undefined_where_a_resample_has_no_denominator():
    denominator = np.zeros((1, 5))
    denominator[0, 0] = 1
    assert all(map(math.isnan, ratio_interval(np.ones((1, 5)), denominator, 200, np.random.default_rng(0))))
