"""An asymmetric weight for positives, as a method author would write it."""

import torch
from torch import Tensor

from prerl.advantages import std_advantages


def advantage(rewards: Tensor, group: Tensor) -> Tensor:
    """GRPO's advantages; those of right responses times 2 minus the share of right ones to the same prompt.

    rewards (B,), group (B,) -> (B,)
    """
    solved = torch.zeros_like(rewards)
    for prompt in group.unique():
        mine = group == prompt
        solved[mine] = rewards[mine].mean()
    advantages = std_advantages(rewards, group)
    return torch.where(advantages > 0, advantages * (2 - solved), advantages)
