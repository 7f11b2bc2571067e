from dataclasses import replace

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from prerl.engines.local import Run
from prerl.engines.session import reason, stopped
from prerl.engines.update import CRITIC_COEFFICIENT, critic_for, learn, make_batch, phase_at
from prerl.errors import UserError
from prerl.model.lean import LeanModel, load, response_hidden, response_logp
from prerl.model.sampler import Response, Sampling, sample
from prerl.objective import clipped_loss, critic_advantages, forget_prompt, group_advantages
from prerl.problems.countdown import is_correct
from prerl.settings.methods import Phase
from tests.helpers import changed
from tests.runs import Killed, run


@pytest.mark.parametrize("name", ["dsrl", "ppo"])  # ppo has a critic to resume too
def test_resume_gives_the_same_bytes_as_an_uninterrupted_run(
    scale, methods, trained, tmp_path, monkeypatch, mixed_rewards, name
):
    whole = run(scale, methods, trained, tmp_path / "whole", name)
    assert whole[0].used_samples.gt(0).all()
    update = Run.update

    def killed(self, step, phase):
        if step == 5:
            raise Killed
        return update(self, step, phase)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "update", killed)
        with pytest.raises(Killed):
            run(scale, methods, trained, tmp_path / "killed", name)
    steps = []
    with monkeypatch.context() as patch:
        patch.setattr(Run, "update", lambda self, step, phase: steps.append(step) or update(self, step, phase))
        resumed = run(scale, methods, trained, tmp_path / "killed", name)
    assert steps == [4, 5, 6]  # from the checkpoint after step 3
    pd.testing.assert_frame_equal(resumed[0], whole[0])
    pd.testing.assert_frame_equal(resumed[1], whole[1])
    assert resumed[2] == whole[2]
    last = "checkpoints/step-00006/model.safetensors"
    assert (tmp_path / "killed" / last).read_bytes() == (tmp_path / "whole" / last).read_bytes()


def test_a_finished_run_starts_anew_and_repeats_itself(scale, methods, trained, tmp_path):
    first = run(scale, methods, trained, tmp_path)
    again = run(scale, methods, trained, tmp_path)
    assert len(again[0]) == scale.rl.steps and again[2] == first[2]


def test_seeds_differ_and_methods_share_their_problems(scale, methods, trained, tmp_path, monkeypatch, mixed_rewards):
    drawn, rollout = [], Run.rollout

    def watched(self, problems, repeats, seed):
        drawn.append([problem.id for problem in problems])
        return rollout(self, problems, repeats, seed)

    monkeypatch.setattr(Run, "rollout", watched)
    grpo, _, weights, record = run(scale, methods, trained, tmp_path / "a")
    _, _, other_weights, _ = run(scale, methods, trained, tmp_path / "b", seed=1)
    nsr, *_ = run(scale, methods, trained, tmp_path / "c", "nsr-prerl")
    size = len(drawn) // 3
    first, other, same = drawn[:size], drawn[size : 2 * size], drawn[2 * size :]
    assert first == same != other and weights != other_weights
    assert grpo.response_tokens[0] == nsr.response_tokens[0]  # to the first problems, from the same base
    assert record["updates"] == scale.rl.steps and record["config"]["seed"] == 0 and record["stop_reason"] is None
    assert grpo.sampler_gap.max() < 1e-4  # sampler and forward agree on the sampled tokens


def test_a_tempered_policy_is_the_same_in_sampler_and_update(scale, methods, trained, tmp_path, mixed_rewards):
    tempered = changed(scale, rl=changed(scale.rl, temperature=0.6))
    log, *_ = run(tempered, methods, trained, tmp_path)
    assert log.sampler_gap.max() < 1e-4


def test_a_limit_of_responses_at_once_is_kept_and_all_prompts_are_answered(scale, methods, trained, monkeypatch):
    made = Run(
        changed(scale, rl=changed(scale.rl, sample_batch=7)),
        methods["grpo"],
        0,
        trained / "model",
        trained / "problems",
    )
    sizes = []
    monkeypatch.setattr(
        "prerl.model.rollout.sample", lambda *args: sizes.append(len(args[1]) * args[2]) or sample(*args)
    )
    prompts, responses, texts = made.rollout(made.dev[:5], 3, 0)
    assert sizes == [6, 6, 3] and len(responses) == len(texts) == 15 and len(prompts) == 5
    made.rollout(made.dev[:2], 8, 0)  # all responses to one prompt stay together
    assert sizes[3:] == [8, 8]


