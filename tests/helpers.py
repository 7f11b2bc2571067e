from pathlib import Path

import torch
import yaml

from prerl.engines.update import Learner
from prerl.losses import clipped_loss, mean_over
from prerl.objective import Batch
from prerl.report.figures.write import FIGURES
from prerl.report.tables.write import TABLES
from prerl.settings.scale import Scale

ROOT = Path(__file__).parent.parent
SMOKE_FILE = ROOT / "workflow/scales/smoke.yaml"
METHODS_FILE = ROOT / "workflow/methods.yaml"
CAPTIONS = ROOT / "workflow/report"
# Of a study; the others are of a comparison with the baselines.
STUDY_TABLES = [name for name, function in TABLES.items() if function.__module__ != "prerl.report.tables.comparison"]
STUDY_FIGURES = [name for name, function in FIGURES.items() if function.__module__ != "prerl.report.figures.comparison"]
PAPER = ["grpo", "psr-rl", "nsr-rl", "prerl", "psr-prerl", "nsr-prerl", "dsrl", "nsr-rl-grpo"]


def changed(settings, **values):
    """A checked copy of a configuration with other values."""
    return type(settings).model_validate(settings.model_dump() | values)


def learn(model, optimizer, batch, phase, rl, start_token_id=1, critic=None, reference=None, step=1):
    """What a phase learns from a batch; the row of its log."""
    return Learner(model, optimizer, rl, critic, reference).learn(batch, phase, start_token_id, step)


def token_mean(logp, old_logp, advantages, mask, clip_low=0.2, clip_high=0.2, dual_clip=10.0):
    """PPO's clipped loss, a mean over tokens. advantages (B,) or (B, T)"""
    advantages = advantages if advantages.dim() == 2 else advantages[:, None]
    return mean_over(clipped_loss(logp, old_logp, advantages, clip_low, clip_high, dual_clip), mask)


def small_scale(smoke: Scale) -> Scale:
    """The smoke scale, with fewer steps."""
    return changed(
        smoke,
        pretrain=changed(smoke.pretrain, steps=800, checkpoint_every=300, threads=1),
        rl=changed(smoke.rl, steps=6, checkpoint_every=3, max_new_tokens=48, group_size=8, dev_samples=8),
        evaluation=changed(smoke.evaluation, max_new_tokens=48),
        analysis=changed(smoke.analysis, alignment_rollouts=32, alignment_steps=[3, 6]),
    )


def random_batch(generator: torch.Generator, vocabulary: int = 126, sizes=((3, 4), (5, 2), (4, 6), (5, 5))) -> Batch:
    """A batch of one row a (prompt length, response length), of random tokens and rewards; groups of two."""
    width, length = max(p for p, _ in sizes), max(r for _, r in sizes)
    rows = len(sizes)
    prompt_mask = torch.tensor([[0] * (width - p) + [1] * p for p, _ in sizes])
    response_mask = torch.tensor([[1.0] * r + [0.0] * (length - r) for _, r in sizes])
    prompt_ids = torch.randint(3, vocabulary, (rows, width), generator=generator) * prompt_mask
    response_ids = torch.randint(3, vocabulary, (rows, length), generator=generator) * response_mask.long()
    return Batch(
        prompt_ids=prompt_ids,
        prompt_mask=prompt_mask,
        response_ids=response_ids,
        response_mask=response_mask,
        rewards=(torch.arange(rows) % 2).float(),
        group=torch.arange(rows) // 2,
        sampler_logp=-torch.rand(rows, length, generator=generator),
    )


def broken(tmp_path, change, source=SMOKE_FILE):
    """A copy of a configuration with a change made to its data (or text), as a file."""
    data = yaml.safe_load(source.read_text())
    text = change(data)
    path = tmp_path / "broken.yaml"
    path.write_text(text if isinstance(text, str) else yaml.safe_dump(data))
    return path
