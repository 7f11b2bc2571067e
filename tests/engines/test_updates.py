"""What a phase learns from one batch, in one or several updates."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from prerl.advantages import group_advantages
from prerl.engines.update import micro_batches, own_transform
from prerl.losses import clipped_loss, kl_loss, mean_over
from prerl.model.joint import Joint
from prerl.model.lean import LeanModel
from prerl.model.likelihood import response_hidden, response_logp
from prerl.objective import lesson
from tests.helpers import changed, learn, token_mean
from tests.runs import rollouts

OLD = [  # one update a batch, one loss: what methods were before there were others
    "grpo", "psr-rl", "nsr-rl", "prerl", "psr-prerl", "nsr-prerl", "rloo", "reinforce-pp", "dr-grpo", "w-reinforce",
]  # fmt: skip


@pytest.mark.parametrize("name", OLD)
def test_one_update_a_batch_gives_the_bytes_of_before(scale, trained, methods, name):
    """Against the update as it stood when it knew one loss, in the same micro-batches."""
    chosen = methods[name].phases[0]
    assert chosen.updates == 1
    model, batch = rollouts(scale, trained)
    rl = changed(scale.rl, micro_batch=3)
    learnt = lesson(batch, chosen, own_transform(chosen), partial(_advantages, chosen), 1, rl.max_new_tokens)
    joint = Joint()
    lean = LeanModel(model, joint)
    for rows, prompts in micro_batches(lean, learnt.batch, learnt.useful.nonzero()[:, 0], rl.micro_batch):
        part = learnt.rows(rows).trimmed()
        logp, mask = response_logp(lean, part.batch, response_hidden(lean, part.batch, prompts)), part.mask
        loss = token_mean(logp, logp.detach(), part.advantages, mask, chosen.clip_low, chosen.clip_high)
        tokens = mask.new_tensor(16 * rl.max_new_tokens) if name == "dr-grpo" else learnt.mask.sum()
        (loss * mask.sum() / tokens * chosen.loss_coefficient).backward()
    joint.back()
    expected = [parameter.grad for parameter in model.parameters()]
    torch.nn.utils.clip_grad_norm_(model.parameters(), rl.max_grad_norm)
    other, _ = rollouts(scale, trained)
    learn(other, torch.optim.SGD(other.parameters()), batch, chosen, rl)
    assert all(torch.equal(one.grad, its) for one, its in zip(other.parameters(), expected, strict=True))
    assert any(bool(gradient.any()) for gradient in expected)


def _advantages(phase, batch):
    return group_advantages(batch.rewards, batch.group, phase.advantage)


def by_hand(model, batch, chosen, rl, reference):
    """Several updates, each a plain gradient of the loss of its groups, by transformers' forward of whole rows."""
    logp = partial(response_logp, temperature=rl.temperature)
    optimizer = torch.optim.SGD(model.parameters(), lr=rl.learning_rate)
    advantages = _advantages(chosen, batch)
    with torch.no_grad():
        old, ref = (logp(LeanModel(one), batch) for one in (model, reference))
    clipped = total = 0.0
    for _ in range(chosen.passes):
        for number in range(chosen.mini_batches):
            rows = torch.arange(number, 4, chosen.mini_batches)
            rows = torch.cat([torch.arange(4 * group, 4 * group + 4) for group in rows.tolist()])
            mask, new = batch.response_mask[rows], logp(LeanModel(model), batch.rows(rows))
            used = mask * (advantages[rows] != 0)[:, None]
            ratio = (new - old[rows]).exp().detach()
            clipped += float((((ratio < 1 - chosen.clip_low) | (ratio > 1 + chosen.clip_high)) * used).sum())
            total += float(used.sum())
            loss = clipped_loss(new, old[rows], advantages[rows][:, None], chosen.clip_low, chosen.clip_high)
            loss = loss + chosen.kl_coefficient * kl_loss(new, ref[rows])
            optimizer.zero_grad()
            mean_over(loss, mask).backward()
            optimizer.step()
    return clipped / total


