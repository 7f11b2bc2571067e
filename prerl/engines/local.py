"""The local engine: the whole algorithm in one process, read from top to bottom.

sample y ~ pi(.|x) -> score -> advantage -> keep(samples) -> [forget the prompt] -> clipped token-mean loss -> AdamW
"""

import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from prerl.engines.policy import Policy
from prerl.engines.session import Session
from prerl.engines.update import critic_for, learn, make_batch, phase_at
from prerl.model.adamw import AdamW
from prerl.model.processor import occupy
from prerl.seeds import seed_of
from prerl.settings.methods import Method, Phase
from prerl.settings.scale import Scale


def train(scale: Scale, method_name: str, method: Method, seed: int, base: Path, problems: Path, out: Path) -> None:
    """Trains one method from one seed, on the problem sets in a directory; writes to `out` model/ (the best checkpoint
    on dev), log.parquet (a row an update), dev.parquet (a row a dev response) and run.json. Can be killed: it goes on
    from its last checkpoint.
    """
    occupy(scale.threads)
    session = Session(scale, method_name, method, seed, base, problems, out)
    run = Run(scale, method, seed, base, problems)
    session.begin(*session.checkpoints.resume(run.model, run.optimizer, run.critic))
    session.sign()

    def save(step: int) -> None:
        scores = run.evaluate_dev(step)
        session.progress.dev(step, scores)
        session.checkpoints.save(step, run.model, run.tokenizer, run.optimizer, session.log, scores, run.critic)
        session.prune()

    if not session.log:
        save(0)
    for step in range(session.done + 1, scale.rl.steps + 1):
        if session.collapsed:
            break
        index, phase = phase_at(method, step, scale.rl.steps)
        with session.naming():
            row = run.update(step, phase)
        session.add(step, {"phase": index, **row})
        if session.due(step):
            save(step)
    session.finish()


class Run(Policy):
    """A policy with its optimiser and, where the method needs one, its critic."""

    def __init__(self, scale: Scale, method: Method, seed: int, base: Path, problems: Path) -> None:
        super().__init__(scale, method, seed, base, problems)
        self.critic = critic_for(self.model, method)
        parameters = [*self.model.parameters(), *(self.critic.parameters() if self.critic else ())]
        self.optimizer = AdamW(parameters, lr=self.rl.learning_rate, weight_decay=self.rl.weight_decay)

    def update(self, step: int, phase: Phase) -> dict[str, Any]:
        """One online update; returns its row of the log, over the batch just sampled (on problems of the train split).

        reward, finished, used_samples and skipped are shares, counts and flags of responses; response_tokens is their
        mean length, entropy their mean nats a token; grad_norm is taken before clipping; sampler_gap, in nats, is the
        largest difference of a token's log-probability between sampler and update (post-train space only).
        """
        start = time.monotonic()
        rng = random.Random(seed_of(self.seed, "problems", step))
        problems = self.world.draw(rng, self.rl.prompts_per_step)
        prompts, responses, texts = self.rollout(problems, self.rl.group_size, seed_of(self.seed, "rollout", step))
        each = [problem for problem in problems for _ in range(self.rl.group_size)]
        rewards = [self.score(text, problem) for text, problem in zip(texts, each, strict=True)]
        batch = make_batch(prompts, responses, rewards, self.rl.group_size, self.tokens.pad)
        batch = replace(batch, header=self.header([response.ids for response in responses]))
        generated = time.monotonic()
        start_token_id = self.start_token_id(phase)
        learned = learn(self.model, self.optimizer, batch, phase, self.rl, start_token_id, self.critic)
        updated = time.monotonic()
        tokens = sum(len(response.ids) for response in responses)
        return {
            "reward": sum(rewards) / len(rewards),
            "response_tokens": tokens / len(responses),
            "entropy": sum(response.entropy * len(response.ids) for response in responses) / tokens,
            "finished": sum(response.finished for response in responses) / len(responses),
            **learned,
            "tokens": tokens,
            "generate_seconds": generated - start,
            "update_seconds": updated - generated,
        }
