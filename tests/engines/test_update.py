"""One update of the local engine: batch, loss, gradient, step."""

from dataclasses import replace

import pytest
import torch

from prerl.advantages import critic_advantages, group_advantages
from prerl.engines.update import CRITIC_COEFFICIENT, critic_for, make_batch, phase_at
from prerl.model.lean import LeanModel
from prerl.model.likelihood import response_hidden, response_logp
from prerl.model.sampler import Response
from prerl.objective import forget_prompt
from prerl.settings.methods import Phase
from tests.helpers import changed, learn, token_mean
from tests.runs import rollouts


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
    grpo = methods["grpo"].phases[0]
    grpo, dapo = (moved_by(scale, trained, changed(grpo, clip_high=high)) for high in (0.2, 0.28))
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
    (token_mean(logp, logp.detach(), advantages, mask, 0.2, 0.2)).backward()
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
    loss = token_mean(logp, logp.detach(), advantages, mask, chosen.clip_low, chosen.clip_high, chosen.dual_clip)
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
    assert batch.sampler_logp.tolist() == [[-1, -2, 0], [-1, -1, -1]]
    assert batch.group.tolist() == [0, 1]


def test_phase_at_counts_updates_from_one(methods):
    dsrl = methods["dsrl"]
    warm_up = dsrl.phases[0].steps
    assert [phase_at(dsrl, step, 80)[0] for step in (1, warm_up, warm_up + 1, 80)] == [0, 0, 1, 1]
    assert [phase_at(dsrl, step, 4)[0] for step in (1, 4)] == [0, 0]  # a run shorter than its warm-up
    reversed_ = methods["dsrl-reversed"]
    assert reversed_.phases == dsrl.phases[::-1]
    assert [phase_at(reversed_, step, 80)[0] for step in (1, 80 - warm_up, 81 - warm_up, 80)] == [0, 0, 1, 1]
