"""Losses against a peer's: the gradient of one batch through TRL's own, unmodified `_compute_loss`."""

from dataclasses import replace

import pytest
import torch

from prerl.engines.tally import Tally
from prerl.engines.update import Learner
from prerl.model.plain import load_pretrained
from prerl.objective import Lesson
from prerl.settings.scale import load_scale
from tests.helpers import SMOKE_FILE, changed, random_batch

LIMIT = 16
RANGE = {"clip_low": 0.2, "clip_high": 0.28}
TRL_RANGE = {"epsilon": 0.2, "epsilon_high": 0.28}
# A phase of ours -> the same to TRL.
PEERS = {
    "clip, tokens": ({**RANGE, "dual_clip": 10.0}, {**TRL_RANGE, "loss_type": "dapo", "delta": 10.0}),
    "clip, tokens of the batch": ({**RANGE, "dual_clip": 1e6}, {**TRL_RANGE, "loss_type": "bnpo"}),
    "clip, own length": ({**RANGE, "denominator": "length"}, {**TRL_RANGE, "loss_type": "grpo", "delta": 10.0}),
    "clip, budget": ({**RANGE, "denominator": "budget"}, {**TRL_RANGE, "loss_type": "dr_grpo", "delta": 10.0}),
    "gspo": (
        {"loss": "gspo", "denominator": "length", "clip_low": 0.1, "clip_high": 0.15},
        {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 0.1, "epsilon_high": 0.15},
    ),
    # TRL's upper limit is of the ratio, ours counts from 1; it has no lower one.
    "cispo": ({"loss": "cispo", "clip_low": 1.0, "clip_high": 0.5}, {"loss_type": "cispo", "epsilon_high": 1.5}),
    "sapo": (
        {"loss": "sapo", "denominator": "length", "sapo_temperature_pos": 1.0, "sapo_temperature_neg": 1.3},
        {"loss_type": "sapo", "sapo_temperature_pos": 1.0, "sapo_temperature_neg": 1.3},
    ),
    # Without the ratio that TRL multiplies by, as DeepSeek-V3.2 does (arXiv 2512.02556): k3 is as GRPO published it.
    "kl": (
        {**RANGE, "kl_coefficient": 0.3},
        {**TRL_RANGE, "loss_type": "dapo", "delta": 10.0, "beta": 0.3, "use_bias_correction_kl": False},
    ),
    "kl, own length": (
        {**RANGE, "kl_coefficient": 0.3, "denominator": "length"},
        {**TRL_RANGE, "loss_type": "grpo", "delta": 10.0, "beta": 0.3, "use_bias_correction_kl": False},
    ),
    # TRL's bonus is a mean over tokens whatever the loss divides by, ours goes the loss's way: alike for a token mean.
    "entropy": (
        {**RANGE, "entropy_coefficient": 0.2},
        {**TRL_RANGE, "loss_type": "bnpo", "delta": 10.0, "entropy_coef": 0.2},
    ),
}


def learner(model):
    rl = load_scale(SMOKE_FILE).rl
    rl = changed(rl, temperature=1.0, max_grad_norm=1e12, micro_batch=2, learning_rate=1e-12)
    return Learner(model, torch.optim.SGD(model.parameters()), rl)


@pytest.fixture
def lesson(trained, double):
    """A model in double precision, and a function that makes of a phase what is learnt: rows of other lengths,
    advantages of both signs, and ratios far from 1, of tokens and of whole responses."""
    model = load_pretrained(trained / "model").double()
    generator = torch.Generator().manual_seed(3)
    batch = random_batch(generator, sizes=((3, 4), (5, 7), (4, 6), (5, 5), (4, 3), (3, 7)))
    batch = replace(
        batch, response_mask=batch.response_mask.double(), rewards=batch.rewards.double(), sampler_logp=None
    )
    logp = learner(model).logp(model, batch, torch.arange(6))
    moved = torch.randn(logp.shape, generator=generator) + torch.linspace(-0.5, 0.5, 6)[:, None]
    advantages = torch.tensor([1.2, -0.7, 0.4, -1.5, 2.0, -0.3])
    mask = batch.response_mask
    ref = logp + torch.randn(logp.shape, generator=generator) / 2

    def make(phase):
        weights = mask / mask.sum(1, keepdim=True) if phase.denominator == "length" else mask
        budget = LIMIT if phase.denominator == "budget" else None
        return Lesson(batch, advantages, mask, weights, budget, phase.regularised, logp - moved, ref)

    return model, make


def trls(model, learnt, options, tmp_path):
    """The gradient that TRL's trainer gives the model."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    batch, rows = learnt.batch, len(learnt.weights)
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=lambda **_: [],
        args=GRPOConfig(
            output_dir=str(tmp_path),
            use_cpu=True,
            bf16=False,
            report_to=[],
            per_device_train_batch_size=rows,
            num_generations=2,
            max_completion_length=LIMIT,
            temperature=1.0,
            gradient_checkpointing=False,
            **{"beta": 0.0, **options},
        ),
        train_dataset=Dataset.from_dict({"prompt": ["a"] * rows}),
        processing_class=AutoTokenizer.from_pretrained(model.name_or_path),
    )
    trainer.current_gradient_accumulation_steps = 1
    model.train()
    model.zero_grad()
    inputs = {
        "prompt_ids": batch.prompt_ids,
        "prompt_mask": batch.prompt_mask,
        "completion_ids": batch.response_ids,
        "completion_mask": batch.response_mask.long(),
        "advantages": learnt.advantages,
        "old_per_token_logps": learnt.old_logp,
        "ref_per_token_logps": learnt.ref_logp,
        "num_items_in_batch": learnt.mask.sum(),
    }
    trainer._compute_loss(model, inputs).backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def ours(model, learnt, phase):
    """The gradient that the local engine gives the model, in micro-batches."""
    tally = Tally()
    learner(model).update(learnt, phase, None, tally)
    assert tally.norms
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_the_gradient_is_that_of_trls_own_loss(lesson, methods, tmp_path, name):
    pytest.importorskip("trl", reason="the TRL engine needs the extra `test` or `cluster`")
    model, make = lesson
    values, options = PEERS[name]
    phase = changed(methods["grpo"].phases[0], **values)
    learnt = make(phase)
    expected = trls(model, learnt, options, tmp_path)
    found = ours(model, learnt, phase)
    largest = float((found - expected).abs().max())
    print(f"{name}: largest difference {largest:.1e}, largest number {float(expected.abs().max()):.1e}")
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    assert float(expected.abs().max()) > 1e-3
