"""Gradient alignment: do log P(y) and log P(y|x) pull the parameters the same way? One comparison a rollout.

Beside it what it must be compared with: the gradients of unrelated rollouts, and of two halves of the rollouts.
"""

import math
import random
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from prerl.errors import UserError
from prerl.evaluation.gradients import SPACES, Gradients, Sketch, compare, halves, parameter_groups, unrelated
from prerl.evaluation.partial import Partial, Rows
from prerl.files.atomic import write_table
from prerl.files.checksums import broken, checksums, intact, sha256
from prerl.files.fingerprint import fingerprint
from prerl.files.record import RunRecord
from prerl.model.checkpoint import DROPPED
from prerl.model.lean import LeanModel
from prerl.model.likelihood import response_logp
from prerl.model.plain import load
from prerl.model.processor import occupy
from prerl.model.rollout import sample_all
from prerl.model.tokens import Tokens
from prerl.objective import Batch, forget_prompt
from prerl.problems.world import Problem, world
from prerl.seeds import seed_of
from prerl.settings.scale import Scale

GROUP = 4  # rollouts a problem
BLOCKS = 8  # of problems, for the halves
SAVE_EVERY = 10  # problems; a killed job goes on from there

# A batch of one, the tokens that restate the problem (None in a world where responses do not), whether it is right.
Rollout = tuple[Batch, int | None, bool]


