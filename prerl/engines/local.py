"""The local engine: the whole algorithm in one process, read from top to bottom.

sample y ~ pi(.|x) -> score -> advantage -> keep(samples) -> [forget the prompt] -> clipped token-mean loss -> AdamW
"""

import random
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import PreTrainedModel

from prerl.config import Scale
from prerl.engines.rollout import sample_all
from prerl.engines.session import Session
from prerl.engines.update import critic_for, learn, make_batch, phase_at
from prerl.methods import Method, Phase
from prerl.model import load
from prerl.problems.world import Problem, world
from prerl.processor import occupy
from prerl.records import stream
from prerl.sampler import Response
from prerl.tokens import Tokens


def train(scale: Scale, method_name: str, method: Method, seed: int, base: Path, problems: Path, out: Path) -> None:
    """Trains one method from one seed, on the problem sets in a directory; writes to `out` model/ (the best checkpoint
    on dev), log.parquet (a row an update), dev.parquet (a row a dev response) and run.json. Can be killed: it goes on
    from its last checkpoint.
    """
    occupy(scale.threads)
    session = Session(scale, method_name, method, seed, base, problems, out)
    run = Run(scale, method, seed, base, problems)
    session.begin(*session.checkpoints.resume(run.model, run.optimizer, run.critic))

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


class Run:
    """A policy, its optimiser and what it trains on."""

    def __init__(self, scale: Scale, method: Method, seed: int, base: Path, problems: Path) -> None:
        self.rl, self.seed = scale.rl, seed
        self.world = world(scale.problems, problems)
        self.dev = self.world.dev()
        self.model: PreTrainedModel = load(base)
        self.tokens = Tokens(base)
        self.tokenizer = self.tokens.tokenizer
        self.start = scale.start_token
        for token in {self.start, *(phase.start_token for phase in method.phases)} - {None}:
            self.tokens.id_of(token)  # or a UserError, before anything is computed
        self.critic = critic_for(self.model, method)
        parameters = [*self.model.parameters(), *(self.critic.parameters() if self.critic else ())]
        self.optimizer = torch.optim.AdamW(
            parameters, lr=self.rl.learning_rate, weight_decay=self.rl.weight_decay, fused=True
        )

    def update(self, step: int, phase: Phase) -> dict[str, Any]:
        """One online update; returns its row of the log, over the batch just sampled (on problems of the train split).

        reward, finished, used_samples and skipped are shares, counts and flags of responses; response_tokens is their
        mean length, entropy their mean nats a token; grad_norm is taken before clipping; sampler_gap, in nats, is the
        largest difference of a token's log-probability between sampler and update (post-train space only).
        """
        start = time.monotonic()
        rng = random.Random(stream(self.seed, "problems", step))
        problems = self.world.draw(rng, self.rl.prompts_per_step)
        prompts, responses, texts = self.rollout(problems, self.rl.group_size, stream(self.seed, "rollout", step))
        each = [problem for problem in problems for _ in range(self.rl.group_size)]
        rewards = [self.score(text, problem) for text, problem in zip(texts, each, strict=True)]
        batch = make_batch(prompts, responses, rewards, self.rl.group_size, self.tokens.pad)
        generated = time.monotonic()
        restated = torch.tensor([self.world.restated(response.ids, self.tokenizer) or 0 for response in responses])
        start_token_id = self.start_token_id(phase)
        learned = learn(self.model, self.optimizer, batch, phase, self.rl, start_token_id, restated, self.critic)
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

    def score(self, text: str, problem: Problem) -> float:
        """The reward. An exception here is a defect of the judge, and says on which response it came up."""
        try:
            return self.world.score(text, problem)
        except Exception as error:
            error.add_note(f"while judging the response to {problem.id}: {text[:300]!r}")
            raise

    def start_token_id(self, phase: Phase) -> int:
        """Of the token that stands in front of y in the pre-train space."""
        return self.tokens.id_of(phase.start_token or self.start)

    def rollout(
        self, problems: list[Problem], repeats: int, seed: int
    ) -> tuple[list[list[int]], list[Response], list[str]]:
        """Prompts as token ids, `repeats` responses to each (prompt-major), and the responses' texts."""
        prompts = self.read(problems)
        responses = sample_all(self.model, self.tokens, prompts, repeats, self.rl, seed)
        return prompts, responses, self.tokens.texts([response.ids for response in responses])

    def read(self, problems: list[Problem]) -> list[list[int]]:
        """The prompts as token ids."""
        return self.tokens.read([problem.prompt for problem in problems], self.world.chat)

    def evaluate_dev(self, step: int) -> pd.DataFrame:
        """A row a dev response. The random stream is the same at every step and for every method and seed."""
        _, responses, _ = self.rollout(self.dev, self.rl.dev_samples, stream("dev"))
        return self.dev_table(step, responses)

    def dev_table(self, step: int, responses: list[Response]) -> pd.DataFrame:
        """The same of given responses, prompt-major."""
        repeats = self.rl.dev_samples
        texts = self.tokens.texts([response.ids for response in responses])
        return pd.DataFrame(
            {
                "step": step,
                "problem": self.dev[index // repeats].id,
                "sample": index % repeats,
                "response": text,
                "tokens": len(response.ids),
                "entropy": response.entropy,
                "finished": response.finished,
                "score": self.score(text, self.dev[index // repeats]),
            }
            for index, (response, text) in enumerate(zip(responses, texts, strict=True))
        )
