"""Advantages and losses by the formulas of their papers, written out."""

import itertools
import math

import pytest
import torch

from prerl.advantages import group_advantages
from prerl.losses import LOSSES, cispo_loss, gspo_loss, kl_loss, mean_over, sapo_loss
from prerl.objective import Lesson, loss_of, outside, overlong
from prerl.settings.methods import LOSSES as NAMES
from tests.helpers import changed, random_batch

REWARDS = torch.tensor([1.0, 0, 0, 0, 0, 1, 1, 0, 1, 1, 1, 1, 0, 0, 0, 0])
GROUP = torch.arange(16) // 4


def test_losses_named_in_the_configuration_are_there():
    assert set(NAMES) == set(LOSSES)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_pass_at_k_advantages_are_means_over_all_choices_of_k(k):
    """arXiv 2508.10751: a choice of k is rewarded if one of it is right; a response's reward is the mean over choices
    that it is in, its advantage that minus the mean over all choices, over their deviation."""
    expected = []
    for start in range(0, 16, 4):
        rewards = REWARDS[start : start + 4].tolist()
        choices = list(itertools.combinations(range(4), k))
        passed = [max(rewards[index] for index in choice) for choice in choices]
        mean = sum(passed) / len(passed)
        deviation = math.sqrt(sum((value - mean) ** 2 for value in passed) / len(passed))
        for index in range(4):
            own = [value for value, choice in zip(passed, choices, strict=True) if index in choice]
            expected.append((sum(own) / len(own) - mean) / (deviation + 1e-6))
    found = group_advantages(REWARDS, GROUP, "pass@k", pass_k=k)
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-5, rtol=1e-5)


def test_pass_at_k_needs_k_responses():
    with pytest.raises(ValueError, match="pass@5 of a group of 4"):
        group_advantages(REWARDS, GROUP, "pass@k", pass_k=5)


def test_maxrl_averages_over_the_right_ones():
    """arXiv 2602.02710: of n responses, sum_i A_i g_i / n is the mean of g over the right ones minus that over all."""
    scores = torch.randn(16, generator=torch.Generator().manual_seed(0))
    found = group_advantages(REWARDS, GROUP, "maxrl") * scores
    for number in range(4):
        own = number == GROUP
        right = scores[own][REWARDS[own] > 0]
        expected = right.mean() - scores[own].mean() if 0 < len(right) < 4 else torch.tensor(0.0)
        torch.testing.assert_close(found[own].mean(), expected, atol=1e-5, rtol=1e-4)


def test_lite_ppo_divides_by_the_spread_of_the_batch():
    found = group_advantages(REWARDS, GROUP, "batch-std")
    centred = REWARDS - REWARDS.view(4, 4).mean(1).repeat_interleave(4)
    torch.testing.assert_close(found, centred / (REWARDS.std() + 1e-6))
    assert not group_advantages(torch.ones(4), torch.zeros(4).long(), "batch-std").any()


def test_the_punishment_of_length_is_dapos():
    """arXiv 2503.14476, equation 13, with L_max 100 and L_cache 20, times -1."""
    lengths = [10, 80, 81, 90, 100]
    by_hand = [0.0, 0.0, 1 / 20, 10 / 20, 1.0]
    assert overlong(torch.tensor(lengths, dtype=torch.float32), 100, 0.2).tolist() == pytest.approx(by_hand, abs=1e-6)


def logps(seed=0):
    generator = torch.Generator().manual_seed(seed)
    new, old, ref = -torch.rand(3, 4, 5, generator=generator, dtype=torch.float64) * 3
    mask = (torch.arange(5) < torch.tensor([[5], [3], [4], [1]])).double()
    return new.requires_grad_(), old, ref, torch.tensor([[1.5], [-0.5], [0.7], [-2.0]]).double(), mask


