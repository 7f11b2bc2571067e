"""Priming: a base model learns from worked solutions of our own for some hundred steps, before any RL
(arXiv 2503.01307). What comes out is a base model like any other."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from prerl.base.supervised import learn_all
from prerl.engines.update import make_batch, micro_batches
from prerl.files.atomic import write, write_table
from prerl.files.checksums import checksums, intact, sha256
from prerl.files.fingerprint import fingerprint
from prerl.files.record import RunRecord
from prerl.losses import mean_over
from prerl.model.checkpoint import Checkpoints
from prerl.model.joint import Joint
from prerl.model.lean import LeanModel
from prerl.model.likelihood import response_hidden, response_logp
from prerl.model.plain import load
from prerl.model.processor import occupy
from prerl.model.sampler import Response
from prerl.model.tokens import Tokens
from prerl.objective import Batch
from prerl.problems.arithmetic import draw
from prerl.problems.sets import asked
from prerl.problems.solutions import solution
from prerl.seeds import seed_of
from prerl.settings.model import ArithmeticProblems
from prerl.settings.scale import Scale

TRAINED_ON = ("largest_number", "steps", "system", "examples", "template_options")  # of the scale's problems


def priming(scale: Scale, seed: int) -> dict[str, Any]:
    """All that the primed model of a seed depends on, beside the model that it is made from."""
    problems = scale.problems.model_dump(include=set(TRAINED_ON))
    return {"seed": seed, "micro_batch": scale.rl.micro_batch, **scale.model_dump(include={"prime"}), **problems}


def prime(scale: Scale, seed: int, model: Path, out: Path) -> None:
    """Trains the model in a directory on solutions of training problems, drawn by the seed; writes out/model,
    out/log.parquet and out/run.json. Can be killed: it goes on from the last checkpoint in out/checkpoints."""
    settings = scale.prime
    assert settings is not None  # by the command
    occupy(settings.threads, scale.local_device)
    config = priming(scale, seed)
    record = RunRecord("base", config)
    inputs = {"model": sha256(intact(model / "model.safetensors", model.parent / "run.json"))}
    tokens, learner = Tokens(model), load(model)
    checkpoints = Checkpoints(out / "checkpoints", config | inputs | {"code": fingerprint(__name__)})

    def backward(batch: Batch) -> tuple[float, int]:
        joint, total = Joint(), 0.0
        lean, count = LeanModel(learner, joint), batch.response_mask.sum()
        for rows, prompts in micro_batches(lean, batch, torch.arange(len(batch.rewards)), scale.rl.micro_batch):
            part = batch.rows(rows).trimmed()
            logp = response_logp(lean, part, response_hidden(lean, part, prompts))
            loss = -mean_over(logp, part.response_mask) * part.response_mask.sum() / count
            loss.backward()
            total += loss.item()
        joint.back()
        return total, int(count)

    log = learn_all(
        f"prime seed {seed}",
        settings,
        learner,
        tokens.tokenizer,
        checkpoints,
        lambda first: batches(scale, seed, tokens, first),
        backward,
    )

    def save(path: Path) -> None:
        learner.save_pretrained(path, max_shard_size="1TB")  # later stages know one file
        tokens.tokenizer.save_pretrained(path)

    write(out / "model", save)
    write_table(out / "log.parquet", pd.DataFrame(log))
    record.write(
        out / "run.json",
        inputs=inputs,
        parameters=sum(parameter.numel() for parameter in learner.parameters()),
        tokens=sum(row["tokens"] for row in log),
        final_loss=log[-1]["loss"],
        outputs=checksums([out / "model", out / "log.parquet"], out),
    )
    checkpoints.clear()


def batches(scale: Scale, seed: int, tokens: Tokens, first_step: int) -> Iterator[Batch]:
    """Solutions behind their questions as they are asked in RL, of the seed's steps `first_step`, ... (from 0)."""
    settings, problems = scale.prime, scale.problems
    assert settings is not None and isinstance(problems, ArithmeticProblems)  # by the scale's check
    prompt = asked(problems, tokens.tokenizer)
    for step in range(first_step, settings.steps):
        rng = random.Random(seed_of(seed, "prime", step))
        drawn = [
            draw(rng, "change", problems.steps, problems.largest_number, "train")
            for _ in range(settings.documents_per_step)
        ]
        texts = [solution(rng, problem, settings.reflects) for problem in drawn]
        prompts = tokens.read([prompt(problem.question) for problem in drawn], True)
        read = tokens.tokenizer(texts, add_special_tokens=False)["input_ids"]
        ids = [[*row, tokens.tokenizer.eos_token_id] for row in read]
        responses = [Response(row, [0.0] * len(row), 0.0, True) for row in ids]
        yield make_batch(prompts, responses, [0.0] * len(drawn), 1, tokens.pad)
