import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

from prerl.analysis.alignment import alignments, correlation, noises, positions
from prerl.analysis.scores import Estimator
from prerl.engines.local import train
from prerl.errors import UserError
from prerl.evaluation.alignment import (
    GROUP,
    Comparison,
    Sketch,
    align_base,
    align_run,
    compare,
    halves,
    parameter_groups,
)
from prerl.evaluation.partial import Partial
from prerl.model.lean import Prompts
from prerl.objective import forget_prompt
from tests.helpers import changed

PARTS = ("all", "body")


@pytest.fixture(scope="module")
def comparison(scale, trained):
    return Comparison(scale, trained / "model", trained / "problems", 3, "test")


@pytest.fixture(scope="module")
def base(scale, trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("alignment")
    align_base(
        changed(scale, analysis=changed(scale.analysis, alignment_rollouts=40)),
        trained / "model",
        trained / "problems",
        out,
    )
    return {name: pd.read_parquet(out / f"{name}.parquet") for name in ("alignment", "positions", "noise", "halves")}


RESPONSES = [{"ids": [3 + (7 * place + 5 * t) % 120 for t in range(6 + place % 5)]} for place in range(3 * GROUP)]


def drawn(comparison):
    """Of made-up responses: nothing rests on what a model happens to say."""
    return list(comparison.rollouts(RESPONSES))


def prompt_of(comparison, batch):
    return Prompts(comparison.lean, batch.prompt_ids, batch.prompt_mask)


def by_hand(comparison, batch, header):
    """Token log-probabilities and gradients in both spaces by transformers' own forward."""
    model, logp, gradients = comparison.model, {}, {}
    for space, asked in (("post_train", batch), ("pre_train", forget_prompt(batch, comparison.start))):
        context, response = asked.prompt_ids[0], asked.response_ids[0]
        logits = model(torch.cat([context, response])[None, :-1]).logits[0, len(context) - 1 :]
        values = logits.log_softmax(-1).gather(1, response[:, None])[:, 0]
        logp[space] = values.detach()
        for part, value in (("all", values.mean()), ("body", values[header:].mean())):
            grads = torch.autograd.grad(value, list(model.parameters()), retain_graph=True)
            gradients.setdefault(part, {})[space] = torch.cat([grad.flatten() for grad in grads])
    return logp, gradients


def test_gradients_and_log_probabilities_are_transformers(comparison):
    (batch, _, _), header = drawn(comparison)[1][1][2], 2
    logp, gradients = comparison.gradients(batch, prompt_of(comparison, batch), header)
    expected_logp, expected = by_hand(comparison, batch, header)
    for space in ("post_train", "pre_train"):
        torch.testing.assert_close(logp[space], expected_logp[space], atol=1e-5, rtol=1e-4)
        for part in PARTS:
            torch.testing.assert_close(gradients[part][space], expected[part][space], atol=1e-5, rtol=1e-3)


def test_a_response_that_only_restates_the_problem_has_no_body(comparison):
    batch, _, _ = drawn(comparison)[0][1][0]
    _, gradients = comparison.gradients(batch, prompt_of(comparison, batch), batch.response_ids.shape[1])
    assert set(gradients) == {"all"}


def test_parameter_groups_are_disjoint_and_whole(comparison):
    total = sum(parameter.numel() for parameter in comparison.model.parameters())
    assert set(comparison.groups) == {"embedding", "attention", "mlp", "norm"}
    places = sorted((place.start, place.stop) for group in comparison.groups.values() for place in group)
    assert places[0][0] == 0 and places[-1][1] == total
    assert all(first[1] == second[0] for first, second in pairwise(places))
    names = [name for name, _ in comparison.model.named_parameters()]
    norms = sum(p.numel() for name, p in comparison.model.named_parameters() if "norm" in name)
    assert sum(place.stop - place.start for place in comparison.groups["norm"]) == norms and any(
        "q_norm" in name for name in names
    )
    assert parameter_groups(comparison.model).keys() == comparison.groups.keys()


def test_compare_by_hand_and_groups_add_up(comparison):
    generator = torch.Generator().manual_seed(0)
    size = sum(parameter.numel() for parameter in comparison.model.parameters())
    a, b = torch.randn(2, size, generator=generator)
    rows = pd.DataFrame(compare({"post_train": a, "pre_train": b}, comparison.groups)).set_index("group")
    assert rows.inner_product["whole"] == pytest.approx(float((a * b).sum()), rel=1e-3)
    assert rows.cosine["whole"] == pytest.approx(float(torch.cosine_similarity(a, b, 0)), abs=1e-4)
    assert rows.inner_product.drop("whole").sum() == pytest.approx(rows.inner_product["whole"], abs=0.1)
    zero = compare({"post_train": torch.zeros(size), "pre_train": b}, comparison.groups)
    assert all(np.isnan(row["cosine"]) and row["inner_product"] == 0 for row in zero)


def test_the_base_is_compared_on_every_rollout(base):
    rows = base["alignment"]
    assert rows.rollout.nunique() == 40 and set(rows.part) == set(PARTS)
    assert rows.groupby("problem").rollout.nunique().le(GROUP * 2).all()
    assert rows.cosine.between(-1.001, 1.001).all()
    product = rows.cosine * rows.norm_post_train * rows.norm_pre_train
    assert product.tolist() == pytest.approx(rows.inner_product.tolist(), rel=1e-3, abs=1e-6)


def test_positions_hold_a_row_a_token(base):
    tokens, rows = base["positions"], base["alignment"]
    counted = tokens.groupby("rollout").size()
    expected = rows[(rows.part == "all") & (rows.group == "whole")].set_index("rollout").tokens
    assert (counted == expected).all()
    body = tokens[tokens.body].groupby("rollout").size()
    expected = rows[(rows.part == "body") & (rows.group == "whole")].set_index("rollout").tokens
    assert (body == expected).all()
    assert (tokens.logp_post_train <= 0).all() and (tokens.logp_pre_train <= 0).all()


def test_positions_of_a_rollout():
    logp = {"post_train": torch.tensor([-1.0, -2.0, -3.0]), "pre_train": torch.tensor([-4.0, -5.0, -6.0])}
    rows = Comparison.positions({"rollout": 7, "problem": "p", "correct": True}, logp, 2)
    assert [list(row.values()) for row in rows] == [
        [7, "p", 0, False, -1.0, -4.0],
        [7, "p", 1, False, -2.0, -5.0],
        [7, "p", 2, True, -3.0, -6.0],
    ]


def test_the_noise_is_a_rollout_against_the_last_of_the_problem_before(comparison, tmp_path, monkeypatch):
    monkeypatch.setattr(Comparison, "sample", lambda self: RESPONSES)
    noise = pd.DataFrame(comparison.run(Partial(tmp_path / "partial", {}), noise=True)["noise"])
    assert sorted(noise.rollout.unique()) == list(range(GROUP, 3 * GROUP))  # nothing stands before the first problem
    rollouts = [rollout for _, of_one in drawn(comparison) for rollout in of_one]
    for number, before in [(GROUP, GROUP - 1), (GROUP + 3, GROUP - 1), (2 * GROUP + 1, 2 * GROUP - 1)]:
        (_, own), (_, other) = (by_hand(comparison, *rollouts[place][:2]) for place in (number, before))
        for row in noise[noise.rollout == number].itertuples():
            pairs = {"across": own[row.part]["pre_train"], "within": own[row.part]["post_train"]}
            for name, gradient in pairs.items():
                expected = torch.cosine_similarity(gradient, other[row.part]["post_train"], 0)
                assert getattr(row, name) == pytest.approx(float(expected), abs=1e-4)


def test_halves_are_all_equal_splits_and_their_cosines():
    generator = torch.Generator().manual_seed(0)
    sums = torch.randn(4, 2, 50, generator=generator)
    rows = pd.DataFrame(halves("all", sums))
    assert len(rows) == 3  # of four blocks
    first, second = sums[[0, 1]].sum(0), sums[[2, 3]].sum(0)
    assert rows.within_post_train[0] == pytest.approx(float(torch.cosine_similarity(first[0], second[0], 0)), abs=1e-5)
    assert rows.within_pre_train[0] == pytest.approx(float(torch.cosine_similarity(first[1], second[1], 0)), abs=1e-5)
    both = [torch.cosine_similarity(half[0], half[1], 0) for half in (first, second)]
    assert rows.across[0] == pytest.approx(float(sum(both)) / 2, abs=1e-5)


def test_a_killed_comparison_goes_on_with_the_same_rows(scale, trained, tmp_path, monkeypatch):
    scale = changed(scale, analysis=changed(scale.analysis, alignment_rollouts=32))  # eight problems
    monkeypatch.setattr("prerl.evaluation.alignment.SAVE_EVERY", 2)
    align_base(scale, trained / "model", trained / "problems", tmp_path / "whole")
    gradients, calls = Comparison.gradients, []

    def killed(self, *arguments):
        calls.append(1)
        if len(calls) == 3 * GROUP + 2:  # in the fourth problem; two are saved
            raise KeyboardInterrupt
        return gradients(self, *arguments)

    monkeypatch.setattr(Comparison, "gradients", killed)
    with pytest.raises(KeyboardInterrupt):
        align_base(scale, trained / "model", trained / "problems", tmp_path / "killed")
    monkeypatch.setattr(Comparison, "sample", lambda self: pytest.fail("sampled again"))
    calls[:] = [1] * 100
    align_base(scale, trained / "model", trained / "problems", tmp_path / "killed")
    assert len(calls) == 100 + 6 * GROUP + 1  # the last of the second problem once more
    for name in ("alignment", "positions", "noise", "halves"):
        tables = [pd.read_parquet(tmp_path / which / f"{name}.parquet") for which in ("whole", "killed")]
        pd.testing.assert_frame_equal(*tables)
    assert not (tmp_path / "killed/alignment-partial").exists()


def test_along_training_a_stopped_run_keeps_its_last_checkpoint(scale, methods, trained, tmp_path, mixed_rewards):
    run = tmp_path / "grpo/seed0"
    train(scale, "grpo", methods["grpo"], 0, trained / "model", trained / "problems", run)
    align_run(scale, run, trained / "problems", run)
    rows = pd.read_parquet(run / "alignment.parquet")
    assert set(rows.step) == {3, 6} == set(scale.analysis.alignment_steps)
    wanted = -(-scale.analysis.alignment_rollouts // (GROUP * len(scale.seeds))) * GROUP
    assert rows.groupby("step").rollout.nunique().tolist() == [wanted, wanted]
    for file in sorted((run / "checkpoints/step-00006").iterdir()):
        file.unlink()
    (run / "checkpoints/step-00006").rmdir()
    align_run(scale, run, trained / "problems", tmp_path)
    stopped = pd.read_parquet(tmp_path / "alignment.parquet")
    last, first = (stopped[stopped.step == step].drop(columns="step").reset_index(drop=True) for step in (6, 3))
    pd.testing.assert_frame_equal(last, first)
    assert set(json.loads((tmp_path / "alignment.json").read_text())["inputs"]) == {"step-00003"}
    with pytest.raises(UserError, match="no checkpoints"):
        align_run(scale, tmp_path, tmp_path, tmp_path)


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


def test_noises_are_means_over_pairs_and_over_splits(base):
    found = pd.DataFrame(noises(base["noise"], base["halves"], Estimator(100, np.random.default_rng(0))))
    found = found.set_index(["part", "of", "pair"])
    pairs, splits = base["noise"], base["halves"]
    row = found.loc[("all", "rollouts", "across")]
    assert row.estimate == pytest.approx(pairs[pairs.part == "all"].across.mean()) and row.low < row.estimate < row.high
    row = found.loc[("body", "halves", "within_pre_train")]
    chosen = splits[splits.part == "body"].within_pre_train
    assert (row.estimate, row.low, row.high) == pytest.approx((chosen.mean(), chosen.min(), chosen.max()))
    assert row["count"] == 35


def test_a_folded_gradient_keeps_its_cosines_and_a_short_one_stays():
    generator = torch.Generator().manual_seed(0)
    first, noise = (torch.randn(3 * Sketch.WIDTH + 7, generator=generator) for _ in range(2))
    second = 0.6 * first + 0.8 * noise
    sketch = Sketch(len(first))
    folded = sketch(first), sketch(second)
    assert folded[0].shape == (Sketch.WIDTH,) == (sketch.size,)
    expected = torch.cosine_similarity(first, second, 0)
    assert torch.cosine_similarity(*folded, 0) == pytest.approx(float(expected), abs=0.005)
    assert torch.allclose(sum(folded), sketch(first + second), atol=1e-4)
    short = torch.randn(5)
    assert Sketch(5)(short) is short and Sketch(5).size == 5