def align_base(scale: Scale, seed: int, model: Path, problems: Path, out: Path) -> None:
    """Compares the gradients on rollouts of the base of a seed; the scale's rollouts are shared by its bases. Writes

    out/alignment.parquet  a row a rollout, part and parameter group, see `compare`
    out/positions.parquet  a row a token: rollout, problem, position, body, logp_post_train, logp_pre_train (nats)
    out/noise.parquet      a row a rollout and part: its cosine with a rollout of another problem, `across` the spaces
                           (log P(y) against log P(y'|x')) and `within` the post-train space
    out/halves.parquet     a row an equal split of eight blocks of problems and part: cosines of the halves' mean
                           gradients within each space, and of the two spaces' mean gradients on one half
    out/alignment.json     the record
    """
    occupy(scale.threads)
    count = -(-scale.analysis.alignment_rollouts // (GROUP * len(scale.base_seeds)))
    record = RunRecord("align", _config(scale, {"problems": count, "seed": seed}))
    inputs = {"model": sha256(intact(model / "model.safetensors", model.parent / "run.json"))}
    partial = Partial(out / "alignment-partial", record.data["config"] | inputs | {"code": fingerprint(__name__)})
    tables = Comparison(scale, model, problems, count, f"alignment base seed {seed}").run(partial, noise=True)
    for name, rows in tables.items():
        write_table(out / f"{name}.parquet", pd.DataFrame(rows))
    outputs = checksums([out / f"{name}.parquet" for name in tables], out)
    record.write(out / "alignment.json", inputs=inputs, outputs=outputs)
    partial.clear()


def align_run(scale: Scale, run: Path, problems: Path, out: Path) -> None:
    """Compares the gradients of log P(y) and log P(y|x) on rollouts of a training run's checkpoints, at each of the
    scale's alignment steps; seeds share the scale's rollouts, all runs meet the same problems, and a run that stopped
    early keeps its last checkpoint. Writes out/alignment.parquet, whose columns are those of `align_base` and step, and
    out/alignment.json, the record. Raises UserError if the run has no checkpoints, or one is damaged."""
    occupy(scale.threads)
    count = -(-scale.analysis.alignment_rollouts // (GROUP * len(scale.seeds)))
    record = RunRecord("align", _config(scale, {"problems": count, "steps": scale.analysis.alignment_steps}))
    models = sorted((run / "checkpoints").glob("step-*/model.safetensors"))
    saved = {int(path.parent.name.removeprefix("step-")): path.parent for path in models}
    if not saved:
        raise UserError(f"{run}/checkpoints: no checkpoints; train the run again")
    rows: Rows = []
    for path in saved.values():
        if broken(path, DROPPED):
            raise UserError(f"{path}: damaged; delete {run}/run.json and run again to train it anew")
    inputs = {path.name: sha256(path / "model.safetensors") for path in saved.values()}
    key, partials = record.data["config"] | {"code": fingerprint(__name__)}, out / "alignment-partial"
    for step in scale.analysis.alignment_steps:
        path = saved[max(number for number in saved if number <= step)]
        partial = Partial(partials / path.name, key | {"model": inputs[path.name]})
        name = f"alignment {run.parent.name} {run.name} step {step}"
        compared = Comparison(scale, path, problems, count, name).run(partial, noise=False)
        rows += [{"step": step, **row} for row in compared["alignment"]]
    write_table(out / "alignment.parquet", pd.DataFrame(rows))
    record.write(out / "alignment.json", inputs=inputs, outputs=checksums([out / "alignment.parquet"], out))
    shutil.rmtree(partials)


def _config(scale: Scale, more: dict[str, Any]) -> dict[str, Any]:
    settings = {"start_token": scale.start_token, "threads": scale.threads, "rl": scale.rl.model_dump()}
    return {"rollouts_a_problem": GROUP} | settings | more


class Comparison:
    """Rollouts of one model, and the gradients of their mean token log-likelihood in both spaces."""

    def __init__(self, scale: Scale, path: Path, problems: Path, count: int, name: str) -> None:
        self.scale, self.path, self.name = scale, path, name
        self.model = load(path)
        self.tokens = Tokens(path)
        self.start = self.tokens.id_of(scale.start_token)
        self.lean = LeanModel(self.model)  # once: the parameters stay as they are
        self.groups = parameter_groups(self.model)
        self.length = sum(parameter.numel() for parameter in self.model.parameters())
        self.sketch = Sketch(self.length)
        rng = random.Random(seed_of("alignment"))
        self.world = world(scale.problems, problems)
        self.problems: list[Problem] = self.world.draw(rng, count)
        self.prompts = self.tokens.read([problem.prompt for problem in self.problems], self.world.chat)

    def run(self, partial: Partial, noise: bool) -> dict[str, Rows]:
        """Rows of each table by its name; with `noise` all tables, else `alignment` alone. Goes on from what an earlier
        process left."""
        done, tables, blocks = partial.load()
        tables = defaultdict(list, tables)
        if "responses" not in tables:
            tables["responses"] = self.sample()
            partial.save(0, tables, blocks)
        problems = islice(self.rollouts(tables["responses"]), max(done - 1, 0), None)
        before = self.last_gradients(next(problems)[1]) if done else {}  # of the problem before
        for place, (problem, rollouts) in enumerate(problems, start=done):
            gradients: Gradients = {}
            for number, (batch, header, correct) in enumerate(rollouts):
                about = {"rollout": place * GROUP + number, "problem": problem.id, "correct": correct}
                logp, gradients = self.gradients(batch, header)
                sizes = {"all": len(logp["post_train"]), "body": len(logp["post_train"]) - (header or 0)}
                for part, pair in gradients.items():
                    row = {**about, "part": part, "tokens": sizes[part]}
                    tables["alignment"] += [row | more for more in compare(pair, self.groups)]
                if noise:
                    tables["positions"] += self.positions(about, logp, header)
                    for part in (part for part in gradients if part in before):
                        tables["noise"].append({**about, "part": part, **unrelated(gradients[part], before[part])})
                    self.add(gradients, blocks, place % BLOCKS)
            before = gradients
            print(f"{self.name}  problem {place + 1}/{len(self.problems)}", file=sys.stderr, flush=True)
            if (place + 1) % SAVE_EVERY == 0 or place + 1 == len(self.problems):
                partial.save(place + 1, tables, blocks)
        if noise:
            tables["halves"] = [row for part, sums in blocks.items() for row in halves(part, sums)]
        return {name: rows for name, rows in tables.items() if name != "responses"}

    def add(self, gradients: Gradients, blocks: dict[str, Tensor], block: int) -> None:
        """Adds a rollout's gradients, folded, to the sums of its block: by part (blocks, spaces, sketch)."""
        for part, pair in gradients.items():
            total = blocks.setdefault(part, torch.zeros(BLOCKS, len(SPACES), self.sketch.size))
            total[block] += torch.stack([self.sketch(pair[space]) for space in SPACES])

    def last_gradients(self, rollouts: list[Rollout]) -> Gradients:
        """The gradients of a problem's last rollout, which those of the next problem are compared with."""
        batch, header, _right = rollouts[-1]
        return self.gradients(batch, header)[1]

    def sample(self) -> Rows:
        """The token ids of all rollouts, prompt-major."""
        seed = seed_of("alignment", "rollouts")
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

    def gradients(self, batch: Batch, header: int | None) -> tuple[dict[str, Tensor], Gradients]:
        """Token log-probabilities (T,) by space; and by part and space the gradient of their mean over all parameters,
        flat. Parts: `all` tokens, and `body`: without the first `header` ones (missing if that is None, or none are
        left)."""
        logp: dict[str, Tensor] = {}
        gradients: Gradients = defaultdict(dict)
        for space in SPACES:
            asked = batch if space == "post_train" else forget_prompt(batch, self.start)
            values = response_logp(self.lean, asked, temperature=self.scale.rl.temperature)[0]
            parts = {"all": values.mean()}
            if header and header < len(values):
                parts["body"] = values[header:].mean()
            for part, value in parts.items():
                gradients[part][space] = self._gradient(value)
            if header == 0:
                gradients["body"] = gradients["all"]
            logp[space] = values.detach()
        return logp, gradients

    def _gradient(self, value: Tensor) -> Tensor:
        """By all parameters, flat; each part is added at its place, for a large model has no memory for a copy."""
        flat = torch.zeros(self.length)
        parameters = list(self.model.parameters())
        for parameter, place in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
            parameter.grad = place.view_as(parameter)
        value.backward(retain_graph=True)
        self.model.zero_grad(set_to_none=True)
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