def test_the_selected_checkpoint_is_the_best_on_dev(scale, methods, trained, tmp_path):
    _, dev, weights, record = run(scale, methods, trained, tmp_path)
    accuracy = dev[dev.step > 0].groupby("step").score.mean()
    assert record["selected_step"] == accuracy.idxmax()
    selected = tmp_path / f"checkpoints/step-{record['selected_step']:05d}/model.safetensors"
    assert selected.read_bytes() == weights
    rest = {path.parent.name for path in (tmp_path / "checkpoints").glob("*/model.safetensors")}
    assert rest == {selected.parent.name, "step-00003", "step-00006"}  # the best, the newest, those for the gradients
    assert sorted(dev.step.unique()) == [0, 3, 6]
    assert (dev.groupby(["step", "problem"]).size() == scale.rl.dev_samples).all()


def test_models_that_nothing_asks_for_are_dropped(scale, methods, trained, tmp_path):
    scale = changed(scale, rl=changed(scale.rl, checkpoint_every=1))
    _, dev, _, record = run(scale, methods, trained, tmp_path, "nsr-prerl")  # whose gradients are not compared
    rest = {path.parent.name for path in (tmp_path / "checkpoints").glob("*/model.safetensors")}
    assert rest == {f"step-{record['selected_step']:05d}", "step-00006"}
    assert sorted(dev.step.unique()) == list(range(7))  # the tables stay


def test_a_warm_up_of_s_steps_makes_exactly_s_updates(scale, methods, trained, tmp_path):
    warm_up, then = methods["dsrl"].phases
    for steps in (1, 4):
        method = changed(methods["dsrl"], phases=[changed(warm_up, steps=steps), then])
        log, *_ = run(scale, {"dsrl": method}, trained, tmp_path / str(steps), "dsrl")
        assert log.phase.tolist() == [0] * steps + [1] * (scale.rl.steps - steps)


def test_a_run_without_signal_skips_counts_and_stops(scale, methods, trained, tmp_path, monkeypatch):
    monkeypatch.setattr("prerl.problems.countdown.is_correct", lambda response, problem: False)
    scale = changed(scale, rl=changed(scale.rl, stop_after_skipped=4))
    log, dev, _, record = run(scale, methods, trained, tmp_path)
    assert log.skipped.tolist() == [True] * 4
    assert record["skipped_updates"] == 4 and record["stopped_without_signal"]
    base = load_file(trained / "model/model.safetensors")
    for name, value in load_file(tmp_path / "model/model.safetensors").items():
        assert torch.equal(value, base[name])
    assert dev.step.unique().tolist() == [0, 3, 4]


@pytest.mark.parametrize(
    ("finished", "reward", "said"),
    [
        (0.0, 0.0, "every response was cut at rl.max_new_tokens (96)"),
        (0.02, 0.0, "98.0% of responses were cut at rl.max_new_tokens (96)"),
        (0.5, 0.0, "every response was wrong"),
        (0.0, 1.0, "every response was right"),
        (1.0, 0.5, "in no group did rewards differ"),
    ],
)
def test_why_a_run_stopped_is_told_from_its_last_updates(finished, reward, said):
    row = {"finished": finished, "reward": reward, "skipped": True}
    assert reason([row] * 4, 96).startswith(f"no signal in the last 4 updates: {said}")


