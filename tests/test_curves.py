import numpy as np
import pytest
from scipy import special

from prerl.curves import crossing, curve_interval, halfway
from prerl.scores import Estimator

STEPS = list(range(0, 81, 10))


def test_crossing_by_hand():
    steps = [0, 10, 20]
    assert crossing(np.array([0.1, 0.2, 0.6]), steps, 0.4) == 15
    assert crossing(np.array([0.5, 0.2, 0.6]), steps, 0.4) == 0
    assert crossing(np.array([0.1, 0.2, 0.3]), steps, 0.4) == np.inf
    assert crossing(np.array([[0.0, 0.4, 0.3], [0.0, 0.0, 0.4]]), steps, np.array([0.4, 0.2])).tolist() == [10, 15]
    assert halfway(np.array([[0.2, 0.6, 0.4], [0.5, 0.1, 0.1]])).tolist() == pytest.approx([0.4, 0.5])


def learner(rng, seeds, difficulty, pace):
    """Chances to solve (seeds, problems, steps) of a learner whose seeds differ in pace and in what they reach."""
    paces, reached = pace * np.exp(0.1 * rng.normal(size=(seeds, 1))), 1 + 0.03 * rng.normal(size=(seeds, 1))
    mean = 0.34 + 0.26 * reached * (1 - np.exp(-np.array(STEPS) * paces / 20))
    return special.expit(special.logit(mean)[:, None, :] + difficulty[:, None])


def updates(mine, its):
    return crossing(mine, STEPS, halfway(its))


def sooner(mine, its):
    return updates(its, its) / updates(mine, its)


def test_95_percent_intervals_of_steps_and_speed_cover_93_to_99_percent_of_truths():
    """Three seeds, 128 problems, 4 responses. That of the speed-up covers more than it says, never less."""
    rng, base = np.random.default_rng(0), np.random.default_rng(0)
    many = 1.3 * rng.normal(size=400)
    whole = [learner(rng, 400, many, pace).mean((0, 1)) for pace in (0.7, 1.0)]
    truth = {updates: updates(*whole), sooner: sooner(*whole)}
    covered = dict.fromkeys(truth, 0)
    for _ in range(300):
        difficulty = 1.3 * rng.normal(size=128)
        cubes = [rng.binomial(4, learner(rng, 3, difficulty, pace)) / 4 for pace in (0.7, 1.0)]
        for cube in cubes[1:]:
            cube[..., 0] = cubes[0][..., 0] = cube[:1, :, 0]  # all start from one base
        for statistic, value in truth.items():
            found = curve_interval(statistic, cubes, Estimator(300, base))
            covered[statistic] += found["low"] <= value <= found["high"]
    assert all(0.93 <= count / 300 <= 0.99 for count in covered.values()), covered


def test_a_learner_that_never_gets_there_has_no_finite_steps():
    cubes = [np.full((2, 5, len(STEPS)), 0.1), np.linspace(0, 1, len(STEPS)) * np.ones((2, 5, 1))]
    estimator = Estimator(50, np.random.default_rng(0))
    found = curve_interval(updates, cubes, estimator)
    assert (found["estimate"], found["low"], found["high"]) == (np.inf, np.inf, np.inf)
    found = curve_interval(sooner, cubes, estimator)
    assert (found["estimate"], found["low"], found["high"]) == (0, 0, 0)


def test_a_gain_that_hangs_on_one_problem_tells_nothing_of_speed():
    """Without that problem, as in a third of the resamples, the reference has no half of a gain to be reached."""
    its, mine = np.zeros((1, 32, len(STEPS))), np.zeros((1, 32, len(STEPS)))
    its[0, 0, 1:3] = 0.5
    found = curve_interval(sooner, [mine, its], Estimator(500, np.random.default_rng(0)))
    assert (found["estimate"], found["low"], found["high"]) == (0, 0, np.inf)
