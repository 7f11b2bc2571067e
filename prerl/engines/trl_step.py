"""The update that a run with TRL is making: what TRL's callbacks share of it, and its optimiser."""

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from prerl.model.sampler import Response
from prerl.settings.methods import Phase


class AdamW(torch.optim.AdamW):
    """AdamW that makes no step, not even one of momentum and weight decay, after a batch without signal."""

    skip = False

    def step(self, closure: Any = None) -> None:
        if not self.skip:
            super().step(closure)


@dataclass
class Step:
    """What TRL's callbacks share of the update that is being made."""

    index: int  # of the phase
    phase: Phase
    start: float = field(default_factory=time.monotonic)
    generated: float = 0.0  # when the responses were there, scored
    responses: list[Response] = field(default_factory=list)  # this process's, of the local sampler
    rewards: list[float] = field(default_factory=list)
    row: dict[str, Any] = field(default_factory=dict)  # of the log, as far as it is known
    logp: Tensor | None = None  # (b, T) of the micro-batch, by the model as it is
    gaps: list[float] = field(default_factory=list)  # largest of each micro-batch, sampler against update
