"""Supervised training, of base models and of what they are primed with: the loop, whatever is learnt."""

import math
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from prerl.errors import check_finite
from prerl.model.adamw import AdamW
from prerl.model.checkpoint import Checkpoints
from prerl.settings.model import Pretrain

if TYPE_CHECKING:
    from prerl.model.plain import Model
    from prerl.model.tokens import Tokenizer

Learnt = TypeVar("Learnt")


def learning_rate(settings: Pretrain, step: int) -> float:
    """Linear warm-up, then cosine from the peak to a twentieth of it. `step` counts from 0."""
    warm = min(1.0, (step + 1) / settings.warmup_steps)
    return settings.learning_rate * warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / settings.steps)))


def learn_all(
    name: str,
    settings: Pretrain,
    model: "Model",
    tokenizer: "Tokenizer",
    checkpoints: Checkpoints,
    batches: Callable[[int], Iterable[Learnt]],
    backward: Callable[[Learnt], tuple[float, int]],
) -> list[dict[str, Any]]:
    """Trains a model for the settings' steps, from its last checkpoint if there is one. Returns the log: a row a step.

    batches   those of steps `first_step`, ... (from 0)
    backward  leaves the gradient of a batch's loss in the parameters; returns the loss and how many tokens it is over
    """
    optimizer = AdamW(model.parameters(), settings.learning_rate, settings.weight_decay, betas=(0.9, 0.95))
    done, log = checkpoints.resume(model, optimizer)
    tokens, start = 0, time.monotonic()
    for step, batch in enumerate(batches(done), start=done):
        if step == settings.steps:
            break
        rate = learning_rate(settings, step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        loss, count = backward(batch)
        check_finite("loss", loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        tokens += count
        log.append({"step": step + 1, "loss": loss, "tokens": count, "learning_rate": rate})
        if (step + 1) % min(100, settings.checkpoint_every) == 0 or step + 1 == settings.steps:
            elapsed = time.monotonic() - start
            left = elapsed / (step + 1 - done) * (settings.steps - step - 1)
            mean = sum(row["loss"] for row in log[-100:]) / len(log[-100:])
            print(
                f"{name}  step {step + 1}/{settings.steps}  loss {mean:.3f}  "
                f"{tokens / elapsed:,.0f} tokens/s  {left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )
        if (step + 1) % settings.checkpoint_every == 0 and step + 1 < settings.steps:
            checkpoints.save(step + 1, model, tokenizer, optimizer, log)
    return log
