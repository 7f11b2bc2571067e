"""How sure a difference is: against textbooks and simulations."""

import numpy as np
import pytest
from scipy import stats

from prerl.compare.variance import Pool, compare_cells, detectable


def drawn(rng, methods, size, more=0, spread=1.0):
    """Values by method and replicate, which share what the replicate gives; the first method has some more of them."""
    shared = rng.normal(size=size + more)
    return {
        f"m{place}": {seed: float(shared[seed] + rng.normal()) for seed in range(size + (more if place == 0 else 0))}
        for place in range(methods)
    } | {"new": {seed: float(shared[seed] + spread * rng.normal()) for seed in range(size + more)}}


def as_cells(values, problems=4):
    """Cells whose problems are all alike, so that only replicates differ."""
    return {seed: [np.full(problems, value)] for seed, value in values.items()}


def split(values):
    return Pool({name: runs for name, runs in values.items() if name != "new"}), values["new"]


def test_the_variance_of_the_pool_is_the_residual_of_a_two_way_analysis():
    values = drawn(np.random.default_rng(0), 4, 5)
    pool, _ = split(values)
    table = np.array([list(values[f"m{place}"].values()) for place in range(4)])
    rest = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    assert pool.variance == pytest.approx((rest**2).sum() / 12) and pool.freedom == 12 and not pool.outlying


def test_with_one_baseline_it_is_the_paired_t_test():
    values = drawn(np.random.default_rng(0), 1, 5)
    pool, new = split(values)
    found = compare_cells(as_cells(new), as_cells(values["m0"]), pool, "m0")
    expected = stats.ttest_rel([*new.values()], [*values["m0"].values()]).confidence_interval(0.95)
    low, high = np.clip([expected.low, expected.high], -1, 1)
    assert found.interval(0.95) == pytest.approx((low, high)) and found.freedom == pytest.approx(4)
    assert found.error == pytest.approx(stats.sem([new[seed] - values["m0"][seed] for seed in new]))


@pytest.mark.parametrize(("methods", "size", "more", "spread"), [(6, 5, 0, 1.0), (6, 5, 3, 2.0), (2, 3, 0, 0.5)])
def test_the_variance_of_a_difference_has_no_bias(methods, size, more, spread):
    """Also where the new method varies otherwise, and where it and one baseline have more replicates than the others.
    The mean of 2000 estimates lies within four of its standard errors."""
    rng, found = np.random.default_rng(0), []
    for _ in range(2000):
        pool, new = split(drawn(rng, methods, size, more, spread))
        if not pool.outlying:
            found.append(sum(part for part, _ in pool.of_replicates(new, 1)))
    mean, noise = np.mean(found), np.std(found) / len(found) ** 0.5
    # Leaving out studies where a baseline deviates by chance takes a little from the pool's.
    assert abs(mean - (1 + spread**2)) < 4 * noise + 0.05


def test_a_collapsed_baseline_is_not_pooled_and_is_compared_by_its_own_spread():
    rng = np.random.default_rng(0)
    values = drawn(rng, 6, 5)
    values["m3"] = {seed: 20 * value for seed, value in values["m3"].items()}
    pool, new = split(values)
    assert pool.outlying == ["m3"]
    own, other = (compare_cells(as_cells(new), as_cells(values[name]), pool, name) for name in ("m3", "m1"))
    assert (own.variance, own.freedom, other.variance) == ("own", 4, "pooled") and other.freedom > 4
    assert own.error == pytest.approx(stats.sem([new[seed] - values["m3"][seed] for seed in new]))
    assert own.error > 5 * other.error


def test_a_method_that_varies_less_by_chance_gets_no_more_degrees_of_freedom():
    pool, new = split(drawn(np.random.default_rng(0), 6, 5))
    [(most, freedom)] = pool.of_replicates({seed: new[seed] * 3 for seed in new}, 5)
    shared = {seed: float(np.mean([pool.values[name][seed] for name in pool.values])) for seed in range(5)}
    [(least, as_pool)] = pool.of_replicates(shared, 5)  # exactly what all share
    alike = (1 + 1 / 6) ** 2 / 4 + (1 - 1 / 6) ** 2 / 20
    assert least < most and as_pool == pytest.approx(4 / alike) and freedom < as_pool


def test_a_base_without_replicates_and_a_single_replicate_can_be_compared():
    rng = np.random.default_rng(0)
    new = {seed: [rng.random(30), rng.random(20)] for seed in range(3)}
    base = {0: [rng.random(30), rng.random(20)]}
    found = compare_cells(new, base, None, "base")
    means = [np.mean([block.mean() for block in cells]) for cells in new.values()]
    expected = np.mean(means) - np.mean([block.mean() for block in base[0]])
    assert found.estimate == pytest.approx(expected) and (found.variance, found.freedom, found.problems) == (
        "own",
        2,
        50,
    )
    single = compare_cells({0: new[0]}, {0: new[1]}, Pool({"m": {0: 0.5}}), "m")
    by_hand = sum((one - other).var(ddof=1) / one.size / 4 for one, other in zip(new[0], new[1], strict=True))
    assert single.variance == "problems" and single.error == pytest.approx(by_hand**0.5)
    pooled = compare_cells({0: new[0]}, {0: new[1]}, Pool({"m": {0: 0.5, 1: 0.6}, "o": {0: 0.5, 1: 0.4}}), "m")
    assert pooled.variance == "pooled" and pooled.error > single.error  # others tell what replicates vary


def test_replicates_are_those_that_both_have():
    rng = np.random.default_rng(0)
    values = drawn(rng, 3, 5, more=3)
    pool, new = split(values)
    assert compare_cells(as_cells(new), as_cells(values["m0"]), pool, "m0").seeds == list(range(8))
    found = compare_cells(as_cells(new), as_cells(values["m1"]), pool, "m1")
    assert found.seeds == list(range(5))
    assert found.estimate == pytest.approx(np.mean([new[seed] - values["m1"][seed] for seed in range(5)]))
    with pytest.raises(ValueError, match="no replicate in common"):
        compare_cells({9: [np.ones(3)]}, as_cells(values["m1"]), pool, "m1")


@pytest.mark.parametrize(("freedom", "level"), [(4, 0.95), (14.7, 0.95), (50, 0.99)])
def test_what_is_detectable_is_found_in_four_of_five(freedom, level):
    bound = stats.t.ppf((1 + level) / 2, freedom)
    assert stats.nct.sf(bound, freedom, detectable(0.02, freedom, level) / 0.02) == pytest.approx(0.8, abs=1e-5)
    assert detectable(0, freedom, level) == 0
