"""Whole updates: what each method would do with the same training batch, against what GRPO would do.

The gradients are those that training hands to the optimiser, by the same code, before their norm is clipped.
"""

import math
import random
import sys
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from prerl.engines.tally import Tally
from prerl.engines.update import Learner, critic_for, make_batch, own_loss
from prerl.evaluation.comparison import Comparison, elsewhere
from prerl.evaluation.gradients import cosine, gathered
from prerl.evaluation.partial import Partial, Rows
from prerl.model.adamw import AdamW
from prerl.model.rollout import sample_all
from prerl.objective import Batch, Lesson
from prerl.problems.world import Problem
from prerl.seeds import seed_of
from prerl.settings.methods import Method, Phase

REFERENCE = "grpo"
OTHERS = ("grpo", "nsr-rl")  # whose updates are also made with other prompts; the second has NSR-PreRL's samples
COLUMNS = ["batch", "method", "used", "norm", "cosine", "header_share"]


class Updates:
    """Training batches of one model, and the update that each method would make of them."""

    def __init__(self, comparison: Comparison, methods: dict[str, Method]) -> None:
        """By the model, world and random streams of the comparison; each method by its first phase. Without the
        reference among them there is nothing to compare."""
        self.of, self.rl = comparison, comparison.scale.rl
        methods = methods if REFERENCE in methods else {}
        self.phases = {name: method.phases[0] for name, method in methods.items()}
        self.learners = {name: self._learner(method) for name, method in methods.items()}

    def _learner(self, method: Method) -> Learner:
        model = self.of.model
        optimizer = AdamW(model.parameters(), lr=self.rl.learning_rate, weight_decay=self.rl.weight_decay)
        return Learner(model, optimizer, self.rl, critic_for(model, method), reference=model)

    def run(self, partial: Partial, count: int) -> Rows:
        """A row a batch and method, of `count` batches. Goes on from what an earlier process left."""
        done, tables, _ = partial.load()
        rows = tables.get("updates", [])
        for number in range(done, count if self.phases else 0):
            rows += [{"batch": number, **row} for row in self.compare(*self.batch(number))]
            print(f"{self.of.name}  batch {number + 1}/{count}", file=sys.stderr, flush=True)
            partial.save(number + 1, {"updates": rows}, {})
        return rows

    def batch(self, number: int) -> tuple[Batch, list[Problem]]:
        """A scored batch, sampled as training does, and its problems."""
        of, size = self.of, self.rl.group_size
        rng = random.Random(seed_of(*of.stream, "batch", number))
        problems: list[Problem] = of.world.draw(rng, self.rl.prompts_per_step)
        prompts = of.tokens.read([problem.prompt for problem in problems], of.world.chat)
        seed = seed_of(*of.stream, "batch rollouts", number)
        responses = sample_all(of.model, of.tokens, prompts, size, self.rl, seed)
        texts = of.tokens.texts([response.ids for response in responses])
        each = [problem for problem in problems for _ in range(size)]
        rewards = [of.world.score(text, problem) for text, problem in zip(texts, each, strict=True)]
        batch = make_batch(prompts, responses, rewards, size, of.tokens.pad)
        headers = [of.world.header(response.ids, of.tokens.tokenizer) for response in responses]
        return replace(batch, header=None if None in headers else torch.tensor(headers)), problems

    def compare(self, batch: Batch, problems: list[Problem]) -> Rows:
        """A row a method, and one more of those in OTHERS, with every response behind the prompt of another problem of
        the batch: responses with a gradient, the gradient's norm, its cosine with GRPO's (NaN if one is zero), and the
        share of its squared norm in the tokens that restate the problem (NaN where none do)."""
        reference, row = self.row(batch, REFERENCE)
        rows = [{"method": REFERENCE, **row, "cosine": _cosine(reference, reference)}]
        for name in (name for name in self.phases if name != REFERENCE):
            gradient, row = self.row(batch, name)
            rows.append({"method": name, **row, "cosine": _cosine(gradient, reference)})
        if (places := elsewhere(problems)) is not None:
            for name in (name for name in OTHERS if name in self.phases):
                gradient, row = self.row(behind(batch, places), name)
                rows.append({"method": f"{name}, other prompts", **row, "cosine": _cosine(gradient, reference)})
        return rows

    def row(self, batch: Batch, name: str) -> tuple[Tensor, dict[str, Any]]:
        """A method's gradient on the batch, folded, and what is said of it."""
        phase, learner = self.phases[name], self.learners[name]
        learnt = learner.lesson(batch, phase, self.of.tokens.id_of(phase.start_token or self.of.scale.start_token))
        gradient, norm = self.gradient(learnt, phase, learner)
        share = math.nan
        if batch.header is not None and norm:
            part, _ = self.gradient(header_part(learnt), phase, learner)
            squares = [float(x @ x) for x in (part, gradient - part)]
            share = squares[0] / sum(squares)
        return gradient, {"used": int(learnt.useful.sum()), "norm": norm, "header_share": share}

    def gradient(self, learnt: Lesson, phase: Phase, learner: Learner) -> tuple[Tensor, float]:
        """The gradient of a lesson's loss, folded, and its norm; 0 if no response has one."""
        if not learnt.useful.any():
            return torch.zeros(self.of.sketch.size), 0.0
        with gathered(self.of.model) as flat:
            learner.backward(learnt, phase, own_loss(phase, step=1, steps=self.rl.steps), Tally())
        return self.of.sketch(flat), float(flat.norm())


def behind(batch: Batch, places: list[int]) -> Batch:
    """The batch with the responses of each group behind the prompt of another: `places` (groups,) says which."""
    sizes = batch.group.bincount()
    assert (sizes == sizes[0]).all()  # as training samples them, prompt-major
    chosen = torch.tensor(places)[batch.group] * sizes[0]
    prompts = {name: getattr(batch, name)[chosen] for name in ("prompt_ids", "prompt_mask")}
    return replace(batch, **prompts, sampler_logp=None)


def header_part(learnt: Lesson) -> Lesson:
    """The part of a lesson that lies in the tokens that restate the problem: the advantages of the others are 0. Its
    gradient and that of the rest add up to the lesson's, since losses at the first update are linear in advantages."""
    header, advantages = learnt.batch.header, learnt.advantages
    assert header is not None  # by the caller
    inside = torch.arange(learnt.mask.shape[1]) < header[:, None]
    advantages = advantages if advantages.dim() == 2 else advantages[:, None]
    return replace(learnt, advantages=advantages * inside, mask=learnt.mask * learnt.useful[:, None], always=True)


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(cosine(a.double(), b.double()))  # in single precision that of a gradient with itself is not 1
