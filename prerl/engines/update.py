"""From scored responses to the optimiser's steps."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from prerl.advantages import ADVANTAGES, critic_advantages, group_advantages
from prerl.engines.custom import custom_advantages, custom_batch, custom_loss
from prerl.engines.tally import Tally
from prerl.errors import check_finite
from prerl.losses import LOSSES, mean_over
from prerl.model.adamw import AdamW
from prerl.model.cache import Prompts
from prerl.model.joint import Joint
from prerl.model.lean import LeanModel
from prerl.model.likelihood import read_prompts, response_entropy, response_hidden, response_logp
from prerl.model.sampler import Response
from prerl.objective import Batch, Lesson, lesson, loss_of
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
        sampler_logp=right([response.logp for response in responses], 0.0),
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
    critic = nn.utils.skip_init(nn.Linear, model.config.hidden_size, 1, device=model.lm_head.weight.device)
    assert isinstance(critic, nn.Linear)
    nn.init.zeros_(critic.weight)
    nn.init.zeros_(critic.bias)
    return critic


def own_transform(phase: Phase, **at: int) -> Callable[[Batch], Batch]:
    """The phase's own change of a scored batch; none leaves it as it is. `at`: the update, for functions that ask."""
    return partial(custom_batch, phase.transform, **at) if phase.transform else lambda batch: batch


def advantages_of(rewards: Tensor, group: Tensor, phase: Phase, **at: int) -> Tensor:
    """(B,) by the phase's kind of advantage or its own function."""
    if phase.advantage in ADVANTAGES:
        return group_advantages(rewards, group, phase.advantage, **phase.settings)
    return custom_advantages(phase.advantage, rewards, group, **phase.settings, **at)


def own_loss(phase: Phase, **at: int) -> Callable[[dict[str, Any]], Tensor] | None:
    """The phase's own loss, as `loss_of` wants it; None if it has one of LOSSES."""
    return None if phase.loss in LOSSES else lambda given: custom_loss(phase.loss, given | at)


