import json

import pandas as pd
import pytest
import torch

from prerl.engines.local import train
from prerl.errors import UserError
from prerl.evaluation.alignment import GROUP, Comparison, align_base, align_run
from prerl.evaluation.partial import Partial
from prerl.model.plain import load_pretrained
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


def by_hand(comparison, batch, header):
    """Token log-probabilities and gradients in both spaces by transformers' own forward."""
    model, logp, gradients = load_pretrained(comparison.path), {}, {}
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
    logp, gradients = comparison.gradients(batch, header)
    expected_logp, expected = by_hand(comparison, batch, header)
    for space in ("post_train", "pre_train"):
        torch.testing.assert_close(logp[space], expected_logp[space], atol=1e-5, rtol=1e-4)
        for part in PARTS:
            torch.testing.assert_close(gradients[part][space], expected[part][space], atol=1e-5, rtol=1e-3)


def test_a_response_that_only_restates_the_problem_has_no_body(comparison):
    batch, _, _ = drawn(comparison)[0][1][0]
    _, gradients = comparison.gradients(batch, batch.response_ids.shape[1])
    assert set(gradients) == {"all"}


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
