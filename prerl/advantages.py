"""What a response's reward is worth: advantages, as pure functions on tensors.

B is the number of responses in a batch. A function asks by parameter name for what it needs: `rewards` (B,), `group`
(B,) integers in any order, the same for the responses to one prompt, or a setting of the phase.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from prerl.settings.functions import asked


def _group_mean(values: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over each group and its size, at each of its members. values (B,), group (B,) -> (B,), (B,)"""
    _, index, count = group.unique(return_inverse=True, return_counts=True)
    total = torch.zeros(len(count), dtype=values.dtype, device=values.device).index_add_(0, index, values)
    return (total / count)[index], count[index]


def mean_advantages(rewards: Tensor, group: Tensor) -> Tensor:
    """r - mean over the group: the authors' advantage in the pre-train space, and that of Dr. GRPO (arXiv 2503.20783).

    A group whose rewards are all equal (a group of one included) says nothing about its responses: exactly 0 there.
    """
    same_group, same_reward = group[:, None] == group, rewards[:, None] == rewards  # (B, B)
    flat = (same_reward | ~same_group).all(1)
    return (rewards - _group_mean(rewards, group)[0]).masked_fill(flat, 0.0)


def std_advantages(rewards: Tensor, group: Tensor) -> Tensor:
    """(r - mean) / (std + 1e-6) over the group, std unbiased: GRPO's advantage (arXiv 2402.03300)."""
    centred = mean_advantages(rewards, group)
    mean_square, size = _group_mean(centred**2, group)
    return centred / ((mean_square * size / (size - 1).clamp(min=1)).sqrt() + 1e-6)


def leave_one_out_advantages(rewards: Tensor, group: Tensor) -> Tensor:
    """r - mean over the group's other responses: RLOO (arXiv 2402.14740). It is n / (n - 1) times r - mean."""
    size = _group_mean(rewards, group)[1]
    return mean_advantages(rewards, group) * size / (size - 1).clamp(min=1)


def batch_advantages(rewards: Tensor, group: Tensor) -> Tensor:
    """(r - mean) / (std + 1e-6) over the whole batch, the groups ignored: REINFORCE++ (arXiv 2501.03262) without KL."""
    return std_advantages(rewards, torch.zeros_like(group))


def weighted_advantages(rewards: Tensor, group: Tensor) -> Tensor:
    """0.1 for a right response (reward above 0) and -1 for a wrong one, without baseline: W-REINFORCE, whose authors
    found lambda = 0.1 best (Zhu et al. 2025, arXiv 2506.01347)."""
    return torch.where(rewards > 0, 0.1, -1.0).to(rewards.dtype)


def minus_one_advantages(rewards: Tensor, group: Tensor) -> Tensor:
    """r - 1, without baseline: wrong responses count alike, those of groups that are all wrong too. An option of the
    paper's authors' code (`nsr_pretrain_first`, arXiv 2604.14142) that its scripts leave off."""
    return rewards - 1


def batch_std_advantages(rewards: Tensor, group: Tensor) -> Tensor:
    """(r - mean over the group) / (std over the batch + 1e-6), std unbiased: Lite PPO (arXiv 2508.08221)."""
    spread = rewards.std() if len(rewards) > 1 else torch.zeros((), dtype=rewards.dtype)
    return mean_advantages(rewards, group) / (spread + 1e-6)


def maxrl_advantages(rewards: Tensor, group: Tensor) -> Tensor:
    """(r - mean) / (mean + 1e-6) over the group: MaxRL (arXiv 2602.02710), whose expected gradient goes towards that of
    log p(right) with the group's size. Of rewards that are not negative."""
    return mean_advantages(rewards, group) / (_group_mean(rewards, group)[0] + 1e-6)


def pass_at_k_advantages(rewards: Tensor, group: Tensor, pass_k: int) -> Tensor:
    """What a response adds to pass@k of its group, normalised over all choices of k of its n responses: pass@k
    training, analytical (arXiv 2508.10751). With w wrong ones a choice is right with probability
    p = 1 - C(w, k) / C(n, k), and the advantages are

        right ones  (1 - p) / (sqrt(p (1 - p)) + 1e-6)
        wrong ones  (1 - p - C(w - 1, k - 1) / C(n - 1, k - 1)) / (sqrt(p (1 - p)) + 1e-6)

    A reward above 0 counts as right. Raises ValueError if a group has fewer than k responses.
    """
    right = rewards > 0
    advantages = torch.zeros_like(rewards)
    for index in group.unique():
        own = group == index
        size, wrong = int(own.sum()), int((own & ~right).sum())
        if size < pass_k:
            raise ValueError(f"pass@{pass_k} of a group of {size}")
        passed = 1 - math.comb(wrong, pass_k) / math.comb(size, pass_k)
        spread = math.sqrt(passed * (1 - passed)) + 1e-6
        others = math.comb(wrong - 1, pass_k - 1) / math.comb(size - 1, pass_k - 1) if wrong else 0.0
        advantages[own & right] = (1 - passed) / spread
        advantages[own & ~right] = (1 - passed - others) / spread
    return advantages


# Kind -> its function.
ADVANTAGES: dict[str, Callable[..., Tensor]] = {
    "std": std_advantages,
    "mean": mean_advantages,
    "leave-one-out": leave_one_out_advantages,
    "batch": batch_advantages,
    "batch-std": batch_std_advantages,
    "weighted": weighted_advantages,
    "minus-one": minus_one_advantages,
    "maxrl": maxrl_advantages,
    "pass@k": pass_at_k_advantages,
}


def group_advantages(rewards: Tensor, group: Tensor, kind: str = "std", **settings: Any) -> Tensor:
    """Advantage of each response by a function registered in ADVANTAGES, and the settings that it asks for.

    rewards (B,), group (B,) integers in any order -> (B,). Raises KeyError for an unknown kind.
    """
    return asked(ADVANTAGES[kind], {"rewards": rewards, "group": group, **settings})


def critic_advantages(rewards: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """reward - value at every token, normalised over the batch's tokens: PPO's advantage.

    It is generalised advantage estimation (arXiv 1506.02438) without discount and with lambda 1, as is common for
    verifiable rewards: the sum of r_t + V(s_t+1) - V(s_t) telescopes.
    rewards (B,), values (B, T) before each token, mask (B, T) -> (B, T), 0 outside the mask.
    """
    advantages = (rewards[:, None] - values) * mask
    mean = advantages.sum() / mask.sum()
    variance = ((advantages - mean) ** 2 * mask).sum() / mask.sum()
    return (advantages - mean) / (variance.sqrt() + 1e-6) * mask
