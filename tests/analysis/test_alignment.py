"""Alignment summarised: means over rollouts, by position, noise."""

import numpy as np
import pandas as pd
import pytest

from prerl.analysis.alignment import alignments, correlation, noises, positions
from prerl.analysis.scores import Estimator


def rollouts(rng, seeds=2, problems=8, each=4):
    size = seeds * problems * each
    return pd.DataFrame(
        {
            "method": "grpo",
            "step": 10,
            "part": "all",
            "group": "whole",
            "seed": np.repeat(np.arange(seeds), problems * each),
            "problem": np.tile(np.repeat([f"p{n}" for n in range(problems)], each), seeds),
            "correct": rng.random(size) < 0.4,
            "cosine": rng.uniform(-0.2, 1, size),
            "inner_product": rng.normal(1, 1, size),
            "norm_post_train": 1.0,
            "norm_pre_train": 2.0,
        }
    )


def test_alignments_are_means_over_rollouts_right_and_wrong_apart():
    table = rollouts(np.random.default_rng(0))
    table.loc[[0, 1], "cosine"] = np.nan  # zero gradients
    found = pd.DataFrame(alignments(table, Estimator(100, np.random.default_rng(0)))).set_index(["correct", "quantity"])
    right = table[table.correct]
    assert found.estimate["right", "cosine"] == pytest.approx(right.cosine.mean())
    assert found.estimate["any", "negative"] == pytest.approx((table.inner_product < 0).mean())
    assert found.minimum["wrong", "inner_product"] == table[~table.correct].inner_product.min()
    assert found.maximum["wrong", "inner_product"] == table[~table.correct].inner_product.max()
    none = table.assign(inner_product=1.0)
    never = pd.DataFrame(alignments(none, Estimator(50, np.random.default_rng(0))))
    assert never.query("correct == 'any' and quantity == 'negative'").high.item() == pytest.approx(
        1 - 0.025 ** (1 / 64)
    )
    row = found.loc[("any", "cosine")]
    assert (row.rollouts, row.undefined, row.seeds, row.problems) == (62, 2, 2, 8) and row.low < row.estimate < row.high


def test_positions_by_hand():
    rng = np.random.default_rng(0)
    lengths = np.r_[np.full(30, 3), np.full(10, 2)]
    table = pd.DataFrame(
        {
            "rollout": np.repeat(np.arange(40), lengths),
            "problem": np.repeat([f"p{n // 2}" for n in range(40)], lengths),
            "position": np.concatenate([np.arange(n) for n in lengths]),
        }
    ).assign(logp_post_train=lambda t: rng.normal(size=len(t)), body=lambda t: t.position > 0)
    table["logp_pre_train"] = 0.5 * table.logp_post_train + rng.normal(size=len(table)) - 1
    table = table[(table.rollout < 39) | (table.position < 2)]
    found = pd.DataFrame(positions(table, Estimator(200, rng))).set_index(["part", "position", "quantity"]).sort_index()
    assert set(found.index.get_level_values("position")) == {-1, 0, 1, 2}
    for where, rows in {("all", 1): table[table.position == 1], ("body", -1): table[table.body]}.items():
        difference, correlated = found.loc[(*where, "difference")], found.loc[(*where, "correlation")]
        assert difference.estimate == pytest.approx((rows.logp_post_train - rows.logp_pre_train).mean())
        pair = rows[["logp_post_train", "logp_pre_train"]].corr().iloc[0, 1]
        assert correlated.estimate == pytest.approx(pair) and correlated.low < pair < correlated.high
        assert difference.tokens == len(rows) and difference.problems == 20
    short = table[(table.position < 2) | (table.rollout < 29)]
    assert 2 not in pd.DataFrame(positions(short, Estimator(50, rng))).position.tolist()  # fewer than 30 rollouts


@pytest.mark.slow
def test_95_percent_intervals_of_a_correlation_cover_92_to_97_percent_of_2000_truths():
    rng, covered, rho = np.random.default_rng(0), 0, 0.6
    for _ in range(2000):
        shared = np.repeat(rng.normal(size=(60, 2)), 4, axis=0)
        x, y = (shared + rng.normal(size=(240, 2))).T
        rows = pd.DataFrame({"problem": np.repeat(np.arange(60), 4), "logp_post_train": x})
        rows["logp_pre_train"] = rho * x + np.sqrt(1 - rho**2) * y
        found = correlation(rows, Estimator(200, rng))
        covered += found["low"] <= rho <= found["high"]
    assert 0.92 <= covered / 2000 <= 0.97


def test_noises_are_means_over_pairs_and_over_splits():
    rng = np.random.default_rng(0)
    names = ("within_post_train", "within_pre_train", "across", "across_halves")
    splits = pd.DataFrame({"part": np.repeat(["all", "body"], 35)} | {name: rng.random(70) for name in names})
    pairs = pd.DataFrame({"rollout": np.repeat(np.arange(40), 2), "part": ["all", "body"] * 40})
    pairs = pairs.assign(problem=pairs.rollout // 4, across=rng.random(80), within=rng.random(80))
    found = pd.DataFrame(noises(pairs, splits, Estimator(100, np.random.default_rng(0))))
    found = found.set_index(["part", "of", "pair"])
    row = found.loc[("all", "rollouts", "across")]
    assert row.estimate == pytest.approx(pairs[pairs.part == "all"].across.mean()) and row.low < row.estimate < row.high
    row = found.loc[("body", "halves", "within_pre_train")]
    chosen = splits[splits.part == "body"].within_pre_train
    assert (row.estimate, row.low, row.high) == pytest.approx((chosen.mean(), chosen.min(), chosen.max()))
    assert row["count"] == 35