@pytest.mark.parametrize("values", [{"mini_batches": 2}, {"passes": 3}, {"passes": 2, "mini_batches": 4}])
@pytest.mark.parametrize("kl", [0.0, 0.1])
def test_several_updates_a_batch_are_those_made_by_hand(scale, trained, methods, double, values, kl):
    """The clip acts: the old log-probabilities are those from before the first update. In double precision, or rounding
    would decide on which side of the range a token lies."""
    chosen = changed(methods["grpo"].phases[0], clip_low=0.01, clip_high=0.02, kl_coefficient=kl, **values)
    rl = changed(scale.rl, learning_rate=0.02, max_grad_norm=1e9, micro_batch=3)
    results = []
    for hand in (True, False):
        model, batch = rollouts(scale, trained)
        batch = replace(batch, rewards=torch.tensor([1.0, 0, 0, 1, 0, 1, 0, 0, 1, 1, 0, 1, 0, 0, 0, 1]))
        reference, _ = rollouts(scale, trained)
        with torch.no_grad():
            reference.lm_head.weight.mul_(0.9)
        if hand:
            clipped = by_hand(model, batch, chosen, rl, reference)
        else:
            row = learn(model, torch.optim.SGD(model.parameters()), batch, chosen, rl, reference=reference)
        results.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(*results, atol=1e-9, rtol=1e-9)
    assert row["updates"] == chosen.updates
    assert row["clipped"] == pytest.approx(clipped) and clipped > 0
    assert (row["kl"] > 0) == (kl > 0)


def test_a_mini_batch_without_signal_makes_no_update(scale, trained, methods):
    """The last group of these rollouts is all wrong."""
    model, batch = rollouts(scale, trained)
    row = learn(
        model, torch.optim.SGD(model.parameters()), batch, changed(methods["grpo"].phases[0], mini_batches=4), scale.rl
    )
    assert (row["updates"], row["used_samples"], row["skipped"]) == (3, 12, False)
    batch = replace(batch, rewards=torch.zeros(16))
    row = learn(
        model, torch.optim.SGD(model.parameters()), batch, changed(methods["grpo"].phases[0], mini_batches=4), scale.rl
    )
    assert (row["updates"], row["used_samples"], row["skipped"], row["grad_norm"]) == (0, 0, True, 0.0)


def test_a_penalty_moves_the_policy_without_a_signal(scale, trained, methods):
    model, batch = rollouts(scale, trained)
    reference, _ = rollouts(scale, trained)
    with torch.no_grad():
        reference.lm_head.weight.mul_(0.5)
    batch = replace(batch, rewards=torch.zeros(16))
    chosen = changed(methods["grpo"].phases[0], kl_coefficient=0.1)
    row = learn(model, torch.optim.SGD(model.parameters()), batch, chosen, scale.rl, reference=reference)
    assert row["used_samples"] == 16 and row["grad_norm"] > 0 and not row["skipped"]


def test_length_is_punished_before_advantages_are_made(scale, trained, methods):
    """Twenty tokens are the limit here; of a group whose answers are all wrong, the longer ones are worse."""
    _, batch = rollouts(scale, trained)
    made = torch.arange(16) + 5  # tokens: from none of the punishment to all of it
    ids, mask = torch.zeros(16, 20, dtype=torch.long), (torch.arange(20) < made[:, None]).float()
    batch = replace(batch, rewards=torch.zeros(16), response_ids=ids, response_mask=mask, sampler_logp=None)
    chosen = changed(methods["grpo"].phases[0], overlong_buffer=0.5, advantage="mean")
    learnt = lesson(batch, chosen, own_transform(chosen), partial(_advantages, chosen), 1, 20)
    lengths = batch.response_mask.sum(1)
    expected = -0.5 * ((lengths - 10) / 10).clamp(0, 1)
    assert expected[0] == 0 and expected[15] == -0.5
    torch.testing.assert_close(learnt.advantages, expected - expected.view(4, 4).mean(1).repeat_interleave(4))
