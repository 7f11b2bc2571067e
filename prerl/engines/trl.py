"""The distributed engine: TRL's GRPOTrainer (Accelerate, FSDP, vLLM), with this package's objective.

TRL samples, scores and steps. What a method changes happens in between, on TRL's batch: advantages, the samples kept,
the prompt forgotten. Run directory, log and checkpoints are as the local engine's.
"""

import os
import random
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate.utils import gather_object
from datasets import Dataset
from torch import Tensor
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOTrainer

from prerl.config import Scale
from prerl.engines.local import Run
from prerl.engines.session import Session
from prerl.engines.trl_settings import check_length, settings
from prerl.engines.trl_vllm import seed_responses
from prerl.engines.update import advantages_of, phase_at, transformed
from prerl.errors import check_finite
from prerl.methods import Method
from prerl.objective import Batch, forget_prompt, keep
from prerl.processor import occupy
from prerl.records import stream
from prerl.sampler import Response


def train(scale: Scale, method_name: str, method: Method, seed: int, base: Path, problems: Path, out: Path) -> None:
    """As the local engine's. Every process of a run calls it."""
    occupy(max(1, scale.threads // scale.engine.processes))
    session = Session(scale, method_name, method, seed, base, problems, out)
    packages = ["trl", "accelerate", *(["vllm"] if scale.engine.vllm else [])]
    session.record.data["versions"] |= {name: version(name) for name in packages}
    run = Run(scale, method, seed, base, problems)
    session.begin(*session.checkpoints.resume(run.model))
    if session.done < scale.rl.steps and not session.collapsed:
        trainer = PhaseTrainer(scale, method, run, session)
        with session.naming():
            trainer.train()
    if os.environ.get("RANK", "0") == "0":  # of several processes, one
        session.finish()


class AdamW(torch.optim.AdamW):
    """AdamW that makes no step, not even one of momentum and weight decay, after a batch without signal."""

    skip = False

    def step(self, closure: Any = None) -> None:
        if not self.skip:
            super().step(closure)


class PhaseTrainer(GRPOTrainer):
    """GRPOTrainer whose every update follows the method's phase at that update."""

    def __init__(self, scale: Scale, method: Method, run: Run, session: Session) -> None:
        self.scale, self.method, self.run, self.session = scale, method, run, session
        rl = scale.rl
        self.problems = [
            problem
            for step in range(session.done + 1, rl.steps + 1)
            for problem in run.world.draw(random.Random(stream(run.seed, "problems", step)), rl.prompts_per_step)
        ]
        if scale.engine.vllm is not None:
            longest = max(map(len, run.read([*self.problems, *run.dev])))
            check_length(scale.engine.vllm, longest, rl.max_new_tokens)
        self.rewards: list[float] = []
        super().__init__(
            model=run.model,
            reward_funcs=self.score,
            args=settings(scale, run.seed, rl.steps - session.done, session.out, run.tokens.ends),
            train_dataset=Dataset.from_dict(
                {"prompt": [problem.prompt for problem in self.problems], "place": range(len(self.problems))}
            ),
            processing_class=run.tokenizer,
            callbacks=[Begin(self)],
        )
        self.eos_token_ids = run.tokens.ends  # TRL leaves out that of the chat template
        self.remove_callback(PrinterCallback)
        self.drawing: tuple[Any, ...] = ()  # the names of the random stream that responses are drawn from
        if scale.engine.vllm is not None:
            seed_responses(self.vllm_generation.llm, self._seeds)

    def _seeds(self, count: int) -> list[int]:
        """A seed for each of the responses that this process's engine draws next. Processes that share an engine ask it
        for the same ones; the others follow."""
        first = self.accelerator.process_index // self.scale.engine.vllm.tensor_parallel * count
        return [stream(*self.drawing, place) for place in range(first, first + count)]

    @property
    def at(self) -> int:
        """The number of the update that is being made, or was just made if TRL has counted it."""
        return self.session.done + self.state.global_step

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """One group: all parameters decay, as in the local engine and the authors' code; TRL would except some."""
        rl = self.scale.rl
        parameters = (model or self.model).parameters()
        self.optimizer = AdamW(parameters, lr=rl.learning_rate, weight_decay=rl.weight_decay, fused=True)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The phase's learning rate at every update."""

        def factor(made: int) -> float:
            step = min(self.session.done + made + 1, self.scale.rl.steps)
            return phase_at(self.method, step, self.scale.rl.steps)[1].learning_rate_factor

        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, factor)
        return self.lr_scheduler

    def score(self, completion_ids: list[list[int]], place: list[int], **_: Any) -> list[float]:
        """TRL's reward function."""
        problems, texts = [self.problems[index] for index in place], self.run.tokens.texts(completion_ids)
        self.rewards = [self.run.score(*pair) for pair in zip(texts, problems, strict=True)]
        return self.rewards

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return self.run.tokens.read(prompts, self.run.world.chat), None, {}

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any) -> tuple[list[list[int]], Any]:
        """Responses and their log-probabilities: vLLM's, or else from the local engine's sampler. Then each process
        draws those of all and keeps its own, so that the number of processes does not change them: for one machine.
        """
        if self.scale.engine.vllm is not None:
            return super()._generate_single_turn(prompt_ids, *args)
        rl = self.scale.rl
        first = self.state.global_step * rl.prompts_per_step
        problems = self.problems[first : first + rl.prompts_per_step]
        _, responses, _ = self.run.rollout(problems, rl.group_size, stream(self.run.seed, "rollout", self.at + 1))
        start = self.accelerator.process_index * len(prompt_ids)
        self.responses = responses[start : start + len(prompt_ids)]
        return [response.ids for response in self.responses], [response.logp for response in self.responses]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        start = time.monotonic()
        self.drawing = (self.run.seed, "rollout", self.at + 1)
        output = super()._generate_and_score_completions(inputs)
        rl = self.scale.rl
        index, phase = phase_at(self.method, self.at + 1, rl.steps)
        rewards = torch.tensor(self.rewards, device=self.accelerator.device)
        first, size = self.accelerator.process_index * len(rewards), len(rewards) * self.accelerator.num_processes
        group, mine = torch.arange(size, device=rewards.device) // rl.group_size, slice(first, first + len(rewards))
        batch = Batch(
            prompt_ids=output["prompt_ids"],
            prompt_mask=output["prompt_mask"],
            response_ids=output["completion_ids"],
            response_mask=output["completion_mask"].float(),
            rewards=rewards,
            group=group[mine],
            old_logp=None,
        )
        row, body = self._row(batch, output.get("sampling_per_token_logps")), self._body(batch)
        if phase.transform:  # of each process's share
            batch = transformed(batch, phase)
            self._ask(output, batch)
        everyone = self.accelerator.gather(batch.rewards)
        advantages = advantages_of(everyone, group, phase)[mine]
        mask = keep(batch.response_mask, advantages, phase.samples)
        if phase.tokens == "body":
            mask = mask * body
        if phase.space == "pre-train":
            batch = forget_prompt(batch, self.run.start_token_id(phase))
            self._ask(output, batch)
        total = self.accelerator.gather(mask.sum()).sum()
        if phase.denominator == "budget":
            total = torch.full_like(total, len(everyone) * rl.max_new_tokens)
        # completion_mask stays, for attention; tool_mask takes tokens out of the loss alone
        output |= {"advantages": advantages, "tool_mask": mask.long(), "num_items_in_batch": total}
        self.epsilon_low, self.epsilon_high, self.args.delta = phase.clip_low, phase.clip_high, phase.dual_clip
        used = int(self.accelerator.gather(((advantages != 0) & (mask.sum(1) > 0)).sum()).sum())
        self._optimizer().skip = used == 0
        self.phase, self.gaps, self.generated = phase, [], time.monotonic()
        row |= {"used_samples": used, "skipped": used == 0, "generate_seconds": self.generated - start}
        self.row = {"phase": index, **row}
        torch.manual_seed(stream(self.run.seed, "micro-batches", self.at + 1))  # TRL shuffles them next
        return output

    @staticmethod
    def _ask(output: dict[str, Any], batch: Batch) -> None:
        """Has the update read the batch's prompts."""
        output |= {"prompt_ids": batch.prompt_ids, "prompt_mask": batch.prompt_mask}
        output.pop("sampling_per_token_logps", None)  # conditional on the old ones

    def _row(self, batch: Batch, logp: Tensor | None) -> dict[str, Any]:
        """Of the log: what it says of the responses. Without the sampler's entropy its unbiased estimate stands there,
        the mean of -log p over the sampled tokens; NaN without either."""
        lengths = batch.response_mask.sum(1)
        last = batch.response_ids.gather(1, lengths.long()[:, None] - 1)[:, 0]
        finished = torch.isin(last, torch.tensor(self.eos_token_ids, device=last.device))
        if self.scale.engine.vllm is None:
            entropy = torch.tensor([response.entropy for response in self.responses], device=lengths.device) * lengths
        elif logp is not None:
            entropy = -(logp * batch.response_mask).sum(1)
        else:
            entropy = torch.full_like(lengths, torch.nan)
        columns = torch.stack([batch.rewards, lengths, finished.float(), entropy], 1)
        reward, length, share, surprise = self.accelerator.gather(columns).double().mean(0).tolist()
        tokens = round(length * self.scale.rl.prompts_per_step * self.scale.rl.group_size)
        return {
            "reward": reward,
            "response_tokens": length,
            "entropy": surprise / length,
            "finished": share,
            "tokens": tokens,
        }

    def _body(self, batch: Batch) -> Tensor:
        """Mask (B, T) without the tokens that restate the problem."""
        lengths = batch.response_mask.sum(1).long().tolist()
        rows = [ids[:size] for ids, size in zip(batch.response_ids.tolist(), lengths, strict=True)]
        restated = [self.run.world.restated(ids, self.run.tokenizer) or 0 for ids in rows]
        columns = torch.arange(batch.response_ids.shape[1], device=batch.response_ids.device)
        return columns >= torch.tensor(restated, device=columns.device)[:, None]

    def _optimizer(self) -> AdamW:
        """Ours, inside Accelerate's."""
        return getattr(self.optimizer, "optimizer", self.optimizer)

    def _get_per_token_logps_and_entropies(self, *args: Any, **options: Any) -> tuple[Tensor, Tensor | None, Any]:
        found = super()._get_per_token_logps_and_entropies(*args, **options)
        self.logp = found[0].detach()
        return found

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        loss = super()._compute_loss(model, inputs) * self.phase.loss_coefficient
        check_finite("loss", float(loss.detach()))
        if (sampled := inputs.get("sampling_per_token_logps")) is not None:
            used = inputs["tool_mask"] * (inputs["advantages"] != 0)[:, None]
            self.gaps.append(float(((self.logp - sampled) * used).nan_to_num().abs().max()))
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL calls this after every update, already counted: the row of our log, and a checkpoint where one is due."""
        super().log(logs, start_time)
        if "grad_norm" not in logs:  # the summary at the end
            return
        check_finite("gradient's norm", float(logs["grad_norm"]))
        gaps = torch.tensor(max(self.gaps, default=torch.nan), device=self.accelerator.device)
        row = {
            **self.row,
            "grad_norm": 0.0 if self.row["skipped"] else float(logs["grad_norm"]),
            "sampler_gap": float(self.accelerator.gather(gaps).max()),
            "update_seconds": time.monotonic() - self.generated,
        }
        self.session.add(self.at, row, shown=self.accelerator.is_main_process)
        if self.session.due(self.at):
            self.save()
        if self.session.collapsed:
            self.control.should_training_stop = True

    def save(self) -> None:
        """A dev evaluation, and a checkpoint as the local engine's. Every process calls it."""
        scores = self.run.evaluate_dev(self.at) if self.scale.engine.vllm is None else self._evaluate_dev()
        main = self.accelerator.is_main_process
        if main:
            self.session.progress.dev(self.at, scores)
        model = self.accelerator.unwrap_model(self.model_wrapped)
        log, checkpoints = self.session.log, self.session.checkpoints
        checkpoints.save(self.at, model, self.run.tokenizer, self._optimizer(), log, scores, writes=main)
        if main:
            self.session.prune()
        self.accelerator.wait_for_everyone()

    def begin(self) -> None:
        """Before the first update, when processes share the model: the optimiser of a resumed run, or the base's dev
        evaluation."""
        if self.session.done:
            model = self.accelerator.unwrap_model(self.model_wrapped)
            self.session.checkpoints.resume_optimizer(self.session.done, model, self._optimizer())
        elif not self.session.log:
            self.save()

    def _evaluate_dev(self) -> pd.DataFrame:
        """A row a dev response, from vLLM; each process draws its share."""
        repeats, processes = self.scale.rl.dev_samples, self.accelerator.num_processes
        prompts = [prompt for prompt in self.run.read(self.run.dev) for _ in range(repeats)]
        share = -(-len(prompts) // processes)
        start = self.accelerator.process_index * share
        mine = (prompts * 2)[start : start + share]  # the last share is filled with the first prompts
        self.drawing = ("dev",)
        found = list(zip(*self._generate_single_turn(mine, None, {}, 1), strict=True))
        ends = set(self.eos_token_ids)
        responses = [Response(ids, logp, -sum(logp) / len(logp), ids[-1] in ends) for ids, logp in gather_object(found)]
        return self.run.dev_table(self.at, responses[: len(prompts)])


class Begin(TrainerCallback):
    """Tells the trainer when all is prepared."""

    def __init__(self, trainer: PhaseTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.trainer.begin()
