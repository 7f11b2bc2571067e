"""The losses of methods, a number a token, as pure functions on tensors; and what is added to them.

B is the number of responses, T the longest, in tokens. A loss asks by parameter name for what it needs: `logp` (B, T)
of the policy, `old_logp` (B, T) of the policy before the batch's first update, `advantages` (B, 1), or (B, T) from a
critic, `mask` (B, T) 1 on the tokens learnt from, or a setting of the phase. It returns (B, T), or (B, 1) for what
holds for all tokens of a response; where the mask is 0 its values mean nothing.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def ratios(logp: Tensor, old_logp: Tensor) -> Tensor:
    """pi / pi_old of each token, (B, T)."""
    return (logp - old_logp).clamp(-20, 20).exp()


def sequence_ratios(logp: Tensor, old_logp: Tensor, mask: Tensor) -> Tensor:
    """The geometric mean of a response's ratios, (B, 1)."""
    mean = ((logp - old_logp) * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)
    return mean.clamp(-20, 20).exp()


def clipped_loss(
    logp: Tensor, old_logp: Tensor, advantages: Tensor, clip_low: float, clip_high: float, dual_clip: float = 10.0
) -> Tensor:
    """PPO's clipped surrogate (arXiv 1707.06347) with dual clip (arXiv 1912.09729). -> (B, T)"""
    ratio = ratios(logp, old_logp)
    loss = torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - clip_low, 1 + clip_high))
    return torch.where(advantages < 0, torch.minimum(loss, -advantages * dual_clip), loss)


def gspo_loss(
    logp: Tensor, old_logp: Tensor, advantages: Tensor, mask: Tensor, clip_low: float, clip_high: float
) -> Tensor:
    """GSPO's (arXiv 2507.18071, equation 5): the clipped surrogate of a response's ratio, the same for all its tokens.
    -> (B, 1), or (B, T) with a critic's advantages"""
    ratio = sequence_ratios(logp, old_logp, mask)
    return torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - clip_low, 1 + clip_high))


def cispo_loss(logp: Tensor, old_logp: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """CISPO's (arXiv 2506.13585, equations 4 and 5): REINFORCE with the clipped ratio as a constant weight, so that no
    token loses its gradient. -> (B, T)"""
    weight = ratios(logp, old_logp).clamp(1 - clip_low, 1 + clip_high).detach()
    return -weight * advantages * logp


def sapo_loss(
    logp: Tensor, old_logp: Tensor, advantages: Tensor, sapo_temperature_pos: float, sapo_temperature_neg: float
) -> Tensor:
    """SAPO's (arXiv 2511.20347): a sigmoid of the ratio as a soft clip, sharper where the advantage is not positive.
    -> (B, T)"""
    temperature = torch.where(advantages > 0, sapo_temperature_pos, sapo_temperature_neg)
    return -torch.sigmoid(temperature * (ratios(logp, old_logp) - 1)) * 4 / temperature * advantages


# Name -> its function.
LOSSES: dict[str, Callable[..., Tensor]] = {
    "clip": clipped_loss,
    "gspo": gspo_loss,
    "cispo": cispo_loss,
    "sapo": sapo_loss,
}


def kl_loss(logp: Tensor, ref_logp: Tensor) -> Tensor:
    """An estimate of KL(pi || reference) at each token, never negative: k3 of Schulman's, as in GRPO (arXiv 2402.03300,
    equation 4). -> (B, T)"""
    gap = (ref_logp - logp).clamp(-20, 20)
    return gap.exp() - gap - 1


def mean_over(values: Tensor, weights: Tensor) -> Tensor:
    """The mean of values (B, T) or (B, 1) with weights (B, T); 0, with zero gradient, where all weights are 0."""
    return (values * weights).sum() / weights.sum().clamp(min=1)
