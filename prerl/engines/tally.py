"""What the log says of the updates on one batch."""

import torch
from torch import Tensor

from prerl.losses import kl_loss
from prerl.objective import Lesson, outside
from prerl.settings.methods import Phase


class Tally:
    """Counts, a micro-batch at a time."""

    def __init__(self) -> None:
        self.norms: list[float] = []
        self.gaps: list[float] = []
        # Tokens learnt from; those of them outside the clip range; the sum of their KL.
        self.counts = torch.zeros(3, dtype=torch.float64)

    def add(self, learnt: Lesson, phase: Phase, logp: Tensor) -> None:
        """Counts a micro-batch, by the policy's log-probabilities (B, T) before its update."""
        mask = learnt.mask * learnt.useful[:, None]
        old = logp if learnt.old_logp is None else learnt.old_logp
        if learnt.batch.sampler_logp is not None:
            self.gaps.append(float(((old - learnt.batch.sampler_logp) * mask).nan_to_num().abs().max()))
        self.counts[0] += float(mask.sum())
        if learnt.old_logp is not None:
            self.counts[1] += float((outside(learnt, phase, logp) * mask).sum())
        if learnt.ref_logp is not None:
            self.counts[2] += float((kl_loss(logp, learnt.ref_logp) * mask).sum())

    def row(self) -> dict[str, float]:
        tokens, clipped, kl = self.counts.tolist()
        return {
            "updates": len(self.norms),
            "grad_norm": sum(self.norms) / max(len(self.norms), 1),
            "sampler_gap": max(self.gaps, default=float("nan")),
            "clipped": clipped / max(tokens, 1),
            "kl": kl / max(tokens, 1),
        }
