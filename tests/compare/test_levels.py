"""Levels of comparisons: looks, families, variants."""

import numpy as np
import pytest
from scipy import special, stats

from prerl.compare.levels import LOOKS, each_of, level_of, replicates, spent
from prerl.compare.variance import Difference
from prerl.errors import UserError


def differences(freedoms):
    return [Difference(0, [(1e-4, freedom)], [], "pooled", [0], 1) for freedom in freedoms]


def alike(size, correlation=0.5):
    return np.full((size, size), correlation) + (1 - correlation) * np.eye(size)


def test_the_looks_spend_the_error_and_the_last_most_of_it():
    parts = [spent(look) for look in range(1, len(LOOKS) + 1)]
    assert sum(parts) == pytest.approx(0.05) and parts == sorted(parts)
    first = 2 * stats.norm.sf(stats.norm.ppf(0.975) / (3 / 8) ** 0.5)  # Lan and DeMets's function
    assert parts[0] == pytest.approx(first) and level_of(1, 1) == pytest.approx(1 - first)


def test_the_error_is_divided_by_the_number_of_variants():
    assert level_of(None, 1) == pytest.approx(0.95) and level_of(None, 5) == pytest.approx(0.99)
    assert sum(1 - level_of(look, 5) for look in (1, 2, 3)) == pytest.approx(0.01)


def test_a_look_takes_the_first_replicates_of_the_primary_baseline():
    common, primary = [0, 1, 2, 3, 4], list(range(8))
    assert [len(replicates(common, primary, look)) for look in (None, 1, 2, 3)] == [5, 3, 5, 8]
    with pytest.raises(UserError, match="look: 3 takes 8 replicates, and the baselines have 5"):
        replicates(common, common, 3)
    with pytest.raises(UserError, match="look: 1 takes 3 replicates, and the baselines have 0"):
        replicates(common, [], 1)


@pytest.mark.parametrize(("size", "freedom"), [(4, 12), (12, 20)])
def test_the_level_of_each_is_dunnetts(size, freedom):
    """Against scipy's multivariate t: intervals of this level hold together with 95 %."""
    level = each_of(differences([freedom] * size), alike(size), 0.95)
    bound = special.stdtrit(freedom, (1 + level) / 2)
    both = stats.multivariate_t(shape=alike(size), df=freedom, seed=0)
    assert both.cdf(np.full(size, bound), lower_limit=np.full(size, -bound)) == pytest.approx(0.95, abs=0.003)


def test_the_level_of_each_lies_between_that_of_one_and_bonferronis():
    assert each_of(differences([9]), alike(1), 0.95) == 0.95
    assert each_of(differences([9] * 5), alike(5, 1.0), 0.95) == pytest.approx(0.95, abs=0.003)
    independent = each_of(differences([1e6] * 5), alike(5, 0.0), 0.95)
    assert independent == pytest.approx(0.95 ** (1 / 5), abs=0.0015)  # Sidak's
    mixed = each_of(differences([4, 4, 40, 40]), alike(4), 0.95)
    assert 0.95 < mixed <= 1 - 0.05 / 4
    assert each_of(differences([9] * 5), alike(5), 1 - 1e-5) == pytest.approx(1 - 1e-5 / 5)  # too far out to be drawn
