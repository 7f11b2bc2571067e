"""How often intervals cover the truth, over many made-up studies."""

import math

import numpy as np
import pytest
from scipy import special, stats

from prerl.metrics import (
    difference_interval,
    ratio_interval,
    relative_interval,
    spread_interval,
)
from tests.draws import counts, world

pytestmark = pytest.mark.slow


# At tiny the runs of a method deviate by 0 to 2.5 points of accuracy between seeds: up to about 0.15 on the logit.
@pytest.mark.parametrize(
    ("seeds", "problems", "n", "seed_sd", "ease"),
    [
        (3, 200, 16, 0.0, 0),
        (3, 200, 16, 0.15, 0),
        (3, 128, 4, 0.15, -1),
        (3, 200, 64, 0.15, -4),
        (5, 200, 16, 0.15, 0),
        (5, 200, 16, 0.0, 0),
    ],
)
def test_95_percent_intervals_cover_93_to_98_percent_of_500_truths(seeds, problems, n, seed_sd, ease):
    rng = np.random.default_rng(0)
    # Seeds, problems and pairings are normal on the logit: so is their sum, and the truth is one integral.
    deviation = math.hypot(seed_sd, 2, 0.8)
    truth = stats.norm(ease, deviation).expect(special.expit, lb=ease - 9 * deviation, ub=ease + 9 * deviation)
    covered = 0
    for _ in range(500):
        share = world(rng, seeds, problems, n, seed_sd, ease)
        low, high = ratio_interval(share, np.ones_like(share), 400, rng)
        covered += low <= truth <= high
    assert 0.93 <= covered / 500 <= 0.98


@pytest.mark.parametrize("seeds", [3, 5])
def test_95_percent_intervals_of_paired_differences_cover_94_to_97_percent_of_3000_truths(seeds):
    rng, covered = np.random.default_rng(0), 0
    for _ in range(3000):
        difficulty = 2 * rng.normal(size=200)
        first, second = (
            rng.binomial(
                16, special.expit(difficulty + 0.15 * rng.normal(size=(seeds, 1)) + 0.8 * rng.normal(size=(seeds, 200)))
            )
            / 16
            for _ in range(2)
        )
        low, high = difference_interval(first, second, 500, rng)
        covered += low <= 0 <= high  # two draws of one method: no true difference
    assert 0.94 <= covered / 3000 <= 0.97


def test_95_percent_intervals_of_ratios_to_the_base_cover_93_to_98_percent_of_500_truths():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(500):
        problems = 0.5 * rng.normal(size=200)
        above, below = counts(rng, 3, 0.3, 40, problems)
        base = counts(rng, 1, 0.1, 30, problems, seed_sd=0)  # the base is one model, whatever its seed
        low, high = relative_interval(above, below, *base, 400, rng)
        covered += low <= math.exp(0.1**2 / 2) * (0.3 / 40) / (0.1 / 30) <= high
    assert 0.93 <= covered / 500 <= 0.98


def test_95_percent_intervals_of_each_source_of_spread_cover_90_to_100_percent_of_100_truths():
    rng, truth = np.random.default_rng(0), {"seed": 0.05, "problem": 0.1, "interaction": 0.04}
    covered = dict.fromkeys(truth, 0)
    for _ in range(100):
        share = (
            0.5
            + truth["seed"] * rng.normal(size=(3, 1))
            + truth["problem"] * rng.normal(size=100)
            + truth["interaction"] * rng.normal(size=(3, 100))
        ).clip(0, 1)
        found = spread_interval(rng.binomial(16, share).astype(float), 16, 100, rng)
        for name, value in truth.items():
            covered[name] += found[name][0] <= value <= found[name][1]
    assert all(count >= 90 for count in covered.values()), covered
    single = spread_interval(rng.binomial(16, share[:1]).astype(float), 16, 50, rng)
    assert all(map(math.isnan, single["seed"] + single["interaction"])) and single["problem"][0] < single["problem"][1]
