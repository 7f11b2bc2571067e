"""A policy with its problems: what training is built on, whichever engine makes the updates."""

from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from prerl.model.plain import Model, load, load_pretrained
from prerl.model.rollout import sample_all
from prerl.model.sampler import Response
from prerl.model.tokens import Tokens
from prerl.problems.world import Problem, world
from prerl.seeds import seed_of
from prerl.settings.methods import Method, Phase
from prerl.settings.scale import Scale


class Policy:
    """A model, its tokenizer, and the world of its problems."""

    def __init__(self, scale: Scale, method: Method, seed: int, base: Path, problems: Path) -> None:
        """Loads the model in `base` and the problem sets in `problems`. Raises UserError if the tokenizer lacks a start
        token of the scale or the method."""
        self.rl, self.seed = scale.rl, seed
        self.world = world(scale.problems, problems)
        self.dev = self.world.dev()
        theirs = scale.engine.name == "trl"  # which wants transformers' own classes
        self.model: Model = load_pretrained(base) if theirs else load(base)
        self.tokens = Tokens(base, plain=not theirs)
        self.tokenizer = self.tokens.tokenizer
        self.start = scale.start_token
        for token in {self.start, *(phase.start_token for phase in method.phases)} - {None}:
            self.tokens.id_of(token)  # or a UserError, before anything is computed

    def score(self, text: str, problem: Problem) -> float:
        """The reward. An exception here is a defect of the judge, and says on which response it came up."""
        try:
            return self.world.score(text, problem)
        except Exception as error:
            error.add_note(f"while judging the response to {problem.id}: {text[:300]!r}")
            raise

    def start_token_id(self, phase: Phase) -> int:
        """The id of the token that stands in front of y in the pre-train space: the phase's, or else the scale's."""
        return self.tokens.id_of(phase.start_token or self.start)

    def header(self, responses: list[list[int]]) -> Tensor | None:
        """(B,) how many tokens each response (token ids) restates its problem with; None where none does."""
        counts = [self.world.header(ids, self.tokenizer) for ids in responses]
        return None if None in counts else torch.tensor(counts)

    def rollout(
        self, problems: list[Problem], repeats: int, seed: int
    ) -> tuple[list[list[int]], list[Response], list[str]]:
        """Prompts as token ids, `repeats` responses to each (prompt-major), and the responses' texts."""
        prompts = self.read(problems)
        responses = sample_all(self.model, self.tokens, prompts, repeats, self.rl, seed)
        return prompts, responses, self.tokens.texts([response.ids for response in responses])

    def read(self, problems: list[Problem]) -> list[list[int]]:
        """The problems' prompts as token ids, with the start token that the tokenizer or the template puts in front."""
        return self.tokens.read([problem.prompt for problem in problems], self.world.chat)

    def evaluate_dev(self, step: int) -> pd.DataFrame:
        """The table that `dev_table` makes, of responses drawn now. The random stream is the same at every step and for
        every method and seed."""
        _, responses, _ = self.rollout(self.dev, self.rl.dev_samples, seed_of("dev"))
        return self.dev_table(step, responses)

    def dev_table(self, step: int, responses: list[Response]) -> pd.DataFrame:
        """A row a response, of `dev_samples` responses to each dev problem, prompt-major: step, problem, sample,
        response, tokens, entropy (nats a token), finished, score."""
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
