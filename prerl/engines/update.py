"""One update: from scored responses to an optimiser step."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from prerl.engines.custom import custom_advantages, custom_batch
from prerl.errors import check_finite
from prerl.model.adamw import AdamW
from prerl.model.cache import Prompts
from prerl.model.joint import Joint
from prerl.model.lean import LeanModel
from prerl.model.likelihood import read_prompts, response_hidden, response_logp
from prerl.model.sampler import Response
from prerl.objective import (
    ADVANTAGES,
    Batch,
    clipped_loss,
    critic_advantages,
    group_advantages,
    lesson,
)
from prerl.settings.methods import Method, Phase
from prerl.settings.scale import Reinforce

if TYPE_CHECKING:
    from prerl.model.plain import Model

PROMPT_TOKENS = 1024  # of prompts that are kept for their responses' way back at once
CRITIC_COEFFICIENT = 0.1  # of the critic's squared error beside the policy's loss, as in TRL's PPO


def make_batch(
    prompts: list[list[int]], responses: list[Response], rewards: list[float], group_size: int, pad_token_id: int
) -> Batch:
    """The Batch of prompt-major responses, `group_size` a prompt."""
    width, length = max(map(len, prompts)), max(len(response.ids) for response in responses)
    each = [prompt for prompt in prompts for _ in range(group_size)]

    def right(rows: list[list], fill: float) -> Tensor:
        return torch.tensor([row + [fill] * (length - len(row)) for row in rows])

    return Batch(
        prompt_ids=torch.tensor([[pad_token_id] * (width - len(prompt)) + prompt for prompt in each]),
        prompt_mask=torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in each]),
        response_ids=right([response.ids for response in responses], pad_token_id),
        response_mask=right([[1.0] * len(response.ids) for response in responses], 0.0),
        rewards=torch.tensor(rewards),
        group=torch.arange(len(prompts)).repeat_interleave(group_size),
        old_logp=right([response.logp for response in responses], 0.0),
    )


def phase_at(method: Method, step: int, steps: int) -> tuple[int, Phase]:
    """Index and phase of update `step`, counted from 1, in a run of `steps`. A phase of S steps makes S updates, unless
    the run is shorter; the one without a number takes what the others leave."""
    left, end = max(steps - sum(phase.steps or 0 for phase in method.phases), 0), 0
    for index, phase in enumerate(method.phases):
        end += left if phase.steps is None else phase.steps
        if step <= end:
            return index, phase
    raise ValueError(f"step {step} of a run of {steps}")


def critic_for(model: "Model", method: Method) -> nn.Linear | None:
    """A value head on the policy's last hidden state, 0 everywhere at first, for a method that needs one."""
    if not method.has_critic:
        return None
    critic = nn.utils.skip_init(nn.Linear, model.config.hidden_size, 1)
    assert isinstance(critic, nn.Linear)
    nn.init.zeros_(critic.weight)
    nn.init.zeros_(critic.bias)
    return critic


def own_transform(phase: Phase) -> Callable[[Batch], Batch]:
    """The phase's own change of a scored batch; none leaves it as it is."""
    return partial(custom_batch, phase.transform) if phase.transform else lambda batch: batch


def advantages_of(rewards: Tensor, group: Tensor, phase: Phase) -> Tensor:
    """(B,) by the phase's kind of advantage or its own function."""
    if phase.advantage in ADVANTAGES:
        return group_advantages(rewards, group, phase.advantage)
    return custom_advantages(phase.advantage, rewards, group)