def test_a_run_all_of_whose_responses_are_cut_says_so_at_its_end(
    scale, methods, trained, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(
        "prerl.model.sampler.pick", lambda probs, generator: torch.full((len(probs),), 30)
    )  # never the end
    scale = changed(scale, rl=changed(scale.rl, stop_after_skipped=3))
    log, _, _, record = run(scale, methods, trained, tmp_path)
    said = f"no signal in the last 3 updates: every response was cut at rl.max_new_tokens ({scale.rl.max_new_tokens})"
    assert len(log) == 3 and not log.finished.any() and record["stop_reason"] == said
    assert capsys.readouterr().err.endswith(f"grpo seed 0  stopped after update 3 of {scale.rl.steps}: {said}\n")


def test_stopped_needs_an_unbroken_row_of_skips():
    rows = [{"skipped": skipped} for skipped in (True, True, False, True, True)]
    assert not stopped(rows, 3) and stopped(rows, 2) and not stopped(rows[:1], 2)


def phase(**values):
    defaults = {
        "space": "post-train",
        "samples": "all",
        "advantage": "std",
        "clip_low": 0.2,
        "clip_high": 0.2,
        "dual_clip": 10.0,
        "loss_coefficient": 1.0,
        "learning_rate_factor": 1.0,
        "tokens": "all",
        "denominator": "tokens",
        "start_token": None,
    }
    return Phase(**defaults | values)


def rollouts(scale, trained):
    """A model, and a batch of its rollouts with rewards that differ within each group."""
    model = load(trained / "model")
    prompts = [[1, 20 + n, 30, 40][: 3 + n % 2] for n in range(4)]
    with torch.inference_mode():
        lean = LeanModel(model)
    responses = sample(lean, prompts, 4, Sampling(20), {2}, 0, torch.Generator().manual_seed(0))
    return model, make_batch(prompts, responses, [1.0, 0.0, 0.0, 1.0] * 3 + [0.0] * 4, 4, 0)


@pytest.mark.parametrize("space", ["post-train", "pre-train"])
@pytest.mark.parametrize("samples", ["all", "positive", "negative"])
def test_learn_equals_a_plain_step_for_any_micro_batch(scale, trained, space, samples):
    """Against the objective written out naively: transformers' forward, row by row, one sum, one AdamW step."""
    results = []
    for micro_batch in (1, 3, 64, None):
        model, batch = rollouts(scale, trained)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        chosen = phase(space=space, samples=samples, advantage="mean")
        settings = changed(scale.rl, micro_batch=micro_batch or 1, learning_rate=1.0, max_grad_norm=1e9)
        if micro_batch:
            learn(model, optimizer, batch, chosen, settings, start_token_id=1)
        else:
            total, objective = 0, 0.0
            for row in range(16):
                group = batch.rewards[row // 4 * 4 : row // 4 * 4 + 4]
                advantage = batch.rewards[row] - group.mean()
                if samples != "all" and not (advantage > 0 if samples == "positive" else advantage < 0):
                    continue
                prompt = (
                    batch.prompt_ids[row][batch.prompt_mask[row] == 1] if space == "post-train" else torch.tensor([1])
                )
                response = batch.response_ids[row][batch.response_mask[row] == 1]
                logits = model(torch.cat([prompt, response])[None, :-1]).logits[0, len(prompt) - 1 :]
                objective += advantage * logits.log_softmax(-1).gather(1, response[:, None]).sum()
                total += len(response)
            (-objective / total).backward()
            optimizer.step()
        results.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    for result in results[:-1]:
        torch.testing.assert_close(result, results[-1], atol=1e-5, rtol=0)


def test_learn_applies_learning_rate_factor_and_loss_coefficient(scale, trained):
    moved = {}
    for name, values in {
        "plain": {},
        "factor": {"learning_rate_factor": 0.5},
        "coefficient": {"loss_coefficient": 0.25},
    }.items():
        model, batch = rollouts(scale, trained)
        before = [p.detach().clone() for p in model.parameters()]
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        settings = changed(scale.rl, max_grad_norm=1e9)
        learn(model, optimizer, batch, phase(**values), settings, start_token_id=1)
        moved[name] = torch.cat([(p.detach() - b).flatten() for p, b in zip(model.parameters(), before, strict=True)])
    torch.testing.assert_close(moved["factor"], 0.5 * moved["plain"], atol=1e-6, rtol=1e-3)
    torch.testing.assert_close(moved["coefficient"], 0.25 * moved["plain"], atol=1e-6, rtol=1e-3)


def moved_by(scale, trained, phase, **values):
    """By how much one step of plain gradient descent moves the parameters."""
    model, batch = rollouts(scale, trained)
    batch = replace(batch, **values)
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    settings = changed(scale.rl, max_grad_norm=1e9, learning_rate=1.0)
    learn(model, optimizer, batch, phase, settings, start_token_id=1)
    return torch.cat([(p.detach() - b).flatten() for p, b in zip(model.parameters(), before, strict=True)])


def test_a_wider_clip_changes_nothing_with_one_update_a_batch(scale, trained, methods):
    grpo, dapo = (moved_by(scale, trained, methods[name].phases[0]) for name in ("grpo", "dapo-clip"))
    assert torch.equal(grpo, dapo) and grpo.abs().max() > 0


def test_the_budget_denominator_divides_by_what_the_batch_could_have_had(scale, trained):
    _, batch = rollouts(scale, trained)
    tokens, budget = (moved_by(scale, trained, phase(denominator=name)) for name in ("tokens", "budget"))
    share = batch.response_mask.sum() / (16 * scale.rl.max_new_tokens)
    torch.testing.assert_close(budget, tokens * share, atol=1e-7, rtol=1e-4)


def test_body_tokens_alone_give_a_gradient_but_all_are_read(scale, trained):
    """Against the objective with the header masked by hand."""
    model, batch = rollouts(scale, trained)
    header = torch.arange(16) % 4
    chosen = phase(space="pre-train", advantage="mean", tokens="body")
    moved = moved_by(scale, trained, chosen, header=header)
    advantages = group_advantages(batch.rewards, batch.group, "mean")
    mask = batch.response_mask * (torch.arange(batch.response_mask.shape[1]) >= header[:, None])
    logp = response_logp(LeanModel(model), forget_prompt(batch, 1))
    (clipped_loss(logp, logp.detach(), advantages, mask, 0.2, 0.2)).backward()
    expected = -torch.cat([p.grad.flatten() for p in model.parameters()])
    torch.testing.assert_close(moved, expected, atol=1e-6, rtol=1e-3)


def test_a_critics_gradients_are_those_of_the_objective_written_out(scale, trained, methods):
    """Of the policy, whose advantages are what the critic did not expect, and of the critic: it learns the return."""
    model, batch = rollouts(scale, trained)
    critic = critic_for(model, methods["ppo"])
    assert critic_for(model, methods["dsrl"]) is None and not any(p.any() for p in critic.parameters())
    torch.nn.init.normal_(critic.weight, generator=torch.Generator().manual_seed(0))
    parameters = [*model.parameters(), *critic.parameters()]
    lean, mask, chosen = LeanModel(model), batch.response_mask, methods["ppo"].phases[0]
    hidden = response_hidden(lean, batch)
    logp, values = response_logp(lean, batch, hidden), critic(hidden)[..., 0]
    advantages = critic_advantages(batch.rewards, (values * mask).detach(), mask)
    loss = clipped_loss(logp, logp.detach(), advantages, mask, chosen.clip_low, chosen.clip_high, chosen.dual_clip)
    loss = loss + CRITIC_COEFFICIENT * ((values - batch.rewards[:, None]) ** 2 * mask).sum() / mask.sum()
    expected = torch.autograd.grad(loss, parameters)
    settings = changed(scale.rl, max_grad_norm=1e9)
    learn(model, torch.optim.SGD(parameters), batch, chosen, settings, 1, critic)
    for parameter, gradient in zip(parameters, expected, strict=True):
        scale_of = float(gradient.abs().max())
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-5 * scale_of, rtol=0)
    assert expected[-1].abs() > 0


def test_make_batch_pads_prompts_left_and_responses_right():
    responses = [Response([5, 2], [-1.0, -2.0], 0.5, True), Response([6, 7, 8], [-1.0, -1.0, -1.0], 0.5, False)]
    batch = make_batch([[1, 9], [1, 9, 9]], responses, [1.0, 0.0], 1, pad_token_id=0)
    assert batch.prompt_ids.tolist() == [[0, 1, 9], [1, 9, 9]]
    assert batch.prompt_mask.tolist() == [[0, 1, 1], [1, 1, 1]]
    assert batch.response_ids.tolist() == [[5, 2, 0], [6, 7, 8]]
    assert batch.response_mask.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch.old_logp.tolist() == [[-1, -2, 0], [-1, -1, -1]]
    assert batch.group.tolist() == [0, 1]


def test_rewards_are_those_of_the_texts(scale, methods, trained):
    policy = Run(scale, methods["grpo"], 0, trained / "model", trained / "problems")
    table = policy.evaluate_dev(0)
    problems = {problem.id: problem for problem in policy.dev}
    expected = [is_correct(row.response, problems[row.problem]) for row in table.itertuples()]
    assert table.score.tolist() == [float(value) for value in expected] and 0 < table.score.mean() < 1


def test_phase_at_counts_updates_from_one(methods):
    dsrl = methods["dsrl"]
    warm_up = dsrl.phases[0].steps
    assert [phase_at(dsrl, step, 80)[0] for step in (1, warm_up, warm_up + 1, 80)] == [0, 0, 1, 1]
    assert [phase_at(dsrl, step, 4)[0] for step in (1, 4)] == [0, 0]  # a run shorter than its warm-up
    reversed_ = methods["dsrl-reversed"]
    assert reversed_.phases == dsrl.phases[::-1]
    assert [phase_at(reversed_, step, 80)[0] for step in (1, 80 - warm_up, 81 - warm_up, 80)] == [0, 0, 1, 1]


def test_a_start_token_that_the_tokenizer_lacks_is_a_users_error(scale, methods, trained):
    with pytest.raises(UserError, match="no token '<go>'"):
        Run(changed(scale, start_token="<go>"), methods["grpo"], 0, trained / "model", trained / "problems")
