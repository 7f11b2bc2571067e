"""The local engine: the whole algorithm in one process, read from top to bottom.

sample y ~ pi(.|x) -> score -> advantage -> keep(samples) -> [forget the prompt] -> clipped token-mean loss -> AdamW
"""

import random
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from prerl.checkpoint import Checkpoints
from prerl.config import Method, Phase, Reinforce, Scale
from prerl.fingerprint import fingerprint
from prerl.model import LeanModel, load, response_logp
from prerl.objective import Batch, clipped_loss, forget_prompt, group_advantages, keep
from prerl.problems.countdown import Problem, draw, is_correct
from prerl.problems.sets import read_problems
from prerl.records import RunRecord, sha256, stream, write, write_table
from prerl.sampler import Response, Sampling, sample

RL_NUMBERS = 3  # RL trains on problems of three numbers; the base has also seen four


def train(scale: Scale, method_name: str, method: Method, seed: int, base: Path, dev: Path, out: Path) -> None:
    """Trains one method from one seed; writes to `out` model/ (the best checkpoint on dev), log.parquet (a row an
    update), dev.parquet (a row a dev response) and run.json. Can be killed: it goes on from its last checkpoint.
    """
    torch.set_num_threads(1)
    config = {
        "method": method_name,
        "seed": seed,
        "phases": [phase.model_dump() for phase in method.phases],
        "start_token": scale.start_token,
        "rl": scale.rl.model_dump(),
        "largest_number": scale.problems.largest_number,
    }
    record = RunRecord("train", config)
    run = Run(scale, seed, base, read_problems(dev))
    inputs = {"base": sha256(base / "model.safetensors"), "dev": sha256(dev), "code": fingerprint(__name__)}
    checkpoints = Checkpoints(out / "checkpoints", config | inputs)
    done, log = checkpoints.resume(run.model, run.optimizer)
    progress = Progress(f"{method_name} seed {seed}", scale.rl.steps, done)
    if not log:
        scores = run.evaluate_dev(0)
        progress.dev(0, scores)
        checkpoints.save(0, run.model, run.tokenizer, run.optimizer, log, scores)
    for step in range(done + 1, scale.rl.steps + 1):
        if stopped(log, scale.rl.stop_after_skipped):
            break
        index, phase = method.phase_at(step)
        row = run.update(step, phase)
        log.append({"step": step, "phase": index, **row, **progress.pace(step, row)})
        progress.step(log[-1])
        last = step == scale.rl.steps or stopped(log, scale.rl.stop_after_skipped)
        if step % scale.rl.checkpoint_every == 0 or last:
            scores = run.evaluate_dev(step)
            progress.dev(step, scores)
            checkpoints.save(step, run.model, run.tokenizer, run.optimizer, log, scores)
    dev_table = checkpoints.tables()
    accuracy = dev_table[dev_table.step > 0].groupby("step").score.mean()
    best = int(accuracy.idxmax())  # the first of equals; the untrained step 0 is no candidate
    write(out / "model", lambda path: checkpoints.export(best, path))
    write_table(out / "log.parquet", pd.DataFrame(log))
    write_table(out / "dev.parquet", dev_table)
    record.write(
        out / "run.json",
        inputs=inputs,
        selected_step=best,
        updates=len(log),
        skipped_updates=sum(row["skipped"] for row in log),
        stopped_without_signal=stopped(log, scale.rl.stop_after_skipped),
        tokens=int(sum(row["tokens"] for row in log)),
    )
    checkpoints.finish()


def stopped(log: list[dict[str, Any]], patience: int) -> bool:
    """Whether the last `patience` updates were all skipped for want of a signal: the policy has collapsed (or solves
    everything) and will not move again."""
    return len(log) >= patience and all(row["skipped"] for row in log[-patience:])


