from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prerl.advantages import critic_advantages, group_advantages
from prerl.model.lean import LeanModel
from prerl.model.likelihood import response_logp
from prerl.objective import MICRO_BATCH, forget_prompt, keep, micro_batch_weights
from tests.helpers import random_batch, token_mean

CASES = sorted((Path(__file__).parent / "parity").glob("case_*.npz"))
VARIANTS = {
    "grpo": ("std", "all"),
    "mean_only": ("mean", "all"),
    "nsr": ("mean", "negative"),
    "psr": ("mean", "positive"),
    "nsr_rl": ("std", "negative"),
    "psr_rl": ("std", "positive"),
}


def test_the_reference_was_recorded():
    assert len(CASES) == 3


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
@pytest.mark.parametrize("name", VARIANTS)
def test_equals_the_reference_implementation(case, name):
    recorded = {key: torch.from_numpy(np.asarray(value)) for key, value in np.load(case).items()}
    kind, samples = VARIANTS[name]
    mask = recorded["mask"].float()
    advantages = group_advantages(recorded["rewards"].float(), recorded["group"], kind)
    reference = recorded["advantage_std" if kind == "std" else "advantage_mean_only"]
    torch.testing.assert_close(advantages[:, None] * mask, reference.float(), atol=1e-6, rtol=0)
    logp = recorded["new_logp"].float().requires_grad_()
    loss = token_mean(
        logp,
        recorded["old_logp"].float(),
        advantages,
        keep(mask, advantages, samples),
        float(recorded["clip_low"]),
        float(recorded["clip_high"]),
    )
    loss.backward()
    torch.testing.assert_close(loss.detach(), recorded[f"{name}_loss"].float(), atol=1e-6, rtol=0)
    torch.testing.assert_close(logp.grad, recorded[f"{name}_grad"].float(), atol=1e-6, rtol=0)


def test_std_advantages_of_a_worked_example():
    rewards, group = torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.zeros(4, dtype=torch.long)
    expected = (rewards - 0.25) / (0.5 + 1e-6)  # the unbiased deviation of 1, 0, 0, 0 is 1/2
    torch.testing.assert_close(group_advantages(rewards, group, "std"), expected)


def test_unknown_names_are_errors():
    rewards = torch.zeros(2)
    with pytest.raises(KeyError):
        group_advantages(rewards, rewards.long(), "median")
    with pytest.raises(KeyError):
        keep(torch.ones(2, 3), rewards, "neutral")


def test_ratio_is_clipped_only_where_that_lowers_the_objective():
    old = torch.zeros(1, 1)
    for advantage, ratio, expected in [
        (1, 2.0, -1.2),
        (1, 0.5, -0.5),
        (-1, 0.5, 0.8),
        (-1, 2.0, 2.0),
        (-1, 99.0, 10.0),
    ]:
        logp = torch.full((1, 1), ratio).log()
        loss = token_mean(logp, old, torch.tensor([float(advantage)]), torch.ones(1, 1), 0.2, 0.2)
        assert float(loss) == pytest.approx(expected, rel=1e-5), (advantage, ratio)


def test_an_empty_mask_gives_zero_loss_and_gradient():
    logp = torch.randn(2, 3, requires_grad=True)
    loss = token_mean(logp, logp.detach(), torch.ones(2), torch.zeros(2, 3), 0.2, 0.2)
    loss.backward()
    assert loss.item() == 0 and not logp.grad.any()


def test_forget_prompt_is_a_forward_of_start_and_response(model):
    batch = random_batch(torch.Generator().manual_seed(0))
    forgotten = forget_prompt(batch, start_token_id=1)
    assert forgotten.sampler_logp is None
    logp = response_logp(LeanModel(model), forgotten)
    for row in range(len(batch.rewards)):
        length = int(batch.response_mask[row].sum())
        ids = torch.cat([torch.tensor([1]), batch.response_ids[row, :length]])
        logits = model(ids[None, :-1]).logits[0]  # positions from 0, nothing in front
        by_hand = logits.log_softmax(-1).gather(1, ids[1:, None])[:, 0]
        torch.testing.assert_close(logp[row, :length], by_hand, atol=1e-5, rtol=0)


