import json
from dataclasses import replace

import pandas as pd
import pytest
import torch

from prerl.engines.local import train
from prerl.errors import UserError
from prerl.evaluation.alignment import align_base, align_run
from prerl.evaluation.comparison import BLOCKS, GROUP, Comparison, elsewhere
from prerl.evaluation.partial import Partial
from prerl.model.plain import load_pretrained
from prerl.objective import forget_prompt
from prerl.problems.countdown import Problem
from tests.helpers import changed

PARTS = ("all", "body")
TABLES = ("alignment", "positions", "noise", "halves", "updates")


@pytest.fixture(scope="module")
def comparison(scale, trained):
    return Comparison(scale, trained / "model", trained / "problems", 3, "test")


@pytest.fixture(scope="module")
def base(scale, methods, trained, tmp_path_factory):
    """Of one of two bases, which share the rollouts."""
    out = tmp_path_factory.mktemp("alignment")
    scale = changed(scale, analysis=changed(scale.analysis, alignment_rollouts=80))
    align_base(scale, methods, 1, trained / "model", trained / "problems", out)
    return {name: pd.read_parquet(out / f"{name}.parquet") for name in TABLES}


RESPONSES = [{"ids": [3 + (7 * place + 5 * t) % 120 for t in range(6 + place % 5)]} for place in range(3 * GROUP)]


def drawn(comparison):
    """Of made-up responses: nothing rests on what a model happens to say."""
    return list(comparison.rollouts(RESPONSES))


def by_hand(comparison, batch, header, other_prompt=(1, 5)):
    """Token log-probabilities and gradients in both spaces, and behind another prompt, by transformers' own forward."""
    model, logp, gradients = load_pretrained(comparison.path), {}, {}
    other = replace(batch, prompt_ids=torch.tensor([other_prompt]))
    spaces = {"post_train": batch, "pre_train": forget_prompt(batch, comparison.start), "other_prompt": other}
    for space, asked in spaces.items():
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
    logp, gradients = comparison.all_gradients((batch, header, True), 1)
    expected_logp, expected = by_hand(comparison, batch, header, comparison.prompts[comparison.others[1]])
    for space in ("post_train", "pre_train", "other_prompt"):
        torch.testing.assert_close(logp[space], expected_logp[space], atol=1e-5, rtol=1e-4)
        for part in PARTS:
            torch.testing.assert_close(gradients[part][space], expected[part][space], atol=1e-5, rtol=1e-3)


def test_a_response_that_only_restates_the_problem_has_no_body(comparison):
    batch, _, _ = drawn(comparison)[0][1][0]
    _, gradients = comparison.gradients(batch, batch.response_ids.shape[1])
    assert set(gradients) == {"all"}


@pytest.mark.parametrize(
    ("names", "expected"), [("abc", [1, 2, 0]), ("aab", [2, 2, 0]), ("abba", [1, 3, 3, 1]), ("aa", None), ("a", None)]
)
def test_the_other_prompt_is_the_next_one_of_another_problem(names, expected):
    problems = [Problem(numbers=(ord(name), 1), target=2) for name in names]
    assert elsewhere(problems) == expected


def test_where_all_problems_are_one_there_is_no_other_prompt(comparison, monkeypatch):
    monkeypatch.setattr(comparison, "others", None)
    _, gradients = comparison.all_gradients(drawn(comparison)[0][1][0], 0)
    assert all(set(found) == {"post_train", "pre_train"} for found in gradients.values())


def test_bases_meet_problems_of_their_own_and_all_runs_the_same(scale, trained):
    def problems(seed):
        made = Comparison(scale, trained / "model", trained / "problems", 20, "test", seed)
        return [problem.id for problem in made.problems], [row["ids"] for row in made.sample()]

    first, second, of_runs = problems(0), problems(1), problems(None)
    assert first[0] != second[0] != of_runs[0] != first[0] and first[1] != second[1]
    assert problems(None) == of_runs and problems(1) == second


def test_the_base_is_compared_on_every_rollout(base):
    rows = base["alignment"]
    assert rows.rollout.nunique() == 40 and set(rows.part) == set(PARTS)
    assert rows.groupby("problem").rollout.nunique().le(GROUP * 2).all()
    assert rows.cosine.between(-1.001, 1.001).all()
    product = rows.cosine * rows.norm_post_train * rows.norm_pre_train
    assert product.tolist() == pytest.approx(rows.inner_product.tolist(), rel=1e-3, abs=1e-6)


def test_the_other_prompts_cosine_stands_beside_each(comparison, tmp_path, monkeypatch):
    monkeypatch.setattr(Comparison, "sample", lambda self: RESPONSES)
    rows = pd.DataFrame(comparison.run(Partial(tmp_path / "partial", {}), noise=False)["alignment"])
    for place, of_one in enumerate(rollouts for _, rollouts in drawn(comparison)):
        batch, header, _ = of_one[1]
        _, expected = by_hand(comparison, batch, header, comparison.prompts[comparison.others[place]])
        row = rows[(rows.rollout == place * GROUP + 1) & (rows.group == "whole") & (rows.part == "all")].iloc[0]
        pair = expected["all"]
        cosine = torch.cosine_similarity(pair["post_train"], pair["other_prompt"], 0)
        assert row.other_prompt == pytest.approx(float(cosine), abs=1e-4)


def test_whole_updates_are_compared_on_the_bases_share_of_the_batches(base, scale):
    rows = base["updates"]
    assert rows.batch.nunique() == scale.analysis.alignment_batches / len(scale.base_seeds) == 2
    assert rows.groupby("batch").method.apply(list).map(len).eq(8).all()


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
    assert comparison.blocks == 2  # a block has a problem at least
    for number, before in [(GROUP, GROUP - 1), (GROUP + 3, GROUP - 1), (2 * GROUP + 1, 2 * GROUP - 1)]:
        (_, own), (_, other) = (by_hand(comparison, *rollouts[place][:2]) for place in (number, before))
        for row in noise[noise.rollout == number].itertuples():
            pairs = {"across": own[row.part]["pre_train"], "within": own[row.part]["post_train"]}
            for name, gradient in pairs.items():
                expected = torch.cosine_similarity(gradient, other[row.part]["post_train"], 0)
                assert getattr(row, name) == pytest.approx(float(expected), abs=1e-4)


def test_a_killed_comparison_goes_on_with_the_same_rows(scale, methods, trained, tmp_path, monkeypatch):
    scale = changed(scale, seeds=[0], analysis=changed(scale.analysis, alignment_rollouts=BLOCKS * GROUP))
    monkeypatch.setattr("prerl.evaluation.comparison.SAVE_EVERY", 2)

    def align(out):
        align_base(scale, methods, 0, trained / "model", trained / "problems", out)

    align(tmp_path / "whole")
    gradients, calls = Comparison.gradients, []

    def killed(self, *arguments):
        calls.append(1)
        if len(calls) == 3 * 3 * GROUP + 2:  # in the fourth problem, three gradients a rollout; two are saved
            raise KeyboardInterrupt
        return gradients(self, *arguments)

    monkeypatch.setattr(Comparison, "gradients", killed)
    with pytest.raises(KeyboardInterrupt):
        align(tmp_path / "killed")
    monkeypatch.setattr(Comparison, "sample", lambda self: pytest.fail("sampled again"))
    calls[:] = [1] * 100
    align(tmp_path / "killed")
    assert len(calls) == 100 + 6 * 3 * GROUP + 1  # the last of the second problem once more
    for name in TABLES:
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