class Run:
    """A policy, its optimiser and what it trains on."""

    def __init__(self, scale: Scale, seed: int, base: Path, dev: list[Problem]) -> None:
        self.rl, self.seed, self.dev = scale.rl, seed, dev
        self.largest_number = scale.problems.largest_number
        self.model: PreTrainedModel = load(base)
        self.tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(base, local_files_only=True)
        self.start_token_id = self.tokenizer.convert_tokens_to_ids(scale.start_token)
        self.sampling = Sampling(self.rl.max_new_tokens, self.rl.temperature, self.rl.top_p)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=self.rl.learning_rate, weight_decay=self.rl.weight_decay, fused=True
        )

    def update(self, step: int, phase: Phase) -> dict[str, Any]:
        """One online update; returns its row of the log, over the batch just sampled (on problems of the train split).

        reward, finished, used_samples and skipped are shares, counts and flags of responses; response_tokens is their
        mean length, entropy their mean nats a token; grad_norm is taken before clipping; sampler_gap, in nats, is the
        largest difference of a token's log-probability between sampler and update (post-train space only).
        """
        start = time.monotonic()
        rng = random.Random(stream(self.seed, "problems", step))
        problems = [draw(rng, RL_NUMBERS, self.largest_number, "train") for _ in range(self.rl.prompts_per_step)]
        prompts, responses, texts = self.rollout(problems, self.rl.group_size, stream(self.seed, "rollout", step))
        each = [problem for problem in problems for _ in range(self.rl.group_size)]
        rewards = [float(is_correct(text, problem)) for text, problem in zip(texts, each, strict=True)]
        batch = make_batch(prompts, responses, rewards, self.rl.group_size, self.tokenizer.pad_token_id)
        generated = time.monotonic()
        learned = learn(self.model, self.optimizer, batch, phase, self.rl, self.start_token_id)
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

    def rollout(
        self, problems: list[Problem], repeats: int, seed: int
    ) -> tuple[list[list[int]], list[Response], list[str]]:
        """Prompts as token ids, `repeats` responses to each (prompt-major), and the responses' texts."""
        prompts = self.tokenizer([problem.prompt for problem in problems])["input_ids"]
        generator = torch.Generator().manual_seed(seed)
        with torch.inference_mode():
            lean = LeanModel(self.model)
        end, pad = {self.tokenizer.eos_token_id}, self.tokenizer.pad_token_id
        responses = sample(lean, prompts, repeats, self.sampling, end, pad, generator)
        texts = self.tokenizer.batch_decode([response.ids for response in responses], skip_special_tokens=True)
        return prompts, responses, texts

    def evaluate_dev(self, step: int) -> pd.DataFrame:
        """A row a dev response. The random stream is the same at every step and for every method and seed."""
        repeats = self.rl.dev_samples
        _, responses, texts = self.rollout(self.dev, repeats, stream("dev"))
        return pd.DataFrame(
            {
                "step": step,
                "problem": self.dev[index // repeats].id,
                "sample": index % repeats,
                "response": text,
                "tokens": len(response.ids),
                "entropy": response.entropy,
                "finished": response.finished,
                "score": float(is_correct(text, self.dev[index // repeats])),
            }
            for index, (response, text) in enumerate(zip(responses, texts, strict=True))
        )


def make_batch(
    prompts: list[list[int]], responses: list[Response], rewards: list[float], group_size: int, pad_token_id: int
) -> Batch:
    """The Batch of prompt-major responses, `group_size` a prompt."""
    width, length = max(map(len, prompts)), max(len(response.ids) for response in responses)
    each = [prompt for prompt in prompts for _ in range(group_size)]

    def right(rows: list[list], fill: float) -> Tensor:
        return torch.tensor([row + [fill] * (length - len(row)) for row in rows])

    return Batch(
        prompt_ids=torch.tensor([[pad_token_id] * (width - len(prompt)) + prompt for prompt in each]),
        prompt_mask=torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in each]),
        response_ids=right([response.ids for response in responses], pad_token_id),
        response_mask=right([[1.0] * len(response.ids) for response in responses], 0.0),
        rewards=torch.tensor(rewards),
        group=torch.arange(len(prompts)).repeat_interleave(group_size),
        old_logp=right([response.logp for response in responses], 0.0),
    )


def learn(
    model: PreTrainedModel,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    phase: Phase,
    rl: Reinforce,
    start_token_id: int,
) -> dict[str, Any]:
    """One optimiser step on the batch, skipped if no sample carries an advantage. Returns what the log says of it.

    There is one update a batch, so the old log-probabilities are the present ones (as in the authors' code, which
    computes them anew): the ratio is 1, and its gradient that of log pi. `sampler_gap` is how far the sampler's
    log-probabilities are from them, a check of the sampler.
    """
    advantages = group_advantages(batch.rewards, batch.group, phase.advantage)
    mask = keep(batch.response_mask, advantages, phase.samples)
    if phase.space == "pre-train":
        batch = forget_prompt(batch, start_token_id)
    # Samples without advantage count in the token mean but have no gradient: no need to compute their likelihood.
    useful = ((advantages != 0) & (mask.sum(1) > 0)).nonzero()[:, 0]
    result = {"used_samples": len(useful), "skipped": len(useful) == 0, "grad_norm": 0.0, "sampler_gap": float("nan")}
    if len(useful) == 0:
        return result
    total, gap = mask.sum(), 0.0
    optimizer.zero_grad(set_to_none=True)
    for rows in useful[mask[useful].sum(1).argsort(stable=True)].split(rl.micro_batch):
        part, part_mask = batch.rows(rows).trimmed(), mask[rows]
        part_mask = part_mask[:, : part.response_ids.shape[1]]
        logp = response_logp(LeanModel(model), part)
        old_logp = logp.detach()
        loss = clipped_loss(
            logp, old_logp, advantages[rows], part_mask, phase.clip_low, phase.clip_high, phase.dual_clip
        )
        (loss * part_mask.sum() / total * phase.loss_coefficient).backward()
        if part.old_logp is not None:
            gap = max(gap, float(((old_logp - part.old_logp) * part_mask).abs().max()))
    result["grad_norm"] = float(torch.nn.utils.clip_grad_norm_(model.parameters(), rl.max_grad_norm))
    if part.old_logp is not None:
        result["sampler_gap"] = gap
    for group in optimizer.param_groups:
        group["lr"] = rl.learning_rate * phase.learning_rate_factor
    optimizer.step()
    return result


class Progress:
    """A line an update to stderr, a line a dev evaluation to stdout."""

    def __init__(self, name: str, steps: int, done: int) -> None:
        self.name, self.steps, self.done, self.start = name, steps, done, time.monotonic()

    def pace(self, step: int, row: dict[str, Any]) -> dict[str, float]:
        """Speed of the update in a row of the log, and the time left at the pace since the start of this process."""
        elapsed = time.monotonic() - self.start
        return {
            "tokens_per_second": row["tokens"] / (row["generate_seconds"] + row["update_seconds"]),
            "seconds_left": elapsed / (step - self.done) * (self.steps - step),
        }

    def step(self, row: dict[str, Any]) -> None:
        note = "  no signal: update skipped" if row["skipped"] else ""
        print(
            f"{self.name}  step {row['step']}/{self.steps}  reward {row['reward']:.3f}  length "
            f"{row['response_tokens']:.1f}  entropy {row['entropy']:.3f}  {row['tokens_per_second']:,.0f} tokens/s  "
            f"{row['seconds_left']:.0f} s left{note}",
            file=sys.stderr,
            flush=True,
        )

    def dev(self, step: int, scores: pd.DataFrame) -> None:
        accuracy, length = scores.score.mean(), scores.tokens.mean()
        print(f"{self.name}  step {step}/{self.steps}  dev accuracy {accuracy:.3f}  length {length:.1f}", flush=True)
