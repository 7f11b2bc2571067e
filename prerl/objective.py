"""The objective of every method, as pure functions on tensors (arXiv 2604.14142, sections on RL and PreRL).

    sample y ~ pi(.|x) -> score -> advantages -> keep -> [forget_prompt] -> loss, a mean over tokens

`lesson` is the way from the score to what is learnt, and `loss_of` that of the loss; both engines go it.

B is the number of responses in a batch, P the longest prompt and T the longest response, in tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prerl.losses import LOSSES, kl_loss, ratios, sequence_ratios
from prerl.settings.functions import asked

if TYPE_CHECKING:
    from prerl.settings.methods import Phase

MICRO_BATCH = 6  # responses; the authors' hold up to 10,240 tokens a GPU, about six of those that their model gives


@dataclass(frozen=True)
class Batch:
    """A scored batch of rollouts, several responses (a group) a prompt."""

    prompt_ids: Tensor  # (B, P) padded on the left
    prompt_mask: Tensor  # (B, P) 1 on prompt tokens
    response_ids: Tensor  # (B, T) padded on the right
    response_mask: Tensor  # (B, T) 1 on response tokens, the end token included
    rewards: Tensor  # (B,)
    group: Tensor  # (B,) index of the prompt that each response belongs to
    sampler_logp: Tensor | None  # (B, T) log-probabilities when sampled, given the prompt
    header: Tensor | None = None  # (B,) tokens with which a response restates its problem; the rest is its body

    def rows(self, index: Tensor) -> "Batch":
        """The batch of the given rows alone."""
        tensors = {name: value[index] for name, value in vars(self).items() if value is not None}
        return replace(self, **tensors)

    def trimmed(self) -> "Batch":
        """The batch without the columns that hold only padding after the responses."""
        length = int(self.response_mask.sum(1).max())
        columns = {name: getattr(self, name) for name in ("response_ids", "response_mask", "sampler_logp")}
        return replace(self, **{name: value[:, :length] for name, value in columns.items() if value is not None})


def keep(response_mask: Tensor, advantages: Tensor, samples: str = "all") -> Tensor:
    """The tokens that a method learns from: those of all, or of the positive or negative, samples.

    response_mask (B, T), advantages (B,) -> (B, T). Raises KeyError for unknown `samples`.
    """
    chosen = {"all": torch.ones_like(advantages), "positive": advantages > 0, "negative": advantages < 0}[samples]
    return response_mask * chosen[:, None].to(response_mask.dtype)


def forget_prompt(batch: Batch, start_token_id: int) -> Batch:
    """The batch in the pre-train space: every prompt becomes the one start token, so that the model is asked for
    log P(y). `sampler_logp` was conditional on the prompt and is dropped."""
    prompt_ids = torch.full_like(batch.prompt_ids[:, :1], start_token_id)
    prompt_mask = torch.ones_like(batch.prompt_mask[:, :1])
    return replace(batch, prompt_ids=prompt_ids, prompt_mask=prompt_mask, sampler_logp=None)


def overlong(lengths: Tensor, limit: int, buffer: float) -> Tensor:
    """How far responses have come into the last part of the limit, `buffer` of it, from 0 to 1: DAPO's soft punishment
    of overlong responses (arXiv 2503.14476, equation 13). lengths (B,) in tokens -> (B,)"""
    return ((lengths - (1 - buffer) * limit) / (buffer * limit)).clamp(0, 1)


def micro_batch_weights(mask: Tensor) -> Tensor:
    """What tokens weigh where each micro-batch contributes the mean over its own kept tokens, times its number of
    responses, and one without kept tokens nothing: the authors' code (arXiv 2604.14142, its dp_actor.py), whose sum is
    divided by the number of all responses. Theirs are packed by tokens; here MICRO_BATCH responses are one, dealt out
    in turn, as theirs too come from many prompts. mask (B, T) -> (B, T)"""
    count = -(-len(mask) // MICRO_BATCH)
    place = torch.arange(len(mask), device=mask.device) % count
    kept = mask.new_zeros(count).index_add_(0, place, mask.sum(1))
    return mask * (place.bincount() / kept.clamp(min=1))[place][:, None]


@dataclass(frozen=True)
class Lesson:
    """What is learnt from a scored batch, in one or several updates."""

    batch: Batch  # what the model reads: whole responses, behind their prompts or the start token
    advantages: Tensor  # (B,), or (B, T) from a critic
    mask: Tensor  # (B, T) 1 on the tokens that are learnt from
    weights: Tensor  # (B, T) of the tokens in the loss, which is a weighted mean
    budget: int | None  # tokens of a response that the mean divides by, there or not; None: by the sum of the weights
    always: bool  # whether a response without advantage has a gradient, too
    old_logp: Tensor | None = None  # (B, T) before the first of several updates
    ref_logp: Tensor | None = None  # (B, T) of the reference

    @property
    def denominator(self) -> Tensor:
        """() what the sum of weighted losses is divided by; of several processes, the sum of theirs."""
        return self.weights.sum() if self.budget is None else self.weights.new_tensor(len(self.weights) * self.budget)

    @property
    def useful(self) -> Tensor:
        """(B,) whether a response has a gradient. One without advantage has none, as a rule, but its tokens count."""
        some = self.mask.sum(1) > 0
        return some if self.always else (self.advantages != 0) & some

    def rows(self, index: Tensor) -> "Lesson":
        """The given rows alone."""
        names = ("advantages", "mask", "weights", "old_logp", "ref_logp")
        tensors = {name: value[index] for name in names if (value := getattr(self, name)) is not None}
        return replace(self, batch=self.batch.rows(index), **tensors)

    def trimmed(self) -> "Lesson":
        """The lesson without the columns that hold only padding after the responses."""
        batch = self.batch.trimmed()
        length = batch.response_ids.shape[1]
        names = ("advantages", "mask", "weights", "old_logp", "ref_logp")
        wide = {name: value for name in names if (value := getattr(self, name)) is not None and value.dim() == 2}
        return replace(self, batch=batch, **{name: value[:, :length] for name, value in wide.items()})

    def mini_batches(self, count: int) -> "list[Lesson]":
        """What each of several updates learns from: every `count`-th group."""
        if count == 1:
            return [self]
        return [self.rows((self.batch.group % count == place).nonzero()[:, 0]) for place in range(count)]


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
    if phase.overlong_buffer:
        over = overlong(batch.response_mask.sum(1), max_new_tokens, phase.overlong_buffer)
        scored = replace(scored, rewards=scored.rewards - phase.overlong_penalty * over)
    advantages = advantage(scored)
    mask = scored.response_mask if advantages.dim() == 2 else keep(scored.response_mask, advantages, phase.samples)
    if phase.tokens == "body":
        assert batch.header is not None  # the configuration refuses it in a world whose responses have none
        mask = mask * (torch.arange(mask.shape[1], device=mask.device) >= batch.header[:, None])
    read = replace(scored, response_mask=batch.response_mask)
    if phase.space == "pre-train":
        read = forget_prompt(read, start_token_id)
    weights = {
        "length": lambda: mask / mask.sum(1, keepdim=True).clamp(min=1),
        "micro-batch": lambda: micro_batch_weights(mask),
    }.get(phase.denominator, lambda: mask)
    return Lesson(
        read,
        advantages,
        mask,
        weights=weights(),
        budget={"budget": max_new_tokens, "micro-batch": 1}.get(phase.denominator),
        always=advantages.dim() == 2 or phase.regularised or phase.loss not in LOSSES,
    )


def loss_of(
    learnt: Lesson,
    phase: "Phase",
    logp: Tensor,
    entropy: Tensor | None = None,
    own: Callable[[dict[str, Any]], Tensor] | None = None,
) -> Tensor:
    """The phase's loss of each token of a lesson: (B, T), or (B, 1) for what holds for all tokens of a response.

    logp, entropy   (B, T) of the policy as it is; entropy where the phase has a bonus
    own             the phase's own loss, of the values that LOSSES' functions are given, where it is none of these
    """
    advantages = learnt.advantages
    given: dict[str, Any] = {
        "logp": logp,
        "old_logp": logp.detach() if learnt.old_logp is None else learnt.old_logp,
        "advantages": advantages if advantages.dim() == 2 else advantages[:, None],
        "mask": learnt.mask,
        **phase.settings,
    }
    loss = asked(LOSSES[phase.loss], given) if own is None else own(given)
    if phase.kl_coefficient:
        assert learnt.ref_logp is not None  # by the engines
        loss = loss + phase.kl_coefficient * kl_loss(logp, learnt.ref_logp)
    if phase.entropy_coefficient:
        assert entropy is not None  # by the engines
        loss = loss - phase.entropy_coefficient * entropy
    return loss


def outside(learnt: Lesson, phase: "Phase", logp: Tensor) -> Tensor:
    """(B, T) 1 on the tokens learnt from whose ratio, with GSPO their response's, lies outside the clip range."""
    assert learnt.old_logp is not None  # with one update a batch all ratios are 1
    of_responses = phase.loss == "gspo"
    ratio = sequence_ratios(logp, learnt.old_logp, learnt.mask) if of_responses else ratios(logp, learnt.old_logp)
    return ((ratio < 1 - phase.clip_low) | (ratio > 1 + phase.clip_high)) * learnt.mask
