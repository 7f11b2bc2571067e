"""What is measured on: a scale's model and problems, the same for whoever is measured, and how a pace is taken."""

import itertools
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

from prerl.model.processor import occupy
from prerl.model.tokens import Tokens
from prerl.problems.world import Problem, world
from prerl.seeds import seed_of
from prerl.settings.scale import Scale, load_scale

REPEATS = 5
Judge = TypeVar("Judge", bound=Callable[..., float])


def timed(run: Callable[[int], int]) -> dict[str, Any]:
    """tokens_per_second, five times: of `run`, which takes the repetition's number and returns the tokens it made. A
    first one is not counted."""
    found = []
    for number in range(REPEATS + 1):
        start = time.monotonic()
        tokens = run(number)
        found.append(tokens / (time.monotonic() - start))
    return {"tokens_per_second": found[1:]}


class Work:
    """A scale's model and problems, and the same `prompts` (token ids, a list a repetition) for whoever is measured."""

    def __init__(
        self, scale: str, model: str, problems: str, prompts: int, group: int, length: int, device: str = "cpu"
    ) -> None:
        settings = load_scale(Path(scale))
        rl = settings.rl.model_copy(
            update={"prompts_per_step": prompts, "group_size": group, "max_new_tokens": length, "steps": REPEATS + 1}
        )
        self.scale: Scale = settings.model_copy(update={"rl": rl})
        self.model, self.problems, self.rl = Path(model), Path(problems), rl
        occupy(settings.threads, device)
        self.tokens, chat = Tokens(self.model), world(settings.problems, self.problems).chat
        self.prompts: list[list[list[int]]] = [
            self.tokens.read([problem.prompt for problem in problems], chat) for problems in self.drawn()
        ]

    def drawn(self) -> Iterator[list[Problem]]:
        """The problems of each repetition, those of training."""
        source = world(self.scale.problems, self.problems)
        for step in range(1, REPEATS + 2):
            yield source.draw(random.Random(seed_of(0, "problems", step)), self.rl.prompts_per_step)


def with_signal(score: Judge) -> Judge:
    """A judge that takes as long as `score` and finds every other response right: where a model solves nothing, the
    local engine skips the update, and its speed would be that of doing nothing."""
    turn = itertools.count()

    def judge(text: str, problem: Any) -> float:
        score(text, problem)
        return float(next(turn) % 2)

    return cast(Judge, judge)


def flops(model: Any) -> int:
    """Floating-point operations of a forward pass, a token: two a weight; attention's own products are left out."""
    head = model.lm_head.weight.numel() if model.config.tie_word_embeddings else 0
    embedding = model.model.embed_tokens.weight.numel()
    return 2 * (sum(p.numel() for p in model.parameters()) - embedding + head)
