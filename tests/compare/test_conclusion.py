"""Differences from baselines, and the conclusion in words."""

import numpy as np
import pandas as pd
import pytest

from prerl.analysis.scores import ALL
from prerl.compare.conclusion import Setting, conclude
from prerl.compare.differences import at_an_end, versus

LABELS = {"new": "New", "grpo": "GRPO", "a": "A", "b": "B", "c": "C"}


def tables(verdicts, names=("grpo", "a", "b", "c")):
    """The tables of a comparison: estimates are -0.1, 0, 0.1, ... where verdicts say worse, undecided, better."""
    gap = {"worse": -0.1, "undecided": 0.0, "better": 0.1}
    estimates = {name: gap[verdict] for name, verdict in zip(names, verdicts, strict=True)}
    scores = [
        {"method": name, "benchmark": benchmark, "metric": "avg", "estimate": value, "low": value, "high": value}
        | {"seeds": 5, "problems": 100}
        for benchmark in (ALL, "one", "two")
        for name, value in {"new": 0.4, **{name: 0.4 - gap for name, gap in estimates.items()}}.items()
    ]
    rows = pd.DataFrame({"baseline": names, "estimate": list(estimates.values()), "verdict": verdicts})
    rows = rows.assign(sure_low=rows.estimate - 0.05, sure_high=rows.estimate + 0.05)
    return rows.assign(detectable=[0.02, 0.03, 0.03, 0.034][: len(rows)]), pd.DataFrame(scores)


def said(verdicts, level=0.95, bases=5, left_out=None, names=("grpo", "a", "b", "c"), **more):
    versus, scores = tables(verdicts, names)
    setting = Setting(["one", "two"], left_out or {}, bases, **more)
    return conclude(versus, scores, "new", setting, LABELS, level)


def test_the_primary_comparison_comes_first_with_what_it_could_have_found():
    text = said(["undecided", "worse", "undecided", "better"])
    assert "200 problems, 5 replicates" in text
    primary = text.index(
        "Against GRPO, the primary comparison, the difference is +0.0 points [-5.0, +5.0], at 95 %: it is not told "
        "apart from GRPO. A true difference of 2.0 points would have been found with a chance of 80 %."
    )
    family = text.index(
        "Against 3 other baselines, by intervals that hold for all of them at once with 95 %, it is better than C; "
        "worse than A; not told apart from B. Found with 80 % would have been 3.0 to 3.4 points."
    )
    assert primary < family < text.index("The strongest baseline is A: the difference is -10.0 points [-15.0, -5.0]")
    assert "one base model" not in text and "variant" not in text and "look" not in text


def test_what_bounds_a_comparison_is_said():
    text = said(["better"] * 4, level=0.98333, bases=1, left_out={"three": "floor"}, rank=2, variants=3)
    assert "Not counted, being at the floor for base and baselines alike: three." in text
    assert "at 98.33 %: it is better than GRPO" in text and "better than all 3." in text
    assert "It is the 2nd variant compared on this checkout, where there are 3: the error" in text
    assert text.endswith("All runs start from one base model: what another base would give is not in these intervals.")
    assert "the 12th variant compared on this checkout: the" in said(["better"] * 4, rank=12, variants=12)


@pytest.mark.parametrize(
    ("look", "verdict", "words"),
    [
        (1, "undecided", "look 1 of 3, after 3 replicates, whose intervals have the level 99.86 %: not decided, go on"),
        (1, "better", "stop, the primary comparison is decided"),
        (3, "undecided", "after 8 replicates, whose intervals have the level 99.86 %: stop, this was the last look"),
    ],
)
def test_a_look_says_whether_to_stop(look, verdict, words):
    assert words in said([verdict, "better", "better", "better"], level=0.99863, look=look)


def test_one_baseline_is_enough():
    assert "it is worse than GRPO" in said(["worse"], names=("grpo",)) and "other" not in said(
        ["worse"], names=("grpo",)
    )
    text = said(["worse"], names=("a",))
    assert "Against 1 baseline, by an interval that holds with 95 %, it is worse than A." in text
    assert "primary" not in text and "The strongest baseline is A" in text


