"""Functions of a method's author, for the tests of both engines."""

from dataclasses import replace

from torch import Tensor

from prerl.advantages import std_advantages
from prerl.objective import Batch, forget_prompt


def advantage(rewards: Tensor, group: Tensor) -> Tensor:
    advantages = std_advantages(rewards, group)
    return advantages.where(advantages < 0, 2 * advantages)


def transform(batch: Batch) -> Batch:
    """Half the reward for long responses, nothing learnt from their first token, and other prompts."""
    lengths = batch.response_mask.sum(1)
    mask = batch.response_mask.clone()
    mask[:, 0] = 0
    batch = replace(batch, rewards=batch.rewards / (1 + (lengths > 20).float()), response_mask=mask)
    return forget_prompt(batch, 1)


def loss(logp: Tensor, old_logp: Tensor, advantages: Tensor, step: int, steps: int) -> Tensor:
    """REINFORCE, and towards the end a pull to what was sampled."""
    return -(advantages + 0.1 * step / steps) * (logp - old_logp)
