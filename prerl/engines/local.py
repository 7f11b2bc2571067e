"""The local engine: the whole algorithm in one process, read from top to bottom.

sample y ~ pi(.|x) -> score -> advantage -> keep(samples) -> [forget the prompt] -> loss, a token mean -> AdamW
"""

import random
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prerl.engines.policy import Policy
from prerl.engines.session import Session
from prerl.engines.update import Learner, critic_for, make_batch, phase_at
from prerl.model.adamw import AdamW
from prerl.model.plain import load
from prerl.model.processor import occupy
from prerl.model.sampler import Response
from prerl.problems.world import Problem
from prerl.seeds import seed_of
from prerl.settings.methods import Method, Phase
from prerl.settings.scale import Scale


def train(scale: Scale, method_name: str, method: Method, seed: int, base: Path, problems: Path, out: Path) -> None:
    """Trains one method from one seed, on the problem sets in a directory; writes to `out` model/ (the best checkpoint
    on dev), log.parquet (a row an update), dev.parquet (a row a dev response) and run.json. Can be killed: it goes on
    from its last checkpoint.
    """
    occupy(scale.threads, scale.local_device)
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
        if phase.fresh_optimizer and step > 1 and phase_at(method, step - 1, scale.rl.steps)[0] != index:
            run.optimizer.state.clear()
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
        reference = load(base) if any(phase.kl_coefficient for phase in method.phases) else None
        self.learner = Learner(self.model, self.optimizer, self.rl, self.critic, reference)

    def update(self, step: int, phase: Phase) -> dict[str, Any]:
        """One online batch and what is learnt from it; returns its row of the log, over all that was sampled (on
        problems of the train split).

        reward, finished, used_samples and skipped are shares, counts and flags of responses; response_tokens is their
        mean length, entropy their mean nats a token; redrawn counts groups that were drawn anew; updates, grad_norm
        (before clipping, the mean of the updates), sampler_gap, clipped and kl are of `Learner.learn`; sampler_gap, in
        nats, is the largest difference of a token's log-probability between sampler and update (post-train space only).
        """
        start = time.monotonic()
        kept, sampled = self.sample(step, phase)
        batch = make_batch(kept.prompts, kept.responses, kept.rewards, self.rl.group_size, self.tokens.pad)
        batch = replace(batch, header=self.header([response.ids for response in kept.responses]))
        generated = time.monotonic()
        learned = self.learner.learn(batch, phase, self.start_token_id(phase), step)
        updated = time.monotonic()
        responses = sampled.responses
        tokens = sum(len(response.ids) for response in responses)
        return {
            "reward": sum(sampled.rewards) / len(responses),
            "response_tokens": tokens / len(responses),
            "entropy": sum(response.entropy * len(response.ids) for response in responses) / tokens,
            "finished": sum(response.finished for response in responses) / len(responses),
            **learned,
            "redrawn": len(sampled.prompts) - len(kept.prompts),
            "tokens": tokens,
            "generate_seconds": generated - start,
            "update_seconds": updated - generated,
        }

    def sample(self, step: int, phase: Phase) -> "tuple[Sampled, Sampled]":
        """The responses to learn from, and all that were sampled.

        Where the phase says so, groups without a signal, all right or all wrong, make room for new ones, as often as it
        allows: DAPO's dynamic sampling (arXiv 2503.14476). What is still without one then stays.
        """
        kept, sampled = Sampled(), Sampled()
        for draw in range(phase.redraw + 1):
            again = ("again", draw) if draw else ()
            kept = kept.with_signal(self.rl.group_size) if draw else kept
            missing = self.rl.prompts_per_step - len(kept.prompts)
            if not missing:
                break
            rng = random.Random(seed_of(self.seed, "problems", step, *again))
            new = self.sample_groups(self.world.draw(rng, missing), seed_of(self.seed, "rollout", step, *again))
            kept, sampled = kept + new, sampled + new
        return kept, sampled

    def sample_groups(self, problems: list[Problem], seed: int) -> "Sampled":
        """A group of responses to each problem, scored."""
        prompts, responses, texts = self.rollout(problems, self.rl.group_size, seed)
        each = [problem for problem in problems for _ in range(self.rl.group_size)]
        rewards = [self.score(text, problem) for text, problem in zip(texts, each, strict=True)]
        return Sampled(prompts, responses, rewards)


@dataclass(frozen=True)
class Sampled:
    """Scored responses, prompt-major, the same number to each prompt."""

    prompts: list[list[int]] = field(default_factory=list)  # token ids
    responses: list[Response] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)

    def __add__(self, other: "Sampled") -> "Sampled":
        return Sampled(self.prompts + other.prompts, self.responses + other.responses, self.rewards + other.rewards)

    def with_signal(self, size: int) -> "Sampled":
        """Without the groups, of `size`, whose rewards are all equal."""
        groups = [slice(start, start + size) for start in range(0, len(self.responses), size)]
        good = [index for index, group in enumerate(groups) if len(set(self.rewards[group])) > 1]
        return Sampled(
            [self.prompts[index] for index in good],
            [response for index in good for response in self.responses[groups[index]]],
            [reward for index in good for reward in self.rewards[groups[index]]],
        )
