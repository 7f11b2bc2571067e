"""The objective of every method, as pure functions on tensors (arXiv 2604.14142, sections on RL and PreRL).

    sample y ~ pi(.|x) -> score -> group_advantages -> keep -> [forget_prompt] -> clipped_loss

`lesson` is the way from the score to the loss, the same for both engines.

B is the number of responses in a batch, P the longest prompt and T the longest response, in tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from prerl.settings.methods import Phase


@dataclass(frozen=True)
class Batch:
    """A scored batch of rollouts, several responses (a group) a prompt."""

    prompt_ids: Tensor  # (B, P) padded on the left
    prompt_mask: Tensor  # (B, P) 1 on prompt tokens
    response_ids: Tensor  # (B, T) padded on the right
    response_mask: Tensor  # (B, T) 1 on response tokens, the end token included
    rewards: Tensor  # (B,)
    group: Tensor  # (B,) index of the prompt that each response belongs to
    old_logp: Tensor | None  # (B, T) log-probabilities when sampled, given the prompt
    header: Tensor | None = None  # (B,) tokens with which a response restates its problem; the rest is its body

    def rows(self, index: Tensor) -> "Batch":
        """The batch of the given rows alone."""
        tensors = {name: value[index] for name, value in vars(self).items() if value is not None}
        return replace(self, **tensors)

    def trimmed(self) -> "Batch":
        """The batch without the columns that hold only padding after the responses."""
        length = int(self.response_mask.sum(1).max())
        columns = {name: getattr(self, name) for name in ("response_ids", "response_mask", "old_logp")}
        return replace(self, **{name: value[:, :length] for name, value in columns.items() if value is not None})


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


# Kind -> function of rewards (B,) and group (B,) that returns advantages (B,).
ADVANTAGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "std": std_advantages,
    "mean": mean_advantages,
    "leave-one-out": leave_one_out_advantages,
    "batch": batch_advantages,
    "weighted": weighted_advantages,
}


def group_advantages(rewards: Tensor, group: Tensor, kind: str = "std") -> Tensor:
    """Advantage of each response by a function registered in ADVANTAGES.

    rewards (B,), group (B,) integers in any order -> (B,). Raises KeyError for an unknown kind.
    """
    return ADVANTAGES[kind](rewards, group)


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


def keep(response_mask: Tensor, advantages: Tensor, samples: str = "all") -> Tensor:
    """The tokens that a method learns from: those of all, or of the positive or negative, samples.

    response_mask (B, T), advantages (B,) -> (B, T). Raises KeyError for unknown `samples`.
    """
    chosen = {"all": torch.ones_like(advantages), "positive": advantages > 0, "negative": advantages < 0}[samples]
    return response_mask * chosen[:, None].to(response_mask.dtype)


def forget_prompt(batch: Batch, start_token_id: int) -> Batch:
    """The batch in the pre-train space: every prompt becomes the one start token, so that the model is asked for
    log P(y). `old_logp` was conditional on the prompt and is dropped."""
    prompt_ids = torch.full_like(batch.prompt_ids[:, :1], start_token_id)
    prompt_mask = torch.ones_like(batch.prompt_mask[:, :1])
    return replace(batch, prompt_ids=prompt_ids, prompt_mask=prompt_mask, old_logp=None)


@dataclass(frozen=True)
class Lesson:
    """What an update learns from a scored batch."""

    batch: Batch  # what the model reads: whole responses, behind their prompts or the start token
    advantages: Tensor  # (B,), or (B, T) from a critic
    mask: Tensor  # (B, T) 1 on the tokens that are learnt from
    denominator: Tensor  # () of the sum of the tokens' losses; of several processes, the sum of theirs

    @property
    def useful(self) -> Tensor:
        """(B,) whether a response has a gradient. One without advantage has none, but its tokens count in the mean; a
        critic learns from all."""
        some = self.mask.sum(1) > 0
        return (self.advantages != 0) & some if self.advantages.dim() == 1 else some

    def part(self, rows: Tensor) -> "Lesson":
        """The given rows alone, without the columns that hold only padding; the denominator is still the whole's."""
        batch, advantages = self.batch.rows(rows).trimmed(), self.advantages[rows]
        length = batch.response_ids.shape[1]
        advantages = advantages if advantages.dim() == 1 else advantages[:, :length]
        return replace(self, batch=batch, advantages=advantages, mask=self.mask[rows, :length])


def lesson(
    batch: Batch,
    phase: "Phase",
    transform: Callable[[Batch], Batch],
    advantage: Callable[[Batch], Tensor],
    start_token_id: int,
    max_new_tokens: int,
) -> Lesson:
    """From a scored batch to what the phase learns from it.

    `transform` is the phase's own change of the batch, if it has one; `advantage` gives (B,), or (B, T) with a critic.
    Tokens that are dropped, by the transform too, are read all the same: what follows is conditional on them.
    """
    scored = transform(batch)
    advantages = advantage(scored)
    mask = scored.response_mask if advantages.dim() == 2 else keep(scored.response_mask, advantages, phase.samples)
    if phase.tokens == "body":
        assert batch.header is not None  # the configuration refuses it in a world whose responses have none
        mask = mask * (torch.arange(mask.shape[1], device=mask.device) >= batch.header[:, None])
    read = replace(scored, response_mask=batch.response_mask)
    if phase.space == "pre-train":
        read = forget_prompt(read, start_token_id)
    denominator = mask.sum() if phase.denominator == "tokens" else mask.new_tensor(len(mask) * max_new_tokens)
    return Lesson(read, advantages, mask, denominator)


def clipped_loss(
    logp: Tensor,
    old_logp: Tensor,
    advantages: Tensor,
    mask: Tensor,
    clip_low: float,
    clip_high: float,
    dual_clip: float = 10.0,
) -> Tensor:
    """PPO's clipped surrogate (arXiv 1707.06347) with dual clip (arXiv 1912.09729), a mean over the tokens of `mask`.

    logp, old_logp, mask (B, T), advantages (B,), or (B, T) from a critic -> scalar; 0, with zero gradient, where the
    mask is empty.
    """
    advantages = advantages if advantages.dim() == 2 else advantages[:, None]
    ratio = (logp - old_logp).clamp(-20, 20).exp()
    loss = torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - clip_low, 1 + clip_high))
    loss = torch.where(advantages < 0, torch.minimum(loss, -advantages * dual_clip), loss)
    return (loss * mask).sum() / mask.sum().clamp(min=1)
