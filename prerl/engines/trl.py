"""The distributed engine: TRL's GRPOTrainer (Accelerate, FSDP, vLLM), with this package's objective.

TRL samples, scores and steps. What a method changes happens in between, on TRL's batch: advantages, the samples kept,
the prompt forgotten. A run's directory, log and checkpoints are those that `prerl.engines.local` describes.
"""

import os
import random
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset
from torch import Tensor
from transformers import PrinterCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from prerl.engines.policy import Policy
from prerl.engines.session import Session
from prerl.engines.trl_saver import Saver
from prerl.engines.trl_settings import check_length, settings
from prerl.engines.trl_step import AdamW, Step, measures
from prerl.engines.trl_vllm import seed_responses
from prerl.engines.update import advantages_of, own_transform, phase_at
from prerl.errors import check_finite
from prerl.model.processor import occupy
from prerl.objective import Batch, lesson
from prerl.seeds import seed_of
from prerl.settings.engine import TrlEngine
from prerl.settings.methods import Method
from prerl.settings.scale import Scale


def train(scale: Scale, method_name: str, method: Method, seed: int, base: Path, problems: Path, out: Path) -> None:
    """Trains one method from one seed, on the problem sets in a directory; every process of a run calls it. Writes to
    `out` model/ (the best checkpoint on dev), log.parquet (a row an update), dev.parquet (a row a dev response) and
    run.json. Can be killed: it goes on from its last checkpoint."""
    assert isinstance(scale.engine, TrlEngine)
    occupy(max(1, scale.threads // scale.engine.processes))
    session = Session(scale, method_name, method, seed, base, problems, out)
    packages = ["trl", "accelerate", *(["vllm"] if scale.engine.vllm else [])]
    session.record.data["versions"] |= {name: version(name) for name in packages}
    policy = Policy(scale, method, seed, base, problems)
    session.begin(*session.checkpoints.resume(policy.model))
    main = os.environ.get("RANK", "0") == "0"  # of several processes, one writes
    if main:
        session.sign()
    if session.done < scale.rl.steps and not session.collapsed:
        trainer = PhaseTrainer(scale, method, policy, session)
        with session.naming():
            trainer.train()
    if main:
        session.finish()


class PhaseTrainer(GRPOTrainer):
    """GRPOTrainer whose every update follows the method's phase at that update."""

    args: GRPOConfig
    step: Step  # set before anything is sampled

    def __init__(self, scale: Scale, method: Method, policy: Policy, session: Session) -> None:
        assert isinstance(scale.engine, TrlEngine)
        self.scale, self.method, self.policy, self.session = scale, method, policy, session
        rl, self.room = scale.rl, scale.engine.vllm  # what vLLM takes; None: the local engine's sampler draws
        self.problems = [
            problem
            for step in range(session.done + 1, rl.steps + 1)
            for problem in policy.world.draw(random.Random(seed_of(policy.seed, "problems", step)), rl.prompts_per_step)
        ]
        if self.room is not None:
            longest = max(map(len, policy.read([*self.problems, *policy.dev])))
            check_length(self.room, longest, rl.max_new_tokens)
        rows = {"prompt": [problem.prompt for problem in self.problems], "place": range(len(self.problems))}
        self.saver = saver = Saver(self)
        super().__init__(
            model=policy.model,
            reward_funcs=self.score,
            args=settings(scale, policy.seed, rl.steps - session.done, session.out, policy.tokens.ends),
            train_dataset=Dataset.from_dict(rows),
            processing_class=policy.tokenizer,
            callbacks=[saver],
        )
        self.eos_token_ids = policy.tokens.ends  # TRL leaves out that of the chat template
        self.remove_callback(PrinterCallback)
        self.drawing: tuple[Any, ...] = ()  # the names of the random stream that responses are drawn from
        if self.room is not None:
            seed_responses(self.vllm_generation.llm, self._seeds)

    def _seeds(self, count: int) -> list[int]:
        """A seed for each of the responses that this process's engine draws next. Processes that share an engine ask it
        for the same ones; the others follow."""
        assert self.room is not None
        first = self.accelerator.process_index // self.room.tensor_parallel * count
        return [seed_of(*self.drawing, place) for place in range(first, first + count)]

    @property
    def at(self) -> int:
        """The number of the update that is being made, or was just made if TRL has counted it."""
        return self.session.done + self.state.global_step

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW with one group: all parameters decay, as the authors' and `prerl.engines.local`'s; TRL excepts some."""
        rl = self.scale.rl
        trained: Any = model or self.model
        self.optimizer = AdamW(trained.parameters(), lr=rl.learning_rate, weight_decay=rl.weight_decay, fused=True)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The phase's learning rate at every update."""

        def factor(made: int) -> float:
            step = min(self.session.done + made + 1, self.scale.rl.steps)
            return phase_at(self.method, step, self.scale.rl.steps)[1].learning_rate_factor

        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, factor)
        return self.lr_scheduler

    def score(self, completion_ids: list[list[int]], place: list[int], **_: Any) -> list[float | None]:
        """The rewards of responses (token ids) to the problems at these places: TRL calls it as a reward function."""
        problems, texts = [self.problems[index] for index in place], self.policy.tokens.texts(completion_ids)
        self.step.rewards = [self.policy.score(*pair) for pair in zip(texts, problems, strict=True)]
        return list(self.step.rewards)

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return self.policy.tokens.read(prompts, self.policy.world.chat), None, {}

    def _generate_single_turn(
        self, prompt_ids: list[list[int]], *args: Any, **options: Any
    ) -> tuple[list[list[int]], Any]:
        """Responses and their log-probabilities: vLLM's, or else from the sampler of this package. Then each process
        draws those of all and keeps its own, so that the number of processes does not change them: for one machine."""
        if self.room is not None:
            return super()._generate_single_turn(prompt_ids, *args, **options)
        rl = self.scale.rl
        first = self.state.global_step * rl.prompts_per_step
        problems = self.problems[first : first + rl.prompts_per_step]
        seed = seed_of(self.policy.seed, "rollout", self.at + 1)
        _, responses, _ = self.policy.rollout(problems, rl.group_size, seed)
        start = self.accelerator.process_index * len(prompt_ids)
        self.step.responses = responses[start : start + len(prompt_ids)]
        return [response.ids for response in self.step.responses], [response.logp for response in self.step.responses]

    def draw(self, prompts: list[list[int]], *names: Any) -> list[tuple[list[int], list[float]]]:
        """vLLM's responses, one a prompt, and their log-probabilities, from the random stream of that name."""
        self.drawing = names
        return list(zip(*self._generate_single_turn(prompts, None, {}, 1), strict=True))

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        rl, policy = self.scale.rl, self.policy
        self.step = step = Step(*phase_at(self.method, self.at + 1, rl.steps))
        self.drawing = (policy.seed, "rollout", self.at + 1)
        output = super()._generate_and_score_completions(inputs)
        batch = self._batch(output)
        step.row = {"phase": step.index, **self._row(batch)}
        start_token_id = policy.start_token_id(step.phase)
        transform = own_transform(step.phase)
        learnt = lesson(batch, step.phase, transform, self._advantage, start_token_id, rl.max_new_tokens)
        read = learnt.batch
        if read.old_logp is None:
            output.pop("sampling_per_token_logps", None)  # conditional on prompts that are no longer read
        # completion_mask stays, for attention; tool_mask takes tokens out of the loss alone
        output |= {"prompt_ids": read.prompt_ids, "prompt_mask": read.prompt_mask, "advantages": learnt.advantages}
        output |= {"tool_mask": learnt.mask.long(), "num_items_in_batch": self._gather(learnt.denominator).sum()}
        phase, used = step.phase, int(self._gather(learnt.useful.sum()).sum())
        self.epsilon_low, self.epsilon_high, self.args.delta = phase.clip_low, phase.clip_high, phase.dual_clip
        self.own_optimizer().skip = used == 0
        step.generated = time.monotonic()
        step.row |= {"used_samples": used, "skipped": used == 0, "generate_seconds": step.generated - step.start}
        torch.manual_seed(seed_of(policy.seed, "micro-batches", self.at + 1))  # TRL shuffles them next
        return output

    def _batch(self, output: dict[str, Any]) -> Batch:
        """This process's responses, scored, from TRL's dictionary."""
        lengths, ids = output["completion_mask"].sum(1).tolist(), output["completion_ids"].tolist()
        rewards = torch.tensor(self.step.rewards, device=self.accelerator.device)
        first = self.accelerator.process_index * len(rewards)
        header = self.policy.header([row[:length] for row, length in zip(ids, lengths, strict=True)])
        return Batch(
            prompt_ids=output["prompt_ids"],
            prompt_mask=output["prompt_mask"],
            response_ids=output["completion_ids"],
            response_mask=output["completion_mask"].float(),
            rewards=rewards,
            group=torch.arange(first, first + len(rewards), device=rewards.device) // self.scale.rl.group_size,
            old_logp=output.get("sampling_per_token_logps"),
            header=None if header is None else header.to(rewards.device),
        )

    def _advantage(self, scored: Batch) -> Tensor:
        """(B,) of this process's responses, by the rewards of all."""
        rewards, group = self._gather(scored.rewards), self._gather(scored.group)
        first = self.accelerator.process_index * len(scored.rewards)
        return advantages_of(rewards, group, self.step.phase)[first : first + len(scored.rewards)]

    def _row(self, batch: Batch) -> dict[str, Any]:
        """Of the log: what it says of the responses of all processes."""
        columns = measures(batch, self.step.responses, self.eos_token_ids)
        reward, length, share, surprise = self._gather(columns).double().mean(0).tolist()
        return {
            "reward": reward,
            "response_tokens": length,
            "entropy": surprise / length,
            "finished": share,
            "tokens": round(length * self.scale.rl.prompts_per_step * self.scale.rl.group_size),
        }

    def _gather(self, own: Tensor) -> Tensor:
        """Of all processes, along the first dimension."""
        return cast(Tensor, self.accelerator.gather(own))

    def own_optimizer(self) -> AdamW:
        """Ours, inside Accelerate's."""
        return getattr(self.optimizer, "optimizer", self.optimizer)

    def _get_per_token_logps_and_entropies(self, *args: Any, **options: Any) -> tuple[Tensor, Tensor | None, Any]:
        found = super()._get_per_token_logps_and_entropies(*args, **options)
        self.step.logp = found[0].detach()
        return found

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        loss = super()._compute_loss(model, inputs) * self.step.phase.loss_coefficient
        check_finite("loss", float(loss.detach()))
        if (sampled := inputs.get("sampling_per_token_logps")) is not None:
            used = inputs["tool_mask"] * (inputs["advantages"] != 0)[:, None]
            self.step.gaps.append(float(((self.step.logp - sampled) * used).nan_to_num().abs().max()))
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL calls this after every update, already counted: the row of our log, and a checkpoint where one is due."""
        super().log(logs, start_time)
        if "grad_norm" not in logs:  # the summary at the end
            return
        step, norm = self.step, float(logs["grad_norm"])
        check_finite("gradient's norm", norm)
        gaps = torch.tensor(max(step.gaps, default=torch.nan), device=self.accelerator.device)
        row = {
            **step.row,
            "grad_norm": 0.0 if step.row["skipped"] else norm,
            "sampler_gap": float(self._gather(gaps).max()),
            "update_seconds": time.monotonic() - step.generated,
        }
        self.session.add(self.at, row, shown=self.accelerator.is_main_process)
        if self.session.due(self.at):
            self.saver.save()
        if self.session.collapsed:
            self.control.should_training_stop = True