def learn(
    model: "Model",
    optimizer: AdamW,
    batch: Batch,
    phase: Phase,
    rl: Reinforce,
    start_token_id: int,
    critic: nn.Linear | None = None,
) -> dict[str, Any]:
    """One optimiser step on the batch, skipped if no sample carries an advantage. Returns what the log says of it.

    There is one update a batch, so the old log-probabilities are the present ones (as in the authors' code, which
    computes them anew): the ratio is 1, its gradient that of log pi, and the clip range without effect. `sampler_gap`
    is how far the sampler's log-probabilities are from the update's, a check of the sampler. `critic` is the value head
    of a phase that needs one.
    """

    def advantage(scored: Batch) -> Tensor:
        if phase.advantage != "critic":
            return advantages_of(scored.rewards, scored.group, phase)
        assert critic is not None  # by critic_for
        return critic_advantages(scored.rewards, _values(model, critic, scored, rl), scored.response_mask)

    learnt = lesson(batch, phase, own_transform(phase), advantage, start_token_id, rl.max_new_tokens)
    useful = learnt.useful.nonzero()[:, 0]
    result = {"used_samples": len(useful), "skipped": len(useful) == 0, "grad_norm": 0.0, "sampler_gap": float("nan")}
    if len(useful) == 0:
        return result
    gaps, joint = [], Joint()
    optimizer.zero_grad()
    lean = LeanModel(model, joint)
    for rows, prompts in micro_batches(lean, learnt.batch, useful, rl.micro_batch):
        part = learnt.part(rows)
        batch, mask = part.batch, part.mask
        hidden = response_hidden(lean, batch, prompts)
        logp = response_logp(lean, batch, hidden, rl.temperature)
        now = logp.detach()
        loss = clipped_loss(logp, now, part.advantages, mask, phase.clip_low, phase.clip_high, phase.dual_clip)
        if phase.advantage == "critic" and critic is not None:
            error = (critic(hidden)[..., 0] - batch.rewards[:, None]) ** 2  # the return: no discount, reward at the end
            loss = loss + CRITIC_COEFFICIENT * (error * mask).sum() / mask.sum()
        check_finite("loss", loss.item())
        (loss * mask.sum() / learnt.denominator * phase.loss_coefficient).backward()
        if batch.old_logp is not None:
            gaps.append(float(((now - batch.old_logp) * mask).abs().max()))
    joint.back()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, rl.max_grad_norm))
    check_finite("gradient's norm", norm)
    for group in optimizer.param_groups:
        group["lr"] = rl.learning_rate * phase.learning_rate_factor
    optimizer.step()
    return result | {"grad_norm": norm, "sampler_gap": max(gaps, default=float("nan"))}


def micro_batches(lean: LeanModel, batch: Batch, rows: Tensor, size: int) -> Iterator[tuple[Tensor, Prompts]]:
    """The given rows, some `size` at a time, with their prompts: what a pass keeps for the way back shall fit the
    processor's cache.

    A prompt is read once for all its responses, and as many at once as are short enough. What these leave at its keys
    and values goes on its way back when the last of them has been passed.
    """
    groups, each = batch.group[rows].unique(return_inverse=True)
    for some in torch.arange(len(groups)).split(max(1, PROMPT_TOKENS // batch.prompt_ids.shape[1])):
        chosen = rows[torch.isin(each, some)]
        joint = Joint()
        prompts, place = read_prompts(lean, batch.rows(chosen), joint)
        for index in _alike(batch.response_mask[chosen].sum(1), size):
            yield chosen[index], prompts.take(place[index])
        joint.back()


def _alike(lengths: Tensor, size: int) -> Iterator[Tensor]:
    """Indices of rows (B,), those of like length together, for little padding: with it as many tokens at a time as
    `size` rows of mean length have, but a row at least."""
    order, most = lengths.argsort(stable=True), size * float(lengths.mean())
    while len(order):
        longest = float(lengths[order[-1]])
        count = min(len(order), max(1, int(most / longest)))
        yield order[-count:]
        order = order[:-count]


@torch.no_grad()
def _values(model: "Model", critic: nn.Linear, batch: Batch, rl: Reinforce) -> Tensor:
    """The critic's value before each response token. (B, T), 0 at padding"""
    values, lean = torch.zeros_like(batch.response_mask), LeanModel(model)
    for rows, prompts in micro_batches(lean, batch, torch.arange(len(values)), rl.micro_batch):
        part = batch.rows(rows).trimmed()
        hidden = response_hidden(lean, part, prompts)
        values[rows, : part.response_ids.shape[1]] = critic(hidden)[..., 0] * part.response_mask
    return values
