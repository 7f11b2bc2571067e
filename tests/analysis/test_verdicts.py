import math

import pytest
from scipy import stats

from prerl.analysis.verdicts import (
    BESIDE,
    ENOUGH,
    EQUIVALENT,
    HOLDS,
    OPEN,
    REFUTED,
    Part,
    amount,
    finding,
    holm,
    level,
    row,
    rule,
    sentence,
    size,
    verdict,
)


def part(low, high, side="above", margin=0.0, unit="points", estimate=None, **more):
    estimate = (low + high) / 2 if estimate is None else estimate
    return Part("DSRL less GRPO", unit, estimate, low, high, "3 seeds", side=side, margin=margin, **more)


@pytest.mark.parametrize(
    ("side", "margin", "low", "high", "expected"),
    [
        ("above", 0, 0.1, 2, HOLDS),
        ("above", 0, -2, -0.1, REFUTED),
        ("above", 0, -0.1, 2, OPEN),
        ("above", 2, 1.1, 1.9, REFUTED),
        ("above", 2, 1.9, 2.1, OPEN),
        ("above", -5, -4, 9, HOLDS),
        ("below", 0, -2, -0.1, HOLDS),
        ("below", 0, 0.1, 2, REFUTED),
        ("below", 0, -1, 1, OPEN),
        ("above", 0, 0, 0, OPEN),
        ("within", 5, -4.9, 4.9, HOLDS),
        ("within", 5, 5.1, 9, REFUTED),
        ("within", 5, -9, -5.1, REFUTED),
        ("within", 5, -5.1, 0, OPEN),
        (BESIDE, math.nan, 1, 2, BESIDE),
    ],
)
def test_the_interval_decides(side, margin, low, high, expected):
    assert finding(part(low, high, side, margin)) == expected


def test_a_claim_about_every_rollout_falls_with_one_and_needs_400():
    none = {count: Part("", "share", 0.0, 0.0, 0.01, "", side="never", count=count) for count in (399, 400, 1000)}
    assert [finding(part) for part in none.values()] == [OPEN, HOLDS, HOLDS]
    one = Part("", "share", 1 / 1000, 0.0, 0.01, "", side="never", count=1000)
    assert finding(one) == REFUTED and level([one]) == 0
    assert level([none[400]]) == pytest.approx(0.05) and level([none[1000]]) < 0.001 and ENOUGH == 400


GOOD, BAD, UNSURE, SMALL = part(1, 3), part(-3, -1), part(-3, 3), part(-1.9, 1.9)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([GOOD], "reproduced"),
        ([GOOD, GOOD], "reproduced"),
        ([GOOD, BAD], "not reproduced"),
        ([UNSURE, BAD], "not reproduced"),
        ([GOOD, UNSURE], "inconclusive"),
        ([SMALL], "equivalent"),
        ([SMALL, part(0.1, 1.9)], "equivalent"),
        ([SMALL, GOOD], "inconclusive"),  # one effect is too large to be none
        ([SMALL, part(-1.9, -0.1)], "not reproduced"),
        ([GOOD, part(-9, -8, BESIDE)], "reproduced"),
        ([part(0.81, 1.24, margin=1, unit="ratio")], "equivalent"),
        ([part(0.79, 1.24, margin=1, unit="ratio")], "inconclusive"),
        ([part(0.81, 1.24, margin=2, unit="ratio")], "not reproduced"),
        ([part(-0.04, 0.04, unit="cosine")], "equivalent"),
        ([Part("", "share", 0.0, 0.0, 0.01, "", side="never", count=9)], "inconclusive"),
    ],
)
def test_a_claim_needs_all_of_its_conditions_and_falls_with_one(parts, expected):
    assert verdict(parts) == expected
    assert EQUIVALENT == {"points": 2, "ratio": 1.25, "cosine": 0.05}


