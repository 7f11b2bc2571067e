"""Double precision, so that rounding can be told from a fault: Adam divides gradients by their size, and where they are
near zero single precision's rounding alone moves weights by some 1e-5.

As a module, it is the `prerl` command in double precision, with rewards that are mixed in every group.
"""

import itertools

import pytest
import torch
import torch.nn.functional as F
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm, Qwen3RotaryEmbedding

from prerl import cli
from prerl.model.plain import load, load_pretrained
from prerl.problems.world import CountdownWorld

# Sums of a few thousand products below 1 are wrong by less than this; Adam (eps 1e-8) moves a weight by no more than
# learning_rate / 1e-8 times what a gradient is wrong by.
GRADIENT_ROUNDING = 1e-13
EPS = 1e-8


def norm(self, x):
    return F.rms_norm(x, x.shape[-1:], self.weight, self.variance_epsilon)


def rotations(self, x, position_ids):
    angles = position_ids[..., None] * self.inv_freq
    angles = torch.cat([angles, angles], -1)
    return angles.cos() * self.attention_scaling, angles.sin() * self.attention_scaling


def log_probs(hidden, weight, bias, labels, temperature, *_):
    logits = F.linear(hidden, weight, bias) / temperature
    entropy = torch.distributions.Categorical(logits=logits).entropy()
    return -F.cross_entropy(logits, labels, reduction="none"), entropy, None, None, None


def exact(patch: pytest.MonkeyPatch) -> None:
    """Models are loaded in double precision; transformers' norms and rotations and TRL's log-probabilities, which would
    fall back to single, do not."""
    from trl.trainer import grpo_trainer, utils

    reference = grpo_trainer.create_model_from_path
    torch.set_default_dtype(torch.float64)
    patch.setattr(utils._ChunkedLogProbFunction, "apply", log_probs)
    patch.setattr(grpo_trainer, "create_model_from_path", lambda path, **options: reference(path, **options).double())
    patch.setattr("prerl.engines.local.load", lambda path: load(path).double())
    patch.setattr("prerl.engines.policy.load", lambda path: load(path).double())
    patch.setattr("prerl.engines.policy.load_pretrained", lambda path: load_pretrained(path).double())
    patch.setattr(Qwen3RMSNorm, "forward", norm)
    patch.setattr(Qwen3RotaryEmbedding, "forward", rotations)


def mix_rewards(patch: pytest.MonkeyPatch) -> None:
    """Every other response counts as right, whatever it says: so each update has a signal. Every batch is even."""
    judged = itertools.count()
    patch.setattr(CountdownWorld, "score", lambda self, text, problem: float(next(judged) % 2))


if __name__ == "__main__":
    exact(pytest.MonkeyPatch())
    mix_rewards(pytest.MonkeyPatch())
    cli.main()
