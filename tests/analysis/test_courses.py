"""Peaks, and what holds before, at and after them, on runs made by hand."""

import numpy as np
import pandas as pd
import pytest

from prerl.analysis.courses import FINISHED, OWN_BEST, at_columns, held, own_best, peak_columns, peaks, ratios
from prerl.analysis.scores import Estimator

STEPS = list(range(0, 121, 10))


def estimator(resamples=200):
    return Estimator(resamples, np.random.default_rng(0))


def dev(curves, problems=40, **columns):
    """Two runs a method, which solve these shares of the problems at each of STEPS, or of as many as there are."""

    def run(curve):
        rows = [
            {"step": step, "problem": f"p{p:02}", "n": 2, "correct": 2 * int(p < round(share * problems)), "tokens": 20}
            | {name: values(step, p) for name, values in columns.items()}
            for step, share in zip(STEPS, curve, strict=False)
            for p in range(problems)
        ]
        return pd.DataFrame(rows)

    return {method: {seed: run(curve) for seed in (0, 1)} for method, curve in curves.items()}


def by_window(rows):
    return {(row["method"], row["window"]): row for row in rows}


RISES = [0.2 + 0.05 * i for i in range(13)]  # to 0.8
FALLS = [0.2, 0.3, 0.4, 0.5, 0.5, 0.4, 0.3, 0.2, 0.1, 0.1, 0.0, 0.0, 0.0]


def test_around_the_peak_by_hand():
    found = by_window(peaks(dev({"grpo": RISES, "prerl": FALLS}), STEPS, estimator()))
    assert found["prerl", "peak"]["estimate"] == pytest.approx(0.3) and found["prerl", "peak"]["steps"] == "30-30"
    assert found["prerl", "after the peak"]["estimate"] == pytest.approx(-0.5)  # the end is updates 110 and 120
    ahead = found["prerl", "before the peak"]  # 10, 20 and 30: 0.05, 0.1 and 0.15 ahead
    assert ahead["estimate"] == pytest.approx(0.1) and ahead["steps"] == "10-30" and ahead["reference"] == "grpo"
    assert found["grpo", "after the peak"]["estimate"] == pytest.approx(-0.025)  # the mean of the last two
    assert ("grpo", "before the peak") not in found


def test_a_method_is_followed_for_a_quarter_of_the_updates_though_its_peak_be_at_once():
    """Its peak is the base itself, where it could only track: at 30 updates GRPO is 0.15 ahead."""
    found = by_window(peaks(dev({"grpo": RISES, "prerl": [0.2] * 13}), STEPS, estimator()))
    assert found["prerl", "peak"]["estimate"] == 0 and found["prerl", "before the peak"]["steps"] == "10-30"
    assert found["prerl", "before the peak"]["estimate"] == pytest.approx(-0.1)


def test_the_peak_of_a_cell_is_chosen_by_others():
    """Of two runs and four problems: each sees the other run's other half."""
    curves = np.zeros((2, 4, 5))
    curves[0, ::2, 1] = curves[0, 1::2, 2] = curves[1, ::2, 3] = curves[1, 1::2, 4] = 1
    assert peak_columns(curves).tolist() == [[4, 3, 4, 3], [2, 1, 2, 1]]
    assert peak_columns(curves[:1]).tolist() == [[2, 1, 2, 1]]
    assert at_columns(curves, peak_columns(curves)).tolist() == np.zeros((2, 4)).tolist()


def test_the_best_of_many_level_evaluations_is_no_peak():
    """Level curves, noise of runs and of responses alike: the largest of 25 means is 4 points up, the peak is none."""
    rng, naive, crossed = np.random.default_rng(0), [], []
    for _ in range(200):
        shaken = 0.02 * rng.normal(size=(5, 1, 25)) + np.full((5, 128, 25), 0.4)
        curves = rng.binomial(4, shaken.clip(0, 1)) / 4
        naive.append(curves.mean((0, 1)).max() - 0.4)
        crossed.append(at_columns(curves, peak_columns(curves)).mean() - 0.4)
    assert np.mean(naive) > 0.02 and abs(np.mean(crossed)) < 0.003