def test_the_level_is_that_of_a_t_test():
    """An interval of t +- 2.776 standard errors of 1 with 4 degrees of freedom, against margins 0 and 3."""
    reach = stats.t.ppf(0.975, 4)
    one = part(4 - reach, 4 + reach, freedom=4)
    assert level([one]) == pytest.approx(2 * stats.t.sf(4, 4))
    assert level([part(3 - reach, 3 + reach, freedom=4)]) == pytest.approx(2 * stats.t.sf(3, 4))
    assert level([part(4 - 1.959964, 4 + 1.959964)]) == pytest.approx(2 * stats.norm.sf(4), rel=1e-4)
    ratio = part(math.exp(4 - reach), math.exp(4 + reach), margin=1, unit="ratio", estimate=math.exp(4), freedom=4)
    assert level([ratio]) == pytest.approx(2 * stats.t.sf(4, 4))
    within = part(1 - 2, 1 + 2, "within", 5, freedom=4)  # the nearer margin is 4 away, two intervals' halves
    assert level([within]) == pytest.approx(2 * stats.t.sf(2 * reach, 4))


@pytest.mark.parametrize("freedom", [2.0, 11.3, math.inf])
def test_an_interval_that_touches_the_margin_has_the_level_of_5_percent(freedom):
    for made in (part(1e-9, 2, freedom=freedom), part(-2, -1e-9, freedom=freedom)):
        assert level([made]) == pytest.approx(0.05, abs=1e-6)


def test_all_conditions_must_hold_but_one_of_several_is_enough_to_refute():
    levels = {name: level([one]) for name, one in {"sure": part(2, 3), "unsure": part(0.1, 3)}.items()}
    assert levels["sure"] < 1e-9 < levels["unsure"] < 0.05
    assert level([part(2, 3), part(0.1, 3)]) == levels["unsure"]
    refuted = part(-3, -0.1)
    assert level([refuted, part(-1, 3), part(2, 3)]) == pytest.approx(3 * levels["unsure"])
    assert level([refuted, part(-1, 3, BESIDE)]) == pytest.approx(levels["unsure"])
    assert math.isnan(level([part(-1, 3)]))
    assert level([part(-0.5, 0.5)]) < 1e-9  # equivalent, and far within


def test_ends_without_a_number_tell_nothing():
    assert level([part(0.0, 0.5, margin=1, unit="ratio", estimate=0.4)]) < 0.05
    assert level([part(1.1, math.inf, margin=1, unit="ratio", estimate=3)]) < 0.05
    never = part(0.0, 0.0, margin=1, unit="ratio", estimate=0.0)
    assert verdict([never]) == "not reproduced"
    exact = part(2.0, 2.0)
    assert verdict([exact]) == "reproduced" and level([exact]) == 0


def test_holm_by_hand():
    """0.05 / 4, / 3, / 2: the third fails, and so the fourth, though it is below 0.05."""
    assert holm([0.04, 0.01, 0.03, 0.016]) == [False, True, False, True]
    assert holm([0.04]) == [True] and holm([]) == []
    assert holm([math.nan, 0.02, math.nan]) == [False, False, False]  # 0.05 / 3: what is open counts too
    assert holm([math.nan, 0.016, math.nan]) == [False, True, False]


def test_holm_keeps_the_chance_of_any_wrong_verdict():
    import numpy as np

    rng = np.random.default_rng(0)
    wrong = [any(holm(list(rng.random(13)))) for _ in range(2000)]
    assert 0.03 < np.mean(wrong) < 0.065
    assert np.mean([(rng.random(13) < 0.05).any() for _ in range(2000)]) > 0.4


def test_the_reported_size_is_excluded_or_compatible():
    assert size(part(1, 3, reported=2.0)) == "compatible" and size(part(1, 3, reported=3.1)) == "excluded"
    assert size(part(1, 3)) == ""


def test_a_part_in_a_row_and_in_words():
    made = part(1, 3, freedom=10, reported=1.75)
    found = row(made)
    assert (found["rule"], found["finding"], found["size"]) == ("above 0", HOLDS, "compatible")
    assert found["level"] == level([made]) and math.isnan(row(part(-1, 1))["level"])
    beside = part(0.5, 2, BESIDE, unit="ratio", estimate=1)
    assert sentence("Accuracy in domain", [made, beside]) == (
        "Reproduced. Accuracy in domain. DSRL less GRPO: +2.0 [+1.0, +3.0] points (needs above 0: holds; reported +1.8 "
        "points: compatible); DSRL less GRPO: 1 [0.5, 2]. From 3 seeds."
    )
    assert rule(part(1, 2, "within", 5)) == "within ±5" and rule(beside) == ""
    assert rule(part(0, 0, "never")) == "none in 400 or more" and amount("share", 0.25) == "0.25"
