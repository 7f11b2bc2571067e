import numpy as np
import pytest
from scipy import stats

from prerl.resampling import crossed_parts, interval_freedom


def test_the_freedom_of_an_interval_is_that_of_its_quantile():
    rng = np.random.default_rng(0)
    of_seeds = rng.normal(size=(5, 1)) + np.zeros((5, 40))
    of_problems = rng.normal(size=(1, 40)) + np.zeros((5, 40))
    assert interval_freedom(of_seeds) == pytest.approx(4, rel=1e-6)
    assert interval_freedom(of_problems) == pytest.approx(39, rel=1e-6)
    assert interval_freedom(of_problems[:1]) == pytest.approx(39, rel=1e-6)
    assert interval_freedom(np.ones((5, 40))) == np.inf
    both = of_seeds + of_problems
    (seeds, _), (problems, _) = crossed_parts(both)
    quantile = (seeds * stats.t.ppf(0.975, 4) + problems * stats.t.ppf(0.975, 39)) / (seeds + problems)
    assert 4 < interval_freedom(both) < 39
    assert stats.t.ppf(0.975, interval_freedom(both)) == pytest.approx(quantile, rel=1e-6)
