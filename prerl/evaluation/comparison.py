"""Rollouts of one model, and the gradients of their log-likelihood in both spaces, compared one rollout at a time.

Beside it what they must be compared with: the gradient of the same response behind another problem's prompt, those of
unrelated rollouts, and those of two halves of the rollouts.
"""

import math
import random
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prerl.evaluation.gradients import (
    OTHER_PROMPT,
    SPACES,
    Gradients,
    Sketch,
    compare,
    gathered,
    halves,
    parameter_groups,
    unrelated,
)
from prerl.evaluation.partial import Partial, Rows
from prerl.model.lean import LeanModel
from prerl.model.likelihood import response_logp
from prerl.model.plain import load
from prerl.model.rollout import sample_all
from prerl.model.tokens import Tokens
from prerl.objective import Batch, forget_prompt
from prerl.problems.world import Problem, world
from prerl.seeds import seed_of
from prerl.settings.scale import Scale

GROUP = 4  # rollouts a problem
BLOCKS = 8  # of problems at most, for the halves
SAVE_EVERY = 10  # problems; a killed job goes on from there

# A batch of one, the tokens that restate the problem (None in a world where responses do not), whether it is right.
Rollout = tuple[Batch, int | None, bool]


def elsewhere(problems: Sequence[Problem]) -> list[int] | None:
    """For each problem the place of the next one, in a circle, that is another; None if all are the same."""
    names = [problem.id for problem in problems]
    if len(set(names)) < 2:
        return None
    circle = [[*range(place, len(names)), *range(place)] for place in range(len(names))]
    return [next(other for other in turn if names[other] != names[turn[0]]) for turn in circle]


