"""The update that TRL is making: its step of the optimiser, what callbacks share of it, what the log says of it."""

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from prerl.engines.tally import Tally
from prerl.model.sampler import Response
from prerl.objective import Batch, Lesson
from prerl.settings.methods import Phase


class AdamW(torch.optim.AdamW):
    """AdamW that makes no step, not even one of momentum and weight decay, after a batch without signal."""

    skip = False

    def step(self, closure: Any = None) -> None:
        if not self.skip:
            super().step(closure)


@dataclass
class Step:
    """What TRL's callbacks share of the batch that is being learnt from."""

    index: int  # of the phase
    phase: Phase
    start: float = field(default_factory=time.monotonic)
    generated: float = 0.0  # when the responses were there, scored
    responses: list[Response] = field(default_factory=list)  # this process's, of the local sampler
    rewards: list[float] = field(default_factory=list)
    row: dict[str, Any] = field(default_factory=dict)  # of the log, as far as it is known
    micro_batches: list[Lesson] = field(default_factory=list)  # of a pass, in order
    denominators: list[Tensor] = field(default_factory=list)  # of the mini-batches, of all processes
    used: list[int] = field(default_factory=list)  # responses of each that have a gradient, of all processes
    tally: Tally = field(default_factory=Tally)


def measures(batch: Batch, responses: list[Response], ends: list[int]) -> Tensor:
    """(B, 4) of the responses: rewards, lengths in tokens, whether each ends by itself, and entropy, the sum over its
    tokens in nats. Where the sampler does not say it (no `responses`), its unbiased estimate stands there, the sum of
    -log p over the sampled tokens; NaN without either."""
    lengths, device = batch.response_mask.sum(1), batch.rewards.device
    last = batch.response_ids.gather(1, lengths.long()[:, None] - 1)[:, 0]
    finished = torch.isin(last, torch.tensor(ends, device=device))
    if responses:
        entropy = lengths * torch.tensor([response.entropy for response in responses], device=device)
    elif batch.sampler_logp is not None:
        entropy = -(batch.sampler_logp * batch.response_mask).sum(1)
    else:
        entropy = torch.full_like(lengths, torch.nan)
    return torch.stack([batch.rewards, lengths, finished.float(), entropy], 1)