def test_forget_prompt_changes_the_gradient(model):
    # With a ratio of 1 the loss value is the same in both spaces; only the gradient tells them apart.
    batch = random_batch(torch.Generator().manual_seed(1))
    gradients, losses = [], []
    for space in (batch, forget_prompt(batch, 1)):
        model.zero_grad()
        logp = response_logp(LeanModel(model), space)
        loss = token_mean(logp, logp.detach(), torch.tensor([1.0, -1, 1, -1]), batch.response_mask, 0.2, 0.2)
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert float((gradients[0] - gradients[1]).norm() / gradients[0].norm()) > 0.1


@st.composite
def scored(draw):
    """Rewards, groups, masks and log-probabilities of 2 to 4 groups of 2 to 5 responses."""
    groups = draw(st.lists(st.integers(2, 5), min_size=2, max_size=4))
    rows, length = sum(groups), draw(st.integers(1, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    rewards = torch.tensor(draw(st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0]), min_size=rows, max_size=rows)))
    group = torch.tensor([index for index, size in enumerate(groups) for _ in range(size)])
    lengths = torch.randint(1, length + 1, (rows, 1), generator=generator)
    mask = (torch.arange(length) < lengths).float()
    new, old = -torch.rand(2, rows, length, generator=generator)
    return rewards, group, mask, new, old


def loss_and_gradient(rewards, group, mask, new, old, kind, samples):
    advantages = group_advantages(rewards, group, kind)
    logp = new.clone().requires_grad_()
    loss = token_mean(logp, old, advantages, keep(mask, advantages, samples), 0.2, 0.28)
    loss.backward()
    return loss.detach(), logp.grad


KINDS, SAMPLES = st.sampled_from(["std", "mean", "leave-one-out"]), st.sampled_from(["all", "positive", "negative"])


@settings(deadline=None, max_examples=60, derandomize=True)
@given(scored(), KINDS, st.sampled_from(["positive", "negative"]))
def test_dropping_samples_equals_removing_rows(batch, kind, samples):
    rewards, group, mask, new, old = batch
    loss, gradient = loss_and_gradient(*batch, kind, samples)
    advantages = group_advantages(rewards, group, kind)
    rows = advantages > 0 if samples == "positive" else advantages < 0
    logp = new[rows].clone().requires_grad_()
    removed = token_mean(logp, old[rows], advantages[rows], mask[rows], 0.2, 0.28)
    removed.backward()
    torch.testing.assert_close(loss, removed.detach())
    torch.testing.assert_close(gradient[rows], logp.grad)
    assert not gradient[~rows].any()


@settings(deadline=None, max_examples=60, derandomize=True)
@given(scored(), KINDS, SAMPLES, st.sampled_from([0.0, 0.1, 1.0]))
def test_a_flat_group_contributes_exactly_nothing(batch, kind, samples, reward):
    rewards, group, mask, new, old = batch
    rewards = rewards.where(group != 0, torch.tensor(reward))
    assert (group_advantages(rewards, group, kind)[group == 0] == 0).all()
    _, gradient = loss_and_gradient(rewards, group, mask, new, old, kind, samples)
    assert (gradient[group == 0] == 0).all()


@settings(deadline=None, max_examples=60, derandomize=True)
@given(scored(), KINDS, SAMPLES, st.randoms(use_true_random=False))
def test_order_and_names_of_groups_change_nothing(batch, kind, samples, rng):
    loss, gradient = loss_and_gradient(*batch, kind, samples)
    order = torch.tensor(rng.sample(range(len(batch[0])), len(batch[0])))
    rewards, group, mask, new, old = (tensor[order] for tensor in batch)
    moved_loss, moved_gradient = loss_and_gradient(rewards, 7 - group, mask, new, old, kind, samples)
    torch.testing.assert_close(moved_loss, loss)
    torch.testing.assert_close(moved_gradient, gradient[order])


REWARDS = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0])
GROUP = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2])  # mixed, all right, all wrong