class Comparison:
    """Rollouts of one model, and the gradients of their mean token log-likelihood."""

    def __init__(
        self, scale: Scale, path: Path, problems: Path, count: int, name: str, seed: int | None = None
    ) -> None:
        """Draws `count` problems: those that belong to a base model's seed, or without one those that all runs meet."""
        self.scale, self.path, self.name = scale, path, name
        self.model = load(path)
        self.tokens = Tokens(path)
        self.start = self.tokens.id_of(scale.start_token)
        self.lean = LeanModel(self.model)  # once: the parameters stay as they are
        self.groups = parameter_groups(self.model)
        self.sketch = Sketch(sum(parameter.numel() for parameter in self.model.parameters()))
        self.stream = ("alignment",) if seed is None else ("alignment", seed)
        self.world = world(scale.problems, problems)
        self.problems: list[Problem] = self.world.draw(random.Random(seed_of(*self.stream)), count)
        self.prompts = self.tokens.read([problem.prompt for problem in self.problems], self.world.chat)
        self.others = elsewhere(self.problems)
        self.blocks = min(BLOCKS, count // 2 * 2)

    def run(self, partial: Partial, noise: bool) -> dict[str, Rows]:
        """Rows of each table by its name; with `noise` all tables, else `alignment` alone. Goes on from what an earlier
        process left."""
        done, tables, blocks = partial.load()
        tables = defaultdict(list, tables)
        if "responses" not in tables:
            tables["responses"] = self.sample()
            partial.save(0, tables, blocks)
        first = done - 1 if noise and done else done  # the problem before is compared with
        problems = islice(self.rollouts(tables["responses"]), first, None)
        before = self.last_gradients(next(problems)[1]) if first < done else {}
        for place, (problem, rollouts) in enumerate(problems, start=done):
            last: dict[str, Tensor] = {}
            for number, rollout in enumerate(rollouts):
                last.clear()  # of two rollouts at once a large model has no memory for the gradients
                about = {"rollout": place * GROUP + number, "problem": problem.id, "correct": rollout[2]}
                logp, gradients = self.all_gradients(rollout, place)
                self.add_rows(tables, about, logp, gradients, rollout[1], before if noise else None)
                if noise:
                    self.add(gradients, blocks, place % self.blocks)
                last = {part: pair["post_train"] for part, pair in gradients.items()}
                del gradients
            before = last
            print(f"{self.name}  problem {place + 1}/{len(self.problems)}", file=sys.stderr, flush=True)
            if (place + 1) % SAVE_EVERY == 0 or place + 1 == len(self.problems):
                partial.save(place + 1, tables, blocks)
        if noise:
            tables["halves"] = [row for part, sums in blocks.items() for row in halves(part, sums)]
        return {name: rows for name, rows in tables.items() if name != "responses"}

    def add_rows(
        self,
        tables: dict[str, Rows],
        about: dict[str, Any],
        logp: dict[str, Tensor],
        gradients: Gradients,
        header: int | None,
        before: dict[str, Tensor] | None,
    ) -> None:
        """Adds a rollout's rows to the tables: to `alignment` alone, or with the gradients of an unrelated rollout by
        part, `before`, to all."""
        sizes = {"all": len(logp["post_train"]), "body": len(logp["post_train"]) - (header or 0)}
        for part, found in gradients.items():
            row = {**about, "part": part, "tokens": sizes[part]}
            tables["alignment"] += [row | more for more in compare(found, self.groups)]
        if before is None:
            return
        tables["positions"] += self.positions(about, logp, header)
        for part in (part for part in gradients if part in before):
            tables["noise"].append({**about, "part": part, **unrelated(gradients[part], before[part])})

    def add(self, gradients: Gradients, blocks: dict[str, Tensor], block: int) -> None:
        """Adds a rollout's gradients, folded, to the sums of its block: by part (blocks, spaces, sketch)."""
        for part, pair in gradients.items():
            total = blocks.setdefault(part, torch.zeros(self.blocks, len(SPACES), self.sketch.size))
            total[block] += torch.stack([self.sketch(pair[space]) for space in SPACES])

    def last_gradients(self, rollouts: list[Rollout]) -> dict[str, Tensor]:
        """By part the post-train gradient of a problem's last rollout, which the next problem's are compared with."""
        batch, header, _right = rollouts[-1]
        return self.gradients(batch, header)[1]

    def sample(self) -> Rows:
        """The token ids of all rollouts, prompt-major."""
        seed = seed_of(*self.stream, "rollouts")
        responses = sample_all(self.model, self.tokens, self.prompts, GROUP, self.scale.rl, seed, self.name)
        return [{"ids": response.ids} for response in responses]

    def rollouts(self, responses: Rows) -> Iterator[tuple[Problem, list[Rollout]]]:
        """Each problem with its rollouts."""
        for place, (problem, prompt) in enumerate(zip(self.problems, self.prompts, strict=True)):
            rollouts = []
            for ids in (list(row["ids"]) for row in responses[place * GROUP : (place + 1) * GROUP]):
                batch = Batch(
                    prompt_ids=torch.tensor([prompt]),
                    prompt_mask=torch.ones(1, len(prompt), dtype=torch.long),
                    response_ids=torch.tensor([ids]),
                    response_mask=torch.ones(1, len(ids)),
                    rewards=torch.zeros(1),
                    group=torch.zeros(1, dtype=torch.long),
                    sampler_logp=None,
                )
                (text,) = self.tokens.texts([ids])
                right = self.world.score(text, problem) == 1
                rollouts.append((batch, self.world.header(ids, self.tokens.tokenizer), right))
            yield problem, rollouts

    def all_gradients(self, rollout: Rollout, place: int) -> tuple[dict[str, Tensor], Gradients]:
        """Token log-probabilities (T,) of a rollout to the problem at `place`, and by part its gradients, in each space
        and behind the prompt of another problem."""
        batch, header, _right = rollout
        asked = {"post_train": batch, "pre_train": forget_prompt(batch, self.start)}
        if self.others is not None:
            prompt = torch.tensor([self.prompts[self.others[place]]])
            asked[OTHER_PROMPT] = replace(batch, prompt_ids=prompt, prompt_mask=torch.ones_like(prompt))
        logp: dict[str, Tensor] = {}
        gradients: Gradients = defaultdict(dict)
        for name, one in asked.items():
            logp[name], found = self.gradients(one, header)
            for part, gradient in found.items():
                gradients[part][name] = gradient
        return logp, gradients

    def gradients(self, batch: Batch, header: int | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Token log-probabilities (T,) of one response, and by part the gradient of their mean over all parameters,
        flat. Parts: `all` tokens, and `body`: without the first `header` ones (missing if that is None, or none are
        left)."""
        values = response_logp(self.lean, batch, temperature=self.scale.rl.temperature)[0]
        parts = {"all": values.mean()}
        if header and header < len(values):
            parts["body"] = values[header:].mean()
        found = {part: self._gradient(value) for part, value in parts.items()}
        if header == 0:
            found["body"] = found["all"]
        return values.detach(), found

    def _gradient(self, value: Tensor) -> Tensor:
        with gathered(self.model) as flat:
            value.backward(retain_graph=True)
        return flat

    @staticmethod
    def positions(about: dict[str, Any], logp: dict[str, Tensor], header: int | None) -> Rows:
        """A row a token; none is of the body where responses do not restate their problem."""
        pairs = zip(*(logp[space].tolist() for space in SPACES), strict=True)
        first = math.inf if header is None else header
        where = {"rollout": about["rollout"], "problem": about["problem"]}
        return [
            {**where, "position": t, "body": t >= first, "logp_post_train": given, "logp_pre_train": alone}
            for t, (given, alone) in enumerate(pairs)
        ]