class Learner:
    """Learns from scored batches: what is kept from update to update, but for the samples."""

    def __init__(
        self,
        model: "Model",
        optimizer: AdamW,
        rl: Reinforce,
        critic: nn.Linear | None = None,
        reference: "Model | None" = None,
    ) -> None:
        """`critic` is the value head of phases that need one, `reference` the model whose KL they are charged with."""
        self.model, self.optimizer, self.rl, self.critic, self.reference = model, optimizer, rl, critic, reference
        self.parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def learn(self, batch: Batch, phase: Phase, start_token_id: int, step: int = 1) -> dict[str, Any]:
        """All updates on the batch that was sampled at `step`, each skipped if no sample there has a gradient. Returns
        what the log says of them.

        With one update a batch, the old log-probabilities are the present ones (as in the authors' code, which computes
        them anew): the ratio is 1, its gradient that of log pi, and the clip range without effect. With several they
        are computed before the first. `sampler_gap` is how far the sampler's log-probabilities are from those, a check
        of the sampler.
        """
        learnt = self.lesson(batch, phase, start_token_id, step)
        useful = learnt.useful.nonzero()[:, 0]
        if len(useful) and phase.updates > 1:
            learnt = replace(learnt, old_logp=self.logp(self.model, learnt.batch, useful))
        tally, own = Tally(), own_loss(phase, step=step, steps=self.rl.steps)
        for _ in range(phase.passes):
            for part in learnt.mini_batches(phase.mini_batches):
                self.update(part, phase, own, tally)
        return {"used_samples": len(useful), "skipped": not tally.norms, **tally.row()}

    def lesson(self, batch: Batch, phase: Phase, start_token_id: int, step: int = 1) -> Lesson:
        """What is learnt from the batch that was sampled at `step`, as the model is now; with the reference's
        log-probabilities where the phase asks for them."""
        at = {"step": step, "steps": self.rl.steps}

        def advantage(scored: Batch) -> Tensor:
            if phase.advantage != "critic":
                return advantages_of(scored.rewards, scored.group, phase, **at)
            values = self.values(scored)
            return critic_advantages(scored.rewards, values, scored.response_mask)

        learnt = lesson(batch, phase, own_transform(phase, **at), advantage, start_token_id, self.rl.max_new_tokens)
        useful = learnt.useful.nonzero()[:, 0]
        if len(useful) and phase.kl_coefficient:
            assert self.reference is not None  # by the engine
            learnt = replace(learnt, ref_logp=self.logp(self.reference, learnt.batch, useful))
        return learnt

    def update(
        self, learnt: Lesson, phase: Phase, own: Callable[[dict[str, Any]], Tensor] | None, tally: Tally
    ) -> None:
        """One update on a lesson, skipped if no response there has a gradient; `own` is the phase's own loss, if it has
        one."""
        if not learnt.useful.any():
            return
        self.optimizer.zero_grad()
        self.backward(learnt, phase, own, tally)
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, self.rl.max_grad_norm))
        check_finite("gradient's norm", norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rl.learning_rate * phase.learning_rate_factor
        self.optimizer.step()
        tally.norms.append(norm)

    def backward(
        self, learnt: Lesson, phase: Phase, own: Callable[[dict[str, Any]], Tensor] | None, tally: Tally
    ) -> None:
        """Adds the gradient of a lesson's loss to the parameters'; some response there must have one."""
        joint, critic = Joint(), self.critic if phase.advantage == "critic" else None
        lean, useful = LeanModel(self.model, joint), learnt.useful.nonzero()[:, 0]
        for rows, prompts in micro_batches(lean, learnt.batch, useful, self.rl.micro_batch):
            part = learnt.rows(rows).trimmed()
            hidden = response_hidden(lean, part.batch, prompts)
            logp = response_logp(lean, part.batch, hidden, self.rl.temperature)
            entropy = response_entropy(lean, hidden, self.rl.temperature) if phase.entropy_coefficient else None
            loss = mean_over(loss_of(part, phase, logp, entropy, own), part.weights)
            if critic is not None:
                # The return is the reward: it comes at the end, and there is no discount.
                error = (critic(hidden)[..., 0] - part.batch.rewards[:, None]) ** 2
                loss = loss + CRITIC_COEFFICIENT * (error * part.mask).sum() / part.mask.sum()
            check_finite("loss", loss.item())
            (loss * part.weights.sum() / learnt.denominator * phase.loss_coefficient).backward()
            tally.add(part, phase, logp.detach())
        joint.back()

    def logp(self, model: "Model", batch: Batch, rows: Tensor) -> Tensor:
        """Log-probabilities of the response tokens in the given rows, by a model. (B, T), 0 elsewhere"""
        at = self.rl.temperature
        return self._of_tokens(model, batch, rows, lambda lean, part, hidden: response_logp(lean, part, hidden, at))

    def values(self, batch: Batch) -> Tensor:
        """The critic's before each response token. (B, T), 0 at padding"""
        critic = self.critic
        assert critic is not None  # by critic_for
        rows = torch.arange(len(batch.rewards))
        return self._of_tokens(self.model, batch, rows, lambda _, __, hidden: critic(hidden)[..., 0])

    @torch.no_grad()
    def _of_tokens(
        self, model: "Model", batch: Batch, rows: Tensor, function: Callable[[LeanModel, Batch, Tensor], Tensor]
    ) -> Tensor:
        values, lean = torch.zeros_like(batch.response_mask), LeanModel(model)
        for index, prompts in micro_batches(lean, batch, rows, self.rl.micro_batch):
            part = batch.rows(index).trimmed()
            found = function(lean, part, response_hidden(lean, part, prompts))
            values[index, : part.response_ids.shape[1]] = found * part.response_mask
        return values


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