def test_leave_one_out_is_the_reward_less_the_mean_of_the_others():
    """RLOO, arXiv 2402.14740: R(y_i) - 1 / (k - 1) * sum over j != i of R(y_j)."""
    expected = []
    for row, (reward, group) in enumerate(zip(REWARDS, GROUP, strict=True)):
        others = [REWARDS[other] for other in range(8) if other != row and GROUP[other] == group]
        expected.append(reward - sum(others) / len(others))
    torch.testing.assert_close(group_advantages(REWARDS, GROUP, "leave-one-out"), torch.stack(expected))


def test_batch_normalises_over_the_batch():
    """REINFORCE++, arXiv 2501.03262: (A - mean(A)) / std(A) over the global batch; flat groups count."""
    advantages = group_advantages(REWARDS, GROUP, "batch")
    torch.testing.assert_close(advantages, (REWARDS - REWARDS.mean()) / (REWARDS.std() + 1e-6))
    assert (advantages[GROUP == 1] > 0).all() and (advantages[GROUP == 2] < 0).all()
    assert (group_advantages(torch.ones(8), GROUP, "batch") == 0).all()


def test_weighted_is_a_tenth_of_positive_and_all_of_negative_reinforcement():
    """arXiv 2506.01347: L = lambda * L_PSR + L_NSR, lambda = 0.1, with rewards +1 and -1."""
    assert group_advantages(REWARDS, GROUP, "weighted").tolist() == pytest.approx([0.1, -1, -1, 0.1, 0.1, 0.1, -1, -1])


def test_critic_advantages_are_generalised_advantage_estimates():
    """Against the recursion of arXiv 1506.02438 with gamma = lambda = 1, token by token, then normalised."""
    generator = torch.Generator().manual_seed(0)
    lengths, rewards = [3, 1, 5], torch.tensor([1.0, 0.0, 1.0])
    values = torch.randn(3, 5, generator=generator)
    mask = torch.tensor([[1.0] * n + [0.0] * (5 - n) for n in lengths])
    raw = torch.zeros(3, 5)
    for row, n in enumerate(lengths):
        carried = 0.0
        for t in reversed(range(n)):
            reward, following = (rewards[row], 0.0) if t == n - 1 else (0.0, values[row, t + 1])
            carried = reward + following - values[row, t] + carried
            raw[row, t] = carried
    tokens = raw[mask == 1]
    expected = (raw - tokens.mean()) / (tokens.std(unbiased=False) + 1e-6) * mask
    torch.testing.assert_close(critic_advantages(rewards, values, mask), expected)


def test_advantages_a_token_weigh_each_token():
    logp = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]], requires_grad=True)
    advantages, mask = torch.tensor([[1.0, 2.0], [-1.0, 5.0]]), torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    token_mean(logp, logp.detach(), advantages, mask, 0.2, 0.2).backward()
    torch.testing.assert_close(logp.grad, -advantages * mask / 3)


def test_a_mean_of_micro_batches_is_the_authors():
    """Against their sum written out: each micro-batch's mean over its kept tokens, times its share of responses."""
    generator = torch.Generator().manual_seed(3)
    for rows in (MICRO_BATCH - 1, MICRO_BATCH, 4 * MICRO_BATCH, 4 * MICRO_BATCH + 1):
        mask = (torch.rand(rows, 7, generator=generator) < 0.4).float()
        mask[::2] = 0  # dropped responses; with few rows a micro-batch may keep nothing
        loss, count = torch.rand(rows, 7, generator=generator), -(-rows // MICRO_BATCH)
        expected = torch.zeros(())
        for place in range(count):
            own = torch.arange(rows) % count == place
            if mask[own].sum():
                expected += (loss * mask)[own].sum() / mask[own].sum() * own.sum() / rows
        found = (loss * micro_batch_weights(mask)).sum() / rows
        torch.testing.assert_close(found, expected)


def test_minus_one_has_no_baseline():
    rewards, group = torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.tensor([0, 0, 1, 1])
    assert group_advantages(rewards, group, "minus-one").tolist() == [0, -1, -1, -1]
