"""Alignment summarised: means over rollouts, by position, noise."""

import numpy as np
import pandas as pd
import pytest

from prerl.analysis.alignment import alignments, correlation, noises, positions, updates
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
            "other_prompt": rng.uniform(-0.2, 0.5, size),
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
    row, excess = found.loc[("any", "other_prompt")], found.loc[("any", "excess")]
    assert row.estimate == pytest.approx(table.other_prompt.mean()) and row.rollouts == 64
    assert excess.estimate == pytest.approx((table.cosine - table.other_prompt).mean()) and excess.rollouts == 62
    assert excess.low < excess.estimate < excess.high
    row = found.loc[("any", "cosine")]
    assert (row.rollouts, row.undefined, row.seeds, row.problems) == (62, 2, 2, 8) and row.low < row.estimate < row.high


def test_positions_by_hand():
    rng = np.random.default_rng(0)
    lengths = np.r_[np.full(30, 3), np.full(10, 2)]
    table = pd.DataFrame(
        {
            "seed": 0,
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
        rows = pd.DataFrame({"seed": 0, "problem": np.repeat(np.arange(60), 4), "logp_post_train": x})
        rows["logp_pre_train"] = rho * x + np.sqrt(1 - rho**2) * y
        found = correlation(rows, Estimator(200, rng))
        covered += found["low"] <= rho <= found["high"]
    assert 0.92 <= covered / 2000 <= 0.97


def estimator(resamples=100):
    return Estimator(resamples, np.random.default_rng(0))


def test_noises_are_means_over_pairs_and_over_splits():
    rng = np.random.default_rng(0)
    names = ("within_post_train", "within_pre_train", "across", "across_halves")
    splits = pd.DataFrame(
        {"seed": 0, "part": np.repeat(["all", "body"], 35)} | {name: rng.random(70) for name in names}
    )
    pairs = pd.DataFrame({"seed": 0, "rollout": np.repeat(np.arange(40), 2), "part": ["all", "body"] * 40})
    pairs = pairs.assign(problem=pairs.rollout // 4, across=rng.random(80), within=rng.random(80))
    table = rollouts(rng).assign(method="base", step=0)
    aligned = pd.DataFrame(alignments(pd.concat([table, table.assign(group="mlp", cosine=0.0)]), estimator()))
    found = pd.DataFrame(noises(pairs, splits, aligned, estimator())).set_index(["part", "of", "pair"])
    row = found.loc[("all", "rollouts", "across")]
    assert row.estimate == pytest.approx(pairs[pairs.part == "all"].across.mean()) and row.low < row.estimate < row.high
    row = found.loc[("body", "halves", "within_pre_train")]
    chosen = splits[splits.part == "body"].within_pre_train
    assert (row.estimate, row.low, row.high) == pytest.approx((chosen.mean(), chosen.min(), chosen.max()))
    assert row["count"] == 35
    for pair, values in {
        "cosine": table.cosine,
        "other_prompt": table.other_prompt,
        "excess": table.cosine - table.other_prompt,
    }.items():
        row = found.loc[("all", "rollouts", pair)]
        assert row.estimate == pytest.approx(values.mean()) and (row["count"], row.seeds, row.problems) == (64, 2, 16)


def test_problems_of_two_bases_are_each_their_own_also_where_some_are_the_same():
    """Every base draws its own: problem p0 of one has nothing to do with p0 of the other."""
    table = rollouts(np.random.default_rng(0)).assign(method="base", step=0)
    other = table.assign(
        problem=[name + "b" if seed else name for name, seed in zip(table.problem, table.seed, strict=True)]
    )
    found, others = (pd.DataFrame(alignments(one, estimator())) for one in (table, other))
    pd.testing.assert_frame_equal(found, others)
    assert (found.problems[found.correct == "any"] == 16).all()
    shared = pd.DataFrame(alignments(table.assign(method="grpo"), estimator()))
    assert (shared.problems[shared.correct == "any"] == 8).all()  # all runs meet the same


def of_batches(rng, seeds=3, size=4):
    keys = pd.MultiIndex.from_product([range(seeds), range(size), ["grpo", "prerl"]], names=["seed", "batch", "method"])
    table = keys.to_frame(index=False).assign(used=8, norm=rng.uniform(1, 2, len(keys)), header_share=np.nan)
    return table.assign(cosine=np.where(table.method == "grpo", 1.0, rng.uniform(0, 0.5, len(keys))))


def test_updates_are_means_over_batches_with_a_signal():
    table = of_batches(np.random.default_rng(0))
    table.loc[table.batch == 3, ["used", "norm", "cosine"]] = [0, 0.0, np.nan]
    found = pd.DataFrame(updates(table, estimator())).set_index(["method", "quantity"])
    assert set(found.index) == {(name, quantity) for name in ("grpo", "prerl") for quantity in ("cosine", "norm")}
    for quantity in ("cosine", "norm"):
        row, chosen = found.loc[("prerl", quantity)], table[(table.method == "prerl") & (table.batch != 3)]
        assert row.estimate == pytest.approx(chosen[quantity].mean()) and row.low < row.estimate < row.high
        assert (row.reference, row.seeds, row.batches, row.skipped) == ("grpo", 3, 9, 3)
    row = found.loc[("grpo", "cosine")]
    assert (row.estimate, row.low, row.high) == (1, 1, 1)
    shares = pd.DataFrame(updates(table.assign(header_share=0.25), estimator())).set_index(["method", "quantity"])
    assert shares.estimate["prerl", "header_share"] == 0.25


def test_no_batches_have_no_updates():
    assert list(updates(of_batches(np.random.default_rng(0)).iloc[:0], estimator())) == []


@pytest.mark.slow
def test_95_percent_intervals_of_an_update_cover_92_to_98_percent_of_600_truths():
    """Of five bases with four batches each: bases differ, and batches of one base are alike only for that."""
    rng, covered = np.random.default_rng(0), 0
    table = of_batches(rng, seeds=5)
    table = table[table.method == "prerl"].assign(norm=np.nan)
    for _ in range(600):
        values = np.repeat(rng.normal(0, 0.1, 5), 4) + rng.normal(0, 0.1, 20)
        [row] = updates(table.assign(cosine=values), estimator(200))
        covered += row["low"] <= 0 <= row["high"]
    assert 0.92 <= covered / 600 <= 0.98