def test_gspo_by_hand():
    """arXiv 2507.18071, equation 5: s_i = exp(sum_t log ratio / |y_i|), a clipped surrogate a response, their mean."""
    new, old, _, advantages, mask = logps()
    expected = []
    for row in range(4):
        length = int(mask[row].sum())
        ratio = math.exp(float((new - old)[row, :length].sum().detach()) / length)
        advantage = float(advantages[row])
        expected.append(-min(ratio * advantage, min(max(ratio, 0.9), 1.2) * advantage))
    found = gspo_loss(new, old, advantages, mask, 0.1, 0.2)
    assert found.shape == (4, 1) and found[:, 0].tolist() == pytest.approx(expected)
    length_mean = mean_over(found.detach(), mask / mask.sum(1, keepdim=True))
    assert float(length_mean) == pytest.approx(sum(expected) / 4)


def test_cispo_by_hand():
    """arXiv 2506.13585, equation 4: the gradient is sg(clipped ratio) A grad log pi, also outside the range."""
    new, old, _, advantages, _ = logps()
    cispo_loss(new, old, advantages, 0.5, 1.0).sum().backward()
    weights = (new.detach() - old).exp().clamp(0.5, 2.0)
    torch.testing.assert_close(new.grad, -weights * advantages)
    assert bool((weights == 0.5).any()) and bool((weights == 2.0).any())


def test_sapo_by_hand():
    """arXiv 2511.20347: the gradient weighs grad log pi by 4 p (1 - p) ratio A, p = sigmoid(tau (ratio - 1))."""
    new, old, _, advantages, _ = logps()
    sapo_loss(new, old, advantages, 1.0, 1.3).sum().backward()
    ratio = (new.detach() - old).exp()
    tau = torch.where(advantages > 0, 1.0, 1.3)
    p = torch.sigmoid(tau * (ratio - 1))
    torch.testing.assert_close(new.grad, -4 * p * (1 - p) * ratio * advantages)


def test_the_estimate_of_kl_is_not_negative_and_right_in_the_mean():
    """Over all tokens of a vocabulary, weighted by the policy, k3 is the divergence."""
    generator = torch.Generator().manual_seed(1)
    policy, reference = torch.randn(2, 50, generator=generator, dtype=torch.float64).log_softmax(-1)
    estimates = kl_loss(policy, reference)
    divergence = (policy.exp() * (policy - reference)).sum()
    assert bool((estimates >= 0).all())
    torch.testing.assert_close((policy.exp() * estimates).sum(), divergence)


def lesson_of(mask, advantages, old, ref):
    batch = random_batch(torch.Generator())
    return Lesson(batch, advantages[:, 0], mask, mask, None, False, old, ref)


def test_kl_and_entropy_are_added_to_each_tokens_loss(methods):
    new, old, ref, advantages, mask = logps()
    plain = methods["grpo"].phases[0]
    learnt = lesson_of(mask, advantages, old, ref)
    entropy = torch.rand(4, 5, dtype=torch.float64)
    both = loss_of(learnt, changed(plain, kl_coefficient=0.2, entropy_coefficient=0.3), new, entropy)
    expected = loss_of(learnt, plain, new) + 0.2 * kl_loss(new, ref) - 0.3 * entropy
    torch.testing.assert_close(both, expected)


def test_outside_the_range_are_tokens_or_with_gspo_responses(methods):
    new, old, ref, advantages, mask = logps()
    learnt = lesson_of(mask, advantages, old, ref)
    ratio = (new - old).exp()
    tokens = outside(learnt, methods["grpo"].phases[0], new)
    assert tokens.bool().equal(((ratio < 0.8) | (ratio > 1.2)) & (mask == 1)) and 0 < tokens.sum() < mask.sum()
    rows = outside(learnt, changed(methods["gspo"].phases[0], clip_low=0.5, clip_high=0.5), new).sum(1) / mask.sum(1)
    assert set(rows.tolist()) <= {0.0, 1.0}