def run(rng, shares, problems=40, n=4):
    """Counts of a run with these shares of right responses, by benchmark."""
    parts = []
    for name, share in shares.items():
        right = rng.binomial(n, share, problems)
        parts.append(pd.DataFrame({"benchmark": name, "problem": range(problems), "n": n, "correct": right}))
    return pd.concat(parts, ignore_index=True).astype({"problem": str})


def study(shares, seeds=3):
    """Counts by method and replicate; of the base one replicate."""
    rng = np.random.default_rng(0)
    return {
        name: {seed: run(rng, one) for seed in range(1 if name == "base" else seeds)} for name, one in shares.items()
    }


def test_a_benchmark_at_an_end_for_base_and_baselines_is_not_counted():
    low, some, high = 0.001, 0.5, 0.999
    tests = study(
        {
            "base": {"floor": low, "rising": low, "middle": some, "ceiling": high},
            "grpo": {"floor": low, "rising": some, "middle": some, "ceiling": high},
            "a": {"floor": low, "rising": low, "middle": low, "ceiling": some},
            "new": {"floor": high, "rising": some, "middle": some, "ceiling": some},
        }
    )
    names = ["floor", "rising", "middle", "ceiling"]
    assert at_an_end(tests, ["grpo", "a"], names) == {"floor": "floor", "ceiling": "ceiling"}
    assert at_an_end(tests, ["grpo", "a"], ["floor", "ceiling"]) == {}  # nothing would be left
    rows = pd.DataFrame(versus(tests, "new", ["grpo", "a"], ["rising", "middle"])).set_index("baseline")
    means = rows[rows.metric == "avg"].pivot(columns="benchmark", values="estimate")
    assert means.loc["a", ALL] == pytest.approx(means.loc["a", ["rising", "middle"]].mean())
    assert set(names) < set(means.columns) and rows.verdict.notna().sum() == 2


def test_every_number_of_baselines_and_replicates_is_compared():
    """Two replicates, one baseline, a base of one row or of as many."""
    shares = {"base": {"one": 0.3}, "a": {"one": 0.4}, "new": {"one": 0.6}}
    for seeds in (1, 2):
        tests = study(shares, seeds)
        rows = pd.DataFrame(versus(tests, "new", ["a"], ["one"]))
        assert rows[["low", "high", "detectable", "freedom"]].notna().all(axis=None) and (rows.seeds == seeds).all()
        assert rows.verdict.notna().sum() == 1 and (rows.low <= rows.estimate).all()
    tests = study(shares, 3)
    tests["base"] = {seed: tests["a"][seed] for seed in (0, 1, 2)}
    rows = pd.DataFrame(versus(tests, "new", ["a"], ["one"])).set_index("baseline")
    assert rows.loc["base", "estimate"].tolist() == pytest.approx(rows.loc["a", "estimate"].tolist())
    tests["base"] = {seed: tests["a"][seed] for seed in (1, 2)}  # paired by replicate
    assert set(pd.DataFrame(versus(tests, "new", ["a"], ["one"])).set_index("baseline").loc["base", "seeds"]) == {2}


def test_the_primary_interval_does_not_pay_for_the_others():
    tests = study({name: {"one": 0.4} for name in ("base", "grpo", "a", "b", "c", "new")}, seeds=4)
    rows = pd.DataFrame(versus(tests, "new", ["grpo", "a", "b", "c"], ["one"], level=0.99))
    rows = rows[rows.verdict.notna()].set_index("baseline")
    assert rows.loc["grpo", "level"] == 0.99 and (rows.drop("grpo").level > 0.99).all()
    assert (rows.sure_low < rows.low).all() and (rows.sure_high > rows.high).all()
    assert rows.loc["grpo", "detectable"] < rows.drop("grpo").detectable.min()