@pytest.mark.slow
def test_a_fall_from_the_peak_of_a_level_curve_is_found_in_no_more_than_5_percent():
    rng, crossed, naive = np.random.default_rng(0), 0, 0
    for _ in range(400):
        difficulty = 0.3 + 0.2 * rng.random((1, 60, 1))
        curves = rng.binomial(4, (difficulty + 0.02 * rng.normal(size=(5, 1, 13))).clip(0, 1)) / 4
        end, best = curves[..., -2:].mean(-1), curves.mean((0, 1)).argmax()
        crossed += Estimator(100, rng).compare(end, at_columns(curves, peak_columns(curves)))["high"] < 0
        naive += Estimator(100, rng).compare(end, curves[..., best])["high"] < 0
    assert crossed / 400 <= 0.06 and naive / 400 > 0.15, (crossed, naive)


def test_updates_to_the_own_best_and_how_much_later_grpo_gets_there():
    """NSR-PreRL has its best, 0.5, after 10 updates; GRPO gets there after 60."""
    fast = [0.2, 0.5, 0.3, *[0.0] * 10]
    runs = dev({"grpo": RISES, "nsr-prerl": fast, "psr-prerl": [0.2] * 13})
    [row] = own_best(runs, STEPS, estimator())
    assert (row["method"], row["target"], row["threshold"]) == ("nsr-prerl", OWN_BEST, pytest.approx(0.5))
    assert row["estimate"] == pytest.approx(10) and row["speedup_estimate"] == pytest.approx(6)
    never = dev({"grpo": [0.2] * 13, "nsr-prerl": fast})
    [row] = own_best(never, STEPS, estimator())
    assert row["speedup_estimate"] == pytest.approx(12)  # its last update counts
    assert not [*own_best({"nsr-prerl": runs["nsr-prerl"]}, STEPS, estimator())]


def test_accuracy_holds_until_it_is_last_not_below_the_bases():
    assert held(np.array([0.3, 0.4, 0.2, 0.3, 0.1])[None, None]) == 3
    assert held(np.array([0.3, 0.2, 0.1])[None, None]) == 0


def test_ratios_are_taken_where_accuracy_last_holds():
    """NSR-PreRL holds until 70 updates. There it has 3 thoughts a problem, the base 1, GRPO 2; its responses that ended
    are 30 long, the base's 10 and GRPO's 20, and what did not end does not count."""
    rates = {"grpo": {0: 1, 70: 2, 120: 4}, "nsr-prerl": {0: 1, 70: 3, 120: 100}}
    runs = {}
    for method, curve in {"grpo": RISES, "nsr-prerl": FALLS}.items():
        by_step = rates[method]
        runs |= dev(
            {method: curve},
            transition=lambda step, p, by_step=by_step: by_step.get(step, 50),
            finished=lambda step, p: 1,
            finished_tokens=lambda step, p, by_step=by_step: 10 * by_step.get(step, 50),
        )
    rows = pd.DataFrame(ratios(runs, STEPS, ["transition"], estimator()))
    found = rows.set_index(["method", "quantity", "reference"])
    assert found.step.to_dict() == {
        ("grpo", "transition", "base"): 120,
        ("grpo", FINISHED, "base"): 120,
        **{("nsr-prerl", quantity, other): 70 for quantity in ("transition", FINISHED) for other in ("base", "grpo")},
    }
    for quantity in ("transition", FINISHED):
        assert found.estimate["nsr-prerl", quantity, "base"] == pytest.approx(3)
        assert found.estimate["nsr-prerl", quantity, "grpo"] == pytest.approx(1.5)
        assert found.estimate["grpo", quantity, "base"] == pytest.approx(4)
    counts = found.loc[("nsr-prerl", "transition", "grpo"), ["count", "reference_count"]]
    assert counts.tolist() == [2 * 40 * 3, 2 * 40 * 2]
    assert found.reference_count["nsr-prerl", FINISHED, "grpo"] == 80


def test_a_method_that_is_never_again_as_accurate_has_no_ratios_and_an_absent_kind_no_number():
    runs = dev({"nsr-prerl": [0.5, 0.2, 0.1]}, transition=lambda step, p: 1, finished=lambda step, p: 1)
    assert not [*ratios(runs, STEPS[:3], ["transition"], estimator())]
    none = dev(
        {"dsrl": RISES}, transition=lambda s, p: int(s > 0), finished=lambda s, p: 1, finished_tokens=lambda s, p: 9
    )
    rows = {row["quantity"]: row for row in ratios(none, STEPS, ["transition"], estimator())}
    assert np.isnan(rows["transition"]["estimate"]) and rows["transition"]["reference_count"] == 0
    assert rows[FINISHED]["estimate"] == 1
